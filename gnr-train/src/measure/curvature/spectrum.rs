//! Eigenpairs at an end of the spectrum.

use std::{ops::ControlFlow, sync::atomic::AtomicBool};

use gnr_core::Vector as _;
use gnr_hessian::{
    Distribution, Draw as _, Eigenpair, Lanczos, LanczosEnd, LanczosState, PowerIteration,
    Reorthogonalization, SymmetricOperator, Verdict, Which, dominant_eigenpairs, lanczos, residuals,
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
    recipe::Precision,
};

/// The end of the spectrum to compute; see [`Which`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The algebraically largest eigenvalues.
    Top,
    /// The algebraically smallest eigenvalues.
    Bottom,
    /// The eigenvalues of largest modulus.
    Dominant,
    /// The `count` largest eigenvalues and the `count` smallest, algebraically.
    BothEnds,
}

/// The method for finding eigenpairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// (Block) Lanczos with thick restart.
    #[default]
    Lanczos,
    /// Power iteration with deflation, the paper's method; for dominant pairs only, and not resumable.
    Power,
}

/// The options of [`spectrum()`].
#[derive(Clone, Debug)]
pub struct SpectrumRequest {
    /// Subject, operator and folder.
    pub common: CurvatureRequest,
    /// The end of the spectrum.
    pub end: End,
    /// Number of pairs (of each end).
    pub count: usize,
    /// Relative tolerance: ‖Hv − λv‖ ≤ tolerance·|λ| (Lanczos) or tolerance·|λ₁| (power iteration).
    pub tolerance: f64,
    /// The method; default Lanczos.
    pub method: Method,
    /// Number of vectors in a block (Lanczos).
    pub block: usize,
    /// Number of basis vectors before a restart. `None`: three times the number of wanted pairs, plus 40, within 2 GiB.
    pub max_basis: Option<usize>,
    /// Largest number of products (for power iteration, for each pair).
    pub max_matvecs: usize,
    /// The reorthogonalisation; default full. The local one is refused, as eigenvalues come back as copies with it.
    pub reorthogonalization: Reorthogonalization,
    /// Whether to multiply once more with every eigenvector. Values and residuals are then measured; those of the
    /// recurrence do not include the rounding of products.
    pub verify: bool,
    /// Whether to write the eigenvectors.
    pub save: bool,
}

impl SpectrumRequest {
    /// The top `count` pairs to 1e-3 by Lanczos, with at most 1000 products.
    pub fn new(common: CurvatureRequest, count: usize) -> Self {
        Self {
            common,
            end: End::Top,
            count,
            tolerance: 1e-3,
            method: Method::Lanczos,
            block: 1,
            max_basis: None,
            max_matvecs: 1000,
            reorthogonalization: Reorthogonalization::Full,
            verify: false,
            save: false,
        }
    }

    fn which(&self) -> Which {
        match self.end {
            End::Top => Which::Top(self.count),
            End::Bottom => Which::Bottom(self.count),
            End::Dominant => Which::Dominant(self.count),
            End::BothEnds => Which::BothEnds(self.count),
        }
    }

    fn lanczos(&self, dim: usize, precision: Precision) -> Lanczos {
        const MEMORY: usize = 2 << 30;
        // With TF32 and bfloat16, vectors are in single precision. The floor is the rounding of products, which limits
        // how exactly eigenvalues are known.
        let (bytes, epsilon, floor) = match precision {
            Precision::F64 => (8, f64::EPSILON / 2.0, 1e-13),
            Precision::F32 => (4, f64::from(f32::EPSILON) / 2.0, 1e-7),
            Precision::Tf32 | Precision::Bf16 => (4, f64::from(f32::EPSILON) / 2.0, precision.unit()),
        };
        let defaults = Lanczos::new(self.which());
        let fitting = (MEMORY / (bytes * dim.max(1))).max(20);
        let max_basis = self.max_basis.unwrap_or_else(|| defaults.basis_limit(dim).min(fitting));
        Lanczos {
            num_matvecs: self.max_matvecs,
            tolerance: self.tolerance,
            floor,
            block: self.block,
            max_basis: Some(max_basis),
            reorthogonalization: self.reorthogonalization,
            epsilon,
            ..defaults
        }
    }

