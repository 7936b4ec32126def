//! Sums, dot products and norms: blocked and accumulated in `f64`, with the same bits for any number of threads.

use super::elem::Elem;
use super::simd::{CHUNK, LANES, simd};
use crate::buffer::Buf;
use crate::parallel::{chunk, collect, each, each_chunk};

/// Lanes of a sum in f64: 8 are two AVX2 registers. Products of f32 are exact in f64, so a block keeps about 16 digits.
const WIDE: usize = 8;

simd! {
    /// Computes the sum of a short run (a row, a feature map): partial sums in `E`, merged in f64.
    pub fn sum_run<E: Elem>(x: &[E]) -> f64 {
        let mut lanes = [E::zero(); LANES];
        let mut chunks = x.chunks_exact(LANES);
        for c in &mut chunks {
            for i in 0..LANES {
                lanes[i] += c[i];
            }
        }
        lanes.iter().map(|v| v.wide()).sum::<f64>() + chunks.remainder().iter().map(|v| v.wide()).sum::<f64>()
    }
    fn sum_block<E: Elem>(x: &[E]) -> f64 {
        let mut lanes = [0.0; 2 * WIDE];
        let mut chunks = x.chunks_exact(2 * WIDE);
        for c in &mut chunks {
            for i in 0..2 * WIDE {
                lanes[i] += c[i].wide();
            }
        }
        lanes.iter().sum::<f64>() + chunks.remainder().iter().map(|v| v.wide()).sum::<f64>()
    }
    fn dot_block<E: Elem>(x: &[E], y: &[E]) -> f64 {
        let mut lanes = [0.0; 2 * WIDE];
        let (mut xs, mut ys) = (x.chunks_exact(2 * WIDE), y.chunks_exact(2 * WIDE));
        for (a, b) in (&mut xs).zip(&mut ys) {
            for i in 0..2 * WIDE {
                lanes[i] += a[i].wide() * b[i].wide();
            }
        }
        let rest = xs.remainder().iter().zip(ys.remainder());
        lanes.iter().sum::<f64>() + rest.map(|(a, b)| a.wide() * b.wide()).sum::<f64>()
    }
    fn add_scaled<E: Elem>(acc: &mut [f64], a: f64, x: &[E]) {
        for (acc, x) in acc.iter_mut().zip(x) {
            *acc += a * x.wide();
        }
    }
    fn add_rows<E: Elem>(acc: &mut [f64], row: &[E]) {
        for (a, x) in acc.iter_mut().zip(row) {
            *a += x.wide();
        }
    }
}

/// Computes Σ x, accumulated in f64.
pub fn sum<E: Elem>(x: &[E]) -> f64 {
    if x.len() <= CHUNK {
        return sum_block(x);
    }
    collect(x.len().div_ceil(CHUNK), 1, |i| sum_block(chunk(x, CHUNK, i))).iter().sum()
}

/// Computes Σ x y, accumulated in f64: accurate for 1e8 elements and more.
pub fn dot<E: Elem>(x: &[E], y: &[E]) -> f64 {
    assert_eq!(x.len(), y.len());
    if x.len() <= CHUNK {
        return dot_block(x, y);
    }
    let part = |i| dot_block(chunk(x, CHUNK, i), chunk(y, CHUNK, i));
    collect(x.len().div_ceil(CHUNK), 1, part).iter().sum()
}

/// Computes Σ x yₖ for each k. Reads x once and has the bits of [`dot`].
///
/// # Panics
/// When a length differs.
pub fn dots<E: Elem>(x: &[E], ys: &[&[E]]) -> Vec<f64> {
    assert!(ys.iter().all(|y| y.len() == x.len()));
    let parts: Vec<Vec<f64>> = collect(x.len().div_ceil(CHUNK), 1, |i| {
        ys.iter().map(|y| dot_block(chunk(x, CHUNK, i), chunk(y, CHUNK, i))).collect()
    });
    (0..ys.len()).map(|k| parts.iter().map(|part| part[k]).sum()).collect()
}

/// Computes `y += Σ aₖ xₖ`, accumulated in f64 and rounded once. Reads and writes y once.
///
/// # Panics
/// When a length differs.
pub fn axpys<E: Elem>(y: &mut [E], a: &[f64], xs: &[&[E]]) {
    assert!(a.len() == xs.len() && xs.iter().all(|x| x.len() == y.len()));
    /// Number of sums that stay in the first-level cache.
    const BLOCK: usize = 1024;
    each_chunk(y, CHUNK, 1, |c, y| {
        let mut sums = [0.0; BLOCK];
        for (b, y) in y.chunks_mut(BLOCK).enumerate() {
            let sums = &mut sums[..y.len()];
            sums.fill(0.0);
            add_rows(sums, y);
            for (a, x) in a.iter().zip(xs) {
                add_scaled(sums, *a, &x[c * CHUNK + b * BLOCK..][..y.len()]);
            }
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = E::of(*sum));
        }
    });
}

