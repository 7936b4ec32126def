//! MSAM, momentum-SAM: SAM along the momentum.

use super::{Built, Ending, Needs, Radius, Regularizer, Run, StepContext, keys, memory::Memory};
use crate::{
    GradOracle, Result, Schedule, StateSink, StateSource, Vector,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
    vector::same_dim,
};

/// Momentum-SAM: descends along the gradient at a point ahead, in the direction in which the momentum moves θ.
///
/// > h = ∇L̂(θ − ρ·v/(‖v‖ + ξ)),  v ← μ·v + h.
///
/// v is 0 before the first step, where therefore h = ∇L̂(θ). Defaults: ρ = 0.3 (the published code's; its runs on
/// CIFAR-100 use 3), μ = 0.9, ξ = 1e-12. State: `momentum`. On steps without the regulariser v stays.
///
/// # Cost
/// One gradient and three vectors on top of the base step, one of them kept.
///
/// # References
/// Becker et al., "Momentum-SAM: Sharpness Aware Minimization without Computational Overhead", 2024, Algorithm 1.
///
/// # Deviation
/// The paper's MSAM is an optimiser: it stores the perturbed point as θ and so needs one gradient a step. A regulariser
/// starts from ∇L̂(θ), which other regularisers and the log use, and costs a second gradient.
///
/// v belongs to the regulariser; it follows the rule of [`Sgd`](crate::Sgd) with momentum μ, in a step over groups once
/// for each group, so that v then forgets faster. Neither the optimiser's
/// weight decay nor other regularisers enter it. (The published code adds the weight decay to v, the paper's algorithm
/// does not.)
#[derive(Clone, Debug)]
pub struct Msam<V, R = f64> {
    rho: R,
    mu: f64,
    momentum: Memory<V>,
}

const XI: f64 = 1e-12;

impl<V> Msam<V> {
    /// MSAM with constant radius ρ > 0 and momentum μ in [0, 1).
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless ρ > 0 and μ lies in [0, 1).
    pub fn new(rho: f64, momentum: f64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, momentum)
    }
}

impl<V, R> Msam<V, R> {
    /// MSAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless μ lies in [0, 1).
    pub fn scheduled(rho: R, momentum: f64) -> Result<Self> {
        validate_constant("momentum", momentum, |x| Interval::RATE.contains(x), "must lie in [0, 1)")?;
        Ok(Self { rho, mu: momentum, momentum: Memory::new() })
    }
}

impl<V, R> Registered for Msam<V, R> {
    const ENTRY: &'static Entry = &Entry {
        name: "msam",
        title: "MSAM",
        doc: "Momentum-SAM: SAM that perturbs along the accumulated momentum, which varies less than a batch's gradient.",
        equation: "h = ∇L̂(θ − ρ·v/‖v‖),  v ← μ·v + h",
        keys: &[
            keys::rho(0.3),
            Key::number("momentum", Interval::RATE, 0.9, "decay μ of the momentum v"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
            keys::BATCH_FRACTION,
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 1, outputs: false },
        reference: "Becker et al., \"Momentum-SAM: Sharpness Aware Minimization without Computational Overhead\", 2024",
        resolve: None,
    };
}

impl<V> Built for Msam<V, Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("momentum")?)
    }
}

impl<O: GradOracle, R: Schedule> Regularizer<O> for Msam<O::Vector, R> {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let rho = self.rho.at(cx.t);
        let mut momentum = match self.momentum.take() {
            Some(momentum) => momentum,
            None => {
                let mut zero = cx.here.grad.clone();
                zero.scale(0.0)?;
                zero
            }
        };
        same_dim("msam", momentum.dim(), cx.here.grad.dim())?;
        // To first order, L̂(θ − ρ·v/‖v‖) − L̂(θ) is −ρ·⟨∇L̂(θ), v⟩/‖v‖.
        let value = -rho * cx.slope_along(&momentum, XI)?;
        let there = cx.gradient_along(-rho, &momentum, XI)?;
        momentum.scale(self.mu)?;
        momentum.axpy(1.0, &there)?;
        let added_norm = cx.replace_gradient(there)?;
        self.momentum.set(momentum);
        cx.learnt("msam", value, added_norm);
        Ok(())
    }

    fn end_step(&mut self, ending: Ending) {
        self.momentum.end_step(ending);
    }

    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        self.momentum.save("momentum", sink)
    }

    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        self.momentum.load("momentum", source)
    }
}
