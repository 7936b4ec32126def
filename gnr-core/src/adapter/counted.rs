//! An oracle that counts what it is asked, to measure or assert the cost of a method.

use crate::{
    Evaluation, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point, Products,
    Result, Sample, SampledOracle, Use,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The questions that an oracle was asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Evaluations with [`Pass::Commit`].
    pub commits: u64,
    /// Evaluations with [`Pass::Probe`].
    pub probes: u64,
    /// Evaluations (of either pass) with [`Order::Second`].
    pub second_order: u64,
    /// Products of any kind, one each.
    pub products: u64,
    /// Forward passes without a gradient: losses of the examples, outputs.
    pub forwards: u64,
    /// Gradients in units of the whole batch: each evaluation counts by its share of the batch's examples.
    pub gradients: f64,
    /// Products in units of the whole batch, likewise.
    pub batch_products: f64,
}

impl Counts {
    /// Gradients computed, whatever their pass and order, and on however many examples.
    pub fn evaluations(&self) -> u64 {
        self.commits + self.probes
    }

    fn new(
        [commits, probes, second_order, products, forwards, gradients, batch_products]: [u64; NUMBERS],
    ) -> Self {
        let [gradients, batch_products] = [gradients, batch_products].map(f64::from_bits);
        Self { commits, probes, second_order, products, forwards, gradients, batch_products }
    }
}

/// A shared handle on the counts of one or several [`Counted`] oracles.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<[AtomicU64; NUMBERS]>);

impl Counter {
    /// The counts so far.
    pub fn counts(&self) -> Counts {
        Counts::new(self.0.each_ref().map(|count| count.load(Relaxed)))
    }

    /// The counts so far, which are set to zero.
    pub fn take(&self) -> Counts {
        Counts::new(self.0.each_ref().map(|count| count.swap(0, Relaxed)))
    }

    fn add(&self, which: usize, count: u64) {
        self.0[which].fetch_add(count, Relaxed);
    }

    /// Adds to a number that is stored as the bits of an f64 (bits 0 are 0.0).
    fn add_shares(&self, which: usize, shares: f64) {
        let add = |bits| Some((f64::from_bits(bits) + shares).to_bits());
        // The closure never refuses.
        let _ = self.0[which].fetch_update(Relaxed, Relaxed, add);
    }
}

/// Place of each number in a [`Counter`].
const COMMITS: usize = 0;
const PROBES: usize = 1;
const SECOND_ORDER: usize = 2;
const PRODUCTS: usize = 3;
const FORWARDS: usize = 4;
const GRADIENTS: usize = 5;
const BATCH_PRODUCTS: usize = 6;
/// Count of numbers in a [`Counter`].
const NUMBERS: usize = 7;

/// Counts the evaluations and products of `inner`, failed ones included, and changes nothing.
#[derive(Clone, Debug)]
pub struct Counted<O> {
    inner: O,
    counter: Counter,
    /// The share of the batch's examples that the oracle answers for at present, in (0, 1].
    share: f64,
}

impl<O> Counted<O> {
    /// Wraps an oracle with a counter of its own, at zero.
    pub fn new(inner: O) -> Self {
        Self::with_counter(inner, Counter::default())
    }

    /// Wraps an oracle and adds to a given counter, such as one for all oracles of a run.
    pub fn with_counter(inner: O, counter: Counter) -> Self {
        Self { inner, counter, share: 1.0 }
    }

    /// A handle that reads the counts while the oracle is borrowed elsewhere.
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }

    fn count_evaluation(&self, pass: Pass, order: Order) {
        self.counter.add(if pass == Pass::Commit { COMMITS } else { PROBES }, 1);
        if order == Order::Second {
            self.counter.add(SECOND_ORDER, 1);
        }
        self.counter.add_shares(GRADIENTS, self.share);
    }

    fn count_products(&self, count: usize) {
        self.counter.add(PRODUCTS, count as u64);
        self.counter.add_shares(BATCH_PRODUCTS, self.share * count as f64);
    }

    fn count_forward<V>(&self, at: &Point<'_, V>) {
        if at.is_probe() {
            self.counter.add(FORWARDS, 1);
        }
    }
}

impl<O: GradOracle> GradOracle for Counted<O> {
    type Vector = O::Vector;
    type Record = O::Record;

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, O::Vector, O::Record>> {
        self.count_evaluation(pass, order);
        self.inner.evaluate(at, pass, order)
    }

    fn gradient(&mut self, at: O::Vector) -> Result<O::Vector> {
        self.count_evaluation(Pass::Probe, Order::First);
        self.inner.gradient(at)
    }

    /// Counts a loss as a probe, though a loss alone may cost less than a gradient.
    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        self.count_evaluation(Pass::Probe, Order::First);
        self.inner.loss(at)
    }
}

impl<O: SampledOracle> SampledOracle for Counted<O> {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.share = sample.map_or(1.0, |sample| sample.fraction);
        self.inner.restrict(sample)
    }
}

impl<O: ExampleOracle> ExampleOracle for Counted<O> {
    fn losses(&mut self, at: Point<'_, O::Vector>) -> Result<Vec<f64>> {
        self.count_forward(&at);
        self.inner.losses(at)
    }
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        self.share = self.inner.select(rows)?;
        Ok(self.share)
    }
}

impl<O: OutputOracle> OutputOracle for Counted<O> {
    fn outputs(&mut self, at: Point<'_, O::Vector>) -> Result<Outputs> {
        self.count_forward(&at);
        self.inner.outputs(at)
    }
    /// Counts as a probe: the gradient of another function costs as much as that of L̂.
    fn pull_back(&mut self, at: &O::Vector, u: &Outputs) -> Result<O::Vector> {
        self.count_evaluation(Pass::Probe, Order::First);
        self.inner.pull_back(at, u)
    }
    fn examples(&self) -> Result<Vec<u64>> {
        self.inner.examples()
    }
}

impl<O: HvpOracle> HvpOracle for Counted<O> {
    fn products(&self) -> Products {
        self.inner.products()
    }
    fn hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        record: Use,
    ) -> Result<O::Vector> {
        self.count_products(1);
        self.inner.hvp(here, v, record)
    }
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        vs: &[O::Vector],
    ) -> Result<Vec<O::Vector>> {
        self.count_products(vs.len());
        self.inner.hvp_block(here, vs)
    }
    fn hvp_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        self.count_products(1);
        self.inner.hvp_of_gradient(here)
    }
}
