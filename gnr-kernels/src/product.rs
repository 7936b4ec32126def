//! The matrix micro-kernel of the `f32` convolutions and layers: `c = a b` or `c += a b`, with `b` row-major and `a`
//! broadcast element by element.
#![allow(unsafe_code)]

use super::lanes::{Lanes, lanes};
use super::transpose::transpose;
use crate::Accum;
use crate::buffer::Buf;
use crate::simd::Level;
use std::ops::{Deref, DerefMut};

/// Rows of a packed panel of `a`.
pub(super) const PANEL: usize = 8;

/// Columns come in multiples of this (one AVX-512 register); buffers are padded accordingly.
pub(super) const COLUMNS: usize = 16;

/// A workspace that starts at a cache line, so that whole vectors do not straddle two. Its contents are unspecified.
pub(super) struct Aligned {
    buffer: Buf<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn new(len: usize) -> Self {
        let buffer = Buf::<f32>::new(len + COLUMNS);
        let start = buffer.as_ptr().align_offset(COLUMNS * size_of::<f32>()).min(COLUMNS);
        Aligned { buffer, start, len }
    }

    /// Makes room for `len` elements. The old contents may be lost.
    pub(super) fn fit(&mut self, len: usize) {
        if self.len < len {
            *self = Self::new(len);
        }
    }

    pub(super) fn zeroed(len: usize) -> Self {
        let mut new = Self::new(len);
        new.fill(0.0);
        new
    }
}

impl Deref for Aligned {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[self.start..][..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..][..self.len]
    }
}

/// Rounds `len` up to a distance at which parallel streams do not compete for the same sets of the first-level cache: 5
/// cache lines more than a multiple of 64 lines.
pub(super) fn spread(len: usize) -> usize {
    let lines = len.div_ceil(COLUMNS);
    (lines + (64 + 5 - lines % 64) % 64) * COLUMNS
}

/// Rounds up to whole vectors.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(COLUMNS)
}

/// Distance between rows of a block's matrices: room for the last vector to run past the end, and no power of two,
/// which would map all rows to the same cache sets.
pub(super) fn row_of(columns: usize) -> usize {
    padded(columns) + COLUMNS
}

