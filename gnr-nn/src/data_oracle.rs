//! The loss L̂ over a whole data set, in batches, for measurements of curvature and landscapes.

use std::{borrow::Cow, cell::RefCell};

use gnr_core::{
    Error as CoreError, Evaluation, GradOracle, HvpOracle, Order, Pass, Products, Quantity, Result, Use,
    Vector,
};

use crate::{
    Autodiff, Backend, Batch, Buffers, CrossEntropy, Frozen, MaskSeed, Mode, Model, ParamVector,
    passes::{Curvature, Passes, check_buffers, check_point},
};

/// A data set as a sequence of batches, equal on every pass over it.
pub trait Batches<B: Backend> {
    /// Number of samples in all batches.
    fn num_samples(&self) -> usize;
    /// Number of batches in the sequence.
    fn num_batches(&self) -> usize;
    /// Calls `f` with the number and the data of each batch, in order, until the first error.
    ///
    /// # Errors
    /// The errors of `f`; data that cannot be read or copied to the device.
    fn visit(&mut self, f: &mut dyn FnMut(usize, &Batch<B>) -> Result<()>) -> Result<()>;
}

/// Batches that stay in the memory of the device.
impl<B: Backend> Batches<B> for Vec<Batch<B>> {
    fn num_samples(&self) -> usize {
        self.iter().map(|batch| batch.labels.len()).sum()
    }
    fn num_batches(&self) -> usize {
        self.len()
    }
    fn visit(&mut self, f: &mut dyn FnMut(usize, &Batch<B>) -> Result<()>) -> Result<()> {
        self.iter().enumerate().try_for_each(|(index, batch)| f(index, batch))
    }
}

impl<B: Backend, S: Batches<B> + ?Sized> Batches<B> for &mut S {
    fn num_samples(&self) -> usize {
        (**self).num_samples()
    }
    fn num_batches(&self) -> usize {
        (**self).num_batches()
    }
    fn visit(&mut self, f: &mut dyn FnMut(usize, &Batch<B>) -> Result<()>) -> Result<()> {
        (**self).visit(f)
    }
}

/// The records of the first batches that an evaluation keeps; empty after [`Order::First`] or [`Use::Last`].
pub type KeptBatches<B> = RefCell<Vec<<B as Autodiff>::Record>>;

/// The mean loss L̂ over all samples of a data set, a batch at a time: loss, gradient, exact Hessian-vector and
/// Gauss–Newton products.
///
/// Running statistics stay unchanged; a [`Pass::Commit`] that would move them is refused. In [`Mode::Eval`] (the
/// default) L̂ does not depend on the batching. In [`Mode::Train`] every batch is normalised by its own statistics, and
/// L̂ is the mean of the batches' own losses, weighted by their samples.
///
/// [`free`](Self::free) makes some tensors the only variables; the others are constants. Points and tangents then have
/// just those tensors, and the Hessian is the corresponding diagonal block.
///
/// # Cost
/// Memory of one batch, whatever their number, and of [`kept records`](Self::keeping). A product evaluates each batch
/// once and multiplies; [`HvpOracle::hvp_block`] evaluates once for all vectors. Batches with a kept record are only
/// multiplied.
pub struct DataOracle<'a, M, B: Autodiff, S> {
    model: &'a M,
    backend: B,
    batches: S,
    buffers: Buffers<B>,
    loss: CrossEntropy,
    mode: Mode,
    curvature: Curvature,
    frozen: Option<Frozen<B>>,
    mask_seed: u64,
    /// Number of the first batch for the masks, and the step from one batch to the next.
    numbering: [u64; 2],
    keep: usize,
}

