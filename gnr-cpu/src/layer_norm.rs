//! Layer normalisation and its replay; the arithmetic is in [`kernels::layer_norm`](gnr_kernels::layer_norm).

use std::sync::Arc;

use gnr_nn::{Backend, Dual, Duals, Result, composed};

use gnr_kernels::{
    Accum,
    buffer::Buf,
    elem::Elem,
    layer_norm::{self, Along, Point},
};

use super::{Cpu, norm::add_per_channel, session::Extra, tensor::Tensor, value::Recompute};

impl<E: Elem> Cpu<E>
where
    Self: Backend<Tensor = Tensor<E>>,
{
    pub(super) fn layer_norm_op(
        &self,
        x: &Tensor<E>,
        scale: &Tensor<E>,
        shift: &Tensor<E>,
        eps: f64,
    ) -> Result<Tensor<E>> {
        let (rows, _) = composed::check_rows("layer_norm", &x.shape, &[&scale.shape, &shift.shape])?;
        let (mut y, mut stats) = (Buf::new(x.len()), Buf::new(2 * rows));
        layer_norm::forward(x.data(), scale.data(), shift.data(), eps, &mut y, &mut stats);
        let stats = Arc::new(stats);
        let recorded = Arc::clone(&stats);
        let recompute = recompute_output([x, scale, shift], eps);
        let (x_, scale_, to_shift) = (x.clone(), scale.clone(), shift.target());
        self.nonlinear_op(
            "layer_norm",
            Tensor::new(y, &x.shape).recomputable(Some(recompute)),
            &[x, scale, shift],
            || Extra::Values(recorded),
            move |_, g, _| {
                let at = Point { x: x_.data(), stats: &stats, gamma: scale_.data() };
                let mut sums = None;
                x_.target().write(|out, accum| {
                    sums = Some(layer_norm::backward(at, &g, Some(out), accum));
                });
                let sums = sums.unwrap_or_else(|| layer_norm::backward(at, &g, None, Accum::Replace));
                add_per_channel(&scale_.target(), &sums.gamma);
                add_per_channel(&to_shift, &sums.beta);
                Some(g.into())
            },
        )
    }

    pub(super) fn layer_norm_dual_op(
        &self,
        x: &Dual<Tensor<E>>,
        scale: &Dual<Tensor<E>>,
        shift: &Dual<Tensor<E>>,
        eps: f64,
    ) -> Result<Dual<Tensor<E>>> {
        let (x_shape, vectors) = (&x.primal.shape, [&scale.primal.shape[..], &shift.primal.shape]);
        composed::check_rows("layer_norm", x_shape, &vectors)?;
        let Some(replayed) =
            self.replayed("layer_norm", x_shape, &[x.as_ref(), scale.as_ref(), shift.as_ref()])?
        else {
            return composed::layer_norm(&Duals(self.clone()), x, scale, shift, eps);
        };
        let (x, scale, shift) = (x.as_ref(), scale.as_ref(), shift.as_ref());
        let Extra::Values(stats) = replayed.extra() else { return Err(replayed.corrupt()) };
        let stats = Arc::clone(stats);
        let moves = [x, scale, shift].iter().any(|operand| operand.tangent.is_some());
        // The record's own recompute would hold the record's x beside that of this replay.
        let recompute = recompute_output([x.primal, scale.primal, shift.primal], eps);
        let to_shift = shift.primal.target();
        let shift_t = shift.tangent.cloned();
        let (x, scale) = (x.cloned(), scale.cloned());
        let tangent = moves.then(|| {
            let (x, scale, stats) = (x.clone(), scale.clone(), Arc::clone(&stats));
            Recompute::whole(move || {
                let mut out = Buf::new(x.primal.len());
                let at = Point { x: x.primal.data(), stats: &stats, gamma: scale.primal.data() };
                let shift_t = shift_t.as_ref().map(Tensor::as_slice);
                layer_norm::tangent(at, along(&x, &scale), shift_t, &mut out);
                out
            })
        });
        let y = replayed.finish_recomputable(tangent, move |second, first| {
            let at = Point { x: x.primal.data(), stats: &stats, gamma: scale.primal.data() };
            let b = second.as_deref();
            let run = |out: Option<&mut [E]>, accum| match (first, b) {
                (Some(a), b) => Some(layer_norm::second(at, along(&x, &scale), a, b, out, accum)),
                // The loss did not depend on y, so there is no second term.
                (None, Some(b)) => Some(layer_norm::backward(at, b, out, accum)),
                (None, None) => None,
            };
            let mut sums = None;
            x.primal.target().write(|out, accum| sums = run(Some(out), accum));
            let Some(sums) = sums.or_else(|| run(None, Accum::Replace)) else { return };
            add_per_channel(&scale.primal.target(), &sums.gamma);
            add_per_channel(&to_shift, &sums.beta);
        })?;
        Ok(Dual { primal: y.primal.recomputable(Some(recompute)), tangent: y.tangent })
    }
}

/// Recomputes the output by a pass over x, which is held anyway.
fn recompute_output<E: Elem>([x, scale, shift]: [&Tensor<E>; 3], eps: f64) -> Recompute<E> {
    let rows = x.len() / scale.len().max(1);
    let [x, scale, shift] = [x, scale, shift].map(|tensor| Arc::clone(tensor.data()));
    Recompute::whole(move || {
        let (mut y, mut stats) = (Buf::new(x.len()), Buf::new(2 * rows));
        layer_norm::forward(&x, &scale, &shift, eps, &mut y, &mut stats);
        y
    })
}

fn along<'t, E: Elem>(x: &'t Dual<Tensor<E>>, scale: &'t Dual<Tensor<E>>) -> Along<'t, E> {
    Along { x: x.tangent.as_ref().map(Tensor::as_slice), gamma: scale.tangent.as_ref().map(Tensor::as_slice) }
}
