//! Parallel element-by-element kernels: maps, zips, vector updates.
//!
//! The general ones ([`map`], [`zip`], …) take a closure that is inlined into an AVX2 loop, so arithmetic closures vectorise.
//! Function *pointers* would not: dispatch on the kind of operation outside, and pass a closure.

use super::elem::Elem;
use super::normal::{density, gelu, gelu_derivatives, normal_cdf};
use super::sigmoid::{sigmoid, silu, silu_first, silu_second};
use super::simd::{CHUNK, simd};
use rayon::prelude::*;

/// A closure of one element, or a function that profits from fused multiply-add.
pub trait Map1<E>: Sync + Copy {
    /// Its value.
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
    /// Its value.
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
    /// Its value.
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
    fn zip_leaf<E: Elem, F: Map2<E>>(y: &mut [E], a: &[E], b: &[E], f: F) {
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
    fn update_zip4_leaf<E: Elem, F: Map5<E>>(y: &mut [E], a: &[E], b: &[E], c: &[E], d: &[E], f: F) {
        for ((((y, &a), &b), &c), &d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *y = f(*y, a, b, c, d);
        }
    }
    fn update_zip3_leaf<E: Elem, F: Map4<E>>(y: &mut [E], a: &[E], b: &[E], c: &[E], f: F) {
        for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
            *y = f(*y, a, b, c);
        }
    }
    /// `out += b f'(x) + a xt f''(x)` and `first = a f'(x)` of GELU.
    fn gelu_second_leaf<E: Elem>(out: &mut [E], b: Option<&[E]>, a: &[E], xt: &[E], x: &[E], first: Option<&mut [E]>) {
        // By index: iterators over so many slices stay calls, without the instruction set of the loop.
        let n = out.len();
        let (a, xt, x) = (&a[..n], &xt[..n], &x[..n]);
        match (b.map(|b| &b[..n]), first) {
            (Some(b), Some(first)) => {
                let first = &mut first[..n];
                for i in 0..n {
                    let [d1, d2] = gelu_derivatives::<E, FUSED>(x[i]);
                    out[i] = out[i] + b[i] * d1 + a[i] * xt[i] * d2;
                    first[i] = a[i] * d1;
                }
            }
            (Some(b), None) => {
                for i in 0..n {
                    let [d1, d2] = gelu_derivatives::<E, FUSED>(x[i]);
                    out[i] = out[i] + b[i] * d1 + a[i] * xt[i] * d2;
                }
            }
            (None, first) => {
                for i in 0..n {
                    out[i] += a[i] * xt[i] * gelu_derivatives::<E, FUSED>(x[i])[1];
                }
                if let Some(first) = first {
                    let first = &mut first[..n];
                    for i in 0..n {
                        first[i] = a[i] * gelu_derivatives::<E, FUSED>(x[i])[0];
                    }
                }
            }
        }
    }
}

/// `y[i] = f(x[i])`.
pub fn map<E: Elem>(y: &mut [E], x: &[E], f: impl Map1<E>) {
    assert_eq!(y.len(), x.len());
    if y.len() <= CHUNK {
        return map_leaf(y, x, f);
    }
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| map_leaf(y, x, f));
}

/// `y[i] = f(a[i], b[i])`.
pub fn zip<E: Elem>(y: &mut [E], a: &[E], b: &[E], f: impl Map2<E>) {
    assert!(y.len() == a.len() && y.len() == b.len());
    if y.len() <= CHUNK {
        return zip_leaf(y, a, b, f);
    }
    let inputs = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, (a, b))| zip_leaf(y, a, b, f));
}

/// `y[i] = f(a[i], b[i], c[i])`.
pub fn zip3<E: Elem>(y: &mut [E], a: &[E], b: &[E], c: &[E], f: impl Map3<E>) {
    assert!(y.len() == a.len() && y.len() == b.len() && y.len() == c.len());
    if y.len() <= CHUNK {
        return zip3_leaf(y, a, b, c, f);
    }
    let inputs = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).zip(c.par_chunks(CHUNK));
    y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, ((a, b), c))| zip3_leaf(y, a, b, c, f));
}

/// `y[i] = f(y[i])`.
pub fn update<E: Elem>(y: &mut [E], f: impl Map1<E>) {
    if y.len() <= CHUNK {
        return update_leaf(y, f);
    }
    y.par_chunks_mut(CHUNK).for_each(|y| update_leaf(y, f));
}

