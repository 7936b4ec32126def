//! Estimates of the spectral density.

use std::{ops::ControlFlow, sync::atomic::AtomicBool};

use gnr_hessian::{DensityOptions, DensityState, SpectralDensity, SymmetricOperator, spectral_density};
use gnr_nn::{Autodiff, ParamVector};
use serde::Serialize;
use serde_json::json;

use super::{
    session::{Cost, CurvatureRequest, Measure, Operator, OperatorKind, Point, PointProbes, Run, carry_out},
    state,
};
use crate::{
    choice::Choice as _,
    error::{Result, TrainError},
    measure::{MeasureObserver, Measured, Session, subject::Description},
};

/// The options of [`density()`].
#[derive(Clone, Debug)]
pub struct DensityRequest {
    /// Subject, operator and folder.
    pub common: CurvatureRequest,
    /// Number of starts and steps, and reorthogonalisation.
    pub options: DensityOptions,
    /// Standard deviation of the broadening; `None` for 1/200 of the range of the nodes.
    pub sigma: Option<f64>,
    /// Number of points of the grid.
    pub points: usize,
}

impl DensityRequest {
    /// One start of 100 steps, on 1000 points.
    pub fn new(common: CurvatureRequest) -> Self {
        let options = DensityOptions { starts: 1, ..DensityOptions::default() };
        Self { common, options, sigma: None, points: 1000 }
    }

    /// The options that must be equal for unfinished work to continue.
    fn deciding(&self) -> serde_json::Value {
        json!({ "options": format!("{:?}", self.options) })
    }
}

/// The answer to a [`DensityRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct DensityReport {
    /// The network and images that were measured.
    pub subject: Description,
    /// The matrix that was measured.
    pub operator: OperatorKind,
    /// L̂ and ‖∇L̂‖ at the measured point.
    pub point: Point,
    /// Number of start vectors.
    pub starts: usize,
    /// Number of Lanczos steps from each start.
    pub steps: usize,
    /// Number of starts that advanced together.
    pub at_once: usize,
    /// The reorthogonalisation: `full`, `selective` or `local`.
    pub reorthogonalization: &'static str,
    /// Number of points of the grid.
    pub points: usize,
    /// Seed of the start vectors.
    pub seed: u64,
    /// Standard deviation of the broadening.
    pub sigma: f64,
    /// The smallest node.
    pub smallest: f64,
    /// The largest node.
    pub largest: f64,
    /// The trace from the quadratures: the mean over starts.
    pub trace: f64,
    /// Standard error of the trace over starts; `None` for a single start.
    pub trace_standard_error: Option<f64>,
    /// Fraction of eigenvalues below −σ: the weight of negative curvature.
    pub negative_fraction: f64,
    /// The number and the time of the products.
    pub cost: Cost,
}

/// Estimates the density and writes `density.json`, `density.csv` and `density_nodes.csv`.
///
/// # Errors
/// The errors of [`spectrum()`](super::spectrum()).
pub fn density(
    request: &DensityRequest,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<DensityReport>> {
    if let Some(sigma) = request.sigma.filter(|sigma| !(*sigma > 0.0 && sigma.is_finite())) {
        return Err(TrainError::Request(format!("sigma {sigma}: must be positive and finite")));
    }
    carry_out(request, observer, stop)
}

impl Measure for DensityRequest {
    type Report = DensityReport;

    const WORK: &'static str = "density";

    fn common(&self) -> &CurvatureRequest {
        &self.common
    }

    fn run<B: Autodiff>(
        mut run: Run<'_, Self>,
        mut operator: Operator<'_, B>,
        probes: &PointProbes<B>,
        point: Point,
    ) -> Result<Measured<DensityReport>> {
        let (request, precision) = (run.request, run.description.precision);
        let options = &request.options;
        let settings = run.settings(request.deciding());
        let mut work = DensityState::new(operator.dim());
        if let Some(saved) = run.saved(&settings, probes)? {
            work.running = saved.runs;
            (work.density.quadratures, work.density.num_matvecs) =
                serde_json::from_value(saved.rest).unwrap_or_default();
        }
        let save = |work: &DensityState<ParamVector<B>>, session: &Session<'_>| {
            let rest = json!((&work.density.quadratures, work.density.num_matvecs));
            session.write(state::FILE, &state::to_bytes(&work.running, rest, &settings, precision)?)
        };
        let budget = options.starts * options.steps;
        run.session.start(&run.description, work.num_matvecs(), budget);
        let session = &mut run.session;
        let mut failure = None;
        let done = spectral_density(&mut operator, options, &mut work, probes, &mut |work| {
            if session.save_is_due()
                && let Err(error) = save(work, session)
            {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            let message = format!("{} of {} starts", work.density.quadratures.len(), options.starts);
            session.tell(work.num_matvecs(), budget, message);
            session.go_on()
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if !done {
            save(&work, &run.session)?;
            return Ok(run.session.interrupted(work.num_matvecs(), true));
        }
        run.report(&work.density, point).map(Measured::Finished)
    }
}

impl Run<'_, DensityRequest> {
    fn report(self, density: &SpectralDensity, point: Point) -> Result<DensityReport> {
        let Self { request, session, .. } = &self;
        let (smallest, largest) = density.range().unwrap_or((0.0, 0.0));
        let (scale, range) = (smallest.abs().max(largest.abs()), largest - smallest);
        // Nodes that are equal up to rounding have no range, so that their size takes its place.
        let range = if range > 1e-12 * scale { range } else { scale.max(1e-12) };
        let sigma = request.sigma.unwrap_or(range / 200.0);
        let (from, to) = (smallest - 5.0 * sigma, largest + 5.0 * sigma);
        let points = request.points.max(2);
        let grid: Vec<f64> =
            (0..points).map(|i| from + (to - from) * i as f64 / (points - 1) as f64).collect();
        let curve = density.smoothed(&grid, sigma);
        let shown = |x: f64| if x.is_finite() { x.to_string() } else { String::new() };
        let rows = (grid.iter().zip(&curve))
            .map(|(lambda, (value, error))| [lambda.to_string(), value.to_string(), shown(*error)]);
        session.write_csv("density.csv", ["lambda", "density", "standard_error"], rows)?;
        let rows = density.quadratures.iter().enumerate().flat_map(|(start, quadrature)| {
            quadrature
                .iter()
                .map(move |(node, weight)| [start.to_string(), node.to_string(), weight.to_string()])
        });
        session.write_csv("density_nodes.csv", ["start", "node", "weight"], rows)?;
        let d = density.dim as f64;
        let traces: Vec<f64> = density.functional(|x| x).iter().map(|mean| d * mean).collect();
        let starts = traces.len() as f64;
        let trace = traces.iter().sum::<f64>() / starts;
        let squares: f64 = traces.iter().map(|of_start| (of_start - trace).powi(2)).sum();
        let negative = density.functional(|x| if x < -sigma { 1.0 } else { 0.0 });
        let report = DensityReport {
            subject: self.description.clone(),
            operator: request.common.operator,
            point,
            starts: density.quadratures.len(),
            steps: request.options.steps,
            at_once: request.options.at_once,
            reorthogonalization: request.options.reorthogonalization.name(),
            points,
            seed: request.common.seed,
            sigma,
            smallest,
            largest,
            trace,
            trace_standard_error: (starts > 1.0).then(|| (squares / (starts * (starts - 1.0))).sqrt()),
            negative_fraction: negative.iter().sum::<f64>() / negative.len().max(1) as f64,
            cost: self.cost(density.num_matvecs),
        };
        session.write_json("density.json", &report)?;
        self.finish()?;
        Ok(report)
    }
}
