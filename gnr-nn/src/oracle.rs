//! A model and one mini-batch as the oracle that gnr-core's algorithms ask.

use std::cell::RefCell;

use gnr_core::{Evaluation, GradOracle, HvpOracle, Order, Pass, Result as CoreResult, Sample, Vector};

use crate::{Autodiff, Backend, Buffers, Context, Dual, Duals, Error, Mode, Model, ParamVector, Result};

/// One mini-batch on the device.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// `[N, C, H, W]`, or `[N, D]` for models on vectors.
    pub images: B::Tensor,
    /// One class a sample.
    pub labels: Vec<usize>,
}

impl<B: Backend> Batch<B> {
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
        Ok(Self { images, labels: rows.iter().map(|row| self.labels[*row]).collect() })
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

/// L̂ of a model on one mini-batch: gradients and exact Hessian-vector products.
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
    correct: Option<usize>,
}

impl<'a, M: Model, B: Autodiff> BatchOracle<'a, M, B> {
    /// L̂ on `batch` with the statistics in `buffers`; plain cross-entropy, train mode.
    pub fn new(model: &'a M, backend: &B, batch: &'a Batch<B>, buffers: &'a mut Buffers<B>) -> Self {
        let loss = CrossEntropy::default();
        let (sampled, correct) = (None, None);
        Self { model, backend: backend.clone(), batch, sampled, buffers, loss, mode: Mode::Train, correct }
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
    /// Correct predictions (top-1) at the committed point, once there was a [`Pass::Commit`] evaluation.
    pub fn correct(&self) -> Option<usize> {
        self.correct
    }

    /// Refuses a point or tangent of another model before an index runs out of range deep inside a layer.
    fn check(&self, operation: &'static str, vector: &ParamVector<B>) -> CoreResult<()> {
        let layout = self.model.layout();
        let fits = vector.tensors().len() == layout.num_parameter_tensors()
            && (layout.parameters().zip(vector.tensors()))
                .all(|(entry, tensor)| self.backend.shape(tensor) == entry.shape);
        if !fits {
            let (expected, found) = (layout.num_parameters(), vector.dim());
            return Err(gnr_core::Error::DimensionMismatch { operation, expected, found });
        }
        let (expected, found) = (layout.num_buffers(), self.buffers.tensors.len());
        if expected != found {
            let message = format!("{found} running statistics given, the model has {expected}");
            return Err(Error::Invalid(message).into());
        }
        Ok(())
    }

    fn evaluate_nn<'t>(
        &mut self,
        at: &'t ParamVector<B>,
        pass: Pass,
        order: Order,
    ) -> CoreResult<Evaluation<'t, ParamVector<B>, Kept<B>>> {
        self.check("evaluate", at)?;
        let session = self.backend.gradient_session(order == Order::Second);
        let leaves: Vec<_> = at.tensors().iter().map(|tensor| session.variable(tensor)).collect();
        let mut cx = Context::new(&session, &leaves, &self.buffers.tensors, self.mode);
        let batch = self.sampled.as_ref().unwrap_or(self.batch);
        let logits = self.model.forward(&mut cx, &batch.images)?;
        let collected = cx.into_collected();
        let loss = session.cross_entropy(&logits, &batch.labels, self.loss.label_smoothing)?;
        let value = session.item(&loss)?;
        let grad = ParamVector::new(self.backend.clone(), session.backward(&loss, &leaves)?);
        let record = (order == Order::Second).then(|| session.take_record()).transpose()?;
        let evaluation = Evaluation::new(at, value, grad, RefCell::new(record))?;
        if pass == Pass::Commit {
            let logits = session.detach(&logits);
            self.correct = Some(correct(&session.to_host(&logits)?, &batch.labels));
            if self.mode == Mode::Train {
                self.buffers.update(&self.backend, collected)?;
            }
        }
        Ok(evaluation)
    }

    fn hvp_nn(
        &mut self,
        record: &B::Record,
        at: &ParamVector<B>,
        v: &ParamVector<B>,
    ) -> Result<ParamVector<B>> {
        let session = self.backend.replay_session(record)?;
        let leaves: Vec<_> = at.tensors().iter().map(|tensor| session.variable(tensor)).collect();
        let params: Vec<_> = leaves
            .iter()
            .zip(v.tensors())
            .map(|(leaf, v)| Dual { primal: leaf.clone(), tangent: Some(v.clone()) })
            .collect();
        let duals = Duals(session.clone());
        let buffers = self.buffers.duals();
        let mut cx = Context::new(&duals, &params, &buffers, self.mode);
        let batch = self.sampled.as_ref().unwrap_or(self.batch);
        let logits = self.model.forward(&mut cx, &Dual::constant(batch.images.clone()))?;
        let loss = duals.cross_entropy(&logits, &batch.labels, self.loss.label_smoothing)?;
        drop((params, logits));
        let Some(tangent) = loss.tangent else {
            return Err(Error::Invalid("the loss does not depend on any parameter".into()));
        };
        session.finish_replay()?;
        Ok(ParamVector::new(self.backend.clone(), session.backward(&tangent, &leaves)?))
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
        self.evaluate_nn(at, pass, order)
    }

    fn restrict(&mut self, sample: Option<Sample>) -> CoreResult<()> {
        self.sampled = match sample {
            Some(sample) => Some(self.batch.select(&self.backend, &sample.rows(self.batch.labels.len()))?),
            None => None,
        };
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
        if let Some(record) = &*here.record.borrow() {
            *out = self.hvp_nn(record, here.at, v)?;
            return Ok(());
        }
        let again = self.evaluate_nn(here.at, Pass::Probe, Order::Second)?;
        let record = again.record.into_inner();
        let record = record.ok_or_else(|| Error::Invalid("a recording pass left no record".into()))?;
        *out = self.hvp_nn(&record, here.at, v)?;
        Ok(())
    }

    fn release(&mut self, here: &Evaluation<'_, Self::Vector, Self::Record>) {
        here.record.take();
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

/// Rows whose largest logit (the first one among equals) is at the label.
fn correct(logits: &[f64], labels: &[usize]) -> usize {
    let classes = logits.len() / labels.len().max(1);
    let top = |row: &[f64]| (0..row.len()).fold(0, |best, j| if row[j] > row[best] { j } else { best });
    logits.chunks(classes.max(1)).zip(labels).filter(|(row, label)| top(row) == **label).count()
}
