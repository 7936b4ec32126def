//! Every operation, with every algorithm, against a loop over the definition in f64.

use super::*;
use crate::Accum;
use crate::operand::Producer;
use crate::testing::{max_abs_diff, noise, on_threads, same_bits};
use std::ops::Range;

/// A case: (input, weight, stride, padding, groups).
type Case = ([usize; 4], [usize; 4], usize, usize, usize);

const CASES: &[Case] = &[
    ([2, 3, 8, 8], [16, 3, 3, 3], 1, 1, 1),       // stem
    ([3, 16, 8, 8], [16, 16, 3, 3], 1, 1, 1),     // stages of a CIFAR ResNet
    ([1, 8, 32, 32], [24, 8, 3, 3], 1, 1, 1),     //
    ([5, 40, 4, 4], [36, 40, 3, 3], 1, 1, 1),     // several images a block, ragged channel counts
    ([2, 9, 7, 5], [11, 9, 3, 3], 1, 1, 1),       // odd, rectangular input
    ([3, 8, 2, 2], [8, 8, 3, 3], 1, 1, 1),        // a row of tiles in one vector: half a vector of four
    ([2, 8, 1, 3], [8, 8, 3, 3], 1, 1, 1),        //
    ([2, 8, 3, 13], [8, 8, 3, 3], 1, 1, 1),       // a vector of eight, odd width
    ([2, 8, 5, 29], [8, 8, 3, 3], 1, 1, 1),       // a vector of sixteen
    ([2, 8, 6, 9], [10, 8, 3, 3], 1, 0, 1),       // no padding
    ([2, 8, 5, 6], [8, 8, 3, 3], 1, 2, 1),        // full padding
    ([2, 8, 5, 6], [8, 8, 3, 3], 1, 3, 1),        // more padding than kernel
    ([1, 8, 70, 66], [8, 8, 3, 3], 1, 1, 1),      // more tiles than one block
    ([2, 12, 3, 3], [8, 12, 3, 3], 1, 0, 1),      // one output pixel
    ([2, 16, 24, 20], [16, 16, 3, 3], 1, 1, 1),   // 4x4 tiles: transformed weights are the smaller operand
    ([1, 32, 66, 36], [48, 32, 3, 3], 1, 1, 1),   // more of them than one block
    ([1, 16, 3, 664], [160, 16, 3, 3], 1, 1, 1),  // a row of tiles larger than a group of blocks
    ([2, 40, 68, 40], [48, 40, 3, 3], 1, 1, 1),   // shared sums by points, several groups of blocks
    ([2, 150, 6, 7], [144, 150, 3, 3], 1, 1, 1),  // shared sums by outputs, channels in several bands
    ([2, 16, 10, 11], [16, 16, 3, 3], 1, 0, 1),   // no padding
    ([2, 31, 6, 8], [16, 31, 3, 3], 1, 2, 1),     // full padding
    ([2, 16, 8, 8], [32, 16, 3, 3], 2, 1, 1),     // transition
    ([3, 32, 14, 22], [16, 32, 3, 3], 2, 1, 1),   // phases: ragged tiles
    ([2, 16, 15, 31], [48, 16, 3, 3], 2, 1, 1),   // odd input
    ([1, 16, 62, 96], [16, 16, 3, 3], 2, 1, 1),   // more rows of tiles than one block
    ([3, 64, 8, 16], [128, 64, 3, 3], 2, 1, 1),   // shared sums
    ([3, 144, 10, 14], [80, 144, 3, 3], 2, 1, 1), // many weights: several parts of the channels
    ([34, 96, 4, 4], [128, 96, 3, 3], 2, 1, 1),   // many weights: several groups of images
    ([2, 24, 16, 16], [16, 24, 3, 3], 2, 1, 1),   // ragged channel counts
    ([3, 16, 8, 8], [32, 16, 1, 1], 2, 0, 1),     // projection
    ([2, 5, 9, 7], [7, 5, 5, 5], 2, 2, 1),        //
    ([1, 3, 19, 21], [8, 3, 7, 7], 2, 3, 1),      // ImageNet stem
    ([2, 3, 16, 16], [12, 3, 4, 4], 4, 0, 1),     // patch embedding
    ([2, 4, 6, 6], [6, 4, 2, 2], 1, 0, 1),        // even kernel
    ([2, 4, 5, 5], [6, 4, 2, 2], 2, 1, 1),        //
    ([4, 10, 1, 1], [12, 10, 1, 1], 1, 0, 1),     // 1x1 spatial
    ([2, 10, 1, 1], [12, 10, 3, 3], 1, 1, 1),     //
    ([2, 8, 6, 6], [16, 2, 3, 3], 1, 1, 4),       // grouped
    ([2, 12, 7, 7], [18, 6, 3, 3], 2, 1, 2),      //
    ([2, 6, 7, 8], [6, 1, 3, 3], 1, 1, 6),        // depthwise
    ([2, 6, 9, 8], [6, 1, 5, 5], 2, 2, 6),        //
    ([2, 3, 7, 7], [6, 1, 3, 3], 1, 1, 3),        // depthwise with a multiplier
    ([2, 1, 6, 6], [1, 1, 3, 3], 1, 1, 1),        //
    ([2, 3, 6, 8], [4, 3, 1, 3], 1, 1, 1),        // rectangular kernel
    ([2, 8, 2, 40], [8, 8, 2, 5], 3, 2, 1),       //
];