/// The layout of the left operand `a` [m, k].
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Panels of [`PANEL`] rows: element (i, l) is at `(i / 8) 8 k + 8 l + i % 8`.
    Panels(&'a [f32]),
    /// Rows a given distance apart.
    Rows(&'a [f32], usize),
    /// Columns a given distance apart: the stored matrix is the transpose.
    Columns(&'a [f32], usize),
}

/// A row-major right operand with rows `row` apart.
pub(super) struct Right<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
}

/// Computes `c = a b` or `c += a b` with `a` [m, k], `b` [k, n], `c` [m, n], rows of c `c_row` apart. `n` must be a
/// multiple of [`COLUMNS`].
#[inline]
pub(super) fn product(
    level: Level,
    [m, k, n]: [usize; 3],
    a: Left<'_>,
    b: Right<'_>,
    c: &mut [f32],
    c_row: usize,
    accum: Accum,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(n.is_multiple_of(COLUMNS) && c_row >= n && c.len() >= (m - 1) * c_row + n);
    assert!(k == 0 || b.data.len() >= (k - 1) * b.row + n);
    let (a, layout) = match a {
        Left::Panels(a) => {
            assert!(a.len() >= m.div_ceil(PANEL) * PANEL * k);
            (a, Layout { row: 1, step: PANEL, panels: true })
        }
        Left::Rows(a, row) => {
            assert!(row > 0 && (k == 0 || a.len() >= (m - 1) * row + k));
            (a, Layout { row, step: 1, panels: false })
        }
        Left::Columns(a, column) => {
            assert!(k == 0 || a.len() >= (k - 1) * column + m);
            (a, Layout { row: 1, step: column, panels: false })
        }
    };
    // SAFETY: the assertions above bound every element that the body touches; callers pass a level that the machine
    // has.
    unsafe {
        blocks(level, [m, k, n], a.as_ptr(), layout, b.data.as_ptr(), b.row, c.as_mut_ptr(), c_row, accum)
    }
}

lanes!(wide fn blocks(
    size: [usize; 3],
    a: *const f32,
    layout: Layout,
    b: *const f32,
    b_row: usize,
    c: *mut f32,
    c_row: usize,
    accum: Accum,
) = blocks_body);

/// Strides of the left operand: element (i, l) is at `i row + l step`, or inside its panel of rows.
#[derive(Clone, Copy)]
struct Layout {
    row: usize,
    step: usize,
    panels: bool,
}

/// Computes the product by register tiles.
///
/// # Safety
/// Pointers cover the matrices that `size` and the strides describe.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn blocks_body<V: Lanes>(
    [m, k, n]: [usize; 3],
    a: *const f32,
    layout: Layout,
    b: *const f32,
    b_row: usize,
    c: *mut f32,
    c_row: usize,
    accum: Accum,
) {
    let mut i = 0;
    while i < m {
        let rows = (m - i).min(V::ROWS);
        let mut j = 0;
        while j < n {
            let columns = ((n - j) / V::N).min(V::COLUMNS);
            // SAFETY: rows i.. and columns j.. of the tile lie inside the matrices.
            unsafe {
                let (b, c) = (b.add(j), c.add(i * c_row + j));
                let a = match layout.panels {
                    true => a.add(i / PANEL * PANEL * k + i % PANEL),
                    false => a.add(i * layout.row),
                };
                macro_rules! go {
                    ($($rows:literal)*) => {
                        match (rows, columns) {
                            $(($rows, 2) => tile::<V, $rows, 2>(k, a, layout, b, b_row, c, c_row, accum),
                            ($rows, _) => tile::<V, $rows, 1>(k, a, layout, b, b_row, c, c_row, accum),)*
                            _ => unreachable!("register tiles have at most 8 rows"),
                        }
                    };
                }
                go!(1 2 3 4 5 6 7 8);
            }
            j += columns * V::N;
        }
        i += rows;
    }
}

/// Computes one register tile: ROWS x (COLS vectors) sums over k.
///
/// # Safety
/// Pointers cover the tile's rows of a, columns of b and elements of c.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn tile<V: Lanes, const ROWS: usize, const COLS: usize>(
    k: usize,
    a: *const f32,
    layout: Layout,
    mut b: *const f32,
    b_row: usize,
    c: *mut f32,
    c_row: usize,
    accum: Accum,
) {
    if ROWS > V::ROWS || COLS > V::COLUMNS {
        return; // never chosen; keeps the compiler from generating it
    }
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let mut sums = [[V::splat(0.0); COLS]; ROWS];
        // `$left` is the address of element (i, l) of the left operand.
        macro_rules! run {
            ($i:ident, $l:ident, $left:expr) => {
                for $l in 0..k {
                    let mut right = [V::splat(0.0); COLS];
                    for j in 0..COLS {
                        right[j] = V::load(b.add(j * V::N));
                    }
                    for $i in 0..ROWS {
                        let left = V::splat(*$left);
                        for j in 0..COLS {
                            sums[$i][j] = left.mul_add(right[j], sums[$i][j]);
                        }
                    }
                    // After the last term the address lies outside of the operand, and is not read.
                    b = b.wrapping_add(b_row);
                }
            };
        }
        // Constant strides become addressing modes. Rows in order have a pointer each and one index: the registers that
        // addresses of so many rows would take are scarce.
        match layout {
            Layout { row: 1, step: PANEL, .. } => run!(i, l, a.add(i + l * PANEL)),
            Layout { row: 1, step, .. } => run!(i, l, a.add(i + l * step)),
            Layout { row, .. } => {
                let rows: [*const f32; ROWS] = std::array::from_fn(|i| a.add(i * row));
                run!(i, l, rows[i].add(l));
            }
        }
        for (i, row) in sums.into_iter().enumerate() {
            for (j, sum) in row.into_iter().enumerate() {
                let at = c.add(i * c_row + j * V::N);
                (if accum.adds() { V::load(at).add(sum) } else { sum }).store(at);
            }
        }
    }
}