impl<'a, M: Model, B: Autodiff, S: Batches<B>> DataOracle<'a, M, B, S> {
    /// The oracle of `batches` with the running statistics in `buffers`: plain cross-entropy, eval mode. The record is
    /// kept when there is a single batch.
    pub fn new(model: &'a M, backend: &B, batches: S, buffers: Buffers<B>) -> Self {
        let keep = usize::from(batches.num_batches() == 1);
        Self {
            model,
            backend: backend.clone(),
            batches,
            buffers,
            loss: CrossEntropy::default(),
            mode: Mode::Eval,
            curvature: Curvature::Hessian,
            frozen: None,
            mask_seed: 0,
            numbering: [0, 1],
            keep,
        }
    }
    /// Replaces the loss; default is the plain cross-entropy.
    pub fn with_loss(mut self, loss: CrossEntropy) -> Self {
        self.loss = loss;
        self
    }
    /// Sets the mode, which selects batch or running statistics in BatchNorm; default [`Mode::Eval`].
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }
    /// Sets the matrix of the products.
    pub fn with_curvature(mut self, curvature: Curvature) -> Self {
        self.curvature = curvature;
        self
    }
    /// Sets the seed of the dropout masks in [`Mode::Train`], one set of masks for each batch; default 0. L̂ is the
    /// loss under these masks.
    pub fn with_mask_seed(mut self, seed: u64) -> Self {
        self.mask_seed = seed;
        self
    }
    /// Numbers the batches `first`, `first + step`, … of a data set that ranks share: each then has the masks that it
    /// has in the whole data set.
    pub fn with_numbering(mut self, first: u64, step: u64) -> Self {
        self.numbering = [first, step];
        self
    }
    /// Keeps the records of the first `count` batches between products. Products then cost a third less on those
    /// batches, but their activations and adjoints stay in memory.
    pub fn keeping(mut self, count: usize) -> Self {
        self.keep = count;
        self
    }
    /// Makes the tensors whose `free[i]` is true (in layout order) the only variables; the others are constant at
    /// `theta`.
    ///
    /// # Errors
    /// [`CoreError::DimensionMismatch`] when `theta` or `free` does not belong to the model; [`CoreError::Oracle`] when
    /// nothing is free.
    pub fn free(mut self, theta: &ParamVector<B>, free: &[bool]) -> Result<Self> {
        let layout = self.model.layout();
        check_point("free", &self.backend, layout, None, theta)?;
        let (expected, found) = (layout.num_parameter_tensors(), free.len());
        if expected != found {
            return Err(CoreError::DimensionMismatch { operation: "free", expected, found });
        }
        if !free.contains(&true) {
            return Err(CoreError::Oracle("no tensor is free: there is nothing to differentiate".into()));
        }
        let mask = free.iter().map(|free| !free).collect();
        self.frozen = Some(Frozen::of_tensors(theta.tensors(), mask));
        Ok(self)
    }

    /// The free part of a whole point or tangent: all of it unless [`free`](Self::free) was called.
    ///
    /// # Errors
    /// [`CoreError::DimensionMismatch`] when `whole` does not belong to the model.
    pub fn free_part(&self, whole: &ParamVector<B>) -> Result<ParamVector<B>> {
        check_point("free_part", &self.backend, self.model.layout(), None, whole)?;
        let Some(frozen) = &self.frozen else { return Ok(whole.clone()) };
        let parts = frozen.learned(whole.tensors()).cloned().collect();
        Ok(ParamVector::new(self.backend.clone(), parts))
    }

    /// Number of samples in all batches.
    pub fn num_samples(&self) -> usize {
        self.batches.num_samples()
    }

    fn check(&self, operation: &'static str, vector: &ParamVector<B>) -> Result<()> {
        check_point(operation, &self.backend, self.model.layout(), self.frozen.as_ref(), vector)?;
        check_buffers(self.model.layout(), self.buffers.tensors.len())
    }

    /// Calls `f` with the number, the weight and the passes of each batch.
    fn visit(&mut self, mut f: impl FnMut(usize, f64, &Passes<'_, M, B>) -> Result<()>) -> Result<()> {
        let total = self.batches.num_samples();
        let (model, backend, buffers) = (self.model, &self.backend, &self.buffers.tensors);
        let (loss, mode, frozen, seed) = (self.loss, self.mode, self.frozen.as_ref(), self.mask_seed);
        let [first, step] = self.numbering;
        let mut seen = 0;
        self.batches.visit(&mut |index, batch| {
            seen += batch.labels.len();
            let weight = batch.labels.len() as f64 / total as f64;
            // A block of the Hessian belongs to the whole L̂, so normalisations with constant weights run in the
            // oracle's mode.
            let (fixed_norms, features, places) = (&[][..], None, None);
            let masks = Some(MaskSeed::new(seed, 0, first + step * index as u64));
            f(
                index,
                weight,
                &Passes {
                    model,
                    backend,
                    batch,
                    buffers,
                    loss,
                    mode,
                    frozen,
                    fixed_norms,
                    features,
                    masks,
                    places,
                    across: None,
                },
            )
        })?;
        if seen == 0 || seen != total {
            return Err(CoreError::Oracle(format!("{total} samples were announced, {seen} came")));
        }
        Ok(())
    }

    /// The mean over the batches of their products with several vectors. Each batch is recorded once for all vectors.
    fn block(
        &mut self,
        at: &ParamVector<B>,
        kept: &[B::Record],
        vs: &[ParamVector<B>],
    ) -> Result<Vec<ParamVector<B>>> {
        vs.iter().try_for_each(|v| self.check("product", v))?;
        if vs.is_empty() {
            return Ok(Vec::new());
        }
        let mut means = vs.to_vec();
        means.iter_mut().try_for_each(|mean| mean.scale(0.0))?;
        let curvature = self.curvature;
        self.visit(|index, weight, passes| {
            let fresh;
            let record = match kept.get(index) {
                Some(record) => record,
                None => {
                    fresh = passes.record(at)?;
                    &fresh
                }
            };
            for (v, mean) in vs.iter().zip(&mut means) {
                mean.axpy(weight, &passes.product(curvature, record, Cow::Borrowed(at), v.clone())?)?;
            }
            Ok(())
        })?;
        Ok(means)
    }
}

