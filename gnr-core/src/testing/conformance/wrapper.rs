//! The conformance suite of oracles made of another oracle: every operation must reach the inner one.

use crate::{
    Evaluation, ExampleOracle, FullOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point,
    Products, Result, Sample, SampledOracle, Use, Vector,
    testing::{Problem, ProblemOracle, Quadratic},
};
use std::{cell::RefCell, rc::Rc};

/// The operations of the oracle traits, with the arguments that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A call of [`GradOracle::evaluate`], with pass and order.
    Evaluate(Pass, Order),
    /// A call of [`GradOracle::gradient`].
    Gradient,
    /// A call of [`GradOracle::loss`].
    Loss,
    /// A call of [`SampledOracle::restrict`], with a sample (`true`) or without.
    Restrict(bool),
    /// A call of [`ExampleOracle::losses`], of the committed point or another one.
    Losses(Pass),
    /// A call of [`ExampleOracle::select`], with rows (`true`) or without.
    Select(bool),
    /// A call of [`OutputOracle::outputs`], of the committed point or another one.
    Outputs(Pass),
    /// A call of [`OutputOracle::pull_back`].
    PullBack,
    /// A call of [`OutputOracle::examples`].
    Examples,
    /// A call of [`HvpOracle::products`], which is always allowed.
    Products,
    /// A call of [`HvpOracle::hvp`], with the use of the record.
    Hvp(Use),
    /// A call of [`HvpOracle::hvp_block`].
    HvpBlock,
    /// A call of [`HvpOracle::hvp_of_gradient`].
    HvpOfGradient,
}

/// An oracle that records its calls.
#[derive(Clone)]
pub struct Spy {
    inner: ProblemOracle<Quadratic>,
    products: Products,
    seen: Rc<RefCell<Vec<Operation>>>,
}

impl Spy {
    fn note(&self, operation: Operation) {
        self.seen.borrow_mut().push(operation);
    }
}

impl GradOracle for Spy {
    type Vector = Vec<f64>;
    type Record = Order;
    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<f64>,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, Vec<f64>, Order>> {
        self.note(Operation::Evaluate(pass, order));
        // Always evaluated to second order: the record that a product needs is not under test here.
        self.inner.evaluate(at, pass, Order::Second)
    }
    fn gradient(&mut self, at: Vec<f64>) -> Result<Vec<f64>> {
        self.note(Operation::Gradient);
        self.inner.gradient(at)
    }
    fn loss(&mut self, at: &Vec<f64>) -> Result<f64> {
        self.note(Operation::Loss);
        self.inner.loss(at)
    }
}

impl SampledOracle for Spy {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.note(Operation::Restrict(sample.is_some()));
        Ok(())
    }
}

/// Number of examples of the batch of a [`Spy`].
const EXAMPLES: usize = 3;

fn pass(at: Point<'_, Vec<f64>>) -> Pass {
    if at.is_probe() { Pass::Probe } else { Pass::Commit }
}

impl ExampleOracle for Spy {
    fn losses(&mut self, at: Point<'_, Vec<f64>>) -> Result<Vec<f64>> {
        self.note(Operation::Losses(pass(at)));
        Ok(vec![1.0; EXAMPLES])
    }
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        self.note(Operation::Select(rows.is_some()));
        Ok(rows.map_or(1.0, |rows| rows.len() as f64 / EXAMPLES as f64))
    }
}

impl OutputOracle for Spy {
    fn outputs(&mut self, at: Point<'_, Vec<f64>>) -> Result<Outputs> {
        self.note(Operation::Outputs(pass(at)));
        Ok(Outputs::column(vec![2.0; EXAMPLES]))
    }
    fn pull_back(&mut self, at: &Vec<f64>, _: &Outputs) -> Result<Vec<f64>> {
        self.note(Operation::PullBack);
        self.inner.gradient(at.clone())
    }
    fn examples(&self) -> Result<Vec<u64>> {
        self.note(Operation::Examples);
        Ok((0..EXAMPLES as u64).collect())
    }
}

impl HvpOracle for Spy {
    fn products(&self) -> Products {
        self.note(Operation::Products);
        self.products
    }
    fn hvp(&mut self, here: &Evaluation<'_, Vec<f64>, Order>, v: &Vec<f64>, record: Use) -> Result<Vec<f64>> {
        self.note(Operation::Hvp(record));
        self.inner.hvp(here, v, record)
    }
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, Vec<f64>, Order>,
        vs: &[Vec<f64>],
    ) -> Result<Vec<Vec<f64>>> {
        self.note(Operation::HvpBlock);
        self.inner.hvp_block(here, vs)
    }
    fn hvp_of_gradient(&mut self, here: Evaluation<'_, Vec<f64>, Order>) -> Result<Vec<f64>> {
        self.note(Operation::HvpOfGradient);
        self.inner.hvp_of_gradient(here)
    }
}

