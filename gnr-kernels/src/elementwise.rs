//! Parallel element-by-element kernels: maps, zips, vector updates.
//!
//! The general ones ([`map`], [`zip`], …) take a closure that is inlined into an AVX2 loop, so arithmetic closures
//! vectorise. Function *pointers* would not: match on the kind of operation outside, and pass a closure.

use super::elem::Elem;
use super::simd::{CHUNK, simd};
use crate::parallel::{chunk, each_chunk};

/// A closure of one element, or a function that profits from fused multiply-add.
pub trait Map1<E>: Sync + Copy {
    /// Computes the value at x.
    fn at<const FUSED: bool>(self, x: E) -> E;
}
impl<E, F: Fn(E) -> E + Sync + Copy> Map1<E> for F {
    #[inline(always)]
    fn at<const FUSED: bool>(self, x: E) -> E {
        self(x)
    }
}
/// A closure of two elements, or a function that profits from fused multiply-add.
pub trait Map2<E>: Sync + Copy {
    /// Computes the value at (x, y).
    fn at<const FUSED: bool>(self, x: E, y: E) -> E;
}
impl<E, F: Fn(E, E) -> E + Sync + Copy> Map2<E> for F {
    #[inline(always)]
    fn at<const FUSED: bool>(self, x: E, y: E) -> E {
        self(x, y)
    }
}
/// A closure of three elements, or a function that profits from fused multiply-add.
pub trait Map3<E>: Sync + Copy {
    /// Computes the value at (x, y, z).
    fn at<const FUSED: bool>(self, x: E, y: E, z: E) -> E;
}
impl<E, F: Fn(E, E, E) -> E + Sync + Copy> Map3<E> for F {
    #[inline(always)]
    fn at<const FUSED: bool>(self, x: E, y: E, z: E) -> E {
        self(x, y, z)
    }
}
/// A closure of four elements.
pub trait Map4<E>: Fn(E, E, E, E) -> E + Sync + Copy {}
impl<E, F: Fn(E, E, E, E) -> E + Sync + Copy> Map4<E> for F {}
/// A closure of five elements.
pub trait Map5<E>: Fn(E, E, E, E, E) -> E + Sync + Copy {}
impl<E, F: Fn(E, E, E, E, E) -> E + Sync + Copy> Map5<E> for F {}

simd! {
    fn map_leaf<E: Elem, F: Map1<E>>(y: &mut [E], x: &[E], f: F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f.at::<FUSED>(x);
        }
    }
    pub(super) fn zip_leaf<E: Elem, F: Map2<E>>(y: &mut [E], a: &[E], b: &[E], f: F) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f.at::<FUSED>(a, b);
        }
    }
    fn zip3_leaf<E: Elem, F: Map3<E>>(y: &mut [E], a: &[E], b: &[E], c: &[E], f: F) {
        for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
            *y = f.at::<FUSED>(a, b, c);
        }
    }
    fn update_leaf<E: Elem, F: Map1<E>>(y: &mut [E], f: F) {
        for y in y {
            *y = f.at::<FUSED>(*y);
        }
    }
    fn update_zip_leaf<E: Elem, F: Map2<E>>(y: &mut [E], x: &[E], f: F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f.at::<FUSED>(*y, x);
        }
    }
    fn update_zip2_leaf<E: Elem, F: Map3<E>>(y: &mut [E], a: &[E], b: &[E], f: F) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f.at::<FUSED>(*y, a, b);
        }
    }
    pub(super) fn update_zip4_leaf<E: Elem, F: Map5<E>>(y: &mut [E], a: &[E], b: &[E], c: &[E], d: &[E], f: F) {
        for ((((y, &a), &b), &c), &d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *y = f(*y, a, b, c, d);
        }
    }
    pub(super) fn update_zip3_leaf<E: Elem, F: Map4<E>>(y: &mut [E], a: &[E], b: &[E], c: &[E], f: F) {
        for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
            *y = f(*y, a, b, c);
        }
    }
}

/// Computes `y[i] = f(x[i])`.
pub fn map<E: Elem>(y: &mut [E], x: &[E], f: impl Map1<E>) {
    assert_eq!(y.len(), x.len());
    if y.len() <= CHUNK {
        return map_leaf(y, x, f);
    }
    each_chunk(y, CHUNK, 1, |i, y| map_leaf(y, chunk(x, CHUNK, i), f));
}

