//! Maps times one factor each, and the inner products of maps: the adjoint of the factors.

use super::elem::Elem;
use super::norm::centred_dot;
use super::simd::{CHUNK, simd};
use crate::Accum;
use crate::parallel::{chunk, each, each_chunk};

simd! {
    fn scale_map<E: Elem>(y: &mut [E], x: &[E], s: E, accum: Accum) {
        if accum.adds() {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y += s * x);
        } else {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = s * x);
        }
    }
}

/// Number of maps of `hw` elements that one parallel task computes.
fn batch(hw: usize) -> usize {
    (CHUNK / 4).div_ceil(hw)
}

/// Computes map i of `y` as map i of `x` times `s[i]`, or adds it to y.
pub fn scale<E: Elem>(hw: usize, x: &[E], s: &[E], y: &mut [E], accum: Accum) {
    assert!(hw > 0 && x.len() == s.len() * hw && y.len() == x.len(), "{} maps of {hw}", s.len());
    each_chunk(y, hw, batch(hw), |i, y| scale_map(y, chunk(x, hw, i), s[i], accum));
}

/// Computes `out[i]` as the inner product of the maps i of `a` and `b`, or adds it to out.
pub fn inner<E: Elem>(hw: usize, a: &[E], b: &[E], out: &mut [E], accum: Accum) {
    assert!(hw > 0 && a.len() == out.len() * hw && b.len() == a.len(), "{} maps of {hw}", out.len());
    each(out, batch(hw), |i, out| {
        let sum = centred_dot(chunk(a, hw, i), E::zero(), chunk(b, hw, i), E::zero());
        *out = E::of(if accum.adds() { out.wide() + sum } else { sum });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::dot;
    use crate::testing::{max_abs_diff, noise};

    #[test]
    fn scaling_is_bilinear_and_inner_its_adjoint() {
        let (hw, maps) = (37, 5);
        let (x, s, g) = (noise::<f64>(hw * maps, 1), noise::<f64>(maps, 2), noise::<f64>(hw * maps, 3));
        let (mut y, mut gx, mut gs) = (vec![1.0; x.len()], x.clone(), vec![0.5; maps]);
        scale(hw, &x, &s, &mut y, Accum::Replace);
        let want: Vec<f64> = x.iter().enumerate().map(|(i, x)| x * s[i / hw]).collect();
        assert!(max_abs_diff(&y, &want) < 1e-15);
        scale(hw, &g, &s, &mut gx, Accum::Replace);
        inner(hw, &g, &x, &mut gs, Accum::Add);
        gs.iter_mut().for_each(|g| *g -= 0.5);
        assert!((dot(&y, &g) - dot(&x, &gx)).abs() < 1e-13 && (dot(&y, &g) - dot(&s, &gs)).abs() < 1e-13);
        scale(hw, &x, &s, &mut y, Accum::Add);
        assert!(max_abs_diff(&y, &want.iter().map(|y| 2.0 * y).collect::<Vec<_>>()) < 1e-15);
    }
}
