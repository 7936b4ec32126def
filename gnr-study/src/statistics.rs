//! The few statistics the reports need: mean, sample standard deviation, Student's t interval and test, Holm's
//! correction, median.

use std::fmt;

use gnr_hessian::{student_t_quantile, student_t_within};

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Size of the sample.
    pub n: usize,
    /// Arithmetic mean of the sample.
    pub mean: f64,
    /// Sample standard deviation (divisor n − 1); none for a single value.
    pub std: Option<f64>,
}

impl Summary {
    /// Summarises a sample; `None` when it is empty.
    pub fn of(sample: &[f64]) -> Option<Self> {
        let n = sample.len();
        if n == 0 {
            return None;
        }
        let mean = sample.iter().sum::<f64>() / n as f64;
        let squares = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        Some(Self { n, mean, std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }

    /// The two-sided 95 % interval of the mean by Student's t: mean ± t(0.975; n−1)·std/√n. None for a single value and
    /// for values that are all equal, whose spread is a coincidence (accuracies are coarse).
    pub fn interval(&self) -> Option<[f64; 2]> {
        let std = self.spread()?;
        let half = student_t_quantile(0.95, self.n - 1) * std / (self.n as f64).sqrt();
        Some([self.mean - half, self.mean + half])
    }

    /// The sample standard deviation, unless the values are all equal.
    fn spread(&self) -> Option<f64> {
        self.std.filter(|std| *std > 1e-9)
    }

    /// Probability of a mean at least as far from zero if the true one is zero: Student's t test, two-sided. None for a
    /// single value and for values that are all equal (accuracies are coarse: that is a coincidence, not certainty).
    pub fn p_value(&self) -> Option<f64> {
        let std = self.spread()?;
        let t = self.mean / (std / (self.n as f64).sqrt());
        Some(1.0 - student_t_within(t.abs(), self.n - 1))
    }
}

/// Writes `97.31 ± 0.25`, with the format's precision (default 2).
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        match self.std {
            Some(std) => write!(f, "{:.digits$} ± {std:.digits$}", self.mean),
            None => write!(f, "{:.digits$}", self.mean),
        }
    }
}

/// The conclusion that paired differences support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The mean is above zero, also as one of many comparisons.
    Better,
    /// The mean is below zero, also as one of many comparisons.
    Worse,
    /// The 95 % interval is above zero; as one of many comparisons that may be chance.
    BetterAlone,
    /// The 95 % interval is below zero; as one of many comparisons that may be chance.
    WorseAlone,
    /// The 95 % interval holds zero.
    WithinNoise,
    /// Fewer than two pairs, or differences that are all equal: nothing can be said.
    Unknown,
}

const LEVEL: f64 = 0.05;

impl Verdict {
    /// The verdicts on several paired differences (method − base), taken together: Holm's correction keeps the
    /// probability of even one false "better" or "worse" below 5 %.
    pub fn of_all(differences: &[Summary]) -> Vec<Self> {
        let p: Vec<Option<f64>> = differences.iter().map(Summary::p_value).collect();
        let known: Vec<f64> = p.iter().copied().flatten().collect();
        let mut adjusted = holm(&known).into_iter();
        let verdict = |(difference, p): (&Summary, &Option<f64>)| {
            let Some(p) = *p else { return Self::Unknown };
            let together = adjusted.next().is_some_and(|p| p < LEVEL);
            match (difference.mean > 0.0, p < LEVEL, together) {
                (true, _, true) => Self::Better,
                (false, _, true) => Self::Worse,
                (true, true, false) => Self::BetterAlone,
                (false, true, false) => Self::WorseAlone,
                (_, false, false) => Self::WithinNoise,
            }
        };
        differences.iter().zip(&p).map(verdict).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::BetterAlone => "better taken alone, not among so many",
            Self::WorseAlone => "worse taken alone, not among so many",
            Self::WithinNoise => "no difference beyond seed noise",
            Self::Unknown => "nothing can be said from these seeds",
        })
    }
}

