//! A model is a plain value: it knows its tensors and how to run on any backend.

use crate::{Backend, Context, Layout, Result};

/// An image classifier, written once for every backend, dual numbers included.
pub trait Model {
    /// Its tensors: names, shapes, initialisers.
    fn layout(&self) -> &Layout;
    /// Logits `[N, classes]` of images `[N, C, H, W]`.
    ///
    /// Must not branch on data or random state: Hessian-vector products run the same code again and pair operations up by
    /// their order. Random masks come from [`Context::mask`], which gives every evaluation of a step the same ones.
    ///
    /// # Errors
    /// Shape mismatches or a failure of the backend.
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor>;
}

impl<M: Model> Model for &M {
    fn layout(&self) -> &Layout {
        (**self).layout()
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        (**self).forward(cx, x)
    }
}
