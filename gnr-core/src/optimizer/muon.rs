//! Muon: momentum whose matrices are orthogonalised; AdamW for everything else.

use super::{
    Optimizer, keys,
    state::{State, average, average_square, checkpoint_of_state, shrink},
};
use crate::{
    Matrices, Result,
    registry::{Configured, Cost, Entry, Interval, Key, Registered, Values},
};

/// Muon (momentum orthogonalised by Newton–Schulz).
///
/// With direction h and weight decay λ, for each leaf that is an r × c matrix (a leaf of two axes or more is its first
/// axis by all others):
///
/// > m ← μm + (1−μ)h,  u = μm + (1−μ)h,  X = u/(‖u‖ + 1e-7),
/// > five times: A = XXᵀ, X ← aX + (bA + cA²)X with (a, b, c) = (3.4445, −4.7750, 2.0315),
/// > θ ← (1 − ηλ)θ − η·√max(1, r/c)·X.
///
/// X is about UVᵀ of the singular value decomposition of u: singular values of at least a hundredth of ‖u‖ become 0.68
/// to 1.14. All other leaves (biases, scales) make a step of AdamW with equal weight decay. Their learning rate
/// `adam_lr`·η/η₀ follows the schedule of η.
///
/// Defaults: those of the entry. State, allocated by the first step: `step`, `exp_avg` (m), `exp_avg_sq` (of the other
/// leaves; zero in matrices).
///
/// # Cost
/// Two extra vectors, a temporary copy of the direction, three temporary vectors of one leaf each, and 15 products of
/// matrices a leaf: for r ≤ c 10·r²c + 5·r³ multiplications.
///
/// # Deviation
/// The authors orthogonalise in bfloat16; this type does so in the vector's own precision. They take the first and the
/// last layer out by hand; this type takes every matrix. The factor √max(1, r/c) is of the flattened filters, as in
/// PyTorch's `torch.optim.Muon`. (The authors' program has that of the last two axes.)
///
/// # References
/// Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, and the program
/// github.com/KellerJordan/Muon.
#[derive(Clone, Debug)]
pub struct Muon<V> {
    mu: f64,
    /// The ratio `adam_lr`/η₀ of the other leaves' learning rate to the peak.
    adam_share: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    state: State<V, 2>,
}

impl<V> Registered for Muon<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "muon",
        title: "Muon",
        doc: "Momentum whose matrices are made about orthogonal, so that every direction in them moves alike; AdamW for the other parameters.",
        equation: "m ← μm + (1−μ)h,  X = NewtonSchulz₅(μm + (1−μ)h),  θ ← (1−ηλ)θ − η·√max(1, r/c)·X;  other than matrices: AdamW",
        keys: &[
            keys::lr(0.02),
            Key::number("momentum", Interval::RATE, 0.95, "momentum μ of matrices, Nesterov's"),
            keys::decoupled_decay(0.0),
            Key::number("adam_lr", Interval::POSITIVE, 3e-4, "peak learning rate of what is no matrix"),
            keys::betas(&[0.9, 0.95]),
            keys::eps(1e-10),
        ],
        cost: Cost::state(2),
        reference: "Jordan et al., \"Muon: An optimizer for hidden layers in neural networks\", 2024, github.com/KellerJordan/Muon",
        resolve: None,
    };
}

impl<V> Configured for Muon<V> {
    fn configured(values: &Values) -> Result<Self> {
        Ok(Self {
            mu: values.number("momentum")?,
            adam_share: values.number("adam_lr")? / values.number("lr")?,
            betas: values.pair("betas")?,
            eps: values.number("eps")?,
            weight_decay: values.number("weight_decay")?,
            state: State::new(["exp_avg", "exp_avg_sq"]),
        })
    }
}

impl<V: Matrices> Optimizer<V> for Muon<V> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        self.state.check("muon step", theta, direction)?;
        let rule = Rule { mu: self.mu, betas: self.betas, eps: self.eps, weight_decay: self.weight_decay };
        let (t, [m, v]) = self.state.begin(direction)?;
        let count = theta.num_leaves();
        let of: Vec<usize> = (0..count).collect();
        let directions = direction.clone().split(&of, count)?;
        let (mut ms, mut vs) = (m.split(&of, count)?, v.split(&of, count)?);
        let mut parts = theta.split(&of, count)?;
        let stepped = (parts.iter_mut().zip(&directions).zip(ms.iter_mut().zip(&mut vs)))
            .map(|((theta, h), (m, v))| match theta.matrix() {
                Some(shape) => rule.matrix(shape, theta, h, m, lr),
                None => rule.other(t, theta, h, (m, v), lr * self.adam_share),
            })
            .find(Result::is_err);
        // Every vector gets its leaves back on an error, too.
        theta.join(&of, parts)?;
        m.join(&of, ms)?;
        v.join(&of, vs)?;
        stepped.unwrap_or(Ok(()))
    }
}

/// The settings of a step, without its learning rate.
struct Rule {
    mu: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

impl Rule {
    fn matrix<V: Matrices>(
        &self,
        [rows, columns]: [usize; 2],
        theta: &mut V,
        h: &V,
        m: &mut V,
        lr: f64,
    ) -> Result<()> {
        average(m, self.mu, h)?;
        let mut x = m.clone();
        average(&mut x, self.mu, h)?;
        orthogonalize(&mut x)?;
        shrink(theta, lr, self.weight_decay)?;
        theta.axpy(-lr * (rows as f64 / columns as f64).max(1.0).sqrt(), &x)
    }

    /// Makes a step of AdamW on the leaves that are no matrices.
    fn other<V: Matrices>(
        &self,
        t: u64,
        theta: &mut V,
        h: &V,
        (m, v): (&mut V, &mut V),
        lr: f64,
    ) -> Result<()> {
        let ([beta1, beta2], t) = (self.betas, t as f64);
        average(m, beta1, h)?;
        average_square(v, beta2, h)?;
        shrink(theta, lr, self.weight_decay)?;
        theta.addcdiv_sqrt(-lr / (1.0 - beta1.powf(t)), m, 1.0 / (1.0 - beta2.powf(t)), v, self.eps)
    }
}

/// Makes five Newton–Schulz steps with the quintic a·x + b·x³ + c·x⁵, whose slope at 0 is as large as possible.
fn orthogonalize<V: Matrices>(x: &mut V) -> Result<()> {
    const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
    let [a, b, c] = QUINTIC;
    // The largest singular value is at most the norm.
    let norm = x.norm()?;
    x.scale(1.0 / (norm + 1e-7))?;
    for _ in 0..5 {
        let gram = x.gram()?;
        let mut polynomial = gram.clone();
        polynomial.multiply_by(&gram)?;
        polynomial.scale(c)?;
        polynomial.axpy(b, &gram)?;
        let mut rest = x.clone();
        rest.multiply_by(&polynomial)?;
        x.scale(a)?;
        x.axpy(1.0, &rest)?;
    }
    Ok(())
}

checkpoint_of_state!(Muon);
