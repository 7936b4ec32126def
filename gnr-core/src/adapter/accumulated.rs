//! A mini-batch that does not fit in memory, as the mean of micro-batches that do.

use crate::{
    Error, Evaluation, GradOracle, HvpOracle, Order, Pass, Products, Quantity, Result, Sample, SampledOracle,
    Use, Vector, error::finite, random::SplitMix64,
};

/// One mini-batch made of micro-batches: L̂ = Σᵢ (nᵢ/n)·L̂ᵢ, and so are its gradient and its products.
///
/// Methods see one batch: SAM and GNR perturb once, along the whole batch's gradient, and every micro-batch is evaluated at
/// that same point. A [`Pass::Commit`] reaches each micro-batch exactly once. (Where L̂ᵢ depends on its micro-batch as a
/// whole, as with BatchNorm, the mean is that of the micro-batches' own losses.)
///
/// # Cost
/// Memory of one micro-batch: no record outlives its micro-batch. So an exact product evaluates each micro-batch again,
/// with [`Order::Second`], multiplies, and drops the record: one gradient more a product. For products by differences wrap
/// the accumulation, `ForwardDiff::new(Accumulated::new(..)?)`: they need no record and cost nothing extra.
#[derive(Clone, Debug)]
pub struct Accumulated<O> {
    /// Micro-batches and their weights nᵢ/n.
    parts: Vec<(O, f64)>,
}

impl<O> Accumulated<O> {
    /// The mean of micro-batches, each with its number of examples nᵢ.
    ///
    /// # Errors
    /// [`Error::Oracle`] when there is no micro-batch or one is empty.
    pub fn new(parts: impl IntoIterator<Item = (O, usize)>) -> Result<Self> {
        let parts: Vec<_> = parts.into_iter().collect();
        if parts.is_empty() {
            return Err(nothing());
        }
        if let Some(empty) = parts.iter().position(|(_, n)| *n == 0) {
            return Err(Error::Oracle(format!("micro-batch {empty} has no examples")));
        }
        let n: usize = parts.iter().map(|(_, n)| n).sum();
        Ok(Self { parts: parts.into_iter().map(|(part, n_i)| (part, n_i as f64 / n as f64)).collect() })
    }

    /// The number of micro-batches.
    pub fn num_parts(&self) -> usize {
        self.parts.len()
    }
}

impl<O: GradOracle> GradOracle for Accumulated<O> {
    type Vector = O::Vector;
    /// Nothing is kept between micro-batches.
    type Record = ();

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        _: Order,
    ) -> Result<Evaluation<'a, O::Vector, ()>> {
        let mut loss = 0.0;
        let mut mean: Option<O::Vector> = None;
        for (part, weight) in &mut self.parts {
            let evaluation = part.evaluate(at, pass, Order::First)?;
            loss += *weight * evaluation.loss;
            add(&mut mean, *weight, evaluation.grad)?;
        }
        Evaluation::new(at, loss, mean.ok_or_else(nothing)?, ())
    }

    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        let mut loss = 0.0;
        for (part, weight) in &mut self.parts {
            loss += *weight * part.loss(at)?;
        }
        finite(Quantity::Loss, loss)
    }
}

impl<O: SampledOracle> SampledOracle for Accumulated<O> {
    /// Every micro-batch gives its share of the sample; the weights stay.
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        if sample.is_some_and(|sample| sample.part.is_some()) {
            let message = "a sample of a batch that is spread over ranks cannot be taken of micro-batches: take one micro-batch a rank";
            return Err(Error::Oracle(message.into()));
        }
        for (i, (part, _)) in self.parts.iter_mut().enumerate() {
            let seed = |sample: Sample| SplitMix64::new(sample.seed ^ i as u64).next_u64();
            part.restrict(sample.map(|sample| Sample { seed: seed(sample), ..sample }))?;
        }
        Ok(())
    }
}

impl<O: HvpOracle> HvpOracle for Accumulated<O> {
    /// Those of the micro-batches: the mean of one-sided differences of one step is that of the mean. Of micro-batches that
    /// differ, [`Products::Exact`]: nothing that others could share.
    fn products(&self) -> Products {
        let mut kinds = self.parts.iter().map(|(part, _)| part.products());
        let first = kinds.next().unwrap_or(Products::Exact);
        if kinds.all(|kind| kind == first) { first } else { Products::Exact }
    }

    fn hvp(&mut self, here: &Evaluation<'_, O::Vector, ()>, v: &O::Vector, _: Use) -> Result<O::Vector> {
        let mut mean: Option<O::Vector> = None;
        for (part, weight) in &mut self.parts {
            let again = part.evaluate(&here.at, Pass::Probe, part.products().order())?;
            let product = part.hvp(&again, v, Use::Last)?;
            add(&mut mean, *weight, product)?;
        }
        mean.ok_or_else(nothing)
    }

    /// Each micro-batch is evaluated once for all vectors.
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, ()>,
        vs: &[O::Vector],
    ) -> Result<Vec<O::Vector>> {
        let mut means: Vec<Option<O::Vector>> = vec![None; vs.len()];
        if vs.is_empty() {
            return Ok(Vec::new());
        }
        for (part, weight) in &mut self.parts {
            let again = part.evaluate(&here.at, Pass::Probe, part.products().order())?;
            for (mean, v) in means.iter_mut().zip(vs) {
                add(mean, *weight, part.hvp(&again, v, Use::Again)?)?;
            }
        }
        means.into_iter().map(|mean| mean.ok_or_else(nothing)).collect()
    }
}

/// Adds a micro-batch's share to a mean.
fn add<V: Vector>(mean: &mut Option<V>, weight: f64, share: V) -> Result<()> {
    match mean {
        Some(mean) => mean.axpy(weight, &share),
        none => none.insert(share).scale(weight),
    }
}

fn nothing() -> Error {
    Error::Oracle("an accumulation needs at least one micro-batch".into())
}
