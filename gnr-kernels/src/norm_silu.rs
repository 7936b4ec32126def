//! Derivatives of a batch normalisation that ends in SiLU, without storing the SiLU's input u. u is an affine map of x
//! (plus a residual), so it is recomputed for each derivative.

use super::elem::Elem;
use super::norm::{Affine, Maps};
use super::sigmoid::{silu_first, silu_second};
use super::simd::simd;
use crate::parallel::each_chunk;

/// Operands from which u and the derivatives of y = SiLU(u) are computed.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a, E> {
    /// Shape of the maps.
    pub maps: Maps,
    /// The input x.
    pub x: &'a [E],
    /// Factor and offset of each channel.
    pub affine: &'a Affine<E>,
    /// The residual that was added.
    pub residual: Option<&'a [E]>,
    /// The output y.
    pub y: &'a [E],
}

simd! {
    fn first_map<E: Elem>(g: &mut [E], x: &[E], k: E, m: E, r: Option<&[E]>, y: &[E]) {
        match r {
            None => g.iter_mut().zip(x).zip(y).for_each(|((g, &x), &y)| *g *= silu_first(k * x + m, y)),
            Some(r) => g.iter_mut().zip(x).zip(y).zip(r).for_each(|(((g, &x), &y), &r)| {
                *g *= silu_first(k * x + m + r, y);
            }),
        }
    }
    fn second_map<E: Elem>(t: &mut [E], g: &[E], x: &[E], k: E, m: E, r: Option<&[E]>, y: &[E]) {
        let terms = t.iter_mut().zip(g).zip(x).zip(y);
        match r {
            None => terms.for_each(|(((t, &g), &x), &y)| *t *= g * silu_second(k * x + m, y)),
            Some(r) => terms.zip(r).for_each(|((((t, &g), &x), &y), &r)| *t *= g * silu_second(k * x + m + r, y)),
        }
    }
}

impl<E: Elem> Point<'_, E> {
    fn check(&self, other: &[E]) {
        self.maps.assert(&[Some(self.x), self.residual, Some(self.y), Some(other)]);
    }

    /// Computes `g ← g f′(u)`: the adjoint of u from that of y, or the tangent of y from that of u.
    pub fn first(&self, g: &mut [E]) {
        self.check(g);
        let Self { maps, .. } = *self;
        each_chunk(g, maps.hw, maps.batch(), |i, g| {
            let (k, m) = self.affine.at(i);
            first_map(g, maps.map(self.x, i), k, m, maps.maps(self.residual, i), maps.map(self.y, i));
        });
    }

    /// Computes `t ← g f″(u) t` from t = u̇: what the adjoint g of ẏ adds to the adjoint of u.
    pub fn second(&self, t: &mut [E], g: &[E]) {
        self.check(t);
        self.check(g);
        let Self { maps, .. } = *self;
        each_chunk(t, maps.hw, maps.batch(), |i, t| {
            let (k, m) = self.affine.at(i);
            let (x, y) = (maps.map(self.x, i), maps.map(self.y, i));
            second_map(t, maps.map(g, i), x, k, m, maps.maps(self.residual, i), y);
        });
    }
}
