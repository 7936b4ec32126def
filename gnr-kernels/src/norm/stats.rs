//! Statistics of each channel: of a batch, or fixed ones.

use super::Maps;
use crate::elem::Elem;
use crate::parallel::collect;
use crate::reduce::sum_run;
use crate::simd::{LANES, simd};

/// The source of statistics, which decides whether derivatives flow through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The batch itself (training): the statistics depend on x.
    Batch,
    /// Running statistics (evaluation): constants.
    Fixed,
}

/// Statistics of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// **Biased** variances, which the normalisation uses. Running statistics record them times n/(n−1).
    pub var: Vec<f64>,
    /// The factor `1/√(var + ε)` of each channel.
    pub istd: Vec<f64>,
    /// Whether derivatives flow through the statistics.
    pub source: Source,
}

impl Stats {
    /// Computes the statistics of a batch; see [`moments`](Self::moments).
    pub fn of_batch<E: Elem>(maps: Maps, x: &[E], eps: f64) -> Self {
        let (mean, var) = Self::moments(maps, x);
        Self::new(mean, var, eps, Source::Batch)
    }

    /// Computes mean and biased variance of each channel in two passes per map: sums, then squares about the map's own
    /// mean.
    pub fn moments<E: Elem>(maps: Maps, x: &[E]) -> (Vec<f64>, Vec<f64>) {
        maps.assert(&[Some(x)]);
        let of_map = |i| {
            let x = maps.map(x, i);
            let mean = E::of(sum_run(x) / maps.hw as f64);
            // Rounding the mean to E leaves a remainder of the sum. The correction here keeps the pair exact.
            let rest = centred_sum(x, mean);
            let mean = mean.wide();
            (
                mean + rest / maps.hw as f64,
                centred_dot(x, E::of(mean), x, E::of(mean)) - rest * rest / maps.hw as f64,
            )
        };
        let parts: Vec<(f64, f64)> = collect(maps.n * maps.c, maps.batch(), of_map);
        let channel = |ch: usize| {
            let of = || (0..maps.n).map(|i| parts[i * maps.c + ch]);
            let mean = of().map(|p| p.0).sum::<f64>() / maps.n as f64;
            let squares: f64 = of().map(|p| p.1 + maps.hw as f64 * (p.0 - mean).powi(2)).sum();
            (mean, squares / maps.count())
        };
        (0..maps.c).map(channel).unzip()
    }

    /// Statistics from the mean and the biased variance of each channel. If several parts share a batch, both moments
    /// must be those of the whole batch.
    pub fn new(mean: Vec<f64>, var: Vec<f64>, eps: f64, source: Source) -> Self {
        let istd = var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        Stats { mean, var, istd, source }
    }
}

simd! {
    /// Computes Σ (x − m).
    pub(crate) fn centred_sum<E: Elem>(x: &[E], m: E) -> f64 {
        let mut lanes = [E::zero(); LANES];
        let mut chunks = x.chunks_exact(LANES);
        for c in &mut chunks {
            for i in 0..LANES {
                lanes[i] += c[i] - m;
            }
        }
        lanes.iter().map(|v| v.wide()).sum::<f64>() + chunks.remainder().iter().map(|&v| (v - m).wide()).sum::<f64>()
    }
    /// Computes Σ (x − m)(z − k).
    pub(crate) fn centred_dot<E: Elem>(x: &[E], m: E, z: &[E], k: E) -> f64 {
        let mut lanes = [E::zero(); LANES];
        let (mut xs, mut zs) = (x.chunks_exact(LANES), z.chunks_exact(LANES));
        for (a, b) in (&mut xs).zip(&mut zs) {
            for i in 0..LANES {
                lanes[i] += (a[i] - m) * (b[i] - k);
            }
        }
        let rest = xs.remainder().iter().zip(zs.remainder());
        lanes.iter().map(|v| v.wide()).sum::<f64>() + rest.map(|(&a, &b)| ((a - m) * (b - k)).wide()).sum::<f64>()
    }
}
