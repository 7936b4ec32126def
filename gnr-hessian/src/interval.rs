//! Confidence intervals of means, and a rule for when a growing sample is large enough.

use crate::{Error, Result};

/// The mean of a sample with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The sample's mean.
    pub mean: f64,
    /// The standard error s/√n; NaN for fewer than three values.
    pub standard_error: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The interval of a mean at a confidence level: Student's t with Hall's correction for skewness.
///
/// Estimates of vᵀHv are skewed like χ² where few eigenvalues dominate, and the plain t interval then lies too low
/// too often. Hall's monotone transformation g(T) = T + γT²/(3√n) + γ²T³/(27n) + γ/(6√n), γ the sample's
/// skewness, is closer to normal; its inverse at the quantiles of Student's t gives the ends. Without skewness it is
/// the t interval. Fewer than three values give (−∞, ∞); three or more equal values give a point.
///
/// # References
/// Hall, "On the removal of skewness by transformation", J. R. Statist. Soc. B 54, 1992.
pub fn mean_interval(sample: &[f64], confidence: f64) -> Interval {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    if sample.len() < 3 {
        return Interval { mean, standard_error: f64::NAN, low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    let moment = |k: i32| sample.iter().map(|x| (x - mean).powi(k)).sum::<f64>() / n;
    let variance = moment(2);
    let standard_error = (variance / (n - 1.0)).sqrt();
    let q = student_t_quantile(confidence, sample.len() - 1);
    if variance <= 0.0 {
        return Interval { mean, standard_error, low: mean, high: mean };
    }
    // The skewness is corrected for bias, because the third cumulant of a small sample is too small.
    let skewness = moment(3) / variance.powf(1.5) * (n * (n - 1.0)).sqrt() / (n - 2.0);
    let a = skewness / n.sqrt();
    let inverse = |q: f64| {
        if a.abs() < 1e-9 { q } else { 3.0 / a * ((1.0 + a * (q - a / 6.0)).cbrt() - 1.0) }
    };
    Interval {
        mean,
        standard_error,
        low: mean - standard_error * inverse(q),
        high: mean - standard_error * inverse(-q),
    }
}

/// The quantile t with P(|T| ≤ t) = `confidence` for Student's distribution with `df` degrees of freedom, by
/// bisection of the exact series.
///
/// # References
/// Abramowitz and Stegun, 26.7.3 and 26.7.4.
pub fn student_t_quantile(confidence: f64, df: usize) -> f64 {
    // Beyond 10,000 degrees of freedom the quantile changes by less than 3e-4.
    let df = df.clamp(1, 10_000);
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    while student_t_within(high, df) < confidence && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..55 {
        let middle = f64::midpoint(low, high);
        if student_t_within(middle, df) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The probability P(|T| ≤ t) for Student's distribution with `df` ≥ 1 degrees of freedom, by the exact series.
///
/// # Cost
/// df/2 terms.
///
/// # References
/// Abramowitz and Stegun, 26.7.3 and 26.7.4.
pub fn student_t_within(t: f64, df: usize) -> f64 {
    let theta = (t / (df as f64).sqrt()).atan();
    let (sin, cos) = theta.sin_cos();
    let (mut term, mut sum, start) = if df % 2 == 1 { (cos, 0.0, 1) } else { (1.0, 0.0, 0) };
    // Powers cos^k for k = start, start + 2, …, df − 2, each with its product of ratios.
    let mut k = start;
    while k + 2 <= df {
        sum += term;
        term *= cos * cos * (k + 1) as f64 / (k + 2) as f64;
        k += 2;
    }
    if df % 2 == 1 { std::f64::consts::FRAC_2_PI * (theta + sin * sum) } else { sin * sum }
}

/// The rule for when a growing sample is large enough.
///
/// Looking at an interval again and again and stopping at the first narrow one is not sound: it stops where the sample
/// happens to be narrow. Here the looks are few, at geometrically growing sizes, and look k spends α/(k(k+1)) of the
/// allowed error α = 1 − confidence; these sum to α, so the interval of whichever look stopped covers with the promised
/// confidence (to the accuracy of each look's interval).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stopping {
    /// Stop when the interval's half width is at most tolerance·|mean|; `None`: only at the maximum. Default `None`.
    pub tolerance: Option<f64>,
    /// Confidence over all looks; default 0.95.
    pub confidence: f64,
    /// Size of the sample at the first look. Default 16.
    pub min_samples: usize,
    /// The largest size of the sample; default 100.
    pub max_samples: usize,
}

impl Default for Stopping {
    fn default() -> Self {
        Self { tolerance: None, confidence: 0.95, min_samples: 16, max_samples: 100 }
    }
}

impl Stopping {
    pub(crate) fn check(&self) -> Result<()> {
        let sane = self.confidence > 0.0
            && self.confidence < 1.0
            && self.tolerance.is_none_or(|tolerance| tolerance > 0.0 && tolerance.is_finite())
            && self.min_samples >= 3
            && self.max_samples >= 3;
        if sane {
            return Ok(());
        }
        Err(Error::Configuration(format!(
            "{self:?}: confidence must be in (0, 1), a tolerance positive, the numbers of samples at least 3"
        )))
    }

    /// The sizes of the sample at which the interval is looked at, with the confidence of each look. The last size is
    /// the maximum.
    pub fn looks(&self) -> Vec<(usize, f64)> {
        let alpha = 1.0 - self.confidence;
        if self.tolerance.is_none() {
            return vec![(self.max_samples, self.confidence)];
        }
        let mut looks = Vec::new();
        let mut size = self.min_samples.min(self.max_samples);
        loop {
            let k = (looks.len() + 1) as f64;
            looks.push((size, 1.0 - alpha / (k * (k + 1.0))));
            if size >= self.max_samples {
                return looks;
            }
            size = (size + size.div_ceil(2)).min(self.max_samples);
        }
    }

    /// Whether an interval is narrow enough.
    pub(crate) fn satisfied(&self, interval: &Interval) -> bool {
        let half = 0.5 * (interval.high - interval.low);
        self.tolerance.is_some_and(|tolerance| half <= tolerance * interval.mean.abs())
    }
}
