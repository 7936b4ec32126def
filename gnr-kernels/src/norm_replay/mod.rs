//! Batch normalisation in a replay: the tangent at a recorded point, and the second-order adjoint.
//!
//! A Hessian-vector product replays a recorded gradient pass: the statistics, the output, the (masked) adjoint `a` of y
//! and its sums are given. The forward step computes the tangent ẏ. The reverse step computes the adjoint of x in ⟨b,
//! y⟩ + ⟨a, ẏ⟩, where `b` is the derivative of the adjoint of y.
//!
//! With `x̂ = s (x − m)`, `q = mean(x̂ (ẋ − ṁ))`:
//! - `ẏ = γ s (ẋ − ṁ) + (γ̇ − γ s q) x̂ + β̇ (+ residual tangent)`, masked after ReLU and ReLU6;
//! - with `X = γ b + γ̇ a − s q γ a − s γ mean(a x̂) (ẋ − ṁ)`:
//!   `x̄ = s (X − mean X − x̂ (mean(X x̂) + γ s (mean(a (ẋ − ṁ)) − q mean(a x̂))))`;
//! - `γ̄ = Σ b x̂ + s (Σ a (ẋ − ṁ) − q Σ a x̂)`, `β̄ = Σ b`.
//!
//! For fixed statistics ṁ = q = 0 and all means vanish: `x̄ = s (γ b + γ̇ a)`.

use super::elem::Elem;
use super::elementwise::clip_mask;
use super::norm::{
    self, MapMask, Maps, Mask, Source, Stats, Sums, centred_dot, input_coefficients, masked_sums,
};
use super::operand::{Operand, Resolved};
use super::reduce::sum_run;
use super::simd::{LANES, simd};
use crate::Accum;
use crate::parallel::{collect, collect_chunks, each_chunk, each_pair};

/// Derivatives of each channel's statistics along a tangent.
#[derive(Clone, Debug, PartialEq)]
pub struct TangentStats {
    /// The derivative ṁ of the mean, which is the mean of ẋ (0 for fixed statistics).
    pub mean: Vec<f64>,
    /// The mean q = mean(x̂ ẋ), which is mean(x̂ (ẋ − ṁ)) over the whole batch (0 for fixed statistics).
    pub q: Vec<f64>,
}

/// Computes the derivative of the statistics along `xt` = ẋ; `None` stands for zero. If these maps are a part of a
/// batch, the derivative of the batch's statistics is the mean of the parts' results, weighted as the parts' losses
/// are.
pub fn tangent_stats<E: Elem>(maps: Maps, x: &[E], xt: Option<&[E]>, stats: &Stats) -> TangentStats {
    maps.assert(&[Some(x), xt]);
    let mut out = TangentStats { mean: vec![0.0; maps.c], q: vec![0.0; maps.c] };
    let (Source::Batch, Some(xt)) = (stats.source, xt) else { return out };
    let of_map = |i| {
        let (x, t) = (maps.map(x, i), maps.map(xt, i));
        let sum = sum_run(t);
        let mean = E::of(sum / maps.hw as f64);
        // Σ (x−m)ẋ = Σ (x−m)(ẋ−k) + k Σ (x−m): centring both factors keeps the digits of the difference.
        let [dot, of_x] = centred_sums(x, E::of(stats.mean[i % maps.c]), t, mean);
        (sum, dot + mean.wide() * of_x)
    };
    let parts: Vec<(f64, f64)> = collect(maps.n * maps.c, maps.batch(), of_map);
    for (i, part) in parts.iter().enumerate() {
        let ch = i % maps.c;
        out.mean[ch] += part.0 / maps.count();
        out.q[ch] += part.1 / maps.count() * stats.istd[ch];
    }
    for ch in 0..maps.c {
        // The rounding of m to E, which Σ (x−m) ẋ still contains.
        let shift = E::of(stats.mean[ch]).wide() - stats.mean[ch];
        out.q[ch] += shift * out.mean[ch] * stats.istd[ch];
    }
    out
}

