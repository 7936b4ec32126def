//! `f32` convolutions of any geometry by im2col of a block of pixels and our own micro-kernel.
//!
//! A block is some rows of an image or several images; its operands stay in the second-level cache. So small late maps
//! share one large product instead of having one small product each.
#![allow(unsafe_code)]

use super::blocks::{Cut, Job, PRIVATE_BYTES, Sums, jobs, sum_over};
use super::im2col::{col2im, inside};
use super::lanes::{Lanes, lanes};
use super::product::{
    Aligned, COLUMNS, Left, PANEL, Right, pack_columns, pack_rows, padded, product, row_of,
};
use super::transpose::transpose;
use super::{Geometry, Slices};
use crate::Accum;
use crate::parallel::{each_chunk, each_chunk_with};
use crate::simd::Level;
use std::ops::Range;

/// Bytes of patches that one block may take.
const BLOCK_BYTES: usize = 384 << 10;

/// Cuts the batch into blocks, when a column of a block takes `floats`.
fn cut(g: &Geometry, floats: usize) -> Cut {
    Cut::new(g.oh, g.ow, (BLOCK_BYTES / (floats * size_of::<f32>())).clamp(64, 1024))
}

/// Cuts the batch like [`cut`], but gives every thread a block. Only for results that do not depend on the cut.
fn shared_cut(g: &Geometry, floats: usize) -> Cut {
    let cut = cut(g, floats);
    if writes_directly(g) {
        return Cut { images: 1, ..cut };
    }
    Cut { images: cut.images.min(g.n.div_ceil(rayon::current_num_threads())).max(1), ..cut }
}

/// Whether products of one image are written to its output maps directly: the maps must be whole vectors, and enough of
/// them.
fn writes_directly(g: &Geometry) -> bool {
    g.l().is_multiple_of(COLUMNS) && g.l() >= 4 * COLUMNS
}

