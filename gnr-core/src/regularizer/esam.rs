//! ESAM: SAM that perturbs some of the weights and descends on some of the examples.

use super::{Built, Needs, Radius, Regularizer, Run, StepContext, context::XI, keys, sam_on::masked};
use crate::{
    ExampleOracle, Partition, Point, Result, Schedule, Vector,
    error::{at_perturbed_point, same_rows},
    random::SplitMix64,
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
};

/// ESAM, efficient sharpness-aware minimisation: SAM with a stochastic weight perturbation and sharpness-sensitive data
/// selection. A random share β of the tensors is perturbed. The gradient at the perturbed point is that of the share
/// γ of the examples whose loss rises most.
///
/// > ε = (ρ/β)·m⊙∇L̂/(‖m⊙∇L̂‖ + ξ),  mᵢ ~ Bernoulli(β) for each tensor i, drawn anew in each step
/// >
/// > h = ∇L̂₊(θ + ε),  L̂₊ the mean loss of the ⌊γn⌋ examples (at least one) with the largest ℓ(θ + ε) − ℓ(θ)
///
/// Among equal rises the examples that come first in the batch are taken. Defaults: ρ = 0.05, β = 0.6, γ = 0.5,
/// those of the authors' runs of ResNet-18; ξ = 1e-12 (there 1e-7). State: none. m is a function of the seed and the
/// step.
///
/// # Cost
/// A forward pass of the batch, the gradient of a share γ of it, and two vectors on top of the base step. Losses at θ
/// are those of the base step's own pass. The authors also save time in that pass, which leaves out the tensors that
/// are not perturbed; here ∇L̂ is complete.
///
/// # References
/// Du et al., "Efficient Sharpness-aware Minimization for Improved Training of Neural Networks", ICLR 2022, and the
/// authors' code, github.com/dydjw9/Efficient_SAM.
///
/// # Deviation
/// As in the code, whole tensors are drawn (the paper speaks of weights), and the norm is that of the drawn tensors.
/// Unlike in the code, the first step draws as all others do, and γ ≥ 0.99 has no special meaning. The example at
/// the threshold is among those taken; the code's strict comparison takes one example fewer.
#[derive(Clone, Debug)]
pub struct Esam<R = f64> {
    rho: R,
    beta: f64,
    gamma: f64,
    seed: u64,
}

impl Esam {
    /// ESAM with constant radius ρ > 0, and shares β of the tensors and γ of the examples in (0, 1].
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a value outside its domain.
    pub fn new(rho: f64, beta: f64, gamma: f64, seed: u64) -> Result<Self> {
        validate_constant("rho", rho, |x| x > 0.0, "the radius must be positive and finite")?;
        Self::scheduled(rho, beta, gamma, seed)
    }
}

impl<R> Esam<R> {
    /// ESAM whose radius follows a schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless β and γ lie in (0, 1].
    pub fn scheduled(rho: R, beta: f64, gamma: f64, seed: u64) -> Result<Self> {
        for (name, share) in [("beta", beta), ("gamma", gamma)] {
            validate_constant(name, share, |x| x > 0.0 && x <= 1.0, "must lie in (0, 1]")?;
        }
        Ok(Self { rho, beta, gamma, seed })
    }

    /// The number of examples of which a share γ is selected: γ·`examples` rounded down, at least 1.
    pub fn selects(gamma: f64, examples: usize) -> usize {
        ((gamma * examples as f64) as usize).max(1)
    }

    /// The mask m of step t: 1 for each leaf that is perturbed, else 0.
    fn drawn(&self, t: u64, leaves: usize) -> Vec<usize> {
        let mut random = SplitMix64::new(SplitMix64::new(self.seed).next_u64().wrapping_add(t));
        (0..leaves).map(|_| usize::from(random.uniform() < self.beta)).collect()
    }

    /// The rows whose loss rises most, in ascending order.
    fn sensitive(&self, before: &[f64], after: &[f64]) -> Result<Vec<usize>> {
        same_rows("esam", before.len(), after.len())?;
        let rise: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let count = Self::selects(self.gamma, rise.len());
        let mut rows: Vec<usize> = (0..rise.len()).collect();
        rows.sort_by(|&a, &b| rise[b].total_cmp(&rise[a])); // stable: of equals the first come first
        rows.truncate(count);
        rows.sort_unstable();
        Ok(rows)
    }
}

