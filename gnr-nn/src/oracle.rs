//! A model and one mini-batch as the oracle that gnr-core's algorithms ask.

use std::{borrow::Cow, cell::RefCell};

use gnr_core::{
    Error as CoreError, Evaluation, GgnOracle, GradOracle, HvpOracle, Order, Pass, Quantity,
    Result as CoreResult, Sample, finite_gradient,
};

use crate::{
    Autodiff, Backend, Buffers, Context, Error, Frozen, Layout, MaskSeed, Mode, Model, ParamVector, Result,
    passes::{Gradient, Passes, check_buffers, check_point},
};

/// One mini-batch on the device.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// `[N, C, H, W]`, or `[N, D]` for models on vectors.
    pub images: B::Tensor,
    /// One class a sample.
    pub labels: Vec<usize>,
    /// Second labels, of a batch that mixup or CutMix blended: L̂ = λ·(loss at the own labels) + (1 − λ)·(loss at these), which
    /// is the cross-entropy of the blended targets.
    pub mixed: Option<MixedLabels>,
}

/// The other half of the labels of a batch that mixup or CutMix made: sample `i` counts as `weight` of its own label and
/// `1 − weight` of `labels[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedLabels {
    /// One class a sample.
    pub labels: Vec<usize>,
    /// λ in [0, 1], of the samples' own labels.
    pub weight: f64,
}

impl MixedLabels {
    /// Those of some samples of the batch, in the order given; of those that there are.
    fn select(&self, rows: &[usize]) -> Self {
        let labels = rows.iter().filter_map(|row| self.labels.get(*row).copied()).collect();
        Self { labels, weight: self.weight }
    }
}

impl<B: Backend> Batch<B> {
    /// Images with one class each.
    pub fn new(images: B::Tensor, labels: Vec<usize>) -> Self {
        Self { images, labels, mixed: None }
    }
    /// With second labels.
    pub fn with_mixed(mut self, mixed: impl Into<Option<MixedLabels>>) -> Self {
        self.mixed = mixed.into();
        self
    }
    /// The labels that weigh more: a prediction is correct when it is one of these.
    fn heavier(&self) -> &[usize] {
        match &self.mixed {
            Some(mixed) if mixed.weight < 0.5 => &mixed.labels,
            _ => &self.labels,
        }
    }
    /// Some of its samples, in the order given.
    ///
    /// # Errors
    /// A sample that does not exist; a failure of the backend.
    pub fn select(&self, backend: &B, rows: &[usize]) -> Result<Self> {
        if let Some(row) = rows.iter().find(|row| **row >= self.labels.len()) {
            let message = format!("sample {row} of a batch of {}", self.labels.len());
            return Err(Error::Invalid(message));
        }
        let indices: Vec<_> = rows.iter().map(|row| Some(*row)).collect();
        let images = backend.gather(&self.images, 0, &indices)?;
        let labels = rows.iter().map(|row| self.labels[*row]).collect();
        Ok(Self { images, labels, mixed: self.mixed.as_ref().map(|mixed| mixed.select(rows)) })
    }
}

/// What an evaluation keeps for products at its point: nothing after [`Order::First`] or a release.
pub type Kept<B> = RefCell<Option<<B as Autodiff>::Record>>;

/// Mean cross-entropy with label smoothing s: targets (1−s)·onehot + s/K, as in PyTorch. Default s = 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// s in [0, 1).
    pub label_smoothing: f64,
}

/// L̂ of a model on one mini-batch: gradients, exact Hessian-vector and Gauss–Newton products.
///
/// The running statistics of BatchNorm are borrowed for the time of a step and move only in a [`Pass::Commit`]
/// evaluation in [`Mode::Train`].
///
/// # Cost
/// `evaluate`: one gradient. `hvp` after [`Order::Second`]: one tangent pass and one backward pass (about two gradients).
pub struct BatchOracle<'a, M, B: Autodiff> {
    model: &'a M,
    backend: B,
    batch: &'a Batch<B>,
    /// The part of the batch that questions are about, when it is not all of it.
    sampled: Option<Batch<B>>,
    buffers: &'a mut Buffers<B>,
    loss: CrossEntropy,
    mode: Mode,
    frozen: Option<&'a Frozen<B>>,
    features: Option<&'a B::Tensor>,
    masks: Option<MaskSeed>,
    /// One mark a row of the committed pass.
    correct: Option<Vec<bool>>,
}

