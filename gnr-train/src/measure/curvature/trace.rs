//! Estimates of the trace, and with one method of the whole diagonal.

use std::sync::atomic::AtomicBool;

use gnr_core::Elementwise;
use gnr_hessian::{
    Distribution, HutchPlusPlus, Hutchinson, Stopping, TraceEnd, TraceEstimate, TraceProgress, XTrace,
    diagonal, hutch_plus_plus, hutchinson, mean_interval, xtrace,
};
use gnr_nn::{Autodiff, ParamVector};
use serde::Serialize;
use serde_json::json;

use super::{
    files,
    session::{Cost, CurvatureRequest, Measure, Operator, OperatorKind, Point, PointProbes, Run, carry_out},
    state,
};
use crate::{
    choice::Choice as _,
    error::{Result, TrainError},
    measure::{MeasureObserver, Measured, subject::Description},
};

/// The estimator of the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceMethod {
    /// Hutchinson's estimator, the mean of quadratic forms of random vectors.
    #[default]
    Hutchinson,
    /// The Hutch++ estimator.
    HutchPlusPlus,
    /// The XTrace estimator.
    Xtrace,
    /// Hutchinson's estimator with random signs, which keeps every entry of the diagonal.
    Diagonal,
}

/// The options of [`trace()`].
#[derive(Clone, Debug)]
pub struct TraceRequest {
    /// Subject, operator and folder.
    pub common: CurvatureRequest,
    /// The estimator; default Hutchinson's.
    pub method: TraceMethod,
    /// Whether test vectors are Gaussian instead of random signs (Hutchinson).
    pub gaussian: bool,
    /// Number of vectors of the subspace (Hutch++ only). `None`: 20.
    pub sketch: Option<usize>,
    /// The rule that decides when to stop.
    pub rule: Stopping,
    /// Number of products at once; default 1.
    pub block: usize,
}

impl TraceRequest {
    /// Hutchinson's estimator with 100 random sign vectors, one at a time, and 95 % confidence.
    pub fn new(common: CurvatureRequest) -> Self {
        let rule = Stopping::default();
        Self { common, method: TraceMethod::Hutchinson, gaussian: false, sketch: None, rule, block: 1 }
    }

    fn sketch(&self) -> usize {
        self.sketch.unwrap_or(20)
    }

    /// The options that must be equal for unfinished work to continue.
    fn deciding(&self) -> serde_json::Value {
        json!({
            "gaussian": self.gaussian, "tolerance": self.rule.tolerance,
            "confidence": self.rule.confidence, "min_samples": self.rule.min_samples,
        })
    }
}

/// The answer to a [`TraceRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct TraceReport {
    /// The network and images that were measured.
    pub subject: Description,
    /// The matrix that was measured.
    pub operator: OperatorKind,
    /// L̂ and ‖∇L̂‖ at the measured point.
    pub point: Point,
    /// The estimator that was used.
    pub method: TraceMethod,
    /// Whether the test vectors were Gaussian instead of random signs.
    pub gaussian: bool,
    /// Number of vectors of the subspace (Hutch++).
    pub sketch: Option<usize>,
    /// Number of products at once.
    pub block: usize,
    /// The largest number of test vectors.
    pub max_samples: usize,
    /// Seed of the test vectors.
    pub seed: u64,
    /// The estimated trace.
    pub trace: f64,
    /// Standard error of the estimate; `None` for an exact value.
    pub standard_error: Option<f64>,
    /// Lower end of the confidence interval.
    pub low: f64,
    /// Upper end of the confidence interval.
    pub high: f64,
    /// Confidence of the interval, jointly over all sample sizes at which the rule may stop.
    pub confidence: f64,
    /// Relative half width that was asked for.
    pub tolerance: Option<f64>,
    /// Reason for the end: `tolerance`, `budget` or `exact`.
    pub ended_by: &'static str,
    /// The part that was computed without randomness (Hutch++).
    pub exact_part: f64,
    /// The estimates, one for each test vector.
    pub samples: Vec<f64>,
    /// The number and the time of the products.
    pub cost: Cost,
}

