//! Depthwise convolutions (one input and one output channel a group), `f32` and `f64`: each map is a weighted sum of shifted rows. A matrix
//! product would have a single row.

use super::im2col::inside;
use super::{Geometry, Pair};
use crate::cpu::kernels::elem::Elem;
use crate::cpu::kernels::simd::{CHUNK, LANES, simd};
use rayon::prelude::*;

/// Whether a geometry is of this kind.
pub(super) fn fits(g: &Geometry) -> bool {
    g.groups == g.c && g.groups == g.o && g.c > 1
}

/// Maps that one parallel task handles.
fn batch(g: &Geometry) -> usize {
    CHUNK.div_ceil(g.l() * g.ck())
}

/// `y = Σ_i conv(x_i, w_i)`.
pub(super) fn forward<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
    y.par_chunks_mut(g.l()).with_min_len(batch(g)).enumerate().for_each(|(i, y)| {
        y.fill(E::zero());
        for (x, w) in pairs {
            map_forward(g, &x[i * g.h * g.w..][..g.h * g.w], &w[i % g.c * g.ck()..][..g.ck()], y);
        }
    });
}

/// `gx (+)= Σ_i convᵀ(gy_i, w_i)`.
pub(super) fn backward_input<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accumulate: bool) {
    gx.par_chunks_mut(g.h * g.w).with_min_len(batch(g)).enumerate().for_each(|(i, gx)| {
        if !accumulate {
            gx.fill(E::zero());
        }
        for (gy, w) in pairs {
            map_backward(g, &gy[i * g.l()..][..g.l()], &w[i % g.c * g.ck()..][..g.ck()], gx);
        }
    });
}

/// `gw (+)= Σ_i …` over pairs of (output adjoint, input): one task a channel, images in order.
pub(super) fn backward_weight<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], gw: &mut [E], accumulate: bool) {
    gw.par_chunks_mut(g.ck()).enumerate().for_each(|(c, gw)| {
        let mut sums = vec![0.0; g.ck()];
        for (gy, x) in pairs {
            for i in (c..g.n * g.c).step_by(g.c) {
                map_weight(g, &gy[i * g.l()..][..g.l()], &x[i * g.h * g.w..][..g.h * g.w], &mut sums);
            }
        }
        for (g, s) in gw.iter_mut().zip(sums) {
            *g = E::of(if accumulate { g.wide() + s } else { s });
        }
    });
}

/// Calls `$body` for every tap `$k` and every row of outputs `$y` that reads inside the map, with the range of outputs `$valid` that do and
/// the input element `$from` that the first of them reads.
macro_rules! shifted_rows {
    ($g:ident, |$k:ident, $y:ident, $valid:ident, $from:ident| $body:block) => {
        for $k in 0..$g.ck() {
            let (ky, kx) = ($k / $g.kw, $k % $g.kw);
            let $valid = inside(kx, $g.w, $g.ow, $g.stride, $g.padding);
            if $valid.is_empty() {
                continue;
            }
            for $y in inside(ky, $g.h, $g.oh, $g.stride, $g.padding) {
                let iy = $y * $g.stride + ky - $g.padding;
                let $from = iy * $g.w + $valid.start * $g.stride + kx - $g.padding;
                $body
            }
        }
    };
}

simd! {
    fn map_forward<E: Elem>(g: &Geometry, x: &[E], w: &[E], y: &mut [E]) {
        shifted_rows!(g, |k, row, valid, from| {
            let (y, w) = (&mut y[row * g.ow..][valid.clone()], w[k]);
            if g.stride == 1 {
                y.iter_mut().zip(&x[from..]).for_each(|(y, x)| *y += w * *x);
            } else {
                y.iter_mut().zip(x[from..].iter().step_by(g.stride)).for_each(|(y, x)| *y += w * *x);
            }
        });
    }
    fn map_backward<E: Elem>(g: &Geometry, gy: &[E], w: &[E], gx: &mut [E]) {
        shifted_rows!(g, |k, row, valid, from| {
            let (gy, w) = (&gy[row * g.ow..][valid.clone()], w[k]);
            if g.stride == 1 {
                gx[from..].iter_mut().zip(gy).for_each(|(x, y)| *x += w * *y);
            } else {
                gx[from..].iter_mut().step_by(g.stride).zip(gy).for_each(|(x, y)| *x += w * *y);
            }
        });
    }
    fn map_weight<E: Elem>(g: &Geometry, gy: &[E], x: &[E], sums: &mut [f64]) {
        let mut lanes = [E::zero(); LANES];
        let mut tap = 0;
        shifted_rows!(g, |k, row, valid, from| {
            if k != tap {
                sums[tap] += lanes.iter().map(|v| v.wide()).sum::<f64>();
                (lanes, tap) = ([E::zero(); LANES], k);
            }
            let gy = &gy[row * g.ow..][valid.clone()];
            if g.stride == 1 {
                for (gy, x) in gy.chunks(LANES).zip(x[from..].chunks(LANES)) {
                    lanes.iter_mut().zip(gy).zip(x).for_each(|((l, y), x)| *l += *y * *x);
                }
            } else {
                let pairs = gy.iter().zip(x[from..].iter().step_by(g.stride));
                pairs.enumerate().for_each(|(i, (y, x))| lanes[i % LANES] += *y * *x);
            }
        });
        sums[tap] += lanes.iter().map(|v| v.wide()).sum::<f64>();
    }
}
