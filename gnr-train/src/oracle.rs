//! The oracle of one micro-batch: as `gnr_nn::BatchOracle`, but several may share the running statistics, in turn.

use std::cell::{Cell, RefCell};

use gnr_core::{Evaluation, GradOracle, HvpOracle, Order, Pass, Result, Sample};
use gnr_nn::{Autodiff, Batch, BatchOracle, Buffers, CrossEntropy, Kept, Model, ParamVector};

/// One micro-batch. The statistics are borrowed for the time of a question only.
pub(crate) struct Part<'a, M, B: Autodiff> {
    pub(crate) model: &'a M,
    pub(crate) backend: &'a B,
    pub(crate) batch: &'a Batch<B>,
    /// The part of it that questions are about, when it is not all of it.
    pub(crate) sampled: Option<Batch<B>>,
    pub(crate) buffers: &'a RefCell<Buffers<B>>,
    pub(crate) loss: CrossEntropy,
    /// Correct predictions of committed passes are added here.
    pub(crate) correct: &'a Cell<u64>,
}

impl<M, B: Autodiff> Part<'_, M, B> {
    fn batch(&self) -> &Batch<B> {
        self.sampled.as_ref().unwrap_or(self.batch)
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
        let mut oracle =
            BatchOracle::new(self.model, self.backend, self.batch(), &mut buffers).with_loss(self.loss);
        let evaluation = oracle.evaluate(at, pass, order)?;
        self.correct.set(self.correct.get() + oracle.correct().unwrap_or(0) as u64);
        Ok(evaluation)
    }

    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.sampled = match sample {
            Some(sample) => Some(self.batch.select(self.backend, &sample.rows(self.batch.labels.len()))?),
            None => None,
        };
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
        BatchOracle::new(self.model, self.backend, self.batch(), &mut buffers)
            .with_loss(self.loss)
            .hvp(here, v, out)
    }

    fn release(&mut self, here: &Evaluation<'_, Self::Vector, Self::Record>) {
        let mut buffers = self.buffers.borrow_mut();
        BatchOracle::new(self.model, self.backend, self.batch(), &mut buffers).release(here);
    }
}
