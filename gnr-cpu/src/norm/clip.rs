//! A normalisation followed by nothing, ReLU or ReLU6.
//!
//! The output is recomputed by a pass over x, which is held anyway, and over the residual if there is one. So the
//! output is lazy: kernels produce it piece by piece where they read it. The recorded adjoint is the masked one.

use std::{rc::Rc, sync::Arc};

use gnr_kernels::{
    buffer::Buf,
    elem::Elem,
    norm::{self, Affine, Last, Maps, Mask, Stats},
    norm_producers::{NormInputAdjoint, NormOutput, NormTangent, TangentMask},
};
use gnr_nn::{Arithmetic, Dual, Result};

use super::{
    Cpu, Extra, Normalised, Operands, Peers, Replay, Replayed, Tensor, add_per_channel, name, target,
};
use crate::value::Recompute;

/// Number of channels from which on a residual is recomputed too. Recomputing then costs little beside the convolutions
/// that read the output: their work per element grows with the channels, that of a pass over memory does not.
const MANY_CHANNELS: usize = 64;

/// How the values `added` to a normalisation are recomputed: `Some(None)` if there are none, `None` if they must be in
/// memory.
fn recomputed_before<E: Elem>(maps: Maps, added: Option<&Tensor<E>>) -> Option<Option<Recompute<E>>> {
    match added {
        Some(added) => added.recompute().filter(|_| maps.c >= MANY_CHANNELS).cloned().map(Some),
        None => Some(None),
    }
}

/// The mask of a clip: by bits if they are recorded, else by the normalisation's input.
fn mask<'a, E: Elem>(
    last: Last<E>,
    normalised: &'a Normalised,
    x: &'a [E],
    affine: &'a Affine<E>,
) -> Option<Mask<'a, E>> {
    match (last, normalised.bits()) {
        (Last::Clip(_), Some(bits)) => Some(Mask::Bits(bits)),
        (Last::Clip(top), None) => Some(Mask::Input { of: x, affine, top }),
        _ => None,
    }
}

impl<E: Elem> Cpu<E>
where
    Self: Arithmetic<Tensor = Tensor<E>>,
{
    pub(super) fn normalise_clip(
        &self,
        maps: Maps,
        operands: Operands<&Tensor<E>>,
        (stats, peers): (Stats, Peers),
        last: Last<E>,
    ) -> Result<Tensor<E>> {
        let Operands { x, scale, shift, residual } = operands;
        let affine = Arc::new(operands.affine(&stats));
        let recompute = recomputed_before(maps, residual).and_then(|before| {
            let (x, affine) = (Arc::clone(x.data()), Arc::clone(&affine));
            Recompute::streamed(maps.hw, before, |residual| NormOutput { maps, x, affine, residual, last })
        });
        let y = match recompute {
            Some(recompute) if recompute.is_light() => Tensor::lazy(recompute, &x.shape),
            recompute => Tensor::new(operands.apply(maps, &affine, last), &x.shape).recomputable(recompute),
        };
        let bits = match last {
            Last::Clip(top)
                if residual.is_some() && operands.all().iter().any(|operand| operand.is_tracked()) =>
            {
                Some(Arc::new(norm::clip_bits(maps, y.data(), top)))
            }
            _ => None,
        };
        let op = name(stats.source);
        let normalised = Normalised::new((stats, peers), bits);
        let recorded = Rc::clone(&normalised);
        let (x, scale) = (x.clone(), scale.clone());
        let (to_shift, to_residual) = (shift.target(), target(residual));
        self.nonlinear_op(
            op,
            y,
            &operands.all(),
            || Extra::Norm(recorded),
            move |_, mut g, saved| {
                let (stats, to_x) = (&normalised.stats, x.target());
                let mask = mask(last, &normalised, x.data(), &affine);
                let sums = normalised.peers.sums(norm::backward_sums(maps, &mut g, x.data(), stats, mask));
                add_per_channel(&scale.target(), &sums.own.gamma);
                add_per_channel(&to_shift, &sums.own.beta);
                let input = |a: &[E], out: &mut [E], accum| {
                    norm::backward_input(maps, a, x.data(), stats, scale.data(), sums.of_batch(), out, accum);
                };
                let Some(saved) = saved else {
                    to_x.write(|out, accum| input(&g, out, accum));
                    to_residual.add(g);
                    return None;
                };
                // The record retains the masked adjoint. That of x follows from it, so a convolution that computed x
                // need not hold its own.
                let masked = Arc::new(g);
                let recompute = || {
                    let values = [Arc::clone(&masked), Arc::clone(x.data())];
                    Recompute::streamed(maps.hw, None, |_| {
                        NormInputAdjoint::new(maps, values, stats, scale.data(), sums.of_batch())
                    })
                };
                to_x.write_recomputable(Some(&saved.id), recompute, |out, accum| {
                    input(&masked, out, accum);
                });
                *normalised.sums.borrow_mut() = Some(sums);
                to_residual.add_copy(&masked);
                Some(masked)
            },
        )
    }
}

/// Returns the output as a dual number, and puts the reverse step of the replay on the tape.
pub(super) fn replay<E: Elem>(
    replayed: Replayed<E>,
    replay: Replay<E>,
    operands: Operands<Dual<&Tensor<E>>>,
    last: Last<E>,
) -> Result<Dual<Tensor<E>>> {
    let maps = replay.maps;
    // The residual is available here. The record's `recompute` would recompute it first.
    let recomputable = operands.residual.filter(|residual| residual.primal.recompute().is_some());
    let computed =
        recomputable.map(|_| operands.map(|operand| operand.primal).apply(maps, &replay.affine, last));
    let residual_tangent = operands.residual.and_then(|residual| residual.tangent);
    let before = recomputed_before(maps, residual_tangent).filter(|_| replay.moves);
    let recompute = before.and_then(|before| {
        let values =
            (Arc::clone(replay.x.primal.data()), replay.x.tangent.as_ref().map(|t| Arc::clone(t.data())));
        let mask = match (last, &replay.normalised.bits) {
            (Last::Clip(_), Some(bits)) => TangentMask::Bits(Arc::clone(bits)),
            (Last::Clip(top), None) => TangentMask::Input(Arc::clone(&replay.affine), top),
            _ => TangentMask::Nothing,
        };
        let shift = replay.shift_tangent.as_ref().map(Tensor::as_slice);
        Recompute::streamed(maps.hw, before, |before| {
            NormTangent::new(maps, replay.at(), values, shift, before, mask)
        })
    });
    let shape = &operands.x.primal.shape;
    let tangent = match recompute {
        Some(recompute) if recompute.is_light() => Some(Tensor::lazy(recompute, shape)),
        recompute => replay.moves.then(|| {
            let mask = mask(last, &replay.normalised, replay.x.primal.data(), &replay.affine);
            Tensor::new(replay.tangent(residual_tangent, mask), shape).recomputable(recompute)
        }),
    };
    replayed.with_output(computed).finish_with(tangent, move |b, a| {
        let a: Option<Arc<Buf<E>>> = a.map(|a| a.get());
        let mask = mask(last, &replay.normalised, replay.x.primal.data(), &replay.affine);
        replay.step_back(a.as_ref().map(|a| &a[..]), b, mask);
    })
}
