//! The oracle of a model on one mini-batch, for gnr-core's algorithms.

mod examples;

use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
};

use gnr_core::{
    Error as CoreError, Evaluation, GradOracle, HvpOracle, Order, Outputs, Pass, Products, Quantity,
    Result as CoreResult, Sample, SampledOracle, Shares, Use, finite_gradient,
};

use crate::{
    AcrossRanks, Autodiff, Backend, Buffers, Context, Error, Frozen, Layout, MaskSeed, Mode, Model,
    ParamVector, Result,
    passes::{Curvature, Features, Gradient, Passes, check_buffers, check_point},
};

/// A mini-batch whose images are on the device.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// The images `[N, C, H, W]`, or `[N, D]` for models on vectors.
    pub images: B::Tensor,
    /// The class of each sample.
    pub labels: Vec<usize>,
    /// Second labels of a batch that mixup or CutMix blended. L̂ is λ·(loss at the own labels) + (1 − λ)·(loss at
    /// these), which is the cross-entropy of the blended targets.
    pub mixed: Option<MixedLabels>,
    /// The index in the data set of each sample's example, for methods that keep state for examples.
    pub examples: Option<Vec<u64>>,
}

/// The second labels of a batch that mixup or CutMix blended: sample `i` counts as `weight` of its own label and `1 −
/// weight` of `labels[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedLabels {
    /// The second class of each sample.
    pub labels: Vec<usize>,
    /// The weight λ in [0, 1] of the samples' own labels.
    pub weight: f64,
}

impl MixedLabels {
    /// The labels of some samples, in the order given; samples that do not exist are left out.
    fn select(&self, rows: &[usize]) -> Self {
        let labels = rows.iter().filter_map(|row| self.labels.get(*row).copied()).collect();
        Self { labels, weight: self.weight }
    }
}

impl<B: Backend> Batch<B> {
    /// A batch of images with one class each.
    pub fn new(images: B::Tensor, labels: Vec<usize>) -> Self {
        Self { images, labels, mixed: None, examples: None }
    }
    /// Adds the second labels of a blended batch.
    pub fn with_mixed(mut self, mixed: impl Into<Option<MixedLabels>>) -> Self {
        self.mixed = mixed.into();
        self
    }
    /// Adds the index of each sample in its data set.
    pub fn with_examples(mut self, examples: impl Into<Option<Vec<u64>>>) -> Self {
        self.examples = examples.into();
        self
    }
    /// The label of larger weight of each sample. A prediction is correct when it equals this label.
    fn heavier(&self) -> &[usize] {
        match &self.mixed {
            Some(mixed) if mixed.weight < 0.5 => &mixed.labels,
            _ => &self.labels,
        }
    }
    /// A batch of some of the samples, in the order given.
    ///
    /// # Errors
    /// An error for a sample that does not exist; a failure of the backend.
    pub fn select(&self, backend: &B, rows: &[usize]) -> Result<Self> {
        if let Some(row) = rows.iter().find(|row| **row >= self.labels.len()) {
            let message = format!("sample {row} of a batch of {}", self.labels.len());
            return Err(Error::Invalid(message));
        }
        let indices: Vec<_> = rows.iter().map(|row| Some(*row)).collect();
        let images = backend.gather(&self.images, 0, &indices)?;
        let labels = rows.iter().map(|row| self.labels[*row]).collect();
        let mixed = self.mixed.as_ref().map(|mixed| mixed.select(rows));
        let of = |examples: &Vec<u64>| rows.iter().filter_map(|row| examples.get(*row).copied()).collect();
        Ok(Self { images, labels, mixed, examples: self.examples.as_ref().map(of) })
    }
}

/// The record that an evaluation keeps for products at its point; none after [`Order::First`] or [`Use::Last`].
pub type Kept<B> = RefCell<Option<<B as Autodiff>::Record>>;

/// The mean cross-entropy with label smoothing s: targets (1−s)·onehot + s/K, as in PyTorch. Default s = 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// The smoothing s, in [0, 1).
    pub label_smoothing: f64,
}

/// The images over which BatchNorm takes its statistics, where ranks share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// The whole batch: every pass exchanges sums, and derivatives flow through the statistics to all ranks.
    Shared,
    /// The rank's own part of the batch.
    Own,
}

