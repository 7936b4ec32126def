//! Layer normalisation of rows: forward, backward, tangent and second-order backward.
//!
//! A row x of D elements: `x̂ = s (x − m)`, `y = γ x̂ + β`. With `u = γ g` for an adjoint g of y, `x̄ = s P(u)` with
//! `P(u) = u − mean u − x̂ mean(u x̂)`. Along ẋ, with `q = mean(x̂ (ẋ − ṁ))`:
//! - `x̂′ = s (ẋ − ṁ − q x̂)`, `ẏ = γ x̂′ + γ̇ x̂ + β̇`;
//! - with `a` the recorded adjoint of y, `b` its derivative, `u₀ = γ a` and `u₁ = γ b + γ̇ a`, the second-order adjoint
//!   is `s (u₁ − mean u₁ − x̂ mean(u₁ x̂ + u₀ x̂′) − x̂′ mean(u₀ x̂)) − s² q P(u₀)`;
//! - `γ̄ = Σ b x̂ + a x̂′`, `β̄ = Σ b` over the rows.

use super::elem::Elem;
use super::norm::Sums;
use super::simd::{LANES, simd};
use crate::Accum;
use crate::buffer::Buf;
use crate::parallel::{chunk, collect, collect_chunks, each_chunk, each_pair};

/// Rows that one task computes. The number is fixed, so partial sums over rows have the same bits on any machine.
const BLOCK: usize = 64;

/// The point at which derivatives of a normalisation are taken.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a, E> {
    /// The input: rows of D elements.
    pub x: &'a [E],
    /// Mean and 1/√(variance + ε) of each row.
    pub stats: &'a [E],
    /// The factors γ, D elements.
    pub gamma: &'a [E],
}

/// A direction; `None` stands for a zero tangent.
#[derive(Clone, Copy, Debug)]
pub struct Along<'a, E> {
    /// The tangent ẋ.
    pub x: Option<&'a [E]>,
    /// The tangent γ̇.
    pub gamma: Option<&'a [E]>,
}

