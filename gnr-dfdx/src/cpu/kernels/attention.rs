//! Multi-head attention straight on the matrix of queries, keys and values: no head is ever copied apart.
//!
//! Of each sample and head, with τ the scale: `S = τ Q Kᵀ + B`, `P = softmax S`, `O = P V`. For an adjoint g of O:
//! `V̄ = Pᵀ g`, `P̄ = g Vᵀ`, `S̄ = P ⊙ (P̄ − r)` with `r` the row sums of `P ⊙ P̄`, `Q̄ = τ S̄ K`, `K̄ = τ S̄ᵀ Q`, `B̄ = S̄`. Along a direction
//! `Ṗ = P ⊙ (Ṡ − row sums of P ⊙ Ṡ)`; and with a recorded adjoint `a` and its derivative `b`:
//! - `V̄ = Ṗᵀ a + Pᵀ b`, `P̄′ = b Vᵀ + a V̇ᵀ`;
//! - `S̄′ = Ṗ ⊙ (P̄ − r) + P ⊙ (P̄′ − r′)` with `r′` the row sums of `Ṗ ⊙ P̄ + P ⊙ P̄′`, `P̄` and `r` being those of `a`;
//! - `Q̄ = τ (S̄′ K + S̄ K̇)`, `K̄ = τ (S̄′ᵀ Q + S̄ᵀ Q̇)`, `B̄ = S̄′`.

use std::collections::BTreeMap;

use super::elem::Elem;
use super::gemm::{Mat, gemm};
use super::simd::{LANES, simd};
use super::work;
use crate::cpu::buffer::Buf;
use gnr_nn::composed::AttentionShape;
use rayon::prelude::*;

/// Samples whose bias adjoints one task adds up. Fixed, so that the sum is the same on any machine.
const BLOCK: usize = 8;

