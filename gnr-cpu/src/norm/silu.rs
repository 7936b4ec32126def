//! A normalisation followed by SiLU. The SiLU's input u is recomputed, and the recorded adjoint is that of the SiLU's
//! output.

use std::{rc::Rc, sync::Arc};

use gnr_kernels::{
    buffer::Buf,
    elem::Elem,
    elementwise,
    norm::{self, Last, Maps, Stats},
    norm_silu::Point,
};
use gnr_nn::{Arithmetic, Dual, Result};

use super::{
    Cpu, Extra, Normalised, Operands, Peers, Replay, Replayed, Tensor, add_per_channel, name, target,
};

impl<E: Elem> Cpu<E>
where
    Self: Arithmetic<Tensor = Tensor<E>>,
{
    pub(super) fn normalise_silu(
        &self,
        maps: Maps,
        operands: Operands<&Tensor<E>>,
        (stats, peers): (Stats, Peers),
    ) -> Result<Tensor<E>> {
        let affine = operands.affine(&stats);
        let Operands { x, scale, shift, residual } = operands;
        let y = Tensor::new(operands.apply(maps, &affine, Last::Silu), &x.shape);
        let op = name(stats.source);
        let normalised = Normalised::new((stats, peers), None);
        let recorded = Rc::clone(&normalised);
        let (x, scale) = (x.clone(), scale.clone());
        let (to_shift, to_residual) = (shift.target(), target(residual));
        let residual = residual.map(Tensor::detached);
        self.nonlinear_op(
            op,
            y,
            &operands.all(),
            || Extra::Norm(recorded),
            move |y, mut g, saved| {
                let of_output = saved.map(|_| g.clone());
                let (y, residual) = (y.get(), residual.as_ref().map(Tensor::as_slice));
                Point { maps, x: x.data(), affine: &affine, residual, y: &y }.first(&mut g);
                let stats = &normalised.stats;
                let sums = normalised.peers.sums(norm::backward_sums(maps, &mut g, x.data(), stats, None));
                add_per_channel(&scale.target(), &sums.own.gamma);
                add_per_channel(&to_shift, &sums.own.beta);
                x.target().write(|out, accum| {
                    norm::backward_input(
                        maps,
                        &g,
                        x.data(),
                        stats,
                        scale.data(),
                        sums.of_batch(),
                        out,
                        accum,
                    );
                });
                to_residual.add(g);
                *normalised.sums.borrow_mut() = saved.map(|_| sums);
                of_output.map(Arc::new)
            },
        )
    }
}

/// The operands of the SiLU's derivatives that the normalisation itself does not have.
struct Activation<E: Elem> {
    residual: Option<Tensor<E>>,
    y: Arc<Buf<E>>,
}

impl<E: Elem> Activation<E> {
    fn at<'a>(&'a self, replay: &'a Replay<E>) -> Point<'a, E> {
        let residual = self.residual.as_ref().map(Tensor::as_slice);
        Point { maps: replay.maps, x: replay.x.primal.data(), affine: &replay.affine, residual, y: &self.y }
    }
}

/// Returns the output as a dual number, and puts the reverse step of the replay on the tape.
pub(super) fn replay<E: Elem>(
    replayed: Replayed<E>,
    replay: Replay<E>,
    operands: Operands<Dual<&Tensor<E>>>,
) -> Result<Dual<Tensor<E>>> {
    let y = replayed.output();
    let residual = operands.residual.map(|residual| residual.primal.detached());
    let residual_tangent = operands.residual.and_then(|residual| residual.tangent).cloned();
    let activation = Activation { residual, y };
    let tangent = replay.moves.then(|| {
        let mut tangent = replay.tangent(residual_tangent.as_ref(), None);
        activation.at(&replay).first(&mut tangent);
        Tensor::new(tangent, &operands.x.primal.shape)
    });
    replayed.finish_with(tangent, move |mut b, a| {
        // From the adjoints of y and ẏ to those of u and u̇.
        let point = activation.at(&replay);
        if let Some(b) = &mut b {
            point.first(b);
        }
        let of_input = a.map(|a| {
            let a = a.get();
            let mut first: Buf<E> = (*a).clone();
            point.first(&mut first);
            if replay.moves {
                let mut second = replay.tangent(residual_tangent.as_ref(), None);
                point.second(&mut second, &a);
                match &mut b {
                    Some(b) => elementwise::add_assign(b, &second),
                    None => b = Some(second),
                }
            }
            first
        });
        replay.step_back(of_input.as_deref(), b, None);
    })
}