/// Computes Σ f(x) with partial sums in `E`, merged in f64.
#[inline(always)]
fn sum1<E: Elem>(x: &[E], f: impl Fn(E) -> E) -> f64 {
    let mut lanes = [E::zero(); LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for c in chunks {
        for i in 0..LANES {
            lanes[i] += f(c[i]);
        }
    }
    lanes.iter().map(|v| v.wide()).sum::<f64>() + rest.iter().map(|&v| f(v).wide()).sum::<f64>()
}

/// Computes Σ f(x, y) with partial sums in `E`, merged in f64.
#[inline(always)]
fn sum2<E: Elem>(x: &[E], y: &[E], f: impl Fn(E, E) -> E) -> f64 {
    let mut lanes = [E::zero(); LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    let rest = x_rest.iter().zip(y_rest).map(|(&x, &y)| f(x, y).wide());
    lanes.iter().map(|v| v.wide()).sum::<f64>() + rest.sum::<f64>()
}

#[inline(always)]
fn put<E: Elem>(out: &mut [E], accum: Accum, values: impl Iterator<Item = E>) {
    if accum.adds() {
        out.iter_mut().zip(values).for_each(|(o, v)| *o += v);
    } else {
        out.iter_mut().zip(values).for_each(|(o, v)| *o = v);
    }
}

/// Row `i` of an array with rows of `d` elements.
#[inline(always)]
fn row<E>(x: &[E], i: usize, d: usize) -> &[E] {
    &x[i * d..][..d]
}

simd! {
    fn forward_rows<E: Elem>(x: &[E], gamma: &[E], beta: &[E], eps: f64, y: &mut [E], stats: &mut [E]) {
        let d = gamma.len();
        for ((x, y), stats) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(stats.chunks_exact_mut(2)) {
            let m = E::of(sum1(x, |x| x) / d as f64);
            let variance = sum1(x, |x| (x - m) * (x - m)) / d as f64;
            let s = E::of((variance + eps).sqrt().recip());
            for (((y, &x), &g), &b) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = (x - m) * s * g + b;
            }
            (stats[0], stats[1]) = (m, s);
        }
    }
    /// Computes x̂ of a row.
    fn hat_row<E: Elem>(x: &[E], m: E, s: E, hat: &mut [E]) {
        for (h, &x) in hat.iter_mut().zip(x) {
            *h = (x - m) * s;
        }
    }
    fn first_sums<E: Elem>(hat: &[E], g: &[E], sums: &mut [E]) {
        let (beta_sum, gamma_sum) = sums.split_at_mut(hat.len());
        for (((b, c), &h), &g) in beta_sum.iter_mut().zip(gamma_sum).zip(hat).zip(g) {
            *b += g;
            *c += g * h;
        }
    }
    fn first_row<E: Elem>(hat: &[E], u: &[E], s: E, gx: &mut [E], accum: Accum) {
        let d = hat.len() as f64;
        let mean = E::of(sum1(u, |u| u) / d);
        let along = E::of(sum2(u, hat, |u, h| u * h) / d);
        put(gx, accum, u.iter().zip(hat).map(|(&u, &h)| s * (u - mean - h * along)));
    }
    /// Computes x̂′ of a row and returns q.
    fn moved_row<E: Elem>(hat: &[E], xt: Option<&[E]>, s: E, hat_t: &mut [E]) -> E {
        let Some(xt) = xt else {
            hat_t.fill(E::zero());
            return E::zero();
        };
        let d = hat.len() as f64;
        let mt = E::of(sum1(xt, |t| t) / d);
        let q = E::of(sum2(hat, xt, |h, t| h * (t - mt)) / d);
        for ((o, &h), &t) in hat_t.iter_mut().zip(hat).zip(xt) {
            *o = s * (t - mt - q * h);
        }
        q
    }
    fn tangent_row<E: Elem>(hat: &[E], hat_t: &[E], gamma: &[E], gamma_t: Option<&[E]>, beta_t: Option<&[E]>, out: &mut [E]) {
        for ((o, &t), &g) in out.iter_mut().zip(hat_t).zip(gamma) {
            *o = g * t;
        }
        if let Some(gamma_t) = gamma_t {
            out.iter_mut().zip(hat).zip(gamma_t).for_each(|((o, &h), &g)| *o += g * h);
        }
        if let Some(beta_t) = beta_t {
            out.iter_mut().zip(beta_t).for_each(|(o, &b)| *o += b);
        }
    }
    /// Computes `u = γ b + γ̇ a`. A product with `None` counts as 0.
    fn product_row<E: Elem>(gamma: &[E], b: Option<&[E]>, gamma_t: Option<&[E]>, a: &[E], u: &mut [E]) {
        match b {
            Some(b) => u.iter_mut().zip(gamma).zip(b).for_each(|((u, &g), &b)| *u = g * b),
            None => u.fill(E::zero()),
        }
        if let Some(gamma_t) = gamma_t {
            u.iter_mut().zip(gamma_t).zip(a).for_each(|((u, &g), &a)| *u += g * a);
        }
    }
    fn second_row<E: Elem>(hat: &[E], hat_t: &[E], u0: &[E], u1: &[E], q: E, s: E, gx: &mut [E], accum: Accum) {
        let d = hat.len() as f64;
        let (m0, m1) = (E::of(sum1(u0, |u| u) / d), E::of(sum1(u1, |u| u) / d));
        let along0 = E::of(sum2(u0, hat, |u, h| u * h) / d);
        let along1 = E::of((sum2(u1, hat, |u, h| u * h) + sum2(u0, hat_t, |u, h| u * h)) / d);
        let k = s * q;
        let values = hat.iter().zip(hat_t).zip(u0.iter().zip(u1)).map(|((&h, &t), (&u0, &u1))| {
            s * (u1 - m1 - h * along1 - t * along0 - k * (u0 - m0 - h * along0))
        });
        put(gx, accum, values);
    }
    fn second_sums<E: Elem>(hat: &[E], hat_t: &[E], a: &[E], b: Option<&[E]>, sums: &mut [E]) {
        let (beta_sum, gamma_sum) = sums.split_at_mut(hat.len());
        gamma_sum.iter_mut().zip(hat_t).zip(a).for_each(|((c, &t), &a)| *c += a * t);
        if let Some(b) = b {
            for (((s, c), &h), &b) in beta_sum.iter_mut().zip(gamma_sum).zip(hat).zip(b) {
                *s += b;
                *c += b * h;
            }
        }
    }
}

/// Runs `block(index, part of gx, sums)` for every block of rows, and adds up the sums in the order of the blocks.
fn blocks<E: Elem>(
    d: usize,
    rows: usize,
    gx: Option<&mut [E]>,
    block: impl Fn(usize, Option<&mut [E]>, &mut [E]) + Sync,
) -> Sums {
    let run = |i: usize, gx: Option<&mut [E]>| {
        let mut sums = Buf::<E>::zeroed(2 * d);
        block(i, gx, &mut sums);
        sums
    };
    let parts: Vec<Buf<E>> = match gx {
        Some(gx) => collect_chunks(gx, BLOCK * d, 1, |i, gx| run(i, Some(gx))),
        None => collect(rows.div_ceil(BLOCK), 1, |i| run(i, None)),
    };
    let total = |j: usize| parts.iter().map(|part| part[j].wide()).sum();
    Sums { beta: (0..d).map(total).collect(), gamma: (d..2 * d).map(total).collect() }
}

/// Checks all lengths and returns the number of rows.
fn check<E>(d: usize, x: &[E], stats: &[E], slices: &[Option<&[E]>], vectors: &[Option<&[E]>]) -> usize {
    let rows = x.len() / d.max(1);
    assert!(d > 0 && x.len() == rows * d && stats.len() == 2 * rows, "rows of {d}");
    assert!(
        slices.iter().flatten().all(|s| s.len() == x.len()) && vectors.iter().flatten().all(|v| v.len() == d)
    );
    rows
}

/// Computes `y = γ x̂ + β` and the statistics of each row.
pub fn forward<E: Elem>(x: &[E], gamma: &[E], beta: &[E], eps: f64, y: &mut [E], stats: &mut [E]) {
    let d = gamma.len();
    check(d, x, stats, &[Some(y)], &[Some(beta)]);
    each_pair((y, stats), [BLOCK * d, 2 * BLOCK], 1, |i, y, stats| {
        forward_rows(chunk(x, BLOCK * d, i), gamma, beta, eps, y, stats);
    });
}

/// Computes x̄ for the adjoint g of y, or adds it to gx. Returns the sums β̄ and γ̄.
pub fn backward<E: Elem>(at: Point<'_, E>, g: &[E], gx: Option<&mut [E]>, accum: Accum) -> Sums {
    let d = at.gamma.len();
    let rows = check(d, at.x, at.stats, &[Some(g), gx.as_deref()], &[]);
    blocks(d, rows, gx, |block, mut gx, sums| {
        let mut scratch = Buf::<E>::new(2 * d);
        let (hat, u) = scratch.split_at_mut(d);
        let first = block * BLOCK;
        for i in first..(first + BLOCK).min(rows) {
            let (g, s) = (row(g, i, d), at.stats[2 * i + 1]);
            hat_row(row(at.x, i, d), at.stats[2 * i], s, hat);
            first_sums(hat, g, sums);
            if let Some(gx) = gx.as_deref_mut() {
                product_row(at.gamma, Some(g), None, &[], u);
                first_row(hat, u, s, &mut gx[(i - first) * d..][..d], accum);
            }
        }
    })
}

/// Computes the tangent ẏ.
pub fn tangent<E: Elem>(at: Point<'_, E>, along: Along<'_, E>, beta_t: Option<&[E]>, out: &mut [E]) {
    let d = at.gamma.len();
    check(d, at.x, at.stats, &[along.x, Some(out)], &[along.gamma, beta_t]);
    each_chunk(out, BLOCK * d, 1, |block, out| {
        let mut scratch = Buf::<E>::new(2 * d);
        let (hat, hat_t) = scratch.split_at_mut(d);
        for (j, out) in out.chunks_exact_mut(d).enumerate() {
            let i = block * BLOCK + j;
            hat_row(row(at.x, i, d), at.stats[2 * i], at.stats[2 * i + 1], hat);
            moved_row(hat, along.x.map(|t| row(t, i, d)), at.stats[2 * i + 1], hat_t);
            tangent_row(hat, hat_t, at.gamma, along.gamma, beta_t, out);
        }
    });
}

/// Computes the second-order adjoint of x, or adds it to gx. Returns the sums β̄ and γ̄. `a` is the recorded adjoint of
/// y, `b` its derivative.
pub fn second<E: Elem>(
    at: Point<'_, E>,
    along: Along<'_, E>,
    a: &[E],
    b: Option<&[E]>,
    gx: Option<&mut [E]>,
    accum: Accum,
) -> Sums {
    let d = at.gamma.len();
    let rows = check(d, at.x, at.stats, &[along.x, Some(a), b, gx.as_deref()], &[along.gamma]);
    blocks(d, rows, gx, |block, mut gx, sums| {
        let mut scratch = Buf::<E>::new(4 * d);
        let (hats, products) = scratch.split_at_mut(2 * d);
        let ((hat, hat_t), (u0, u1)) = (hats.split_at_mut(d), products.split_at_mut(d));
        let first = block * BLOCK;
        for i in first..(first + BLOCK).min(rows) {
            let (a, b, s) = (row(a, i, d), b.map(|b| row(b, i, d)), at.stats[2 * i + 1]);
            hat_row(row(at.x, i, d), at.stats[2 * i], s, hat);
            let q = moved_row(hat, along.x.map(|t| row(t, i, d)), s, hat_t);
            second_sums(hat, hat_t, a, b, sums);
            if let Some(gx) = gx.as_deref_mut() {
                product_row(at.gamma, Some(a), None, a, u0);
                product_row(at.gamma, b, along.gamma, a, u1);
                second_row(hat, hat_t, u0, u1, q, s, &mut gx[(i - first) * d..][..d], accum);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{max_abs_diff, noise, on_threads, same_bits};

    const D: usize = 37;
    const ROWS: usize = 130; // more than two blocks

    fn run(x: &[f64], gamma: &[f64], beta: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut y, mut stats) = (vec![0.0; x.len()], vec![0.0; x.len() / D * 2]);
        forward(x, gamma, beta, 1e-3, &mut y, &mut stats);
        (y, stats)
    }

    #[test]
    fn rows_have_mean_zero_and_variance_one() {
        let x: Vec<f64> = noise::<f64>(ROWS * D, 1).iter().map(|x| 5.0 + 2.0 * x).collect();
        let (mut y, mut stats) = (vec![0.0; x.len()], vec![0.0; ROWS * 2]);
        forward(&x, &[1.0; D], &[0.0; D], 0.0, &mut y, &mut stats);
        for row in y.chunks(D) {
            assert!(row.iter().sum::<f64>().abs() < 1e-12);
            assert!((row.iter().map(|y| y * y).sum::<f64>() / D as f64 - 1.0).abs() < 1e-12);
        }
    }

    /// Compares tangent, gradient and second-order gradient with central differences of step 1e-5, which are off by
    /// 1e-8 at most here.
    #[test]
    fn derivatives_match_central_differences() {
        let (x, gamma, beta) = (noise::<f64>(ROWS * D, 1), noise::<f64>(D, 2), noise::<f64>(D, 3));
        let (xt, gamma_t, beta_t) = (noise::<f64>(ROWS * D, 4), noise::<f64>(D, 5), noise::<f64>(D, 6));
        let (w, wt) = (noise::<f64>(ROWS * D, 7), noise::<f64>(ROWS * D, 8));
        let along =
            |a: &[f64], t: &[f64], h: f64| a.iter().zip(t).map(|(a, t)| a + h * t).collect::<Vec<_>>();
        let gradient = |h: f64| {
            let (x, gamma) = (along(&x, &xt, h), along(&gamma, &gamma_t, h));
            let (y, stats) = run(&x, &gamma, &along(&beta, &beta_t, h));
            let mut gx = vec![0.0; x.len()];
            let at = Point { x: &x, stats: &stats, gamma: &gamma };
            let sums = backward(at, &along(&w, &wt, h), Some(&mut gx), Accum::Replace);
            [y, gx, sums.gamma, sums.beta]
        };
        let (plus, minus) = (gradient(1e-5), gradient(-1e-5));
        let slopes: Vec<Vec<f64>> = plus
            .iter()
            .zip(&minus)
            .map(|(p, m)| p.iter().zip(m).map(|(p, m)| (p - m) / 2e-5).collect())
            .collect();
        let (_, stats) = run(&x, &gamma, &beta);
        let at = Point { x: &x, stats: &stats, gamma: &gamma };
        let direction = Along { x: Some(&xt), gamma: Some(&gamma_t) };
        let mut yt = vec![0.0; x.len()];
        tangent(at, direction, Some(&beta_t), &mut yt);
        assert!(max_abs_diff(&yt, &slopes[0]) < 1e-7);
        for accum in Accum::BOTH {
            let mut gx = vec![1.0; x.len()];
            let sums = second(at, direction, &w, Some(&wt), Some(&mut gx), accum);
            gx.iter_mut().for_each(|g| *g -= if accum.adds() { 1.0 } else { 0.0 });
            assert!(max_abs_diff(&gx, &slopes[1]) < 1e-6);
            assert!(
                max_abs_diff(&sums.gamma, &slopes[2]) < 1e-6 && max_abs_diff(&sums.beta, &slopes[3]) < 1e-6
            );
        }
        // ⟨ẏ, w⟩ along ẋ alone is ⟨ẋ, x̄⟩: the gradient is the adjoint of the tangent.
        let mut gx = vec![0.0; x.len()];
        backward(at, &w, Some(&mut gx), Accum::Replace);
        tangent(at, Along { x: Some(&xt), gamma: None }, None, &mut yt);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert!((dot(&yt, &w) - dot(&xt, &gx)).abs() < 1e-11);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (x, g, gamma) = (noise::<f32>(ROWS * D, 1), noise::<f32>(ROWS * D, 2), noise::<f32>(D, 3));
        let run = |threads| {
            on_threads(threads, || {
                let (mut y, mut stats, mut gx) =
                    (vec![0.0; x.len()], vec![0.0; ROWS * 2], vec![0.0; x.len()]);
                forward(&x, &gamma, &gamma, 1e-6, &mut y, &mut stats);
                let at = Point { x: &x, stats: &stats, gamma: &gamma };
                let sums = backward(at, &g, Some(&mut gx), Accum::Replace);
                (y, gx, sums)
            })
        };
        let (one, two) = (run(1), run(2));
        assert!(same_bits(&one.0, &two.0) && same_bits(&one.1, &two.1) && one.2 == two.2);
    }
}
