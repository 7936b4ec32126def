//! The native part of `gnr.hessian`: the algorithms of gnr-hessian over a callable. Options come in dictionaries made
//! by `hessian.py`. Answers are dictionaries, of which `hessian.py` makes dataclasses.

use crate::{
    array::{Element, Precision, with_precision},
    error,
    operator::{Callable, Watched, Watcher},
};
use gnr_hessian::{
    DensityOptions, DensityState, Distribution, Draw, Eigenpair, HutchPlusPlus, Hutchinson, Interval,
    Lanczos, LanczosEnd, LanczosState, PowerIteration, Reorthogonalization, SpectralDensity, Stopping,
    TraceEnd, TraceEstimate, TraceProgress, Which, XTrace, determinism_check, dominant_eigenpairs,
    host_probes,
};
use numpy::{PyArray1, PyArray2};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

/// The inputs that all algorithms have.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Task {
    hvp: Py<PyAny>,
    dim: usize,
    seed: u64,
    dtype: String,
    progress: Option<Py<PyAny>>,
}

/// Finds the value with the name `name`.
///
/// # Errors
/// `ValueError` for an unknown name, with the argument and the known names.
fn choice<T: Copy>(argument: &str, name: &str, choices: &[(&str, T)]) -> PyResult<T> {
    choices.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<String> = choices.iter().map(|(known, _)| format!("{known:?}")).collect();
        PyValueError::new_err(format!("{argument}: expected one of {}, found {name:?}", known.join(", ")))
    })
}

fn distribution(name: &str) -> PyResult<Distribution> {
    choice(
        "distribution",
        name,
        &[("rademacher", Distribution::Rademacher), ("gaussian", Distribution::Gaussian)],
    )
}

/// Puts the eigenvalues, the vectors `[k, d]`, the residuals and the verdicts of eigenpairs into an answer.
fn set_pairs<T: Element>(answer: &Bound<'_, PyDict>, pairs: Vec<Eigenpair<Vec<T>>>) -> PyResult<()> {
    let py = answer.py();
    let column = |f: fn(&Eigenpair<Vec<T>>) -> f64| PyArray1::from_iter(py, pairs.iter().map(f));
    answer.set_item("values", column(|pair| pair.value))?;
    answer.set_item("residuals", column(|pair| pair.residual))?;
    answer.set_item("converged", PyArray1::from_iter(py, pairs.iter().map(Eigenpair::converged)))?;
    let vectors: Vec<Vec<T>> = pairs.into_iter().map(|pair| pair.vector).collect();
    answer.set_item("vectors", PyArray2::from_vec2(py, &vectors)?)
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct LanczosArguments {
    which: String,
    k: usize,
    num_matvecs: usize,
    tolerance: f64,
    floor: f64,
    block: usize,
    max_basis: Option<usize>,
    reorthogonalization: String,
}

/// Computes eigenpairs by Lanczos' process.
#[pyfunction]
pub(crate) fn lanczos<'py>(
    py: Python<'py>,
    task: Task,
    arguments: LanczosArguments,
) -> PyResult<Bound<'py, PyDict>> {
    with_precision!(Precision::named(&task.dtype)?, lanczos_of(py, task, &arguments))
}