/// Checks a wrapper of oracles: each of its operations must ask the inner oracle for what `expected` says. No default
/// of a trait may stand in for an operation.
///
/// `expected` gets an operation and the kind of the inner products, and returns the operations on the inner oracle. For
/// wrappers that only pass on it is [`same`].
///
/// # Panics
/// When the wrapper does not conform.
pub fn check_wrapper<W>(wrap: impl Fn(Spy) -> W, expected: impl Fn(Operation, Products) -> Vec<Operation>)
where
    W: FullOracle<Vector = Vec<f64>>,
{
    use Operation::{
        Evaluate, Examples, Gradient, Hvp, HvpBlock, HvpOfGradient, Loss, Losses, PullBack, Restrict, Select,
    };
    let quadratic = Quadratic::diagonal(&[1.0, 2.0, 0.5]);
    let theta = vec![1.0, -2.0, 0.5];
    assert_eq!(quadratic.dim(), theta.dim());
    let kinds = [
        Products::Exact,
        Products::GaussNewton,
        Products::ForwardDifference { step: 0.125 },
        Products::CentralDifference { step: 0.25 },
    ];
    for products in kinds {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let inner = ProblemOracle::new(quadratic.clone());
        let mut wrapper = wrap(Spy { inner, products, seen: Rc::clone(&seen) });
        seen.borrow_mut().clear();
        let mut ask = |operation: Operation| -> Result<()> {
            let here = wrapper.evaluate(&theta, Pass::Probe, Order::Second)?;
            seen.borrow_mut().clear();
            match operation {
                Evaluate(pass, order) => drop(wrapper.evaluate(&theta, pass, order)?),
                Gradient => drop(wrapper.gradient(theta.clone())?),
                Loss => drop(wrapper.loss(&theta)?),
                Restrict(some) => wrapper.restrict(some.then_some(Sample::new(0.5, 3)))?,
                Losses(Pass::Commit) => drop(wrapper.losses(Point::Committed)?),
                Losses(Pass::Probe) => drop(wrapper.losses(Point::At(&theta))?),
                Select(false) => drop(wrapper.select(None)?),
                Select(true) => {
                    // The batch may have more examples than the inner oracle.
                    let share = wrapper.select(Some(&[0, 2]))?;
                    assert!(share > 0.0 && share <= 2.0 / EXAMPLES as f64, "selected a share of {share}");
                }
                Operation::Outputs(Pass::Commit) => drop(wrapper.outputs(Point::Committed)?),
                Operation::Outputs(Pass::Probe) => drop(wrapper.outputs(Point::At(&theta))?),
                PullBack => {
                    let rows = wrapper.examples()?.len();
                    seen.borrow_mut().clear();
                    drop(wrapper.pull_back(&theta, &Outputs::column(vec![1.0; rows]))?);
                }
                Examples => assert!(wrapper.examples()?.chunks(EXAMPLES).all(|own| own == [0, 1, 2])),
                Operation::Products => drop(wrapper.products()),
                Hvp(record) => drop(wrapper.hvp(&here, &theta, record)?),
                HvpBlock => drop(wrapper.hvp_block(&here, &[theta.clone(), theta.clone()])?),
                HvpOfGradient => drop(wrapper.hvp_of_gradient(here)?),
            }
            let found: Vec<_> =
                seen.borrow().iter().copied().filter(|seen| *seen != Operation::Products).collect();
            assert_eq!(
                found,
                expected(operation, products),
                "what {operation:?} of the wrapper asks the inner oracle"
            );
            Ok(())
        };
        let operations = [
            Evaluate(Pass::Commit, Order::First),
            Evaluate(Pass::Commit, Order::Second),
            Evaluate(Pass::Probe, Order::First),
            Evaluate(Pass::Probe, Order::Second),
            Gradient,
            Loss,
            Restrict(true),
            Restrict(false),
            Losses(Pass::Commit),
            Losses(Pass::Probe),
            Select(true),
            Select(false),
            Operation::Outputs(Pass::Commit),
            Operation::Outputs(Pass::Probe),
            PullBack,
            Examples,
            Hvp(Use::Again),
            Hvp(Use::Last),
            HvpBlock,
            HvpOfGradient,
        ];
        for operation in operations {
            if let Err(error) = ask(operation) {
                panic!("{operation:?} failed: {error}");
            }
        }
        if expected(Operation::Products, products) == [Operation::Products] {
            assert_eq!(wrapper.products(), products, "what the wrapper's products are");
        }
    }
}

/// The expectation for a wrapper that passes every operation on.
pub fn same(operation: Operation, _: Products) -> Vec<Operation> {
    vec![operation]
}
