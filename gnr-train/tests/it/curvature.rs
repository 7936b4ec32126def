//! The curvature of a trained net agrees with its dense Hessian. Stopped work continues to equal bytes. The reference
//! problem has its known spectrum.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use gnr_core::{GradOracle, HvpOracle, Order, Pass};
use gnr_hessian::{
    Reorthogonalization,
    dense::{Square, eigh},
};
use gnr_nn::{Autodiff, Curvature, Model, ParamVector};
use gnr_train::{
    Measurement, Sample, Subject, SubjectRequest, TrainError,
    curvature::{
        CurvatureRequest, DensityRequest, End, Method, OperatorKind, SpectrumRequest, TraceMethod,
        TraceRequest, density, spectrum, trace,
    },
    measure,
    measure::{MeasureEvent, MeasureObserver, Measured},
    subject::Description,
};

use crate::support::{run, tiny};

/// A trained MLP of 610 parameters in double precision.
pub(crate) fn trained(folder: &Path) {
    run(tiny(&["model.widths=[8]", "model.activation=tanh", "train.precision=f64"]), folder).unwrap();
}

pub(crate) fn subject(folder: &Path) -> SubjectRequest {
    SubjectRequest { batch_size: 30, ..SubjectRequest::new(folder) }
}

/// The whole Hessian and Gauss–Newton matrix, by products with unit vectors.
struct Dense;

impl Measurement for Dense {
    type Output = [Square; 2];
    fn run<B: Autodiff + 'static>(self, mut subject: Subject<'_, B>) -> Result<[Square; 2], TrainError> {
        let (start, backend) = (subject.start(), subject.backend.clone());
        let shapes: Vec<_> = subject.entries().iter().map(|entry| entry.shape.clone()).collect();
        let dim = subject.description.dimension;
        let unit = |k: usize| {
            let mut at = 0;
            let tensors = shapes.iter().map(|shape| {
                let len = shape.iter().product::<usize>();
                let values: Vec<f64> = (at..at + len).map(|i| f64::from(i == k)).collect();
                at += len;
                backend.constant(&values, shape).unwrap()
            });
            ParamVector::new(backend.clone(), tensors.collect())
        };
        let units: Vec<_> = (0..dim).map(unit).collect();
        let mut oracle = subject.oracle()?;
        let here = oracle.evaluate(&start, Pass::Probe, Order::Second)?;
        let dense = |outs: &[ParamVector<B>]| {
            let rows: Vec<f64> = outs.iter().flat_map(|out| out.to_host().unwrap().concat()).collect();
            Square::from_entries(rows).unwrap()
        };
        let hessian = dense(&oracle.hvp_block(&here, &units)?);
        let ggn = dense(&oracle.with_curvature(Curvature::GaussNewton).hvp_block(&here, &units)?);
        Ok([hessian, ggn])
    }
}

pub(crate) fn finished<R>(measured: Measured<R>) -> R {
    match measured {
        Measured::Finished(report) => report,
        Measured::Interrupted { .. } => panic!("nobody asked to stop"),
    }
}

pub(crate) fn go() -> AtomicBool {
    AtomicBool::new(false)
}

/// The eigenvalues in descending order.
fn falling(dense: &Square) -> Vec<f64> {
    eigh(dense).values.into_iter().rev().collect()
}

