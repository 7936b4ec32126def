//! The softmax of attention and its derivatives, row by row.

use crate::elem::Elem;
use crate::simd::{LANES, simd};

#[inline(always)]
fn sum2<E: Elem>(x: &[E], y: &[E], f: impl Fn(E, E) -> E) -> E {
    let mut lanes = [E::zero(); LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    let rest: E = x_rest.iter().zip(y_rest).map(|(&x, &y)| f(x, y)).sum();
    lanes.into_iter().sum::<E>() + rest
}

simd! {
    /// Computes `p = softmax(τ s + bias)` for rows of `t` scores. Rows of s start `row` elements apart and are
    /// overwritten.
    pub(super) fn softmax_rows<E: Elem>(t: usize, row: usize, scale: E, s: &mut [E], bias: Option<&[E]>, p: &mut [E]) {
        for (i, (s, p)) in s.chunks_mut(row).zip(p.chunks_exact_mut(t)).enumerate() {
            let s = &mut s[..t];
            match bias {
                Some(bias) => s.iter_mut().zip(&bias[i * t..]).for_each(|(s, &b)| *s = *s * scale + b),
                None => s.iter_mut().for_each(|s| *s *= scale),
            }
            let mut lanes = [E::neg_infinity(); LANES];
            let (chunks, rest) = s.as_chunks::<LANES>();
            for c in chunks {
                for l in 0..LANES {
                    lanes[l] = if c[l] > lanes[l] { c[l] } else { lanes[l] };
                }
            }
            // A NaN is not seen by this maximum; the exponential brings it back.
            let top = lanes.iter().chain(rest).fold(E::neg_infinity(), |top, &s| if s > top { s } else { top });
            s.iter_mut().for_each(|s| *s = (*s - top).natural_exp::<FUSED>());
            let mut lanes = [E::zero(); LANES];
            let (chunks, rest) = s.as_chunks::<LANES>();
            for c in chunks {
                for l in 0..LANES {
                    lanes[l] += c[l];
                }
            }
            let total = lanes.into_iter().sum::<E>() + rest.iter().copied().sum::<E>();
            let factor = E::one() / total;
            p.iter_mut().zip(s).for_each(|(p, s)| *p = *s * factor);
        }
    }
    /// Computes `s ← τ p ⊙ (s − row sums of p ⊙ s)`: the adjoint of the scores times their scale. Adds the adjoint
    /// without the scale to `bias`. Rows of s start `row` elements apart.
    pub(super) fn softmax_backward<E: Elem>(t: usize, row: usize, scale: E, p: &[E], s: &mut [E], bias: Option<&mut [E]>) {
        let mut bias = bias;
        for (i, (p, s)) in p.chunks_exact(t).zip(s.chunks_mut(row)).enumerate() {
            let s = &mut s[..t];
            let r = sum2(p, s, |p, s| p * s);
            s.iter_mut().zip(p).for_each(|(s, &p)| *s = p * (*s - r));
            if let Some(bias) = &mut bias {
                bias[i * t..].iter_mut().zip(&*s).for_each(|(b, &s)| *b += s);
            }
            s.iter_mut().for_each(|s| *s *= scale);
        }
    }
    /// Computes the tangent of the softmax, `pt = p ⊙ (ṡ − row sums of p ⊙ ṡ)` with `ṡ = τ s + bias`. Rows of s start
    /// `row` elements apart.
    pub(super) fn softmax_tangent<E: Elem>(t: usize, row: usize, scale: E, p: &[E], s: &mut [E], bias: Option<&[E]>, pt: &mut [E]) {
        let rows = p.chunks_exact(t).zip(pt.chunks_exact_mut(t));
        for (i, ((p, pt), s)) in rows.zip(s.chunks_mut(row)).enumerate() {
            let s = &mut s[..t];
            s.iter_mut().for_each(|s| *s *= scale);
            if let Some(bias) = bias {
                s.iter_mut().zip(&bias[i * t..]).for_each(|(s, &b)| *s += b);
            }
            let r = sum2(p, s, |p, s| p * s);
            pt.iter_mut().zip(&*s).zip(p).for_each(|((pt, &s), &p)| *pt = p * (s - r));
        }
    }
    /// Turns P̄ in `s` into τ S̄ and P̄′ in `s2` into τ S̄′; adds S̄′ to `bias`. Rows start `row` elements apart.
    pub(super) fn softmax_second<E: Elem>(t: usize, row: usize, scale: E, p: &[E], pt: &[E], s: &mut [E], s2: &mut [E], bias: Option<&mut [E]>) {
        let mut bias = bias;
        let rows = p.chunks_exact(t).zip(pt.chunks_exact(t));
        for (i, ((p, pt), (s, s2))) in rows.zip(s.chunks_mut(row).zip(s2.chunks_mut(row))).enumerate() {
            let (s, s2) = (&mut s[..t], &mut s2[..t]);
            let r = sum2(p, s, |p, s| p * s);
            let r2 = sum2(pt, s, |p, s| p * s) + sum2(p, s2, |p, s| p * s);
            for (((&p, &pt), s), s2) in p.iter().zip(pt).zip(&mut *s).zip(&mut *s2) {
                *s2 = pt * (*s - r) + p * (*s2 - r2);
                *s = p * (*s - r);
            }
            if let Some(bias) = &mut bias {
                bias[i * t..].iter_mut().zip(&*s2).for_each(|(b, &s)| *b += s);
            }
            for s in [s, s2] {
                s.iter_mut().for_each(|s| *s *= scale);
            }
        }
    }
}
