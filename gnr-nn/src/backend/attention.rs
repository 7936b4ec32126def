//! Softmax and multi-head attention in primitives.

use super::{Arithmetic, Duals, arithmetic::Unary};
use crate::{Dual, Error, Result};

/// Multi-head attention with its derivatives; by default in primitives.
pub trait Attention: Arithmetic {
    /// Scaled dot-product attention of every head, `[N, T, 3·D]` → `[N, T, D]`. qkv holds queries, keys and values,
    /// each head-major. Scores are q·k/√(D/heads); the bias `[G, heads, T, T]` has index n mod G for sample n.
    fn attention(
        &self,
        qkv: &Self::Tensor,
        heads: usize,
        bias: Option<&Self::Tensor>,
    ) -> Result<Self::Tensor> {
        attention(self, qkv, heads, bias)
    }
    /// Multi-head [`attention`](Self::attention) on dual numbers.
    fn attention_dual(
        &self,
        qkv: &Dual<Self::Tensor>,
        heads: usize,
        bias: Option<&Dual<Self::Tensor>>,
    ) -> Result<Dual<Self::Tensor>> {
        attention(&Duals(self.clone()), qkv, heads, bias)
    }
}

impl<B: Attention> Attention for Duals<B> {
    fn attention(
        &self,
        qkv: &Self::Tensor,
        heads: usize,
        bias: Option<&Self::Tensor>,
    ) -> Result<Self::Tensor> {
        self.0.attention_dual(qkv, heads, bias)
    }
}

/// Softmax over the last axis, shifted by the row's maximum so that it cannot overflow.
///
/// # Errors
/// The errors of the primitives.
pub fn softmax<B: Arithmetic>(b: &B, x: &B::Tensor) -> Result<B::Tensor> {
    let shape = b.shape(x).to_vec();
    let last = shape.len().saturating_sub(1);
    let powers = b.unary(Unary::Exp, &b.sub(x, &b.broadcast(&b.max_last(x)?, &shape)?)?)?;
    let total = b.unary(Unary::Recip, &b.sum(&powers, &[last])?)?;
    b.mul(&powers, &b.broadcast(&total, &shape)?)
}

/// The sizes of an attention; every implementation starts with [`AttentionShape::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Number N of samples.
    pub samples: usize,
    /// Number T of tokens of a sample.
    pub tokens: usize,
    /// Number of heads, a divisor of D.
    pub heads: usize,
    /// Width of a head: D = heads·width.
    pub width: usize,
    /// Number G of biases; 0 without a bias.
    pub biases: usize,
}

impl AttentionShape {
    /// Reads the sizes off qkv `[N, T, 3·D]` and the bias `[G, heads, T, T]`.
    ///
    /// # Errors
    /// When the heads do not divide D, or the shapes do not go together.
    pub fn new(qkv: &[usize], heads: usize, bias: Option<&[usize]>) -> Result<Self> {
        let invalid = || Error::InvalidShape {
            op: "attention",
            expected: format!("[N, T, 3·D] with at least one element and D a multiple of {heads} heads"),
            found: qkv.to_vec(),
        };
        let &[samples, tokens, width] = qkv else { return Err(invalid()) };
        if heads == 0 || samples * tokens * width == 0 || width % (3 * heads) != 0 {
            return Err(invalid());
        }
        let biases = match bias {
            None => 0,
            Some(&[biases, h, t, t2]) if biases > 0 && [h, t, t2] == [heads, tokens, tokens] => biases,
            Some(bias) => {
                let (lhs, rhs) = (qkv.to_vec(), bias.to_vec());
                return Err(Error::ShapeMismatch { op: "attention", lhs, rhs });
            }
        };
        Ok(Self { samples, tokens, heads, width: width / (3 * heads), biases })
    }
    /// The width D of the model, heads·width.
    pub fn model_width(&self) -> usize {
        self.heads * self.width
    }
    /// The factor 1/√width of the scores.
    pub fn scale(&self) -> f64 {
        (self.width as f64).sqrt().recip()
    }
}

/// Composes [`Attention::attention`] of primitives.
///
/// # Errors
/// The errors of [`AttentionShape::new`].
///
/// # References
/// Vaswani et al., NeurIPS 2017, equation (1); with a bias Liu et al., ICCV 2021, equation (4).
pub fn attention<B: Arithmetic>(
    b: &B,
    qkv: &B::Tensor,
    heads: usize,
    bias: Option<&B::Tensor>,
) -> Result<B::Tensor> {
    let shape = AttentionShape::new(b.shape(qkv), heads, bias.map(|bias| b.shape(bias)))?;
    let AttentionShape { samples: n, tokens: t, width: d, biases, .. } = shape;
    let parts = b.permute(&b.reshape(qkv, &[n, t, 3, heads, d])?, &[2, 0, 3, 1, 4])?;
    let part = |which| b.reshape(&b.gather(&parts, 0, &[Some(which)])?, &[n * heads, t, d]);
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let q = b.affine(&q, shape.scale(), 0.0)?;
    let mut scores = b.matmul(&q, &b.permute(&k, &[0, 2, 1])?)?;
    if let Some(bias) = bias {
        let of_sample: Vec<_> = (0..n).map(|sample| Some(sample % biases)).collect();
        let bias = b.gather(&b.reshape(bias, &[biases, heads * t * t])?, 0, &of_sample)?;
        scores = b.add(&scores, &b.reshape(&bias, &[n * heads, t, t])?)?;
    }
    let y = b.matmul(&softmax(b, &scores)?, &v)?;
    let y = b.permute(&b.reshape(&y, &[n, heads, t, d])?, &[0, 2, 1, 3])?;
    b.reshape(&y, &[n, t, heads * d])
}
