//! A mini-batch that does not fit in memory, as the mean of micro-batches that do.

use crate::{
    Error, Evaluation, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point,
    Products, Quantity, Result, Sample, SampledOracle, Use, Vector, checked_share, error::finite,
    random::SplitMix64,
};

/// One mini-batch made of micro-batches: L̂ = Σᵢ (nᵢ/n)·L̂ᵢ. Gradients and products are means with these
/// weights, too.
///
/// Methods see one batch: SAM and GNR perturb once, along the whole batch's gradient, and every micro-batch is
/// evaluated at that one point. A [`Pass::Commit`] reaches each micro-batch exactly once. Where L̂ᵢ depends on its
/// micro-batch as a whole, as with BatchNorm, L̂ is the mean of the micro-batches' own losses.
///
/// # Cost
/// Memory of one micro-batch, because no record outlives its micro-batch. An exact product therefore evaluates each
/// micro-batch again, with [`Order::Second`], multiplies, and drops the record: one gradient more a product. For
/// products by differences wrap the accumulation, `ForwardDiff::new(Accumulated::new(..)?)`: they need no record and
/// cost nothing extra.
#[derive(Clone, Debug)]
pub struct Accumulated<O> {
    /// Each micro-batch with its weight: nᵢ/n, or after a selection the selected examples in it over all selected
    /// examples.
    parts: Vec<(O, f64)>,
    /// The number of examples nᵢ of each micro-batch.
    examples: Vec<usize>,
    /// The number of examples of each micro-batch in the present sample or selection.
    rows: Vec<usize>,
}

impl<O> Accumulated<O> {
    /// Makes one batch of micro-batches, each given with its number of examples nᵢ ≥ 1.
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
        let (parts, examples): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let weights = shares(&examples);
        Ok(Self { parts: parts.into_iter().zip(weights).collect(), rows: examples.clone(), examples })
    }

    /// Takes up a sample or selection of so many examples of each micro-batch, which have these weights.
    fn take_up(&mut self, rows: Vec<usize>, weights: Vec<f64>) {
        self.parts.iter_mut().zip(weights).for_each(|((_, weight), new)| *weight = new);
        self.rows = rows;
    }

    /// The micro-batches that answer at a point: all of them at the committed point, which knows no selection.
    fn answering<V>(&mut self, at: Point<'_, V>) -> impl Iterator<Item = &mut O> {
        let probe = at.is_probe();
        self.parts.iter_mut().filter(move |(_, weight)| !probe || *weight > 0.0).map(|(part, _)| part)
    }

    /// The micro-batches with a positive weight: those that have selected examples, or all of them without a selection.
    fn present(&mut self) -> impl Iterator<Item = (&mut O, f64)> {
        self.parts.iter_mut().filter(|(_, weight)| *weight > 0.0).map(|(part, weight)| (part, *weight))
    }

    /// The number of micro-batches.
    pub fn num_parts(&self) -> usize {
        self.parts.len()
    }
}

impl<O: GradOracle> GradOracle for Accumulated<O> {
    type Vector = O::Vector;
    /// No record is kept between micro-batches.
    type Record = ();

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        _: Order,
    ) -> Result<Evaluation<'a, O::Vector, ()>> {
        let mut loss = 0.0;
        let mut mean: Option<O::Vector> = None;
        for (part, weight) in self.present() {
            let evaluation = part.evaluate(at, pass, Order::First)?;
            loss += weight * evaluation.loss;
            add(&mut mean, weight, evaluation.grad)?;
        }
        Evaluation::new(at, loss, mean.ok_or_else(nothing)?, ())
    }

    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        let mut loss = 0.0;
        for (part, weight) in self.present() {
            loss += weight * part.loss(at)?;
        }
        finite(Quantity::Loss, loss)
    }
}

impl<O: SampledOracle> SampledOracle for Accumulated<O> {
    /// Restricts every micro-batch to its share of the sample. The weights are those of the whole batch.
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        if sample.is_some_and(|sample| sample.part.is_some()) {
            let message = "a sample of a batch that is spread over ranks cannot be taken of micro-batches: take one micro-batch a rank";
            return Err(Error::Oracle(message.into()));
        }
        for (i, (part, _)) in self.parts.iter_mut().enumerate() {
            let seed = |sample: Sample| SplitMix64::new(sample.seed ^ i as u64).next_u64();
            part.restrict(sample.map(|sample| Sample { seed: seed(sample), ..sample }))?;
        }
        let rows = self.examples.iter().map(|&n| sample.map_or(n, |sample| sample.rows(n).len())).collect();
        self.take_up(rows, shares(&self.examples));
        Ok(())
    }
}

