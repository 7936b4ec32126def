//! What all measurements of curvature share: the operator, its check, the state in the folder.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gnr_core::{DataParallel, Evaluation, GradOracle as _, Order, Pass};
use gnr_hessian::{Determinism, Distribution, Draw, Hessian, SymmetricOperator, determinism_check};
use gnr_nn::{Autodiff, Curvature, Entry, KeptBatches, ParamVector};
use serde::Serialize;

use crate::{
    atomic::partial_of,
    bench::peak_rss_mb,
    error::{Result, TrainError, io},
    measure::{
        MeasureObserver, Measured, Session,
        subject::{Description, Measurement, Subject, SubjectRequest, measure},
    },
    recipe::Precision,
};

/// Which matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorKind {
    /// ∇²L̂.
    #[default]
    Hessian,
    /// The generalised Gauss–Newton matrix: for cross-entropy the Fisher information.
    Ggn,
}

/// What every measurement is asked.
#[derive(Clone, Debug)]
pub struct CurvatureRequest {
    /// Of which network, on which images.
    pub subject: SubjectRequest,
    /// Default the Hessian.
    pub operator: OperatorKind,
    /// Of start and test vectors.
    pub seed: u64,
    /// Folder of the results; made when it is not there.
    pub out: PathBuf,
    /// Go on with the unfinished work in it.
    pub resume: bool,
    /// Multiply three times before the work to see that the operator is one fixed symmetric matrix.
    pub check: bool,
}

impl CurvatureRequest {
    /// The Hessian, seed 0, checked.
    pub fn new(subject: SubjectRequest, out: impl Into<PathBuf>) -> Self {
        let out = out.into();
        Self { subject, operator: OperatorKind::Hessian, seed: 0, out, resume: false, check: true }
    }
}

/// Removes a state, and what a process that died while it wrote one left of it.
fn remove_state(out: &Path) -> Result<()> {
    let state = out.join(super::state::FILE);
    for path in [partial_of(&state), state] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io(&path, "remove")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The folder, and that nothing in it is overwritten by mistake.
fn prepare(request: &CurvatureRequest, result: &str) -> Result<()> {
    let out: &Path = &request.out;
    let folder = |problem: String| TrainError::Folder { path: out.to_path_buf(), problem };
    std::fs::create_dir_all(out).map_err(io(out, "create"))?;
    if out.join(result).exists() {
        remove_state(out)?;
        return Err(folder(format!("holds a finished {result} already; choose another --out")));
    }
    if !request.resume && out.join(super::state::FILE).exists() {
        return Err(folder("holds unfinished work; go on with --resume, or choose another --out".into()));
    }
    Ok(())
}

impl<R: Measure> Run<'_, R> {
    /// What so many products took.
    pub(super) fn cost(&self, num_matvecs: usize) -> Cost {
        let seconds = self.session.elapsed().as_secs_f64();
        let here = self.session.here(num_matvecs);
        Cost {
            num_matvecs,
            seconds,
            seconds_per_matvec: if here > 0 { Some(seconds / here as f64) } else { None },
            peak_rss_mb: peak_rss_mb(),
        }
    }

    /// Removes the state of work that is finished.
    pub(super) fn finish(&self) -> Result<()> {
        let common = self.request.common();
        common.subject.team.lead(|| remove_state(&common.out)).map(drop)
    }
}

/// What a measurement took.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Products, those before an interruption included, without those of the check.
    pub num_matvecs: usize,
    /// Of this process, without opening and checking.
    pub seconds: f64,
    /// Of this process; everything included.
    pub seconds_per_matvec: Option<f64>,
    /// Peak resident memory of the process, MB, where the system tells.
    pub peak_rss_mb: Option<f64>,
}

/// What the measured point is like, for every report.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// L̂.
    pub loss: f64,
    /// ‖∇L̂‖.
    pub grad_norm: f64,
    /// What the check found: relative difference of two equal products, relative asymmetry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// See [`Determinism`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Check {
    /// ‖(Hu)₁ − (Hu)₂‖/‖Hu‖.
    pub repeat: f64,
    /// |⟨u, Hv⟩ − ⟨v, Hu⟩|/(‖u‖‖Hv‖).
    pub asymmetry: f64,
}

impl From<Determinism> for Check {
    fn from(Determinism { repeat, asymmetry, .. }: Determinism) -> Self {
        Self { repeat, asymmetry }
    }
}

type HostProbes = gnr_hessian::Probes<fn(Vec<f64>) -> gnr_core::Result<Vec<f64>>>;

/// Random vectors of a point's space.
pub(super) struct PointProbes<B: Autodiff> {
    backend: B,
    shapes: Vec<Vec<usize>>,
    host: HostProbes,
}

impl<B: Autodiff> PointProbes<B> {
    pub(super) fn new(backend: &B, entries: &[&Entry], seed: u64) -> Self {
        let dim = entries.iter().map(|entry| entry.len()).sum();
        let shapes = entries.iter().map(|entry| entry.shape.clone()).collect();
        Self { backend: backend.clone(), shapes, host: gnr_hessian::Probes::new(dim, seed, Ok) }
    }