fn lanczos_of<'py, T: Element>(
    py: Python<'py>,
    task: Task,
    arguments: &LanczosArguments,
) -> PyResult<Bound<'py, PyDict>> {
    let count = arguments.k;
    let which = choice(
        "which",
        &arguments.which,
        &[
            ("top", Which::Top(count)),
            ("bottom", Which::Bottom(count)),
            ("dominant", Which::Dominant(count)),
            ("both", Which::BothEnds(count)),
        ],
    )?;
    let options = Lanczos {
        num_matvecs: arguments.num_matvecs,
        tolerance: arguments.tolerance,
        floor: arguments.floor,
        block: arguments.block,
        max_basis: arguments.max_basis,
        reorthogonalization: choice(
            "reorthogonalization",
            &arguments.reorthogonalization,
            &[("full", Reorthogonalization::Full), ("selective", Reorthogonalization::Selective)],
        )?,
        epsilon: T::ROUNDOFF,
        ..Lanczos::new(which)
    };
    let mut watcher = Watcher::new(task.progress);
    let mut operator = Callable::<T>::new(task.hvp, task.dim);
    let (answer, watcher) = py.detach(move || {
        let probes = host_probes::<T>(task.dim, task.seed);
        let answer = (|| {
            let mut state = LanczosState::random(&options, task.dim, &probes)?;
            let end =
                gnr_hessian::lanczos(&mut operator, &options, &mut state, &probes, &mut |_, progress| {
                    watcher.tell(|told| {
                        told.set_item("num_matvecs", progress.num_matvecs)?;
                        told.set_item("budget", progress.budget)?;
                        told.set_item("converged", progress.converged)?;
                        told.set_item("wanted", progress.wanted)?;
                        let (values, residuals): (Vec<f64>, Vec<f64>) =
                            progress.pairs.iter().copied().unzip();
                        told.set_item("values", PyArray1::from_vec(told.py(), values))?;
                        told.set_item("residuals", PyArray1::from_vec(told.py(), residuals))
                    })
                })?;
            Ok((end, state.num_matvecs, state.restarts, state.eigenpairs(&options)?))
        })();
        (answer, watcher)
    });
    let (end, num_matvecs, restarts, pairs) = watcher.finish(answer)?;
    let told = PyDict::new(py);
    set_pairs(&told, pairs)?;
    told.set_item("num_matvecs", num_matvecs)?;
    told.set_item("restarts", restarts)?;
    told.set_item(
        "end",
        match end {
            LanczosEnd::Converged => "converged",
            LanczosEnd::BudgetExhausted => "budget",
            LanczosEnd::Stopped => "stopped",
        },
    )?;
    Ok(told)
}

/// Computes eigenpairs of largest modulus by power iteration.
#[pyfunction]
pub(crate) fn power_iteration<'py>(
    py: Python<'py>,
    task: Task,
    k: usize,
    num_matvecs: usize,
    tolerance: f64,
) -> PyResult<Bound<'py, PyDict>> {
    let options = PowerIteration { num_matvecs, tolerance };
    with_precision!(Precision::named(&task.dtype)?, power_iteration_of(py, task, k, options))
}

fn power_iteration_of<'py, T: Element>(
    py: Python<'py>,
    task: Task,
    k: usize,
    options: PowerIteration,
) -> PyResult<Bound<'py, PyDict>> {
    let watcher = Watcher::new(task.progress);
    let operator = Callable::<T>::new(task.hvp, task.dim);
    let budget = options.num_matvecs.saturating_mul(k);
    let (answer, watcher) = py.detach(move || {
        let probes = host_probes::<T>(task.dim, task.seed);
        let mut watched = Watched { operator, watcher, budget };
        let answer = (|| {
            let starts = (0..k as u64).map(|index| Draw::draw(&probes, Distribution::Gaussian, index));
            let starts = starts.collect::<gnr_hessian::Result<Vec<Vec<T>>>>()?;
            dominant_eigenpairs(&mut watched, k, starts, options)
        })();
        (answer, watched.watcher)
    });
    let pairs = watcher.finish(answer)?;
    let told = PyDict::new(py);
    let num_matvecs: usize = pairs.iter().map(|pair| pair.num_matvecs).sum();
    let end = if pairs.iter().all(Eigenpair::converged) { "converged" } else { "budget" };
    set_pairs(&told, pairs)?;
    told.set_item("num_matvecs", num_matvecs)?;
    told.set_item("restarts", 0)?;
    told.set_item("end", end)?;
    Ok(told)
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct TraceArguments {
    method: String,
    max_samples: usize,
    min_samples: usize,
    tolerance: Option<f64>,
    confidence: f64,
    sketch: usize,
    distribution: String,
    samples: Vec<f64>,
}

/// Estimates the trace with random test vectors.
#[pyfunction]
pub(crate) fn trace<'py>(
    py: Python<'py>,
    task: Task,
    arguments: TraceArguments,
) -> PyResult<Bound<'py, PyDict>> {
    with_precision!(Precision::named(&task.dtype)?, trace_of(py, task, arguments))
}

