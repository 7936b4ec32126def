//! im2col and its adjoint: the input patches of a convolution become the columns of a matrix, and the convolution a
//! matrix product.

use super::Geometry;
use crate::elem::Elem;
use crate::simd::simd;
use std::ops::Range;

/// Copies every `step`-th element of `src` to `dst`.
#[inline(always)]
fn pick<E: Elem>(dst: &mut [E], src: &[E], step: usize) {
    match step {
        1 => dst.copy_from_slice(&src[..dst.len()]),
        _ => dst.iter_mut().zip(src.iter().step_by(step)).for_each(|(d, s)| *d = *s),
    }
}

/// Adds `src` to every `step`-th element of `dst`: the adjoint of [`pick`].
#[inline(always)]
fn spread<E: Elem>(dst: &mut [E], src: &[E], step: usize) {
    match step {
        1 => dst.iter_mut().zip(src).for_each(|(d, s)| *d += *s),
        2 => {
            // Written with pairs, because the compiler does not vectorise step_by.
            let mut pairs = dst.chunks_exact_mut(2);
            let mut src = src.iter();
            for (d, s) in (&mut pairs).zip(&mut src) {
                d[0] += *s;
            }
            if let (Some(d), Some(s)) = (pairs.into_remainder().first_mut(), src.next()) {
                *d += *s;
            }
        }
        _ => dst.iter_mut().step_by(step).zip(src).for_each(|(d, s)| *d += *s),
    }
}

/// The outputs of one row that read inside the image at kernel column `k`; the row has `outputs` outputs and `size`
/// input pixels.
pub(super) fn inside(k: usize, size: usize, outputs: usize, stride: usize, padding: usize) -> Range<usize> {
    let end = if size + padding > k { ((size - 1 + padding - k) / stride + 1).min(outputs) } else { 0 };
    padding.saturating_sub(k).div_ceil(stride).min(end)..end
}

/// Copies patches of the output rows `rows` of one image to columns of `col`; `x` has the channels of one group. Row
/// (c, ky, kx) of `col` starts at `at` + its index times `ld` and has `rows.len() * ow` elements.
pub(super) fn im2col<E: Elem>(
    g: &Geometry,
    x: &[E],
    rows: Range<usize>,
    col: &mut [E],
    ld: usize,
    at: usize,
) {
    for (c, plane) in x.chunks_exact(g.h * g.w).take(g.cg()).enumerate() {
        for ky in 0..g.kh {
            for kx in 0..g.kw {
                let row = &mut col[((c * g.kh + ky) * g.kw + kx) * ld + at..][..rows.len() * g.ow];
                let valid = inside(kx, g.w, g.ow, g.stride, g.left);
                for (y, dst) in rows.clone().zip(row.chunks_exact_mut(g.ow)) {
                    let iy = y * g.stride + ky;
                    if iy < g.top || iy >= g.h + g.top || valid.is_empty() {
                        dst.fill(E::zero());
                        continue;
                    }
                    let from = valid.start * g.stride + kx - g.left;
                    let src = &plane[(iy - g.top) * g.w..][from..g.w];
                    dst[..valid.start].fill(E::zero());
                    dst[valid.end..].fill(E::zero());
                    pick(&mut dst[valid.clone()], src, g.stride);
                }
            }
        }
    }
}

simd! {
    /// Adds every column back to the patch that it was copied from: the adjoint of [`im2col`].
    pub(super) fn col2im<E: Elem>(g: &Geometry, col: &[E], ld: usize, at: usize, rows: Range<usize>, x: &mut [E]) {
        for (c, plane) in x.chunks_exact_mut(g.h * g.w).take(g.cg()).enumerate() {
            for ky in 0..g.kh {
                for kx in 0..g.kw {
                    let row = &col[((c * g.kh + ky) * g.kw + kx) * ld + at..][..rows.len() * g.ow];
                    let valid = inside(kx, g.w, g.ow, g.stride, g.left);
                    for (y, src) in rows.clone().zip(row.chunks_exact(g.ow)) {
                        let iy = y * g.stride + ky;
                        if iy < g.top || iy >= g.h + g.top || valid.is_empty() {
                            continue;
                        }
                        let from = valid.start * g.stride + kx - g.left;
                        spread(&mut plane[(iy - g.top) * g.w..][from..g.w], &src[valid.clone()], g.stride);
                    }
                }
            }
        }
    }
}