/// The oracle of a model's loss L̂ on one mini-batch: gradients, exact Hessian-vector and Gauss–Newton products.
///
/// The running statistics of BatchNorm are borrowed during a question only, so that the oracles of several
/// micro-batches can share them. They move only in a [`Pass::Commit`] evaluation in [`Mode::Train`].
///
/// When only the head of a model is learned, and the model can be cut before it, the frozen part's output on the batch
/// is computed once and kept.
///
/// # Cost
/// `evaluate`: one gradient. `hvp` after [`Order::Second`]: one tangent pass and one backward pass, together about two
/// gradients.
pub struct BatchOracle<'a, M, B: Autodiff> {
    model: &'a M,
    backend: B,
    batch: &'a Batch<B>,
    /// The part of the batch that questions are about; `None` for all of it.
    sampled: Option<Batch<B>>,
    /// The place of each row of `sampled` in the whole batch, which ranks may share.
    places: Option<Vec<usize>>,
    buffers: &'a RefCell<Buffers<B>>,
    loss: CrossEntropy,
    mode: Mode,
    curvature: Curvature,
    frozen: Option<&'a Frozen<B>>,
    /// The output of the frozen part on the whole batch, once it is computed. The cell holds `None` where the model is
    /// not cut.
    features: OnceCell<Option<Features<B>>>,
    masks: Option<MaskSeed>,
    /// The ranks that share the batch, if there are any.
    shares: Option<&'a Shares>,
    /// The ranks over which BatchNorm takes its statistics; `None` for this rank alone.
    across: Option<AcrossRanks>,
    /// Whether each row of the committed pass was predicted correctly.
    correct: Option<Vec<bool>>,
    /// The logits of the committed pass, if it was over the whole batch.
    committed: Option<Outputs>,
}

impl<'a, M: Model, B: Autodiff> BatchOracle<'a, M, B> {
    /// The oracle of `batch` with the running statistics in `buffers`: plain cross-entropy, train mode.
    pub fn new(model: &'a M, backend: &B, batch: &'a Batch<B>, buffers: &'a RefCell<Buffers<B>>) -> Self {
        let loss = CrossEntropy::default();
        Self {
            model,
            backend: backend.clone(),
            batch,
            sampled: None,
            places: None,
            buffers,
            loss,
            mode: Mode::Train,
            curvature: Curvature::Hessian,
            frozen: None,
            features: OnceCell::new(),
            masks: None,
            shares: None,
            across: None,
            correct: None,
            committed: None,
        }
    }
    /// Replaces the loss; default is the plain cross-entropy.
    pub fn with_loss(mut self, loss: CrossEntropy) -> Self {
        self.loss = loss;
        self
    }
    /// Sets the mode, which selects batch or running statistics in BatchNorm; default [`Mode::Train`].
    pub fn with_mode(mut self, mode: Mode) -> Self {
        (self.mode, self.features) = (mode, OnceCell::new());
        self
    }
    /// Restricts points and tangents to the learned parameters; the frozen ones are these constants.
    pub fn with_frozen(mut self, frozen: impl Into<Option<&'a Frozen<B>>>) -> Self {
        (self.frozen, self.features) = (frozen.into(), OnceCell::new());
        self
    }
    /// Sets the matrix of the products; default is the Hessian.
    pub fn with_curvature(mut self, curvature: Curvature) -> Self {
        self.curvature = curvature;
        self
    }
    /// Sets the seed of random masks, which are equal in all evaluations of this oracle. Models with dropout or
    /// stochastic depth need it in train mode.
    pub fn with_masks(mut self, seed: impl Into<Option<MaskSeed>>) -> Self {
        (self.masks, self.features) = (seed.into(), OnceCell::new());
        self
    }
    /// Declares the batch to be this rank's part of a batch that ranks share. Masks and samples are then those of the
    /// shared batch, and with [`Statistics::Shared`] BatchNorm takes the statistics of all of it.
    ///
    /// Each rank must then ask equal questions in equal order; [`DataParallel`](gnr_core::DataParallel) makes one
    /// oracle of the parts.
    pub fn with_ranks(mut self, shares: impl Into<Option<&'a Shares>>, statistics: Statistics) -> Self {
        (self.shares, self.features) = (shares.into(), OnceCell::new());
        let over = self.shares.filter(|shares| shares.ranks().size() > 1 && statistics == Statistics::Shared);
        self.across = over.map(AcrossRanks::new);
        self
    }
    /// Number of correct predictions (top-1) at the committed point; `None` before a [`Pass::Commit`] evaluation.
    pub fn correct(&self) -> Option<usize> {
        Some(self.correct_rows()?.iter().filter(|correct| **correct).count())
    }
    /// Whether each sample was predicted correctly (top-1) at the committed point, `[N]`; `None` before a
    /// [`Pass::Commit`] evaluation. After a restriction: the samples of the restriction, in their order.
    pub fn correct_rows(&self) -> Option<&[bool]> {
        self.correct.as_deref()
    }

