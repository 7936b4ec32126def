//! Seeded random vectors: starts of iterations and test vectors of stochastic estimates.

use crate::Result;
use gnr_core::{Real, random::SplitMix64, random_signs};

/// The distribution of the entries of a random vector. Entries are independent, with mean 0 and variance 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// ±1 with equal probability: the smallest variance of a trace estimate, 2·(‖H‖²_F − Σ hᵢᵢ²).
    #[default]
    Rademacher,
    /// Standard normal; invariant under rotation.
    Gaussian,
}

/// Random vectors numbered 0, 1, 2, …: number k is a pure function of (seed, distribution, k), so an estimate that was
/// stopped goes on with the vectors that it would have had.
#[derive(Clone, Debug)]
pub struct Probes<F> {
    dim: usize,
    seed: u64,
    to_vector: F,
}

impl<F> Probes<F> {
    /// Makes probes of dimension `dim`; `to_vector` brings each from the host to the backend.
    pub fn new<V>(dim: usize, seed: u64, to_vector: F) -> Self
    where
        F: Fn(Vec<f64>) -> gnr_core::Result<V>,
    {
        Self { dim, seed, to_vector }
    }

    /// The dimension of each vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Vector number `index`.
    ///
    /// # Errors
    /// The errors of bringing the vector to the backend.
    pub fn draw<V>(&self, distribution: Distribution, index: u64) -> Result<V>
    where
        F: Fn(Vec<f64>) -> gnr_core::Result<V>,
    {
        // SplitMix64 mixes its counter, so seeds that differ by a large odd constant give unrelated sequences.
        let stream = SplitMix64::new(self.seed ^ index.wrapping_mul(0xd134_2543_de82_ef95)).next_u64();
        let host = match distribution {
            Distribution::Gaussian => SplitMix64::new(stream).normals(self.dim),
            Distribution::Rademacher => random_signs(self.dim, stream).into_iter().map(f64::from).collect(),
        };
        Ok((self.to_vector)(host)?)
    }
}

/// A source of numbered random vectors, as algorithms see [`Probes`].
pub trait Draw<V> {
    /// Vector number `index` of a distribution.
    ///
    /// # Errors
    /// The errors of bringing the vector to the backend.
    fn draw(&self, distribution: Distribution, index: u64) -> Result<V>;
}

impl<V, F: Fn(Vec<f64>) -> gnr_core::Result<V>> Draw<V> for Probes<F> {
    fn draw(&self, distribution: Distribution, index: u64) -> Result<V> {
        Probes::draw(self, distribution, index)
    }
}

/// Probes in host memory.
pub fn host_probes<T: Real>(
    dim: usize,
    seed: u64,
) -> Probes<impl Fn(Vec<f64>) -> gnr_core::Result<Vec<T>> + Clone> {
    Probes::new(dim, seed, |host: Vec<f64>| Ok(host.into_iter().map(T::of).collect()))
}