/// A case with uneven padding: (input, weight, stride, [[top, bottom], [left, right]], groups).
type Uneven = ([usize; 4], [usize; 4], usize, [[usize; 2]; 2], usize);

const UNEVEN: &[Uneven] = &[
    ([2, 3, 8, 8], [16, 3, 3, 3], 2, [[0, 1], [0, 1]], 1), // TensorFlow's stem
    ([2, 8, 9, 8], [16, 8, 3, 3], 2, [[1, 1], [0, 1]], 1),
    ([2, 8, 6, 6], [8, 8, 3, 3], 1, [[0, 2], [0, 2]], 1), // all on one side
    ([2, 8, 6, 6], [8, 8, 3, 3], 1, [[2, 0], [1, 1]], 1),
    ([2, 8, 6, 8], [8, 2, 3, 3], 1, [[1, 0], [0, 0]], 4),
    ([2, 6, 8, 10], [6, 1, 3, 3], 2, [[0, 1], [0, 1]], 6),
    ([2, 6, 8, 40], [6, 1, 5, 5], 2, [[1, 2], [1, 2]], 6),
    ([2, 6, 9, 8], [6, 1, 5, 5], 1, [[0, 4], [3, 1]], 6),
];

/// Geometries of all cases, with `n` images if `n` is given.
fn geometries(n: Option<usize>) -> Vec<Geometry> {
    let even = CASES.iter().map(|&(x, w, stride, p, groups)| (x, w, stride, [[p; 2]; 2], groups));
    let all = even.chain(UNEVEN.iter().copied());
    all.map(|(x, w, stride, padding, groups)| {
        let x = [n.unwrap_or(x[0]), x[1], x[2], x[3]];
        Geometry::padded(x, w, stride, padding, groups).expect("a valid case")
    })
    .collect()
}

