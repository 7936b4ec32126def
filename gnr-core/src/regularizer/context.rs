//! The step as a regulariser sees it: what it may read, ask and change.

use super::{Needs, Penalty};
use crate::{
    Evaluation, GradOracle, HvpOracle, NormGradient, Pass, Products, Quantity, Result, Use, Vector,
    error::{at_perturbed_point, finite},
};

/// The constant ξ that is added to norms in denominators, for methods without a setting for it.
pub(super) const XI: f64 = 1e-12;

/// Names a gradient ahead of θ_t by its distance and ξ: see [`StepContext::ahead`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ahead {
    /// Distance from θ_t along the gradient; negative behind θ_t.
    pub radius: f64,
    /// The constant ξ that is added to the gradient's norm in the denominator.
    pub xi: f64,
}

/// The result of a step's regularisers.
#[derive(Clone, Debug)]
pub struct Change<V> {
    /// The direction of the step; ∇L̂(θ_t) at first.
    pub direction: V,
    /// The penalties that regularisers have measured, by name.
    pub log: Vec<(&'static str, Penalty)>,
    /// An estimate of the diagonal of ∇²L̂(θ_t), for optimisers that scale by it.
    pub diagonal: Option<V>,
}

impl<V> Change<V> {
    /// The change of a step that starts with `direction`, with an empty log.
    pub fn new(direction: V) -> Self {
        Self { direction, log: Vec::new(), diagonal: None }
    }
}

/// One step as its regularisers see it: the point, the mini-batch, the direction so far and the log.
///
/// Quantities that several regularisers ask for are computed once: L̂ and ∇L̂ at θ_t, and gradients
/// [`ahead`](Self::ahead) of it.
pub struct StepContext<'a, O: GradOracle> {
    /// The number of the step, from 0.
    pub t: u64,
    /// L̂ and ∇L̂ at θ_t.
    pub here: &'a Evaluation<'a, O::Vector, O::Record>,
    /// The step's mini-batch.
    pub oracle: &'a mut O,
    /// The direction so far and the log.
    pub change: &'a mut Change<O::Vector>,
    /// Gradients ahead of θ_t that will be asked for once more.
    ahead: Vec<(Ahead, O::Vector)>,
    /// The needs that were announced and not asked for yet.
    announced: Needs,
}

impl<'a, O: GradOracle> StepContext<'a, O> {
    /// A context at the point that was just evaluated; `needs` are those of all regularisers of the step.
    pub fn new(
        t: u64,
        here: &'a Evaluation<'a, O::Vector, O::Record>,
        oracle: &'a mut O,
        needs: Needs,
        change: &'a mut Change<O::Vector>,
    ) -> Self {
        Self { t, here, oracle, change, ahead: Vec::new(), announced: needs }
    }

    /// ∇L̂(θ + r·∇L̂(θ)/(‖∇L̂(θ)‖ + ξ)): the gradient at distance r along the gradient.
    ///
    /// Each such gradient is evaluated once a step, and kept until the last regulariser that announced it in its
    /// [`Needs`] has asked. SAM and a finite-difference GNR of equal radius thus share one. A regulariser that did not
    /// announce the gradient may cause another evaluation.
    ///
    /// # Errors
    /// The errors of [`GradOracle::evaluate`].
    ///
    /// # Cost
    /// One gradient and one vector the first time, nothing afterwards.
    pub fn ahead(&mut self, which: Ahead) -> Result<O::Vector> {
        let again = self.asks_ahead(which);
        if let Some(index) = self.ahead.iter().position(|(known, _)| *known == which) {
            return Ok(if again { self.ahead[index].1.clone() } else { self.ahead.swap_remove(index).1 });
        }
        let point = self.point_ahead(which)?;
        let grad = self.gradient(point)?;
        if again {
            self.ahead.push((which, grad.clone()));
        }
        Ok(grad)
    }

    /// Notes that a gradient ahead is asked for. Returns whether another request for it was announced.
    fn asks_ahead(&mut self, which: Ahead) -> bool {
        let announced = &mut self.announced.ahead;
        if let Some(index) = announced.iter().position(|announced| *announced == which) {
            announced.swap_remove(index);
        }
        announced.contains(&which)
    }

    /// The point θ + r·∇L̂(θ)/(‖∇L̂(θ)‖ + ξ).
    fn point_ahead(&self, which: Ahead) -> Result<O::Vector> {
        let mut point = self.here.at.clone().into_owned();
        point.axpy(which.radius / (self.here.grad_norm + which.xi), &self.here.grad)?;
        Ok(point)
    }

