//! Common parts of all measurements of curvature: the operator, its check, the state in the folder.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gnr_core::{DataParallel, Evaluation, GradOracle as _, Order, Pass};
use gnr_hessian::{Determinism, Distribution, Draw, Hessian, SymmetricOperator, determinism_check};
use gnr_nn::{Autodiff, Curvature, Entry, KeptBatches, ParamVector};
use serde::Serialize;
use serde_json::{Value, json};

use super::state::{self, Saved};
use crate::{
    atomic::partial_of,
    error::{Result, TrainError, io},
    folder::lock,
    measure::{
        MeasureObserver, Measured, Session,
        subject::{Description, Measurement, Subject, SubjectRequest, measure},
    },
    memory::peak_rss_mb,
    recipe::Precision,
};

/// The matrix to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorKind {
    /// The Hessian ∇²L̂.
    #[default]
    Hessian,
    /// The generalised Gauss–Newton matrix, which for cross-entropy is the Fisher information.
    Ggn,
}

/// The options that all measurements of curvature have.
#[derive(Clone, Debug)]
pub struct CurvatureRequest {
    /// The network and the images.
    pub subject: SubjectRequest,
    /// The matrix; default the Hessian.
    pub operator: OperatorKind,
    /// Seed of start and test vectors.
    pub seed: u64,
    /// Folder of the results, which is made if it is missing.
    pub out: PathBuf,
    /// Whether to continue unfinished work in the folder.
    pub resume: bool,
    /// Whether to check with three products first that the operator is one fixed symmetric matrix.
    pub check: bool,
}

impl CurvatureRequest {
    /// The Hessian with seed 0, checked.
    pub fn new(subject: SubjectRequest, out: impl Into<PathBuf>) -> Self {
        let out = out.into();
        Self { subject, operator: OperatorKind::Hessian, seed: 0, out, resume: false, check: true }
    }
}

/// The lock file of a folder, which one process at a time holds while it measures.
const LOCK: &str = "curvature.lock";

/// Removes a state, and the remains of a process that died while it wrote one.
fn remove_state(out: &Path) -> Result<()> {
    let state = out.join(state::FILE);
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

/// Makes and locks the folder, and refuses one in which a result or other unfinished work would be overwritten by
/// mistake. After this, a state in the folder is one from which this request may go on.
fn prepare<R: Measure>(request: &R) -> Result<File> {
    let CurvatureRequest { out, resume, .. } = request.common();
    let refuse = |problem: String| Err(TrainError::Folder { path: out.clone(), problem });
    std::fs::create_dir_all(out).map_err(io(out, "create"))?;
    let lock = lock(out, LOCK)?;
    if out.join(result_file::<R>()).exists() {
        // A process may have died between the result and the removal of its state.
        if state::work_in(out).is_ok_and(|work| work.as_deref() == Some(R::WORK)) {
            remove_state(out)?;
        }
        return refuse(format!("holds a finished {} already; choose another --out", result_file::<R>()));
    }
    match state::work_in(out)? {
        None => Ok(lock),
        Some(work) if work != R::WORK || !request.keeps_state() => {
            let work = match work.as_str() {
                "spectrum" => "`gnr spectrum` by Lanczos",
                "trace" => "`gnr trace` by Hutchinson's estimator",
                "density" => "`gnr density`",
                other => other,
            };
            refuse(format!("holds unfinished work of {work}; choose another --out"))
        }
        Some(_) if !resume => {
            refuse("holds unfinished work; go on with --resume, or choose another --out".into())
        }
        Some(_) => Ok(lock),
    }
}

/// Name of a measurement's report.
fn result_file<R: Measure>() -> String {
    format!("{}.json", R::WORK)
}

impl<R: Measure> Run<'_, R> {
    /// The cost of so many products.
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

    /// The settings that must be equal for unfinished work to continue: the subject and these options.
    pub(super) fn settings(&self, options: Value) -> Value {
        let common = self.request.common();
        let mut settings = json!({
            "work": R::WORK, "subject": self.identity, "operator": common.operator, "seed": common.seed,
        });
        if let (Value::Object(settings), Value::Object(options)) = (&mut settings, options) {
            settings.extend(options);
        }
        settings
    }

    /// The unfinished work of equal `settings` in the folder, if the request is to continue it and there is one.
    ///
    /// # Errors
    /// A damaged state, or one of other settings.
    pub(super) fn saved<B: Autodiff>(
        &self,
        settings: &Value,
        probes: &PointProbes<B>,
    ) -> Result<Option<Saved<B>>> {
        let CurvatureRequest { subject, out, resume, .. } = self.request.common();
        if !resume {
            return Ok(None);
        }
        let weights = Path::new(&self.description.weights);
        state::read(&subject.team, (out, weights), settings, &self.earlier(settings), probes)
    }

    /// The settings as earlier programs wrote them: with the description of the subject, in which the weights had a
    /// path and no checksum. `Null` for a request that earlier programs could not tell from others.
    fn earlier(&self, settings: &Value) -> Value {
        if ["model_settings", "normalization"].iter().any(|key| !self.identity[*key].is_null()) {
            return Value::Null;
        }
        let mut subject = json!(self.description);
        if let Value::Object(subject) = &mut subject {
            subject.retain(|key, _| {
                !["weights_checksum", "model_settings", "normalization"].contains(&key.as_str())
            });
        }
        let mut earlier = settings.clone();
        earlier["subject"] = subject;
        earlier
    }

    /// Removes the state of finished work.
    pub(super) fn finish(&self) -> Result<()> {
        let common = self.request.common();
        common.subject.team.lead(|| remove_state(&common.out)).map(drop)
    }
}

