//! Applying a normalisation: one affine map a channel, the residual and the activation, in one pass over memory.

use super::{Maps, Stats};
use crate::elem::Elem;
use crate::elementwise::clip;
use crate::operand::{Operand, Resolved};
use crate::parallel::each_chunk;
use crate::sigmoid::silu;
use crate::simd::simd;

/// The activation that a normalisation ends in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Last<E> {
    /// The normalisation ends without an activation.
    Nothing,
    /// A clip, `min(max(·, 0), top)`: ReLU with `top` = ∞, ReLU6 with 6.
    Clip(E),
    /// SiLU; its derivatives are in [`norm_silu`](crate::norm_silu).
    Silu,
}

/// Normalisation as one affine map k x + m a channel.
#[derive(Clone, Debug)]
pub struct Affine<E>(Vec<(E, E)>);

impl<E: Elem> Affine<E> {
    /// Computes k = γ s and m = β − k mean for each channel.
    pub fn new(stats: &Stats, gamma: &[E], beta: &[E]) -> Self {
        let channel = |ch: usize| {
            let k = gamma[ch].wide() * stats.istd[ch];
            (E::of(k), E::of(beta[ch].wide() - k * stats.mean[ch]))
        };
        Affine((0..stats.mean.len()).map(channel).collect())
    }
    /// The pair (k, m) of map `i`.
    pub(crate) fn at(&self, i: usize) -> (E, E) {
        self.0[i % self.0.len()]
    }
}

simd! {
    pub(crate) fn apply_map<E: Elem>(y: &mut [E], x: &[E], k: E, m: E, residual: Option<&[E]>, last: Last<E>) {
        match (residual, last) {
            (None, Last::Clip(top)) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = clip(k * x + m, top)),
            (Some(r), Last::Clip(top)) => {
                y.iter_mut().zip(x).zip(r).for_each(|((y, &x), &r)| *y = clip(k * x + m + r, top));
            }
            (None, _) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = k * x + m),
            (Some(r), _) => y.iter_mut().zip(x).zip(r).for_each(|((y, &x), &r)| *y = k * x + m + r),
        }
        if last == Last::Silu {
            y.iter_mut().for_each(|y| *y = silu::<E, FUSED>(*y));
        }
    }
    /// Does the work of [`apply_map`] with the old contents of y as the residual.
    pub(crate) fn apply_onto<E: Elem>(y: &mut [E], x: &[E], k: E, m: E, last: Last<E>) {
        match last {
            Last::Clip(top) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = clip(k * x + m + *y, top)),
            _ => y.iter_mut().zip(x).for_each(|(y, &x)| *y = k * x + m + *y),
        }
        if last == Last::Silu {
            y.iter_mut().for_each(|y| *y = silu::<E, FUSED>(*y));
        }
    }
}

/// Computes `y = last(γ x̂ + β + residual)`.
pub fn apply<E: Elem>(
    maps: Maps,
    x: &[E],
    affine: &Affine<E>,
    residual: Option<Operand<'_, E>>,
    last: Last<E>,
    y: &mut [E],
) {
    maps.assert(&[Some(x), Some(y)]);
    assert!(affine.0.len() == maps.c && residual.is_none_or(|residual| residual.len() == maps.size()));
    let residual = residual.map(|residual| residual.resolve(true, maps.hw));
    each_chunk(y, maps.hw, maps.batch(), |i, y| {
        let ((k, m), x) = (affine.at(i), maps.map(x, i));
        match residual.as_ref().map(Resolved::values) {
            None => apply_map(y, x, k, m, None, last),
            Some(Operand::Whole(residual)) => apply_map(y, x, k, m, Some(maps.map(residual, i)), last),
            Some(Operand::Streamed(residual)) => {
                residual.produce(i, 0..maps.hw, y);
                apply_onto(y, x, k, m, last);
            }
        }
    });
}
