//! Hessian-vector products as central differences of gradients.

use crate::{
    Evaluation, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point, Products,
    Result, Sample, SampledOracle, Use, Vector, error::at_perturbed_point, schedule::validate_constant,
    vector::same_dim,
};

/// Makes an [`HvpOracle`] of any [`GradOracle`]: H·v ≈ (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ − ε v/‖v‖))·‖v‖/(2ε).
///
/// The perturbation has norm ε whatever the length of `v`; `v = 0` gives 0. The error is O(ε²) in exact arithmetic; in
/// f32 the best ε is about 1e-2, the default (relative error 2e-5). On nets with kinks (ReLU) this is another quantity
/// than the exact product, which does not see the kinks.
///
/// # Cost
/// Two gradients and one vector a product.
#[derive(Clone, Debug)]
pub struct CentralDiff<O> {
    inner: O,
    step: f64,
}

impl<O> CentralDiff<O> {
    /// Differences with the default step, ε = 1e-2.
    pub fn new(inner: O) -> Self {
        Self { inner, step: 1e-2 }
    }

    /// Sets ε, the norm of the perturbation; default 1e-2.
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

impl<O: GradOracle> CentralDiff<O> {
    /// The difference (∇L̂(at + ε v/‖v‖) − ∇L̂(at − ε v/‖v‖))·‖v‖/(2ε); consumes the point.
    fn difference(&mut self, at: O::Vector, v: &O::Vector, v_norm: f64) -> Result<O::Vector> {
        // Both points are made from θ, not one from the other: the two perturbations must be exactly opposite.
        let [mut ahead, mut behind] = [at.clone(), at];
        ahead.axpy(self.step / v_norm, v)?;
        let mut difference = self.inner.gradient(ahead).map_err(at_perturbed_point)?;
        behind.axpy(-self.step / v_norm, v)?;
        difference.axpy(-1.0, &self.inner.gradient(behind).map_err(at_perturbed_point)?)?;
        difference.scale(v_norm / (2.0 * self.step))?;
        Ok(difference)
    }
}

impl<O: GradOracle> GradOracle for CentralDiff<O> {
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

impl<O: SampledOracle> SampledOracle for CentralDiff<O> {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.inner.restrict(sample)
    }
}

impl<O: ExampleOracle> ExampleOracle for CentralDiff<O> {
    fn losses(&mut self, at: Point<'_, O::Vector>) -> Result<Vec<f64>> {
        self.inner.losses(at)
    }
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        self.inner.select(rows)
    }
}

impl<O: OutputOracle> OutputOracle for CentralDiff<O> {
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

impl<O: GradOracle> HvpOracle for CentralDiff<O> {
    fn products(&self) -> Products {
        Products::CentralDifference { step: self.step }
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
        self.difference(here.at.clone().into_owned(), v, v_norm)
    }

    fn hvp_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        let Evaluation { at, grad, grad_norm, .. } = here;
        if grad_norm == 0.0 {
            return Ok(grad);
        }
        self.difference(at.into_owned(), &grad, grad_norm)
    }
}
