//! Functions of one variable with their first and second derivatives, element by element.

use super::elem::Elem;
use super::elementwise::{
    Map1, Map2, Map3, clip, clip_mask, fill, map, relu, relu_mask, update_zip, update_zip2, update_zip3,
    update_zip3_leaf, update_zip4_leaf, zip, zip_leaf, zip3,
};
use super::normal::{density, gelu, gelu_derivatives, gelu_with_derivatives, normal_cdf};
use super::sigmoid::{sigmoid, silu, silu_first, silu_second};
use super::simd::{CHUNK, simd};
use crate::Accum;
use crate::buffer::Buf;
use crate::parallel::{each_chunk, each_pair};

/// A function `y = f(x)` of one variable. Its derivatives are written so that they use `y` where that is cheaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// ReLU, `max(x, 0)`; derivative 1 where `x > 0`, else 0; second derivative 0.
    Relu,
    /// The exponential `e^x`.
    Exp,
    /// The natural logarithm `ln x`.
    Ln,
    /// The hyperbolic tangent.
    Tanh,
    /// The reciprocal square root.
    Rsqrt,
    /// The reciprocal `1 / x`.
    Recip,
    /// The logistic function `1 / (1 + e^-x)`.
    Sigmoid,
    /// SiLU, `x / (1 + e^-x)`.
    Silu,
    /// ReLU6, `min(max(x, 0), 6)`; derivative 1 where `0 < x < 6`, else 0; second derivative 0.
    Relu6,
    /// Φ(x), the standard normal distribution function.
    NormalCdf,
    /// GELU, `x Φ(x)`.
    Gelu,
}

impl Unary {
    /// Whether the second derivative vanishes.
    pub fn is_piecewise_linear(self) -> bool {
        matches!(self, Unary::Relu | Unary::Relu6)
    }
    /// Whether [`unary_first`] and [`unary_second`] read the input alone; the output that they are given then does not
    /// matter.
    pub fn reads_input_only(self) -> bool {
        matches!(self, Unary::Ln | Unary::NormalCdf | Unary::Gelu)
    }
}

/// Evaluates `$body` with `$d1(x, y)` = f'(x) and `$d2(x, y)` = f''(x) bound to closures of the given kind. Each arm is
/// a separate loop, so that the compiler can vectorise it.
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
            // One evaluation with fused multiply-add gives both derivatives.
            Unary::Gelu => unreachable!("GELU has loops of its own"),
        }
    }};
}

/// The derivative of Φ, as a closure of x and y like other derivatives.
#[inline(always)]
fn density_of<E: Elem>(x: E, _: E) -> E {
    density::<E, false>(x)
}

/// Defines functions that loops compute with fused multiply-add if the instruction set has it.
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
    /// The product `g f'(x)` of GELU.
    GeluFirst: Map2(g, x) = |FUSED| g * gelu_derivatives::<E, FUSED>(x)[0];
    /// The sum `out + g f'(x)` of GELU.
    GeluFirstMore: Map3(out, g, x) = |FUSED| out + g * gelu_derivatives::<E, FUSED>(x)[0];
}

