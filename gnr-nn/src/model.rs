//! A model is a plain value: it knows its tensors and how to run on any backend.

use crate::{Backend, Context, Layout, Result};

/// An image classifier, written once for every backend, dual numbers included.
pub trait Model {
    /// Its tensors: names, shapes, initialisers.
    fn layout(&self) -> &Layout;
    /// Logits `[N, classes]` of images `[N, C, H, W]`.
    ///
    /// Must not branch on data or random state: Hessian-vector products run the same code again and pair operations up
    /// by their order. Random masks come from [`Context::mask`], which gives every evaluation of a step the same ones.
    ///
    /// # Errors
    /// Shape mismatches or a failure of the backend.
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor>;
    /// Everything before the [head](Layout::head): what [`classify`](Self::classify) takes. `None`, the default, for a
    /// model that cannot be cut there; training its head alone then runs the whole model for every evaluation.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), which must be `classify` of this.
    fn embed<B: Backend>(&self, _cx: &mut Context<'_, B>, _x: &B::Tensor) -> Result<Option<B::Tensor>> {
        Ok(None)
    }
    /// Logits of what [`embed`](Self::embed) gave.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); the default has no `embed` to follow.
    fn classify<B: Backend>(&self, _cx: &mut Context<'_, B>, _features: &B::Tensor) -> Result<B::Tensor> {
        Err(crate::Error::Invalid("this model is not cut before its head".into()))
    }
}

impl<M: Model> Model for &M {
    fn layout(&self) -> &Layout {
        (**self).layout()
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        (**self).forward(cx, x)
    }
    fn embed<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<Option<B::Tensor>> {
        (**self).embed(cx, x)
    }
    fn classify<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
        (**self).classify(cx, features)
    }
}