/// Calls `f(output index, input index, weight index)` for every product of a convolution.
fn products(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    for n in 0..g.n {
        for o in 0..g.o {
            let first = o / g.og() * g.cg();
            for y in 0..g.oh {
                for x in 0..g.ow {
                    for c in 0..g.cg() {
                        for ky in 0..g.kh {
                            for kx in 0..g.kw {
                                let (iy, ix) = (y * g.stride + ky, x * g.stride + kx);
                                let outside = |i: usize, before, size| i < before || i >= size + before;
                                if outside(iy, g.top, g.h) || outside(ix, g.left, g.w) {
                                    continue;
                                }
                                let at = (n * g.c + first + c) * g.h + iy - g.top;
                                f(
                                    ((n * g.o + o) * g.oh + y) * g.ow + x,
                                    at * g.w + ix - g.left,
                                    ((o * g.cg() + c) * g.kh + ky) * g.kw + kx,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Operands<E> {
    x: [Vec<E>; 2],
    w: [Vec<E>; 2],
    gy: [Vec<E>; 2],
}

fn operands<E: Elem>(g: &Geometry) -> Operands<E> {
    let two = |len, seed| [noise(len, seed), noise(len, seed + 1)];
    Operands { x: two(g.input_len(), 1), w: two(g.weight_len(), 3), gy: two(g.output_len(), 5) }
}

fn pairs<'a, E>(a: &'a [Vec<E>; 2], b: &'a [Vec<E>; 2], count: usize) -> Vec<Pair<'a, E>> {
    a.iter().zip(b).take(count).map(|(a, b)| (a.into(), &b[..])).collect()
}

fn map_pairs<'a, E>(a: &'a [Vec<E>; 2], b: &'a [Vec<E>; 2], count: usize) -> Vec<MapPair<'a, E>> {
    a.iter().zip(b).take(count).map(|(a, b)| (a.into(), b.into())).collect()
}

/// The three results of the definition, in f64.
fn naive<E: Elem>(g: &Geometry, t: &Operands<E>, count: usize) -> [Vec<f64>; 3] {
    let [mut y, mut gx, mut gw] = [g.output_len(), g.input_len(), g.weight_len()].map(|n| vec![0.0; n]);
    for p in 0..count {
        products(g, |yi, xi, wi| {
            y[yi] += t.x[p][xi].wide() * t.w[p][wi].wide();
            gx[xi] += t.gy[p][yi].wide() * t.w[p][wi].wide();
            gw[wi] += t.gy[p][yi].wide() * t.x[p][xi].wide();
        });
    }
    [y, gx, gw]
}

/// Bounds the rounding of a sum of a few thousand products of magnitude below 1; Winograd's transforms add a factor of
/// about 3.
fn tolerance<E: Elem>() -> f64 {
    256.0 * E::epsilon().wide()
}

fn every_operation<E: Elem>(level: Level) {
    for g in geometries(None) {
        let t = operands::<E>(&g);
        for count in [1, 2] {
            let want = naive(&g, &t, count);
            let agree = |got: &[E], want: &[f64], add: f64, what: &str| {
                let want: Vec<f64> = want.iter().map(|v| v + add).collect();
                let error = max_abs_diff(got, &want) / want.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
                assert!(error < tolerance::<E>(), "{what}, {count} pair(s), {g:?}: {error:e}");
            };
            let mut y = vec![E::nan(); g.output_len()];
            forward_at(level, &g, &pairs(&t.x, &t.w, count), &mut y);
            agree(&y, &want[0], 0.0, "forward");
            for accum in Accum::BOTH {
                let (start, add) = if accum.adds() { (E::one(), 1.0) } else { (E::nan(), 0.0) };
                let mut gx = vec![start; g.input_len()];
                backward_input_at(level, &g, &pairs(&t.gy, &t.w, count), &mut gx, accum);
                agree(&gx, &want[1], add, "input gradient");
                let mut gw = vec![start; g.weight_len()];
                backward_weight_at(level, &g, &map_pairs(&t.gy, &t.x, count), &mut gw, accum);
                agree(&gw, &want[2], add, "weight gradient");
            }
        }
    }
}

#[test]
fn an_empty_batch_adds_nothing_to_the_weight_gradient() {
    for g in geometries(Some(0)) {
        for (accum, want) in [(Accum::Replace, 0.0), (Accum::Add, 3.0)] {
            let mut gw = vec![3.0_f32; g.weight_len()];
            let none = [Vec::new(), Vec::new()];
            backward_weight(&g, &map_pairs(&none, &none, 2), &mut gw, accum);
            assert!(gw.iter().all(|x| *x == want), "{g:?}");
        }
    }
}

#[test]
fn every_operation_in_f64() {
    every_operation::<f64>(crate::simd::detected());
}

#[test]
fn every_operation_in_f32_at_every_level() {
    for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
        if level > crate::simd::detected() {
            println!("skipped: this machine has no {level:?}");
            continue;
        }
        every_operation::<f32>(level);
    }
}

/// Compares the rounding of F(4x4, 3x3), and of F(4x4, 2x2) by phases, with that of direct summation in `f32`: root
/// mean squares over 64 channels.
#[test]
fn larger_tiles_keep_the_digits() {
    for (stride, expected) in [(1, "winograd F(4x4)"), (2, "winograd F(4x4), stride 2")] {
        let g = Geometry::new([2, 64, 16, 16], [64, 64, 3, 3], stride, 1, 1).expect("valid");
        assert_eq!(super::algorithm(&g, true), expected);
        let t = operands::<f32>(&g);
        let want = naive(&g, &t, 1);
        let error = |got: &[f32], want: &[f64]| {
            let square = |v: f64| v * v;
            let off: f64 = got.iter().zip(want).map(|(g, w)| square(f64::from(*g) - w)).sum();
            (off / want.iter().map(|w| square(*w)).sum::<f64>()).sqrt()
        };
        let level = crate::simd::detected();
        let [mut y, mut gx, mut gw] = [g.output_len(), g.input_len(), g.weight_len()].map(|n| vec![0.0; n]);
        forward(&g, &pairs(&t.x, &t.w, 1), &mut y);
        backward_input(&g, &pairs(&t.gy, &t.w, 1), &mut gx, Accum::Replace);
        backward_weight(&g, &map_pairs(&t.gy, &t.x, 1), &mut gw, Accum::Replace);
        let tiled = [error(&y, &want[0]), error(&gx, &want[1]), error(&gw, &want[2])];
        packed::forward(level, &g, &[(&t.x[0], &t.w[0])], &mut y);
        packed::backward_input(level, &g, &[(&t.gy[0], &t.w[0])], &mut gx, Accum::Replace);
        packed::backward_weight(level, &g, &[(&t.gy[0], &t.x[0])], &mut gw, Accum::Replace);
        let direct = [error(&y, &want[0]), error(&gx, &want[1]), error(&gw, &want[2])];
        println!("{expected:?}: {tiled:?} {direct:?}");
        // Measured: 8e-7, 8e-7, 6e-7 beside 4e-7, 2e-7, 2e-7. The usual points 0, ±1, ±2 would give twice as much.
        assert!(tiled.iter().all(|tiled| *tiled < 1.2e-6), "{tiled:?} {direct:?}");
    }
}

/// A producer of twice some values, with the pixels of a map.
struct Twice<'a>(&'a [f32], usize);

impl Producer<f32> for Twice<'_> {
    fn size(&self) -> usize {
        self.0.len()
    }
    fn pixels(&self) -> usize {
        self.1
    }
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [f32]) {
        let from = &self.0[i * self.1..][..self.1][range];
        assert_eq!(from.len(), out.len());
        out.iter_mut().zip(from).for_each(|(out, x)| *out = 2.0 * x);
    }
}

#[test]
fn streamed_maps_change_no_bit() {
    let mut streamed = 0;
    for g in geometries(None) {
        streamed += usize::from(streams(&g, true));
        let t = operands::<f32>(&g);
        let twice = |x: &[f32]| x.iter().map(|x| 2.0 * x).collect::<Vec<_>>();
        let (x2, gy2) = (twice(&t.x[0]), twice(&t.gy[0]));
        let (x, gy) = (Twice(&t.x[0], g.h * g.w), Twice(&t.gy[0], g.oh * g.ow));
        let run = |x: Operand<'_, f32>, gy: Operand<'_, f32>| {
            let [mut y, mut gx, mut gw] =
                [g.output_len(), g.input_len(), g.weight_len()].map(|n| vec![0.0; n]);
            // Beside operands in memory.
            forward(&g, &[(x, &t.w[0]), ((&t.x[1]).into(), &t.w[1])], &mut y);
            backward_input(&g, &[((&t.gy[1]).into(), &t.w[1]), (gy, &t.w[0])], &mut gx, Accum::Add);
            backward_weight(&g, &[(gy, x), ((&t.gy[1]).into(), x)], &mut gw, Accum::Replace);
            [y, gx, gw]
        };
        let (want, got) =
            (run((&x2).into(), (&gy2).into()), run(Operand::Streamed(&x), Operand::Streamed(&gy)));
        assert!(want.iter().zip(&got).all(|(a, b)| same_bits(a, b)), "{g:?}");
        // Maps of another size than the convolution's are computed whole first.
        let rows = [Twice(&t.x[0], g.w), Twice(&t.gy[0], g.ow)];
        let got = run(Operand::Streamed(&rows[0]), Operand::Streamed(&rows[1]));
        assert!(want.iter().zip(&got).all(|(a, b)| same_bits(a, b)), "{g:?}");
    }
    assert!(streamed >= 10, "{streamed}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for g in geometries(Some(7)) {
        let t = operands::<f32>(&g);
        let run = |threads| {
            on_threads(threads, || {
                let [mut y, mut gx, mut gw] =
                    [g.output_len(), g.input_len(), g.weight_len()].map(|n| vec![0.0; n]);
                forward(&g, &pairs(&t.x, &t.w, 2), &mut y);
                backward_input(&g, &pairs(&t.gy, &t.w, 2), &mut gx, Accum::Replace);
                backward_weight(&g, &map_pairs(&t.gy, &t.x, 2), &mut gw, Accum::Replace);
                [y, gx, gw]
            })
        };
        let one = run(1);
        for threads in [2, 3] {
            assert!(one.iter().zip(run(threads)).all(|(a, b)| same_bits(a, &b)), "{g:?}");
        }
    }
}

#[test]
#[should_panic(expected = "at least one pair")]
fn no_pairs_is_refused() {
    let g = Geometry::new([1, 1, 1, 1], [1, 1, 1, 1], 1, 0, 1).expect("valid");
    forward::<f32>(&g, &[], &mut [0.0]);
}
