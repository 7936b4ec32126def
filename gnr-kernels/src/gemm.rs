//! Matrix products with arbitrary strides, single and batched: a safe interface to the `gemm` crate.
#![allow(unsafe_code)]

use super::elem::Elem;
use super::runtime;
use crate::Accum;
use crate::parallel::{each_chunk, ranges};

/// A matrix inside a slice: element (i, j) is at `i row + j column`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, E> {
    /// The storage; its first element is (0, 0).
    pub data: &'a [E],
    /// Distance between rows.
    pub row: usize,
    /// Distance between columns.
    pub column: usize,
}

impl<'a, E> Mat<'a, E> {
    /// A row-major matrix with rows of `columns` elements.
    pub fn rows(data: &'a [E], columns: usize) -> Self {
        Mat { data, row: columns, column: 1 }
    }

    /// The transpose, on this matrix's storage.
    pub fn t(self) -> Self {
        Mat { data: self.data, row: self.column, column: self.row }
    }
}

/// The addend of a product.
#[derive(Clone, Copy, Debug)]
pub enum Onto<'a, E> {
    /// Nothing: the result replaces the old contents.
    Nothing,
    /// The old contents.
    Values,
    /// One row, added to every row: a bias.
    Row(&'a [E]),
}

impl<E> Onto<'_, E> {
    /// Converts [`Accum::Add`] to `Values` and [`Accum::Replace`] to `Nothing`.
    pub fn values(accum: Accum) -> Self {
        if accum.adds() { Onto::Values } else { Onto::Nothing }
    }
}

/// Multiplications from which waking another thread pays.
const PARALLEL_FROM: usize = 1 << 18;

/// Rows of a part of a product are a multiple of this: whole register tiles. A part has at least two of them: up to 64
/// rows and columns or 256 elements, the `gemm` crate sums in another order, and parts must have the bits of the whole
/// product.
const TILE_ROWS: usize = 48;
/// Columns of a part of a product are a multiple of this, and parts have at least two of them.
const TILE_COLUMNS: usize = 64;

/// Computes `c = a b` or `c += a b` on the calling thread, for callers that are one of many parallel tasks. `a` is [m,
/// k], `b` is [k, n], and `c` is row-major [m, n] with rows `c_row` apart.
///
/// # Panics
/// When a matrix reaches beyond its slice.
pub fn gemm<E: Elem>(
    size: [usize; 3],
    a: Mat<'_, E>,
    b: Mat<'_, E>,
    c: &mut [E],
    c_row: usize,
    accum: Accum,
) {
    check(size, a, b, c.len(), c_row);
    // SAFETY: the matrices were checked to lie inside their slices, and `c` is borrowed exclusively.
    unsafe { product(size, a, b, c.as_mut_ptr(), c_row, Onto::values(accum)) }
}

/// Checks that the matrices lie inside their slices.
///
/// # Panics
/// When a matrix reaches beyond its slice, or rows of `c` overlap.
fn check<E>([m, k, n]: [usize; 3], a: Mat<'_, E>, b: Mat<'_, E>, c_len: usize, c_row: usize) {
    // Number of elements from a matrix's first to its last; 0 when it is empty.
    let reach = |r: usize, q: usize, rs: usize, cs: usize| match r * q {
        0 => 0,
        _ => (r - 1) * rs + (q - 1) * cs + 1,
    };
    assert!(c_row >= n || m <= 1, "rows of c overlap");
    assert!(reach(m, n, c_row, 1) <= c_len, "c is [{m}, {n}] but has {c_len} elements");
    assert!(
        reach(m, k, a.row, a.column) <= a.data.len(),
        "a is [{m}, {k}] but has {} elements",
        a.data.len()
    );
    assert!(
        reach(k, n, b.row, b.column) <= b.data.len(),
        "b is [{k}, {n}] but has {} elements",
        b.data.len()
    );
}