    /// The batch, or the part of it that questions are about.
    fn present(&self) -> &Batch<B> {
        self.sampled.as_ref().unwrap_or(self.batch)
    }

    /// Takes up a part of the batch that questions are about; `None` for all of it.
    fn take_up(&mut self, rows: Option<&[usize]>) -> Result<()> {
        self.sampled = rows.map(|rows| self.batch.select(&self.backend, rows)).transpose()?;
        let start = self.shares.map_or(0, |shares| shares.part().start);
        self.places = rows.map(|rows| rows.iter().map(|row| start + row).collect());
        Ok(())
    }

    /// The seed of the masks of the whole batch, of which ranks may each have a part.
    fn masks(&self) -> Option<MaskSeed> {
        self.masks.map(|masks| masks.of_part(self.shares.map(Shares::part)))
    }

    fn check(&self, operation: &'static str, vector: &ParamVector<B>) -> CoreResult<()> {
        check_point(operation, &self.backend, self.model.layout(), self.frozen, vector)?;
        check_buffers(self.model.layout(), self.buffers.borrow().tensors.len())
    }

    /// The output of the frozen part on the whole batch, which is equal at every point of a step. `None` when more than
    /// the head is learned, or the model cannot be cut before it.
    fn features(&self, frozen: &Frozen<B>, buffers: &Buffers<B>) -> Result<Option<Features<B>>> {
        let layout = self.model.layout();
        let head = layout.head();
        if frozen.learned(layout.parameters()).any(|entry| !Layout::is_within(&entry.name, head)) {
            return Ok(None);
        }
        // The learned tensors are those of the head, which does not run: their stand-ins are never read.
        let unused = vec![self.batch.images.clone(); frozen.num_learned()];
        let params = frozen.assemble(unused, Clone::clone)?;
        let mut cx = Context::new(&self.backend, &params, &buffers.tensors, self.mode)
            .with_frozen(frozen.mask())
            .with_masks(self.masks());
        let output = self.model.embed(&mut cx, &self.batch.images)?;
        Ok(output.map(|output| Features { output, drawn: cx.drawn() }))
    }

    /// Calls `f` with the passes over the batch, or over the part of it that questions are about.
    fn with_passes<T>(&self, f: impl FnOnce(&Passes<'_, M, B>) -> Result<T>) -> Result<T> {
        let buffers = self.buffers.borrow();
        let features = match (self.frozen, &self.sampled) {
            (Some(frozen), None) => {
                if self.features.get().is_none() {
                    // `set` cannot fail: the cell was empty, and no other place sets it.
                    let _ = self.features.set(self.features(frozen, &buffers)?);
                }
                self.features.get().and_then(Option::as_ref)
            }
            // The features are those of the whole batch; a sample is run from its images.
            _ => None,
        };
        let done = f(&Passes {
            model: self.model,
            backend: &self.backend,
            batch: self.present(),
            buffers: &buffers.tensors,
            loss: self.loss,
            mode: self.mode,
            frozen: self.frozen,
            fixed_norms: self.frozen.map_or(&[], Frozen::mask),
            features,
            masks: self.masks(),
            places: self.places.as_deref(),
            across: self.across.as_ref(),
        });
        // The other ranks are in the middle of a pass and wait for this one, so no agreement is possible.
        if let (Some(across), Err(error)) = (&self.across, &done)
            && !matches!(error, Error::Ranks(_))
        {
            across.abort(error);
        }
        done
    }
}

impl<M: Model, B: Autodiff> GradOracle for BatchOracle<'_, M, B> {
    type Vector = ParamVector<B>;
    type Record = Kept<B>;

