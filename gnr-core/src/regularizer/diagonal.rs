//! The diagonal of the Hessian, for optimisers that scale by it.

use super::{Ahead, Every, Needs, Radius, Regularizer, Run, Sam, StepContext, context::XI};
use crate::{
    Elementwise, HvpOracle, Quantity, Result, Schedule, Signs, Vector,
    error::finite,
    random::SplitMix64,
    registry::{Registered, Value, Values},
    schedule::validate_constant,
};

/// Hutchinson's estimate of the diagonal of ∇²L̂(θ_t): z ⊙ ∇²L̂·z with z of random signs. Its expectation over z is the
/// diagonal.
///
/// The optimiser gets the estimate before it moves ([`Optimizer::curvature`](crate::Optimizer::curvature)); the
/// direction stays.
///
/// [`Every`](super::Every) restricts the estimates to some steps. z is a function of the seed and the step.
///
/// # Errors
/// A step returns [`Error::NonFinite`](crate::Error::NonFinite) for a product that is not finite. The optimiser then
/// gets no estimate.
///
/// # Cost
/// One product and two vectors. [With a radius](Self::with_radius) also one gradient, which is shared with SAM of equal
/// radius, and the memory of a second record.
///
/// # References
/// Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics 2007.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HessianDiagonal<R = f64> {
    seed: u64,
    /// The distance from θ_t along the gradient.
    radius: Option<R>,
    /// The first step with a radius, and the number of steps from one to the next. The other steps take the Hessian at
    /// θ_t.
    acts: (u64, u64),
}

impl HessianDiagonal {
    /// An estimate from one sample a step, at θ_t. `seed` selects the sequence of z.
    pub fn new(seed: u64) -> Self {
        Self { seed, radius: None, acts: (0, 1) }
    }

    /// Takes the Hessian at θ_t + ρ·∇L̂/(‖∇L̂‖ + ξ), ξ = 1e-12, instead of θ_t: the point where [`Sam`](super::Sam) of
    /// radius ρ takes its gradient.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and finite.
    pub fn with_radius(self, rho: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Ok(self.with_radius_schedule(rho))
    }

    /// Takes the Hessian as [`with_radius`](Self::with_radius) does, with a radius that follows a schedule.
    pub fn with_radius_schedule<R: Schedule>(self, rho: R) -> HessianDiagonal<R> {
        HessianDiagonal { seed: self.seed, radius: Some(rho), acts: self.acts }
    }
}

impl HessianDiagonal<Radius> {
    /// Makes the estimates that an optimiser's settings ask for: one on every `hessian_every`-th step, or none without
    /// this setting. With `hessian_at = "sam"` the Hessian is taken where the regulariser `sam` takes its gradient on
    /// the whole batch, on the steps on which the settings of a `sam` in the list let it act, and otherwise at θ_t.
    ///
    /// # Errors
    /// The errors of the radius and of [`Every::new`](super::Every::new).
    pub fn wanted<'s>(
        optimizer: &Values,
        regularizers: impl IntoIterator<Item = &'s Values>,
        run: &Run<'_>,
    ) -> Result<Option<Every<Self>>> {
        let Some(Value::Integer(every)) = optimizer.get("hessian_every") else { return Ok(None) };
        let at_sam = matches!(optimizer.choice("hessian_at"), Ok("sam"));
        let sam = regularizers.into_iter().find(|values| at_sam && values.of() == Sam::<f64>::ENTRY.name);
        let setting = |key: &str, default: u64| {
            sam.and_then(|sam| sam.get(key)).map_or(default, |value| match value {
                Value::Integer(value) => *value,
                _ => default,
            })
        };
        let start = setting("from_epoch", 0).saturating_mul(run.steps_per_epoch);
        let acts = (start, setting("every", 1).max(1));
        let radius = sam.map(|sam| run.radius(sam)).transpose()?;
        Every::new(Self { seed: run.seed, radius, acts }, *every).map(Some)
    }
}

impl<R: Schedule> HessianDiagonal<R> {
    fn ahead(&self, t: u64) -> Option<Ahead> {
        let (start, period) = self.acts;
        let radius = self.radius.as_ref().filter(|_| t >= start && t.is_multiple_of(period));
        radius.map(|radius| Ahead { radius: radius.at(t), xi: XI })
    }
}

impl<O: HvpOracle, R: Schedule> Regularizer<O> for HessianDiagonal<R>
where
    O::Vector: Elementwise + Signs,
{
    fn needs(&self, t: u64, oracle: &O) -> Needs {
        match self.ahead(t) {
            Some(ahead) => Needs::ahead(ahead),
            None => Needs { order: oracle.products().order(), products: 1, ..Needs::NONE },
        }
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let z = cx.here.at.signs(SplitMix64::new(self.seed).next_u64().wrapping_add(cx.t))?;
        let mut diagonal = match self.ahead(cx.t) {
            Some(ahead) => cx.product_ahead(ahead, &z)?,
            None => cx.product(&z)?,
        };
        finite(Quantity::HvpNorm, diagonal.dot(&diagonal)?.sqrt())?;
        diagonal.multiply(&z)?;
        cx.change.diagonal = Some(diagonal);
        Ok(())
    }
}