#[test]
fn agrees_with_the_dense_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("run");
    trained(&net);
    let [hessian, ggn] = measure(&subject(&net), Dense).unwrap();
    let dim = hessian.n();
    assert_eq!(dim, 610);
    for i in 0..dim {
        for j in 0..i {
            assert!((hessian.get(i, j) - hessian.get(j, i)).abs() < 1e-13);
        }
    }
    let out = |name: &str| CurvatureRequest::new(subject(&net), folder.path().join(name));

    // Both ends of the Hessian, the top of the Gauss–Newton matrix, blocks and single vectors.
    let truth = falling(&hessian);
    assert!(truth[dim - 1] < -1e-3, "a Hessian that is indefinite: {}", truth[dim - 1]);
    for block in [1, 4] {
        let request = SpectrumRequest {
            end: End::BothEnds,
            tolerance: 1e-7,
            block,
            verify: true,
            save: true,
            ..SpectrumRequest::new(out(&format!("ends-{block}")), 4)
        };
        let found = finished(spectrum(&request, &mut (), &go()).unwrap());
        let expected = truth[..4].iter().chain(truth[dim - 4..].iter().rev());
        for (pair, expected) in found.pairs.iter().zip(expected) {
            assert_eq!(pair.verdict, "converged");
            assert!((pair.eigenvalue - expected).abs() < 1e-9, "{pair:?} instead of {expected}");
            assert!(pair.residual <= 1e-7 * expected.abs() + 1e-12);
        }
        let file =
            std::fs::read(folder.path().join(format!("ends-{block}/eigenvectors.safetensors"))).unwrap();
        let file = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(file.names().len(), 8 * 4, "weight and bias of two layers for each pair");
    }
    let truth_ggn = falling(&ggn);
    assert!(truth_ggn[dim - 1] > -1e-12 && truth_ggn[0] > 0.0, "positive semi-definite");
    let common = CurvatureRequest { operator: OperatorKind::Ggn, ..out("ggn") };
    let request = SpectrumRequest { tolerance: 1e-7, ..SpectrumRequest::new(common, 3) };
    for (pair, expected) in finished(spectrum(&request, &mut (), &go()).unwrap()).pairs.iter().zip(&truth_ggn)
    {
        assert!((pair.eigenvalue - expected).abs() < 1e-9, "{pair:?} instead of {expected}");
    }

    // Power iteration finds the dominant eigenvalues.
    let request = SpectrumRequest {
        end: End::Dominant,
        method: Method::Power,
        tolerance: 1e-4,
        max_matvecs: 5000,
        ..SpectrumRequest::new(out("power"), 2)
    };
    let mut dominant = truth.clone();
    dominant.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
    for (pair, expected) in finished(spectrum(&request, &mut (), &go()).unwrap()).pairs.iter().zip(&dominant)
    {
        assert!(
            (pair.eigenvalue - expected).abs() < 1e-4 * dominant[0].abs(),
            "{pair:?} instead of {expected}"
        );
    }

    // Traces: three estimators' intervals, and the diagonal entry by entry.
    for (k, method) in
        [TraceMethod::Hutchinson, TraceMethod::HutchPlusPlus, TraceMethod::Xtrace, TraceMethod::Diagonal]
            .into_iter()
            .enumerate()
    {
        let request = TraceRequest { method, block: 3, ..TraceRequest::new(out(&format!("trace-{k}"))) };
        let found = finished(trace(&request, &mut (), &go()).unwrap());
        let (truth, rounding) = (hessian.trace(), 1e-9);
        assert!(
            found.low - rounding <= truth && truth <= found.high + rounding,
            "{method:?}: {found:?} {truth}"
        );
        assert!(found.high - found.low < 0.5 * truth.abs(), "{method:?} says little: {found:?}");
    }
    let file = std::fs::read(folder.path().join("trace-3/diagonal.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let numbers = |prefix: &str| -> Vec<f64> {
        let names = ["0.weight", "0.bias", "2.weight", "2.bias"];
        let named = names.iter().map(|name| file.tensor(&format!("{prefix}.{name}")).unwrap());
        named
            .flat_map(|t| t.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect::<Vec<_>>())
            .collect()
    };
    let (diagonal, errors) = (numbers("diagonal"), numbers("standard_error"));
    for (k, (found, error)) in diagonal.iter().zip(&errors).enumerate() {
        assert!((found - hessian.get(k, k)).abs() <= 6.0 * error + 1e-12, "entry {k}: {found} ± {error}");
    }

    // The first two moments of the density, and a curve that integrates to one.
    let mut request = DensityRequest::new(out("density"));
    (request.options.starts, request.options.steps) = (12, 40);
    let found = finished(density(&request, &mut (), &go()).unwrap());
    let error = found.trace_standard_error.unwrap();
    assert!((found.trace - hessian.trace()).abs() <= 4.0 * error, "{found:?} {}", hessian.trace());
    assert!((found.largest - truth[0]).abs() < 1e-6 && (found.smallest - truth[dim - 1]).abs() < 1e-2);
    let curve = std::fs::read_to_string(folder.path().join("density/density.csv")).unwrap();
    let rows: Vec<Vec<f64>> =
        curve.lines().skip(1).map(|line| line.split(',').map(|x| x.parse().unwrap()).collect()).collect();
    let integral: f64 = rows.windows(2).map(|w| 0.5 * (w[0][1] + w[1][1]) * (w[1][0] - w[0][0])).sum();
    assert!((integral - 1.0).abs() < 1e-3, "{integral}");
}