/// The cost of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Number of products, those before an interruption included, without those of the check.
    pub num_matvecs: usize,
    /// Seconds of this process, without opening and checking.
    pub seconds: f64,
    /// Seconds a product in this process, everything included.
    pub seconds_per_matvec: Option<f64>,
    /// Peak resident memory of the process in MB, where the system tells.
    pub peak_rss_mb: Option<f64>,
}

/// Properties of the measured point, for every report.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The loss L̂.
    pub loss: f64,
    /// The gradient norm ‖∇L̂‖.
    pub grad_norm: f64,
    /// The result of the check: relative difference of two equal products, relative asymmetry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// The numbers of a [`Determinism`] for reports.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Check {
    /// The relative difference ‖(Hu)₁ − (Hu)₂‖/‖Hu‖ of two equal products.
    pub repeat: f64,
    /// The relative asymmetry |⟨u, Hv⟩ − ⟨v, Hu⟩|/(‖u‖‖Hv‖).
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

    /// A vector of the point's space, from flat host data.
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

/// Any operator on a point's space, behind a pointer: measurements are compiled once for all operators.
pub(super) type Operator<'o, B> = &'o mut (dyn SymmetricOperator<Vector = ParamVector<B>> + 'o);

/// A kind of measurement, implemented by its request. It needs nothing but an operator and random vectors.
pub(super) trait Measure: Sync {
    type Report: Send;
    /// The word for this work: the command, and the name of the report, of which a folder has at most one.
    const WORK: &'static str;
    fn common(&self) -> &CurvatureRequest;
    /// Whether interrupted work leaves a state and can continue.
    fn keeps_state(&self) -> bool {
        true
    }
    fn run<B: Autodiff>(
        run: Run<'_, Self>,
        operator: Operator<'_, B>,
        probes: &PointProbes<B>,
        point: Point,
    ) -> Result<Measured<Self::Report>>;
}

/// A measurement that is running: its request, the session and the operator's space.
pub(super) struct Run<'a, R: ?Sized> {
    pub(super) request: &'a R,
    pub(super) session: Session<'a>,
    pub(super) description: Description,
    /// What decides the values of a measurement of the subject.
    identity: Value,
    /// The tensors of which the operator's vectors consist.
    pub(super) entries: Vec<Entry>,
}

/// Opens the subject and measures.
///
/// # Errors
/// The errors of [`measure`]; an operator that is not one fixed symmetric matrix; a folder with another result or other
/// unfinished work.
pub(super) fn carry_out<R: Measure>(
    request: &R,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<R::Report>> {
    let common = request.common();
    let team = &common.subject.team;
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
        // Held until the end of the work. A subject that cannot be opened leaves no folder.
        let _lock = request.common().subject.team.lead(|| prepare(request))?;
        let entries = subject.entries().into_iter().cloned().collect();
        let (description, identity) = (subject.description.clone(), subject.identity.clone());
        on_operator(&mut subject, Run { request, session, description, identity, entries })
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
    // Continued work is checked as well, so that its report equals that of work that was never stopped.
    if request.check {
        // These probes are used by no estimate.
        let [u, v] = [u64::MAX, u64::MAX - 1].map(|index| probes.draw(Distribution::Gaussian, index));
        let tolerance = match run.description.precision {
            Precision::F32 => 1e-4,
            Precision::F64 => 1e-9,
            // These formats round products more coarsely than everything that follows.
            Precision::Tf32 | Precision::Bf16 => 32.0 * run.description.precision.unit(),
        };
        point.check = Some(determinism_check(&mut operator, &u?, &v?, tolerance)?.into());
    }
    R::run(run, operator, probes, point)
}