simd! {
    /// Computes Σ (x − m)(z − k) and Σ (x − m).
    fn centred_sums<E: Elem>(x: &[E], m: E, z: &[E], k: E) -> [f64; 2] {
        let (mut dots, mut sums) = ([E::zero(); LANES], [E::zero(); LANES]);
        let ((xs, x_rest), (zs, z_rest)) = (x.as_chunks::<LANES>(), z.as_chunks::<LANES>());
        for (x, z) in xs.iter().zip(zs) {
            for i in 0..LANES {
                dots[i] += (x[i] - m) * (z[i] - k);
                sums[i] += x[i] - m;
            }
        }
        let mut sums = [dots, sums].map(|lanes| lanes.iter().map(|v| v.wide()).sum::<f64>());
        for (&x, &z) in x_rest.iter().zip(z_rest) {
            sums[0] += ((x - m) * (z - k)).wide();
            sums[1] += (x - m).wide();
        }
        sums
    }
    /// Computes `out = k0 xt + k1 x + k2 (+ residual)`, masked.
    pub(super) fn tangent_map<E: Elem>(out: &mut [E], x: &[E], xt: Option<&[E]>, k: [E; 3], residual: Option<&[E]>, mask: Option<MapMask<'_, E>>) {
        let terms = out.iter_mut().zip(x);
        if let (Some(t), None, Some(MapMask::Between { of, k: by, m, top })) = (xt, residual, mask) {
            return terms.zip(t).zip(of).for_each(|(((o, &x), &t), &v)| *o = clip_mask(k[0] * t + k[1] * x + k[2], by * v + m, top));
        }
        match (xt, residual) {
            (Some(t), None) => terms.zip(t).for_each(|((o, &x), &t)| *o = k[0] * t + k[1] * x + k[2]),
            (Some(t), Some(r)) => terms.zip(t).zip(r).for_each(|(((o, &x), &t), &r)| *o = k[0] * t + k[1] * x + k[2] + r),
            (None, None) => terms.for_each(|(o, &x)| *o = k[1] * x + k[2]),
            (None, Some(r)) => terms.zip(r).for_each(|((o, &x), &r)| *o = k[1] * x + k[2] + r),
        }
        // The map is in the first-level cache, so this pass is cheap.
        if let Some(mask) = mask {
            mask.apply(out);
        }
    }
    /// Does the work of [`tangent_map`] with the old contents of `out` as the residual.
    pub(super) fn tangent_onto<E: Elem>(out: &mut [E], x: &[E], xt: Option<&[E]>, k: [E; 3], mask: Option<MapMask<'_, E>>) {
        match xt {
            Some(t) => out.iter_mut().zip(x).zip(t).for_each(|((o, &x), &t)| *o += k[0] * t + k[1] * x + k[2]),
            None => out.iter_mut().zip(x).for_each(|(o, &x)| *o += k[1] * x + k[2]),
        }
        if let Some(mask) = mask {
            mask.apply(out);
        }
    }
    /// Computes `out = k0 b + k1 a + k2 x + k3 xt + k4`, or adds it to out.
    fn combine<E: Elem>(out: &mut [E], b: Option<&[E]>, a: &[E], x: &[E], xt: Option<&[E]>, k: [E; 5], accum: Accum) {
        let terms = out.iter_mut().zip(a).zip(x);
        match (b, xt, accum) {
            (Some(b), Some(t), Accum::Replace) => terms.zip(b).zip(t).for_each(|((((o, &a), &x), &b), &t)| {
                *o = k[0] * b + k[1] * a + k[2] * x + k[3] * t + k[4];
            }),
            (Some(b), Some(t), Accum::Add) => terms.zip(b).zip(t).for_each(|((((o, &a), &x), &b), &t)| {
                *o += k[0] * b + k[1] * a + k[2] * x + k[3] * t + k[4];
            }),
            _ => {
                if accum.adds() {
                    terms.for_each(|((o, &a), &x)| *o += k[1] * a + k[2] * x + k[4]);
                } else {
                    terms.for_each(|((o, &a), &x)| *o = k[1] * a + k[2] * x + k[4]);
                }
                if let Some(b) = b {
                    out.iter_mut().zip(b).for_each(|(o, &b)| *o += k[0] * b);
                }
                if let Some(t) = xt {
                    out.iter_mut().zip(t).for_each(|(o, &t)| *o += k[3] * t);
                }
            }
        }
    }
}

/// The point and the direction of a tangent of batch normalisation.
#[derive(Clone, Copy, Debug)]
pub struct Tangent<'a, E> {
    /// The input x.
    pub x: &'a [E],
    /// The tangent ẋ; `None` if it is zero.
    pub xt: Option<&'a [E]>,
    /// The factors γ.
    pub gamma: &'a [E],
    /// The tangent γ̇; `None` if it is zero.
    pub gamma_t: Option<&'a [E]>,
    /// Statistics of x.
    pub stats: &'a Stats,
    /// The derivative of the statistics, by [`tangent_stats`].
    pub stats_t: &'a TangentStats,
}