/// Computes `y = Σ_i conv(x_i, w_i)`.
pub(super) fn forward(level: Level, g: &Geometry, pairs: &[Slices<'_, f32>], y: &mut [f32]) {
    let (ck, og, l) = (g.ck(), g.og(), g.l());
    let depth = ck * pairs.len();
    let panels = og.div_ceil(PANEL) * PANEL * depth;
    let mut weights = Aligned::new(g.groups * panels);
    each_chunk(&mut weights, panels, 1, |q, out| {
        for (p, (_, w)) in pairs.iter().enumerate() {
            pack_rows(level, &w[q * og * ck..], ck, og, ck, out, depth, p * ck);
        }
    });
    let cut = shared_cut(g, depth);
    let largest = row_of(cut.images * cut.rows * g.ow);
    each_chunk_with(
        y,
        g.map() * cut.images,
        1,
        || (Aligned::new(depth * largest), Aligned::new(PANEL * largest)),
        |(col, m), b, y| {
            let images = b * cut.images..b * cut.images + y.len() / g.map();
            for (job, q) in blocks_of(g, images, cut) {
                let (pixels, columns) = (job.rows.len() * g.ow, job.images.len() * job.rows.len() * g.ow);
                let row = row_of(columns);
                for (p, (x, _)) in pairs.iter().enumerate() {
                    patches(level, g, x, q, &job, &mut col[p * ck * row..], row);
                }
                let at = job.rows.start * g.ow;
                let weights = &weights[q * panels..][..panels];
                let right = || Right { data: &col[..], row };
                if job.images.len() == 1 && columns.is_multiple_of(COLUMNS) {
                    let y = &mut y[(job.images.start - b * cut.images) * g.map() + q * og * l + at..];
                    product(
                        level,
                        [og, depth, columns],
                        Left::Panels(weights),
                        right(),
                        y,
                        l,
                        Accum::Replace,
                    );
                    continue;
                }
                for (i, weights) in weights.chunks_exact(PANEL * depth).enumerate() {
                    let rows = PANEL.min(og - i * PANEL);
                    product(
                        level,
                        [rows, depth, padded(columns)],
                        Left::Panels(weights),
                        right(),
                        m,
                        row,
                        Accum::Replace,
                    );
                    for image in 0..job.images.len() {
                        for (r, m) in m.chunks_exact(row).enumerate().take(rows) {
                            let y = &mut y[image * g.map() + (q * og + i * PANEL + r) * l + at..][..pixels];
                            y.copy_from_slice(&m[image * pixels..][..pixels]);
                        }
                    }
                }
            }
        },
    );
}

/// Computes `gx = Σ_i convᵀ(gy_i, w_i)` or adds it to gx.
pub(super) fn backward_input(
    level: Level,
    g: &Geometry,
    pairs: &[Slices<'_, f32>],
    gx: &mut [f32],
    accum: Accum,
) {
    let (ck, og, l) = (g.ck(), g.og(), g.l());
    let depth = og * pairs.len();
    let panels = ck.div_ceil(PANEL) * PANEL * depth;
    let mut weights = Aligned::new(g.groups * panels);
    each_chunk(&mut weights, panels, 1, |q, out| {
        for (p, (_, w)) in pairs.iter().enumerate() {
            pack_columns(&w[q * og * ck..][..og * ck], ck, og, out, depth, p * og);
        }
    });
    let cut = shared_cut(g, ck + depth);
    let largest = row_of(cut.images * cut.rows * g.ow);
    each_chunk_with(
        gx,
        g.image() * cut.images,
        1,
        || (Aligned::new(ck * largest), Aligned::new(depth * largest)),
        |(col, right), b, gx| {
            if !accum.adds() {
                gx.fill(0.0);
            }
            let images = b * cut.images..b * cut.images + gx.len() / g.image();
            for (job, q) in blocks_of(g, images, cut) {
                let (pixels, columns) = (job.rows.len() * g.ow, job.images.len() * job.rows.len() * g.ow);
                let row = row_of(columns);
                for (p, (gy, _)) in pairs.iter().enumerate() {
                    for (i, image) in job.images.clone().enumerate() {
                        for o in 0..og {
                            let from = image * g.map() + (q * og + o) * l + job.rows.start * g.ow;
                            let to = (p * og + o) * row + i * pixels;
                            right[to..][..pixels].copy_from_slice(&gy[from..][..pixels]);
                        }
                    }
                }
                let left = Left::Panels(&weights[q * panels..][..panels]);
                product(
                    level,
                    [ck, depth, padded(columns)],
                    left,
                    Right { data: right, row },
                    col,
                    row,
                    Accum::Replace,
                );
                for (i, image) in job.images.clone().enumerate() {
                    let image = image - b * cut.images;
                    let gx = &mut gx[image * g.image() + q * g.cg() * g.h * g.w..];
                    col2im(g, col, row, i * pixels, job.rows.clone(), gx);
                }
            }
        },
    );
}

/// Computes the weight gradient over pairs of (output adjoint, input), or adds it to gw.
pub(super) fn backward_weight(
    level: Level,
    g: &Geometry,
    pairs: &[Slices<'_, f32>],
    gw: &mut [f32],
    accum: Accum,
) {
    let (ck, og, l) = (g.ck(), g.og(), g.l());
    let lanes = padded(og);
    let floats = (ck + lanes) * g.groups;
    let cut = cut(g, floats);
    let sums = Sums { units: g.groups, rows: ck, lanes, private: PRIVATE_BYTES };
    let transform = |job: &Job, (): &mut ()| {
        let (pixels, columns) = (job.rows.len() * g.ow, job.images.len() * job.rows.len() * g.ow);
        let row = row_of(columns);
        let mut col = Aligned::new(g.groups * ck * row);
        let mut adjoints = Aligned::new(g.groups * columns * lanes);
        let (gy, x) = pairs[job.pair];
        for q in 0..g.groups {
            patches(level, g, x, q, job, &mut col[q * ck * row..], row);
            for (i, image) in job.images.clone().enumerate() {
                let gy = &gy[image * g.map() + q * og * l + job.rows.start * g.ow..];
                let to = &mut adjoints[(q * columns + i * pixels) * lanes..];
                transpose(level, gy, l, og, pixels, to, lanes);
            }
        }
        (col, row, adjoints, columns)
    };
    let add = |(col, row, adjoints, columns): &(Aligned, usize, Aligned, usize),
               q: usize,
               rows: Range<usize>,
               sum: &mut [f32]| {
        let left = Left::Rows(&col[(q * ck + rows.start) * row..], *row);
        let right = Right { data: &adjoints[q * columns * lanes..], row: lanes };
        product(level, [rows.len(), *columns, lanes], left, right, sum, lanes, Accum::Add);
    };
    let jobs = jobs(pairs.len(), g.n, g.oh, cut);
    let bytes = floats * cut.images * cut.rows * g.ow * size_of::<f32>();
    let sum = sum_over(sums, &jobs, bytes, || (), transform, add);
    each_chunk(gw, og * ck, 1, |q, gw| {
        let sum = &sum[q * sums.unit()..];
        each_chunk(gw, PANEL * ck, 1, |i, gw| {
            let (sum, rows) = (&sum[i * PANEL..], gw.len() / ck);
            if accum.adds() {
                let mut transposed = Aligned::new(gw.len());
                transpose(level, sum, lanes, ck, rows, &mut transposed, ck);
                gw.iter_mut().zip(transposed.iter()).for_each(|(g, t)| *g += t);
            } else {
                transpose(level, sum, lanes, ck, rows, gw, ck);
            }
        });
    });
}

/// The blocks of some images, group by group.
fn blocks_of(g: &Geometry, images: Range<usize>, cut: Cut) -> impl Iterator<Item = (Job, usize)> {
    let (rows, groups) = (g.oh, g.groups);
    (0..rows).step_by(cut.rows).flat_map(move |first| {
        let job = Job { pair: 0, images: images.clone(), rows: first..(first + cut.rows).min(rows) };
        (0..groups).map(move |q| (job.clone(), q))
    })
}

/// Copies the patches of a block in group `q` to columns of `col` `[ck][row]`.
fn patches(level: Level, g: &Geometry, x: &[f32], q: usize, job: &Job, col: &mut [f32], row: usize) {
    let pixels = job.rows.len() * g.ow;
    assert!(job.images.len() * pixels + COLUMNS <= row && col.len() >= g.ck() * row);
    assert!(x.len() == g.input_len() && job.images.end <= g.n && job.rows.end <= g.oh);
    for (i, image) in job.images.clone().enumerate() {
        let x = &x[image * g.image() + q * g.cg() * g.h * g.w..];
        // SAFETY: the assertions bound what the bodies read and write.
        unsafe {
            if g.ow > 8 {
                patches_wide(level, g, x, job.rows.clone(), col, row, i * pixels);
            } else {
                patches_eight(level, g, x, job.rows.clone(), col, row, i * pixels);
            }
        }
    }
}

lanes!(wide fn patches_wide(g: &Geometry, x: &[f32], rows: Range<usize>, col: &mut [f32], row: usize, at: usize) = patches_body);
lanes!(eight fn patches_eight(g: &Geometry, x: &[f32], rows: Range<usize>, col: &mut [f32], row: usize, at: usize) = patches_body);

/// Does the work of [`super::im2col::im2col`] in whole vectors. A vector may run past its row of outputs into the next
/// row, which is written later, or into the room that [`row_of`] leaves.
///
/// # Safety
/// `x` starts at the image and has at least its elements; row `k` of `col` has `rows.len() * ow` elements and a vector
/// of room from `k row + at`.
#[inline(always)]
unsafe fn patches_body<V: Lanes>(
    g: &Geometry,
    x: &[f32],
    rows: Range<usize>,
    col: &mut [f32],
    row: usize,
    at: usize,
) {
    for c in 0..g.cg() {
        let plane = &x[c * g.h * g.w..];
        // Prefetches the next map: maps are read for the first time here, and one is too short for the hardware to
        // foresee.
        for line in (rows.start * g.stride * g.w..(rows.end * g.stride).min(g.h) * g.w).step_by(COLUMNS) {
            V::prefetch(plane.as_ptr().wrapping_add(g.h * g.w + line));
        }
        for ky in 0..g.kh {
            let inner = inside(ky, g.h, g.oh, g.stride, g.top);
            let inner = inner.start.clamp(rows.start, rows.end)..inner.end.clamp(rows.start, rows.end);
            for kx in 0..g.kw {
                let valid = inside(kx, g.w, g.ow, g.stride, g.left);
                let dst = &mut col[((c * g.kh + ky) * g.kw + kx) * row + at..];
                if valid.is_empty() || inner.is_empty() {
                    dst[..rows.len() * g.ow].fill(0.0);
                    continue;
                }
                dst[..(inner.start - rows.start) * g.ow].fill(0.0);
                // Index of the element that the first valid output of row y reads.
                let source =
                    |y: usize| (y * g.stride + ky - g.top) * g.w + valid.start * g.stride + kx - g.left;
                let reach = source(inner.end - 1) + g.stride * (valid.len().next_multiple_of(V::N));
                let fast = reach <= plane.len() && g.stride <= 2;
                let (first, count) = ((inner.start - rows.start) * g.ow, inner.len());
                let src = &plane[source(inner.start)..];
                if fast {
                    let run = Run { rows: count, from: g.stride * g.w, to: g.ow, valid: valid.clone() };
                    // SAFETY: `reach` bounds the reads of every row; `dst` has its row of outputs and room for a vector
                    // behind it.
                    unsafe {
                        let dst = dst[first..].as_mut_ptr();
                        match (g.stride, valid.len().div_ceil(V::N)) {
                            (1, 1) => copy_rows::<V>(run, 1, src.as_ptr(), dst),
                            (1, 2) => copy_rows::<V>(run, 2, src.as_ptr(), dst),
                            (1, vectors) => copy_rows::<V>(run, vectors, src.as_ptr(), dst),
                            _ => copy_every_second::<V>(run, src.as_ptr(), dst),
                        }
                    }
                } else {
                    for (y, dst) in dst[first..].chunks_exact_mut(g.ow).take(count).enumerate() {
                        let src = src[y * g.stride * g.w..].iter().step_by(g.stride);
                        dst[..valid.start].fill(0.0);
                        dst[valid.clone()].iter_mut().zip(src).for_each(|(d, s)| *d = *s);
                        dst[valid.end..].fill(0.0);
                    }
                }
                dst[(inner.end - rows.start) * g.ow..rows.len() * g.ow].fill(0.0);
            }
        }
    }
}

/// Rows of patches: their number, the distances between rows in the source and in the destination, and the range of
/// columns inside the image. The other columns are padding.
struct Run {
    rows: usize,
    from: usize,
    to: usize,
    valid: Range<usize>,
}

/// Copies rows of patches of stride 1, each in `vectors` vectors. If the compiler knows the number, it does not make
/// the loop a call of `memcpy`, which is slow for so few bytes.
///
/// # Safety
/// Of every row, whole vectors can be read from the first valid column and written to it.
#[inline(always)]
unsafe fn copy_rows<V: Lanes>(run: Run, vectors: usize, mut src: *const f32, mut dst: *mut f32) {
    for _ in 0..run.rows {
        // SAFETY: the caller upholds this function's conditions.
        unsafe {
            let to = dst.add(run.valid.start);
            for t in 0..vectors {
                V::load(src.add(t * V::N)).store(to.add(t * V::N));
            }
            clear_padding(&run, dst);
        }
        (src, dst) = (src.wrapping_add(run.from), dst.wrapping_add(run.to));
    }
}

/// Copies rows of patches of stride 2.
///
/// # Safety
/// The conditions of [`copy_rows`] hold, with twice as many elements read.
#[inline(always)]
unsafe fn copy_every_second<V: Lanes>(run: Run, mut src: *const f32, mut dst: *mut f32) {
    for _ in 0..run.rows {
        // SAFETY: the caller upholds this function's conditions.
        unsafe {
            let to = dst.add(run.valid.start);
            for t in (0..run.valid.len()).step_by(V::N) {
                V::load_pairs(src.add(2 * t)).0.store(to.add(t));
            }
            clear_padding(&run, dst);
        }
        (src, dst) = (src.wrapping_add(run.from), dst.wrapping_add(run.to));
    }
}

/// Sets the columns of one row that lie in the padding to 0. They are few.
///
/// # Safety
/// `dst` has `run.to` elements.
#[inline(always)]
unsafe fn clear_padding(run: &Run, dst: *mut f32) {
    for column in (0..run.valid.start).chain(run.valid.end..run.to) {
        // SAFETY: the columns are below `run.to`.
        unsafe { *dst.add(column) = 0.0 };
    }
}
