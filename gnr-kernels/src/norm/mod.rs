//! Batch normalisation over [N, C, HW]: statistics, application, gradient.
//!
//! `y = γ x̂ + β (+ residual)` with `x̂ = s (x − m)`, `s = 1/√(var + ε)`, then ReLU, ReLU6 or SiLU if asked for;
//! residual and activation share the pass over memory. Statistics and sums are formed per (image, channel) and merged
//! in f64 in a fixed order. The second order is in [`super::norm_replay`], producers of maps are in
//! [`super::norm_producers`].
//!
//! # References
//! Ioffe & Szegedy (2015). Merging of variances: Chan, Golub & LeVeque (1983).

mod apply;
mod backward;
mod mask;
mod stats;

use super::simd::CHUNK;

pub use apply::{Affine, Last, apply};
pub(crate) use apply::{apply_map, apply_onto};
pub use backward::{Sums, backward_input, backward_sums};
pub(crate) use backward::{combine, input_coefficients, masked_sums};
pub(crate) use mask::MapMask;
pub use mask::{Mask, clip_bits};
pub(crate) use stats::centred_dot;
pub use stats::{Source, Stats};

/// The shape [N, C, H·W] of a batch of feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maps {
    /// Number of images.
    pub n: usize,
    /// Number of channels.
    pub c: usize,
    /// Number of pixels of one map.
    pub hw: usize,
}

impl Maps {
    /// Number of elements.
    pub fn size(&self) -> usize {
        self.n * self.c * self.hw
    }
    /// Words of a bit mask of one map. The last word is filled from its low bits.
    fn words(&self) -> usize {
        self.hw.div_ceil(32)
    }
    /// Number of elements that share one channel's statistics.
    pub(crate) fn count(&self) -> f64 {
        (self.n * self.hw) as f64
    }
    /// Number of maps that one parallel task computes.
    pub(crate) fn batch(&self) -> usize {
        (CHUNK / 4).div_ceil(self.hw.max(1))
    }
    pub(crate) fn map<'a, E>(&self, x: &'a [E], i: usize) -> &'a [E] {
        &x[i * self.hw..][..self.hw]
    }
    pub(crate) fn maps<'a, E>(&self, x: Option<&'a [E]>, i: usize) -> Option<&'a [E]> {
        x.map(|x| self.map(x, i))
    }
    /// Checks that there are maps and that whole arrays have their size.
    pub(crate) fn assert<E>(&self, arrays: &[Option<&[E]>]) {
        assert!(self.size() > 0, "empty batch of maps: {self:?}");
        assert!(arrays.iter().flatten().all(|a| a.len() == self.size()), "expected {} elements", self.size());
    }
}

#[cfg(test)]
mod tests;