    /// A vector of the point's space from flat host data.
    pub(super) fn vector(&self, flat: &[f64]) -> gnr_core::Result<ParamVector<B>> {
        let mut rest = flat;
        let mut tensors = Vec::with_capacity(self.shapes.len());
        for shape in &self.shapes {
            let (own, after) = rest.split_at(shape.iter().product::<usize>().min(rest.len()));
            rest = after;
            tensors.push(self.backend.constant(own, shape)?);
        }
        Ok(ParamVector::new(self.backend.clone(), tensors))
    }
}

impl<B: Autodiff> Draw<ParamVector<B>> for PointProbes<B> {
    fn draw(&self, distribution: Distribution, index: u64) -> gnr_hessian::Result<ParamVector<B>> {
        Ok(self.vector(&self.host.draw(distribution, index)?)?)
    }
}

/// An operator on a point's space, whichever: work is compiled once for all of them.
pub(super) type Operator<'o, B> = &'o mut (dyn SymmetricOperator<Vector = ParamVector<B>> + 'o);

/// A kind of measurement, by its request: all it needs is an operator and random vectors.
pub(super) trait Measure: Sync {
    type Report: Send;
    /// The file of the report; a folder has one at most.
    const RESULT: &'static str;
    fn common(&self) -> &CurvatureRequest;
    fn run<B: Autodiff>(
        run: Run<'_, Self>,
        operator: Operator<'_, B>,
        probes: &PointProbes<B>,
        point: Point,
    ) -> Result<Measured<Self::Report>>;
}

/// A measurement under way: what was asked, of whom, and the clock.
pub(super) struct Run<'a, R: ?Sized> {
    pub(super) request: &'a R,
    pub(super) session: Session<'a>,
    pub(super) description: Description,
    /// The tensors that the operator's vectors consist of.
    pub(super) entries: Vec<Entry>,
}

/// Opens the subject and measures.
///
/// # Errors
/// As [`measure`]; an operator that is not one fixed symmetric matrix; a folder with another result or other unfinished work.
pub(super) fn carry_out<R: Measure>(
    request: &R,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<R::Report>> {
    let common = request.common();
    let team = &common.subject.team;
    team.lead(|| prepare(common, R::RESULT))?;
    let session = Session::new(&common.out, team, observer, stop);
    team.ends(measure(&common.subject, Opening { request, session }))
}

struct Opening<'a, R> {
    request: &'a R,
    session: Session<'a>,
}

impl<R: Measure> Measurement for Opening<'_, R> {
    type Output = Measured<R::Report>;

    fn run<B: Autodiff + 'static>(self, mut subject: Subject<'_, B>) -> Result<Self::Output> {
        let Self { request, session } = self;
        let entries = subject.entries().into_iter().cloned().collect();
        let description = subject.description.clone();
        on_operator(&mut subject, Run { request, session, description, entries })
    }
}

/// Evaluates the point, checks the operator and measures it.
fn on_operator<B: Autodiff, R: Measure>(
    subject: &mut Subject<'_, B>,
    run: Run<'_, R>,
) -> Result<Measured<R::Report>> {
    let request = run.request.common();
    let start = subject.start();
    let probes = PointProbes::new(&subject.backend, &subject.entries(), request.seed);
    let shares = subject.shares.clone();
    let oracle = subject.oracle()?.with_curvature(match request.operator {
        OperatorKind::Hessian => Curvature::Hessian,
        OperatorKind::Ggn => Curvature::GaussNewton,
    });
    let mut oracle = DataParallel::new(oracle, shares);
    let here: Evaluation<'_, _, KeptBatches<B>> = oracle.evaluate(&start, Pass::Probe, Order::Second)?;
    let point = Point { loss: here.loss, grad_norm: here.grad_norm, check: None };
    checked(&mut Hessian::new(&mut oracle, &here), &probes, point, run)
}

fn checked<B: Autodiff, R: Measure>(
    mut operator: Operator<'_, B>,
    probes: &PointProbes<B>,
    mut point: Point,
    run: Run<'_, R>,
) -> Result<Measured<R::Report>> {
    let request = run.request.common();
    // Continued work is checked as well: its report is that of work that was never stopped.
    if request.check {
        // Probes that no estimate uses.
        let [u, v] = [u64::MAX, u64::MAX - 1].map(|index| probes.draw(Distribution::Gaussian, index));
        let tolerance = match run.description.precision {
            Precision::F32 => 1e-4,
            Precision::F64 => 1e-9,
            // Products are rounded more than all that follows.
            Precision::Tf32 | Precision::Bf16 => 32.0 * run.description.precision.unit(),
        };
        point.check = Some(determinism_check(&mut operator, &u?, &v?, tolerance)?.into());
    }
    R::run(run, operator, probes, point)
}