impl<R> Registered for Esam<R> {
    const ENTRY: &'static Entry = &Entry {
        name: "esam",
        title: "ESAM",
        doc: "SAM for less: perturbs a random part of the tensors and takes the gradient ahead of the examples whose loss rises most.",
        equation: "h = ∇L̂₊(θ + ε),  ε = (ρ/β)·m⊙∇L̂/‖m⊙∇L̂‖,  m ~ Bernoulli(β),  L̂₊ of the ⌊γn⌋ examples with the largest ℓ(θ + ε) − ℓ(θ)",
        keys: &[
            keys::rho(0.05),
            Key::number("beta", Interval::FRACTION, 0.6, "share β of the tensors that are perturbed"),
            Key::number("gamma", Interval::FRACTION, 0.5, "share γ of the examples whose gradient is taken"),
            keys::RHO_SCHEDULE,
            keys::EVERY,
            keys::FROM_EPOCH,
        ],
        cost: Cost { gradients: 0.5, products: 0.0, forwards: 1.0, vectors: 0, outputs: false },
        reference: "Du et al., \"Efficient Sharpness-aware Minimization for Improved Training of Neural Networks\", ICLR 2022",
        resolve: None,
    };
}

impl Built for Esam<Radius> {
    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::scheduled(run.radius(values)?, values.number("beta")?, values.number("gamma")?, run.seed)
    }
}

impl<O: ExampleOracle<Vector: Partition>, R: Schedule> Regularizer<O> for Esam<R> {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let radius = self.rho.at(cx.t) / self.beta;
        let drawn = masked(&cx.here.grad, &self.drawn(cx.t, cx.here.grad.num_leaves()))?;
        let norm = drawn.norm()?;
        let mut there = cx.here.at.clone().into_owned();
        there.axpy(radius / (norm + XI), &drawn)?;
        drop(drawn);
        let before = cx.oracle.losses(Point::Committed)?;
        let after = cx.oracle.losses(Point::At(&there)).map_err(at_perturbed_point)?;
        cx.oracle.select(Some(&self.sensitive(&before, &after)?))?;
        let there = cx.gradient(there);
        // The oracle must answer for the whole batch again, after an error, too.
        cx.oracle.select(None)?;
        let added_norm = cx.replace_gradient(there?)?;
        // To first order, L̂(θ + ε) − L̂(θ) is ⟨∇L̂, ε⟩ = (ρ/β)·‖m⊙∇L̂‖.
        cx.learnt("esam", radius * norm, added_norm);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_whose_loss_rises_most() {
        let esam = |gamma| Esam::new(0.1, 0.5, gamma, 0).unwrap();
        let (before, after) = ([1.0, 5.0, 2.0, 0.0, 1.0], [2.0, 5.5, 4.0, 1.0, 0.0]); // rises 1, ½, 2, 1, −1
        assert_eq!(esam(0.2).sensitive(&before, &after).unwrap(), [2]);
        assert_eq!(esam(0.5).sensitive(&before, &after).unwrap(), [0, 2], "of equal rises the first");
        assert_eq!(esam(0.7).sensitive(&before, &after).unwrap(), [0, 2, 3]);
        assert_eq!(esam(1.0).sensitive(&before, &after).unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(esam(0.1).sensitive(&before, &after).unwrap(), [2], "at least one");
    }

    #[test]
    fn tensors_are_drawn_with_their_rate_anew_in_each_step() {
        let esam = Esam::new(0.1, 0.3, 1.0, 5).unwrap();
        let (steps, leaves) = (400, 50);
        let share = |t| esam.drawn(t, leaves).iter().sum::<usize>() as f64 / leaves as f64;
        let mean = (0..steps).map(share).sum::<f64>() / steps as f64;
        // Five standard deviations of the mean of 20,000 draws.
        assert!((mean - 0.3).abs() < 5.0 * (0.21_f64 / 20_000.0).sqrt(), "{mean}");
        assert!(
            esam.drawn(0, leaves) == esam.drawn(0, leaves) && esam.drawn(0, leaves) != esam.drawn(1, leaves)
        );
        assert_eq!(Esam::new(0.1, 1.0, 1.0, 5).unwrap().drawn(3, 4), [1; 4]);
    }
}