impl<M: Model, B: Autodiff, S: Batches<B>> GradOracle for DataOracle<'_, M, B, S> {
    type Vector = ParamVector<B>;
    type Record = KeptBatches<B>;

    fn evaluate<'t>(
        &mut self,
        at: &'t Self::Vector,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'t, Self::Vector, Self::Record>> {
        if pass == Pass::Commit && self.mode == Mode::Train && !self.buffers.tensors.is_empty() {
            let message =
                "a commit would have to move running statistics, which a data-set oracle never does";
            return Err(CoreError::Oracle(message.into()));
        }
        self.check("evaluate", at)?;
        let keep = if order == Order::Second { self.keep } else { 0 };
        let (mut loss, mut grad, mut kept) = (0.0, at.clone(), Vec::new());
        grad.scale(0.0)?;
        self.visit(|index, weight, passes| {
            let order = if index < keep { Order::Second } else { Order::First };
            let part = passes.gradient(Cow::Borrowed(at), order)?;
            loss += weight * part.loss;
            grad.axpy(weight, &part.grad)?;
            kept.extend(part.record);
            Ok(())
        })?;
        Evaluation::new(at, loss, grad, RefCell::new(kept))
    }

    fn loss(&mut self, at: &Self::Vector) -> Result<f64> {
        self.check("loss", at)?;
        let mut loss = 0.0;
        self.visit(|_, weight, passes| {
            loss += weight * passes.loss(at)?;
            Ok(())
        })?;
        if loss.is_finite() {
            Ok(loss)
        } else {
            Err(CoreError::NonFinite { quantity: Quantity::Loss, value: loss })
        }
    }
}

impl<M: Model, B: Autodiff, S: Batches<B>> HvpOracle for DataOracle<'_, M, B, S> {
    fn products(&self) -> Products {
        self.curvature.products()
    }

    fn hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        record: Use,
    ) -> Result<Self::Vector> {
        let mut products = self.hvp_block(here, std::slice::from_ref(v))?;
        if record == Use::Last {
            here.record.take();
        }
        products.pop().ok_or_else(|| CoreError::Oracle("no product of one vector".into()))
    }

    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        vs: &[Self::Vector],
    ) -> Result<Vec<Self::Vector>> {
        self.block(&here.at, &here.record.borrow(), vs)
    }
}