/// Chosen layers are a diagonal block of the whole matrix.
#[test]
fn layers_are_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("run");
    trained(&net);
    let whole = measure(&subject(&net), Dense).unwrap();
    let request = SubjectRequest { layers: vec!["2".into()], ..subject(&net) };
    let block = measure(&request, Dense).unwrap();
    let (dim, first) = (block[0].n(), 610 - block[0].n());
    assert_eq!(dim, 90);
    for (block, whole) in block.iter().zip(&whole) {
        for i in 0..dim {
            for j in 0..dim {
                assert!((block.get(i, j) - whole.get(first + i, first + j)).abs() < 1e-13);
            }
        }
    }
    let request = SubjectRequest { layers: vec!["conv*".into()], ..subject(&net) };
    let Err(error) = measure(&request, Dense) else { panic!("a pattern that fits nothing") };
    assert_eq!(
        error.to_string(),
        "no parameter of the model fits `conv*`; there are 0.weight, 0.bias, 2.weight, 2.bias"
    );
}

/// An observer that sets the stop flag after so many products of its own.
pub(crate) struct StopAfter<'a>(pub(crate) usize, pub(crate) &'a AtomicBool);

impl MeasureObserver for StopAfter<'_> {
    fn on_progress(&mut self, event: &MeasureEvent) {
        if event.since.1 >= self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

/// Does the work in one go and in many pieces, and compares the files.
fn in_pieces<R>(
    folder: &Path,
    files: &[&str],
    mut work: impl FnMut(
        CurvatureRequest,
        &mut dyn MeasureObserver,
        &AtomicBool,
    ) -> Result<Measured<R>, TrainError>,
) {
    let net = folder.join("run");
    let out = |name: &str| CurvatureRequest::new(subject(&net), folder.join(name));
    finished(work(out("whole"), &mut (), &go()).unwrap());
    let mut pieces = 0;
    loop {
        let stop = go();
        let request = CurvatureRequest { resume: pieces > 0, ..out("pieces") };
        match work(request, &mut StopAfter(6, &stop), &stop).unwrap() {
            Measured::Finished(_) => break,
            Measured::Interrupted { resumable, .. } => assert!(resumable),
        }
        pieces += 1;
        assert!(folder.join("pieces/state.safetensors").is_file());
        // Unfinished work is not started again by mistake.
        let again = work(out("pieces"), &mut (), &go());
        assert!(matches!(again, Err(TrainError::Folder { .. })));
    }
    assert!(pieces >= 2, "{pieces}");
    assert!(!folder.join("pieces/state.safetensors").exists());
    for file in files {
        let read = |name: &str| std::fs::read_to_string(folder.join(name).join(file)).unwrap();
        assert_eq!(read("whole"), read("pieces"), "{file}");
    }
    let again = work(out("pieces"), &mut (), &go());
    assert!(matches!(again, Err(TrainError::Folder { .. })), "a finished folder is not overwritten");
}

#[test]
fn a_spectrum_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder.path().join("run"));
    in_pieces(folder.path(), &["spectrum.csv"], |common, observer, stop| {
        let request = SpectrumRequest { max_basis: Some(12), ..SpectrumRequest::new(common, 4) };
        spectrum(&request, observer, stop)
    });
}

