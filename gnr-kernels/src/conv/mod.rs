//! 2-D convolutions: forward, input gradient and weight gradient, each of a *sum* of convolutions.
//!
//! Every operation takes a list of pairs, because derivatives of a convolution are sums of convolutions. The tangent of
//! `x * w` is `x * ẇ + ẋ * w`: one [`forward`] with two pairs, which writes its result once.

mod algorithm;
mod blocks;
mod depthwise;
mod f4x4;
mod general;
mod geometry;
mod im2col;
mod packed;
mod winograd;
mod winograd_grad;
mod winograd_weights;

pub use geometry::{Geometry, GeometryError};

use super::elem::Elem;
pub use super::operand::Pair;
use super::operand::{Operand, Resolved, Slices};
use super::simd::Level;
use super::{lanes, product, runtime, transpose};
use crate::Accum;
use algorithm::Algorithm;

/// The operands of a weight gradient: output adjoint and input.
pub type MapPair<'a, E> = (Operand<'a, E>, Operand<'a, E>);

/// Number of partial sums of a weight gradient. The number is fixed, so the bits do not depend on the number of
/// threads.
const PARTS: usize = 16;

/// Whether the operations of a geometry in `f32` (`single`) read their operands piece by piece. If not, streamed
/// operands are computed whole first.
pub fn streams(g: &Geometry, single: bool) -> bool {
    single && algorithm::of_single(g).streams()
}

/// The name of the algorithm for all three operations of a geometry, in `f32` (`single`) or in another precision.
pub fn algorithm(g: &Geometry, single: bool) -> &'static str {
    if single { algorithm::of_single(g).name() } else { algorithm::of_any::<f64>(g).name() }
}

/// Computes `y = Σ_i conv(x_i, w_i)` over `pairs` of (input, weight).
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn forward<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
    forward_at(runtime().level(), g, pairs, y);
}

fn forward_at<E: Elem>(level: Level, g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
    let lengths = pairs.iter().map(|(x, w)| [x.len(), w.len()]);
    check(g, lengths, [g.input_len(), g.weight_len()], y.len(), g.output_len());
    match (single(pairs), E::as_f32_mut(y)) {
        (Some(pairs), Some(y)) => {
            let algorithm = algorithm::of_single(g);
            with_resolved(algorithm, &pairs, g.h * g.w, |pairs| algorithm.forward(level, g, pairs, y));
        }
        _ => {
            let algorithm = algorithm::of_any(g);
            with_resolved(algorithm, pairs, g.h * g.w, |pairs| algorithm.forward(level, g, pairs, y));
        }
    }
}

/// Computes `gx = Σ_i convᵀ(gy_i, w_i)` over `pairs` of (output adjoint, weight), or adds it to gx.
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn backward_input<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accum: Accum) {
    backward_input_at(runtime().level(), g, pairs, gx, accum);
}

fn backward_input_at<E: Elem>(level: Level, g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accum: Accum) {
    let lengths = pairs.iter().map(|(gy, w)| [gy.len(), w.len()]);
    check(g, lengths, [g.output_len(), g.weight_len()], gx.len(), g.input_len());
    match (single(pairs), E::as_f32_mut(gx)) {
        (Some(pairs), Some(gx)) => {
            let algorithm = algorithm::of_single(g);
            with_resolved(algorithm, &pairs, g.oh * g.ow, |pairs| {
                algorithm.backward_input(level, g, pairs, gx, accum);
            });
        }
        _ => {
            let algorithm = algorithm::of_any(g);
            with_resolved(algorithm, pairs, g.oh * g.ow, |pairs| {
                algorithm.backward_input(level, g, pairs, gx, accum);
            });
        }
    }
}

/// Computes `gw = Σ_i (gradient of ⟨conv(x_i, w), gy_i⟩ in w)` over `pairs` of (output adjoint, input), or adds it to
/// gw. The number of threads does not change the result.
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn backward_weight<E: Elem>(g: &Geometry, pairs: &[MapPair<'_, E>], gw: &mut [E], accum: Accum) {
    backward_weight_at(runtime().level(), g, pairs, gw, accum);
}

fn backward_weight_at<E: Elem>(
    level: Level,
    g: &Geometry,
    pairs: &[MapPair<'_, E>],
    gw: &mut [E],
    accum: Accum,
) {
    let lengths = pairs.iter().map(|(gy, x)| [gy.len(), x.len()]);
    check(g, lengths, [g.output_len(), g.input_len()], gw.len(), g.weight_len());
    if g.n == 0 {
        if !accum.adds() {
            gw.fill(E::zero());
        }
        return;
    }
    let of_single: Option<Vec<MapPair<'_, f32>>> =
        pairs.iter().map(|(gy, x)| Some((gy.as_f32()?, x.as_f32()?))).collect();
    match (of_single, E::as_f32_mut(gw)) {
        (Some(pairs), Some(gw)) => {
            let algorithm = algorithm::of_single(g);
            with_resolved_maps(algorithm, g, &pairs, |pairs| {
                algorithm.backward_weight(level, g, pairs, gw, accum);
            });
        }
        _ => {
            let algorithm = algorithm::of_any(g);
            with_resolved_maps(algorithm, g, pairs, |pairs| {
                algorithm.backward_weight(level, g, pairs, gw, accum);
            });
        }
    }
}

/// The pairs as `f32`, if that is their element type.
fn single<'a, E: Elem>(pairs: &[Pair<'a, E>]) -> Option<Vec<Pair<'a, f32>>> {
    pairs.iter().map(|(a, w)| Some((a.as_f32()?, E::as_f32(w)?))).collect()
}

/// Runs `f` on pairs that the algorithm can take; their maps have `pixels` pixels.
fn with_resolved<E: Elem>(
    algorithm: &dyn Algorithm<E>,
    pairs: &[Pair<'_, E>],
    pixels: usize,
    f: impl FnOnce(&[Pair<'_, E>]),
) {
    let resolved: Vec<_> = pairs.iter().map(|(a, _)| a.resolve(algorithm.streams(), pixels)).collect();
    let pairs: Vec<_> = resolved.iter().map(Resolved::values).zip(pairs.iter().map(|(_, w)| *w)).collect();
    f(&pairs);
}

/// Runs `f` on pairs of output adjoints and inputs that the algorithm can take.
fn with_resolved_maps<E: Elem>(
    algorithm: &dyn Algorithm<E>,
    g: &Geometry,
    pairs: &[MapPair<'_, E>],
    f: impl FnOnce(&[MapPair<'_, E>]),
) {
    let streams = algorithm.streams();
    let resolved: Vec<_> = (pairs.iter())
        .map(|&(gy, x)| (gy.resolve(streams, g.oh * g.ow), x.resolve(streams, g.h * g.w)))
        .collect();
    let pairs: Vec<_> = resolved.iter().map(|(gy, x)| (gy.values(), x.values())).collect();
    f(&pairs);
}

/// Checks the lengths that the kernels rely on, and counts the work.
fn check(
    g: &Geometry,
    pairs: impl Iterator<Item = [usize; 2]>,
    expected: [usize; 2],
    out: usize,
    expected_out: usize,
) {
    let mut count = 0;
    for pair in pairs {
        assert_eq!(pair, expected, "operand lengths");
        count += 1;
    }
    assert!(count > 0, "a convolution needs at least one pair of operands");
    assert_eq!(out, expected_out, "length of the result");
    runtime().count(count * g.output_len() * g.ck());
}

#[cfg(test)]
mod tests;
