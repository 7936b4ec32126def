//! Batch normalisation over [N, C, HW]: statistics, application, gradient.
//!
//! `y = γ x̂ + β (+ residual)` with `x̂ = s (x − m)`, `s = 1/√(var + ε)`, then ReLU, ReLU6 or SiLU if asked for;
//! residual and activation share the pass over memory. Statistics and sums are formed per (image, channel) and merged
//! in f64 in a fixed order. The second order is in [`super::norm_replay`], producers of maps are in
//! [`super::norm_producers`].
//!
//! # References
//! Ioffe & Szegedy (2015). Merging of variances: Chan, Golub & LeVeque (1983).

use super::elem::Elem;
use super::elementwise::{clip, clip_mask};
use super::operand::{Operand, Resolved};
use super::reduce::sum_run;
use super::sigmoid::silu;
use super::simd::{CHUNK, LANES, simd};
use crate::Accum;
use crate::buffer::Buf;
use rayon::prelude::*;
use std::ops::Range;

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
    pub(super) fn count(&self) -> f64 {
        (self.n * self.hw) as f64
    }
    /// Number of maps that one parallel task computes.
    pub(super) fn batch(&self) -> usize {
        (CHUNK / 4).div_ceil(self.hw.max(1))
    }
    pub(super) fn map<'a, E>(&self, x: &'a [E], i: usize) -> &'a [E] {
        &x[i * self.hw..][..self.hw]
    }
    pub(super) fn maps<'a, E>(&self, x: Option<&'a [E]>, i: usize) -> Option<&'a [E]> {
        x.map(|x| self.map(x, i))
    }
    /// Checks that there are maps and that whole arrays have their size.
    pub(super) fn assert<E>(&self, arrays: &[Option<&[E]>]) {
        assert!(self.size() > 0, "empty batch of maps: {self:?}");
        assert!(arrays.iter().flatten().all(|a| a.len() == self.size()), "expected {} elements", self.size());
    }
}

/// Where statistics come from: this decides whether derivatives flow through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The batch itself (training): the statistics depend on x.
    Batch,
    /// Running statistics (evaluation): constants.
    Fixed,
}

/// The activation that a normalisation ends in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Last<E> {
    /// No activation.
    Nothing,
    /// `min(max(·, 0), top)`: ReLU with `top` = ∞, ReLU6 with 6.
    Clip(E),
    /// SiLU; its derivatives are in [`super::norm_silu`].
    Silu,
}

/// Tells where the derivative of a clip at 0 and at `top` is 1.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a, E> {
    /// By the clip's output.
    Output {
        /// The clip's output.
        of: &'a [E],
        /// The upper bound; ∞ for ReLU.
        top: E,
    },
    /// By the normalisation's input; only if no residual is added.
    Input {
        /// The normalisation's input.
        of: &'a [E],
        /// The map from `of` to the clip's input.
        affine: &'a Affine<E>,
        /// The upper bound; ∞ for ReLU.
        top: E,
    },
    /// By one bit an element, as [`clip_bits`] writes them.
    Bits(&'a [u32]),
}

impl<'a, E: Elem> Mask<'a, E> {
    pub(super) fn map(mask: Option<Self>, maps: Maps, i: usize) -> Option<MapMask<'a, E>> {
        mask.map(|mask| mask.part(maps, i, 0..maps.hw))
    }
    /// The mask of the elements `range` of map `i`.
    pub(super) fn part(self, maps: Maps, i: usize, range: Range<usize>) -> MapMask<'a, E> {
        match self {
            Mask::Output { of, top } => {
                MapMask::Between { of: &maps.map(of, i)[range], k: E::one(), m: E::zero(), top }
            }
            Mask::Input { of, affine, top } => {
                let (k, m) = affine.at(i);
                MapMask::Between { of: &maps.map(of, i)[range], k, m, top }
            }
            Mask::Bits(bits) => {
                let words = &bits[i * maps.words()..][..maps.words()];
                MapMask::Bits { words: &words[(range.start / 32).min(words.len())..], from: range.start % 32 }
            }
        }
    }
    /// The whole array that a mask reads, if it is one of values.
    pub(super) fn values(mask: Option<Self>) -> Option<&'a [E]> {
        match mask {
            Some(Mask::Output { of, .. } | Mask::Input { of, .. }) => Some(of),
            Some(Mask::Bits(_)) | None => None,
        }
    }
}

