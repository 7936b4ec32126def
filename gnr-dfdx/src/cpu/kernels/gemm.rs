//! Matrix products with arbitrary strides, single and batched: a safe door to the `gemm` crate.
#![allow(unsafe_code)]

use super::elem::Elem;
use super::work;
use rayon::prelude::*;

/// A matrix inside a slice: element (i, j) is at `i row + j column`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, E> {
    /// The storage; element (0, 0) is its first.
    pub data: &'a [E],
    /// Distance between rows.
    pub row: usize,
    /// Distance between columns.
    pub column: usize,
}

impl<'a, E> Mat<'a, E> {
    /// Row-major with rows of `columns` elements.
    pub fn rows(data: &'a [E], columns: usize) -> Self {
        Mat { data, row: columns, column: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub fn t(self) -> Self {
        Mat { data: self.data, row: self.column, column: self.row }
    }
}

/// Whether a product may use all threads itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Stay on the calling thread (the caller is one of many parallel tasks).
    One,
    /// Use the current rayon pool.
    All,
}

/// Fewer multiplications than this are not worth waking another thread.
const PARALLEL_FROM: usize = 1 << 18;

/// `c = a b`, or `c += a b` when `accumulate`; `a` is [m, k], `b` [k, n], `c` row-major [m, n] with rows `c_row` apart.
/// The number of threads does not change the result.
///
/// # Panics
/// When a matrix reaches beyond its slice.
#[allow(clippy::too_many_arguments)]
pub fn gemm<E: Elem>(
    [m, k, n]: [usize; 3],
    a: Mat<'_, E>,
    b: Mat<'_, E>,
    c: &mut [E],
    c_row: usize,
    accumulate: bool,
    threads: Threads,
) {
    if m == 0 || n == 0 {
        return;
    }
    let last = |r: usize, q: usize, rs: usize, cs: usize| (r - 1) * rs + (q - 1) * cs;
    assert!(c_row >= n || m == 1, "rows of c overlap");
    assert!(last(m, n, c_row, 1) < c.len(), "c is [{m}, {n}] but has {} elements", c.len());
    if k == 0 {
        if !accumulate {
            c.chunks_mut(c_row.max(1)).take(m).for_each(|row| row[..n].fill(E::zero()));
        }
        return;
    }
    assert!(last(m, k, a.row, a.column) < a.data.len(), "a is [{m}, {k}] but has {} elements", a.data.len());
    assert!(last(k, n, b.row, b.column) < b.data.len(), "b is [{k}, {n}] but has {} elements", b.data.len());
    let parallelism = match threads {
        Threads::All if m * n * k >= PARALLEL_FROM => gemm::Parallelism::Rayon(0),
        _ => gemm::Parallelism::None,
    };
    // SAFETY: the largest index of each matrix was checked to lie inside its slice, rows of `c` do not overlap, and `c` is borrowed
    // exclusively, so it aliases neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            c_row as isize,
            accumulate,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            E::one(),
            E::one(),
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `c[i] (+)= a[i] b[i]` for every matrix `i` of a batch: `a` holds [m, k] matrices one after the other (each laid out with the strides
/// given, `m k` elements apart), `b` [k, n], `c` row-major [m, n]. Parallel over the batch, or inside when it is a single product.
///
/// # Panics
/// When a length does not match.
pub fn batched<E: Elem>([m, k, n]: [usize; 3], a: Mat<'_, E>, b: Mat<'_, E>, c: &mut [E], accumulate: bool) {
    if m * n == 0 {
        return;
    }
    let batch = c.len() / (m * n);
    assert_eq!(c.len(), batch * m * n);
    assert!(a.data.len() == batch * m * k && b.data.len() == batch * k * n, "batch of {batch}");
    work::count(batch * m * k * n);
    if batch == 1 {
        return gemm([m, k, n], a, b, c, n, accumulate, Threads::All);
    }
    let few = PARALLEL_FROM.div_ceil(m * n * k.max(1));
    c.par_chunks_mut(m * n).with_min_len(few.min(batch)).enumerate().for_each(|(i, c)| {
        let a = Mat { data: &a.data[i * m * k..][..m * k], ..a };
        let b = Mat { data: &b.data[i * k * n..][..k * n], ..b };
        gemm([m, k, n], a, b, c, n, accumulate, Threads::One);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::testing::{max_abs_diff, noise, on_threads, same_bits};

    fn naive(m: usize, k: usize, n: usize, a: Mat<'_, f64>, b: Mat<'_, f64>) -> Vec<f64> {
        let at = |m: Mat<'_, f64>, i: usize, j: usize| m.data[i * m.row + j * m.column];
        (0..m * n).map(|i| (0..k).map(|l| at(a, i / n, l) * at(b, l, i % n)).sum()).collect()
    }

    #[test]
    fn products_of_every_layout() {
        for [m, k, n] in [[3, 4, 5], [1, 7, 1], [64, 33, 17], [2, 0, 3], [130, 140, 150]] {
            let (a, b) = (noise::<f64>(m * k, 1), noise::<f64>(k * n, 2));
            let layouts = |rows: usize, columns: usize, x| [Mat::rows(x, columns), Mat::rows(x, rows).t()];
            for a in layouts(m, k, &a[..]) {
                for b in layouts(k, n, &b[..]) {
                    let want = naive(m, k, n, a, b);
                    let mut c = vec![1.0; m * n];
                    batched([m, k, n], a, b, &mut c, false);
                    assert!(max_abs_diff(&c, &want) < 1e-12);
                    batched([m, k, n], a, b, &mut c, true);
                    assert!(max_abs_diff(&c, &want.iter().map(|v| 2.0 * v).collect::<Vec<_>>()) < 1e-12);
                }
            }
        }
    }

    #[test]
    fn batches_are_independent_products() {
        let [m, k, n] = [5, 6, 7];
        let (a, b) = (noise::<f64>(4 * m * k, 1), noise::<f64>(4 * k * n, 2));
        let mut c = vec![0.0; 4 * m * n];
        batched([m, k, n], Mat::rows(&a, m).t(), Mat::rows(&b, n), &mut c, false);
        for i in 0..4 {
            let (a, b) = (Mat::rows(&a[i * m * k..], m).t(), Mat::rows(&b[i * k * n..], n));
            assert!(max_abs_diff(&c[i * m * n..][..m * n], &naive(m, k, n, a, b)) < 1e-14);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for [m, k, n] in [[300, 700, 200], [17, 5000, 33], [2000, 64, 10], [10, 64, 3000]] {
            let (a, b) = (noise::<f32>(m * k, 1), noise::<f32>(k * n, 2));
            let run = |threads| {
                on_threads(threads, || {
                    let mut c = vec![0.0; m * n];
                    batched([m, k, n], Mat::rows(&a, k), Mat::rows(&b, n), &mut c, false);
                    c
                })
            };
            assert!(same_bits(&run(1), &run(2)) && same_bits(&run(1), &run(4)), "{m} {k} {n}");
        }
    }

    #[test]
    #[should_panic(expected = "b is [3, 2]")]
    fn a_short_slice_is_refused() {
        let a = [0.0_f32; 6];
        gemm([2, 3, 2], Mat::rows(&a, 3), Mat::rows(&a[..4], 2), &mut [0.0; 4], 2, false, Threads::One);
    }
}
