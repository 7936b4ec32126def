//! Random masks that are a function of their place, so that all evaluations of a step have equal masks.

use gnr_core::{collective::Part, random::SplitMix64};

/// The seed of the masks of one mini-batch, for dropout and stochastic depth: made of a run, a step and a micro-batch.
///
/// Every evaluation with this seed (at θ_t, at another point, for a product or a difference) draws equal masks, on
/// every backend and with any number of threads. L̂ therefore stays one smooth function of θ within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskSeed {
    seed: u64,
    part: Option<Part>,
}

impl MaskSeed {
    /// The seed of micro-batch `part` of step `step` in a run seeded by `run`.
    pub fn new(run: u64, step: u64, part: u64) -> Self {
        let seed = [run, step, part].into_iter().fold(0, |state, word| mix(state ^ mix(word)));
        Self { seed, part: None }
    }

    /// Restricts the masks to a part of a batch that ranks share: each sample gets the factors that it has in the whole
    /// batch. A mask must have equally many factors for each sample, those of a sample in a row.
    pub fn of_part(self, part: impl Into<Option<Part>>) -> Self {
        Self { part: part.into(), ..self }
    }

    /// Draws mask number `index` of a pass: `len` factors, 1/`keep` with probability `keep`, else 0.
    pub fn draw(self, index: u64, keep: f64, len: usize) -> Vec<f64> {
        let start = self.part.map_or(0, |part| part.start * (len / part.len.max(1)));
        (start..start + len).map(self.factors(index, keep)).collect()
    }

    /// Draws mask number `index` of a pass over some samples of a batch, `len` factors in all. `places` has each
    /// sample's place in the whole batch; the sample gets the factors that it has there.
    pub fn draw_at(self, index: u64, keep: f64, len: usize, places: &[usize]) -> Vec<f64> {
        let each = len / places.len().max(1);
        places
            .iter()
            .flat_map(|place| place * each..(place + 1) * each)
            .map(self.factors(index, keep))
            .collect()
    }

    /// The factor of each element of mask number `index`.
    fn factors(self, index: u64, keep: f64) -> impl Fn(usize) -> f64 {
        let stream = mix(self.seed ^ mix(index));
        move |i| if SplitMix64::new(stream ^ i as u64).uniform() < keep { keep.recip() } else { 0.0 }
    }
}

/// A bijection of 64 bits; every output bit depends on all input bits.
fn mix(x: u64) -> u64 {
    SplitMix64::new(x).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_its_rate_and_its_mean() {
        for keep in [0.1, 0.5, 0.9] {
            let n = 100_000;
            let mask = MaskSeed::new(3, 1, 0).draw(0, keep, n);
            assert!(mask.iter().all(|m| *m == 0.0 || *m == 1.0 / keep));
            let kept = mask.iter().filter(|m| **m > 0.0).count() as f64 / n as f64;
            // Tolerance: five standard deviations of a binomial share.
            assert!((kept - keep).abs() < 5.0 * (keep * (1.0 - keep) / n as f64).sqrt(), "{keep}: {kept}");
        }
        assert_eq!(MaskSeed::new(3, 1, 0).draw(0, 1.0, 3), [1.0; 3]);
    }

    #[test]
    fn masks_of_parts_are_those_of_the_batch() {
        let seed = MaskSeed::new(3, 1, 0);
        let whole = seed.draw(2, 0.5, 7 * 5);
        let parts = [(0, 3), (3, 4)]
            .map(|(start, len)| seed.of_part(Part { start, len, of: 7 }).draw(2, 0.5, len * 5));
        assert_eq!(parts.concat(), whole);
        let some = seed.draw_at(2, 0.5, 3 * 5, &[6, 0, 2]);
        assert_eq!(some, [&whole[30..], &whole[..5], &whole[10..15]].concat());
    }

    /// Masks at different places agree in about half of their elements, as independent masks do.
    #[test]
    fn every_coordinate_gives_another_mask() {
        let n = 10_000;
        let mask = |run, step, part, index| MaskSeed::new(run, step, part).draw(index, 0.5, n);
        let base = mask(0, 0, 0, 0);
        assert_eq!(base, mask(0, 0, 0, 0));
        for other in [mask(1, 0, 0, 0), mask(0, 1, 0, 0), mask(0, 0, 1, 0), mask(0, 0, 0, 1)] {
            let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((4700..5300).contains(&same), "{same} of {n} elements agree");
        }
    }
}