/// Estimates the trace and writes `trace.json`, `trace.csv` and, for [`TraceMethod::Diagonal`], `diagonal.safetensors`.
///
/// Hutchinson's estimator can be stopped and continues with the samples that it has; the others start again.
///
/// # Errors
/// The errors of [`spectrum()`](super::spectrum()).
pub fn trace(
    request: &TraceRequest,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<TraceReport>> {
    let refuse = |problem: String| Err(TrainError::Request(problem));
    if request.method == TraceMethod::Diagonal && request.rule.tolerance.is_some() {
        return refuse("the diagonal takes a number of samples, not a tolerance".into());
    }
    let method = request.method.name();
    if request.gaussian && request.method != TraceMethod::Hutchinson {
        return refuse(format!(
            "gaussian: an option of hutchinson, without effect on {method}; leave it out"
        ));
    }
    if request.sketch.is_some() && request.method != TraceMethod::HutchPlusPlus {
        return refuse(format!(
            "sketch: an option of hutch-plus-plus, without effect on {method}; leave it out"
        ));
    }
    let Stopping { confidence, tolerance, max_samples, .. } = request.rule;
    if !(confidence > 0.0 && confidence < 1.0) {
        return refuse(format!("confidence {confidence}: must lie in (0, 1)"));
    }
    if let Some(tolerance) = tolerance.filter(|tolerance| !(*tolerance > 0.0 && tolerance.is_finite())) {
        return refuse(format!("tolerance {tolerance}: must be positive and finite"));
    }
    if max_samples < 3 {
        return refuse(format!("{max_samples} samples: an interval needs at least 3"));
    }
    carry_out(request, observer, stop)
}

impl Measure for TraceRequest {
    type Report = TraceReport;

    const WORK: &'static str = "trace";

    fn common(&self) -> &CurvatureRequest {
        &self.common
    }

    fn keeps_state(&self) -> bool {
        self.method == TraceMethod::Hutchinson
    }

    fn run<B: Autodiff>(
        mut run: Run<'_, Self>,
        mut operator: Operator<'_, B>,
        probes: &PointProbes<B>,
        point: Point,
    ) -> Result<Measured<TraceReport>> {
        let request = run.request;
        let settings = run.settings(request.deciding());
        let mut samples = Vec::new();
        // Only a method that keeps a state finds one.
        if let Some(saved) = run.saved(&settings, probes)? {
            samples = serde_json::from_value(saved.rest).unwrap_or_default();
        }
        run.session.start(&run.description, samples.len(), request.rule.max_samples);
        let session = &mut run.session;
        let mut observer = |progress: &TraceProgress<'_>| {
            let interval = progress.interval;
            let message = if interval.high.is_finite() {
                format!("{:.5} in [{:.5}, {:.5}]", interval.mean, interval.low, interval.high)
            } else {
                format!("{:.5} so far", interval.mean)
            };
            session.tell(progress.num_matvecs, progress.budget, message);
            session.go_on()
        };
        let estimate = match request.method {
            TraceMethod::Hutchinson => {
                let distribution =
                    if request.gaussian { Distribution::Gaussian } else { Distribution::Rademacher };
                let options = Hutchinson { distribution, rule: request.rule, block: request.block };
                hutchinson(&mut operator, &options, probes, &mut samples, &mut observer)?
            }
            TraceMethod::HutchPlusPlus => {
                let options =
                    HutchPlusPlus { sketch: request.sketch(), rule: request.rule, block: request.block };
                hutch_plus_plus(&mut operator, &options, probes, &mut observer)?
            }
            TraceMethod::Xtrace => {
                let options = XTrace { rule: request.rule, block: request.block };
                xtrace(&mut operator, &options, probes, &mut observer)?
            }
            TraceMethod::Diagonal => run.diagonal(operator, probes)?,
        };
        if estimate.end == TraceEnd::Stopped {
            let resumable = request.keeps_state();
            if resumable {
                let precision = run.description.precision;
                let bytes = state::to_bytes::<B>(&[], json!(estimate.samples), &settings, precision)?;
                run.session.write(state::FILE, &bytes)?;
            }
            return Ok(run.session.interrupted(estimate.num_matvecs, resumable));
        }
        run.report(&estimate, point).map(Measured::Finished)
    }
}