impl<'a, M: Model, B: Autodiff> BatchOracle<'a, M, B> {
    /// L̂ on `batch` with the statistics in `buffers`; plain cross-entropy, train mode.
    pub fn new(model: &'a M, backend: &B, batch: &'a Batch<B>, buffers: &'a mut Buffers<B>) -> Self {
        let loss = CrossEntropy::default();
        Self {
            model,
            backend: backend.clone(),
            batch,
            sampled: None,
            buffers,
            loss,
            mode: Mode::Train,
            frozen: None,
            features: None,
            masks: None,
            correct: None,
        }
    }
    /// Another loss.
    pub fn with_loss(mut self, loss: CrossEntropy) -> Self {
        self.loss = loss;
        self
    }
    /// Batch or running statistics in BatchNorm.
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }
    /// Points and tangents are of the learned parameters alone; the others are these constants.
    pub fn with_frozen(mut self, frozen: &'a Frozen<B>) -> Self {
        self.frozen = Some(frozen);
        self
    }
    /// What [`features`](Self::features) gave for this batch: only the head is run.
    pub fn with_features(mut self, features: &'a B::Tensor) -> Self {
        self.features = Some(features);
        self
    }
    /// The output of the frozen part when only the head is learned and the model can be cut before it: the same at every point
    /// of a step, so it is computed once.
    ///
    /// # Errors
    /// Those of the model.
    pub fn features(&self) -> Result<Option<B::Tensor>> {
        let Some(frozen) = self.frozen else { return Ok(None) };
        let layout = self.model.layout();
        let head = layout.head();
        if frozen.learned(layout.parameters()).any(|entry| !Layout::is_within(&entry.name, head)) {
            return Ok(None);
        }
        // The learned tensors are the head's, which is not run: what stands in their place is never looked at.
        let unused = vec![self.batch.images.clone(); frozen.num_learned()];
        let params = frozen.assemble(unused, Clone::clone)?;
        let mut cx = Context::new(&self.backend, &params, &self.buffers.tensors, self.mode)
            .with_frozen(frozen.mask())
            .with_masks(self.masks);
        self.model.embed(&mut cx, &self.batch.images)
    }
    /// With random masks, the same for every evaluation of this oracle; what models with dropout or stochastic depth need in
    /// train mode.
    pub fn with_masks(mut self, seed: impl Into<Option<MaskSeed>>) -> Self {
        self.masks = seed.into();
        self
    }
    /// Correct predictions (top-1) at the committed point, once there was a [`Pass::Commit`] evaluation.
    pub fn correct(&self) -> Option<usize> {
        Some(self.correct_rows()?.iter().filter(|correct| **correct).count())
    }
    /// Whether each sample was predicted correctly (top-1) at the committed point, `[N]`, once there was a [`Pass::Commit`]
    /// evaluation. Of a restricted oracle: the samples it was restricted to, in their order.
    pub fn correct_rows(&self) -> Option<&[bool]> {
        self.correct.as_deref()
    }

    fn check(&self, operation: &'static str, vector: &ParamVector<B>) -> CoreResult<()> {
        check_point(operation, &self.backend, self.model.layout(), self.frozen, vector)?;
        check_buffers(self.model.layout(), self.buffers.tensors.len())
    }

    fn passes(&self) -> Passes<'_, M, B> {
        Passes {
            model: self.model,
            backend: &self.backend,
            batch: self.sampled.as_ref().unwrap_or(self.batch),
            buffers: &self.buffers.tensors,
            loss: self.loss,
            mode: self.mode,
            frozen: self.frozen,
            fixed_norms: self.frozen.map_or(&[], Frozen::mask),
            // They are of the whole batch; a sample is run from its images.
            features: self.features.filter(|_| self.sampled.is_none()),
            masks: self.masks,
        }
    }

    /// ∇²L̂·v, the last at its point.
    fn use_up(
        &self,
        record: B::Record,
        at: Cow<'_, ParamVector<B>>,
        v: ParamVector<B>,
    ) -> Result<ParamVector<B>> {
        let session = self.backend.replay_session(&record)?;
        // The session holds the entries now, each until it was used.
        drop(record);
        self.passes().hvp(session, at, v)
    }

    /// G·v, the last product at its point.
    fn use_up_linear(
        &self,
        record: B::Record,
        at: Cow<'_, ParamVector<B>>,
        v: ParamVector<B>,
    ) -> Result<ParamVector<B>> {
        let session = self.backend.linear_session(&record)?;
        // The session holds the entries now, each until it was used.
        drop(record);
        self.passes().ggn(session, at, v)
    }

    /// Calls `f` with the record of `here`, made again where there is none.
    fn with_record(
        &self,
        here: &Evaluation<'_, ParamVector<B>, Kept<B>>,
        f: impl FnOnce(&Passes<'_, M, B>, &B::Record) -> Result<ParamVector<B>>,
    ) -> Result<ParamVector<B>> {
        let passes = self.passes();
        match &*here.record.borrow() {
            Some(record) => f(&passes, record),
            None => f(&passes, &passes.record(&here.at)?),
        }
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
            self.passes().gradient(Cow::Borrowed(at), order)?;
        let evaluation = Evaluation::new(at, loss, grad, RefCell::new(record))?;
        if pass == Pass::Commit {
            let batch = self.sampled.as_ref().unwrap_or(self.batch);
            self.correct = Some(correct(&self.backend.to_host(&logits)?, batch.heavier()));
            if self.mode == Mode::Train {
                self.buffers.update(&self.backend, collected)?;
            }
        }
        Ok(evaluation)
    }

    fn gradient_at(&mut self, at: Self::Vector) -> CoreResult<Self::Vector> {
        self.check("evaluate", &at)?;
        let Gradient { loss, grad, .. } = self.passes().gradient(Cow::Owned(at), Order::First)?;
        finite_gradient(loss, &grad)?;
        Ok(grad)
    }

    /// A forward pass.
    fn loss(&mut self, at: &Self::Vector) -> CoreResult<f64> {
        self.check("loss", at)?;
        let loss = self.passes().loss(at)?;
        if loss.is_finite() {
            Ok(loss)
        } else {
            Err(CoreError::NonFinite { quantity: Quantity::Loss, value: loss })
        }
    }

    fn restrict(&mut self, sample: Option<Sample>) -> CoreResult<()> {
        let rows = sample.map(|sample| sample.rows(self.batch.labels.len()));
        self.sampled = rows.map(|rows| self.batch.select(&self.backend, &rows)).transpose()?;
        Ok(())
    }
}

