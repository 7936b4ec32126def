//! The convolution and its input gradient.
//!
//! If the transformed weights are the smaller operand, they are computed once and blocks of tiles stream past them. If
//! they are the larger operand (late layers: many channels, few tiles), all tiles are transformed once. Each panel of
//! weights is then transformed in the second-level cache, just before its products.

use super::super::Pair;
use super::super::product::{Aligned, Left, Right, product, spread};
use super::super::winograd::Shape;
use super::contract::{self, Products, to_maps};
use super::expand::{Image, Maps, Place, Scratch, expand};
use super::{LANES, POINTS, TILE, Tiles, tile_row, weights, width};
use crate::Accum;
use crate::parallel::each_chunk_with;
use crate::simd::Level;

/// Bytes of transformed data that a block of tiles may take.
const BLOCK_BYTES: usize = 512 << 10;

/// Input channels whose weights are transformed at a time: 36 · 128 · 32 floats are 576 KiB.
const DEPTH: usize = 128;

/// Computes `out = Σ_i conv(x_i, w_i)` or adds it to out. For the input gradient, `rotated` exchanges the weights'
/// channels and rotates their taps.
pub(in super::super) fn run(
    level: Level,
    s: Shape,
    pairs: &[Pair<'_, f32>],
    rotated: bool,
    out: &mut [f32],
    accum: Accum,
) {
    let tiles = Tiles::of(&s).count() * s.n;
    // Tiles and weights have the same depth, so their rows are compared.
    if s.cout >= tiles {
        few_tiles(level, &s, pairs, rotated, out, accum);
    } else {
        many_tiles(level, &s, pairs, rotated, out, accum);
    }
}

fn maps(s: &Shape) -> Maps {
    let columns = Tiles::of(s).columns;
    Maps { channels: s.cin, h: s.h, w: s.w, padding: s.padding, columns, step: TILE, window: TILE + 2 }
}

fn many_tiles(
    level: Level,
    s: &Shape,
    pairs: &[Pair<'_, f32>],
    rotated: bool,
    out: &mut [f32],
    accum: Accum,
) {
    let (tiles, maps, depth, width) = (Tiles::of(s), maps(s), s.cin * pairs.len(), width(s.cout));
    let panel = POINTS * depth * width;
    let mut u = Aligned::new(s.cout.div_ceil(width) * panel);
    each_chunk_with(
        &mut u,
        panel,
        1,
        || weights::scratch(s.cin),
        |taps, i, u| {
            for (p, (_, w)) in pairs.iter().enumerate() {
                let u = &mut u[p * s.cin * width..];
                weights::transform(level, s, w, rotated, i * width, width, 0..s.cin, taps, u, depth * width);
            }
        },
    );
    let row = tile_row(s.cin, pairs.len());
    let target = (BLOCK_BYTES / (POINTS * (depth + width) * size_of::<f32>())).clamp(32, 256);
    let cut = tiles.cut(target.min(s.n.div_ceil(rayon::current_num_threads()) * tiles.count()));
    let largest = cut.images * cut.rows * tiles.columns;
    let map = s.cout * s.oh * s.ow;
    let scratch = || {
        let v = Aligned::new(POINTS * spread(largest * row));
        let m = Aligned::new(POINTS * spread(largest * width));
        (v, m, Scratch::new(&maps), contract::scratch(&tiles))
    };
    each_chunk_with(out, map * cut.images, 1, scratch, |(v, m, scratch, pixels), b, out| {
        let images = out.len() / map;
        for first in (0..tiles.rows).step_by(cut.rows) {
            let rows = first..(first + cut.rows).min(tiles.rows);
            let each = rows.len() * tiles.columns;
            let count = images * each;
            let (v_point, m_point) = (spread(count * row), spread(count * width));
            for (p, &(of, _)) in pairs.iter().enumerate() {
                for i in 0..images {
                    let x = Image { of, index: b * cut.images + i };
                    let to = Place { point: v_point, row, channel: p * s.cin, tile: i * each };
                    expand(level, &maps, x, rows.clone(), scratch, v, to);
                }
            }
            for (panel, u) in u.chunks_exact(panel).enumerate() {
                for (point, u) in u.chunks_exact(depth * width).enumerate() {
                    let v = Left::Rows(&v[point * v_point..], row);
                    let m = &mut m[point * m_point..];
                    product(
                        level,
                        [count, depth, width],
                        v,
                        Right { data: u, row: width },
                        m,
                        width,
                        Accum::Replace,
                    );
                }
                for i in 0..images {
                    for lane in (0..width).step_by(LANES) {
                        let channel = panel * width + lane;
                        let channels = channel..(channel + LANES).min(s.cout);
                        let m = Products { data: m, point: m_point, row: width, tile: i * each, lane };
                        let out = &mut out[i * map..][..map];
                        to_maps(level, s, m, channels, rows.clone(), pixels, out, accum);
                    }
                }
            }
        }
    });
}

/// Transforms all tiles: `[blocks][POINTS][tiles][row]`, with blocks of `images` images and points `point` apart.
fn all_tiles(level: Level, s: &Shape, pairs: &[Pair<'_, f32>], [images, point, row]: [usize; 3]) -> Aligned {
    let (tiles, maps, blocks) = (Tiles::of(s), maps(s), s.n.div_ceil(images));
    let each = tiles.count();
    let mut v = Aligned::new(blocks * POINTS * point);
    each_chunk_with(
        &mut v,
        POINTS * point,
        1,
        || Scratch::new(&maps),
        |scratch, block, v| {
            for i in 0..images.min(s.n - block * images) {
                for (p, &(of, _)) in pairs.iter().enumerate() {
                    let x = Image { of, index: block * images + i };
                    let to = Place { point, row, channel: p * s.cin, tile: i * each };
                    expand(level, &maps, x, 0..tiles.rows, scratch, v, to);
                }
            }
        },
    );
    v
}

fn few_tiles(level: Level, s: &Shape, pairs: &[Pair<'_, f32>], rotated: bool, out: &mut [f32], accum: Accum) {
    let (tiles, width) = (Tiles::of(s), width(s.cout));
    let (row, each) = (tile_row(s.cin, pairs.len()), tiles.count());
    let map = s.cout * s.oh * s.ow;
    // Blocks of whole images; how many a block has changes no bit.
    let images = (64 / each).clamp(1, s.n.div_ceil(rayon::current_num_threads()).max(1));
    let blocks = s.n.div_ceil(images);
    let (v_point, m_point) = (spread(images * each * row), spread(images * each * width));
    let count = |block: usize| images.min(s.n - block * images) * each;

    let v = all_tiles(level, s, pairs, [images, v_point, row]);

    let mut m = Aligned::new(s.cout.div_ceil(width) * blocks * POINTS * m_point);
    each_chunk_with(
        &mut m,
        blocks * POINTS * m_point,
        1,
        || (weights::scratch(DEPTH), Aligned::new(POINTS * spread(DEPTH * width))),
        |(taps, u), panel, m| {
            for (p, (_, w)) in pairs.iter().enumerate() {
                for first in (0..s.cin).step_by(DEPTH) {
                    let channels = first..(first + DEPTH).min(s.cin);
                    let (k, u_point) = (channels.len(), spread(channels.len() * width));
                    weights::transform(
                        level,
                        s,
                        w,
                        rotated,
                        panel * width,
                        width,
                        channels,
                        taps,
                        u,
                        u_point,
                    );
                    for point in 0..POINTS {
                        for block in 0..blocks {
                            let v = &v[(block * POINTS + point) * v_point + p * s.cin + first..];
                            let u = Right { data: &u[point * u_point..], row: width };
                            let m = &mut m[(block * POINTS + point) * m_point..];
                            let size = [count(block), k, width];
                            product(
                                level,
                                size,
                                Left::Rows(v, row),
                                u,
                                m,
                                width,
                                Accum::from(p > 0 || first > 0),
                            );
                        }
                    }
                }
            }
        },
    );

    each_chunk_with(
        out,
        map * images,
        1,
        || contract::scratch(&tiles),
        |pixels, block, out| {
            for (i, out) in out.chunks_exact_mut(map).enumerate() {
                for channel in (0..s.cout).step_by(LANES) {
                    let (panel, lane) = (channel / width, channel % width);
                    let data = &m[(panel * blocks + block) * POINTS * m_point..][..POINTS * m_point];
                    let m = Products { data, point: m_point, row: width, tile: i * each, lane };
                    let channels = channel..(channel + LANES).min(s.cout);
                    to_maps(level, s, m, channels, 0..tiles.rows, pixels, out, accum);
                }
            }
        },
    );
}
