//! Convolutions of any geometry in both precisions: im2col of one image and one group at a time, then the `gemm` crate.

use super::im2col::{col2im, im2col};
use super::{Geometry, PARTS, Slices};
use crate::Accum;
use crate::buffer::Buf;
use crate::elem::Elem;
use crate::elementwise::add_assign;
use crate::gemm::{Mat, gemm};
use crate::parallel::{collect, each_chunk_with};

pub(super) fn forward<E: Elem>(g: &Geometry, pairs: &[Slices<'_, E>], y: &mut [E]) {
    let (l, ck, og) = (g.l(), g.ck(), g.og());
    each_chunk_with(
        y,
        g.map(),
        1,
        || Buf::new(ck * l),
        |col, i, y| {
            for (j, (x, w)) in pairs.iter().enumerate() {
                for q in 0..g.groups {
                    im2col(g, &x[i * g.image() + q * g.cg() * g.h * g.w..], 0..g.oh, col, l, 0);
                    let (w, y) = (Mat::rows(&w[q * og * ck..], ck), &mut y[q * og * l..]);
                    gemm([og, ck, l], w, Mat::rows(col, l), y, l, Accum::from(j > 0));
                }
            }
        },
    );
}

pub(super) fn backward_input<E: Elem>(g: &Geometry, pairs: &[Slices<'_, E>], gx: &mut [E], accum: Accum) {
    let (l, ck, og) = (g.l(), g.ck(), g.og());
    each_chunk_with(
        gx,
        g.image(),
        1,
        || Buf::new(ck * l),
        |col, i, gx| {
            if !accum.adds() {
                gx.fill(E::zero());
            }
            for q in 0..g.groups {
                for (j, (gy, w)) in pairs.iter().enumerate() {
                    let (w, gy) = (&w[q * og * ck..], &gy[i * g.map() + q * og * l..]);
                    gemm([ck, og, l], Mat::rows(w, ck).t(), Mat::rows(gy, l), col, l, Accum::from(j > 0));
                }
                col2im(g, col, l, 0, 0..g.oh, &mut gx[q * g.cg() * g.h * g.w..]);
            }
        },
    );
}

pub(super) fn backward_weight<E: Elem>(g: &Geometry, pairs: &[Slices<'_, E>], gw: &mut [E], accum: Accum) {
    let (l, ck, og) = (g.l(), g.ck(), g.og());
    let per = g.n.div_ceil(PARTS);
    let part = |b: usize| {
        let mut col = Buf::new(ck * l);
        let mut sum = Buf::zeroed(g.weight_len());
        for i in b * per..((b + 1) * per).min(g.n) {
            for (gy, x) in pairs {
                for q in 0..g.groups {
                    im2col(g, &x[i * g.image() + q * g.cg() * g.h * g.w..], 0..g.oh, &mut col, l, 0);
                    let gy = Mat::rows(&gy[i * g.map() + q * og * l..], l);
                    let sum = &mut sum[q * og * ck..];
                    gemm([og, l, ck], gy, Mat::rows(&col, l).t(), sum, ck, Accum::Add);
                }
            }
        }
        sum
    };
    let parts: Vec<Buf<E>> = collect(g.n.div_ceil(per.max(1)), 1, part);
    if !accum.adds() {
        gw.fill(E::zero());
    }
    parts.iter().for_each(|p| add_assign(gw, p));
}
