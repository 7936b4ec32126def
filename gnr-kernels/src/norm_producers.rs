//! Producers of the maps that the passes of a batch normalisation write; each takes a few operations an element.

use super::elem::Elem;
use super::norm::{
    Affine, Last, Maps, Mask, Stats, Sums, apply_map, apply_onto, combine, input_coefficients,
};
use super::norm_replay::{Tangent, tangent_map, tangent_onto};
use super::operand::{Producer, prefetch};
use crate::Accum;
use crate::buffer::Buf;
use std::ops::Range;
use std::sync::Arc;

/// Produces what [`apply`](super::norm::apply) computes.
pub struct NormOutput<E: Elem> {
    /// Shape of x and of the output.
    pub maps: Maps,
    /// The input of the normalisation.
    pub x: Arc<Buf<E>>,
    /// Factor and offset of each channel.
    pub affine: Arc<Affine<E>>,
    /// The residual, added before the activation.
    pub residual: Option<Arc<dyn Producer<E>>>,
    /// The activation at the end.
    pub last: Last<E>,
}

impl<E: Elem> Producer<E> for NormOutput<E> {
    fn size(&self) -> usize {
        self.maps.size()
    }
    fn pixels(&self) -> usize {
        self.maps.hw
    }
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        let (k, m) = self.affine.at(i);
        let x = &self.maps.map(&self.x, i)[range.clone()];
        match &self.residual {
            None => apply_map(out, x, k, m, None, self.last),
            Some(residual) => {
                residual.produce(i, range, out);
                apply_onto(out, x, k, m, self.last);
            }
        }
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        prefetch(&self.x, i * self.maps.hw, &range);
        if let Some(residual) = &self.residual {
            residual.prefetch(i, range);
        }
    }
}

/// Produces what [`backward_input`](super::norm::backward_input) computes.
pub struct NormInputAdjoint<E: Elem> {
    maps: Maps,
    a: Arc<Buf<E>>,
    x: Arc<Buf<E>>,
    coefficients: Vec<[E; 3]>,
}

impl<E: Elem> NormInputAdjoint<E> {
    /// A producer of the adjoint of x, from the masked adjoint `a` of y and its `sums`.
    pub fn new(maps: Maps, [a, x]: [Arc<Buf<E>>; 2], stats: &Stats, gamma: &[E], sums: &Sums) -> Self {
        maps.assert(&[Some(&a), Some(&x)]);
        Self { maps, a, x, coefficients: input_coefficients(maps, stats, gamma, sums) }
    }
}

impl<E: Elem> Producer<E> for NormInputAdjoint<E> {
    fn size(&self) -> usize {
        self.maps.size()
    }
    fn pixels(&self) -> usize {
        self.maps.hw
    }
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        let k = self.coefficients[i % self.maps.c];
        let [a, x] = [&self.a, &self.x].map(|values| &self.maps.map(values, i)[range.clone()]);
        combine(out, a, x, k, Accum::Replace);
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        for values in [&self.a, &self.x] {
            prefetch(values, i * self.maps.hw, &range);
        }
    }
}

/// The clip at the end of a normalisation, which masks its tangent.
#[derive(Clone, Debug)]
pub enum TangentMask<E: Elem> {
    /// No clip, so the tangent is not masked.
    Nothing,
    /// A clip whose derivative is recorded as bits.
    Bits(Arc<Buf<u32>>),
    /// A clip of the normalisation's own result at 0 and at the bound.
    Input(Arc<Affine<E>>, E),
}

/// Produces what [`tangent_apply`](super::norm_replay::tangent_apply) computes.
pub struct NormTangent<E: Elem> {
    maps: Maps,
    x: Arc<Buf<E>>,
    xt: Option<Arc<Buf<E>>>,
    coefficients: Vec<[E; 3]>,
    residual_t: Option<Arc<dyn Producer<E>>>,
    mask: TangentMask<E>,
}

impl<E: Elem> NormTangent<E> {
    /// A producer of the tangent at `at`. It shares x and ẋ, which must be those of `at`.
    pub fn new(
        maps: Maps,
        at: Tangent<'_, E>,
        (x, xt): (Arc<Buf<E>>, Option<Arc<Buf<E>>>),
        beta_t: Option<&[E]>,
        residual_t: Option<Arc<dyn Producer<E>>>,
        mask: TangentMask<E>,
    ) -> Self {
        maps.assert(&[Some(&x), xt.as_ref().map(|xt| &xt[..])]);
        Self { maps, x, xt, coefficients: at.coefficients(beta_t), residual_t, mask }
    }
}

