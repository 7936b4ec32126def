//! Multi-head attention and its replay; the arithmetic is in [`kernels::attention`](super::kernels::attention).
//!
//! What is kept of the gradient pass are the probabilities; P̄ is computed again in the replay. Without derivatives nothing is kept.

use std::sync::Arc;

use gnr_nn::{Dual, Duals, Result, composed, composed::AttentionShape};

use super::{
    Cpu,
    adjoints::{Adjoints, DeviceError, Target},
    buffer::Buf,
    kernels::{
        attention::{self, Adjoint, Moving},
        elem::Elem,
    },
    session::Extra,
    tensor::Tensor,
};

/// Lets a kernel write into the adjoints of qkv and bias at once.
fn write<E: Elem>(
    adjoints: &mut Adjoints<E>,
    qkv: &Option<Target<E>>,
    bias: &Option<Target<E>>,
    kernel: impl FnOnce(Adjoint<'_, E>),
) -> Result<(), DeviceError> {
    // One adjoint is taken out while the other is written: the two are borrowed from one table.
    let mut of_bias = adjoints.take_for(bias)?;
    let mut kernel = Some(kernel);
    let mut run = |of_qkv: Option<(&mut [E], bool)>| {
        let bias = of_bias.as_mut().map(|(buffer, more)| (&mut buffer[..], *more));
        if let Some(kernel) = kernel.take() {
            kernel(Adjoint { qkv: of_qkv, bias });
        }
    };
    adjoints.write(qkv, |out, more| run(Some((out, more))))?;
    run(None);
    match of_bias {
        Some((buffer, _)) => adjoints.add(bias, buffer),
        None => Ok(()),
    }
}

impl<E: Elem> Cpu<E> {
    pub(super) fn attention_op(
        &self,
        qkv: &Tensor<E>,
        heads: usize,
        bias: Option<&Tensor<E>>,
    ) -> Result<Tensor<E>> {
        let shape = AttentionShape::new(&qkv.shape, heads, bias.map(|bias| &bias.shape[..]))?;
        let bias_ = bias.map(Tensor::as_slice);
        if !qkv.is_tracked() && !bias.is_some_and(Tensor::is_tracked) {
            let mut y = Buf::new(output(shape).iter().product());
            attention::forward(shape, qkv.data(), bias_, &mut y, None);
            return Ok(Tensor::new(y, &output(shape)));
        }
        let (mut y, mut probabilities) = buffers(shape);
        attention::forward(shape, qkv.data(), bias_, &mut y, Some(&mut probabilities));
        let probabilities = Arc::new(probabilities);
        let kept = Arc::clone(&probabilities);
        let operands: Vec<_> = [qkv].into_iter().chain(bias).collect();
        let (qkv_, to_bias) = (qkv.clone(), bias.and_then(Tensor::target));
        self.nonlinear_op(
            "attention",
            y,
            &output(shape),
            &operands,
            || Extra::Values(kept),
            move |_, g, _, adjoints| {
                write(adjoints, &qkv_.target(), &to_bias, |to| {
                    attention::backward(shape, qkv_.data(), &probabilities, &g, to);
                })?;
                Ok(Some(g.into()))
            },
        )
    }

    pub(super) fn attention_dual_op(
        &self,
        qkv: Dual<&Tensor<E>>,
        heads: usize,
        bias: Option<Dual<&Tensor<E>>>,
    ) -> Result<Dual<Tensor<E>>> {
        let shape = AttentionShape::new(&qkv.primal.shape, heads, bias.map(|bias| &bias.primal.shape[..]))?;
        let operands: Vec<_> = [qkv].into_iter().chain(bias).collect();
        let Some(replayed) = self.replayed("attention", &output(shape), &operands)? else {
            let bias = bias.map(Dual::cloned);
            return composed::attention(&Duals(self.clone()), &qkv.cloned(), heads, bias.as_ref());
        };
        let Extra::Values(probabilities) = replayed.extra() else { return Err(replayed.corrupt()) };
        let probabilities = Arc::clone(probabilities);
        let bias_t = bias.and_then(|bias| bias.tangent).map(Tensor::as_slice);
        let moved = (qkv.tangent.is_some() || bias_t.is_some()).then(|| {
            let (mut yt, mut probabilities_t) = buffers(shape);
            let qkv_t = qkv.tangent.map(Tensor::as_slice);
            attention::tangent(
                shape,
                qkv.primal.data(),
                qkv_t,
                bias_t,
                &probabilities,
                &mut yt,
                &mut probabilities_t,
            );
            (yt, probabilities_t)
        });
        let (tangent, probabilities_t) = moved.unzip();
        let (qkv, to_bias) = (qkv.cloned(), bias.and_then(|bias| bias.primal.target()));
        replayed.finish(tangent, move |second, first, adjoints| {
            write(adjoints, &qkv.primal.target(), &to_bias, |to| {
                match (first, &probabilities_t, &second) {
                    (Some(a), Some(probabilities_t), b) => {
                        let at = Moving {
                            qkv: qkv.primal.data(),
                            qkv_t: qkv.tangent.as_ref().map(Tensor::as_slice),
                            probabilities: &probabilities,
                            probabilities_t,
                        };
                        attention::second(shape, at, a, b.as_deref(), to);
                    }
                    // Nothing moves, or the loss did not depend on y: there is no second term.
                    (_, _, Some(b)) => attention::backward(shape, qkv.primal.data(), &probabilities, b, to),
                    (_, _, None) => to.zero(),
                }
            })
        })
    }
}

fn output(shape: AttentionShape) -> [usize; 3] {
    [shape.samples, shape.tokens, shape.model_width()]
}

/// For an output and for probabilities.
fn buffers<E: Elem>(shape: AttentionShape) -> (Buf<E>, Buf<E>) {
    let squares = shape.samples * shape.heads * shape.tokens * shape.tokens;
    (Buf::new(output(shape).iter().product()), Buf::new(squares))
}