/// Computes the Euclidean norm ‖x‖.
pub fn norm<E: Elem>(x: &[E]) -> f64 {
    dot(x, x).sqrt()
}

/// Computes the sum over `axes` of a row-major array of `shape`, accumulated in f64; `out` has the shape with those
/// axes set to 1.
///
/// # Panics
/// When a length does not match the shape, or an axis is out of range.
pub fn sum_axes<E: Elem>(x: &[E], shape: &[usize], axes: &[usize], out: &mut [E]) {
    assert!(axes.iter().all(|&a| a < shape.len()), "axes {axes:?} of shape {shape:?}");
    let dims = merged(shape, |i| axes.contains(&i));
    let reduced: usize = dims.iter().filter(|d| d.1).map(|d| d.0).product();
    assert_eq!(x.len(), dims.iter().map(|d| d.0).product::<usize>());
    assert_eq!(out.len() * reduced.max(1), if reduced == 0 { out.len() } else { x.len() });
    if reduced == 0 || x.is_empty() {
        return out.fill(E::zero());
    }
    match dims[..] {
        [] | [(_, false)] => out.copy_from_slice(x),
        [(_, true)] => out[0] = E::of(sum(x)),
        // Rows are summed: [outer, inner] -> [outer].
        [(_, false), (inner, true)] => {
            each(out, CHUNK.div_ceil(inner), |i, out| *out = E::of(sum_block(chunk(x, inner, i))));
        }
        // Columns are summed: [outer, inner] -> [inner], in a fixed number of bands of rows.
        [(outer, true), (inner, false)] => sum_columns(x, outer, inner, out),
        // [a, b, c] -> [a, c]: a column sum per a.
        [(_, false), (b, true), (c, false)] => {
            each_chunk(out, c, 1, |i, out| sum_columns(chunk(x, b * c, i), b, c, out));
        }
        // [a, b, c] -> [b] (channels of NCHW): sums of runs, then over a in order.
        [(a, true), (b, false), (c, true)] => {
            let runs = collect(a * b, CHUNK.div_ceil(c), |i| sum_block(chunk(x, c, i)));
            for (j, o) in out.iter_mut().enumerate() {
                *o = E::of((0..a).map(|i| runs[i * b + j]).sum());
            }
        }
        _ => sum_general(x, &dims, out),
    }
}

/// Computes the column sums of a [rows, columns] matrix.
fn sum_columns<E: Elem>(x: &[E], rows: usize, columns: usize, out: &mut [E]) {
    let band = CHUNK.div_ceil(columns).max(rows.div_ceil(64));
    let bands: Vec<Buf<f64>> = collect(rows.div_ceil(band), 1, |i| {
        let mut acc = Buf::zeroed(columns);
        chunk(x, band * columns, i).chunks(columns).for_each(|row| add_rows(&mut acc, row));
        acc
    });
    for (j, o) in out.iter_mut().enumerate() {
        *o = E::of(bands.iter().map(|b| b[j]).sum());
    }
}

/// Sums over any pattern of axes in one pass in memory order, adding each element to its accumulator.
fn sum_general<E: Elem>(x: &[E], dims: &[(usize, bool)], out: &mut [E]) {
    let mut strides = vec![0; dims.len()];
    let mut size = 1;
    for (d, s) in dims.iter().zip(&mut strides).rev() {
        if !d.1 {
            *s = size;
            size *= d.0;
        }
    }
    let mut acc = Buf::<f64>::zeroed(out.len());
    let mut index = vec![0; dims.len()];
    let mut at = 0;
    for v in x {
        acc[at] += v.wide();
        for d in (0..dims.len()).rev() {
            index[d] += 1;
            at += strides[d];
            if index[d] < dims[d].0 {
                break;
            }
            at -= strides[d] * dims[d].0;
            index[d] = 0;
        }
    }
    for (o, a) in out.iter_mut().zip(acc.iter()) {
        *o = E::of(*a);
    }
}

/// Drops axes of length 1 and merges neighbours of the same kind into (length, whether it is summed).
fn merged(shape: &[usize], summed: impl Fn(usize) -> bool) -> Vec<(usize, bool)> {
    let mut dims: Vec<(usize, bool)> = Vec::new();
    for (i, &d) in shape.iter().enumerate() {
        match dims.last_mut() {
            _ if d == 1 => {}
            Some(last) if last.1 == summed(i) => last.0 *= d,
            _ => dims.push((d, summed(i))),
        }
    }
    dims
}