/// The bits of a word, by position. Comparing with them masks a vector of lanes at once.
const BITS: [u32; 32] = {
    let mut bits = [0; 32];
    let mut i = 0;
    while i < 32 {
        bits[i] = 1 << i;
        i += 1;
    }
    bits
};

/// A [`Mask`] of one map.
#[derive(Clone, Copy, Debug)]
pub(super) enum MapMask<'a, E> {
    /// A derivative passes where `0 < k of + m < top`.
    Between { of: &'a [E], k: E, m: E, top: E },
    /// A derivative passes where the bit is set; the first is bit `from` of the first word.
    Bits { words: &'a [u32], from: usize },
}

impl<E: Elem> MapMask<'_, E> {
    /// Sets g to 0 where no derivative passes.
    #[inline(always)]
    pub(super) fn apply(self, g: &mut [E]) {
        match self {
            MapMask::Between { of, k, m, top } => {
                g.iter_mut().zip(of).for_each(|(g, &v)| *g = clip_mask(*g, k * v + m, top));
            }
            MapMask::Bits { words, from } => {
                // The 32 bits of block i.
                let at = |i: usize| {
                    let word = |i: usize| u64::from(words.get(i).copied().unwrap_or(0));
                    ((word(i) | word(i + 1) << 32) >> from) as u32
                };
                let (blocks, rest) = g.as_chunks_mut::<32>();
                let count = blocks.len();
                for (j, g) in blocks.iter_mut().enumerate() {
                    let word = at(j);
                    for i in 0..32 {
                        g[i] = if word & BITS[i] != 0 { g[i] } else { E::zero() };
                    }
                }
                let word = at(count);
                rest.iter_mut()
                    .zip(BITS)
                    .for_each(|(g, bit)| *g = if word & bit != 0 { *g } else { E::zero() });
            }
        }
    }
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
    pub(super) fn at(&self, i: usize) -> (E, E) {
        self.0[i % self.0.len()]
    }
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
    /// Computes the statistics of a batch in two passes per map: sums, then squares about the map's own mean.
    pub fn of_batch<E: Elem>(maps: Maps, x: &[E], eps: f64) -> Self {
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
        let parts: Vec<(f64, f64)> =
            (0..maps.n * maps.c).into_par_iter().with_min_len(maps.batch()).map(of_map).collect();
        let channel = |ch: usize| {
            let of = || (0..maps.n).map(|i| parts[i * maps.c + ch]);
            let mean = of().map(|p| p.0).sum::<f64>() / maps.n as f64;
            let squares: f64 = of().map(|p| p.1 + maps.hw as f64 * (p.0 - mean).powi(2)).sum();
            (mean, squares / maps.count())
        };
        let (mean, var): (Vec<_>, Vec<_>) = (0..maps.c).map(channel).unzip();
        let istd = var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        Stats { mean, var, istd, source: Source::Batch }
    }

    /// Statistics that are constants, such as running statistics.
    pub fn fixed(mean: Vec<f64>, var: Vec<f64>, eps: f64) -> Self {
        let istd = var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        Stats { mean, var, istd, source: Source::Fixed }
    }
}

