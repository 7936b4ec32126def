//! The matrices of one attention head, and the products that one thread computes with them.

use super::Shape;
use crate::Accum;
use crate::buffer::Buf;
use crate::elem::Elem;
use crate::gemm::{Mat, gemm};
use crate::product::{COLUMNS, Left, Right, padded, product};
use crate::runtime;
use crate::simd::Level;
use crate::transpose::transpose;

/// Sizes of one sample: its queries, keys and values are `[T, 3·D]`, its output is `[T, D]`.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) t: usize,
    pub(super) d: usize,
    pub(super) heads: usize,
    pub(super) model: usize,
    scale: f64,
}

impl Sizes {
    pub(super) fn new(shape: Shape) -> Self {
        let model = shape.model_width();
        Self { t: shape.tokens, d: shape.width, heads: shape.heads, model, scale: shape.scale() }
    }
    /// Numbers of elements of a sample's qkv, output and scores.
    pub(super) fn lens(self) -> [usize; 3] {
        [self.t * 3 * self.model, self.t * self.model, self.heads * self.t * self.t]
    }
    /// Offset of part 0, 1 or 2 (q, k, v) of a head in a sample's qkv.
    pub(super) fn start(self, part: usize, head: usize) -> usize {
        part * self.model + head * self.d
    }
    pub(super) fn part<E>(self, qkv: &[E], part: usize, head: usize) -> Mat<'_, E> {
        Mat { data: &qkv[self.start(part, head)..], row: 3 * self.model, column: 1 }
    }
    pub(super) fn head<E>(self, y: &[E], head: usize) -> Mat<'_, E> {
        Mat { data: &y[head * self.d..], row: self.model, column: 1 }
    }
    pub(super) fn square<E>(self, s: &[E], head: usize) -> &[E] {
        &s[head * self.t * self.t..][..self.t * self.t]
    }
}

/// Multiplies the matrices of one head in one thread; owns the workspace for scores and transposed operands.
///
/// The matrices are too small for the `gemm` crate's packing to pay. In `f32` with AVX-512 the convolutions'
/// micro-kernel reads them in place, except for right operands that must be transposed.
pub(super) struct Heads<E: Elem> {
    pub(super) sizes: Sizes,
    fast: Option<Level>,
    /// Distance between rows of scores.
    pub(super) row: usize,
    pub(super) scores: [Buf<E>; 2],
    transposed: Buf<f32>,
}

impl<E: Elem> Heads<E> {
    pub(super) fn new(sizes: Sizes) -> Self {
        let fits = E::as_f32(&[]).is_some() && sizes.d.is_multiple_of(COLUMNS) && sizes.d > 0 && sizes.t > 0;
        let fast = Some(runtime().level()).filter(|level| fits && *level >= Level::Avx512);
        let row = if fast.is_some() { padded(sizes.t) } else { sizes.t };
        let scores = [0, 1].map(|_| Buf::new(sizes.t * row));
        let transposed = Buf::new(if fast.is_some() { sizes.d * row } else { 0 });
        Self { sizes, fast, row, scores, transposed }
    }
    /// Computes `c = a bᵀ` or `c += a bᵀ`, `[T, d]·[T, d]ᵀ`, for several (a, index of the score matrix c, accum).
    pub(super) fn scores<const N: usize>(
        &mut self,
        b: Mat<'_, E>,
        products: [(Mat<'_, E>, usize, Accum); N],
    ) {
        let Sizes { t, d, .. } = self.sizes;
        runtime().count(N * t * d * t);
        if let (Some(level), Some(data)) = (self.fast, E::as_f32(b.data)) {
            transpose(level, data, b.row, t, d, &mut self.transposed, self.row);
            for (a, which, accum) in products {
                let right = Right { data: &self.transposed, row: self.row };
                if let (Some(a_data), Some(c)) = (E::as_f32(a.data), E::as_f32_mut(&mut self.scores[which])) {
                    product(level, [t, d, self.row], Left::Rows(a_data, a.row), right, c, self.row, accum);
                }
            }
            return;
        }
        for (a, which, accum) in products {
            gemm([t, d, t], a, b.t(), &mut self.scores[which], self.row, accum);
        }
    }
    /// Computes `c = s a` or `c += s a`, `[T, T]·[T, d]`, with the given distances between rows of s and c. If
    /// `transposed`, s is replaced by its transpose.
    pub(super) fn mix(
        &self,
        (s, s_row, transposed): (&[E], usize, bool),
        a: Mat<'_, E>,
        (c, c_row): (&mut [E], usize),
        accum: Accum,
    ) {
        let Sizes { t, d, .. } = self.sizes;
        runtime().count(t * t * d);
        if let (Some(level), Some(s), Some(data)) = (self.fast, E::as_f32(s), E::as_f32(a.data))
            && let Some(c) = E::as_f32_mut(c)
        {
            let left = if transposed { Left::Columns(s, s_row) } else { Left::Rows(s, s_row) };
            return product(level, [t, t, d], left, Right { data, row: a.row }, c, c_row, accum);
        }
        let s = Mat { data: s, row: s_row, column: 1 };
        gemm([t, t, d], if transposed { s.t() } else { s }, a, c, c_row, accum);
    }
    /// Calls [`mix`](Self::mix) with the score matrix `which` as its left operand.
    pub(super) fn mix_scores(
        &self,
        which: usize,
        transposed: bool,
        a: Mat<'_, E>,
        c: (&mut [E], usize),
        accum: Accum,
    ) {
        self.mix((&self.scores[which], self.row, transposed), a, c, accum);
    }
    /// The scale τ of the scores.
    pub(super) fn scale(&self) -> E {
        E::of(self.sizes.scale)
    }
}
