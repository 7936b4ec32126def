//! Multi-head attention: the plain form is ATen's fused kernel, the dual computes the probabilities.

use gnr_nn::{Arithmetic, Attention, Dual, Result, composed::AttentionShape};
use tch::{TchError, Tensor};

use crate::tensor::{Torch, TorchTensor};

/// Queries, keys and values `[N, heads, T, width]` of qkv `[N, T, 3·D]`.
fn parts(qkv: &Tensor, shape: AttentionShape) -> Result<[Tensor; 3], TchError> {
    let AttentionShape { samples, tokens, heads, width, .. } = shape;
    let split = [samples, tokens, 3, heads, width].map(|length| length as i64);
    let parts = qkv.f_reshape(split.as_slice())?.f_permute([2_i64, 0, 3, 1, 4].as_slice())?;
    Ok([parts.f_select(0, 0)?, parts.f_select(0, 1)?, parts.f_select(0, 2)?])
}

/// Joins the heads: `[N, heads, T, width]` becomes `[N, T, D]`.
fn joined(y: &Tensor, shape: AttentionShape) -> Result<Tensor, TchError> {
    let all = [shape.samples, shape.tokens, shape.model_width()].map(|length| length as i64);
    y.f_transpose(1, 2)?.f_reshape(all.as_slice())
}

impl Torch {
    /// The bias of each sample.
    fn biases(&self, bias: &TorchTensor, shape: AttentionShape) -> Result<TorchTensor> {
        let of_sample: Vec<_> = (0..shape.samples).map(|sample| Some(sample % shape.biases)).collect();
        if shape.biases == 1 { Ok(bias.clone()) } else { self.gather(bias, 0, &of_sample) }
    }
}

impl Attention for Torch {
    fn attention(&self, qkv: &TorchTensor, heads: usize, bias: Option<&TorchTensor>) -> Result<TorchTensor> {
        let shape = AttentionShape::new(qkv.shape(), heads, bias.map(TorchTensor::shape))?;
        let bias = bias.map(|bias| self.biases(bias, shape)).transpose()?;
        let attend = || {
            let [q, k, v] = parts(&self.operand(qkv.t())?, shape)?;
            let bias = bias.as_ref().map(|bias| self.operand(bias.t())).transpose()?;
            let y = Tensor::f_scaled_dot_product_attention(
                &q,
                &k,
                &v,
                bias.as_ref(),
                0.0,
                false,
                shape.scale(),
                false,
            )?;
            joined(&self.result(y)?, shape)
        };
        self.new_tensor("attention", &[qkv], attend())
    }

    /// Ṗ = P⊙(Ṡ − Σ P⊙Ṡ) by rows, P the probabilities and S the scores; ẏ = Ṗ·v + P·v̇.
    fn attention_dual(
        &self,
        qkv: &Dual<TorchTensor>,
        heads: usize,
        bias: Option<&Dual<TorchTensor>>,
    ) -> Result<Dual<TorchTensor>> {
        let primal_bias = bias.map(|bias| &bias.primal);
        let shape = AttentionShape::new(qkv.primal.shape(), heads, primal_bias.map(TorchTensor::shape))?;
        let each = |bias: Option<&TorchTensor>| bias.map(|bias| self.biases(bias, shape)).transpose();
        let (bias, bias_t) = (each(primal_bias)?, each(bias.and_then(|bias| bias.tangent.as_ref()))?);
        if qkv.tangent.is_none() && bias_t.is_none() {
            return Ok(Dual::constant(self.attention(&qkv.primal, heads, primal_bias)?));
        }
        let kind = self.precision.kind();
        let attend = || -> Result<(Tensor, Option<Tensor>), TchError> {
            let [q, k, v] = parts(qkv.primal.t(), shape)?;
            let q = q.f_mul(&self.number(shape.scale())?)?;
            let mut scores = self.product(&q, &k.f_transpose(2, 3)?)?;
            if let Some(bias) = &bias {
                scores = scores.f_add(bias.t())?;
            }
            let p = scores.f_softmax(-1, kind)?;
            let y = joined(&self.product(&p, &v)?, shape)?;
            let mut scores_t = bias_t.as_ref().map(|bias| bias.t().shallow_clone());
            let mut values_t = None;
            if let Some(tangent) = &qkv.tangent {
                let [q_t, k_t, v_t] = parts(tangent.t(), shape)?;
                let left = self.product(&q_t.f_mul(&self.number(shape.scale())?)?, &k.f_transpose(2, 3)?)?;
                let moved = left.f_add(&self.product(&q, &k_t.f_transpose(2, 3)?)?)?;
                scores_t = Some(match scores_t {
                    Some(bias) => moved.f_add(&bias)?,
                    None => moved,
                });
                values_t = Some(self.product(&p, &v_t)?);
            }
            let Some(scores_t) = scores_t else { return Ok((y, None)) };
            let weighted = p.f_mul(&scores_t)?;
            let p_t = weighted.f_sub(&p.f_mul(&weighted.f_sum_dim_intlist(
                [-1_i64].as_slice(),
                true,
                kind,
            )?)?)?;
            let mut y_t = self.product(&p_t, &v)?;
            if let Some(values) = values_t {
                y_t = y_t.f_add(&values)?;
            }
            Ok((y, Some(joined(&y_t, shape)?)))
        };
        let (y, y_t) = self.checked("attention", &[&qkv.primal], attend())?;
        Ok(Dual { primal: TorchTensor::sharing(y), tangent: y_t.map(TorchTensor::sharing) })
    }
}
