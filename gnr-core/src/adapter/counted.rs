//! An oracle that counts what it is asked, to measure or assert the cost of a method.

use crate::{Evaluation, GradOracle, HvpOracle, Order, Pass, Products, Result, Sample, SampledOracle, Use};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What an oracle was asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Evaluations with [`Pass::Commit`].
    pub commits: u64,
    /// Evaluations with [`Pass::Probe`].
    pub probes: u64,
    /// Evaluations (of either pass) with [`Order::Second`].
    pub second_order: u64,
    /// Products of any kind, one each.
    pub products: u64,
}

impl Counts {
    /// Gradients computed, whatever their pass and order.
    pub fn evaluations(&self) -> u64 {
        self.commits + self.probes
    }
}

/// A shared handle on the counts of one or several [`Counted`] oracles.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<[AtomicU64; 4]>);

impl Counter {
    /// The counts so far.
    pub fn counts(&self) -> Counts {
        let [commits, probes, second_order, products] = self.0.each_ref().map(|count| count.load(Relaxed));
        Counts { commits, probes, second_order, products }
    }

    /// The counts so far, which start again from zero.
    pub fn take(&self) -> Counts {
        let [commits, probes, second_order, products] = self.0.each_ref().map(|count| count.swap(0, Relaxed));
        Counts { commits, probes, second_order, products }
    }
}

/// Counts the evaluations and products of `inner`, failed ones included, and changes nothing.
#[derive(Clone, Debug)]
pub struct Counted<O> {
    inner: O,
    counter: Counter,
}

impl<O> Counted<O> {
    /// Counts from zero.
    pub fn new(inner: O) -> Self {
        Self::with_counter(inner, Counter::default())
    }

    /// Adds to the counts of others, such as the oracles of a whole run.
    pub fn with_counter(inner: O, counter: Counter) -> Self {
        Self { inner, counter }
    }

    /// A handle that sees the counts while the oracle is borrowed elsewhere.
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }

    fn count_evaluation(&self, pass: Pass, order: Order) {
        let [commits, probes, second_order, _] = &*self.counter.0;
        match pass {
            Pass::Commit => commits,
            Pass::Probe => probes,
        }
        .fetch_add(1, Relaxed);
        if order == Order::Second {
            second_order.fetch_add(1, Relaxed);
        }
    }

    fn count_products(&self, count: usize) {
        self.counter.0[3].fetch_add(count as u64, Relaxed);
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

    /// A loss alone counts as an evaluation, though it may cost less.
    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        self.count_evaluation(Pass::Probe, Order::First);
        self.inner.loss(at)
    }
}

impl<O: SampledOracle> SampledOracle for Counted<O> {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.inner.restrict(sample)
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