/// Holm's step-down adjustment of p-values: the i-th smallest of m times m − i + 1, made monotone, at most 1.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max(p[index] * (p.len() - rank) as f64).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

/// The middle value (mean of the two middle ones); none when empty or when a value is NaN.
pub fn median(sample: &[f64]) -> Option<f64> {
    if sample.is_empty() || sample.iter().any(|x| x.is_nan()) {
        return None;
    }
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    Some(if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sample: &[f64]) -> Summary {
        Summary::of(sample).unwrap()
    }

    #[test]
    fn mean_and_sample_deviation_by_hand() {
        // Squares around 5: 9+1+1+1+0+0+4+16 = 32, divided by 7.
        let summary = of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((summary.n, summary.mean), (8, 5.0));
        assert!((summary.std.unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(format!("{summary:.1}"), "5.0 ± 2.1");
    }

    #[test]
    fn one_value_has_no_spread_and_no_value_no_summary() {
        let one = of(&[3.0]);
        assert_eq!((one.std, one.interval(), one.p_value()), (None, None, None));
        assert_eq!(one.to_string(), "3.00");
        assert_eq!(Verdict::of_all(&[one]), [Verdict::Unknown]);
        let equal = of(&[0.3; 3]);
        assert_eq!((equal.std, equal.interval(), equal.p_value()), (Some(0.0), None, None));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn interval_and_test_by_hand() {
        // 1, 2, 3: mean 2, std 1, t(2) = 4.3027, half width 4.3027/√3 = 2.4842.
        let summary = of(&[1.0, 2.0, 3.0]);
        let [low, high] = summary.interval().unwrap();
        assert!((low + 0.4842).abs() < 1e-4 && (high - 4.4842).abs() < 1e-4, "{low} {high}");
        // t = 2√3; with two degrees of freedom P(|T| ≥ t) = 1 − t/√(2 + t²), here 1 − √12/√14.
        let p = 1.0 - (12.0_f64 / 14.0).sqrt();
        assert!((summary.p_value().unwrap() - p).abs() < 1e-9, "{:?}", summary.p_value());
    }

    #[test]
    fn holm_by_hand() {
        // Sorted 0.01·4, 0.02·3, 0.03·2, 0.04·1, made monotone.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.02]);
        for (a, b) in adjusted.iter().zip([0.04, 0.06, 0.06, 0.06]) {
            assert!((a - b).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }

    #[test]
    fn verdicts() {
        for (differences, expect) in [
            (&[1.0, 1.1, 0.9][..], Verdict::Better),
            (&[-1.0, -1.1, -0.9], Verdict::Worse),
            (&[1.0, 2.0, 3.0], Verdict::WithinNoise),
            (&[0.3, 0.3, 0.3], Verdict::Unknown),
            (&[0.3], Verdict::Unknown),
        ] {
            assert_eq!(Verdict::of_all(&[of(differences)]), [expect], "{differences:?}");
        }
    }

    #[test]
    fn among_many_comparisons_one_must_be_clearer() {
        // p = 0.031: enough alone, not among ten; p = 0.003 is.
        let (weak, strong) = (of(&[0.8, 1.1, 1.7]), of(&[1.0, 1.1, 0.9]));
        assert!(weak.p_value().unwrap() > 0.005 && weak.p_value().unwrap() < 0.05);
        let noise = of(&[0.5, -0.4, 0.1]);
        let mut all = vec![weak, strong];
        all.extend([noise; 8]);
        let verdicts = Verdict::of_all(&all);
        assert_eq!(verdicts[..3], [Verdict::BetterAlone, Verdict::Better, Verdict::WithinNoise]);
        assert_eq!(Verdict::of_all(&[weak]), [Verdict::Better]);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!((median(&[]), median(&[1.0, f64::NAN])), (None, None));
    }
}