    /// The options that must be equal for unfinished work to continue.
    fn deciding(&self) -> serde_json::Value {
        json!({
            "end": self.end, "count": self.count, "tolerance": self.tolerance, "block": self.block,
            "max_basis": self.max_basis, "reorthogonalization": format!("{:?}", self.reorthogonalization),
        })
    }
}

/// An eigenpair in a report.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// Position of the pair, from 0, in the order of its end.
    pub rank: usize,
    /// The end: `top`, `bottom` or `dominant`.
    pub end: &'static str,
    /// The eigenvalue λ.
    pub eigenvalue: f64,
    /// The residual ‖Hv − λv‖.
    pub residual: f64,
    /// Either `converged` or `budget-exhausted`.
    pub verdict: &'static str,
}

/// The answer to a [`SpectrumRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct SpectrumReport {
    /// The network and images that were measured.
    pub subject: Description,
    /// The matrix that was measured.
    pub operator: OperatorKind,
    /// L̂ and ‖∇L̂‖ at the measured point.
    pub point: Point,
    /// The end of the spectrum.
    pub end: End,
    /// The method that was used.
    pub method: Method,
    /// Relative tolerance of residuals.
    pub tolerance: f64,
    /// Number of vectors in a block.
    pub block: usize,
    /// Number of basis vectors before a restart; `None` for power iteration, which has no basis.
    pub max_basis: Option<usize>,
    /// Largest number of products (for power iteration, for each pair).
    pub max_matvecs: usize,
    /// The reorthogonalisation, `full` or `selective`; `None` for power iteration.
    pub reorthogonalization: Option<&'static str>,
    /// Whether values and residuals were measured with products of their own.
    pub verified: bool,
    /// Seed of the start vectors.
    pub seed: u64,
    /// Number of thick restarts.
    pub restarts: usize,
    /// The eigenpairs, in the order of the end.
    pub pairs: Vec<PairReport>,
    /// The number and the time of the products.
    pub cost: Cost,
}