#[test]
fn a_trace_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder.path().join("run"));
    in_pieces(folder.path(), &["trace.csv"], |common, observer, stop| {
        let mut request = TraceRequest::new(common);
        (request.rule.max_samples, request.block) = (23, 3);
        trace(&request, observer, stop)
    });
}

#[test]
fn a_density_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    trained(&folder.path().join("run"));
    in_pieces(folder.path(), &["density.csv", "density_nodes.csv"], |common, observer, stop| {
        let mut request = DensityRequest::new(common);
        (request.options.starts, request.options.steps, request.options.at_once) = (3, 10, 2);
        density(&request, observer, stop)
    });
}

/// Two starts have a standard error. Where all nodes are one, the curve is as wide as its place.
#[test]
fn a_density_of_few_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("run");
    trained(&net);
    let of = |starts: usize| {
        let out = folder.path().join(format!("starts-{starts}"));
        let mut request = DensityRequest::new(CurvatureRequest::new(subject(&net), out));
        (request.options.starts, request.options.steps) = (starts, 1);
        finished(density(&request, &mut (), &go()).unwrap())
    };
    let [one, two] = [1, 2].map(of);
    assert_eq!((one.smallest, one.sigma), (one.largest, one.largest.abs() / 200.0));
    let curve = std::fs::read_to_string(folder.path().join("starts-1/density.csv")).unwrap();
    assert!(!curve.contains("inf") && one.trace_standard_error.is_none());
    // A start of one step has one node: its estimate of the trace over the dimension.
    let apart = 610.0 * (two.largest - two.smallest);
    let error = two.trace_standard_error.unwrap();
    assert!((error - apart / 2.0).abs() < 1e-9 * apart, "{error}, {apart} apart");
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("run");
    trained(&net);
    let out = |name: &str| CurvatureRequest::new(subject(&net), folder.path().join(name));
    let request = SpectrumRequest { method: Method::Power, ..SpectrumRequest::new(out("a"), 2) };
    assert!(matches!(spectrum(&request, &mut (), &go()), Err(TrainError::Request(_))));
    let local = Reorthogonalization::Local;
    let request = SpectrumRequest { reorthogonalization: local, ..SpectrumRequest::new(out("a"), 2) };
    let error = spectrum(&request, &mut (), &go()).unwrap_err().to_string();
    assert!(error.contains("expected full or selective for eigenvalues, found local"), "{error}");
    let request = SpectrumRequest::new(out("b"), 1000);
    let error = spectrum(&request, &mut (), &go());
    assert!(matches!(error, Err(TrainError::Curvature(_))), "{error:?}");
    // A state of one request is refused for another.
    let stop = go();
    let request = SpectrumRequest { max_basis: Some(12), ..SpectrumRequest::new(out("c"), 4) };
    let stopped = spectrum(&request, &mut StopAfter(6, &stop), &stop).unwrap();
    assert!(matches!(stopped, Measured::Interrupted { done: 6, resumable: true, .. }), "{stopped:?}");
    let other = SpectrumRequest::new(CurvatureRequest { resume: true, ..out("c") }, 5);
    let error = spectrum(&other, &mut (), &go());
    assert!(matches!(error, Err(TrainError::Checkpoint { .. })), "{error:?}");
    let missing = SubjectRequest::new(folder.path().join("nothing.safetensors"));
    let error = measure(&missing, Dense).map(drop).unwrap_err().to_string();
    assert!(error.contains("nothing.safetensors"), "{error}");
}