impl<M: Model, B: Autodiff> HvpOracle for BatchOracle<'_, M, B> {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> CoreResult<()> {
        self.check("hvp", v)?;
        *out = self.with_record(here, |passes, record| {
            passes.hvp(passes.backend.replay_session(record)?, Cow::Borrowed(&here.at), v.clone())
        })?;
        Ok(())
    }

    fn last_hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> CoreResult<()> {
        self.check("hvp", v)?;
        let Some(record) = here.record.take() else { return self.hvp(here, v, out) };
        *out = self.use_up(record, Cow::Borrowed(&here.at), v.clone())?;
        Ok(())
    }

    fn hvp_of_gradient(
        &mut self,
        here: Evaluation<'_, Self::Vector, Self::Record>,
    ) -> CoreResult<Self::Vector> {
        let record = match here.record.take() {
            Some(record) => record,
            None => self.passes().record(&here.at)?,
        };
        Ok(self.use_up(record, here.at, here.grad)?)
    }

    fn release(&mut self, here: &Evaluation<'_, Self::Vector, Self::Record>) {
        here.record.take();
    }
}

impl<M: Model, B: Autodiff> GgnOracle for BatchOracle<'_, M, B> {
    fn ggn(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> CoreResult<()> {
        self.check("ggn", v)?;
        *out = self.with_record(here, |passes, record| {
            passes.ggn(passes.backend.linear_session(record)?, Cow::Borrowed(&here.at), v.clone())
        })?;
        Ok(())
    }

    fn last_ggn(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> CoreResult<()> {
        self.check("ggn", v)?;
        let Some(record) = here.record.take() else { return self.ggn(here, v, out) };
        *out = self.use_up_linear(record, Cow::Borrowed(&here.at), v.clone())?;
        Ok(())
    }

    fn ggn_of_gradient(
        &mut self,
        here: Evaluation<'_, Self::Vector, Self::Record>,
    ) -> CoreResult<Self::Vector> {
        let record = match here.record.take() {
            Some(record) => record,
            None => self.passes().record(&here.at)?,
        };
        Ok(self.use_up_linear(record, here.at, here.grad)?)
    }
}

/// Logits `[N, K]` on the host, row-major, in eval mode and without derivatives.
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
    let mut cx = Context::new(backend, params.tensors(), &buffers.tensors, Mode::Eval);
    let logits = model.forward(&mut cx, images)?;
    backend.to_host(&logits)
}

/// Whether the largest logit of each row (the first one among equals) is at the label.
fn correct(logits: &[f64], labels: &[usize]) -> Vec<bool> {
    let classes = logits.len() / labels.len().max(1);
    let top = |row: &[f64]| (0..row.len()).fold(0, |best, j| if row[j] > row[best] { j } else { best });
    logits.chunks(classes.max(1)).zip(labels).map(|(row, label)| top(row) == *label).collect()
}
