//! An oracle that counts what it is asked, to measure or assert the cost of a method.

use crate::{Evaluation, GgnOracle, GradOracle, HvpOracle, Order, Pass, Result, Sample};
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
    /// Hessian-vector and Gauss–Newton products, one each.
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

    fn gradient_at(&mut self, at: O::Vector) -> Result<O::Vector> {
        self.count_evaluation(Pass::Probe, Order::First);
        self.inner.gradient_at(at)
    }

    /// A loss alone counts as an evaluation, though it may cost less.
    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        self.counter.0[1].fetch_add(1, Relaxed);
        self.inner.loss(at)
    }

    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.inner.restrict(sample)
    }
}

impl<O: HvpOracle> HvpOracle for Counted<O> {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.counter.0[3].fetch_add(1, Relaxed);
        self.inner.hvp(here, v, out)
    }
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        vs: &[O::Vector],
        outs: &mut [O::Vector],
    ) -> Result<()> {
        self.counter.0[3].fetch_add(vs.len() as u64, Relaxed);
        self.inner.hvp_block(here, vs, outs)
    }
    fn last_hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.counter.0[3].fetch_add(1, Relaxed);
        self.inner.last_hvp(here, v, out)
    }
    fn hvp_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        self.counter.0[3].fetch_add(1, Relaxed);
        self.inner.hvp_of_gradient(here)
    }
    fn release(&mut self, here: &Evaluation<'_, O::Vector, O::Record>) {
        self.inner.release(here);
    }
    fn forward_difference_step(&self) -> Option<f64> {
        self.inner.forward_difference_step()
    }
    fn order_for_products(&self) -> Order {
        self.inner.order_for_products()
    }
}

impl<O: GgnOracle> GgnOracle for Counted<O> {
    fn ggn(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.counter.0[3].fetch_add(1, Relaxed);
        self.inner.ggn(here, v, out)
    }
    fn ggn_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        vs: &[O::Vector],
        outs: &mut [O::Vector],
    ) -> Result<()> {
        self.counter.0[3].fetch_add(vs.len() as u64, Relaxed);
        self.inner.ggn_block(here, vs, outs)
    }
    fn last_ggn(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.counter.0[3].fetch_add(1, Relaxed);
        self.inner.last_ggn(here, v, out)
    }
    fn ggn_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        self.counter.0[3].fetch_add(1, Relaxed);
        self.inner.ggn_of_gradient(here)
    }
}