#[inline(always)]
fn sum2<E: Elem>(x: &[E], y: &[E], f: impl Fn(E, E) -> E) -> E {
    let mut lanes = [E::zero(); LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    let rest: E = x_rest.iter().zip(y_rest).map(|(&x, &y)| f(x, y)).sum();
    lanes.into_iter().sum::<E>() + rest
}

simd! {
    /// `s ← softmax(τ s + bias)` by rows of `t`.
    fn softmax_rows<E: Elem>(t: usize, scale: E, s: &mut [E], bias: Option<&[E]>) {
        for (i, row) in s.chunks_exact_mut(t).enumerate() {
            match bias {
                Some(bias) => row.iter_mut().zip(&bias[i * t..]).for_each(|(s, &b)| *s = *s * scale + b),
                None => row.iter_mut().for_each(|s| *s *= scale),
            }
            let mut lanes = [E::neg_infinity(); LANES];
            let (chunks, rest) = row.as_chunks::<LANES>();
            for c in chunks {
                for l in 0..LANES {
                    lanes[l] = if c[l] > lanes[l] { c[l] } else { lanes[l] };
                }
            }
            // A NaN is passed over here and comes back by the exponential.
            let top = lanes.iter().chain(rest).fold(E::neg_infinity(), |top, &s| if s > top { s } else { top });
            row.iter_mut().for_each(|s| *s = (*s - top).natural_exp());
            let mut lanes = [E::zero(); LANES];
            let (chunks, rest) = row.as_chunks::<LANES>();
            for c in chunks {
                for l in 0..LANES {
                    lanes[l] += c[l];
                }
            }
            let total = lanes.into_iter().sum::<E>() + rest.iter().copied().sum::<E>();
            let factor = E::one() / total;
            row.iter_mut().for_each(|s| *s *= factor);
        }
    }
    /// `s ← p ⊙ (s − row sums of p ⊙ s)`: a derivative of the softmax, forward or backward.
    fn softmax_derivative<E: Elem>(t: usize, p: &[E], s: &mut [E]) {
        for (p, s) in p.chunks_exact(t).zip(s.chunks_exact_mut(t)) {
            let r = sum2(p, s, |p, s| p * s);
            s.iter_mut().zip(p).for_each(|(s, &p)| *s = p * (*s - r));
        }
    }
    /// From P̄ and P̄′ to S̄ and S̄′.
    fn softmax_second<E: Elem>(t: usize, p: &[E], pt: &[E], s: &mut [E], s2: &mut [E]) {
        let rows = p.chunks_exact(t).zip(pt.chunks_exact(t));
        for ((p, pt), (s, s2)) in rows.zip(s.chunks_exact_mut(t).zip(s2.chunks_exact_mut(t))) {
            let r = sum2(p, s, |p, s| p * s);
            let r2 = sum2(pt, s, |p, s| p * s) + sum2(p, s2, |p, s| p * s);
            for (((&p, &pt), s), s2) in p.iter().zip(pt).zip(s).zip(s2) {
                *s2 = pt * (*s - r) + p * (*s2 - r2);
                *s = p * (*s - r);
            }
        }
    }
    fn add<E: Elem>(y: &mut [E], x: &[E]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
    }
    fn multiply<E: Elem>(y: &mut [E], a: E) {
        y.iter_mut().for_each(|y| *y *= a);
    }
}

/// The parts of one sample's `[T, 3·D]`, and of its `[T, D]`.
#[derive(Clone, Copy)]
struct Sizes {
    t: usize,
    d: usize,
    heads: usize,
    model: usize,
    scale: f64,
}

impl Sizes {
    fn new(shape: AttentionShape) -> Self {
        let model = shape.model_width();
        Self { t: shape.tokens, d: shape.width, heads: shape.heads, model, scale: shape.scale() }
    }
    /// Elements of a sample's qkv, output, and scores.
    fn lens(self) -> [usize; 3] {
        [self.t * 3 * self.model, self.t * self.model, self.heads * self.t * self.t]
    }
    /// Where part 0, 1 or 2 (q, k, v) of a head starts.
    fn start(self, part: usize, head: usize) -> usize {
        part * self.model + head * self.d
    }
    fn part<E>(self, qkv: &[E], part: usize, head: usize) -> Mat<'_, E> {
        Mat { data: &qkv[self.start(part, head)..], row: 3 * self.model, column: 1 }
    }
    fn head<E>(self, y: &[E], head: usize) -> Mat<'_, E> {
        Mat { data: &y[head * self.d..], row: self.model, column: 1 }
    }
    fn square<E>(self, s: &[E], head: usize) -> &[E] {
        &s[head * self.t * self.t..][..self.t * self.t]
    }
    /// `c (+)= a bᵀ`, `[T, d]·[T, d]ᵀ`.
    fn scores<E: Elem>(self, a: Mat<'_, E>, b: Mat<'_, E>, c: &mut [E], accumulate: bool) {
        work::count(self.t * self.d * self.t);
        gemm([self.t, self.d, self.t], a, b.t(), c, self.t, accumulate);
    }
    /// `c (+)= s a`, `[T, T]·[T, d]`, rows of c `row` apart; `s` transposed when asked.
    fn mix<E: Elem>(
        self,
        s: &[E],
        transposed: bool,
        a: Mat<'_, E>,
        c: &mut [E],
        row: usize,
        accumulate: bool,
    ) {
        work::count(self.t * self.t * self.d);
        let s = Mat::rows(s, self.t);
        let s = if transposed { s.t() } else { s };
        gemm([self.t, self.t, self.d], s, a, c, row, accumulate);
    }
}

fn check<E>(
    shape: AttentionShape,
    whole: &[Option<&[E]>],
    outputs: &[Option<&[E]>],
    squares: &[Option<&[E]>],
    biases: &[Option<&[E]>],
) {
    let [whole_len, output_len, square_len] = Sizes::new(shape).lens();
    let fits = |slices: &[Option<&[E]>], len: usize| slices.iter().flatten().all(|s| s.len() == len);
    assert!(
        fits(whole, shape.samples * whole_len)
            && fits(outputs, shape.samples * output_len)
            && fits(squares, shape.samples * square_len)
            && fits(biases, shape.biases * square_len),
        "{shape:?}"
    );
}

