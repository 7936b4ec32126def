//! The few statistics the reports need: mean, sample standard deviation, Student's t interval, median.

use std::fmt;

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Size of the sample.
    pub(crate) n: usize,
    /// Arithmetic mean.
    pub(crate) mean: f64,
    /// Sample standard deviation (divisor n − 1); none for a single value.
    pub(crate) std: Option<f64>,
}

impl Summary {
    /// Of a sample; none when it is empty.
    pub(crate) fn of(sample: &[f64]) -> Option<Self> {
        let n = sample.len();
        if n == 0 {
            return None;
        }
        let mean = sample.iter().sum::<f64>() / n as f64;
        let squares = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        Some(Self { n, mean, std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }

    /// The two-sided 95 % interval of the mean by Student's t: mean ± t(0.975; n−1)·std/√n. None for a single value.
    pub(crate) fn interval(&self) -> Option<[f64; 2]> {
        let half = t_975(self.n.checked_sub(1)?)? * self.std? / (self.n as f64).sqrt();
        Some([self.mean - half, self.mean + half])
    }
}

/// `97.31 ± 0.25`, precision from the format (default 2).
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        match self.std {
            Some(std) => write!(f, "{:.digits$} ± {std:.digits$}", self.mean),
            None => write!(f, "{:.digits$}", self.mean),
        }
    }
}

/// What paired differences allow one to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The whole 95 % interval is above zero.
    Better,
    /// The whole 95 % interval is below zero.
    Worse,
    /// The 95 % interval holds zero.
    WithinNoise,
    /// Fewer than two pairs, or differences that are all equal: nothing can be said.
    Unknown,
}

impl Verdict {
    /// Of paired differences (method − base).
    pub(crate) fn of(differences: &Summary) -> Self {
        match differences.interval() {
            // Identical differences over few seeds are a coincidence of coarse accuracies, not certainty.
            None => Self::Unknown,
            Some([low, high]) if low == high => Self::Unknown,
            Some([low, _]) if low > 0.0 => Self::Better,
            Some([_, high]) if high < 0.0 => Self::Worse,
            Some(_) => Self::WithinNoise,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better: the 95 % interval is above zero",
            Self::Worse => "worse: the 95 % interval is below zero",
            Self::WithinNoise => "no difference beyond seed noise",
            Self::Unknown => "nothing can be said from these seeds",
        })
    }
}

/// Quantile 0.975 of Student's t with `df` degrees of freedom; none for 0.
pub(crate) fn t_975(df: usize) -> Option<f64> {
    const TABLE: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788,
        2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639,
        2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
    ];
    let index = df.checked_sub(1)?;
    Some(TABLE.get(index).copied().unwrap_or_else(|| {
        // Expansion around the normal quantile (Abramowitz & Stegun 26.7.5); below 1e-4 from df = 30 on.
        let (z, df) = (1.959_963_984_540_054_f64, df as f64);
        z + (z.powi(3) + z) / (4.0 * df) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * df * df)
    }))
}

/// The middle value (mean of the two middle ones); none when empty or when a value is NaN.
pub(crate) fn median(sample: &[f64]) -> Option<f64> {
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

    #[test]
    fn mean_and_sample_deviation_by_hand() {
        // Squares around 5: 9+1+1+1+0+0+4+16 = 32, divided by 7.
        let summary = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((summary.n, summary.mean), (8, 5.0));
        assert!((summary.std.unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(format!("{summary:.1}"), "5.0 ± 2.1");
    }

    #[test]
    fn one_value_has_no_spread_and_no_value_no_summary() {
        let one = Summary::of(&[3.0]).unwrap();
        assert_eq!((one.std, one.interval()), (None, None));
        assert_eq!(one.to_string(), "3.00");
        assert_eq!(Verdict::of(&one), Verdict::Unknown);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn interval_by_hand() {
        // 1, 2, 3: mean 2, std 1, t(2) = 4.3027, half width 4.3027/√3 = 2.4842.
        let [low, high] = Summary::of(&[1.0, 2.0, 3.0]).unwrap().interval().unwrap();
        assert!((low + 0.4842).abs() < 1e-4 && (high - 4.4842).abs() < 1e-4, "{low} {high}");
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
            assert_eq!(Verdict::of(&Summary::of(differences).unwrap()), expect, "{differences:?}");
        }
    }

    #[test]
    fn t_quantiles_join_smoothly() {
        assert_eq!(t_975(0), None);
        assert_eq!(t_975(2), Some(4.3027));
        // Published: 2.0395 (31), 2.0211 (40), 1.9840 (100).
        for (df, expect) in [(31, 2.0395), (40, 2.0211), (100, 1.9840)] {
            assert!((t_975(df).unwrap() - expect).abs() < 1e-4, "df {df}");
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!((median(&[]), median(&[1.0, f64::NAN])), (None, None));
    }
}
