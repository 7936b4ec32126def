//! Randomness addressed by coordinates: the stream for (seed, purpose, epoch, index) is a pure function of these.
//!
//! Nothing here has a state that moves from one image to the next. Neither the number of worker threads nor stopping
//! and resuming in the middle of an epoch can therefore change a bit.
//!
//! The four numbers, little endian, *are* the 32-byte key of a ChaCha8 stream: distinct coordinates are distinct keys,
//! and no hash is needed. Bounded draws are implemented here instead of taken from `rand`, whose algorithms may change
//! between versions, because recorded runs must stay reproducible.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The purpose of a stream. The numbers are part of the recorded behaviour and must never change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Shuffle = 1,
    Augment = 2,
    Split = 3,
    Sample = 4,
    Crop = 5,
    Jitter = 6,
    Policy = 7,
    Erase = 8,
    Mix = 9,
    LabelNoise = 10,
}

/// An independent stream of random numbers.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn at(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, epoch, index]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Draws uniformly from `0..2⁶⁴`.
    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draws uniformly from `0..bound` without bias (Lemire's multiply-and-reject); 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.0.next_u64()) * u128::from(bound);
            if wide as u64 >= threshold {
                return (wide >> 64) as usize;
            }
        }
    }

    /// Draws uniformly from [0, 1), a multiple of 2⁻⁵³.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws uniformly between `low` and `high`.
    pub(crate) fn between(&mut self, [low, high]: [f64; 2]) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Draws from Beta(α, α) for α > 0, as a ratio of Gamma variates.
    pub(crate) fn symmetric_beta(&mut self, alpha: f64) -> f64 {
        let (a, b) = (self.gamma(alpha), self.gamma(alpha));
        match a + b {
            // Both variates underflow when α is tiny; the limit is a coin.
            0.0 => f64::from(u8::from(self.coin())),
            sum => a / sum,
        }
    }

    /// Draws from Gamma(shape, 1) by Marsaglia and Tsang (2000). A shape below 1 is reduced to shape + 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let power = (1.0 - self.unit()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.unit()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Draws a standard normal number (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Tosses a fair coin.
    pub(crate) fn coin(&mut self) -> bool {
        self.0.next_u64() >> 63 == 1
    }

    /// Shuffles by Fisher–Yates, from the last element down.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The order in which epoch `epoch` visits `len` images: a permutation of `0..len` that is a pure function of its
/// arguments.
///
/// Fisher–Yates from the last element down, driven by the ChaCha8 stream keyed by (`seed`, 1, `epoch`, 0).
///
/// ```
/// let order = gnr_data::permutation(5, 7, 0);
/// assert_eq!(order, gnr_data::permutation(5, 7, 0));
/// assert_eq!({ let mut sorted = order; sorted.sort(); sorted }, [0, 1, 2, 3, 4]);
/// ```
pub fn permutation(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Stream::at(seed, Purpose::Shuffle, epoch, 0).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_draws_are_uniform() {
        let mut stream = Stream::at(1, Purpose::Sample, 2, 3);
        let mut counts = [0usize; 9];
        for _ in 0..90_000 {
            counts[stream.below(9)] += 1;
        }
        // Tolerance: Binomial(90000, 1/9) has standard deviation 94; 5 sigma.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 470), "{counts:?}");
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.2, 1.0, 4.0] {
            let mut stream = Stream::at(5, Purpose::Mix, 0, 0);
            let draws: Vec<f64> = (0..40_000).map(|_| stream.symmetric_beta(alpha)).collect();
            assert!(draws.iter().all(|x| (0.0..=1.0).contains(x)));
            let n = draws.len() as f64;
            let mean = draws.iter().sum::<f64>() / n;
            let variance = draws.iter().map(|x| (x - 0.5) * (x - 0.5)).sum::<f64>() / n;
            // Tolerance: Var Beta(α, α) = 1 / (4 (2α + 1)), so the standard deviation of the mean is at most 0.0025; 5
            // sigma.
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!(
                (mean - 0.5).abs() < 0.0125 && (variance / expected - 1.0).abs() < 0.04,
                "{alpha}: {mean} {variance}"
            );
        }
        // Where Gamma underflows there must be no NaN.
        let mut stream = Stream::at(5, Purpose::Mix, 0, 1);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&stream.symmetric_beta(1e-9))));
    }

    #[test]
    fn every_coordinate_matters() {
        let first = |seed, purpose, epoch, index| Stream::at(seed, purpose, epoch, index).0.next_u64();
        let base = first(1, Purpose::Shuffle, 1, 1);
        assert_ne!(base, first(2, Purpose::Shuffle, 1, 1));
        assert_ne!(base, first(1, Purpose::Augment, 1, 1));
        assert_ne!(base, first(1, Purpose::Shuffle, 2, 1));
        assert_ne!(base, first(1, Purpose::Shuffle, 1, 2));
    }
}
