//! Initialisers. Every tensor draws from a seeded stream of its own, so a layout and a seed fix θ₀ on every machine.

use rand::{Rng, SeedableRng, distr::Distribution};
use rand_chacha::ChaCha8Rng;
use rand_distr::{StandardNormal, Uniform};

use crate::{Layout, Role};

/// The initial distribution of a parameter. `fan_in` is the product of all dimensions but the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// A constant: every element has this value.
    Constant(f64),
    /// The normal distribution N(0, std²).
    Normal {
        /// Standard deviation of the distribution.
        std: f64,
    },
    /// The uniform distribution U(−bound, bound).
    Uniform {
        /// Half the width of the interval.
        bound: f64,
    },
    /// The normal distribution N(0, 2/fan_in), for a layer followed by ReLU (He et al. 2015).
    KaimingNormalFanIn,
    /// The normal distribution N(0, 2/fan_out) of torchvision's convolutions; fan_out is the first dimension times
    /// those from the third on.
    KaimingNormalFanOut,
    /// The uniform distribution U(−1/√fan_in, 1/√fan_in), PyTorch's default for convolutions and linear layers.
    KaimingUniformDefault,
}

impl Init {
    /// Draws a tensor of the given shape.
    pub fn draw(self, shape: &[usize], rng: &mut impl Rng) -> Vec<f64> {
        let len: usize = shape.iter().product();
        let fan_in = shape.iter().skip(1).product::<usize>().max(1) as f64;
        let fan_out =
            (shape.first().copied().unwrap_or(1) * shape.iter().skip(2).product::<usize>()).max(1) as f64;
        match self {
            Self::Constant(value) => vec![value; len],
            Self::Normal { std } => normal(len, std, rng),
            Self::KaimingNormalFanIn => normal(len, (2.0 / fan_in).sqrt(), rng),
            Self::KaimingNormalFanOut => normal(len, (2.0 / fan_out).sqrt(), rng),
            Self::Uniform { bound } => uniform(len, bound, rng),
            Self::KaimingUniformDefault => uniform(len, fan_in.sqrt().recip(), rng),
        }
    }
}

fn normal(len: usize, std: f64, rng: &mut impl Rng) -> Vec<f64> {
    (0..len)
        .map(|_| {
            let z: f64 = StandardNormal.sample(rng);
            std * z
        })
        .collect()
}

fn uniform(len: usize, bound: f64, rng: &mut impl Rng) -> Vec<f64> {
    match Uniform::new_inclusive(-bound, bound) {
        Ok(distribution) => (0..len).map(|_| distribution.sample(rng)).collect(),
        Err(_) => vec![0.0; len],
    }
}

impl Layout {
    /// Draws the initial values of every entry (parameters and buffers), in state-dict order.
    pub fn initialise(&self, seed: u64) -> Vec<Vec<f64>> {
        self.entries()
            .iter()
            .enumerate()
            .map(|(index, entry)| match entry.role {
                Role::Buffer(value) => vec![value; entry.len()],
                Role::Parameter(init) => {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(index as u64);
                    init.draw(&entry.shape, &mut rng)
                }
            })
            .collect()
    }
}
