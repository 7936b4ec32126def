//! R_SAM and R_GNR as numbers: how sharp the loss is around a point.
//!
//! Both are maxima over a ball. A search finds a *lower bound* of the maximum, and its type says so. The bound is exact
//! where the search is: for quadratics and one-dimensional problems with enough steps and starts.

use crate::{
    Evaluation, GradOracle, HvpOracle, NormGradient, Order, Pass, Quantity, Result, Vector,
    error::{at_perturbed_point, finite},
    schedule::validate_constant,
};

/// The way to search the ball for a maximum.
pub enum Search<'s, V> {
    /// One step to the boundary along the ascent direction at θ, as SAM and Algorithm 1 do it. Where that direction
    /// vanishes (at an exact critical point) it finds the value at θ alone.
    OneStep,
    /// Projected ascent from θ with step halving. An exact critical point is not left.
    Ascent {
        /// Number of points looked at after θ.
        steps: usize,
    },
    /// Projected ascent from one displacement: one part of a multi-start search, for callers that want each part's
    /// result.
    AscentFrom {
        /// Displacement from θ in units of ρ; longer than 1 is shortened.
        start: V,
        /// Number of points looked at after the start.
        steps: usize,
    },
    /// Projected ascent from θ and from every start; the best of all counts.
    MultiStart {
        /// Displacements from θ in units of ρ, such as [`UnitBall`](crate::random::UnitBall). One that is longer than 1
        /// is shortened.
        starts: &'s mut dyn Iterator<Item = V>,
        /// Number of points looked at after each start.
        steps: usize,
    },
}

/// The kind of a [`Search`], for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchMethod {
    /// The kind of [`Search::OneStep`].
    OneStep,
    /// The kind of [`Search::Ascent`] and [`Search::AscentFrom`].
    Ascent,
    /// The kind of [`Search::MultiStart`].
    MultiStart,
}

/// A lower bound of a maximum over a ball, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct LowerBound {
    /// The bound: the maximum is at least as large.
    pub value: f64,
    /// The distance ‖θ' − θ‖ of the point θ' where the value was found.
    pub distance: f64,
    /// The kind of search that found the value.
    pub method: SearchMethod,
    /// Number of gradients computed.
    pub evaluations: usize,
    /// Number of Hessian-vector products computed.
    pub products: usize,
}

/// A lower bound of R_SAM(θ) = max over ‖θ' − θ‖ ≤ ρ of L̂(θ') − L̂(θ). Never negative, because θ itself is in the
/// ball: a search that finds no larger loss gives 0, at distance 0.
///
/// # Errors
/// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0; those of the oracle.
///
/// # Cost
/// One gradient for each point looked at ([`LowerBound::evaluations`]), a few vectors.
///
/// # References
/// Section 2.3 of the paper; Foret et al., ICLR 2021, Eq. 1.
pub fn r_sam<O: GradOracle>(
    oracle: &mut O,
    theta: &O::Vector,
    rho: f64,
    search: Search<'_, O::Vector>,
) -> Result<LowerBound> {
    let base = oracle.evaluate(theta, Pass::Probe, Order::First)?.loss;
    let mut bound = Walker::new(LossRise { oracle, base, looks: 0 }, theta, rho)?.search(search)?;
    bound.evaluations += 1;
    if bound.value < 0.0 {
        (bound.value, bound.distance) = (0.0, 0.0);
    }
    Ok(bound)
}

/// A lower bound of R_GNR(θ) = ρ·max over ‖θ' − θ‖ ≤ ρ of ‖∇L̂(θ')‖.
///
/// # Errors
/// The errors of [`r_sam`].
///
/// # Cost
/// One gradient for each point looked at and one product for each point moved to.
///
/// # References
/// Eq. 1 of the paper; Proposition 2.1 (R_GNR = ρ²·|λ|max at a minimum) and 2.4 (R_GNR ≥ R_SAM, of the exact maxima).
pub fn r_gnr<O: HvpOracle>(
    oracle: &mut O,
    theta: &O::Vector,
    rho: f64,
    search: Search<'_, O::Vector>,
) -> Result<LowerBound> {
    let objective = GradientNorm { oracle, looks: 0, products: 0 };
    let mut bound = Walker::new(objective, theta, rho)?.search(search)?;
    bound.value *= rho;
    Ok(bound)
}

/// A function that a [`Walker`] maximises.
trait Objective<V> {
    /// The value at a point, and the gradient there if the value exceeds `bar`.
    fn look(&mut self, at: &V, bar: f64) -> Result<(f64, Option<V>)>;
    /// The numbers of gradients and products so far.
    fn cost(&self) -> (usize, usize);
}

/// The objective L̂(θ') − L̂(θ), with gradient ∇L̂(θ').
struct LossRise<'o, O> {
    oracle: &'o mut O,
    base: f64,
    looks: usize,
}

impl<O: GradOracle> Objective<O::Vector> for LossRise<'_, O> {
    fn look(&mut self, at: &O::Vector, bar: f64) -> Result<(f64, Option<O::Vector>)> {
        self.looks += 1;
        let Evaluation { loss, grad, .. } =
            self.oracle.evaluate(at, Pass::Probe, Order::First).map_err(at_perturbed_point)?;
        let value = loss - self.base;
        Ok((value, (value > bar).then_some(grad)))
    }
    fn cost(&self) -> (usize, usize) {
        (self.looks, 0)
    }
}

