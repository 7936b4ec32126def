//! Multi-head attention that reads queries, keys and values in place: no head is copied to a matrix of its own.
//!
//! For each sample and head, with τ the scale: `S = τ Q Kᵀ + B`, `P = softmax S`, `O = P V`. For an adjoint g of O:
//! `V̄ = Pᵀ g`, `P̄ = g Vᵀ`, `S̄ = P ⊙ (P̄ − r)` with `r` the row sums of `P ⊙ P̄`, `Q̄ = τ S̄ K`, `K̄ = τ S̄ᵀ Q`,
//! `B̄ = S̄`.
//!
//! Along a direction, `Ṗ = P ⊙ (Ṡ − row sums of P ⊙ Ṡ)`. With a recorded adjoint `a` and its derivative `b`:
//! - `V̄ = Ṗᵀ a + Pᵀ b`, `P̄′ = b Vᵀ + a V̇ᵀ`;
//! - `S̄′ = Ṗ ⊙ (P̄ − r) + P ⊙ (P̄′ − r′)` with `r′` the row sums of `Ṗ ⊙ P̄ + P ⊙ P̄′`; here `P̄` and `r` belong to
//!   `a`;
//! - `Q̄ = τ (S̄′ K + S̄ K̇)`, `K̄ = τ (S̄′ᵀ Q + S̄ᵀ Q̇)`, `B̄ = S̄′`.

mod heads;
mod rows;

use crate::Accum;
use std::collections::BTreeMap;

use super::elem::Elem;
use super::elementwise::add_assign;
use super::gemm::Mat;
use crate::buffer::Buf;
use crate::parallel::{each_chunk_with, each_pair_with, each_with};
use heads::{Heads, Sizes};
use rows::{softmax_backward, softmax_rows, softmax_second, softmax_tangent};

/// Sizes of an attention; none of them may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of samples N.
    pub samples: usize,
    /// Number of tokens T of a sample.
    pub tokens: usize,
    /// Number of heads.
    pub heads: usize,
    /// Width of a head; the model's width D is `heads * width`.
    pub width: usize,
    /// Number of biases G. Sample n uses bias n mod G. With 0, no bias is added.
    pub biases: usize,
}

impl Shape {
    /// The width D of the model.
    pub fn model_width(&self) -> usize {
        self.heads * self.width
    }
    /// The factor of the scores, τ = 1/√width.
    pub fn scale(&self) -> f64 {
        (self.width as f64).sqrt().recip()
    }
}

/// Samples whose bias adjoints one task adds up. The number is fixed, so the sum has the same bits on any machine.
const BLOCK: usize = 8;

