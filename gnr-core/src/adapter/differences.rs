//! Hessian-vector products as differences of gradients: the common part of the schemes, each of which has a file.

use std::marker::PhantomData;

use crate::{
    Evaluation, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point, Products,
    Result, Sample, SampledOracle, Use, Vector, schedule::validate_constant, vector::same_dim,
};

/// A way to make a product of gradients at points near θ.
pub trait Scheme {
    /// The default of ε, the norm of the perturbation: the best for f32.
    const STEP: f64;

    /// The kind of the scheme's products, with the step ε.
    fn products(step: f64) -> Products;

    /// H·v for ‖v‖ = `v_norm` > 0, by gradients at the distance `step` from the point `at`, which is consumed. `grad`
    /// is the gradient at the point.
    ///
    /// # Errors
    /// The errors of the gradients.
    fn product<O: GradOracle>(
        inner: &mut O,
        step: f64,
        at: O::Vector,
        grad: &O::Vector,
        v: &O::Vector,
        v_norm: f64,
    ) -> Result<O::Vector>;
}

/// Makes an [`HvpOracle`] of any [`GradOracle`] by differences of gradients: [`ForwardDiff`](crate::ForwardDiff) or
/// [`CentralDiff`](crate::CentralDiff).
///
/// The perturbation has norm ε whatever the length of `v`; `v = 0` gives 0. On nets with kinks (ReLU) a difference is
/// another quantity than the exact product, which does not see the kinks.
#[derive(Clone, Debug)]
pub struct Differences<O, S> {
    inner: O,
    step: f64,
    scheme: PhantomData<S>,
}

impl<O, S: Scheme> Differences<O, S> {
    /// Differences with the default step of the scheme.
    pub fn new(inner: O) -> Self {
        Self { inner, step: S::STEP, scheme: PhantomData }
    }

    /// Sets ε, the norm of the perturbation; default [`Scheme::STEP`].
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ε > 0 and finite.
    pub fn with_step(mut self, step: f64) -> Result<Self> {
        validate_constant("step", step, |x| x > 0.0, "must be positive and finite")?;
        self.step = step;
        Ok(self)
    }

    /// The wrapped oracle.
    pub fn into_inner(self) -> O {
        self.inner
    }
}

impl<O: GradOracle, S: Scheme> GradOracle for Differences<O, S> {
    type Vector = O::Vector;
    type Record = O::Record;

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        _: Order,
    ) -> Result<Evaluation<'a, O::Vector, O::Record>> {
        // A record would be wasted: products only need gradients.
        self.inner.evaluate(at, pass, Order::First)
    }

    fn gradient(&mut self, at: O::Vector) -> Result<O::Vector> {
        self.inner.gradient(at)
    }

    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        self.inner.loss(at)
    }
}

impl<O: SampledOracle, S: Scheme> SampledOracle for Differences<O, S> {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.inner.restrict(sample)
    }
}

impl<O: ExampleOracle, S: Scheme> ExampleOracle for Differences<O, S> {
    fn losses(&mut self, at: Point<'_, O::Vector>) -> Result<Vec<f64>> {
        self.inner.losses(at)
    }
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        self.inner.select(rows)
    }
}

impl<O: OutputOracle, S: Scheme> OutputOracle for Differences<O, S> {
    fn outputs(&mut self, at: Point<'_, O::Vector>) -> Result<Outputs> {
        self.inner.outputs(at)
    }
    fn pull_back(&mut self, at: &O::Vector, u: &Outputs) -> Result<O::Vector> {
        self.inner.pull_back(at, u)
    }
    fn examples(&self) -> Result<Vec<u64>> {
        self.inner.examples()
    }
}

impl<O: GradOracle, S: Scheme> HvpOracle for Differences<O, S> {
    fn products(&self) -> Products {
        S::products(self.step)
    }

    fn hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        _: Use,
    ) -> Result<O::Vector> {
        same_dim("hvp", here.at.dim(), v.dim())?;
        let v_norm = v.norm()?;
        if v_norm == 0.0 {
            return Ok(v.clone());
        }
        S::product(&mut self.inner, self.step, here.at.clone().into_owned(), &here.grad, v, v_norm)
    }

    fn hvp_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        let Evaluation { at, grad, grad_norm, .. } = here;
        if grad_norm == 0.0 {
            return Ok(grad);
        }
        S::product(&mut self.inner, self.step, at.into_owned(), &grad, &grad, grad_norm)
    }
}