impl<O: ExampleOracle> ExampleOracle for Accumulated<O> {
    fn losses(&mut self, at: Point<'_, O::Vector>) -> Result<Vec<f64>> {
        let mut losses = Vec::new();
        for part in self.answering(at) {
            losses.extend(part.losses(at)?);
        }
        Ok(losses)
    }

    /// Selects rows of the whole batch; a micro-batch without a selected example is passed over.
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        let share = checked_share(rows, self.examples.iter().sum())?;
        let mut counts = self.examples.clone();
        let mut start = 0;
        for ((part, _), count) in self.parts.iter_mut().zip(&mut counts) {
            let end = start + *count;
            let own = rows.map(|rows| -> Vec<usize> {
                rows.iter().filter(|row| (start..end).contains(*row)).map(|row| row - start).collect()
            });
            *count = own.as_ref().map_or(*count, Vec::len);
            if *count > 0 {
                part.select(own.as_deref())?;
            }
            start = end;
        }
        let weights = shares(&counts);
        self.take_up(counts, weights);
        Ok(share)
    }
}

impl<O: OutputOracle> OutputOracle for Accumulated<O> {
    fn outputs(&mut self, at: Point<'_, O::Vector>) -> Result<Outputs> {
        let mut all: Option<Outputs> = None;
        for part in self.answering(at) {
            let outputs = part.outputs(at)?;
            match &mut all {
                Some(all) => all.append(outputs)?,
                none => *none = Some(outputs),
            }
        }
        all.ok_or_else(nothing)
    }

    /// The sum over the micro-batches, without their weights, which u already contains.
    fn pull_back(&mut self, at: &O::Vector, u: &Outputs) -> Result<O::Vector> {
        let mut sum: Option<O::Vector> = None;
        let rows: Vec<usize> = self.rows.iter().copied().filter(|rows| *rows > 0).collect();
        for ((part, _), u) in self.present().zip(u.cut(rows)?) {
            add(&mut sum, 1.0, part.pull_back(at, &u)?)?;
        }
        sum.ok_or_else(nothing)
    }

    fn examples(&self) -> Result<Vec<u64>> {
        let parts: Vec<_> = self.parts.iter().map(|(part, _)| part.examples()).collect::<Result<_>>()?;
        Ok(parts.concat())
    }
}

impl<O: HvpOracle> HvpOracle for Accumulated<O> {
    /// The kind of products that the micro-batches have: the mean of one-sided differences of one step is the one-sided
    /// difference of the mean. Micro-batches of different kinds give [`Products::Exact`], for which regularisers share
    /// no gradients.
    fn products(&self) -> Products {
        let mut kinds = self.parts.iter().map(|(part, _)| part.products());
        let first = kinds.next().unwrap_or(Products::Exact);
        if kinds.all(|kind| kind == first) { first } else { Products::Exact }
    }

    fn hvp(&mut self, here: &Evaluation<'_, O::Vector, ()>, v: &O::Vector, _: Use) -> Result<O::Vector> {
        let mut mean: Option<O::Vector> = None;
        for (part, weight) in self.present() {
            let again = part.evaluate(&here.at, Pass::Probe, part.products().order())?;
            let product = part.hvp(&again, v, Use::Last)?;
            add(&mut mean, weight, product)?;
        }
        mean.ok_or_else(nothing)
    }

    /// Multiplies with all vectors at one evaluation of each micro-batch.
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, ()>,
        vs: &[O::Vector],
    ) -> Result<Vec<O::Vector>> {
        let mut means: Vec<Option<O::Vector>> = vec![None; vs.len()];
        if vs.is_empty() {
            return Ok(Vec::new());
        }
        for (part, weight) in self.present() {
            let again = part.evaluate(&here.at, Pass::Probe, part.products().order())?;
            for (mean, v) in means.iter_mut().zip(vs) {
                add(mean, weight, part.hvp(&again, v, Use::Again)?)?;
            }
        }
        means.into_iter().map(|mean| mean.ok_or_else(nothing)).collect()
    }
}

/// Adds `weight`·`share` to a mean, which is `None` before the first share.
fn add<V: Vector>(mean: &mut Option<V>, weight: f64, share: V) -> Result<()> {
    match mean {
        Some(mean) => mean.axpy(weight, &share),
        none => none.insert(share).scale(weight),
    }
}

/// The weight nᵢ/n of each micro-batch.
fn shares(examples: &[usize]) -> Vec<f64> {
    let n: usize = examples.iter().sum();
    examples.iter().map(|&n_i| n_i as f64 / n as f64).collect()
}

fn nothing() -> Error {
    Error::Oracle("an accumulation needs at least one micro-batch".into())
}
