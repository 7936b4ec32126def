//! Running statistics measured anew at a point that no training step has visited, such as an average of weights.

use crate::{
    Autodiff, Buffers, Context, Frozen, MaskSeed, Mode, Model, ParamVector, Result,
    passes::{check_buffers, check_point},
};

/// The statistics of BatchNorm at one point: the mean of those of several batches, each with equal weight.
///
/// The rule is that of PyTorch's `update_bn` (a momentum of `None`): batch n moves the statistics by 1/n of the way to
/// its own, so that nothing is left of the initial ones. After one batch they are its mean, and its variance with the
/// divisor N·H·W − 1. A frozen layer's statistics stay unchanged.
///
/// # References
/// Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018, Section 3.2.
#[derive(Clone)]
pub struct MeasuredStatistics<B: Autodiff> {
    buffers: Buffers<B>,
    batches: u64,
}

impl<B: Autodiff> MeasuredStatistics<B> {
    /// Starts from `buffers`, which are returned unchanged where nothing is measured.
    pub fn new(buffers: Buffers<B>) -> Self {
        Self { buffers, batches: 0 }
    }

    /// Adds the statistics of `images` at the point `theta` of the learned parameters, in train mode.
    ///
    /// # Errors
    /// A point or statistics of another model, shape mismatches, dropout without `masks`, a failure of the backend. The
    /// statistics are then unchanged, unless the backend itself failed.
    ///
    /// # Cost
    /// One forward pass.
    pub fn add<M: Model>(
        &mut self,
        model: &M,
        backend: &B,
        theta: &ParamVector<B>,
        frozen: Option<&Frozen<B>>,
        images: &B::Tensor,
        masks: Option<MaskSeed>,
    ) -> gnr_core::Result<()> {
        check_point("statistics", backend, model.layout(), frozen, theta)?;
        check_buffers(model.layout(), self.buffers.tensors.len())?;
        Ok(self.take_in(model, backend, theta, frozen, images, masks)?)
    }

    fn take_in<M: Model>(
        &mut self,
        model: &M,
        backend: &B,
        theta: &ParamVector<B>,
        frozen: Option<&Frozen<B>>,
        images: &B::Tensor,
        masks: Option<MaskSeed>,
    ) -> Result<()> {
        let params = match frozen {
            Some(frozen) => frozen.assemble(theta.tensors().to_vec(), B::Tensor::clone)?,
            None => theta.tensors().to_vec(),
        };
        let mut cx = Context::new(backend, &params, &self.buffers.tensors, Mode::Train)
            .with_frozen(frozen.map_or(&[], Frozen::mask))
            .with_masks(masks);
        model.forward(&mut cx, images)?;
        let mut collected = cx.into_collected();
        let momentum = 1.0 / (self.batches + 1) as f64;
        collected.iter_mut().for_each(|layer| layer.momentum = momentum);
        self.buffers.update(backend, collected)?;
        self.batches += 1;
        Ok(())
    }

    /// The measured statistics.
    pub fn into_buffers(self) -> Buffers<B> {
        self.buffers
    }
}