/// The output `[N, T, D]`, and the probabilities `[N, heads, T, T]` where somebody will need them.
pub fn forward<E: Elem>(
    shape: AttentionShape,
    qkv: &[E],
    bias: Option<&[E]>,
    out: &mut [E],
    probabilities: Option<&mut [E]>,
) {
    check(shape, &[Some(qkv)], &[Some(out)], &[probabilities.as_deref()], &[bias]);
    let sizes = Sizes::new(shape);
    let [whole, output, square] = sizes.lens();
    let len = sizes.t * sizes.t;
    let head = |n: usize, head: usize, out: &mut [E], p: &mut [E]| {
        let qkv = &qkv[n * whole..][..whole];
        let bias = bias.map(|bias| &bias[n % shape.biases * square..][..square]);
        sizes.scores(sizes.part(qkv, 0, head), sizes.part(qkv, 1, head), p, false);
        softmax_rows(sizes.t, E::of(sizes.scale), p, bias.map(|bias| sizes.square(bias, head)));
        sizes.mix(p, false, sizes.part(qkv, 2, head), &mut out[head * sizes.d..], sizes.model, false);
    };
    let samples = out.par_chunks_mut(output);
    match probabilities {
        Some(all) => samples.zip(all.par_chunks_mut(square)).enumerate().for_each(|(n, (out, p))| {
            p.chunks_exact_mut(len).enumerate().for_each(|(i, p)| head(n, i, out, p));
        }),
        None => samples.enumerate().for_each(|(n, out)| {
            let mut p = Buf::<E>::new(len);
            (0..sizes.heads).for_each(|i| head(n, i, out, &mut p));
        }),
    }
}

/// Ȯ and Ṗ along a direction; `probabilities` are P.
pub fn tangent<E: Elem>(
    shape: AttentionShape,
    qkv: &[E],
    qkv_t: Option<&[E]>,
    bias_t: Option<&[E]>,
    probabilities: &[E],
    out: &mut [E],
    probabilities_t: &mut [E],
) {
    check(shape, &[Some(qkv), qkv_t], &[Some(out)], &[Some(probabilities), Some(probabilities_t)], &[bias_t]);
    let sizes = Sizes::new(shape);
    let [whole, output, square] = sizes.lens();
    let outputs = out.par_chunks_mut(output).zip(probabilities_t.par_chunks_mut(square));
    qkv.par_chunks(whole).zip(probabilities.par_chunks(square)).zip(outputs).enumerate().for_each(
        |(n, ((qkv, p), (out, pt)))| {
            let qkv_t = qkv_t.map(|t| &t[n * whole..][..whole]);
            let bias_t = bias_t.map(|bias| &bias[n % shape.biases * square..][..square]);
            for (head, pt) in pt.chunks_exact_mut(sizes.t * sizes.t).enumerate() {
                let p = sizes.square(p, head);
                let [q, k, v] = [0, 1, 2].map(|part| sizes.part(qkv, part, head));
                match qkv_t {
                    Some(t) => {
                        sizes.scores(sizes.part(t, 0, head), k, pt, false);
                        sizes.scores(q, sizes.part(t, 1, head), pt, true);
                        multiply(pt, E::of(sizes.scale));
                    }
                    None => pt.fill(E::zero()),
                }
                if let Some(bias_t) = bias_t {
                    add(pt, sizes.square(bias_t, head));
                }
                softmax_derivative(sizes.t, p, pt);
                let out = &mut out[head * sizes.d..];
                sizes.mix(pt, false, v, out, sizes.model, false);
                if let Some(t) = qkv_t {
                    sizes.mix(p, false, sizes.part(t, 2, head), out, sizes.model, true);
                }
            }
        },
    );
}