impl<E: Elem> Tangent<'_, E> {
    /// The values (γ, γ̇, s, m, ṁ, q) of a channel.
    fn channel(&self, ch: usize) -> [f64; 6] {
        let (s, t) = (self.stats, self.stats_t);
        let gamma_t = self.gamma_t.map_or(0.0, |g| g[ch].wide());
        [self.gamma[ch].wide(), gamma_t, s.istd[ch], s.mean[ch], t.mean[ch], t.q[ch]]
    }
    /// The coefficients of ẏ before residual and mask, `k0 ẋ + k1 x + k2`, by channel.
    pub(super) fn coefficients(&self, beta_t: Option<&[E]>) -> Vec<[E; 3]> {
        let channel = |ch: usize| {
            let [gamma, gamma_t, s, m, mt, q] = self.channel(ch);
            let (by_t, by_x) = (gamma * s, (gamma_t - gamma * s * q) * s);
            [by_t, by_x, beta_t.map_or(0.0, |b| b[ch].wide()) - by_t * mt - by_x * m].map(E::of)
        };
        (0..self.stats.mean.len()).map(channel).collect()
    }
}

/// Computes ẏ. `beta_t` and `residual_t` are the tangents of β and of the residual. If the normalisation ended in a
/// clip, `mask` must be that of its recorded output.
pub fn tangent_apply<E: Elem>(
    maps: Maps,
    at: Tangent<'_, E>,
    beta_t: Option<&[E]>,
    residual_t: Option<Operand<'_, E>>,
    mask: Option<Mask<'_, E>>,
    out: &mut [E],
) {
    maps.assert(&[Some(at.x), at.xt, Mask::values(mask), Some(out)]);
    assert!(residual_t.is_none_or(|residual_t| residual_t.len() == maps.size()));
    let residual_t = residual_t.map(|residual_t| residual_t.resolve(true, maps.hw));
    let coefficients = at.coefficients(beta_t);
    each_chunk(out, maps.hw, maps.batch(), |i, out| {
        let (k, mask) = (coefficients[i % maps.c], Mask::map(mask, maps, i));
        let (x, xt) = (maps.map(at.x, i), maps.maps(at.xt, i));
        match residual_t.as_ref().map(Resolved::values) {
            None => tangent_map(out, x, xt, k, None, mask),
            Some(Operand::Whole(residual)) => tangent_map(out, x, xt, k, Some(maps.map(residual, i)), mask),
            Some(Operand::Streamed(residual)) => {
                residual.produce(i, 0..maps.hw, out);
                tangent_onto(out, x, xt, k, mask);
            }
        }
    });
}

/// Sums of each channel in the reverse pass of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct SecondSums {
    /// The sum Σ a (ẋ − ṁ).
    pub moved: Vec<f64>,
    /// The sum Σ b.
    pub b: Vec<f64>,
    /// The sum Σ b x̂.
    pub bx: Vec<f64>,
}

impl SecondSums {
    /// The second-order gradients of β and γ; `first` are the sums of the gradient pass over the same maps.
    pub fn gradients<E: Elem>(&self, at: Tangent<'_, E>, first: &Sums) -> Sums {
        let gamma = |ch: usize| {
            let [_, _, s, _, _, q] = at.channel(ch);
            self.bx[ch] + s * (self.moved[ch] - q * first.gamma[ch])
        };
        Sums { beta: self.b.clone(), gamma: (0..self.b.len()).map(gamma).collect() }
    }

    /// The coefficients of [`combine`] for the second-order adjoint of x in a channel.
    fn coefficients<E: Elem>(&self, maps: Maps, at: Tangent<'_, E>, first: &Sums, ch: usize) -> [E; 5] {
        let [gamma, gamma_t, s, m, mt, q] = at.channel(ch);
        match at.stats.source {
            Source::Fixed => [s * gamma, s * gamma_t, 0.0, 0.0, 0.0],
            Source::Batch => {
                let sums = [first.beta[ch], first.gamma[ch], self.moved[ch], self.b[ch], self.bx[ch]];
                let [ma, max, mat, mb, mbx] = sums.map(|v| v / maps.count());
                let mean_x = gamma * mb + gamma_t * ma - s * q * gamma * ma;
                let along =
                    gamma * mbx + gamma_t * max - 2.0 * s * q * gamma * max + gamma * s * (mat - q * max);
                let (by_x, by_t) = (-s * s * along, -s * s * gamma * max);
                [s * gamma, s * (gamma_t - s * q * gamma), by_x, by_t, -s * mean_x - by_x * m - by_t * mt]
            }
        }
        .map(E::of)
    }
}