impl<E: Elem> Producer<E> for NormTangent<E> {
    fn size(&self) -> usize {
        self.maps.size()
    }
    fn pixels(&self) -> usize {
        self.maps.hw
    }
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        let Self { maps, x, xt, .. } = self;
        let k = self.coefficients[i % maps.c];
        let mask = match &self.mask {
            TangentMask::Nothing => None,
            TangentMask::Bits(bits) => Some(Mask::Bits(bits)),
            TangentMask::Input(affine, top) => Some(Mask::Input { of: x, affine, top: *top }),
        };
        let mask = mask.map(|mask| mask.part(*maps, i, range.clone()));
        let x = &maps.map(x, i)[range.clone()];
        let xt = xt.as_ref().map(|xt| &maps.map(xt, i)[range.clone()]);
        match &self.residual_t {
            None => tangent_map(out, x, xt, k, None, mask),
            Some(residual) => {
                residual.produce(i, range, out);
                tangent_onto(out, x, xt, k, mask);
            }
        }
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        for values in [Some(&self.x), self.xt.as_ref()].into_iter().flatten() {
            prefetch(values, i * self.maps.hw, &range);
        }
        if let Some(residual) = &self.residual_t {
            residual.prefetch(i, range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::{apply, backward_input, backward_sums, clip_bits};
    use crate::norm_replay::{tangent_apply, tangent_stats};
    use crate::operand::{InMemory, Operand, materialise};
    use crate::testing::{noise, same_bits};

    /// Asserts that whole maps, and pieces that begin and end anywhere, have the bits of `want`.
    fn same(maps: Maps, producer: &dyn Producer<f32>, want: &[f32], what: &str) {
        assert!(same_bits(&materialise(producer), want), "{what}, {maps:?}");
        for range in [0..maps.hw, 0..1, maps.hw / 3..maps.hw, maps.hw / 2..maps.hw - 1] {
            for i in 0..maps.n * maps.c {
                let mut piece = vec![f32::NAN; range.len()];
                producer.prefetch(i, range.clone());
                producer.produce(i, range.clone(), &mut piece);
                assert!(same_bits(&piece, &maps.map(want, i)[range.clone()]), "{what}, {maps:?}, {range:?}");
            }
        }
    }

    #[test]
    fn pieces_have_the_bits_of_the_whole() {
        let buf = |len, seed| Arc::new(Buf::from(noise::<f32>(len, seed)));
        for hw in [16, 37, 64, 100, 1000] {
            let maps = Maps { n: 2, c: 3, hw };
            let n = maps.size();
            let (x, xt, r, a) = (buf(n, 1), buf(n, 2), buf(n, 3), buf(n, 4));
            let (gamma, beta, gamma_t, beta_t) = (buf(3, 5), buf(3, 6), buf(3, 7), buf(3, 8));
            let stats = Stats::of_batch(maps, &x, 1e-3);
            let affine = Arc::new(Affine::new(&stats, &gamma, &beta));
            let stored =
                || Arc::new(InMemory { values: Arc::clone(&r), pixels: hw }) as Arc<dyn Producer<f32>>;
            for residual in [false, true] {
                for last in [Last::Nothing, Last::Clip(f32::INFINITY), Last::Clip(0.5)] {
                    let mut y = vec![0.0; n];
                    apply(maps, &x, &affine, residual.then(|| (&*r).into()), last, &mut y);
                    let (x_, affine_) = (Arc::clone(&x), Arc::clone(&affine));
                    let residual_ = residual.then(stored);
                    let producer = NormOutput { maps, x: x_, affine: affine_, residual: residual_, last };
                    same(maps, &producer, &y, "output");
                    // A residual with maps of another size, as after a reshape.
                    let rows = InMemory { values: Arc::clone(&r), pixels: n };
                    let residual_ = residual.then_some(Operand::Streamed(&rows));
                    let mut from_rows = vec![0.0; n];
                    apply(maps, &x, &affine, residual_, last, &mut from_rows);
                    assert!(same_bits(&from_rows, &y), "residual of other maps, {maps:?}");

                    let bits =
                        Arc::new(clip_bits(maps, &y, if let Last::Clip(top) = last { top } else { 0.0 }));
                    let (mask, own_mask) = match last {
                        Last::Clip(_) if residual => {
                            (Some(Mask::Bits(&bits)), TangentMask::Bits(Arc::clone(&bits)))
                        }
                        Last::Clip(top) => (
                            Some(Mask::Input { of: &x[..], affine: &affine, top }),
                            TangentMask::Input(Arc::clone(&affine), top),
                        ),
                        _ => (None, TangentMask::Nothing),
                    };
                    for moves in [false, true] {
                        let along = moves.then_some(&xt[..]);
                        let stats_t = tangent_stats(maps, &x, along, &stats);
                        let at = Tangent {
                            x: &x,
                            xt: along,
                            gamma: &gamma,
                            gamma_t: Some(&gamma_t),
                            stats: &stats,
                            stats_t: &stats_t,
                        };
                        let mut yt = vec![0.0; n];
                        tangent_apply(maps, at, Some(&beta_t), residual.then(|| (&*r).into()), mask, &mut yt);
                        let values = (Arc::clone(&x), moves.then(|| Arc::clone(&xt)));
                        let producer = NormTangent::new(
                            maps,
                            at,
                            values,
                            Some(&beta_t),
                            residual.then(stored),
                            own_mask.clone(),
                        );
                        same(maps, &producer, &yt, "tangent");
                    }
                }
                let mut masked = a.to_vec();
                let sums = backward_sums(maps, &mut masked, &x, &stats, None);
                let mut gx = vec![0.0; n];
                backward_input(maps, &masked, &x, &stats, &gamma, &sums, &mut gx, Accum::Replace);
                let values = [Arc::new(Buf::from(masked)), Arc::clone(&x)];
                let producer = NormInputAdjoint::new(maps, values, &stats, &gamma, &sums);
                same(maps, &producer, &gx, "adjoint");
            }
        }
    }
}