fn trace_of<'py, T: Element>(
    py: Python<'py>,
    task: Task,
    mut arguments: TraceArguments,
) -> PyResult<Bound<'py, PyDict>> {
    let rule = Stopping {
        tolerance: arguments.tolerance,
        confidence: arguments.confidence,
        min_samples: arguments.min_samples,
        max_samples: arguments.max_samples,
    };
    let distribution = distribution(&arguments.distribution)?;
    let mut watcher = Watcher::new(task.progress);
    let mut operator = Callable::<T>::new(task.hvp, task.dim);
    let (answer, watcher) = py.detach(move || {
        let probes = host_probes::<T>(task.dim, task.seed);
        let mut tell = |progress: &TraceProgress<'_>| {
            watcher.tell(|told| {
                told.set_item("num_matvecs", progress.num_matvecs)?;
                told.set_item("budget", progress.budget)?;
                let Interval { mean, standard_error, low, high } = progress.interval;
                told.set_item("values", PyArray1::from_slice(told.py(), &[mean]))?;
                told.set_item("residuals", PyArray1::from_slice(told.py(), &[standard_error]))?;
                told.set_item("low", low)?;
                told.set_item("high", high)
            })
        };
        let answer = match arguments.method.as_str() {
            "hutch++" => {
                let options = HutchPlusPlus { sketch: arguments.sketch, rule, block: 1 };
                gnr_hessian::hutch_plus_plus(&mut operator, &options, &probes, &mut tell)
            }
            "xtrace" => gnr_hessian::xtrace(&mut operator, &XTrace { rule, block: 1 }, &probes, &mut tell),
            _ => {
                let options = Hutchinson { distribution, rule, block: 1 };
                let samples = &mut arguments.samples;
                gnr_hessian::hutchinson(&mut operator, &options, &probes, samples, &mut tell)
            }
        };
        (answer, watcher)
    });
    let TraceEstimate { value, standard_error, low, high, confidence, num_matvecs, exact_part, samples, end } =
        watcher.finish(answer)?;
    let told = PyDict::new(py);
    told.set_item("value", value)?;
    told.set_item("standard_error", standard_error)?;
    told.set_item("low", low)?;
    told.set_item("high", high)?;
    told.set_item("confidence", confidence)?;
    told.set_item("num_matvecs", num_matvecs)?;
    told.set_item("exact_part", exact_part)?;
    told.set_item("samples", PyArray1::from_vec(py, samples))?;
    told.set_item(
        "end",
        match end {
            TraceEnd::Tolerance => "tolerance",
            TraceEnd::Budget => "budget",
            TraceEnd::Exact => "exact",
            TraceEnd::Stopped => "stopped",
        },
    )?;
    Ok(told)
}

/// Estimates the diagonal with random signs.
#[pyfunction]
pub(crate) fn diagonal<'py>(py: Python<'py>, task: Task, num_matvecs: usize) -> PyResult<Bound<'py, PyDict>> {
    with_precision!(Precision::named(&task.dtype)?, diagonal_of(py, task, num_matvecs))
}

fn diagonal_of<'py, T: Element>(
    py: Python<'py>,
    task: Task,
    num_matvecs: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let mut watcher = Watcher::new(task.progress);
    let mut operator = Callable::<T>::new(task.hvp, task.dim);
    let (answer, watcher) = py.detach(move || {
        let probes = host_probes::<T>(task.dim, task.seed);
        let mut tell = |made: usize| {
            watcher.tell(|told| {
                told.set_item("num_matvecs", made)?;
                told.set_item("budget", num_matvecs)
            })
        };
        let answer = gnr_hessian::diagonal(&mut operator, num_matvecs, 1, &probes, &mut tell);
        (answer, watcher)
    });
    let estimate = watcher.finish(answer)?;
    // The variance of a mean of n samples: s²/n = (mean of squares − squared mean)/(n − 1).
    let n = estimate.num_matvecs as f64;
    let error = |(mean, square): (&T, &T)| {
        let (mean, square): (f64, f64) = (mean.as_(), square.as_());
        ((square - mean * mean).max(0.0) / (n - 1.0)).sqrt()
    };
    let errors = estimate.mean.iter().zip(&estimate.square).map(error);
    let told = PyDict::new(py);
    told.set_item("standard_error", PyArray1::from_iter(py, errors))?;
    told.set_item("value", PyArray1::from_vec(py, estimate.mean))?;
    told.set_item("samples", PyArray1::from_vec(py, estimate.samples))?;
    told.set_item("num_matvecs", estimate.num_matvecs)?;
    Ok(told)
}

