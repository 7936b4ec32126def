//! A tiny seeded generator, so that searches and tests are repeatable without a dependency.

use crate::Real;
use std::marker::PhantomData;

/// SplitMix64: 64 bits of state, passes BigCrush; for searches and tests, not for cryptography.
///
/// # References
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence that belongs to a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a uniform number in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws a standard normal number (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt(); // 1 − u lies in (0, 1]: its logarithm is finite
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Draws `n` independent standard normal numbers.
    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}

/// Endless independent points, uniform in the unit ball of ℝᵈ: starts for
/// [`Search::MultiStart`](crate::measure::Search::MultiStart).
#[derive(Clone, Debug)]
pub struct UnitBall<T> {
    dim: usize,
    random: SplitMix64,
    precision: PhantomData<T>,
}

impl<T: Real> UnitBall<T> {
    /// The sequence of points in ℝ^`dim` that belongs to a seed.
    pub fn new(dim: usize, seed: u64) -> Self {
        Self { dim, random: SplitMix64::new(seed), precision: PhantomData }
    }
}

impl<T: Real> Iterator for UnitBall<T> {
    type Item = Vec<T>;

    /// Draws a point: a normal vector has a uniform direction, and the d-th root of a uniform number is the radius of a
    /// uniform point.
    fn next(&mut self) -> Option<Vec<T>> {
        let direction = self.random.normals(self.dim);
        let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let radius = self.random.uniform().powf(1.0 / self.dim as f64);
        let factor = if norm > 0.0 { radius / norm } else { 0.0 };
        Some(direction.into_iter().map(|x| T::of(factor * x)).collect())
    }
}