/// Computes `y[i] = f(a[i], b[i])`.
pub fn zip<E: Elem>(y: &mut [E], a: &[E], b: &[E], f: impl Map2<E>) {
    assert!(y.len() == a.len() && y.len() == b.len());
    if y.len() <= CHUNK {
        return zip_leaf(y, a, b, f);
    }
    each_chunk(y, CHUNK, 1, |i, y| zip_leaf(y, chunk(a, CHUNK, i), chunk(b, CHUNK, i), f));
}

/// Computes `y[i] = f(a[i], b[i], c[i])`.
pub fn zip3<E: Elem>(y: &mut [E], a: &[E], b: &[E], c: &[E], f: impl Map3<E>) {
    assert!(y.len() == a.len() && y.len() == b.len() && y.len() == c.len());
    if y.len() <= CHUNK {
        return zip3_leaf(y, a, b, c, f);
    }
    each_chunk(y, CHUNK, 1, |i, y| {
        zip3_leaf(y, chunk(a, CHUNK, i), chunk(b, CHUNK, i), chunk(c, CHUNK, i), f)
    });
}

/// Computes `y[i] = f(y[i])`.
pub fn update<E: Elem>(y: &mut [E], f: impl Map1<E>) {
    if y.len() <= CHUNK {
        return update_leaf(y, f);
    }
    each_chunk(y, CHUNK, 1, |_, y| update_leaf(y, f));
}

/// Computes `y[i] = f(y[i], x[i])`.
pub fn update_zip<E: Elem>(y: &mut [E], x: &[E], f: impl Map2<E>) {
    assert_eq!(y.len(), x.len());
    if y.len() <= CHUNK {
        return update_zip_leaf(y, x, f);
    }
    each_chunk(y, CHUNK, 1, |i, y| update_zip_leaf(y, chunk(x, CHUNK, i), f));
}

/// Computes `y[i] = f(y[i], a[i], b[i])`.
pub fn update_zip2<E: Elem>(y: &mut [E], a: &[E], b: &[E], f: impl Map3<E>) {
    assert!(y.len() == a.len() && y.len() == b.len());
    if y.len() <= CHUNK {
        return update_zip2_leaf(y, a, b, f);
    }
    each_chunk(y, CHUNK, 1, |i, y| update_zip2_leaf(y, chunk(a, CHUNK, i), chunk(b, CHUNK, i), f));
}

/// Computes `y[i] = f(y[i], a[i], b[i], c[i])`.
pub fn update_zip3<E: Elem>(y: &mut [E], a: &[E], b: &[E], c: &[E], f: impl Map4<E>) {
    assert!(y.len() == a.len() && y.len() == b.len() && y.len() == c.len());
    if y.len() <= CHUNK {
        return update_zip3_leaf(y, a, b, c, f);
    }
    each_chunk(y, CHUNK, 1, |i, y| {
        update_zip3_leaf(y, chunk(a, CHUNK, i), chunk(b, CHUNK, i), chunk(c, CHUNK, i), f)
    });
}

/// Copies x to y in parallel.
pub fn copy<E: Elem>(y: &mut [E], x: &[E]) {
    assert_eq!(y.len(), x.len());
    each_chunk(y, CHUNK, 1, |i, y| y.copy_from_slice(chunk(x, CHUNK, i)));
}

/// Sets every element of y to `value`.
pub fn fill<E: Elem>(y: &mut [E], value: E) {
    each_chunk(y, CHUNK, 1, |_, y| y.fill(value));
}

/// Computes `y += x`.
pub fn add_assign<E: Elem>(y: &mut [E], x: &[E]) {
    update_zip(y, x, |y, x| y + x);
}

/// Computes `y += a x`.
pub fn axpy<E: Elem>(y: &mut [E], a: f64, x: &[E]) {
    let a = E::of(a);
    update_zip(y, x, move |y, x| y + a * x);
}