fn check<E>(
    shape: Shape,
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

/// Computes the output `[N, T, D]` and, if asked, the probabilities `[N, heads, T, T]`. Derivatives need the
/// probabilities.
pub fn forward<E: Elem>(
    shape: Shape,
    qkv: &[E],
    bias: Option<&[E]>,
    out: &mut [E],
    probabilities: Option<&mut [E]>,
) {
    check(shape, &[Some(qkv)], &[Some(out)], &[probabilities.as_deref()], &[bias]);
    let sizes = Sizes::new(shape);
    let [whole, output, square] = sizes.lens();
    let len = sizes.t * sizes.t;
    let head = |heads: &mut Heads<E>, n: usize, head: usize, out: &mut [E], p: &mut [E]| {
        let qkv = &qkv[n * whole..][..whole];
        let bias = bias.map(|bias| &bias[n % shape.biases * square..][..square]);
        heads.scores(sizes.part(qkv, 1, head), [(sizes.part(qkv, 0, head), 0, Accum::Replace)]);
        let (scale, row) = (heads.scale(), heads.row);
        let bias = bias.map(|bias| sizes.square(bias, head));
        softmax_rows(sizes.t, row, scale, &mut heads.scores[0], bias, p);
        let out = (&mut out[head * sizes.d..], sizes.model);
        heads.mix((p, sizes.t, false), sizes.part(qkv, 2, head), out, Accum::Replace);
    };
    let memory = || Heads::new(sizes);
    match probabilities {
        Some(all) => each_pair_with((out, all), [output, square], 1, memory, |heads, n, out, p| {
            p.chunks_exact_mut(len).enumerate().for_each(|(i, p)| head(heads, n, i, out, p));
        }),
        None => each_chunk_with(
            out,
            output,
            1,
            || (memory(), Buf::<E>::new(len)),
            |(heads, p), n, out| (0..sizes.heads).for_each(|i| head(heads, n, i, out, p)),
        ),
    }
}

/// Computes Ȯ and Ṗ along a direction; `probabilities` are P.
pub fn tangent<E: Elem>(
    shape: Shape,
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
    each_pair_with(
        (out, probabilities_t),
        [output, square],
        1,
        || Heads::new(sizes),
        |heads, n, out, pt| {
            let (qkv, p) = (&qkv[n * whole..][..whole], &probabilities[n * square..][..square]);
            let qkv_t = qkv_t.map(|t| &t[n * whole..][..whole]);
            let bias_t = bias_t.map(|bias| &bias[n % shape.biases * square..][..square]);
            for (head, pt) in pt.chunks_exact_mut(sizes.t * sizes.t).enumerate() {
                let p = sizes.square(p, head);
                let [q, k, v] = [0, 1, 2].map(|part| sizes.part(qkv, part, head));
                match qkv_t {
                    Some(t) => {
                        heads.scores(k, [(sizes.part(t, 0, head), 0, Accum::Replace)]);
                        heads.scores(sizes.part(t, 1, head), [(q, 0, Accum::Add)]);
                    }
                    None => heads.scores[0].fill(E::zero()),
                }
                let (scale, row) = (heads.scale(), heads.row);
                let bias_t = bias_t.map(|bias_t| sizes.square(bias_t, head));
                softmax_tangent(sizes.t, row, scale, p, &mut heads.scores[0], bias_t, pt);
                let out = &mut out[head * sizes.d..];
                heads.mix((pt, sizes.t, false), v, (out, sizes.model), Accum::Replace);
                if let Some(t) = qkv_t {
                    heads.mix((p, sizes.t, false), sizes.part(t, 2, head), (out, sizes.model), Accum::Add);
                }
            }
        },
    );
}

/// The outputs of a reverse step. `None` means that the adjoint is not needed.
#[derive(Debug)]
pub struct Adjoint<'a, E> {
    /// The adjoint of qkv.
    pub qkv: Option<(&'a mut [E], Accum)>,
    /// The adjoint of the bias.
    pub bias: Option<(&'a mut [E], Accum)>,
    /// A by-product of [`second`]: the adjoint that [`backward`] computes for qkv from `a`, with the same bits.
    pub first: Option<&'a mut [E]>,
}

/// The part of an [`Adjoint`] that belongs to one sample.
struct Part<'a, E> {
    qkv: &'a mut [E],
    accum: Accum,
    bias: Option<&'a mut [E]>,
    first: Option<&'a mut [E]>,
}

impl<E: Elem> Adjoint<'_, E> {
    /// Finishes a reverse step that contributes zero: replaced outputs are set to 0, others are left unchanged.
    pub fn zero(self) {
        for (out, accum) in [self.qkv, self.bias].into_iter().flatten() {
            if !accum.adds() {
                out.fill(E::zero());
            }
        }
    }

    /// Runs `f(heads, sample, part)` for every sample in parallel. `f` adds S̄ to the bias of its part.
    fn each(self, shape: Shape, f: impl Fn(&mut Heads<E>, usize, Part<'_, E>) + Sync) {
        let sizes = Sizes::new(shape);
        let [whole, _, square] = sizes.lens();
        let mut unused = None;
        let (qkv, accum) = match self.qkv {
            Some(given) => given,
            None => (&mut unused.insert(Buf::<E>::new(shape.samples * whole))[..], Accum::Replace),
        };
        let firsts: Vec<Option<&mut [E]>> = match self.first {
            Some(first) => first.chunks_mut(whole).map(Some).collect(),
            None => (0..shape.samples).map(|_| None).collect(),
        };
        let samples = qkv.chunks_mut(whole).zip(firsts);
        let memory = || Heads::new(sizes);
        let Some((bias, bias_accum)) = self.bias else {
            let mut samples: Vec<_> = samples.collect();
            return each_with(&mut samples, 1, memory, |heads, n, (qkv, first)| {
                f(heads, n, Part { qkv, accum, bias: None, first: first.as_deref_mut() });
            });
        };
        let mut blocks: BTreeMap<[usize; 2], Vec<_>> = BTreeMap::new();
        for (n, sample) in samples.enumerate() {
            blocks.entry([n % shape.biases, n / shape.biases / BLOCK]).or_default().push((n, sample));
        }
        let mut blocks: Vec<_> =
            blocks.into_iter().map(|([which, _], samples)| (which, samples, None)).collect();
        each_with(&mut blocks, 1, memory, |heads, _, (_, samples, result)| {
            let mut sum = Buf::zeroed(square);
            for (n, (qkv, first)) in samples {
                let first = first.as_deref_mut();
                f(heads, *n, Part { qkv, accum, bias: Some(&mut sum), first });
            }
            *result = Some(sum);
        });
        if !bias_accum.adds() {
            bias.fill(E::zero());
        }
        for (which, _, sum) in &blocks {
            sum.iter().for_each(|sum| add_assign(&mut bias[which * square..][..square], sum));
        }
    }
}

/// Computes the adjoints of qkv and the bias from an adjoint g of the output.
pub fn backward<E: Elem>(shape: Shape, qkv: &[E], probabilities: &[E], g: &[E], to: Adjoint<'_, E>) {
    check(shape, &[Some(qkv)], &[Some(g)], &[Some(probabilities)], &[]);
    let sizes = Sizes::new(shape);
    let [whole, output, square] = sizes.lens();
    to.each(shape, |heads, n, mut to| {
        let (qkv, g) = (&qkv[n * whole..][..whole], &g[n * output..][..output]);
        for head in 0..sizes.heads {
            let p = sizes.square(&probabilities[n * square..][..square], head);
            let [q, k, v] = [0, 1, 2].map(|part| sizes.part(qkv, part, head));
            let g = sizes.head(g, head);
            heads.scores(v, [(g, 0, Accum::Replace)]);
            let bias = to.bias.as_mut().map(|bias| &mut bias[head * sizes.t * sizes.t..]);
            let (scale, row) = (heads.scale(), heads.row);
            softmax_backward(sizes.t, row, scale, p, &mut heads.scores[0], bias);
            first_order(heads, head, [q, k, g], p, to.qkv, to.accum);
        }
    });
}

/// Computes the adjoints of a head's q, k and v from τ S̄, which is in score matrix 0.
fn first_order<E: Elem>(
    heads: &Heads<E>,
    head: usize,
    [q, k, g]: [Mat<'_, E>; 3],
    p: &[E],
    to: &mut [E],
    accum: Accum,
) {
    let (sizes, row) = (heads.sizes, 3 * heads.sizes.model);
    heads.mix_scores(0, false, k, (&mut to[sizes.start(0, head)..], row), accum);
    heads.mix_scores(0, true, q, (&mut to[sizes.start(1, head)..], row), accum);
    heads.mix((p, sizes.t, true), g, (&mut to[sizes.start(2, head)..], row), accum);
}

/// A point and a direction: the operands of a replay's reverse step.
#[derive(Clone, Copy, Debug)]
pub struct Moving<'a, E> {
    /// Queries, keys and values, `[N, T, 3·D]`.
    pub qkv: &'a [E],
    /// The tangent of qkv; `None` if it is zero.
    pub qkv_t: Option<&'a [E]>,
    /// The probabilities P.
    pub probabilities: &'a [E],
    /// The tangent Ṗ of the probabilities.
    pub probabilities_t: &'a [E],
}

/// Computes the second-order adjoints. `a` is the recorded adjoint of the output, `b` its derivative; `None` stands for
/// zero.
pub fn second<E: Elem>(shape: Shape, at: Moving<'_, E>, a: &[E], b: Option<&[E]>, to: Adjoint<'_, E>) {
    let squares = [Some(at.probabilities), Some(at.probabilities_t)];
    check(shape, &[Some(at.qkv), at.qkv_t, to.first.as_deref()], &[Some(a), b], &squares, &[]);
    let sizes = Sizes::new(shape);
    let [whole, output, square] = sizes.lens();
    to.each(shape, |heads, n, mut to| {
        let (qkv, a) = (&at.qkv[n * whole..][..whole], &a[n * output..][..output]);
        let qkv_t = at.qkv_t.map(|t| &t[n * whole..][..whole]);
        let b = b.map(|b| &b[n * output..][..output]);
        for head in 0..sizes.heads {
            let p = sizes.square(&at.probabilities[n * square..][..square], head);
            let pt = sizes.square(&at.probabilities_t[n * square..][..square], head);
            let [q, k, v] = [0, 1, 2].map(|part| sizes.part(qkv, part, head));
            let moved = qkv_t.map(|t| [0, 1, 2].map(|part| sizes.part(t, part, head)));
            let (a, b) = (sizes.head(a, head), b.map(|b| sizes.head(b, head)));
            match b {
                Some(b) => heads.scores(v, [(a, 0, Accum::Replace), (b, 1, Accum::Replace)]),
                None => {
                    heads.scores(v, [(a, 0, Accum::Replace)]);
                    heads.scores[1].fill(E::zero());
                }
            }
            if let Some([_, _, vt]) = moved {
                heads.scores(vt, [(a, 1, Accum::Add)]);
            }
            let bias = to.bias.as_mut().map(|bias| &mut bias[head * sizes.t * sizes.t..]);
            let (scale, row) = (heads.scale(), heads.row);
            let [s, s2] = &mut heads.scores;
            softmax_second(sizes.t, row, scale, p, pt, s, s2, bias);
            let out_row = 3 * sizes.model;
            let [to_q, to_k, to_v] = [0, 1, 2].map(|part| sizes.start(part, head));
            heads.mix_scores(1, false, k, (&mut to.qkv[to_q..], out_row), to.accum);
            heads.mix_scores(1, true, q, (&mut to.qkv[to_k..], out_row), to.accum);
            heads.mix((pt, sizes.t, true), a, (&mut to.qkv[to_v..], out_row), to.accum);
            if let Some(b) = b {
                heads.mix((p, sizes.t, true), b, (&mut to.qkv[to_v..], out_row), Accum::Add);
            }
            if let Some([qt, kt, _]) = moved {
                heads.mix_scores(0, false, kt, (&mut to.qkv[to_q..], out_row), Accum::Add);
                heads.mix_scores(0, true, qt, (&mut to.qkv[to_k..], out_row), Accum::Add);
            }
            if let Some(first) = to.first.as_deref_mut() {
                first_order(heads, head, [q, k, a], p, first, Accum::Replace);
            }
        }
    });
}

#[cfg(test)]
mod tests;
