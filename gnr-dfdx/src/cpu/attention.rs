//! Multi-head attention and its replay; the arithmetic is in [`kernels::attention`](super::kernels::attention).
//!
//! What is kept of the gradient pass are the probabilities; P̄ is computed again in the replay. Without derivatives nothing is kept.

use std::sync::Arc;

use gnr_nn::{Dual, Duals, Result, composed, composed::AttentionShape};

use super::{
    Cpu,
    adjoints::{Adjoints, DeviceError, Target},
    again::{Again, Maker},
    buffer::Buf,
    kernels::{
        attention::{self, Adjoint, Moving},
        elem::Elem,
    },
    session::Extra,
    tensor::Tensor,
};

/// Lets a kernel write into the adjoints of qkv and bias at once; `again` makes that of qkv by itself, and the replay of `maker` makes it
/// along the way.
fn write<E: Elem>(
    adjoints: &mut Adjoints<E>,
    qkv: &Option<Target<E>>,
    bias: &Option<Target<E>>,
    again: Option<(impl Fn(&mut [E]) + 'static, &Maker)>,
    kernel: impl FnOnce(Adjoint<'_, E>),
) -> Result<(), DeviceError> {
    // One adjoint is taken out while the other is written: the two are borrowed from one table.
    let mut of_bias = adjoints.take_for(bias)?;
    let mut kernel = Some(kernel);
    let mut run = |of_qkv: Option<(&mut [E], bool)>| {
        let bias = of_bias.as_mut().map(|(buffer, more)| (&mut buffer[..], *more));
        if let Some(kernel) = kernel.take() {
            kernel(Adjoint { qkv: of_qkv, bias, first: None });
        }
    };
    match again {
        Some((again, maker)) => {
            let len = qkv.as_ref().map_or(0, |qkv| qkv.len);
            let again = move || {
                let mut out = Buf::new(len);
                again(&mut out);
                out
            };
            let again = || Some(Again::new(again));
            adjoints.write_again(qkv, Some(maker), again, |out, more| run(Some((out, more))))?;
        }
        None => adjoints.write(qkv, |out, more| run(Some((out, more))))?,
    }
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
            move |_, g, saved, adjoints| {
                let g = Arc::new(g);
                // The adjoint of qkv is three times as large as this one, which is kept, and cheap beside the layer that made qkv.
                let again = saved.map(|saved| {
                    let (g, qkv, p) = (Arc::clone(&g), Arc::clone(qkv_.data()), Arc::clone(&probabilities));
                    let again = move |out: &mut [E]| {
                        let to = Adjoint { qkv: Some((out, false)), bias: None, first: None };
                        attention::backward(shape, &qkv, &p, &g, to);
                    };
                    (again, &saved.maker)
                });
                write(adjoints, &qkv_.target(), &to_bias, again, |to| {
                    attention::backward(shape, qkv_.data(), &probabilities, &g, to);
                })?;
                Ok(Some(g))
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
        let maker = replayed.maker();
        let (qkv, to_bias) = (qkv.cloned(), bias.and_then(|bias| bias.primal.target()));
        replayed.finish(tangent, move |second, first, adjoints| {
            let to_qkv = qkv.primal.target();
            // Only the second term makes it.
            let mut made = (first.as_ref().zip(probabilities_t.as_ref()))
                .and_then(|_| adjoints.buffer_for_first(&to_qkv, &maker));
            let none = None::<(fn(&mut [E]), &Maker)>;
            write(adjoints, &to_qkv, &to_bias, none, |to| {
                match (first, &probabilities_t, &second) {
                    (Some(a), Some(probabilities_t), b) => {
                        let at = Moving {
                            qkv: qkv.primal.data(),
                            qkv_t: qkv.tangent.as_ref().map(Tensor::as_slice),
                            probabilities: &probabilities,
                            probabilities_t,
                        };
                        let to = Adjoint { first: made.as_deref_mut(), ..to };
                        attention::second(shape, at, a, b.as_deref(), to);
                    }
                    // Nothing moves, or the loss did not depend on y: there is no second term.
                    (_, _, Some(b)) => attention::backward(shape, qkv.primal.data(), &probabilities, b, to),
                    (_, _, None) => to.zero(),
                }
            })?;
            adjoints.give_first(&to_qkv, made);
            Ok(())
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
