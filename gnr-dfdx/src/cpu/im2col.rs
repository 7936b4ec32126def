//! Convolution as windows (im2col) and matrix products, image by image: any window, stride, padding and groups.

use gnr_nn::Conv2dSpec;
use rayon::prelude::*;

use super::{
    buffer::Buf,
    kernels::{
        elem::Elem,
        elementwise,
        gemm::{Mat, Threads, gemm},
    },
};

/// Partial sums of a weight gradient; fixed, so that the result does not depend on the number of threads.
const PARTS: usize = 8;

/// Sizes of one convolution, checked by the caller.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) o: usize,
    pub(super) k: usize,
    pub(super) oh: usize,
    pub(super) ow: usize,
    pub(super) spec: Conv2dSpec,
}

impl Geometry {
    fn image(&self) -> usize {
        self.c * self.h * self.w
    }
    fn output(&self) -> usize {
        self.o * self.pixels()
    }
    fn pixels(&self) -> usize {
        self.oh * self.ow
    }
    /// Channels of input and of output in one group.
    fn group(&self) -> (usize, usize) {
        (self.c / self.spec.groups, self.o / self.spec.groups)
    }
    /// Rows of the window matrix of one group.
    fn rows(&self) -> usize {
        self.group().0 * self.k * self.k
    }
    /// Calls `f(row of the window matrix, output row, input offset of that row or None)`.
    fn each_row(&self, mut f: impl FnMut(usize, usize, Option<usize>, usize)) {
        let Conv2dSpec { stride, padding, .. } = self.spec;
        for c in 0..self.group().0 {
            for ky in 0..self.k {
                for kx in 0..self.k {
                    let row = (c * self.k + ky) * self.k + kx;
                    for y in 0..self.oh {
                        let iy = (y * stride + ky).checked_sub(padding).filter(|&iy| iy < self.h);
                        f(row, y, iy.map(|iy| (c * self.h + iy) * self.w), kx);
                    }
                }
            }
        }
    }
    /// Output columns whose input column lies inside the image, and the input column of the first.
    fn inside(&self, kx: usize) -> (usize, usize, usize) {
        let Conv2dSpec { stride, padding, .. } = self.spec;
        let from = padding.saturating_sub(kx).div_ceil(stride).min(self.ow);
        let to = (self.w + padding).saturating_sub(kx).div_ceil(stride).clamp(from, self.ow);
        (from, to, (from * stride + kx).saturating_sub(padding))
    }
    fn unfold<E: Elem>(&self, image: &[E], columns: &mut [E]) {
        let stride = self.spec.stride;
        self.each_row(|row, y, source, kx| {
            let out = &mut columns[row * self.pixels() + y * self.ow..][..self.ow];
            let Some(source) = source else { return out.fill(E::zero()) };
            let (from, to, first) = self.inside(kx);
            out[..from].fill(E::zero());
            out[to..].fill(E::zero());
            if from == to {
                return;
            }
            let source = &image[source + first..source + self.w.max(first)];
            if stride == 1 {
                out[from..to].copy_from_slice(&source[..to - from]);
            } else {
                out[from..to].iter_mut().zip(source.iter().step_by(stride)).for_each(|(o, v)| *o = *v);
            }
        });
    }
    fn fold<E: Elem>(&self, columns: &[E], image: &mut [E]) {
        let stride = self.spec.stride;
        self.each_row(|row, y, target, kx| {
            let Some(target) = target else { return };
            let (from, to, first) = self.inside(kx);
            if from == to {
                return;
            }
            let columns = &columns[row * self.pixels() + y * self.ow..][from..to];
            let target = &mut image[target + first..];
            target.iter_mut().step_by(stride).zip(columns).for_each(|(t, v)| *t += *v);
        });
    }

    /// y = Σᵢ xᵢ ∗ wᵢ.
    pub(super) fn forward<E: Elem>(&self, pairs: &[(&[E], &[E])], y: &mut [E]) {
        let (l, rows, (cg, og)) = (self.pixels(), self.rows(), self.group());
        y.par_chunks_mut(self.output()).enumerate().for_each(|(i, y)| {
            let mut columns = Buf::new(rows * l);
            for (j, (x, w)) in pairs.iter().enumerate() {
                for g in 0..self.spec.groups {
                    self.unfold(&x[i * self.image() + g * cg * self.h * self.w..], &mut columns);
                    let w = Mat::rows(&w[g * og * rows..][..og * rows], rows);
                    let y = &mut y[g * og * l..][..og * l];
                    gemm([og, rows, l], w, Mat::rows(&columns, l), y, l, j > 0, Threads::One);
                }
            }
        });
    }
    /// x̄ (+)= Σᵢ the transposed convolution of gᵢ with wᵢ.
    pub(super) fn to_input<E: Elem>(&self, pairs: &[(&[E], &[E])], out: &mut [E], accumulate: bool) {
        let (l, rows, (cg, og)) = (self.pixels(), self.rows(), self.group());
        out.par_chunks_mut(self.image()).enumerate().for_each(|(i, out)| {
            let mut columns = Buf::new(rows * l);
            if !accumulate {
                out.fill(E::zero());
            }
            for q in 0..self.spec.groups {
                for (j, (g, w)) in pairs.iter().enumerate() {
                    let w = Mat::rows(&w[q * og * rows..][..og * rows], rows).t();
                    let g = Mat::rows(&g[i * self.output() + q * og * l..][..og * l], l);
                    gemm([rows, og, l], w, g, &mut columns, l, j > 0, Threads::One);
                }
                self.fold(&columns, &mut out[q * cg * self.h * self.w..]);
            }
        });
    }
    /// w̄ (+)= Σᵢ gᵢ ⊗ windows(xᵢ).
    pub(super) fn to_weight<E: Elem>(&self, pairs: &[(&[E], &[E])], out: &mut [E], accumulate: bool) {
        let (l, rows, (cg, og)) = (self.pixels(), self.rows(), self.group());
        let each = self.n.div_ceil(PARTS);
        let parts: Vec<Buf<E>> = (0..self.n.div_ceil(each))
            .into_par_iter()
            .map(|part| {
                let mut columns = Buf::new(rows * l);
                let mut sum = Buf::zeroed(self.o * rows);
                for i in part * each..((part + 1) * each).min(self.n) {
                    for (g, x) in pairs {
                        for q in 0..self.spec.groups {
                            self.unfold(&x[i * self.image() + q * cg * self.h * self.w..], &mut columns);
                            let g = Mat::rows(&g[i * self.output() + q * og * l..][..og * l], l);
                            let sum = &mut sum[q * og * rows..][..og * rows];
                            let columns = Mat::rows(&columns[..], l).t();
                            gemm([og, l, rows], g, columns, sum, rows, true, Threads::One);
                        }
                    }
                }
                sum
            })
            .collect();
        if !accumulate {
            elementwise::fill(out, E::zero());
        }
        for part in &parts {
            elementwise::add_assign(out, part);
        }
    }
}