impl Run<'_, TraceRequest> {
    /// Estimates the diagonal with random signs. The sum of each product's part of it is a sample of the trace.
    fn diagonal<B: Autodiff>(
        &mut self,
        mut operator: Operator<'_, B>,
        probes: &PointProbes<B>,
    ) -> Result<TraceEstimate>
    where
        ParamVector<B>: Elementwise,
    {
        let (count, rule) = (self.request.rule.max_samples, &self.request.rule);
        let session = &mut self.session;
        let found = diagonal(&mut operator, count, self.request.block, probes, &mut |done| {
            session.tell(done, count, "diagonal".into());
            session.go_on()
        })?;
        let n = found.num_matvecs;
        let (mean, square) = (found.mean.to_host()?, found.square.to_host()?);
        let error = |(mean, square): (&f64, &f64)| {
            ((square - mean * mean).max(0.0) / (n as f64 - 1.0).max(1.0)).sqrt()
        };
        let errors: Vec<Vec<f64>> = mean
            .iter()
            .zip(&square)
            .map(|(mean, square)| mean.iter().zip(square).map(error).collect())
            .collect();
        let value: f64 = mean.iter().flatten().sum();
        let interval = mean_interval(&found.samples, rule.confidence);
        let mut estimate = TraceEstimate {
            value,
            standard_error: interval.standard_error,
            low: interval.low,
            high: interval.high,
            confidence: rule.confidence,
            num_matvecs: n,
            exact_part: 0.0,
            samples: found.samples,
            end: TraceEnd::Stopped,
        };
        if n < count {
            return Ok(estimate);
        }
        let named = [("diagonal".to_owned(), mean), ("standard_error".to_owned(), errors)];
        let bytes = files::vectors(&named, &self.entries, self.description.precision)?;
        self.session.write("diagonal.safetensors", &bytes)?;
        estimate.end = TraceEnd::Budget;
        Ok(estimate)
    }

    fn report(self, estimate: &TraceEstimate, point: Point) -> Result<TraceReport> {
        let Self { request, session, .. } = &self;
        let report = TraceReport {
            subject: self.description.clone(),
            operator: request.common.operator,
            point,
            method: request.method,
            gaussian: request.gaussian,
            sketch: (request.method == TraceMethod::HutchPlusPlus).then(|| request.sketch()),
            block: request.block,
            max_samples: request.rule.max_samples,
            seed: request.common.seed,
            trace: estimate.value,
            standard_error: estimate.standard_error.is_finite().then_some(estimate.standard_error),
            low: estimate.low,
            high: estimate.high,
            confidence: estimate.confidence,
            tolerance: request.rule.tolerance,
            ended_by: match estimate.end {
                TraceEnd::Tolerance => "tolerance",
                TraceEnd::Budget => "budget",
                TraceEnd::Exact => "exact",
                TraceEnd::Stopped => "stopped",
            },
            exact_part: estimate.exact_part,
            samples: estimate.samples.clone(),
            cost: self.cost(estimate.num_matvecs),
        };
        let rows = report.samples.iter().enumerate().map(|(k, sample)| [k.to_string(), sample.to_string()]);
        session.write_csv("trace.csv", ["sample", "estimate"], rows)?;
        session.write_json("trace.json", &report)?;
        self.finish()?;
        Ok(report)
    }
}
