//! Leaf loops of batch normalisation over one feature map: run-time AVX2, reductions in explicit lanes.

use super::kernels::{
    elem::Elem,
    elementwise::{relu as positive, relu_mask},
    simd::{LANES, simd},
};

/// Lanes of `E` merged in f64.
#[inline(always)]
fn merge<E: Elem>(lanes: [E; LANES]) -> f64 {
    lanes.iter().map(|v| v.wide()).sum()
}

simd! {
    /// Σ x.
    pub(super) fn sum<E: Elem>(x: &[E]) -> f64 {
        let mut lanes = [E::zero(); LANES];
        let mut chunks = x.chunks_exact(LANES);
        for c in &mut chunks {
            for i in 0..LANES {
                lanes[i] += c[i];
            }
        }
        merge(lanes) + chunks.remainder().iter().map(|v| v.wide()).sum::<f64>()
    }
    /// Σ (x − m)(z − k).
    pub(super) fn product<E: Elem>(x: &[E], m: E, z: &[E], k: E) -> f64 {
        let mut lanes = [E::zero(); LANES];
        let (mut xs, mut zs) = (x.chunks_exact(LANES), z.chunks_exact(LANES));
        for (a, b) in (&mut xs).zip(&mut zs) {
            for i in 0..LANES {
                lanes[i] += (a[i] - m) * (b[i] - k);
            }
        }
        let rest = xs.remainder().iter().zip(zs.remainder());
        merge(lanes) + rest.map(|(a, b)| ((*a - m) * (*b - k)).wide()).sum::<f64>()
    }
    /// y = k x + m (+ r), then ReLU.
    pub(super) fn apply<E: Elem>(y: &mut [E], x: &[E], k: [E; 2], r: Option<&[E]>, relu: bool) {
        let [k, m] = k;
        match (r, relu) {
            (None, false) => y.iter_mut().zip(x).for_each(|(y, x)| *y = k * *x + m),
            (None, true) => y.iter_mut().zip(x).for_each(|(y, x)| *y = positive(k * *x + m)),
            (Some(r), false) => y.iter_mut().zip(x).zip(r).for_each(|((y, x), r)| *y = k * *x + m + *r),
            (Some(r), true) => {
                y.iter_mut().zip(x).zip(r).for_each(|((y, x), r)| *y = positive(k * *x + m + *r));
            }
        }
    }
    /// o = k₀ t + k₁ x + k₂ (+ r), masked by y > 0.
    pub(super) fn apply_tangent<E: Elem>(
        o: &mut [E],
        y: Option<&[E]>,
        x: &[E],
        t: Option<&[E]>,
        k: [E; 3],
        r: Option<&[E]>,
    ) {
        let [k0, k1, k2] = k;
        match (t, y, r) {
            (Some(t), None, None) => {
                o.iter_mut().zip(x).zip(t).for_each(|((o, x), t)| *o = k0 * *t + k1 * *x + k2);
            }
            (Some(t), Some(y), None) => {
                let parts = o.iter_mut().zip(x).zip(t).zip(y);
                parts.for_each(|(((o, x), t), y)| *o = relu_mask(k0 * *t + k1 * *x + k2, *y));
            }
            (Some(t), Some(y), Some(r)) => {
                let parts = o.iter_mut().zip(x).zip(t).zip(y).zip(r);
                parts.for_each(|((((o, x), t), y), r)| *o = relu_mask(k0 * *t + k1 * *x + k2 + *r, *y));
            }
            _ => {
                for i in 0..o.len() {
                    let tangent = t.map_or(E::zero(), |t| k0 * t[i]) + r.map_or(E::zero(), |r| r[i]);
                    let v = tangent + k1 * x[i] + k2;
                    o[i] = y.map_or(v, |y| relu_mask(v, y[i]));
                }
            }
        }
    }
    /// Masks g by y > 0 in place and returns (Σ g, Σ g (x − m)).
    pub(super) fn masked_sums<E: Elem>(g: &mut [E], x: &[E], m: E, y: Option<&[E]>) -> [f64; 2] {
        let (mut total, mut product) = ([E::zero(); LANES], [E::zero(); LANES]);
        let n = g.len() / LANES * LANES;
        match y {
            Some(y) => {
                let parts = g.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES)).zip(y.chunks_exact(LANES));
                for ((g, x), y) in parts {
                    for i in 0..LANES {
                        let v = relu_mask(g[i], y[i]);
                        g[i] = v;
                        total[i] += v;
                        product[i] += v * (x[i] - m);
                    }
                }
                g[n..].iter_mut().zip(&y[n..]).for_each(|(g, y)| *g = relu_mask(*g, *y));
            }
            None => {
                for (g, x) in g.chunks_exact(LANES).zip(x.chunks_exact(LANES)) {
                    for i in 0..LANES {
                        total[i] += g[i];
                        product[i] += g[i] * (x[i] - m);
                    }
                }
            }
        }
        let mut sums = [merge(total), merge(product)];
        for (g, x) in g[n..].iter().zip(&x[n..]) {
            sums[0] += g.wide();
            sums[1] += (*g * (*x - m)).wide();
        }
        sums
    }
    /// o (+)= k₀ g + k₁ x + k₂.
    pub(super) fn combine2<E: Elem>(o: &mut [E], accumulate: bool, g: &[E], x: &[E], k: [E; 3]) {
        let parts = o.iter_mut().zip(g).zip(x);
        if accumulate {
            parts.for_each(|((o, g), x)| *o += k[0] * *g + k[1] * *x + k[2]);
        } else {
            parts.for_each(|((o, g), x)| *o = k[0] * *g + k[1] * *x + k[2]);
        }
    }
    fn combine4_leaf<E: Elem>(o: &mut [E], accumulate: bool, b: &[E], a: &[E], x: &[E], t: &[E], k: [E; 5]) {
        let parts = o.iter_mut().zip(b).zip(a).zip(x).zip(t);
        if accumulate {
            parts.for_each(|((((o, b), a), x), t)| {
                *o += k[0] * *b + k[1] * *a + k[2] * *x + k[3] * *t + k[4];
            });
        } else {
            parts.for_each(|((((o, b), a), x), t)| {
                *o = k[0] * *b + k[1] * *a + k[2] * *x + k[3] * *t + k[4];
            });
        }
    }
}

/// o (+)= k₀ b + k₁ a + k₂ x + k₃ t + k₄; missing terms are zeros.
pub(super) fn combine4<E: Elem>(
    o: &mut [E],
    accumulate: bool,
    b: Option<&[E]>,
    a: Option<&[E]>,
    x: &[E],
    t: Option<&[E]>,
    mut k: [E; 5],
) {
    // A missing stream is replaced by x with a zero coefficient. That would turn an infinite x into NaN, but such a point has no
    // finite gradient either.
    for (i, missing) in [(0, b.is_none()), (1, a.is_none()), (3, t.is_none())] {
        if missing {
            k[i] = E::zero();
        }
    }
    combine4_leaf(o, accumulate, b.unwrap_or(x), a.unwrap_or(x), x, t.unwrap_or(x), k);
}
