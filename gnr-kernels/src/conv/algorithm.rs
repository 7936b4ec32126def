//! [`Algorithm`]: a way to compute a convolution and its gradients, and the choice of one for a geometry.

use super::{Geometry, MapPair, Pair, Slices, depthwise, f4x4, f4x4::strided, general, packed, winograd};
use crate::Accum;
use crate::elem::Elem;
use crate::operand::Operand;
use crate::simd::Level;

/// A way to compute the three operations of a convolution. The caller guarantees operands of the geometry's lengths and
/// at least one pair.
pub(super) trait Algorithm<E: Elem>: Sync {
    /// The name in benchmarks and tests.
    fn name(&self) -> &'static str;
    /// Whether the algorithm reads its operands piece by piece. If not, the caller computes streamed operands whole
    /// first.
    fn streams(&self) -> bool {
        false
    }
    /// Computes `y = Σ_i conv(x_i, w_i)` over pairs of (input, weight).
    fn forward(&self, level: Level, g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]);
    /// Computes `gx = Σ_i convᵀ(gy_i, w_i)`, or adds it to gx, over pairs of (output adjoint, weight).
    fn backward_input(&self, level: Level, g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accum: Accum);
    /// Computes `gw = Σ_i (gradient of ⟨conv(x_i, w), gy_i⟩ in w)`, or adds it to gw, over pairs of (output adjoint,
    /// input).
    fn backward_weight(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[MapPair<'_, E>],
        gw: &mut [E],
        accum: Accum,
    );
}

/// The algorithm for all three operations of a geometry in `f32`.
pub(super) fn of_single(g: &Geometry) -> &'static dyn Algorithm<f32> {
    if depthwise::fits(g) {
        &Depthwise
    } else if f4x4::pays(g) {
        &WinogradF4
    } else if strided::pays(g) {
        &WinogradStrided
    } else if winograd::Shape::fits(g) && g.c.max(g.o) >= 8 {
        &WinogradF2
    } else {
        &Packed
    }
}

/// The algorithm for all three operations of a geometry in any precision.
pub(super) fn of_any<E: Elem>(g: &Geometry) -> &'static dyn Algorithm<E> {
    if depthwise::fits(g) { &Depthwise } else { &General }
}

/// The slice of an operand that is in memory.
fn whole<E: Elem>(operand: Operand<'_, E>) -> &[E] {
    match operand {
        Operand::Whole(whole) => whole,
        Operand::Streamed(_) => unreachable!("operands are resolved for algorithms that do not stream"),
    }
}

fn slices<'a, E: Elem>(pairs: &[Pair<'a, E>]) -> Vec<Slices<'a, E>> {
    pairs.iter().map(|&(a, w)| (whole(a), w)).collect()
}

fn map_slices<'a, E: Elem>(pairs: &[MapPair<'a, E>]) -> Vec<Slices<'a, E>> {
    pairs.iter().map(|&(gy, x)| (whole(gy), whole(x))).collect()
}

/// im2col of one image and one group, then the `gemm` crate; for any geometry.
struct General;

impl<E: Elem> Algorithm<E> for General {
    fn name(&self) -> &'static str {
        "general"
    }
    fn forward(&self, _: Level, g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
        general::forward(g, &slices(pairs), y);
    }
    fn backward_input(&self, _: Level, g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accum: Accum) {
        general::backward_input(g, &slices(pairs), gx, accum);
    }
    fn backward_weight(&self, _: Level, g: &Geometry, pairs: &[MapPair<'_, E>], gw: &mut [E], accum: Accum) {
        general::backward_weight(g, &map_slices(pairs), gw, accum);
    }
}

/// Sums of shifted rows, for one channel a group.
struct Depthwise;