/// Packs the rows of `a` [rows, k], which start `a_row` apart, into panels. They become columns `skip..skip + k` of
/// `depth`. Rows that fill up the last panel are unspecified and never read.
#[allow(clippy::too_many_arguments)]
pub(super) fn pack_rows(
    level: Level,
    a: &[f32],
    a_row: usize,
    rows: usize,
    k: usize,
    out: &mut [f32],
    depth: usize,
    skip: usize,
) {
    for (p, panel) in out.chunks_exact_mut(PANEL * depth).enumerate().take(rows.div_ceil(PANEL)) {
        let count = PANEL.min(rows - p * PANEL);
        transpose(level, &a[p * PANEL * a_row..], a_row, count, k, &mut panel[skip * PANEL..], PANEL);
    }
}

/// Packs the columns of `a` [k, rows] into panels, where they become columns `skip..skip + k` of `depth`.
pub(super) fn pack_columns(a: &[f32], rows: usize, k: usize, out: &mut [f32], depth: usize, skip: usize) {
    for (p, panel) in out.chunks_exact_mut(PANEL * depth).enumerate().take(rows.div_ceil(PANEL)) {
        let columns = panel[skip * PANEL..].chunks_exact_mut(PANEL).zip(a.chunks_exact(rows)).take(k);
        if rows - p * PANEL >= PANEL {
            columns.for_each(|(to, a)| to.copy_from_slice(&a[p * PANEL..][..PANEL]));
        } else {
            columns.for_each(|(to, a)| to[..rows - p * PANEL].copy_from_slice(&a[p * PANEL..]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::detected;
    use crate::testing::{max_abs_diff, noise};

    #[test]
    fn working_memory_is_aligned_and_streams_are_spread() {
        for len in [1, 16, 1000, 4096] {
            assert_eq!(Aligned::zeroed(len).as_ptr().align_offset(64), 0);
            assert!(
                spread(len) >= len && spread(len) / COLUMNS % 64 == 5 && spread(len).is_multiple_of(COLUMNS)
            );
        }
    }

    #[test]
    fn products_at_every_level_and_layout() {
        for [m, k, n] in [[1, 1, 16], [8, 5, 32], [13, 7, 48], [16, 0, 16], [7, 33, 80], [24, 3, 112]] {
            let (a, b) = (noise::<f32>(m * k, 1), noise::<f32>(k * (n + 3), 2));
            let want: Vec<f64> = (0..m * n)
                .map(|i| {
                    (0..k).map(|l| f64::from(a[i / n * k + l]) * f64::from(b[l * (n + 3) + i % n])).sum()
                })
                .collect();
            let mut panels = vec![f32::NAN; m.div_ceil(PANEL) * PANEL * k];
            let transposed: Vec<f32> = (0..m * k).map(|i| a[i % m * k + i / m]).collect();
            if k > 0 {
                pack_rows(detected(), &a, k, m, k, &mut panels, k, 0);
                let mut same = vec![0.0; panels.len()];
                pack_columns(&transposed, m, k, &mut same, k, 0);
                let used = |i: &usize| i / (PANEL * k) * PANEL + i % PANEL < m;
                assert!((0..panels.len()).filter(used).all(|i| panels[i] == same[i]));
            }
            for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
                for left in [Left::Panels(&panels), Left::Rows(&a, k.max(1)), Left::Columns(&transposed, m)] {
                    let mut c = vec![1.0; m * n];
                    let right = || Right { data: &b, row: n + 3 };
                    product(level.min(detected()), [m, k, n], left, right(), &mut c, n, Accum::Replace);
                    product(level.min(detected()), [m, k, n], left, right(), &mut c, n, Accum::Add);
                    let twice: Vec<f64> = want.iter().map(|v| 2.0 * v).collect();
                    assert!(max_abs_diff(&c, &twice) < 1e-5, "{m} {k} {n} {level:?}");
                }
            }
        }
    }
}