    /// ∇L̂(θ + r·d/(‖d‖ + ξ)): the gradient at distance r along a vector.
    ///
    /// # Errors
    /// The errors of [`gradient`](Self::gradient); [`Error::NonFinite`](crate::Error::NonFinite) when ‖d‖ is not
    /// finite.
    ///
    /// # Cost
    /// One gradient and one vector.
    pub fn gradient_along(&mut self, r: f64, d: &O::Vector, xi: f64) -> Result<O::Vector> {
        self.gradient_moved(r / (d.norm()? + xi), d)
    }

    /// ∇L̂(θ + a·d): the gradient at a point moved by a·d.
    ///
    /// # Errors
    /// The errors of [`gradient`](Self::gradient).
    ///
    /// # Cost
    /// One gradient and one vector.
    pub fn gradient_moved(&mut self, a: f64, d: &O::Vector) -> Result<O::Vector> {
        let mut point = self.here.at.clone().into_owned();
        point.axpy(a, d)?;
        self.gradient(point)
    }

    /// Climbs towards larger gradients without products. Returns g₁ = ∇L̂(θ + s·ĝ), where s is the [`Ahead`]'s radius,
    /// g₂ = ∇L̂(θ₂) at θ₂ = θ + r·(g₁ − ∇L̂(θ))/(‖g₁ − ∇L̂(θ)‖ + ξ), and g₃ = ∇L̂(θ₂ + s·g₂/(‖g₂‖ + ξ)).
    ///
    /// By forward differences, (g₁ − ∇L̂(θ))/s is ∇‖∇L̂‖ at θ, and (g₃ − g₂)/s is ∇‖∇L̂‖ at θ₂.
    ///
    /// # Errors
    /// The errors of [`gradient_along`](Self::gradient_along).
    ///
    /// # Cost
    /// Three gradients and four vectors. The first gradient is that of [`ahead`](Self::ahead) and shared with it.
    pub fn norm_ascent(&mut self, r: f64, step: Ahead) -> Result<[O::Vector; 3]> {
        let g1 = self.ahead(step)?;
        let mut uphill = g1.clone();
        uphill.axpy(-1.0, &self.here.grad)?;
        let point = moved(self.here.at.clone().into_owned(), r, &uphill, step.xi)?;
        drop(uphill);
        let g2 = self.gradient(point.clone())?;
        let g3 = self.gradient(moved(point, step.radius, &g2, step.xi)?)?;
        Ok([g1, g2, g3])
    }

    /// The slope ⟨∇L̂(θ), d⟩/(‖d‖ + ξ): how much L̂ grows along d per unit of distance, to first order.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) when ‖d‖ is not finite; a dimension mismatch or a failure of the
    /// backend.
    pub fn slope_along(&self, d: &O::Vector, xi: f64) -> Result<f64> {
        Ok(d.dot(&self.here.grad)? / (d.norm()? + xi))
    }

    /// The gradient ∇L̂ at any point; consumes the point.
    ///
    /// # Errors
    /// The errors of [`GradOracle::gradient`]. A quantity that is not finite is named as one of a perturbed point.
    ///
    /// # Cost
    /// One gradient.
    pub fn gradient(&mut self, at: O::Vector) -> Result<O::Vector> {
        self.oracle.gradient(at).map_err(at_perturbed_point)
    }

    /// Replaces ∇L̂(θ) in the direction by a gradient at another point: `direction += ∇L̂(θ') − ∇L̂(θ)`. Returns the
    /// norm of the difference.
    ///
    /// # Errors
    /// The errors of [`add_vector`](Self::add_vector).
    pub fn replace_gradient(&mut self, there: O::Vector) -> Result<f64> {
        self.add_difference(1.0, there)
    }

    /// Adds a multiple of the change of the gradient towards another point: `direction += a·(∇L̂(θ') − ∇L̂(θ))`.
    /// Returns the norm of what was added.
    ///
    /// # Errors
    /// The errors of [`add_vector`](Self::add_vector).
    pub fn add_difference(&mut self, a: f64, mut there: O::Vector) -> Result<f64> {
        there.axpy(-1.0, &self.here.grad)?;
        self.add_vector(a, there)
    }

