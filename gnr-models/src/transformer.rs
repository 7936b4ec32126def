//! The two halves of a transformer block: self-attention and the perceptron between its layers.

use gnr_nn::{
    Backend, Context, Result, Scope, Unary,
    layers::{Dropout, Linear},
};

/// `proj(attention(qkv(x)))`. Tensors: `qkv` `[3·D, D]`, `proj` `[D, D]`, both with bias.
#[derive(Clone, Debug)]
pub(crate) struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
    pub(crate) dropout: Dropout,
}

impl SelfAttention {
    pub(crate) fn new(scope: &mut Scope<'_>, width: usize, heads: usize) -> Self {
        let qkv = Linear::normal(&mut scope.enter("qkv"), width, 3 * width);
        let proj = Linear::normal(&mut scope.enter("proj"), width, width);
        Self { qkv, proj, heads, dropout: Dropout::default() }
    }
    /// Attends over the tokens of x `[N, T, D]`; the bias is that of
    /// [`Attention::attention`](gnr_nn::Attention::attention).
    pub(crate) fn forward<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        bias: Option<&B::Tensor>,
    ) -> Result<B::Tensor> {
        let qkv = by_rows(cx.backend, x, |rows| self.qkv.forward(cx, rows))?;
        let y = cx.backend.attention(&qkv, self.heads, bias)?;
        let y = by_rows(cx.backend, &y, |rows| self.proj.forward(cx, rows))?;
        self.dropout.forward(cx, &y)
    }
}

/// Computes `second(GELU(first(x)))` for each token.
#[derive(Clone, Debug)]
pub(crate) struct FeedForward {
    first: Linear,
    second: Linear,
    pub(crate) dropout: Dropout,
}

impl FeedForward {
    /// Declares the two layers under these names.
    pub(crate) fn new(
        scope: &mut Scope<'_>,
        [first, second]: [&str; 2],
        width: usize,
        hidden: usize,
    ) -> Self {
        Self {
            first: Linear::normal(&mut scope.enter(first), width, hidden),
            second: Linear::normal(&mut scope.enter(second), hidden, width),
            dropout: Dropout::default(),
        }
    }
    pub(crate) fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let hidden = by_rows(cx.backend, x, |rows| self.first.forward(cx, rows))?;
        let hidden = cx.backend.unary(Unary::Gelu, &hidden)?;
        let hidden = self.dropout.forward(cx, &hidden)?;
        let y = by_rows(cx.backend, &hidden, |rows| self.second.forward(cx, rows))?;
        self.dropout.forward(cx, &y)
    }
}

/// Applies a map of rows to the last axis of `[N, T, I]`.
pub(crate) fn by_rows<B: Backend>(
    b: &B,
    x: &B::Tensor,
    f: impl FnOnce(&B::Tensor) -> Result<B::Tensor>,
) -> Result<B::Tensor> {
    let mut shape = b.shape(x).to_vec();
    let width = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().product::<usize>() / width.max(1);
    let y = f(&b.reshape(x, &[rows, width])?)?;
    if let (Some(last), Some(&width)) = (shape.last_mut(), b.shape(&y).last()) {
        *last = width;
    }
    b.reshape(&y, &shape)
}