    fn evaluate<'t>(
        &mut self,
        at: &'t Self::Vector,
        pass: Pass,
        order: Order,
    ) -> CoreResult<Evaluation<'t, Self::Vector, Self::Record>> {
        self.check("evaluate", at)?;
        let Gradient { loss, grad, record, logits, collected } =
            self.with_passes(|passes| passes.gradient(Cow::Borrowed(at), order))?;
        let evaluation = Evaluation::new(at, loss, grad, RefCell::new(record))?;
        if pass == Pass::Commit {
            let (logits, rows) = (self.backend.to_host(&logits)?, self.present().labels.len());
            self.correct = Some(correct(&logits, self.present().heavier()));
            let whole = self.sampled.is_none().then(|| examples::rows_of(logits, rows));
            self.committed = whole.transpose()?;
            if self.mode == Mode::Train {
                self.buffers.borrow_mut().update(&self.backend, collected)?;
            }
        }
        Ok(evaluation)
    }

    fn gradient(&mut self, at: Self::Vector) -> CoreResult<Self::Vector> {
        self.check("gradient", &at)?;
        let Gradient { loss, grad, .. } =
            self.with_passes(|passes| passes.gradient(Cow::Owned(at), Order::First))?;
        finite_gradient(loss, &grad)?;
        Ok(grad)
    }

    /// Computes the loss in one forward pass.
    fn loss(&mut self, at: &Self::Vector) -> CoreResult<f64> {
        self.check("loss", at)?;
        let loss = self.with_passes(|passes| passes.loss(at))?;
        if loss.is_finite() {
            Ok(loss)
        } else {
            Err(CoreError::NonFinite { quantity: Quantity::Loss, value: loss })
        }
    }
}

impl<M: Model, B: Autodiff> SampledOracle for BatchOracle<'_, M, B> {
    fn restrict(&mut self, sample: Option<Sample>) -> CoreResult<()> {
        let rows = sample.map(|sample| sample.rows(self.batch.labels.len()));
        self.take_up(rows.as_deref())?;
        if let (Some(shares), Some(_)) = (self.shares, &self.across) {
            self.across = Some(match sample {
                Some(sample) => AcrossRanks::of_sample(shares, sample),
                None => AcrossRanks::new(shares),
            });
        }
        Ok(())
    }
}

impl<M: Model, B: Autodiff> HvpOracle for BatchOracle<'_, M, B> {
    fn products(&self) -> Products {
        self.curvature.products()
    }

    fn hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        record: Use,
    ) -> CoreResult<Self::Vector> {
        self.check("hvp", v)?;
        let (at, v) = (Cow::Borrowed(&*here.at), v.clone());
        let given_away = if record == Use::Last { here.record.take() } else { None };
        let kept = here.record.borrow();
        Ok(self.with_passes(|passes| match (given_away, &*kept) {
            (Some(record), _) => passes.product(self.curvature, record, at, v),
            (None, Some(record)) => passes.product(self.curvature, record, at, v),
            (None, None) => passes.product(self.curvature, passes.record(&at)?, at, v),
        })?)
    }

    fn hvp_of_gradient(
        &mut self,
        here: Evaluation<'_, Self::Vector, Self::Record>,
    ) -> CoreResult<Self::Vector> {
        let Evaluation { at, grad, record, .. } = here;
        Ok(self.with_passes(|passes| {
            let record = match record.into_inner() {
                Some(record) => record,
                None => passes.record(&at)?,
            };
            passes.product(self.curvature, record, at, grad)
        })?)
    }
}

/// The logits `[N, K]` on the host, row-major, in eval mode and without derivatives.
///
/// # Errors
/// Shape mismatches or a failure of the backend.
pub fn predict<M: Model, B: Autodiff>(
    model: &M,
    backend: &B,
    params: &ParamVector<B>,
    buffers: &Buffers<B>,
    images: &B::Tensor,
) -> Result<Vec<f64>> {
    let layout = model.layout();
    let (expected, found) = (
        [layout.parameters().count(), layout.num_buffers()],
        [params.tensors().len(), buffers.tensors.len()],
    );
    if expected != found {
        let message = format!(
            "predict: expected {} parameters and {} running statistics, found {} and {}",
            expected[0], expected[1], found[0], found[1]
        );
        return Err(Error::Invalid(message));
    }
    let mut cx = Context::new(backend, params.tensors(), &buffers.tensors, Mode::Eval);
    let logits = model.forward(&mut cx, images)?;
    backend.to_host(&logits)
}

/// Whether the largest logit of each row is at the label. Among equal logits the first one counts as the largest.
fn correct(logits: &[f64], labels: &[usize]) -> Vec<bool> {
    let classes = logits.len() / labels.len().max(1);
    let top = |row: &[f64]| (0..row.len()).fold(0, |best, j| if row[j] > row[best] { j } else { best });
    logits.chunks(classes.max(1)).zip(labels).map(|(row, label)| top(row) == *label).collect()
}
