//! Multi-head attention and its replay; the arithmetic is in [`kernels::attention`](gnr_kernels::attention).
//!
//! The record of a gradient pass holds the probabilities. The replay recomputes their adjoint P̄. Without derivatives
//! nothing is held.

use gnr_kernels::Accum;
use std::sync::Arc;

use gnr_macros::each_precision;
use gnr_nn::{Attention, Dual, Duals, Result, composed, composed::AttentionShape};

use gnr_kernels::{
    attention::{self, Adjoint, Moving, Shape},
    buffer::Buf,
    elem::Elem,
};

use super::{
    Cpu,
    adjoints::Target,
    session::Extra,
    tensor::Tensor,
    value::{OpId, Recompute},
};

/// Lets a kernel write the adjoints of qkv and bias in one call. `recompute` computes the adjoint of qkv alone; the
/// replay of the operation computes it as a by-product.
fn write<E: Elem>(
    qkv: &Target<E>,
    bias: &Target<E>,
    recompute: Option<(impl Fn(&mut [E]) + 'static, &OpId)>,
    kernel: impl FnOnce(Adjoint<'_, E>),
) {
    // The bias may be the same tensor as qkv, so its adjoint is taken away while the other is written.
    let mut of_bias = bias.take();
    let mut kernel = Some(kernel);
    let mut run = |of_qkv: Option<(&mut [E], Accum)>| {
        let bias = of_bias.as_mut().map(|(buffer, accum)| (&mut buffer[..], *accum));
        if let Some(kernel) = kernel.take() {
            kernel(Adjoint { qkv: of_qkv, bias, first: None });
        }
    };
    match recompute {
        Some((recompute, id)) => {
            let len = qkv.len();
            let recompute = move || {
                let mut out = Buf::new(len);
                recompute(&mut out);
                out
            };
            let recompute = || Some(Recompute::whole(recompute));
            qkv.write_recomputable(Some(id), recompute, |out, accum| run(Some((out, accum))));
        }
        None => qkv.write(|out, accum| run(Some((out, accum)))),
    }
    run(None);
    if let Some((buffer, _)) = of_bias {
        bias.add(buffer);
    }
}

/// Checks the shapes and returns the sizes for the kernels.
fn sizes<E: Elem>(qkv: &Tensor<E>, heads: usize, bias: Option<&Tensor<E>>) -> Result<Shape> {
    let AttentionShape { samples, tokens, heads, width, biases } =
        AttentionShape::new(&qkv.shape, heads, bias.map(|bias| &bias.shape[..]))?;
    Ok(Shape { samples, tokens, heads, width, biases })
}

/// The target of an optional operand.
fn target<E: Elem>(tensor: Option<&Tensor<E>>) -> Target<E> {
    tensor.map_or_else(|| Target::new(None, 0), Tensor::target)
}

#[each_precision]
impl Attention for Cpu<E> {
    fn attention(&self, qkv: &Tensor<E>, heads: usize, bias: Option<&Tensor<E>>) -> Result<Tensor<E>> {
        let shape = sizes(qkv, heads, bias)?;
        let bias_ = bias.map(Tensor::as_slice);
        if !qkv.is_tracked() && !bias.is_some_and(Tensor::is_tracked) {
            let mut y = Buf::new(output(shape).iter().product());
            attention::forward(shape, qkv.data(), bias_, &mut y, None);
            return Ok(Tensor::new(y, &output(shape)));
        }
        let (mut y, mut probabilities) = buffers(shape);
        attention::forward(shape, qkv.data(), bias_, &mut y, Some(&mut probabilities));
        let probabilities = Arc::new(probabilities);
        let recorded = Arc::clone(&probabilities);
        let operands: Vec<_> = [qkv].into_iter().chain(bias).collect();
        let (qkv_, to_bias) = (qkv.clone(), target(bias));
        self.nonlinear_op(
            "attention",
            Tensor::new(y, &output(shape)),
            &operands,
            || Extra::Values(recorded),
            move |_, g, saved| {
                let g = Arc::new(g);
                // The adjoint of qkv is three times as large as this one, which is retained. Recomputing it is cheap
                // beside the layer that computed qkv.
                let recompute = saved.map(|saved| {
                    let (g, qkv, p) = (Arc::clone(&g), Arc::clone(qkv_.data()), Arc::clone(&probabilities));
                    let recompute = move |out: &mut [E]| {
                        let to = Adjoint { qkv: Some((out, Accum::Replace)), bias: None, first: None };
                        attention::backward(shape, &qkv, &p, &g, to);
                    };
                    (recompute, &saved.id)
                });
                write(&qkv_.target(), &to_bias, recompute, |to| {
                    attention::backward(shape, qkv_.data(), &probabilities, &g, to);
                });
                Some(g)
            },
        )
    }

    fn attention_dual(
        &self,
        qkv: &Dual<Tensor<E>>,
        heads: usize,
        bias: Option<&Dual<Tensor<E>>>,
    ) -> Result<Dual<Tensor<E>>> {
        let shape = sizes(&qkv.primal, heads, bias.map(|bias| &bias.primal))?;
        let operands: Vec<_> = [qkv].into_iter().chain(bias).map(Dual::as_ref).collect();
        let Some(replayed) = self.replayed("attention", &output(shape), &operands)? else {
            return composed::attention(&Duals(self.clone()), qkv, heads, bias);
        };
        let (qkv, bias) = (qkv.as_ref(), bias.map(Dual::as_ref));
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
        let id = replayed.id();
        let (qkv, to_bias) = (qkv.cloned(), target(bias.map(|bias| bias.primal)));
        replayed.finish(tangent, move |second, first| {
            let to_qkv = qkv.primal.target();
            // Only the kernel of the second term computes the by-product.
            let mut by_product =
                (first.as_ref().zip(probabilities_t.as_ref())).and_then(|_| to_qkv.by_product_buffer(&id));
            let none = None::<(fn(&mut [E]), &OpId)>;
            write(&to_qkv, &to_bias, none, |to| {
                match (first, &probabilities_t, &second) {
                    (Some(a), Some(probabilities_t), b) => {
                        let at = Moving {
                            qkv: qkv.primal.data(),
                            qkv_t: qkv.tangent.as_ref().map(Tensor::as_slice),
                            probabilities: &probabilities,
                            probabilities_t,
                        };
                        let to = Adjoint { first: by_product.as_deref_mut(), ..to };
                        attention::second(shape, at, a, b.as_deref(), to);
                    }
                    // Without a tangent, or if the loss did not depend on y, there is no second term.
                    (_, _, Some(b)) => attention::backward(shape, qkv.primal.data(), &probabilities, b, to),
                    (_, _, None) => to.zero(),
                }
            });
            to_qkv.give_by_product(by_product);
        })
    }
}

fn output(shape: Shape) -> [usize; 3] {
    [shape.samples, shape.tokens, shape.model_width()]
}

/// Buffers for an output and for probabilities.
fn buffers<E: Elem>(shape: Shape) -> (Buf<E>, Buf<E>) {
    let squares = shape.samples * shape.heads * shape.tokens * shape.tokens;
    (Buf::new(output(shape).iter().product()), Buf::new(squares))
}