simd! {
    /// Computes Σ (x − m).
    pub(super) fn centred_sum<E: Elem>(x: &[E], m: E) -> f64 {
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
    pub(super) fn centred_dot<E: Elem>(x: &[E], m: E, z: &[E], k: E) -> f64 {
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
    pub(super) fn apply_map<E: Elem>(y: &mut [E], x: &[E], k: E, m: E, residual: Option<&[E]>, last: Last<E>) {
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
    pub(super) fn apply_onto<E: Elem>(y: &mut [E], x: &[E], k: E, m: E, last: Last<E>) {
        match last {
            Last::Clip(top) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = clip(k * x + m + *y, top)),
            _ => y.iter_mut().zip(x).for_each(|(y, &x)| *y = k * x + m + *y),
        }
        if last == Last::Silu {
            y.iter_mut().for_each(|y| *y = silu::<E, FUSED>(*y));
        }
    }
    /// Masks g in place if there is a mask, and returns (Σ g, Σ g (x − m)).
    pub(super) fn masked_sums<E: Elem>(g: &mut [E], x: &[E], m: E, mask: Option<MapMask<'_, E>>) -> [f64; 2] {
        if let Some(mask) = mask {
            mask.apply(g);
        }
        let (mut a, mut b) = ([E::zero(); LANES], [E::zero(); LANES]);
        let (mut gs, mut xs) = (g.chunks_exact(LANES), x.chunks_exact(LANES));
        for (g, x) in (&mut gs).zip(&mut xs) {
            for i in 0..LANES {
                a[i] += g[i];
                b[i] += g[i] * (x[i] - m);
            }
        }
        let mut sums = [a, b].map(|l| l.iter().map(|v| v.wide()).sum::<f64>());
        for (&g, &x) in gs.remainder().iter().zip(xs.remainder()) {
            sums[0] += g.wide();
            sums[1] += (g * (x - m)).wide();
        }
        sums
    }
    /// Computes `out = k0 g + k1 x + k2`, or adds it to out.
    pub(super) fn combine<E: Elem>(out: &mut [E], g: &[E], x: &[E], k: [E; 3], accum: Accum) {
        let terms = out.iter_mut().zip(g).zip(x);
        if accum.adds() {
            terms.for_each(|((o, &g), &x)| *o += k[0] * g + k[1] * x + k[2]);
        } else {
            terms.for_each(|((o, &g), &x)| *o = k[0] * g + k[1] * x + k[2]);
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
    y.par_chunks_mut(maps.hw).with_min_len(maps.batch()).enumerate().for_each(|(i, y)| {
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

simd! {
    fn clip_bits_map<E: Elem>(bits: &mut [u32], y: &[E], top: E) {
        for (word, y) in bits.iter_mut().zip(y.chunks(32)) {
            let set = |(bit, &y): (u32, &E)| if y > E::zero() && y < top { bit } else { 0 };
            *word = BITS.into_iter().zip(y).map(set).fold(0, |word, bit| word | bit);
        }
    }
}

/// Records where the derivative of a clip with output y is 1. The bits take a 32nd of the memory of y.
pub fn clip_bits<E: Elem>(maps: Maps, y: &[E], top: E) -> Buf<u32> {
    maps.assert(&[Some(y)]);
    let mut bits = Buf::new(maps.n * maps.c * maps.words());
    bits.par_chunks_mut(maps.words()).with_min_len(maps.batch()).enumerate().for_each(|(i, bits)| {
        clip_bits_map(bits, maps.map(y, i), top);
    });
    bits
}

/// Sums of each channel in a gradient pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// The gradient of β, Σ a.
    pub beta: Vec<f64>,
    /// The gradient of γ, Σ a x̂.
    pub gamma: Vec<f64>,
}

/// Computes the gradients of β and γ from the adjoint `a` of y. If the normalisation ended in a clip, `a` is **masked
/// in place**. The masked `a` is the adjoint of the residual.
pub fn backward_sums<E: Elem>(
    maps: Maps,
    a: &mut [E],
    x: &[E],
    stats: &Stats,
    mask: Option<Mask<'_, E>>,
) -> Sums {
    maps.assert(&[Some(a), Some(x), Mask::values(mask)]);
    let of_map = |(i, a): (usize, &mut [E])| {
        masked_sums(a, maps.map(x, i), E::of(stats.mean[i % maps.c]), Mask::map(mask, maps, i))
    };
    let parts: Vec<[f64; 2]> =
        a.par_chunks_mut(maps.hw).with_min_len(maps.batch()).enumerate().map(of_map).collect();
    let mut sums = Sums { beta: vec![0.0; maps.c], gamma: vec![0.0; maps.c] };
    for (i, part) in parts.iter().enumerate() {
        let ch = i % maps.c;
        // The sums of the maps were centred by the mean rounded to E; this adds the difference to the exact mean.
        let shift = E::of(stats.mean[ch]).wide() - stats.mean[ch];
        sums.beta[ch] += part[0];
        sums.gamma[ch] += (part[1] + shift * part[0]) * stats.istd[ch];
    }
    sums
}

/// The coefficients of the adjoint of x, `k0 a + k1 x + k2`, by channel.
pub(super) fn input_coefficients<E: Elem>(
    maps: Maps,
    stats: &Stats,
    gamma: &[E],
    sums: &Sums,
) -> Vec<[E; 3]> {
    let channel = |ch: usize| {
        let (s, m) = (stats.istd[ch], stats.mean[ch]);
        let k = gamma[ch].wide() * s;
        let (mean_a, mean_ax) = match stats.source {
            Source::Batch => (sums.beta[ch] / maps.count(), sums.gamma[ch] / maps.count()),
            Source::Fixed => (0.0, 0.0),
        };
        let by_x = -k * s * mean_ax;
        [k, by_x, -k * mean_a - by_x * m].map(E::of)
    };
    (0..maps.c).map(channel).collect()
}

/// Computes the adjoint of x, or adds it to gx: `γ s (a − mean a − x̂ mean(a x̂))`, or `γ s a` for fixed statistics.
/// `a` must be the adjoint that [`backward_sums`] masked.
#[allow(clippy::too_many_arguments)]
pub fn backward_input<E: Elem>(
    maps: Maps,
    a: &[E],
    x: &[E],
    stats: &Stats,
    gamma: &[E],
    sums: &Sums,
    gx: &mut [E],
    accum: Accum,
) {
    maps.assert(&[Some(a), Some(x), Some(gx)]);
    let coefficients = input_coefficients(maps, stats, gamma, sums);
    gx.par_chunks_mut(maps.hw).with_min_len(maps.batch()).enumerate().for_each(|(i, gx)| {
        combine(gx, maps.map(a, i), maps.map(x, i), coefficients[i % maps.c], accum);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{max_abs_diff, noise, on_threads, same_bits};

    const MAPS: Maps = Maps { n: 5, c: 3, hw: 37 };

    fn channel(x: &[f64], maps: Maps, ch: usize) -> Vec<f64> {
        (0..maps.n).flat_map(|n| x[(n * maps.c + ch) * maps.hw..][..maps.hw].to_vec()).collect()
    }

    #[test]
    fn statistics_match_the_definition() {
        let x = noise::<f64>(MAPS.size(), 1);
        let stats = Stats::of_batch(MAPS, &x, 1e-5);
        for ch in 0..MAPS.c {
            let v = channel(&x, MAPS, ch);
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            let var = v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / v.len() as f64;
            assert!((stats.mean[ch] - mean).abs() < 1e-15 && (stats.var[ch] - var).abs() < 1e-15);
            assert!((stats.istd[ch] - 1.0 / (var + 1e-5).sqrt()).abs() < 1e-14);
        }
    }

    /// With mean 1000 and standard deviation 0.01 in f32, sums of squares would lose every digit of the variance.
    #[test]
    fn variance_survives_a_large_mean() {
        let maps = Maps { n: 64, c: 1, hw: 256 };
        let x: Vec<f32> = noise::<f64>(maps.size(), 2).iter().map(|v| (1000.0 + 0.01 * v) as f32).collect();
        let exact: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let (got, want) = (Stats::of_batch(maps, &x, 0.0), Stats::of_batch(maps, &exact, 0.0));
        assert!((got.var[0] / want.var[0] - 1.0).abs() < 1e-5, "{} {}", got.var[0], want.var[0]);
    }

    /// Compares the gradient of Σ w y with central differences (step 1e-5: truncation 1e-10, rounding 1e-10).
    #[test]
    fn gradients_match_central_differences() {
        let (relu, relu6) = (Some(f64::INFINITY), Some(0.5));
        for (source, top) in
            [(Source::Batch, relu), (Source::Batch, None), (Source::Fixed, relu), (Source::Batch, relu6)]
        {
            let n = MAPS.size();
            let (x, r, w) = (noise::<f64>(n, 1), noise::<f64>(n, 2), noise::<f64>(n, 3));
            let (gamma, beta) = (noise::<f64>(3, 4), noise::<f64>(3, 5));
            let stats = |x: &[f64]| match source {
                Source::Batch => Stats::of_batch(MAPS, x, 1e-3),
                Source::Fixed => Stats::fixed(vec![0.1, -0.2, 0.3], vec![1.0, 0.5, 2.0], 1e-3),
            };
            let value = |x: &[f64], gamma: &[f64], beta: &[f64], r: &[f64]| {
                let mut y = vec![0.0; n];
                let last = top.map_or(Last::Nothing, Last::Clip);
                apply(MAPS, x, &Affine::new(&stats(x), gamma, beta), Some(Operand::Whole(r)), last, &mut y);
                y
            };
            let loss = |x: &[f64], g: &[f64], b: &[f64], r: &[f64]| -> f64 {
                value(x, g, b, r).iter().zip(&w).map(|(y, w)| y * w).sum()
            };
            let y = value(&x, &gamma, &beta, &r);
            let mut a = w.clone();
            let mask = top.map(|top| Mask::Output { of: &y[..], top });
            let sums = backward_sums(MAPS, &mut a, &x, &stats(&x), mask);
            let mut gx = vec![1.0; n];
            backward_input(MAPS, &a, &x, &stats(&x), &gamma, &sums, &mut gx, Accum::Add);
            let slope = |at: &[f64], f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
                let moved = |i: usize, d: f64| {
                    let mut p = at.to_vec();
                    p[i] += d;
                    f(&p)
                };
                (0..at.len()).map(|i| (moved(i, 1e-5) - moved(i, -1e-5)) / 2e-5).collect()
            };
            let want: Vec<f64> = slope(&x, &|x| loss(x, &gamma, &beta, &r)).iter().map(|v| v + 1.0).collect();
            assert!(max_abs_diff(&gx, &want) < 1e-7, "{source:?}");
            assert!(max_abs_diff(&sums.gamma, &slope(&gamma, &|g| loss(&x, g, &beta, &r))) < 1e-7);
            assert!(max_abs_diff(&sums.beta, &slope(&beta, &|b| loss(&x, &gamma, b, &r))) < 1e-7);
            assert!(max_abs_diff(&a, &slope(&r, &|r| loss(&x, &gamma, &beta, r))) < 1e-7);
        }
    }

    #[test]
    fn single_precision_is_close_and_independent_of_threads() {
        let maps = Maps { n: 40, c: 7, hw: 100 };
        let (x, a) = (noise::<f32>(maps.size(), 1), noise::<f32>(maps.size(), 2));
        let (gamma, beta) = (noise::<f32>(7, 3), noise::<f32>(7, 4));
        let run = |threads| {
            on_threads(threads, || {
                let stats = Stats::of_batch(maps, &x, 1e-5);
                let (mut y, mut a, mut gx) = (vec![0.0; x.len()], a.clone(), vec![0.0; x.len()]);
                let (affine, top) = (Affine::new(&stats, &gamma, &beta), f32::INFINITY);
                apply(maps, &x, &affine, None, Last::Clip(top), &mut y);
                let sums = backward_sums(maps, &mut a, &x, &stats, Some(Mask::Output { of: &y, top }));
                backward_input(maps, &a, &x, &stats, &gamma, &sums, &mut gx, Accum::Replace);
                (y, gx, sums)
            })
        };
        let (one, two) = (run(1), run(2));
        assert!(same_bits(&one.0, &two.0) && same_bits(&one.1, &two.1) && one.2 == two.2);
    }

    /// Covers whole words, parts of one, and several; values on both bounds; NaN, whose derivative is 0.
    #[test]
    fn bits_mask_as_the_output_does() {
        for (hw, top) in [(1, 1.0), (16, f64::INFINITY), (37, 0.5), (64, 1.0), (1000, f64::INFINITY)] {
            let maps = Maps { n: 2, c: 3, hw };
            let mut y: Vec<f64> = noise(maps.size(), 3);
            y.iter_mut().for_each(|y| *y = clip(*y, top));
            y[maps.size() / 2] = f64::NAN;
            let bits = clip_bits(maps, &y, top);
            let (x, stats) = (noise::<f64>(maps.size(), 1), Stats::fixed(vec![0.0; 3], vec![1.0; 3], 0.0));
            let masked = |mask| {
                let mut a = noise::<f64>(maps.size(), 2);
                let sums = backward_sums(maps, &mut a, &x, &stats, Some(mask));
                (a, sums)
            };
            let (by_output, by_bits) = (masked(Mask::Output { of: &y, top }), masked(Mask::Bits(&bits)));
            assert_eq!(by_output, by_bits, "{hw}");
            assert!(by_bits.0.contains(&0.0) && by_bits.0.iter().any(|a| *a != 0.0));
        }
    }
}
