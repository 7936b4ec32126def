//! A model is a plain value, which knows its tensors and how to run on any backend.

use crate::{Backend, Context, Layout, Result};

/// An image classifier, written once for every backend, dual numbers included.
pub trait Model {
    /// The model's tensors: names, shapes, initialisers.
    fn layout(&self) -> &Layout;
    /// Computes the logits `[N, classes]` of images `[N, C, H, W]`.
    ///
    /// The code must not branch on data or random state: Hessian-vector products run it again and match operations by
    /// their order. Random masks come from [`Context::mask`], which gives all evaluations of a step equal masks.
    ///
    /// # Errors
    /// Shape mismatches or a failure of the backend.
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor>;
    /// Runs everything before the [head](Layout::head); [`classify`](Self::classify) runs the rest. `None`, the
    /// default, is for a model that cannot be cut there: training its head alone then runs the whole model in every
    /// evaluation.
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward), which must equal `classify` of this output.
    fn embed<B: Backend>(&self, _cx: &mut Context<'_, B>, _x: &B::Tensor) -> Result<Option<B::Tensor>> {
        Ok(None)
    }
    /// Computes the logits from the output of [`embed`](Self::embed).
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward); always an error for a model without `embed`.
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