/// Computes the sums that the second-order adjoint of x and the second-order gradients of β and γ need.
///
/// `a` is the recorded adjoint of y, masked, with its sums `first`. `b` is the derivative of the adjoint of y; `None`
/// stands for zero. With a `mask`, `b` is **masked in place** and is then the second-order adjoint of the residual too.
pub fn second_sums<E: Elem>(
    maps: Maps,
    at: Tangent<'_, E>,
    a: &[E],
    first: &Sums,
    b: Option<&mut [E]>,
    mask: Option<Mask<'_, E>>,
) -> SecondSums {
    let Tangent { x, xt, stats, stats_t, .. } = at;
    maps.assert(&[Some(x), xt, Some(a), b.as_deref(), Mask::values(mask)]);
    // Σ a (ẋ − ṁ), then Σ b and Σ b (x − m), per map.
    let of_map = |i: usize, b: Option<&mut [E]>| {
        let (ch, x) = (i % maps.c, maps.map(x, i));
        let of_a = maps
            .maps(xt, i)
            .map_or(0.0, |t| centred_dot(maps.map(a, i), E::zero(), t, E::of(stats_t.mean[ch])));
        let mask = Mask::map(mask, maps, i);
        let [b, bx] = b.map_or([0.0; 2], |b| masked_sums(b, x, E::of(stats.mean[ch]), mask));
        [of_a, b, bx]
    };
    let parts: Vec<[f64; 3]> = match b {
        Some(b) => collect_chunks(b, maps.hw, maps.batch(), |i, b| of_map(i, Some(b))),
        None => collect(maps.n * maps.c, maps.batch(), |i| of_map(i, None)),
    };
    let mut sums = SecondSums { moved: vec![0.0; maps.c], b: vec![0.0; maps.c], bx: vec![0.0; maps.c] };
    for ch in 0..maps.c {
        let of_channel = |k: usize| (ch..maps.n * maps.c).step_by(maps.c).map(|i| parts[i][k]).sum::<f64>();
        let [_, _, s, m, mt, _] = at.channel(ch);
        // The sums of the maps were centred by means rounded to E; this adds the difference to the exact means.
        let (shift, shift_t) = (E::of(m).wide() - m, E::of(mt).wide() - mt);
        sums.moved[ch] = of_channel(0) + if xt.is_some() { shift_t * first.beta[ch] } else { 0.0 };
        sums.b[ch] = of_channel(1);
        sums.bx[ch] = s * (of_channel(2) + shift * sums.b[ch]);
    }
    sums
}

/// Computes the second-order adjoint of x and writes it to `gx`, or adds it there.
///
/// `a` is the recorded adjoint of y, `b` its derivative, masked by [`second_sums`]. `first` and `second` are the sums
/// of the gradient pass and of the replay; if these maps are a part of a batch, the means of the parts' sums.
/// `by_product` receives the adjoint that the gradient pass computes for x from `a`, with the same bits.
#[allow(clippy::too_many_arguments)]
pub fn second_input<E: Elem>(
    maps: Maps,
    at: Tangent<'_, E>,
    (a, b): (&[E], Option<&[E]>),
    (first, second): (&Sums, &SecondSums),
    gx: &mut [E],
    accum: Accum,
    by_product: Option<&mut [E]>,
) {
    let Tangent { x, xt, stats, .. } = at;
    maps.assert(&[Some(x), xt, Some(a), b, Some(gx), by_product.as_deref()]);
    let coefficients: Vec<[E; 5]> = (0..maps.c).map(|ch| second.coefficients(maps, at, first, ch)).collect();
    let second = |i: usize, gx: &mut [E]| {
        let (a, x, t) = (maps.map(a, i), maps.map(x, i), maps.maps(xt, i));
        combine(gx, maps.maps(b, i), a, x, t, coefficients[i % maps.c], accum);
    };
    let Some(by_product) = by_product else {
        return each_chunk(gx, maps.hw, maps.batch(), second);
    };
    let of_first = input_coefficients(maps, stats, at.gamma, first);
    each_pair((gx, by_product), [maps.hw; 2], maps.batch(), |i, gx, by_product| {
        second(i, gx);
        let k = of_first[i % maps.c];
        norm::combine(by_product, maps.map(a, i), maps.map(x, i), k, Accum::Replace);
    });
}

#[cfg(test)]
mod tests;