/// `y[i] = f(y[i], x[i])`.
pub fn update_zip<E: Elem>(y: &mut [E], x: &[E], f: impl Map2<E>) {
    assert_eq!(y.len(), x.len());
    if y.len() <= CHUNK {
        return update_zip_leaf(y, x, f);
    }
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| update_zip_leaf(y, x, f));
}

/// `y[i] = f(y[i], a[i], b[i])`.
pub fn update_zip2<E: Elem>(y: &mut [E], a: &[E], b: &[E], f: impl Map3<E>) {
    assert!(y.len() == a.len() && y.len() == b.len());
    if y.len() <= CHUNK {
        return update_zip2_leaf(y, a, b, f);
    }
    let inputs = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, (a, b))| update_zip2_leaf(y, a, b, f));
}

/// `y[i] = f(y[i], a[i], b[i], c[i])`.
pub fn update_zip3<E: Elem>(y: &mut [E], a: &[E], b: &[E], c: &[E], f: impl Map4<E>) {
    assert!(y.len() == a.len() && y.len() == b.len() && y.len() == c.len());
    if y.len() <= CHUNK {
        return update_zip3_leaf(y, a, b, c, f);
    }
    let inputs = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).zip(c.par_chunks(CHUNK));
    y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, ((a, b), c))| update_zip3_leaf(y, a, b, c, f));
}

/// Parallel copy.
pub fn copy<E: Elem>(y: &mut [E], x: &[E]) {
    assert_eq!(y.len(), x.len());
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| y.copy_from_slice(x));
}

/// `y = value` in every element.
pub fn fill<E: Elem>(y: &mut [E], value: E) {
    y.par_chunks_mut(CHUNK).for_each(|y| y.fill(value));
}

/// `y += x`.
pub fn add_assign<E: Elem>(y: &mut [E], x: &[E]) {
    update_zip(y, x, |y, x| y + x);
}

/// `y += a x`.
pub fn axpy<E: Elem>(y: &mut [E], a: f64, x: &[E]) {
    let a = E::of(a);
    update_zip(y, x, move |y, x| y + a * x);
}

/// `out = y + a x`: the bits of [`axpy`] without writing to y.
pub fn axpy_to<E: Elem>(out: &mut [E], y: &[E], a: f64, x: &[E]) {
    let a = E::of(a);
    zip(out, y, x, move |y, x| y + a * x);
}

/// `y *= a`.
pub fn scale<E: Elem>(y: &mut [E], a: f64) {
    let a = E::of(a);
    update(y, move |y| a * y);
}

/// `y += a x z`, element by element.
pub fn addcmul<E: Elem>(y: &mut [E], a: f64, x: &[E], z: &[E]) {
    let a = E::of(a);
    update_zip2(y, x, z, move |y, x, z| y + a * x * z);
}

/// Adam's update: `y += a m / (sqrt(c v) + eps)`. With `a = -lr / (1 - b1^t)` and `c = 1 / (1 - b2^t)` it is the bias-corrected
/// step of Kingma & Ba (2015), algorithm 1, from the raw moments.
pub fn adam<E: Elem>(y: &mut [E], a: f64, m: &[E], v: &[E], c: f64, eps: f64) {
    let (a, c, eps) = (E::of(a), E::of(c), E::of(eps));
    update_zip2(y, m, v, move |y, m, v| y + a * m / ((c * v).sqrt() + eps));
}

/// `max(x, 0)`, with NaN passed through (an error must stay visible).
#[inline(always)]
pub fn relu<E: Elem>(x: E) -> E {
    if x < E::zero() { E::zero() } else { x }
}

/// `g` where `y > 0`, else 0: the derivative of ReLU expressed by its output (0 at the kink).
#[inline(always)]
pub fn relu_mask<E: Elem>(g: E, y: E) -> E {
    if y > E::zero() { g } else { E::zero() }
}

/// `min(max(x, 0), top)`, with NaN passed through.
#[inline(always)]
pub fn clip<E: Elem>(x: E, top: E) -> E {
    let x = relu(x);
    if x > top { top } else { x }
}

/// `g` where `0 < y < top`, else 0: the derivative of [`clip`] expressed by its output (0 at both kinks); with `top` = ∞, of [`relu`].
#[inline(always)]
pub fn clip_mask<E: Elem>(g: E, y: E, top: E) -> E {
    if y > E::zero() && y < top { g } else { E::zero() }
}

