//! Strided copies: permutation of axes and broadcasting, with fast paths for contiguous runs and 2-D transposes.

use super::elem::Elem;
use super::simd::CHUNK;
use crate::parallel::each_chunk;

/// Row-major strides of `shape`.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Reorders the axes of x, which has `shape`: axis `i` of `y` is axis `axes[i]` of `x`.
///
/// # Panics
/// When `axes` is not a permutation or a length does not match.
pub fn permute<E: Elem>(x: &[E], shape: &[usize], axes: &[usize], y: &mut [E]) {
    let mut seen = vec![false; shape.len()];
    assert_eq!(axes.len(), shape.len());
    for &a in axes {
        assert!(!std::mem::replace(&mut seen[a], true), "{axes:?} is not a permutation");
    }
    let from = strides(shape);
    let shape: Vec<usize> = axes.iter().map(|&a| shape[a]).collect();
    let from: Vec<usize> = axes.iter().map(|&a| from[a]).collect();
    gather_strided(x, &shape, &from, y);
}

/// Repeats x along its axes of length 1: `x` has `shape`, `y` has `to`, of the same rank.
///
/// # Panics
/// When an axis is neither equal nor 1, or a length does not match.
pub fn broadcast<E: Elem>(x: &[E], shape: &[usize], to: &[usize], y: &mut [E]) {
    assert_eq!(shape.len(), to.len());
    assert!(shape.iter().zip(to).all(|(&s, &t)| s == t || s == 1), "{shape:?} does not broadcast to {to:?}");
    let mut from = strides(shape);
    for (f, (&s, &t)) in from.iter_mut().zip(shape.iter().zip(to)) {
        if s != t {
            *f = 0;
        }
    }
    gather_strided(x, to, &from, y);
}

/// Computes `y[i0, i1, …] = x[Σ i_k from_k]` over the row-major `shape` of `y`.
fn gather_strided<E: Elem>(x: &[E], shape: &[usize], from: &[usize], y: &mut [E]) {
    assert_eq!(y.len(), shape.iter().product::<usize>());
    if y.is_empty() {
        return;
    }
    // Merge axes that are contiguous with one another in both x and y.
    let mut dims: Vec<(usize, usize)> = Vec::new();
    for (&d, &f) in shape.iter().zip(from) {
        match dims.last_mut() {
            _ if d == 1 => {}
            Some(last) if last.1 == f * d => *last = (last.0 * d, f),
            _ => dims.push((d, f)),
        }
    }
    let reach: usize = dims.iter().map(|&(d, f)| (d - 1) * f).sum();
    assert!(reach < x.len(), "strides reach element {reach} of {}", x.len());
    let (run, run_stride) = dims.pop().unwrap_or((1, 1));
    // A transpose of the two innermost axes, in square tiles that stay in the first-level cache.
    if run_stride > 1 && dims.last().is_some_and(|d| d.1 == 1) {
        let (rows, _) = dims.pop().unwrap_or((1, 1));
        let plane = rows * run;
        let parallel = CHUNK.div_ceil(plane);
        each_chunk(y, plane, parallel, |i, y| {
            transpose(&x[offset(&dims, i)..], run_stride, rows, run, y);
        });
        return;
    }
    each_chunk(y, run, CHUNK.div_ceil(run), |i, y| {
        let x = &x[offset(&dims, i)..];
        match run_stride {
            0 => y.fill(x[0]),
            1 => y.copy_from_slice(&x[..run]),
            s => y.iter_mut().zip(x.iter().step_by(s)).for_each(|(y, x)| *y = *x),
        }
    });
}

/// Offset of run `i` in x, with the outer axes `dims` (length, stride).
fn offset(dims: &[(usize, usize)], mut i: usize) -> usize {
    let mut at = 0;
    for &(d, stride) in dims.iter().rev() {
        at += i % d * stride;
        i /= d;
    }
    at
}

/// Computes `y[r, c] = x[c stride + r]` for a [rows, columns] `y`.
fn transpose<E: Elem>(x: &[E], stride: usize, rows: usize, columns: usize, y: &mut [E]) {
    const TILE: usize = 16;
    for r0 in (0..rows).step_by(TILE) {
        for c0 in (0..columns).step_by(TILE) {
            for r in r0..(r0 + TILE).min(rows) {
                let y = &mut y[r * columns..][..columns];
                for c in c0..(c0 + TILE).min(columns) {
                    y[c] = x[c * stride + r];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    fn naive(x: &[f32], shape: &[usize], from: &[usize]) -> Vec<f32> {
        let dims: Vec<_> = shape.iter().copied().zip(from.iter().copied()).collect();
        (0..shape.iter().product()).map(|i| x[offset(&dims, i)]).collect()
    }

    #[test]
    fn every_permutation_of_four_axes() {
        for shape in [[2, 3, 4, 5], [1, 70, 1, 33], [3, 1, 65, 17], [1, 1, 1, 1]] {
            let x = noise::<f32>(shape.iter().product(), 1);
            let from = strides(&shape);
            for code in 0..256 {
                let axes = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 & 3];
                if (0..4).any(|a| !axes.contains(&a)) {
                    continue;
                }
                let mut y = vec![f32::NAN; x.len()];
                permute(&x, &shape, &axes, &mut y);
                assert_eq!(
                    y,
                    naive(&x, &axes.map(|a| shape[a]), &axes.map(|a| from[a])),
                    "{shape:?} {axes:?}"
                );
            }
        }
    }

    #[test]
    fn broadcasting_repeats_axes_of_length_one() {
        let to = [2, 3, 4, 5];
        for set in 0..16 {
            let shape: Vec<usize> = (0..4).map(|a| if set >> a & 1 == 1 { 1 } else { to[a] }).collect();
            let x = noise::<f32>(shape.iter().product(), 2);
            let from: Vec<usize> =
                strides(&shape).iter().zip(&shape).map(|(&s, &d)| if d == 1 { 0 } else { s }).collect();
            let mut y = vec![f32::NAN; 120];
            broadcast(&x, &shape, &to, &mut y);
            assert_eq!(y, naive(&x, &to, &from), "{shape:?}");
        }
    }

    #[test]
    #[should_panic(expected = "not a permutation")]
    fn a_repeated_axis_is_refused() {
        permute(&[1.0, 2.0], &[1, 2], &[1, 1], &mut [0.0_f32; 2]);
    }
}
