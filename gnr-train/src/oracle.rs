//! The oracle of one micro-batch: as `gnr_nn::BatchOracle`, but several may share the running statistics, in turn.

use std::cell::{Cell, OnceCell, RefCell};

use gnr_core::{Evaluation, GgnOracle, GradOracle, HvpOracle, Order, Pass, Result, Sample};
use gnr_nn::{
    Autodiff, Batch, BatchOracle, Buffers, CrossEntropy, Frozen, Kept, MaskSeed, Model, ParamVector,
};

/// One micro-batch. The statistics are borrowed for the time of a question only.
pub(crate) struct Part<'a, M, B: Autodiff> {
    pub(crate) model: &'a M,
    pub(crate) backend: &'a B,
    pub(crate) batch: &'a Batch<B>,
    /// The part of it that questions are about, when it is not all of it.
    pub(crate) sampled: Option<Batch<B>>,
    /// The rows of that part.
    pub(crate) rows: Option<Vec<usize>>,
    pub(crate) buffers: &'a RefCell<Buffers<B>>,
    pub(crate) loss: CrossEntropy,
    /// Parameters that are not learned.
    pub(crate) frozen: Option<&'a Frozen<B>>,
    /// What the frozen part makes of the batch, once it is known and if only the head is learned.
    pub(crate) features: OnceCell<Option<B::Tensor>>,
    pub(crate) masks: MaskSeed,
    /// Marks the rows whose label is wrong on purpose; empty: none.
    pub(crate) flipped: &'a [bool],
    /// Correct predictions of committed passes are added here.
    pub(crate) correct: &'a Tally,
}

/// Correct predictions: of all images, and of those whose label is wrong on purpose.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) all: Cell<u64>,
    pub(crate) flipped: Cell<u64>,
}

impl Tally {
    /// Adds what was correct of rows, `flipped` telling whose label is wrong on purpose.
    fn add(&self, correct: &[bool], flipped: impl Fn(usize) -> bool) {
        let count = |counts: &dyn Fn(usize) -> bool| {
            correct.iter().enumerate().filter(|(row, correct)| **correct && counts(*row)).count() as u64
        };
        self.all.set(self.all.get() + count(&|_| true));
        self.flipped.set(self.flipped.get() + count(&flipped));
    }
}

impl<'a, M: Model, B: Autodiff> Part<'a, M, B> {
    fn over<'b>(&'b self, buffers: &'b mut Buffers<B>) -> Result<BatchOracle<'b, M, B>> {
        let batch = self.sampled.as_ref().unwrap_or(self.batch);
        let oracle = BatchOracle::new(self.model, self.backend, batch, buffers)
            .with_loss(self.loss)
            .with_masks(self.masks);
        let Some(frozen) = self.frozen else { return Ok(oracle) };
        let oracle = oracle.with_frozen(frozen);
        if self.sampled.is_some() {
            // The features are of the whole batch.
            return Ok(oracle);
        }
        if self.features.get().is_none() {
            // Cannot be set yet: this is the only place that does.
            let _ = self.features.set(oracle.features()?);
        }
        Ok(match self.features.get() {
            Some(Some(features)) => oracle.with_features(features),
            _ => oracle,
        })
    }
}

impl<M: Model, B: Autodiff> GradOracle for Part<'_, M, B> {
    type Vector = ParamVector<B>;
    type Record = Kept<B>;

    fn evaluate<'t>(
        &mut self,
        at: &'t Self::Vector,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'t, Self::Vector, Self::Record>> {
        let mut buffers = self.buffers.borrow_mut();
        let mut oracle = self.over(&mut buffers)?;
        let evaluation = oracle.evaluate(at, pass, order)?;
        if let Some(correct) = oracle.correct_rows() {
            let whole = |row| self.rows.as_ref().map_or(Some(row), |rows| rows.get(row).copied());
            let flipped = |row| whole(row).and_then(|row| self.flipped.get(row).copied()).unwrap_or(false);
            self.correct.add(correct, flipped);
        }
        Ok(evaluation)
    }

    fn loss(&mut self, at: &Self::Vector) -> Result<f64> {
        let mut buffers = self.buffers.borrow_mut();
        self.over(&mut buffers)?.loss(at)
    }

    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        let rows = sample.map(|sample| sample.rows(self.batch.labels.len()));
        self.sampled = rows.as_ref().map(|rows| self.batch.select(self.backend, rows)).transpose()?;
        self.rows = rows;
        Ok(())
    }
}

impl<M: Model, B: Autodiff> HvpOracle for Part<'_, M, B> {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()> {
        let mut buffers = self.buffers.borrow_mut();
        self.over(&mut buffers)?.hvp(here, v, out)
    }

    fn last_hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()> {
        let mut buffers = self.buffers.borrow_mut();
        self.over(&mut buffers)?.last_hvp(here, v, out)
    }

    fn hvp_of_gradient(&mut self, here: Evaluation<'_, Self::Vector, Self::Record>) -> Result<Self::Vector> {
        let mut buffers = self.buffers.borrow_mut();
        self.over(&mut buffers)?.hvp_of_gradient(here)
    }

    fn release(&mut self, here: &Evaluation<'_, Self::Vector, Self::Record>) {
        let mut buffers = self.buffers.borrow_mut();
        BatchOracle::new(self.model, self.backend, self.batch, &mut buffers).release(here);
    }
}

impl<M: Model, B: Autodiff> GgnOracle for Part<'_, M, B> {
    fn ggn(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()> {
        let mut buffers = self.buffers.borrow_mut();
        self.over(&mut buffers)?.ggn(here, v, out)
    }

    fn last_ggn(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()> {
        let mut buffers = self.buffers.borrow_mut();
        self.over(&mut buffers)?.last_ggn(here, v, out)
    }

    fn ggn_of_gradient(&mut self, here: Evaluation<'_, Self::Vector, Self::Record>) -> Result<Self::Vector> {
        let mut buffers = self.buffers.borrow_mut();
        self.over(&mut buffers)?.ggn_of_gradient(here)
    }
}
