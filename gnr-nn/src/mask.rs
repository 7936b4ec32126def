//! Random masks that are a function of their place, so that every evaluation of one step sees the same ones.

use gnr_core::random::SplitMix64;

/// What the masks of one mini-batch are drawn from: dropout and stochastic depth of a run, a step and a micro-batch.
///
/// Every evaluation with the same seed (at θ_t, at another point, for a product or a difference) draws the same masks, on
/// every backend and with any number of threads: L̂ stays one smooth function of θ within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskSeed(u64);

impl MaskSeed {
    /// The masks of micro-batch `part` of step `step` in a run seeded by `run`.
    pub fn new(run: u64, step: u64, part: u64) -> Self {
        Self([run, step, part].into_iter().fold(0, |state, word| mix(state ^ mix(word))))
    }

    /// Mask number `index` of a pass: `len` factors, 1/`keep` with probability `keep`, else 0.
    pub fn draw(self, index: u64, keep: f64, len: usize) -> Vec<f64> {
        let stream = mix(self.0 ^ mix(index));
        let uniform = |i: u64| SplitMix64::new(stream ^ i).uniform();
        (0..len as u64).map(|i| if uniform(i) < keep { keep.recip() } else { 0.0 }).collect()
    }
}

/// A bijection whose output bits all depend on all input bits.
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
            // Five standard deviations of a binomial share.
            assert!((kept - keep).abs() < 5.0 * (keep * (1.0 - keep) / n as f64).sqrt(), "{keep}: {kept}");
        }
        assert_eq!(MaskSeed::new(3, 1, 0).draw(0, 1.0, 3), [1.0; 3]);
    }

    /// Masks at different places agree in as many elements as independent ones do: about half.
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