simd! {
    /// Computes `out += b f'(x) + a xt f''(x)` and `first = a f'(x)` of GELU.
    fn gelu_second_leaf<E: Elem>(out: &mut [E], b: Option<&[E]>, a: &[E], xt: &[E], x: &[E], first: Option<&mut [E]>) {
        // The loop runs by index: iterators over so many slices stay calls, without the instruction set of the loop.
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

simd! {
    /// Computes `y = f(x)` and `out = g f'(x)` of GELU.
    fn gelu_with_first_leaf<E: Elem>(y: &mut [E], out: &mut [E], g: &[E], x: &[E]) {
        let n = x.len();
        let (y, out, g) = (&mut y[..n], &mut out[..n], &g[..n]);
        for i in 0..n {
            let (value, [first, _]) = gelu_with_derivatives::<E, FUSED>(x[i]);
            y[i] = value;
            out[i] = g[i] * first;
        }
    }
}

/// Computes `y = f(x)` and `out = g f'(x)` in one evaluation, if possible; else returns `false` and writes nothing.
/// Both have the bits of [`unary`] and [`unary_first`]. Runs on the calling thread.
pub fn unary_with_first<E: Elem>(kind: Unary, y: &mut [E], out: &mut [E], g: &[E], x: &[E]) -> bool {
    let together = kind == Unary::Gelu;
    if together {
        gelu_with_first_leaf(y, out, g, x);
    }
    together
}

/// Computes `y = f(x)`.
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

/// Computes `out = g f'(x)` with `y = f(x)`, or adds it to out: the adjoint of [`unary`], and also its tangent.
pub fn unary_first<E: Elem>(kind: Unary, out: &mut [E], g: &[E], x: &[E], y: &[E], accum: Accum) {
    if kind == Unary::Gelu {
        return if accum.adds() { update_zip2(out, g, x, GeluFirstMore) } else { zip(out, g, x, GeluFirst) };
    }
    with_derivatives!(kind, E, |d1, _d2| {
        if accum.adds() {
            update_zip3(out, g, x, y, move |o, g, x, y| o + g * d1(x, y));
        } else {
            zip3(out, g, x, y, move |g, x, y| g * d1(x, y));
        }
    });
}

/// Computes `g *= f'(x)` with `y = f(x)`.
pub fn unary_first_in_place<E: Elem>(kind: Unary, g: &mut [E], x: &[E], y: &[E]) {
    if kind == Unary::Gelu {
        return update_zip(g, x, GeluFirst);
    }
    with_derivatives!(kind, E, |d1, _d2| update_zip2(g, x, y, move |g, x, y| g * d1(x, y)));
}

/// Computes `out = b f'(x) + a f''(x) xt` with `y = f(x)`, or adds it to out: the second-order adjoint of `x`.
///
/// `a` is the recorded adjoint of `y` and `b` its derivative; `xt` is the tangent of x. Both derivatives of f are
/// evaluated once, together. `first`, if given, receives `a f'(x)` with the bits of [`unary_first`].
pub fn unary_second<E: Elem>(
    kind: Unary,
    out: &mut [E],
    accum: Accum,
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
            if !accum.adds() {
                out.fill(E::zero());
            }
            gelu_second_leaf(out, b.map(|b| &b[of(b)]), &a[of(a)], &xt[of(xt)], &x[of(x)], first);
        };
        return match first {
            Some(first) => {
                each_pair((out, first), [CHUNK; 2], 1, |i, out, first| chunk(i, out, Some(first)));
            }
            None => each_chunk(out, CHUNK, 1, |i, out| chunk(i, out, None)),
        };
    }
    if let Some(first) = first.take() {
        unary_first(kind, first, a, x, y, Accum::Replace);
    }
    if kind.is_piecewise_linear() {
        return match b {
            Some(b) => unary_first(kind, out, b, x, y, accum),
            None if accum.adds() => {}
            None => fill(out, E::zero()),
        };
    }
    each_chunk(out, CHUNK, 1, |i, out| {
        let of = |s: &'_ [E]| -> std::ops::Range<usize> { i * CHUNK..(i * CHUNK + CHUNK).min(s.len()) };
        let [a, xt, x, y] = [a, xt, x, y].map(|s| &s[of(s)]);
        if !accum.adds() {
            out.fill(E::zero());
        }
        // a xt comes first, in the cache: six streams would be slower.
        let mut t = Buf::<E>::new(a.len());
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
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elementwise::add_assign;
    use crate::testing::{max_abs_diff, noise};

    /// Compares first derivatives with central differences of f, and second ones with those of f'. Step 1e-5 leaves a
    /// truncation error of at most h^2/6 times the third derivative of the compared function, 1.3e-8 for 1/x at 0.5.
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
                unary_first(kind, &mut d, &ones, x, &y, Accum::Replace);
                d
            };
            let mut second = vec![f64::NAN; x.len()];
            let y = if kind.reads_input_only() { vec![f64::NAN; x.len()] } else { value(&x) };
            unary_second(kind, &mut second, Accum::Replace, None, [&ones, &ones], [&x, &y], None);
            // Two terms at once are the sum of both.
            let mut both = vec![0.5; x.len()];
            let mut alone = vec![f64::NAN; x.len()];
            unary_second(kind, &mut both, Accum::Add, Some(&x), [&ones, &ones], [&x, &y], Some(&mut alone));
            let mut want = vec![0.0; x.len()];
            unary_first(kind, &mut want, &ones, &x, &y, Accum::Replace);
            assert_eq!(alone, want, "{kind:?}");
            let mut in_place = ones.clone();
            unary_first_in_place(kind, &mut in_place, &x, &y);
            assert_eq!(in_place, want, "{kind:?}");
            let mut sum = vec![0.5; x.len()];
            unary_first(kind, &mut sum, &x, &x, &y, Accum::Add);
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
}
