//! A step that fails anywhere changes nothing: neither θ, nor the state of the regularisers or the optimiser.

use crate::{
    ok,
    regularizer_matrix::{Given, LINES, Oracle, V, bits, method, oracle, theta_0},
};
use gnr_core::{
    Checkpoint, Clip, Error, Evaluation, Every, ExampleOracle, FullOracle, GradOracle, HvpOracle, Leaves,
    Method, Optimizer, Order, OutputOracle, Outputs, Pass, Point, Products, Regularizer, Result, Sam, Sample,
    SampledOracle, Use, optimizer, regularizer::HessianDiagonal,
};
use std::cell::Cell;

/// An oracle that fails on its k-th question, counted from 0, and only there.
struct Failing {
    inner: Oracle,
    left: Cell<Option<u64>>,
}

impl Failing {
    fn new(inner: Oracle, k: u64) -> Self {
        Self { inner, left: Cell::new(Some(k)) }
    }
    fn asked(&self) -> Result<()> {
        match self.left.get() {
            Some(0) => {
                self.left.set(None);
                Err(Error::Oracle("out of order".into()))
            }
            Some(left) => {
                self.left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl GradOracle for Failing {
    type Vector = V;
    type Record = Order;
    fn evaluate<'a>(&mut self, at: &'a V, pass: Pass, order: Order) -> Result<Evaluation<'a, V, Order>> {
        self.asked()?;
        self.inner.evaluate(at, pass, order)
    }
    fn gradient(&mut self, at: V) -> Result<V> {
        self.asked()?;
        self.inner.gradient(at)
    }
    fn loss(&mut self, at: &V) -> Result<f64> {
        self.asked()?;
        self.inner.loss(at)
    }
}

impl SampledOracle for Failing {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.asked()?;
        self.inner.restrict(sample)
    }
}

impl ExampleOracle for Failing {
    fn losses(&mut self, at: Point<'_, V>) -> Result<Vec<f64>> {
        self.asked()?;
        self.inner.losses(at)
    }
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        self.asked()?;
        self.inner.select(rows)
    }
}

impl OutputOracle for Failing {
    fn outputs(&mut self, at: Point<'_, V>) -> Result<Outputs> {
        self.asked()?;
        self.inner.outputs(at)
    }
    fn pull_back(&mut self, at: &V, u: &Outputs) -> Result<V> {
        self.asked()?;
        self.inner.pull_back(at, u)
    }
    fn examples(&self) -> Result<Vec<u64>> {
        self.asked()?;
        self.inner.examples()
    }
}

impl HvpOracle for Failing {
    fn products(&self) -> Products {
        self.inner.products()
    }
    fn hvp(&mut self, here: &Evaluation<'_, V, Order>, v: &V, record: Use) -> Result<V> {
        self.asked()?;
        self.inner.hvp(here, v, record)
    }
}

/// All state of a method, and θ.
fn state<O: FullOracle<Vector = V>, P: Optimizer<V>>(
    method: &Method<impl Regularizer<O>, P, f64>,
    theta: &V,
) -> (Leaves<V>, Leaves<V>, Vec<u64>) {
    let (mut regularizer, mut optimizer) = (Leaves::new(), Leaves::new());
    ok(Regularizer::<O>::save(&method.regularizer, &mut regularizer));
    ok(Checkpoint::save(&method.optimizer, &mut optimizer));
    (regularizer, optimizer, bits(theta))
}

/// Makes some steps, each of which first fails on each of its questions in turn and then succeeds. The run must equal
/// one in which nothing failed.
fn check<R: Regularizer<Failing>, P: Optimizer<V>>(name: &str, make: impl Fn() -> Method<R, P, f64>) {
    const STEPS: u64 = 9;
    let (mut whole, mut expected) = (make(), theta_0());
    let (mut method, mut theta, mut failures) = (make(), theta_0(), 0);
    for t in 0..STEPS {
        let before = state(&method, &theta);
        let mut k = 0;
        while method.step(t, &mut theta, &mut Failing::new(oracle(t), k)).is_err() {
            assert!(
                state(&method, &theta) == before,
                "{name}: step {t} failed on question {k} and left a trace"
            );
            k += 1;
        }
        failures += k;
        ok(whole.step(t, &mut expected, &mut Failing::new(oracle(t), u64::MAX)));
        assert!(state(&method, &theta) == state(&whole, &expected), "{name}: after {k} failures of step {t}");
        // A step over two groups, the second of which fails.
        let before = state(&method, &theta);
        let groups = [(Failing::new(oracle(t), u64::MAX), 4), (Failing::new(oracle(t), 0), 4)];
        assert!(method.step_groups(t, &mut theta, groups).is_err(), "{name}: a group that fails");
        assert!(state(&method, &theta) == before, "{name}: the second group of step {t} failed");
    }
    assert!(failures >= STEPS, "{name}: {failures} failures");
}

#[test]
fn every_regularizer_forgets_a_failed_step() {
    for line in LINES {
        for given in line.variants() {
            let momentum = || ok(optimizer::build::<V>(&ok(entry("sgd").values([("momentum", 0.9.into())]))));
            check(&format!("{} {given:?}", line.name), || {
                let Method { regularizer, learning_rate, clip, .. } =
                    method::<Failing>(line.name, &given, 0.1);
                Method { regularizer, optimizer: momentum(), learning_rate, clip }
            });
        }
    }
}

fn entry(name: &str) -> &'static gnr_core::registry::Entry {
    gnr_core::registry::find(optimizer::entries(), name).unwrap_or_else(|| panic!("`{name}`"))
}

/// Optimisers with their estimates of the Hessian on every second step, followed by a regulariser that may fail.
#[test]
fn every_optimizer_forgets_a_failed_step() {
    for entry in optimizer::entries() {
        check(entry.name, || Method {
            regularizer: (ok(Every::new(HessianDiagonal::new(3), 2)), ok(Sam::new(0.1))),
            optimizer: ok(optimizer::build::<V>(&ok(entry.values([])))),
            learning_rate: 0.01,
            clip: Clip::None,
        });
    }
}

/// Combinations pass the end of a step on to their members: without it a member would never keep its state.
#[test]
fn combinations_end_the_steps_of_their_members() {
    fn remembers<R: Regularizer<Oracle>>(name: &str, wrap: impl Fn(Made) -> R) {
        let Method { regularizer, learning_rate, clip, .. } = vasso();
        let mut method =
            Method { regularizer: wrap(regularizer), optimizer: gnr_core::Sgd::new(), learning_rate, clip };
        let mut leaves = Leaves::new();
        ok(method.step(0, &mut theta_0(), &mut oracle(0)));
        ok(method.regularizer.save(&mut leaves));
        assert_eq!(leaves.len(), 1, "{name}");
    }
    type Made = Box<dyn Regularizer<Oracle>>;
    fn vasso() -> Method<Made, gnr_core::Sgd<V>, f64> {
        let given: Given = Vec::new();
        let Method { regularizer, optimizer, learning_rate, clip } = method::<Oracle>("vasso", &given, 0.1);
        Method { regularizer: Box::new(regularizer), optimizer, learning_rate, clip }
    }
    remembers("box", |inner| inner);
    remembers("one", |inner| (inner,));
    remembers("two", |inner| ((), inner));
    remembers("three", |inner| ((), (), inner));
    remembers("four", |inner| ((), (), (), inner));
    remembers("list", |inner| vec![inner]);
    remembers("option", Some);
}