/// Where adjoints go: of qkv and of the bias, each with whether it is added.
#[derive(Debug)]
pub struct Adjoint<'a, E> {
    /// Of qkv.
    pub qkv: Option<(&'a mut [E], bool)>,
    /// Of the bias.
    pub bias: Option<(&'a mut [E], bool)>,
}

impl<E: Elem> Adjoint<'_, E> {
    /// Adds nothing.
    pub fn zero(self) {
        for (out, more) in [self.qkv, self.bias].into_iter().flatten() {
            if !more {
                out.fill(E::zero());
            }
        }
    }

    /// Runs `f(sample, its qkv adjoint, whether that is added to, where its S̄ is added)` for every sample.
    fn each(self, shape: AttentionShape, f: impl Fn(usize, &mut [E], bool, Option<&mut [E]>) + Sync) {
        let [whole, _, square] = Sizes::new(shape).lens();
        let mut unused = None;
        let (qkv, more) = match self.qkv {
            Some(given) => given,
            None => (&mut unused.insert(Buf::<E>::new(shape.samples * whole))[..], false),
        };
        let Some((bias, more_bias)) = self.bias else {
            return qkv.par_chunks_mut(whole).enumerate().for_each(|(n, qkv)| f(n, qkv, more, None));
        };
        let mut blocks: BTreeMap<[usize; 2], Vec<(usize, &mut [E])>> = BTreeMap::new();
        for (n, qkv) in qkv.chunks_mut(whole).enumerate() {
            blocks.entry([n % shape.biases, n / shape.biases / BLOCK]).or_default().push((n, qkv));
        }
        let sum = |([which, _], samples): ([usize; 2], Vec<(usize, &mut [E])>)| {
            let mut sum = Buf::zeroed(square);
            samples.into_iter().for_each(|(n, qkv)| f(n, qkv, more, Some(&mut sum)));
            (which, sum)
        };
        let blocks: Vec<_> = blocks.into_iter().collect();
        let sums: Vec<(usize, Buf<E>)> = blocks.into_par_iter().map(sum).collect();
        if !more_bias {
            bias.fill(E::zero());
        }
        sums.iter().for_each(|(which, sum)| add(&mut bias[which * square..][..square], sum));
    }
}

/// The adjoints for an adjoint g of the output.
pub fn backward<E: Elem>(shape: AttentionShape, qkv: &[E], probabilities: &[E], g: &[E], to: Adjoint<'_, E>) {
    check(shape, &[Some(qkv)], &[Some(g)], &[Some(probabilities)], &[]);
    let sizes = Sizes::new(shape);
    let [whole, output, square] = sizes.lens();
    to.each(shape, |n, to, more, mut bias| {
        let (qkv, g) = (&qkv[n * whole..][..whole], &g[n * output..][..output]);
        let mut s = Buf::<E>::new(sizes.t * sizes.t);
        for head in 0..sizes.heads {
            let p = sizes.square(&probabilities[n * square..][..square], head);
            let [q, k, v] = [0, 1, 2].map(|part| sizes.part(qkv, part, head));
            let g = sizes.head(g, head);
            sizes.scores(g, v, &mut s, false);
            softmax_derivative(sizes.t, p, &mut s);
            if let Some(bias) = &mut bias {
                add(&mut bias[head * s.len()..][..s.len()], &s);
            }
            multiply(&mut s, E::of(sizes.scale));
            let row = 3 * sizes.model;
            sizes.mix(&s, false, k, &mut to[sizes.start(0, head)..], row, more);
            sizes.mix(&s, true, q, &mut to[sizes.start(1, head)..], row, more);
            sizes.mix(p, true, g, &mut to[sizes.start(2, head)..], row, more);
        }
    });
}