/// Finds eigenpairs and writes `spectrum.json`, `spectrum.csv` and, if asked, `eigenvectors.safetensors`.
///
/// # Errors
/// The errors of [`measure`](crate::subject::measure); an operator that is not one fixed symmetric matrix; a folder
/// with another result or other unfinished work.
pub fn spectrum(
    request: &SpectrumRequest,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<SpectrumReport>> {
    let refuse = |problem: String| Err(TrainError::Request(problem));
    if request.reorthogonalization == Reorthogonalization::Local {
        return refuse(
            "reorthogonalization: expected full or selective for eigenvalues, found local, by which converged ones come \
             back as copies"
                .into(),
        );
    }
    if request.method == Method::Power {
        if request.end != End::Dominant {
            return refuse("power iteration finds dominant pairs; ask for these, or take Lanczos".into());
        }
        let of_lanczos = [
            ("block", request.block != 1),
            ("max_basis", request.max_basis.is_some()),
            ("reorthogonalization", request.reorthogonalization != Reorthogonalization::Full),
        ];
        if let Some((option, _)) = of_lanczos.into_iter().find(|(_, given)| *given) {
            return refuse(format!(
                "{option}: an option of Lanczos, without effect on power iteration; leave it out"
            ));
        }
    }
    carry_out(request, observer, stop)
}

impl Measure for SpectrumRequest {
    type Report = SpectrumReport;

    const WORK: &'static str = "spectrum";

    fn common(&self) -> &CurvatureRequest {
        &self.common
    }

    fn keeps_state(&self) -> bool {
        self.method == Method::Lanczos
    }

    fn run<B: Autodiff>(
        mut run: Run<'_, Self>,
        operator: Operator<'_, B>,
        probes: &PointProbes<B>,
        point: Point,
    ) -> Result<Measured<SpectrumReport>> {
        let found = match run.request.method {
            Method::Lanczos => run.lanczos(operator, probes)?,
            Method::Power => run.power(operator, probes)?,
        };
        match found {
            Found::Pairs { mut pairs, mut num_matvecs, restarts } => {
                if run.request.verify {
                    num_matvecs += run.verify(operator, &mut pairs)?;
                }
                run.report(pairs, num_matvecs, restarts, point).map(Measured::Finished)
            }
            Found::Stopped { num_matvecs, resumable } => Ok(run.session.interrupted(num_matvecs, resumable)),
        }
    }
}

enum Found<V> {
    Pairs { pairs: Vec<Eigenpair<V>>, num_matvecs: usize, restarts: usize },
    Stopped { num_matvecs: usize, resumable: bool },
}

impl Run<'_, SpectrumRequest> {
    fn lanczos<B: Autodiff>(
        &mut self,
        mut operator: Operator<'_, B>,
        probes: &PointProbes<B>,
    ) -> Result<Found<ParamVector<B>>> {
        let precision = self.description.precision;
        let options = self.request.lanczos(operator.dim(), precision);
        let settings = self.settings(self.request.deciding());
        let saved = self.saved(&settings, probes)?;
        let mut run = match saved.and_then(|saved| saved.runs.into_iter().next()) {
            Some(run) => run,
            None => LanczosState::random(&options, operator.dim(), probes)?,
        };
        self.session.start(&self.description, run.num_matvecs, self.request.max_matvecs);
        let session = &mut self.session;
        let mut failure = None;
        let end = lanczos(&mut operator, &options, &mut run, probes, &mut |state, progress| {
            let worst = progress.pairs.iter().map(|(value, residual)| residual / value.abs().max(1e-300));
            let lead =
                progress.pairs.first().map_or(String::new(), |(value, _)| format!(", first {value:.6}"));
            let message = format!(
                "{} of {} converged, worst residual {:.1e}{lead}, basis {}",
                progress.converged,
                progress.wanted,
                worst.fold(0.0, f64::max),
                progress.basis
            );
            if session.save_is_due() {
                let bytes = state::to_bytes(std::slice::from_ref(state), json!(null), &settings, precision);
                if let Err(error) = bytes.and_then(|bytes| session.write(state::FILE, &bytes)) {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            session.tell(progress.num_matvecs, progress.budget, message);
            session.go_on()
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if end == LanczosEnd::Stopped {
            let bytes = state::to_bytes(std::slice::from_ref(&run), json!(null), &settings, precision)?;
            self.session.write(state::FILE, &bytes)?;
            return Ok(Found::Stopped { num_matvecs: run.num_matvecs, resumable: true });
        }
        let pairs = run.eigenpairs(&options)?;
        Ok(Found::Pairs { pairs, num_matvecs: run.num_matvecs, restarts: run.restarts })
    }

    fn power<B: Autodiff>(
        &mut self,
        operator: Operator<'_, B>,
        probes: &PointProbes<B>,
    ) -> Result<Found<ParamVector<B>>> {
        let (count, each) = (self.request.count, self.request.max_matvecs);
        self.session.start(&self.description, 0, count * each);
        let session = &mut self.session;
        let mut done = 0;
        let mut observed = gnr_hessian::Observed::new(operator, |num_matvecs| {
            done = num_matvecs;
            session.tell(num_matvecs, count * each, "power iteration".into());
            match session.go_on() {
                ControlFlow::Break(()) => Err(gnr_hessian::Error::Stopped { num_matvecs }),
                ControlFlow::Continue(()) => Ok(()),
            }
        });
        let starts = (0..count as u64).map(|index| probes.draw(Distribution::Gaussian, index));
        let starts = starts.collect::<gnr_hessian::Result<Vec<_>>>()?;
        let options = PowerIteration { num_matvecs: each, tolerance: self.request.tolerance };
        match dominant_eigenpairs(&mut observed, count, starts, options) {
            Ok(pairs) => Ok(Found::Pairs { pairs, num_matvecs: observed.num_matvecs(), restarts: 0 }),
            Err(gnr_hessian::Error::Stopped { num_matvecs }) => {
                Ok(Found::Stopped { num_matvecs, resumable: false })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Computes Rayleigh quotients and residuals by products, a few at once. Returns the number of products.
    fn verify<B: Autodiff>(
        &self,
        mut operator: Operator<'_, B>,
        pairs: &mut [Eigenpair<ParamVector<B>>],
    ) -> Result<usize> {
        let precision = self.description.precision;
        let options = self.request.lanczos(operator.dim(), precision);
        let largest = pairs.iter().fold(0.0_f64, |largest, pair| largest.max(pair.value.abs()));
        for chunk in pairs.chunks_mut(8) {
            let vectors: Vec<_> = chunk.iter().map(|pair| pair.vector.clone()).collect();
            for (pair, (value, residual)) in chunk.iter_mut().zip(residuals(&mut operator, &vectors)?) {
                let scale = if self.request.method == Method::Power { largest } else { value.abs() };
                let allowed = (options.tolerance * scale).max(options.floor * largest);
                (pair.value, pair.residual) = (value, residual);
                pair.verdict =
                    if residual <= allowed { Verdict::Converged } else { Verdict::BudgetExhausted };
            }
        }
        Ok(pairs.len())
    }

    fn report<B: Autodiff>(
        self,
        pairs: Vec<Eigenpair<ParamVector<B>>>,
        num_matvecs: usize,
        restarts: usize,
        point: Point,
    ) -> Result<SpectrumReport> {
        let Self { request, session, entries, description, .. } = &self;
        let lanczos = (request.method == Method::Lanczos)
            .then(|| request.lanczos(description.dimension, description.precision));
        let place = |index: usize| match request.end {
            End::Top => (index, "top"),
            End::Bottom => (index, "bottom"),
            End::Dominant => (index, "dominant"),
            End::BothEnds if index < request.count => (index, "top"),
            End::BothEnds => (index - request.count, "bottom"),
        };
        let reports: Vec<PairReport> = pairs
            .iter()
            .enumerate()
            .map(|(index, pair)| {
                let (rank, end) = place(index);
                let verdict = match pair.verdict {
                    Verdict::Converged => "converged",
                    Verdict::BudgetExhausted => "budget-exhausted",
                };
                PairReport { rank, end, eigenvalue: pair.value, residual: pair.residual, verdict }
            })
            .collect();
        let report = SpectrumReport {
            operator: request.common.operator,
            point,
            end: request.end,
            method: request.method,
            tolerance: request.tolerance,
            block: request.block,
            max_basis: lanczos.as_ref().and_then(|options| options.max_basis),
            max_matvecs: request.max_matvecs,
            reorthogonalization: lanczos.map(|options| options.reorthogonalization.name()),
            verified: request.verify,
            seed: request.common.seed,
            restarts,
            pairs: reports,
            cost: self.cost(num_matvecs),
            subject: description.clone(),
        };
        if request.save {
            let mut named = Vec::new();
            for (index, pair) in pairs.iter().enumerate() {
                debug_assert!((pair.vector.norm()? - 1.0).abs() < 1e-3);
                named.push((format!("eigenvector.{index}"), pair.vector.to_host()?));
            }
            let bytes = files::vectors(&named, entries, report.subject.precision)?;
            session.write("eigenvectors.safetensors", &bytes)?;
        }
        let rows = report.pairs.iter().map(|pair| {
            [
                pair.rank.to_string(),
                pair.end.into(),
                pair.eigenvalue.to_string(),
                pair.residual.to_string(),
                pair.verdict.into(),
            ]
        });
        session.write_csv("spectrum.csv", ["rank", "end", "eigenvalue", "residual", "verdict"], rows)?;
        session.write_json("spectrum.json", &report)?;
        self.finish()?;
        Ok(report)
    }
}