/// Estimates the spectral density by stochastic Lanczos quadrature.
#[pyfunction]
pub(crate) fn density<'py>(
    py: Python<'py>,
    task: Task,
    starts: usize,
    steps: usize,
    distribution: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let options = DensityOptions {
        starts,
        steps,
        distribution: self::distribution(distribution)?,
        ..DensityOptions::default()
    };
    with_precision!(Precision::named(&task.dtype)?, density_of(py, task, options))
}

fn density_of<'py, T: Element>(
    py: Python<'py>,
    task: Task,
    options: DensityOptions,
) -> PyResult<Bound<'py, PyDict>> {
    let mut watcher = Watcher::new(task.progress);
    let mut operator = Callable::<T>::new(task.hvp, task.dim);
    let budget = options.starts.saturating_mul(options.steps.min(task.dim));
    let (answer, watcher) = py.detach(move || {
        let probes = host_probes::<T>(task.dim, task.seed);
        let mut state = DensityState::new(task.dim);
        let mut tell = |state: &DensityState<Vec<T>>| {
            watcher.tell(|told| {
                told.set_item("num_matvecs", state.num_matvecs())?;
                told.set_item("budget", budget)
            })
        };
        let answer = gnr_hessian::spectral_density(&mut operator, &options, &mut state, &probes, &mut tell);
        let num_matvecs = state.num_matvecs();
        (answer.map(|finished| (finished, state.density, num_matvecs)), watcher)
    });
    let (finished, density, num_matvecs) = watcher.finish(answer)?;
    let (nodes, weights): (Vec<_>, Vec<_>) = (density.quadratures.iter())
        .map(|quadrature| quadrature.iter().copied().unzip::<f64, f64, Vec<f64>, Vec<f64>>())
        .map(|(nodes, weights)| (PyArray1::from_vec(py, nodes), PyArray1::from_vec(py, weights)))
        .unzip();
    let told = PyDict::new(py);
    told.set_item("nodes", nodes)?;
    told.set_item("weights", weights)?;
    told.set_item("num_matvecs", num_matvecs)?;
    told.set_item("end", if finished { "finished" } else { "stopped" })?;
    Ok(told)
}

/// The density of quadratures, convolved with a normal distribution: mean and standard error at each point.
#[pyfunction]
pub(crate) fn smoothed<'py>(
    py: Python<'py>,
    nodes: Vec<Vec<f64>>,
    weights: Vec<Vec<f64>>,
    points: Vec<f64>,
    sigma: f64,
) -> PyResult<[Bound<'py, PyArray1<f64>>; 2]> {
    if !(sigma > 0.0 && sigma.is_finite()) {
        return Err(PyValueError::new_err(format!(
            "sigma: expected a positive finite number, found {sigma}"
        )));
    }
    let quadratures = nodes.into_iter().zip(weights).map(|(n, w)| n.into_iter().zip(w).collect());
    let density = SpectralDensity { quadratures: quadratures.collect(), ..SpectralDensity::default() };
    let (mean, error): (Vec<f64>, Vec<f64>) =
        py.detach(|| density.smoothed(&points, sigma)).into_iter().unzip();
    Ok([mean, error].map(|column| PyArray1::from_vec(py, column)))
}

/// Checks that the callable multiplies with one fixed symmetric matrix. Returns the relative difference of two products
/// with one vector, and that of the two forms ⟨u, Hv⟩ and ⟨v, Hu⟩.
#[pyfunction]
pub(crate) fn check(py: Python<'_>, task: Task, tolerance: f64) -> PyResult<(f64, f64)> {
    with_precision!(Precision::named(&task.dtype)?, check_of(py, task, tolerance))
}

fn check_of<T: Element>(py: Python<'_>, task: Task, tolerance: f64) -> PyResult<(f64, f64)> {
    let mut operator = Callable::<T>::new(task.hvp, task.dim);
    let answer = py.detach(move || {
        let probes = host_probes::<T>(task.dim, task.seed);
        let [u, v]: [Vec<T>; 2] = [
            Draw::draw(&probes, Distribution::Gaussian, 0)?,
            Draw::draw(&probes, Distribution::Gaussian, 1)?,
        ];
        determinism_check(&mut operator, &u, &v, tolerance)
    });
    let found = answer.map_err(error::of_hessian)?;
    Ok((found.repeat, found.asymmetry))
}