/// A point and a direction: P, Ṗ and the tangent of qkv (`None`: it does not move).
#[derive(Clone, Copy, Debug)]
pub struct Moving<'a, E> {
    /// Queries, keys, values.
    pub qkv: &'a [E],
    /// Their tangents.
    pub qkv_t: Option<&'a [E]>,
    /// P.
    pub probabilities: &'a [E],
    /// Ṗ.
    pub probabilities_t: &'a [E],
}

/// The second-order adjoints: `a` is the recorded adjoint of the output, `b` its derivative.
pub fn second<E: Elem>(
    shape: AttentionShape,
    at: Moving<'_, E>,
    a: &[E],
    b: Option<&[E]>,
    to: Adjoint<'_, E>,
) {
    let squares = [Some(at.probabilities), Some(at.probabilities_t)];
    check(shape, &[Some(at.qkv), at.qkv_t], &[Some(a), b], &squares, &[]);
    let sizes = Sizes::new(shape);
    let [whole, output, square] = sizes.lens();
    to.each(shape, |n, to, more, mut bias| {
        let (qkv, a) = (&at.qkv[n * whole..][..whole], &a[n * output..][..output]);
        let qkv_t = at.qkv_t.map(|t| &t[n * whole..][..whole]);
        let b = b.map(|b| &b[n * output..][..output]);
        let len = sizes.t * sizes.t;
        let mut scratch = Buf::<E>::new(2 * len);
        let (s, s2) = scratch.split_at_mut(len);
        for head in 0..sizes.heads {
            let p = sizes.square(&at.probabilities[n * square..][..square], head);
            let pt = sizes.square(&at.probabilities_t[n * square..][..square], head);
            let [q, k, v] = [0, 1, 2].map(|part| sizes.part(qkv, part, head));
            let moved = qkv_t.map(|t| [0, 1, 2].map(|part| sizes.part(t, part, head)));
            let (a, b) = (sizes.head(a, head), b.map(|b| sizes.head(b, head)));
            sizes.scores(a, v, s, false);
            match b {
                Some(b) => sizes.scores(b, v, s2, false),
                None => s2.fill(E::zero()),
            }
            if let Some([_, _, vt]) = moved {
                sizes.scores(a, vt, s2, true);
            }
            softmax_second(sizes.t, p, pt, s, s2);
            if let Some(bias) = &mut bias {
                add(&mut bias[head * len..][..len], s2);
            }
            multiply(s2, E::of(sizes.scale));
            let row = 3 * sizes.model;
            let mut to = |part: usize, s: &[E], transposed: bool, x: Mat<'_, E>, more: bool| {
                sizes.mix(s, transposed, x, &mut to[sizes.start(part, head)..], row, more);
            };
            to(0, s2, false, k, more);
            to(1, s2, true, q, more);
            to(2, pt, true, a, more);
            if let Some(b) = b {
                to(2, p, true, b, true);
            }
            if let Some([qt, kt, _]) = moved {
                multiply(s, E::of(sizes.scale));
                to(0, s, false, kt, true);
                to(1, s, true, qt, true);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::testing::{max_abs_diff, noise, on_threads, same_bits};

    const SHAPE: AttentionShape = AttentionShape { samples: 20, tokens: 5, heads: 2, width: 3, biases: 2 };

    fn lens() -> [usize; 3] {
        Sizes::new(SHAPE).lens()
    }

    fn run(qkv: &[f64], bias: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let [_, output, square] = lens();
        let (mut y, mut p) = (vec![0.0; 20 * output], vec![0.0; 20 * square]);
        forward(SHAPE, qkv, Some(bias), &mut y, Some(&mut p));
        let mut alone = vec![0.0; y.len()];
        forward(SHAPE, qkv, Some(bias), &mut alone, None);
        assert!(same_bits(&y, &alone), "the same with and without keeping the probabilities");
        (y, p)
    }

    #[test]
    fn rows_of_probabilities_sum_to_one_and_huge_scores_stay_finite() {
        let [whole, _, square] = lens();
        let qkv: Vec<f64> = noise::<f64>(20 * whole, 1).iter().map(|x| 1e3 * x).collect();
        let (y, p) = run(&qkv, &vec![0.0; 2 * square]);
        assert!(p.chunks(5).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        assert!(y.iter().all(|y| y.is_finite()));
    }

    /// By central differences of step 1e-5, off by 1e-9 times a third derivative.
    #[test]
    fn derivatives_match_central_differences() {
        let [whole, output, square] = lens();
        let (qkv, bias) = (noise::<f64>(20 * whole, 1), noise::<f64>(2 * square, 2));
        let (qkv_t, bias_t) = (noise::<f64>(20 * whole, 3), noise::<f64>(2 * square, 4));
        let (w, wt) = (noise::<f64>(20 * output, 5), noise::<f64>(20 * output, 6));
        let along =
            |a: &[f64], t: &[f64], h: f64| a.iter().zip(t).map(|(a, t)| a + h * t).collect::<Vec<_>>();
        let gradient = |h: f64| {
            let qkv = along(&qkv, &qkv_t, h);
            let (y, p) = run(&qkv, &along(&bias, &bias_t, h));
            let (mut gx, mut gb) = (vec![0.0; 20 * whole], vec![0.0; 2 * square]);
            let to = Adjoint { qkv: Some((&mut gx, false)), bias: Some((&mut gb, false)) };
            backward(SHAPE, &qkv, &p, &along(&w, &wt, h), to);
            [y, gx, gb]
        };
        let (plus, minus) = (gradient(1e-5), gradient(-1e-5));
        let slopes: Vec<Vec<f64>> = plus
            .iter()
            .zip(&minus)
            .map(|(p, m)| p.iter().zip(m).map(|(p, m)| (p - m) / 2e-5).collect())
            .collect();
        let (_, p) = run(&qkv, &bias);
        let (mut yt, mut pt) = (vec![0.0; 20 * output], vec![0.0; 20 * square]);
        tangent(SHAPE, &qkv, Some(&qkv_t), Some(&bias_t), &p, &mut yt, &mut pt);
        assert!(max_abs_diff(&yt, &slopes[0]) < 1e-7);
        let at = Moving { qkv: &qkv, qkv_t: Some(&qkv_t), probabilities: &p, probabilities_t: &pt };
        for more in [false, true] {
            let start = if more { 1.0 } else { 0.0 };
            let (mut gx, mut gb) = (vec![start; 20 * whole], vec![start; 2 * square]);
            let to = Adjoint { qkv: Some((&mut gx, more)), bias: Some((&mut gb, more)) };
            second(SHAPE, at, &w, Some(&wt), to);
            gx.iter_mut().chain(&mut gb).for_each(|g| *g -= start);
            assert!(max_abs_diff(&gx, &slopes[1]) < 1e-7 && max_abs_diff(&gb, &slopes[2]) < 1e-7);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let [whole, output, square] = lens();
        let (qkv, bias) = (noise::<f32>(20 * whole, 1), noise::<f32>(2 * square, 2));
        let run = |threads| {
            on_threads(threads, || {
                let (mut y, mut p) = (vec![0.0; 20 * output], vec![0.0; 20 * square]);
                forward(SHAPE, &qkv, Some(&bias), &mut y, Some(&mut p));
                let (mut gx, mut gb) = (vec![0.0; 20 * whole], vec![0.0; 2 * square]);
                let to = Adjoint { qkv: Some((&mut gx, false)), bias: Some((&mut gb, false)) };
                backward(SHAPE, &qkv, &p, &y, to);
                [y, gx, gb]
            })
        };
        let (one, two) = (run(1), run(2));
        assert!(one.iter().zip(&two).all(|(a, b)| same_bits(a, b)));
    }
}