impl<E: Elem> Algorithm<E> for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }
    fn forward(&self, _: Level, g: &Geometry, pairs: &[Pair<'_, E>], y: &mut [E]) {
        depthwise::forward(g, &slices(pairs), y);
    }
    fn backward_input(&self, _: Level, g: &Geometry, pairs: &[Pair<'_, E>], gx: &mut [E], accum: Accum) {
        depthwise::backward_input(g, &slices(pairs), gx, accum);
    }
    fn backward_weight(&self, _: Level, g: &Geometry, pairs: &[MapPair<'_, E>], gw: &mut [E], accum: Accum) {
        depthwise::backward_weight(g, &map_slices(pairs), gw, accum);
    }
}

/// im2col of a block of pixels, then our own micro-kernel; for any geometry.
struct Packed;

impl Algorithm<f32> for Packed {
    fn name(&self) -> &'static str {
        "packed"
    }
    fn forward(&self, level: Level, g: &Geometry, pairs: &[Pair<'_, f32>], y: &mut [f32]) {
        packed::forward(level, g, &slices(pairs), y);
    }
    fn backward_input(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[Pair<'_, f32>],
        gx: &mut [f32],
        accum: Accum,
    ) {
        packed::backward_input(level, g, &slices(pairs), gx, accum);
    }
    fn backward_weight(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[MapPair<'_, f32>],
        gw: &mut [f32],
        accum: Accum,
    ) {
        packed::backward_weight(level, g, &map_slices(pairs), gw, accum);
    }
}

/// Winograd F(2x2, 3x3), for 3x3 kernels of stride 1 in one group. Padding is at most 2 pixels, and one side has at
/// least 8 channels.
struct WinogradF2;

impl Algorithm<f32> for WinogradF2 {
    fn name(&self) -> &'static str {
        "winograd F(2x2)"
    }
    fn forward(&self, level: Level, g: &Geometry, pairs: &[Pair<'_, f32>], y: &mut [f32]) {
        let shape = winograd::Shape::forward(g);
        winograd::run(level, shape, &slices(pairs), false, y, Accum::Replace);
    }
    fn backward_input(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[Pair<'_, f32>],
        gx: &mut [f32],
        accum: Accum,
    ) {
        winograd::run(level, winograd::Shape::backward(g), &slices(pairs), true, gx, accum);
    }
    fn backward_weight(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[MapPair<'_, f32>],
        gw: &mut [f32],
        accum: Accum,
    ) {
        super::winograd_grad::run(level, winograd::Shape::forward(g), &map_slices(pairs), gw, accum);
    }
}

/// Winograd F(4x4, 3x3), for 3x3 kernels of stride 1 in one group. Padding is at most 2 pixels, and both sides have at
/// least 8 channels. Its tiles must cover the maps without much waste.
struct WinogradF4;

impl Algorithm<f32> for WinogradF4 {
    fn name(&self) -> &'static str {
        "winograd F(4x4)"
    }
    fn streams(&self) -> bool {
        true
    }
    fn forward(&self, level: Level, g: &Geometry, pairs: &[Pair<'_, f32>], y: &mut [f32]) {
        f4x4::run(level, winograd::Shape::forward(g), pairs, false, y, Accum::Replace);
    }
    fn backward_input(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[Pair<'_, f32>],
        gx: &mut [f32],
        accum: Accum,
    ) {
        f4x4::run(level, winograd::Shape::backward(g), pairs, true, gx, accum);
    }
    fn backward_weight(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[MapPair<'_, f32>],
        gw: &mut [f32],
        accum: Accum,
    ) {
        f4x4::run_gradient(level, winograd::Shape::forward(g), pairs, gw, accum);
    }
}

/// Winograd F(4x4, 2x2) of the four phases of the input, for 3x3 kernels of stride 2 in one group, with one pixel of
/// padding. Channels must be multiples of 16, and its tiles must cover the maps without much waste.
struct WinogradStrided;

impl Algorithm<f32> for WinogradStrided {
    fn name(&self) -> &'static str {
        "winograd F(4x4), stride 2"
    }
    fn streams(&self) -> bool {
        true
    }
    fn forward(&self, level: Level, g: &Geometry, pairs: &[Pair<'_, f32>], y: &mut [f32]) {
        strided::forward(level, g, pairs, y);
    }
    fn backward_input(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[Pair<'_, f32>],
        gx: &mut [f32],
        accum: Accum,
    ) {
        strided::backward_input(level, g, pairs, gx, accum);
    }
    fn backward_weight(
        &self,
        level: Level,
        g: &Geometry,
        pairs: &[MapPair<'_, f32>],
        gw: &mut [f32],
        accum: Accum,
    ) {
        strided::backward_weight(level, g, pairs, gw, accum);
    }
}
