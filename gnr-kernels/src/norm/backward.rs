//! The reverse step of a normalisation: gradients of β and γ, and the adjoint of x.

use super::mask::MapMask;
use super::{Maps, Mask, Source, Stats};
use crate::Accum;
use crate::elem::Elem;
use crate::parallel::{collect_chunks, each_chunk};
use crate::simd::{LANES, simd};

/// Sums of each channel in a gradient pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// The gradient of β, Σ a.
    pub beta: Vec<f64>,
    /// The gradient of γ, Σ a x̂.
    pub gamma: Vec<f64>,
}

simd! {
    /// Masks g in place if there is a mask, and returns (Σ g, Σ g (x − m)).
    pub(crate) fn masked_sums<E: Elem>(g: &mut [E], x: &[E], m: E, mask: Option<MapMask<'_, E>>) -> [f64; 2] {
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
    pub(crate) fn combine<E: Elem>(out: &mut [E], g: &[E], x: &[E], k: [E; 3], accum: Accum) {
        let terms = out.iter_mut().zip(g).zip(x);
        if accum.adds() {
            terms.for_each(|((o, &g), &x)| *o += k[0] * g + k[1] * x + k[2]);
        } else {
            terms.for_each(|((o, &g), &x)| *o = k[0] * g + k[1] * x + k[2]);
        }
    }
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
    let of_map = |i: usize, a: &mut [E]| {
        masked_sums(a, maps.map(x, i), E::of(stats.mean[i % maps.c]), Mask::map(mask, maps, i))
    };
    let parts: Vec<[f64; 2]> = collect_chunks(a, maps.hw, maps.batch(), of_map);
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
pub(crate) fn input_coefficients<E: Elem>(
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

/// Computes the adjoint of x, or adds it to gx: `γ s (a − mean a − x̂ mean(a x̂))`, or `γ s a` for fixed
/// statistics. `a` must be the adjoint that [`backward_sums`] masked. If these maps are a part of a batch, `sums` are
/// the means of the parts' sums, weighted as the parts' losses are.
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
    each_chunk(gx, maps.hw, maps.batch(), |i, gx| {
        combine(gx, maps.map(a, i), maps.map(x, i), coefficients[i % maps.c], accum);
    });
}