/// The objective ‖∇L̂(θ')‖, with gradient H·∇L̂/‖∇L̂‖: the f of Algorithm 1.
struct GradientNorm<'o, O> {
    oracle: &'o mut O,
    looks: usize,
    products: usize,
}

impl<O: HvpOracle> Objective<O::Vector> for GradientNorm<'_, O> {
    fn look(&mut self, at: &O::Vector, bar: f64) -> Result<(f64, Option<O::Vector>)> {
        self.looks += 1;
        let order = if bar == f64::INFINITY { Order::First } else { self.oracle.products().order() };
        let here = self.oracle.evaluate(at, Pass::Probe, order).map_err(at_perturbed_point)?;
        let norm = here.grad_norm;
        if norm <= bar {
            return Ok((norm, None));
        }
        self.products += 1;
        let NormGradient { vector: mut f, factor, .. } = NormGradient::of(self.oracle, here, 0.0)?;
        f.scale(factor)?;
        Ok((norm, Some(f)))
    }
    fn cost(&self) -> (usize, usize) {
        (self.looks, self.products)
    }
}

/// Walks in the ball of radius ρ around θ and remembers the best value.
struct Walker<'v, V, F> {
    objective: F,
    theta: &'v V,
    rho: f64,
    best: f64,
    distance: f64,
}

impl<'v, V: Vector, F: Objective<V>> Walker<'v, V, F> {
    fn new(objective: F, theta: &'v V, rho: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Ok(Self { objective, theta, rho, best: f64::NEG_INFINITY, distance: 0.0 })
    }

    fn search(mut self, search: Search<'_, V>) -> Result<LowerBound> {
        let method = match search {
            Search::OneStep => {
                let (_, direction) = self.visit(self.theta, f64::NEG_INFINITY)?;
                if let Some(direction) = direction
                    && let Some(adv) = self.moved(self.theta, &direction, self.rho)?
                {
                    self.visit(&adv, f64::INFINITY)?;
                }
                SearchMethod::OneStep
            }
            Search::Ascent { steps } => {
                self.ascend(self.theta.clone(), steps)?;
                SearchMethod::Ascent
            }
            Search::MultiStart { starts, steps } => {
                self.ascend(self.theta.clone(), steps)?;
                for start in starts {
                    self.ascend_from(&start, steps)?;
                }
                SearchMethod::MultiStart
            }
            Search::AscentFrom { start, steps } => {
                self.ascend_from(&start, steps)?;
                SearchMethod::Ascent
            }
        };
        let (evaluations, products) = self.objective.cost();
        Ok(LowerBound { value: self.best, distance: self.distance, method, evaluations, products })
    }

    fn ascend_from(&mut self, start: &V, steps: usize) -> Result<()> {
        let mut point = self.theta.clone();
        point.axpy(self.rho, start)?;
        self.project(&mut point)?;
        self.ascend(point, steps)
    }

    /// Projected ascent with normalised steps, doubled in length after a success and halved after a failure.
    ///
    /// A success must gain a quarter of what the gradient promises (Armijo). A smaller gain is a leap across a valley,
    /// and leaps can go on for ever.
    fn ascend(&mut self, mut point: V, steps: usize) -> Result<()> {
        let (mut value, mut direction) = self.visit(&point, f64::NEG_INFINITY)?;
        let mut length = self.rho;
        for _ in 0..steps {
            let Some(along) = &direction else { break };
            let Some(trial) = self.moved(&point, along, length)? else { break };
            let mut step = trial.clone();
            step.axpy(-1.0, &point)?;
            let promised = along.dot(&step)?;
            let (there, ahead) = self.visit(&trial, value + (promised / 4.0).max(0.0))?;
            if ahead.is_some() {
                (point, value, direction) = (trial, there, ahead);
                length = (2.0 * length).min(2.0 * self.rho);
            } else {
                length /= 2.0;
            }
        }
        Ok(())
    }

    /// Evaluates the objective at a point, and remembers the point if it is the best so far.
    fn visit(&mut self, point: &V, bar: f64) -> Result<(f64, Option<V>)> {
        let (value, direction) = self.objective.look(point, bar)?;
        if value > self.best {
            let mut displacement = point.clone();
            displacement.axpy(-1.0, self.theta)?;
            (self.best, self.distance) = (value, displacement.norm()?);
        }
        Ok((value, direction))
    }

    /// The point at distance `length` from `from` along `direction`, projected onto the ball; `None` where the
    /// direction is 0.
    fn moved(&self, from: &V, direction: &V, length: f64) -> Result<Option<V>> {
        let norm = finite(Quantity::HvpNorm, direction.dot(direction)?.sqrt())?;
        if norm == 0.0 {
            return Ok(None);
        }
        let mut point = from.clone();
        point.axpy(length / norm, direction)?;
        self.project(&mut point)?;
        Ok(Some(point))
    }

    fn project(&self, point: &mut V) -> Result<()> {
        let mut displacement = point.clone();
        displacement.axpy(-1.0, self.theta)?;
        let norm = displacement.norm()?;
        if norm > self.rho {
            displacement.aypx(self.rho / norm, self.theta)?;
            *point = displacement;
        }
        Ok(())
    }
}