#[cfg(test)]
mod tests {
    use super::{super::elementwise, *};
    use crate::testing::{max_abs_diff, noise, on_threads, same_bits};

    fn naive(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
        let out_shape: Vec<usize> =
            shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
        let mut out = vec![0.0; out_shape.iter().product()];
        for (i, v) in x.iter().enumerate() {
            let (mut rest, mut at, mut size) = (i, 0, 1);
            for d in (0..shape.len()).rev() {
                at += (rest % shape[d]).min(out_shape[d] - 1) * size;
                size *= out_shape[d];
                rest /= shape[d];
            }
            out[at] += v;
        }
        out
    }

    #[test]
    fn several_vectors_at_once() {
        for len in [0, 1, 17, 1024, CHUNK, 2 * CHUNK + 1500] {
            let x = noise::<f32>(len, 1);
            let others: Vec<Vec<f32>> = (2..7).map(|k| noise(len, k)).collect();
            let ys: Vec<&[f32]> = others.iter().map(Vec::as_slice).collect();
            let one_by_one: Vec<f64> = ys.iter().map(|y| dot(&x, y)).collect();
            assert_eq!(dots(&x, &ys), one_by_one, "bits of length {len}");
            let mut onto = others[0].clone();
            elementwise::axpy_onto(&x, 1.7, &mut onto);
            let mut want = x.clone();
            elementwise::axpy(&mut want, 1.7, ys[0]);
            assert!(same_bits(&onto, &want), "sum of length {len}");

            let a = [0.5, -2.0, 1e-3, 0.0, 3.0];
            let mut sum = x.clone();
            axpys(&mut sum, &a, &ys);
            for (i, sum) in sum.iter().enumerate() {
                let exact =
                    f64::from(x[i]) + a.iter().zip(&ys).map(|(a, y)| a * f64::from(y[i])).sum::<f64>();
                assert!((f64::from(*sum) - exact).abs() <= 1e-7 * exact.abs().max(1.0), "{len}, {i}");
            }
        }
        assert!(dots::<f32>(&[1.0], &[]).is_empty());
    }

    #[test]
    fn sums_over_every_set_of_axes() {
        for shape in [
            vec![2, 3, 4, 5],
            vec![1, 7, 1, 3],
            vec![40, 3, 2, 50],
            vec![6],
            vec![300, 257],
            vec![4, 1, 1, 1],
        ] {
            let x = noise::<f64>(shape.iter().product(), 1);
            for set in 0..1u32 << shape.len() {
                let axes: Vec<usize> = (0..shape.len()).filter(|a| set >> a & 1 == 1).collect();
                let want = naive(&x, &shape, &axes);
                let mut got = vec![f64::NAN; want.len()];
                sum_axes(&x, &shape, &axes, &mut got);
                assert!(max_abs_diff(&got, &want) < 1e-11, "{shape:?} {axes:?}");
            }
        }
    }

    #[test]
    fn an_empty_axis_sums_to_zero() {
        let mut out = [1.0_f32; 3];
        sum_axes(&[], &[0, 3], &[0], &mut out);
        assert_eq!(out, [0.0; 3]);
    }

    /// A sequential f32 sum of 2e7 squares is off by percent; blocked f64 sums keep 1e-12 (f64 rounding of 600 blocks).
    #[test]
    fn a_dot_product_of_2e7_elements_is_accurate() {
        let n = 20_000_003;
        let x: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 0.1 } else { -0.3 }).collect();
        let pair = f64::from(0.1_f32).powi(2) + f64::from(-0.3_f32).powi(2);
        let want = (n / 2) as f64 * pair + f64::from(0.1_f32).powi(2);
        assert!((dot(&x, &x) / want - 1.0).abs() < 1e-12);
        assert!((norm(&x) / want.sqrt() - 1.0).abs() < 1e-12);
        let total = (n / 2) as f64 * (f64::from(0.1_f32) - f64::from(0.3_f32)) + f64::from(0.1_f32);
        assert!((sum(&x) / total - 1.0).abs() < 1e-11);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (x, y) = (noise::<f32>(1_000_003, 1), noise::<f32>(1_000_003, 2));
        let all = |threads| {
            on_threads(threads, || {
                let mut columns = vec![0.0; 1001];
                sum_axes(&x[..999 * 1001], &[999, 1001], &[0], &mut columns);
                (dot(&x, &y), sum(&x), columns)
            })
        };
        assert_eq!(all(1), all(2));
        assert_eq!(all(1), all(3));
    }
}