/// A unary function `y = f(x)` with its first and second derivative, both written so that they reuse `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `max(x, 0)`; derivative 1 where `x > 0`, else 0; second derivative 0.
    Relu,
    /// `e^x`.
    Exp,
    /// `ln x`.
    Ln,
    /// `tanh x`.
    Tanh,
    /// `1 / sqrt x`.
    Rsqrt,
    /// `1 / x`.
    Recip,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `min(max(x, 0), 6)`; derivative 1 where `0 < x < 6`, else 0; second derivative 0.
    Relu6,
    /// Φ(x), the standard normal distribution function.
    NormalCdf,
    /// `x Φ(x)`.
    Gelu,
}

impl Unary {
    /// Whether the second derivative vanishes.
    pub fn is_piecewise_linear(self) -> bool {
        matches!(self, Unary::Relu | Unary::Relu6)
    }
    /// Whether [`unary_first`] and [`unary_second`] read the input alone; what they are given as output is then never looked at.
    pub fn reads_input_only(self) -> bool {
        matches!(self, Unary::Ln | Unary::NormalCdf | Unary::Gelu)
    }
}

/// Evaluates `$body` with `$d1(x, y)` = f'(x) and `$d2(x, y)` = f''(x) bound to closures of the given kind, so that each arm is a
/// separate loop the compiler can vectorise.
macro_rules! with_derivatives {
    ($kind:expr, $E:ty, |$d1:ident, $d2:ident| $body:expr) => {{
        let (zero, one) = (<$E>::zero(), <$E>::one());
        let (two, half) = (one + one, <$E>::of(0.5));
        match $kind {
            Unary::Relu => {
                let ($d1, $d2) = (move |_: $E, y: $E| relu_mask(one, y), move |_: $E, _: $E| zero);
                $body
            }
            Unary::Exp => {
                let ($d1, $d2) = (move |_: $E, y: $E| y, move |_: $E, y: $E| y);
                $body
            }
            Unary::Ln => {
                let ($d1, $d2) = (move |x: $E, _: $E| one / x, move |x: $E, _: $E| -one / (x * x));
                $body
            }
            Unary::Tanh => {
                let ($d1, $d2) =
                    (move |_: $E, y: $E| one - y * y, move |_: $E, y: $E| -two * y * (one - y * y));
                $body
            }
            Unary::Rsqrt => {
                let ($d1, $d2) = (
                    move |_: $E, y: $E| -half * y * y * y,
                    move |_: $E, y: $E| <$E>::of(0.75) * y * y * y * y * y,
                );
                $body
            }
            Unary::Recip => {
                let ($d1, $d2) = (move |_: $E, y: $E| -(y * y), move |_: $E, y: $E| two * y * y * y);
                $body
            }
            Unary::Sigmoid => {
                let ($d1, $d2) =
                    (move |_: $E, y: $E| y * (one - y), move |_: $E, y: $E| y * (one - y) * (one - two * y));
                $body
            }
            Unary::Silu => {
                let ($d1, $d2) = (silu_first::<$E>, silu_second::<$E>);
                $body
            }
            Unary::Relu6 => {
                let six = <$E>::of(6.0);
                let ($d1, $d2) = (move |_: $E, y: $E| clip_mask(one, y, six), move |_: $E, _: $E| zero);
                $body
            }
            Unary::NormalCdf => {
                let ($d1, $d2) = (density_of::<$E>, move |x: $E, y: $E| -x * density_of(x, y));
                $body
            }
            Unary::Gelu => {
                let ($d1, $d2) = (
                    move |x: $E, _: $E| gelu_derivatives::<$E, false>(x)[0],
                    move |x: $E, _: $E| gelu_derivatives::<$E, false>(x)[1],
                );
                $body
            }
        }
    }};
}

/// The density, in the form of the other derivatives.
fn density_of<E: Elem>(x: E, _: E) -> E {
    density::<E, false>(x)
}