/// Describes in words what was opened.
struct Describe;

impl Measurement for Describe {
    type Output = Description;
    fn run<B: Autodiff + 'static>(self, subject: Subject<'_, B>) -> Result<Description, TrainError> {
        assert_eq!(subject.model.layout().num_parameters(), subject.description.parameters);
        Ok(subject.description)
    }
}

#[test]
fn samples_are_the_first_of_each_class_or_in_proportion() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("run");
    trained(&net);
    let all = SubjectRequest { overrides: vec!["data.subset.per_class=50".into()], ..subject(&net) };
    for (sample, images, words) in
        [(Sample::FirstPerClass(3), 30, "first 3 of each class"), (Sample::Count(57), 57, "sample of 57")]
    {
        let found = measure(&SubjectRequest { sample: Some(sample), ..all.clone() }, Describe).unwrap();
        assert_eq!((found.images, found.epoch), (images, Some(3)));
        assert!(found.data.contains(words), "{}", found.data);
    }
    assert!(measure(&SubjectRequest { sample: Some(Sample::Count(100_000)), ..all }, Describe).is_err());
}

/// Both ends of the spectrum of a smooth net, as found by SciPy's ARPACK with PyTorch's products in f64
/// (`tests/fixtures/make_spectrum.py`).
#[test]
fn the_reference_problem() {
    let problem = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spectrum_resnet8.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let choices = ["model.name=resnet8", "model.activation=gelu", "model.norm=group", "train.precision=f64"];
    let subject = SubjectRequest {
        overrides: choices.map(String::from).to_vec(),
        tensors: Some(problem.clone()),
        ..SubjectRequest::new(problem)
    };
    let common = CurvatureRequest { check: false, ..CurvatureRequest::new(subject, folder.path()) };
    let request = SpectrumRequest { tolerance: 1e-6, end: End::BothEnds, ..SpectrumRequest::new(common, 3) };
    let found = finished(spectrum(&request, &mut (), &go()).unwrap());
    assert_eq!((found.subject.dimension, found.pairs.len()), (19_218, 6));
    // The error of an eigenvalue is the squared residual over its gap, 1e-10. Both programs compute in f64.
    for expected in [
        15.778936690259831,
        8.640444228114523,
        6.968205515276511,
        -7.434890307232421,
        -6.135627321907212,
        -5.916053973773989,
    ] {
        let off = |found: f64| (found - expected).abs() / expected.abs();
        let nearest = found.pairs.iter().map(|pair| off(pair.eigenvalue)).fold(f64::INFINITY, f64::min);
        assert!(nearest < 1e-9, "{expected} is missing by {nearest:e}: {:?}", found.pairs);
    }
}

/// The eigenvalues of ResNet-20 in eval mode on one batch of 256, which curvlinops and SciPy found to 1e-3.
#[test]
#[ignore = "needs ../shared/bench/resnet20_hessian_problem_b.safetensors"]
fn the_large_reference_problem() {
    let shared = std::env::var_os("GNR_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let problem = shared.join("bench/resnet20_hessian_problem_b.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let subject = SubjectRequest {
        overrides: vec!["model.name=resnet20_projection".into()],
        tensors: Some(problem.clone()),
        ..SubjectRequest::new(problem)
    };
    let common = CurvatureRequest { check: false, ..CurvatureRequest::new(subject, folder.path()) };
    let request = SpectrumRequest { tolerance: 1e-2, ..SpectrumRequest::new(common, 3) };
    let found = finished(spectrum(&request, &mut (), &go()).unwrap());
    // The error of an eigenvalue is residual²/gap, here at most some 0.1.
    for (pair, expected) in found.pairs.iter().zip([1556.94, 1024.23, 526.93]) {
        assert!((pair.eigenvalue - expected).abs() < 5e-4 * expected, "{pair:?} instead of {expected}");
    }
    assert_eq!(found.subject.dimension, 272_474);
}