    /// Adds a multiple of a vector, in the memory of v: `direction += a·v`. Returns the norm ‖a·v‖.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) when ‖a·v‖ is not finite, named as the gradient norm at a
    /// perturbed point; a failure of the backend.
    pub fn add_vector(&mut self, a: f64, mut v: O::Vector) -> Result<f64> {
        let norm = finite(Quantity::PerturbedGradientNorm, a.abs() * v.dot(&v)?.sqrt())?;
        v.aypx(a, &self.change.direction)?;
        self.change.direction = v;
        Ok(norm)
    }

    /// Adds a regulariser's [`Penalty`] to the log.
    pub fn learnt(&mut self, name: &'static str, value: f64, added_norm: f64) {
        self.change.log.push((name, Penalty { value, added_norm }));
    }
}

impl<O: HvpOracle> StepContext<'_, O> {
    /// Multiplies v with ∇²L̂(θ_t). The record of θ_t is freed in the last product that was announced
    /// ([`Needs::products`]).
    ///
    /// # Errors
    /// The errors of the oracle.
    ///
    /// # Cost
    /// One product.
    pub fn product(&mut self, v: &O::Vector) -> Result<O::Vector> {
        self.announced.products = self.announced.products.saturating_sub(1);
        let record = if self.announced.products > 0 { Use::Again } else { Use::Last };
        self.oracle.hvp(self.here, v, record)
    }

    /// Multiplies v with ∇²L̂(θ') at the point θ' where [`ahead`](Self::ahead) takes its gradient.
    ///
    /// The gradient of that evaluation is kept for regularisers that announced it and have not asked for it yet.
    ///
    /// # Errors
    /// The errors of the oracle. A quantity that is not finite is named as one of a perturbed point.
    ///
    /// # Cost
    /// One gradient, one product and one vector; while they last, a second record.
    pub fn product_ahead(&mut self, which: Ahead, v: &O::Vector) -> Result<O::Vector> {
        let again = self.asks_ahead(which);
        let point = self.point_ahead(which)?;
        let order = self.oracle.products().order();
        let there = self.oracle.evaluate(&point, Pass::Probe, order).map_err(at_perturbed_point)?;
        let product = self.oracle.hvp(&there, v, Use::Last).map_err(at_perturbed_point)?;
        match self.ahead.iter().position(|(known, _)| *known == which) {
            None if again => self.ahead.push((which, there.grad)),
            Some(index) if !again => drop(self.ahead.swap_remove(index)),
            _ => {}
        }
        Ok(product)
    }

    /// f = ∇‖∇L̂‖ at θ_t (line 6 of Algorithm 1).
    ///
    /// By forward differences f is (∇L̂(θ + ε ĝ) − ∇L̂(θ))/ε. The gradient at θ + ε ĝ is shared with
    /// [`ahead`](Self::ahead).
    ///
    /// # Errors
    /// The errors of the oracle.
    ///
    /// # Cost
    /// One product.
    pub fn norm_gradient(&mut self, xi: f64) -> Result<NormGradient<O::Vector>> {
        let grad_norm = self.here.grad_norm;
        if let Products::ForwardDifference { step } = self.oracle.products() {
            let mut vector = self.ahead(Ahead { radius: step, xi })?;
            vector.axpy(-1.0, &self.here.grad)?;
            return Ok(NormGradient { vector, factor: 1.0 / step, grad_norm });
        }
        let vector = self.product(&self.here.grad)?;
        Ok(NormGradient { vector, factor: 1.0 / (grad_norm + xi), grad_norm })
    }

    /// Adds a multiple of f, in the memory of f: `direction += a·f`. Returns ‖f‖.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) when ‖f‖ is not finite; a failure of the backend.
    pub fn add(&mut self, a: f64, f: NormGradient<O::Vector>) -> Result<f64> {
        let norm = f.norm()?;
        self.change.direction = f.added_to(&self.change.direction, a)?;
        Ok(norm)
    }
}

/// The point x + r·d/(‖d‖ + ξ).
fn moved<V: Vector>(mut x: V, r: f64, d: &V, xi: f64) -> Result<V> {
    x.axpy(r / (d.norm()? + xi), d)?;
    Ok(x)
}

/// The coefficient c of `onto` in x = c·onto + a part orthogonal to `onto`; 0 where `onto` is 0.
pub(super) fn share<V: Vector>(x: &V, onto: &V) -> Result<f64> {
    let squared = onto.dot(onto)?;
    if squared > 0.0 { Ok(x.dot(onto)? / squared) } else { Ok(0.0) }
}