/// Computes `out = y + a x`, with the bits of [`axpy`].
pub fn axpy_to<E: Elem>(out: &mut [E], y: &[E], a: f64, x: &[E]) {
    let a = E::of(a);
    zip(out, y, x, move |y, x| y + a * x);
}

/// Computes `x = y + a x` in place of x, with the bits of [`axpy`].
pub fn axpy_onto<E: Elem>(y: &[E], a: f64, x: &mut [E]) {
    let a = E::of(a);
    update_zip(x, y, move |x, y| y + a * x);
}

/// Computes `y *= a`.
pub fn scale<E: Elem>(y: &mut [E], a: f64) {
    let a = E::of(a);
    update(y, move |y| a * y);
}

/// Computes `y += a x z`, element by element.
pub fn addcmul<E: Elem>(y: &mut [E], a: f64, x: &[E], z: &[E]) {
    let a = E::of(a);
    update_zip2(y, x, z, move |y, x, z| y + a * x * z);
}

/// Computes Adam's update, `y += a m / (sqrt(c v) + eps)`.
///
/// With `a = -lr / (1 - b1^t)` and `c = 1 / (1 - b2^t)` this is the bias-corrected step of Kingma & Ba (2015),
/// algorithm 1, from the raw moments.
pub fn adam<E: Elem>(y: &mut [E], a: f64, m: &[E], v: &[E], c: f64, eps: f64) {
    let (a, c, eps) = (E::of(a), E::of(c), E::of(eps));
    update_zip2(y, m, v, move |y, m, v| y + a * m / ((c * v).sqrt() + eps));
}

/// Computes `max(x, 0)`. A NaN stays NaN: an error must stay visible.
#[inline(always)]
pub fn relu<E: Elem>(x: E) -> E {
    if x < E::zero() { E::zero() } else { x }
}

/// Returns `g` if `y > 0`, else 0: the derivative of ReLU in terms of its output (0 at the kink).
#[inline(always)]
pub fn relu_mask<E: Elem>(g: E, y: E) -> E {
    if y > E::zero() { g } else { E::zero() }
}

/// Computes `min(max(x, 0), top)`. A NaN stays NaN.
#[inline(always)]
pub fn clip<E: Elem>(x: E, top: E) -> E {
    let x = relu(x);
    if x > top { top } else { x }
}

/// Returns `g` if `0 < y < top`, else 0: the derivative of [`clip`] in terms of its output (0 at both kinks). With
/// `top` = ∞, the derivative of [`relu`].
#[inline(always)]
pub fn clip_mask<E: Elem>(g: E, y: E, top: E) -> E {
    if y > E::zero() && y < top { g } else { E::zero() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{max_abs_diff, noise};

    #[test]
    fn updates_equal_their_formulas_on_long_and_short_vectors() {
        for n in [1, 7, CHUNK, 2 * CHUNK + 5] {
            let (x, z) = (noise::<f64>(n, 1), noise::<f64>(n, 2));
            let mut y = noise::<f64>(n, 3);
            let mut want = y.clone();
            axpy(&mut y, 0.5, &x);
            addcmul(&mut y, -2.0, &x, &z);
            scale(&mut y, 3.0);
            let v: Vec<f64> = z.iter().map(|z| z * z).collect();
            adam(&mut y, -0.1, &x, &v, 1.5, 1e-8);
            for i in 0..n {
                want[i] = 3.0 * (want[i] + 0.5 * x[i] - 2.0 * x[i] * z[i]);
                want[i] += -0.1 * x[i] / ((1.5 * v[i]).sqrt() + 1e-8);
            }
            assert!(max_abs_diff(&y, &want) < 1e-12);
        }
    }

    #[test]
    fn relu_lets_nan_through_and_is_flat_at_zero() {
        assert!(relu(f32::NAN).is_nan());
        assert_eq!(relu_mask(1.0_f32, 0.0), 0.0);
        assert!(clip(f32::NAN, 6.0).is_nan());
        assert_eq!([-1.0_f32, 2.0, 7.0].map(|x| clip(x, 6.0)), [0.0, 2.0, 6.0]);
        assert_eq!([0.0_f32, 2.0, 6.0].map(|y| clip_mask(1.0, y, 6.0)), [0.0, 1.0, 0.0]);
    }
}
