//! 2-D convolutions: forward, input gradient and weight gradient, each of a *sum* of convolutions.
//!
//! Every operation takes a list of pairs, because derivatives of a convolution are sums of convolutions: the tangent of `x * w` is
//! `x * ẇ + ẋ * w`, one [`forward`] with two pairs that writes its result once.

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

use crate::Accum;
use f4x4::strided;

use super::elem::Elem;
pub use super::operand::Pair;
use super::operand::{self, Operand, Slices, slices};
use super::simd::{self, Level};
use super::{lanes, product, transpose, work};

/// Output adjoint and input: the operands of a weight gradient.
pub type MapPair<'a, E> = (Operand<'a, E>, Operand<'a, E>);

/// Partial sums of a weight gradient: a fixed number, so that it does not depend on the number of threads.
const PARTS: usize = 16;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// im2col of one image and one group, then the `gemm` crate: any geometry, `f32` and `f64`.
    General,
    /// Sums of shifted rows: one channel a group, `f32` and `f64`.
    Depthwise,
    /// im2col of a block of pixels and our own micro-kernel: `f32`, any geometry.
    Packed,
    /// Winograd F(2x2, 3x3): `f32`, 3x3, stride 1, one group, at most 2 pixels of padding, at least 8 channels on one side.
    Winograd,
    /// Winograd F(4x4, 3x3): the same, at least 8 channels on both sides, and maps that its tiles cover without much waste.
    Winograd4,
    /// Winograd F(4x4, 2x2) of the four phases of the input: `f32`, 3x3, stride 2, one pixel of padding, one group, multiples of 16 channels
    /// on both sides, and maps that its tiles cover without much waste.
    Strided,
}

impl Plan {
    /// Whether its kernels take maps that are produced where they are read.
    fn streams(self) -> bool {
        matches!(self, Plan::Winograd4 | Plan::Strided)
    }
}

/// The path that all three operations of a geometry take, for `f32` (`single`) or `f64`.
pub fn plan(g: &Geometry, single: bool) -> Plan {
    if depthwise::fits(g) {
        return Plan::Depthwise;
    }
    if single && f4x4::pays(g) {
        return Plan::Winograd4;
    }
    if single && strided::pays(g) {
        return Plan::Strided;
    }
    if single && winograd::Shape::fits(g) && g.c.max(g.o) >= 8 {
        return Plan::Winograd;
    }
    if single { Plan::Packed } else { Plan::General }
}

/// Whether the operations of a geometry read maps of `f32` (`single`) piece by piece, so that those which are produced where they are read
/// need not be computed whole first.
pub fn streams(g: &Geometry, single: bool) -> bool {
    plan(g, single).streams()
}

/// `y = Σ_i conv(x_i, w_i)` over `pairs` of (input, weight).
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn forward<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
    forward_at(simd::level(), g, pairs, y);
}

fn forward_at<E: Elem>(level: Level, g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
    let lengths = pairs.iter().map(|(x, w)| [x.len(), w.len()]);
    check(g, lengths, [g.input_len(), g.weight_len()], y.len(), g.output_len());
    let plan = plan_of::<E>(g);
    let maps: Vec<_> = pairs.iter().map(|(x, _)| x.resolve(plan.streams(), g.h * g.w)).collect();
    if let (true, Some(pairs), Some(y)) = (plan.streams(), operand::in_single(&maps, pairs), E::as_f32_mut(y))
    {
        match plan {
            Plan::Winograd4 => {
                f4x4::run(level, winograd::Shape::forward(g), &pairs, false, y, Accum::Replace)
            }
            _ => strided::forward(level, g, &pairs, y),
        }
        return;
    }
    let pairs = slices(&maps, pairs);
    match (plan, &in_single(&pairs), E::as_f32_mut(y)) {
        (Plan::Winograd, Some(pairs), Some(y)) => {
            winograd::run(level, winograd::Shape::forward(g), pairs, false, y, Accum::Replace);
        }
        (Plan::Packed, Some(pairs), Some(y)) => packed::forward(level, g, pairs, y),
        (Plan::Depthwise, ..) => depthwise::forward(g, &pairs, y),
        _ => general::forward(g, &pairs, y),
    }
}