/// Defines functions that loops compute with fused multiply-add where there is one.
macro_rules! fused {
    ($($(#[$doc:meta])* $name:ident: $map:ident($($x:ident),*) = |$fused:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        struct $name;
        impl<E: Elem> $map<E> for $name {
            #[inline(always)]
            fn at<const $fused: bool>(self, $($x: E),*) -> E {
                $body
            }
        }
    )*};
}
fused! {
    SigmoidValue: Map1(x) = |FUSED| sigmoid::<E, FUSED>(x);
    SiluValue: Map1(x) = |FUSED| silu::<E, FUSED>(x);
    NormalCdfValue: Map1(x) = |FUSED| normal_cdf::<E, FUSED>(x);
    GeluValue: Map1(x) = |FUSED| gelu::<E, FUSED>(x);
    /// `g f'(x)`
    GeluFirst: Map2(g, x) = |FUSED| g * gelu_derivatives::<E, FUSED>(x)[0];
    /// `out + g f'(x)`
    GeluFirstMore: Map3(out, g, x) = |FUSED| out + g * gelu_derivatives::<E, FUSED>(x)[0];
}

/// `y = f(x)`.
pub fn unary<E: Elem>(kind: Unary, y: &mut [E], x: &[E]) {
    use num_traits::Float;
    match kind {
        Unary::Relu => map(y, x, relu),
        Unary::Exp => map(y, x, <E as Float>::exp),
        Unary::Ln => map(y, x, <E as Float>::ln),
        Unary::Tanh => map(y, x, <E as Float>::tanh),
        Unary::Rsqrt => map(y, x, |x| E::one() / <E as Float>::sqrt(x)),
        Unary::Recip => map(y, x, |x| E::one() / x),
        Unary::Sigmoid => map(y, x, SigmoidValue),
        Unary::Silu => map(y, x, SiluValue),
        Unary::Relu6 => map(y, x, |x| clip(x, E::of(6.0))),
        Unary::NormalCdf => map(y, x, NormalCdfValue),
        Unary::Gelu => map(y, x, GeluValue),
    }
}

/// `out = g f'(x)` (or `out += …` when `accumulate`), with `y = f(x)`: the adjoint, and equally the tangent, of [`unary`].
pub fn unary_first<E: Elem>(kind: Unary, out: &mut [E], g: &[E], x: &[E], y: &[E], accumulate: bool) {
    if kind == Unary::Gelu {
        return if accumulate { update_zip2(out, g, x, GeluFirstMore) } else { zip(out, g, x, GeluFirst) };
    }
    with_derivatives!(kind, E, |d1, _d2| {
        if accumulate {
            update_zip3(out, g, x, y, move |o, g, x, y| o + g * d1(x, y));
        } else {
            zip3(out, g, x, y, move |g, x, y| g * d1(x, y));
        }
    });
}

/// `g *= f'(x)`, with `y = f(x)`.
pub fn unary_first_in_place<E: Elem>(kind: Unary, g: &mut [E], x: &[E], y: &[E]) {
    if kind == Unary::Gelu {
        return update_zip(g, x, GeluFirst);
    }
    with_derivatives!(kind, E, |d1, _d2| update_zip2(g, x, y, move |g, x, y| g * d1(x, y)));
}

/// `out = b f'(x) + a f''(x) xt` (or `out += …` when `accumulate`), with `y = f(x)`: the second-order adjoint of `x` from the second adjoint `b` of `y` and from its
/// first, `a`, which the tangent `xt` turns. Both derivatives are evaluated once, together. When asked, `first = a f'(x)`, the bits of
/// [`unary_first`].
pub fn unary_second<E: Elem>(
    kind: Unary,
    out: &mut [E],
    accumulate: bool,
    b: Option<&[E]>,
    [a, xt]: [&[E]; 2],
    [x, y]: [&[E]; 2],
    mut first: Option<&mut [E]>,
) {
    let first_len = first.as_ref().map_or(out.len(), |first| first.len());
    let lens = [a.len(), xt.len(), x.len(), y.len(), b.map_or(out.len(), <[E]>::len), first_len];
    assert!(lens.iter().all(|&len| len == out.len()));
    if kind == Unary::Gelu {
        let chunk = |i: usize, out: &mut [E], first: Option<&mut [E]>| {
            let of = |s: &'_ [E]| -> std::ops::Range<usize> { i * CHUNK..(i * CHUNK + CHUNK).min(s.len()) };
            if !accumulate {
                out.fill(E::zero());
            }
            gelu_second_leaf(out, b.map(|b| &b[of(b)]), &a[of(a)], &xt[of(xt)], &x[of(x)], first);
        };
        let chunks = out.par_chunks_mut(CHUNK).enumerate();
        return match first {
            Some(first) => {
                chunks
                    .zip(first.par_chunks_mut(CHUNK))
                    .for_each(|((i, out), first)| chunk(i, out, Some(first)));
            }
            None => chunks.for_each(|(i, out)| chunk(i, out, None)),
        };
    }
    if let Some(first) = first.take() {
        unary_first(kind, first, a, x, y, false);
    }
    if kind.is_piecewise_linear() {
        return match b {
            Some(b) => unary_first(kind, out, b, x, y, accumulate),
            None if accumulate => {}
            None => fill(out, E::zero()),
        };
    }
    let chunk = |(i, out): (usize, &mut [E])| {
        let of = |s: &'_ [E]| -> std::ops::Range<usize> { i * CHUNK..(i * CHUNK + CHUNK).min(s.len()) };
        let [a, xt, x, y] = [a, xt, x, y].map(|s| &s[of(s)]);
        if !accumulate {
            out.fill(E::zero());
        }
        // a xt first, in the cache: six streams would be slower.
        let mut t = crate::cpu::buffer::Buf::<E>::new(a.len());
        zip_leaf(&mut t, a, xt, |a, b| a * b);
        with_derivatives!(kind, E, |d1, d2| match b {
            Some(b) => {
                update_zip4_leaf(out, &b[of(b)], &t, x, y, move |o, b, t, x, y| {
                    o + b * d1(x, y) + t * d2(x, y)
                })
            }
            None => {
                let _ = d1;
                update_zip3_leaf(out, &t, x, y, move |o, t, x, y| o + t * d2(x, y))
            }
        });
    };
    out.par_chunks_mut(CHUNK).enumerate().for_each(chunk);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::testing::{max_abs_diff, noise};

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

    /// First derivatives against central differences of f, second against central differences of f'; step 1e-5 leaves a
    /// truncation error of at most h^2/6 times the next-but-one derivative, 1.3e-8 for 1/x at 0.5.
    #[test]
    fn derivatives_match_central_differences() {
        let x: Vec<f64> = noise::<f64>(1000, 4).iter().map(|v| v.abs() + 0.5).collect();
        let (ones, h) = (vec![1.0; x.len()], 1e-5);
        let shifted = |s: f64| x.iter().map(|v| v + s).collect::<Vec<_>>();
        for kind in [
            Unary::Relu,
            Unary::Exp,
            Unary::Ln,
            Unary::Tanh,
            Unary::Rsqrt,
            Unary::Recip,
            Unary::Sigmoid,
            Unary::Silu,
            Unary::Relu6,
            Unary::NormalCdf,
            Unary::Gelu,
        ] {
            let value = |x: &[f64]| {
                let mut y = vec![0.0; x.len()];
                unary(kind, &mut y, x);
                y
            };
            let first = |x: &[f64]| {
                let mut d = vec![0.0; x.len()];
                let y = if kind.reads_input_only() { vec![f64::NAN; x.len()] } else { value(x) };
                unary_first(kind, &mut d, &ones, x, &y, false);
                d
            };
            let mut second = vec![f64::NAN; x.len()];
            let y = if kind.reads_input_only() { vec![f64::NAN; x.len()] } else { value(&x) };
            unary_second(kind, &mut second, false, None, [&ones, &ones], [&x, &y], None);
            // Two terms at once are the sum of both.
            let mut both = vec![0.5; x.len()];
            let mut alone = vec![f64::NAN; x.len()];
            unary_second(kind, &mut both, true, Some(&x), [&ones, &ones], [&x, &y], Some(&mut alone));
            let mut want = vec![0.0; x.len()];
            unary_first(kind, &mut want, &ones, &x, &y, false);
            assert_eq!(alone, want, "{kind:?}");
            let mut in_place = ones.clone();
            unary_first_in_place(kind, &mut in_place, &x, &y);
            assert_eq!(in_place, want, "{kind:?}");
            let mut sum = vec![0.5; x.len()];
            unary_first(kind, &mut sum, &x, &x, &y, true);
            add_assign(&mut sum, &second);
            assert!(max_abs_diff(&both, &sum) < 1e-14, "{kind:?}");
            let slope = |f: &dyn Fn(&[f64]) -> Vec<f64>| {
                f(&shifted(h))
                    .iter()
                    .zip(f(&shifted(-h)))
                    .map(|(p, m)| (p - m) / (2.0 * h))
                    .collect::<Vec<_>>()
            };
            assert!(max_abs_diff(&first(&x), &slope(&value)) < 3e-8, "{kind:?}");
            assert!(max_abs_diff(&second, &slope(&first)) < 3e-8, "{kind:?}");
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