/// Computes `c = a b + onto` on the calling thread.
///
/// # Safety
/// `a` and `b` passed [`check`]. No other code uses the `m` rows of `n` elements, `c_row` apart, from `c` on.
unsafe fn product<E: Elem>(
    [m, k, n]: [usize; 3],
    a: Mat<'_, E>,
    b: Mat<'_, E>,
    c: *mut E,
    c_row: usize,
    onto: Onto<'_, E>,
) {
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: row `i` is one of the caller's.
    let row_of_c = |i: usize| unsafe { std::slice::from_raw_parts_mut(c.add(i * c_row), n) };
    match onto {
        Onto::Row(row) => (0..m).for_each(|i| row_of_c(i).copy_from_slice(&row[..n])),
        Onto::Nothing if k == 0 => (0..m).for_each(|i| row_of_c(i).fill(E::zero())),
        _ => {}
    }
    if k == 0 {
        return;
    }
    // Rows of `a` whose elements are adjacent are read in place: packing them costs more than it saves.
    gemm::set_rhs_packing_threshold(usize::MAX);
    // SAFETY: the caller upholds this function's conditions; `c` aliases neither `a` nor `b`, which are shared borrows.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            c_row as isize,
            !matches!(onto, Onto::Nothing),
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
            gemm::Parallelism::None,
        );
    }
}

/// A result whose parts threads write without overlap.
struct Shared<E>(*mut E);
// SAFETY: every thread writes a part of its own.
unsafe impl<E: Send> Sync for Shared<E> {}

/// Computes one product on all threads. Each computes a band along the longer side of the result, because every thread
/// packs the other operand for itself. The `gemm` crate's own threads share the packing instead, and wait for each
/// other.
fn parallel<E: Elem>([m, k, n]: [usize; 3], a: Mat<'_, E>, b: Mat<'_, E>, c: &mut [E], onto: Onto<'_, E>) {
    check([m, k, n], a, b, c.len(), n);
    if let Onto::Row(row) = onto {
        assert_eq!(row.len(), n);
    }
    let wanted = if m * n * k < PARALLEL_FROM || m.min(n) <= 2 { 1 } else { rayon::current_num_threads() };
    let (len, tile) = if m >= n { (m, TILE_ROWS) } else { (n, TILE_COLUMNS) };
    let parts = wanted.min(len / (2 * tile)).max(1);
    let c = &Shared(c.as_mut_ptr());
    // Whole tiles; the remainder belongs to the last part.
    let bound = |i: usize| if i == parts { len } else { len / tile * i / parts * tile };
    let band = |i: usize| {
        let (from, to) = (bound(i), bound(i + 1));
        if m >= n {
            let a = Mat { data: a.data.get(from * a.row..).unwrap_or_default(), ..a };
            // SAFETY: the matrices were checked as a whole; bands of rows do not overlap.
            unsafe { product([to - from, k, n], a, b, c.0.add(from * n), n, onto) }
        } else {
            let b = Mat { data: b.data.get(from * b.column..).unwrap_or_default(), ..b };
            let onto = match onto {
                Onto::Row(row) => Onto::Row(&row[from..]),
                other => other,
            };
            // SAFETY: the matrices were checked as a whole; bands of columns do not overlap.
            unsafe { product([m, k, to - from], a, b, c.0.add(from), n, onto) }
        }
    };
    match parts {
        1 => band(0),
        // There are at most as many parts as threads, so every range is one part.
        _ => ranges(parts, 1, &|parts| parts.for_each(band)),
    }
}

/// Computes `c = a b + onto` on all threads. The number of threads does not change the result.
///
/// # Panics
/// When a length does not match.
pub fn single<E: Elem>([m, k, n]: [usize; 3], a: Mat<'_, E>, b: Mat<'_, E>, c: &mut [E], onto: Onto<'_, E>) {
    assert!(c.len() == m * n && a.data.len() == m * k && b.data.len() == k * n, "[{m}, {k}, {n}]");
    runtime().count(m * k * n);
    parallel([m, k, n], a, b, c, onto);
}