/// `gx = Σ_i convᵀ(gy_i, w_i)` over `pairs` of (output adjoint, weight); `gx += …` with [`Accum::Add`].
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn backward_input<E: Elem>(g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accum: Accum) {
    backward_input_at(simd::level(), g, pairs, gx, accum);
}

fn backward_input_at<E: Elem>(level: Level, g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accum: Accum) {
    let lengths = pairs.iter().map(|(gy, w)| [gy.len(), w.len()]);
    check(g, lengths, [g.output_len(), g.weight_len()], gx.len(), g.input_len());
    let plan = plan_of::<E>(g);
    let maps: Vec<_> = pairs.iter().map(|(gy, _)| gy.resolve(plan.streams(), g.oh * g.ow)).collect();
    if let (true, Some(pairs), Some(gx)) =
        (plan.streams(), operand::in_single(&maps, pairs), E::as_f32_mut(gx))
    {
        match plan {
            Plan::Winograd4 => {
                f4x4::run(level, winograd::Shape::backward(g), &pairs, true, gx, accum);
            }
            _ => strided::backward_input(level, g, &pairs, gx, accum),
        }
        return;
    }
    let pairs = slices(&maps, pairs);
    match (plan, &in_single(&pairs), E::as_f32_mut(gx)) {
        (Plan::Winograd, Some(pairs), Some(gx)) => {
            winograd::run(level, winograd::Shape::backward(g), pairs, true, gx, accum);
        }
        (Plan::Packed, Some(pairs), Some(gx)) => packed::backward_input(level, g, pairs, gx, accum),
        (Plan::Depthwise, ..) => depthwise::backward_input(g, &pairs, gx, accum),
        _ => general::backward_input(g, &pairs, gx, accum),
    }
}

/// `gw = Σ_i (gradient of ⟨conv(x_i, w), gy_i⟩ in w)` over `pairs` of (output adjoint, input); `gw += …` with [`Accum::Add`].
/// The number of threads does not change the result.
///
/// # Panics
/// When a slice does not have the length that the geometry says, or there is no pair.
pub fn backward_weight<E: Elem>(g: &Geometry, pairs: &[MapPair<'_, E>], gw: &mut [E], accum: Accum) {
    backward_weight_at(simd::level(), g, pairs, gw, accum);
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
    let plan = plan_of::<E>(g);
    let streams = plan.streams();
    let maps: Vec<_> = (pairs.iter())
        .map(|&(gy, x)| (gy.resolve(streams, g.oh * g.ow), x.resolve(streams, g.h * g.w)))
        .collect();
    let streamed: Option<Vec<MapPair<'_, f32>>> =
        maps.iter().map(|(gy, x)| Some((gy.values().as_f32()?, x.values().as_f32()?))).collect();
    if let (true, Some(pairs), Some(gw)) = (plan.streams(), streamed, E::as_f32_mut(gw)) {
        match plan {
            Plan::Winograd4 => {
                f4x4::run_gradient(level, winograd::Shape::forward(g), &pairs, gw, accum);
            }
            _ => strided::backward_weight(level, g, &pairs, gw, accum),
        }
        return;
    }
    let pairs: Vec<Slices<'_, E>> = maps.iter().map(|(gy, x)| (gy.whole(), x.whole())).collect();
    match (plan, &in_single(&pairs), E::as_f32_mut(gw)) {
        (Plan::Winograd, Some(pairs), Some(gw)) => {
            winograd_grad::run(level, winograd::Shape::forward(g), pairs, gw, accum);
        }
        (Plan::Packed, Some(pairs), Some(gw)) => packed::backward_weight(level, g, pairs, gw, accum),
        (Plan::Depthwise, ..) => depthwise::backward_weight(g, &pairs, gw, accum),
        _ => general::backward_weight(g, &pairs, gw, accum),
    }
}

fn plan_of<E: Elem>(g: &Geometry) -> Plan {
    plan(g, E::as_f32(&[]).is_some())
}

/// The operands as `f32`, if that is what they are.
fn in_single<'a, E: Elem>(pairs: &[Slices<'a, E>]) -> Option<Vec<Slices<'a, f32>>> {
    pairs.iter().map(|(a, b)| Some((E::as_f32(a)?, E::as_f32(b)?))).collect()
}

/// Checks the lengths that the kernels below rely on, and counts the work.
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
    work::count(count * g.output_len() * g.ck());
}

#[cfg(test)]
mod tests;