/// Computes `c[i] = a[i] b[i]` for every matrix `i` of a batch, or adds it to `c[i]`.
///
/// `a` has [m, k] matrices one after the other, `m k` elements apart, each with the strides given. `b` has [k, n], `c`
/// row-major [m, n]. The batch is parallel, or the product if it is a single one.
///
/// # Panics
/// When a length does not match.
pub fn batched<E: Elem>([m, k, n]: [usize; 3], a: Mat<'_, E>, b: Mat<'_, E>, c: &mut [E], accum: Accum) {
    if m * n == 0 {
        return;
    }
    let batch = c.len() / (m * n);
    assert_eq!(c.len(), batch * m * n);
    assert!(a.data.len() == batch * m * k && b.data.len() == batch * k * n, "batch of {batch}");
    if batch == 1 {
        return single([m, k, n], a, b, c, Onto::values(accum));
    }
    runtime().count(batch * m * k * n);
    let few = PARALLEL_FROM.div_ceil(m * n * k.max(1));
    each_chunk(c, m * n, few.min(batch), |i, c| {
        let a = Mat { data: &a.data[i * m * k..][..m * k], ..a };
        let b = Mat { data: &b.data[i * k * n..][..k * n], ..b };
        gemm([m, k, n], a, b, c, n, accum);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{max_abs_diff, noise, on_threads, same_bits};

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
                    batched([m, k, n], a, b, &mut c, Accum::Replace);
                    assert!(max_abs_diff(&c, &want) < 1e-12);
                    batched([m, k, n], a, b, &mut c, Accum::Add);
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
        batched([m, k, n], Mat::rows(&a, m).t(), Mat::rows(&b, n), &mut c, Accum::Replace);
        for i in 0..4 {
            let (a, b) = (Mat::rows(&a[i * m * k..], m).t(), Mat::rows(&b[i * k * n..], n));
            assert!(max_abs_diff(&c[i * m * n..][..m * n], &naive(m, k, n, a, b)) < 1e-14);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for [m, k, n] in [
            [300, 700, 200],
            [17, 5000, 33],
            [2000, 64, 10],
            [10, 64, 3000],
            // Shapes whose parts could be summed unlike the whole: a last part of few rows, few columns, sums of
            // several blocks.
            [200, 2080, 64],
            [64, 2080, 210],
            [1000, 1200, 3],
            [2000, 700, 2],
            [2, 700, 2000],
            [1, 700, 2000],
            [2000, 700, 1],
            [5000, 2, 40],
        ] {
            let (a, b, row) = (noise::<f32>(m * k, 1), noise::<f32>(k * n, 2), noise::<f32>(n, 3));
            for [a_transposed, b_transposed] in [[false, false], [false, true], [true, false]] {
                let a = if a_transposed { Mat::rows(&a, m).t() } else { Mat::rows(&a, k) };
                let b = if b_transposed { Mat::rows(&b, k).t() } else { Mat::rows(&b, n) };
                let run = |threads, onto| {
                    on_threads(threads, || {
                        let mut c = vec![1.0; m * n];
                        single([m, k, n], a, b, &mut c, onto);
                        c
                    })
                };
                for onto in [Onto::Nothing, Onto::Values, Onto::Row(&row[..])] {
                    let one = run(1, onto);
                    for threads in [2, 3, 7] {
                        assert!(same_bits(&one, &run(threads, onto)), "{m} {k} {n} {onto:?} {threads}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_is_added_to_every_row() {
        for [m, k, n] in [[3, 4, 5], [700, 30, 100], [90, 30, 700], [4, 0, 3]] {
            let (a, b, row) = (noise::<f64>(m * k, 1), noise::<f64>(k * n, 2), noise::<f64>(n, 3));
            let mut want = naive(m, k, n, Mat::rows(&a, k), Mat::rows(&b, n));
            want.iter_mut().enumerate().for_each(|(i, want)| *want += row[i % n]);
            let mut c = vec![f64::NAN; m * n];
            single([m, k, n], Mat::rows(&a, k), Mat::rows(&b, n), &mut c, Onto::Row(&row));
            assert!(max_abs_diff(&c, &want) < 1e-12, "{m} {k} {n}");
        }
    }

    #[test]
    #[should_panic(expected = "b is [3, 2]")]
    fn a_short_slice_is_refused() {
        let a = [0.0_f32; 6];
        gemm([2, 3, 2], Mat::rows(&a, 3), Mat::rows(&a[..4], 2), &mut [0.0; 4], 2, Accum::Replace);
    }
}
