//! Densities and diagonals against the truth.

use crate::operators::{Known, spectra};
use gnr_hessian::{
    DensityOptions, DensityState, Distribution, Reorthogonalization, SpectralDensity, diagonal, host_probes,
    spectral_density,
};
use std::ops::ControlFlow;

fn density(operator: &mut Known<f64>, options: &DensityOptions, seed: u64) -> SpectralDensity {
    let dim = operator.spectrum.len();
    let mut state = DensityState::new(dim);
    let probes = host_probes(dim, seed);
    let done =
        spectral_density(operator, options, &mut state, &probes, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(done && state.running.is_empty());
    state.density
}

fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt())
}

/// Moments, tail masses and the smoothed curve, each within four standard errors of the truth; weights sum to one.
#[test]
fn estimates_the_density() {
    for (name, spectrum) in spectra() {
        let mut operator = Known::<f64>::new(&spectrum, 3);
        let options = DensityOptions { starts: 40, steps: 60, at_once: 7, ..DensityOptions::default() };
        let found = density(&mut operator, &options, 5);
        assert_eq!((found.quadratures.len(), found.dim), (40, 300));
        assert_eq!(found.num_matvecs, operator.products);
        let d = spectrum.len() as f64;
        let scale = spectrum.iter().fold(0.0_f64, |scale, x| scale.max(x.abs()));
        let sigma = 0.05 * scale;
        let points = [-0.5 * scale, 0.0, 0.3 * scale, 0.9 * scale];
        let smooth = |x: f64, point: f64| {
            (-0.5 * ((x - point) / sigma).powi(2)).exp() / (sigma * std::f64::consts::TAU.sqrt())
        };
        let functionals: [(&str, &dyn Fn(f64) -> f64); 3] =
            [("mass", &|_| 1.0), ("mean", &|x| x), ("second moment", &|x| x * x)];
        for (what, f) in functionals {
            let (found, error) = mean(&found.functional(f));
            let truth = spectrum.iter().map(|x| f(*x)).sum::<f64>() / d;
            let rounding = 1e-12 * f(scale).abs();
            assert!(
                (found - truth).abs() <= 4.0 * error + rounding,
                "{name}, {what}: {found} ± {error}, {truth}"
            );
        }
        for (point, (value, error)) in points.iter().zip(found.smoothed(&points, sigma)) {
            let truth = spectrum.iter().map(|x| smooth(*x, *point)).sum::<f64>() / d;
            assert!(
                (value - truth).abs() <= 4.0 * error + 1e-6 / scale,
                "{name} at {point}: {value} ± {error}, {truth}"
            );
        }
        let (low, high) = found.range().unwrap();
        let bottom = spectrum.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(
            low >= bottom - 1e-9 * scale
                && high <= spectrum.iter().copied().fold(0.0, f64::max) + 1e-9 * scale
        );
    }
}

/// With as many steps as there are dimensions the nodes are the eigenvalues.
#[test]
fn is_exact_when_it_may_run_to_the_end() {
    let spectrum = [4.0, 2.5, 1.0, -3.0];
    let options = DensityOptions { starts: 3, steps: 10, ..DensityOptions::default() };
    let found = density(&mut Known::new(&spectrum, 3), &options, 5);
    for quadrature in &found.quadratures {
        for ((node, _), expected) in quadrature.iter().zip([-3.0, 1.0, 2.5, 4.0]) {
            assert!((node - expected).abs() < 1e-12);
        }
        assert!((quadrature.iter().map(|(_, weight)| weight).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

/// Copies of converged eigenvalues share one weight, so a density needs no reorthogonalisation.
#[test]
fn copies_do_no_harm_to_a_density() {
    let spectrum = spectra().remove(5).1;
    let options = DensityOptions { starts: 2, steps: 120, ..DensityOptions::default() };
    let full = density(&mut Known::new(&spectrum, 3), &options, 5);
    let local = DensityOptions { reorthogonalization: Reorthogonalization::Local, ..options };
    let local = density(&mut Known::new(&spectrum, 3), &local, 5);
    let points = [0.0, 100.0, 500.0, 1000.0];
    for (a, b) in full.smoothed(&points, 30.0).iter().zip(local.smoothed(&points, 30.0)) {
        assert!((a.0 - b.0).abs() <= 1e-6 * a.0.abs(), "{a:?} {b:?}");
    }
}

/// Starts in step, or one by one, or stopped in between: the same nodes.
#[test]
fn goes_on_where_it_stopped() {
    let spectrum = spectra().remove(2).1;
    let options = DensityOptions {
        starts: 4,
        steps: 12,
        distribution: Distribution::Gaussian,
        ..DensityOptions::default()
    };
    let whole = density(&mut Known::new(&spectrum, 3), &options, 5);
    let together = DensityOptions { at_once: 3, ..options };
    assert_eq!(density(&mut Known::new(&spectrum, 3), &together, 5), whole);
    let (mut operator, mut state) = (Known::<f64>::new(&spectrum, 3), DensityState::new(300));
    let probes = host_probes(300, 5);
    let mut stops = 0;
    loop {
        let before = state.num_matvecs();
        let done = spectral_density(&mut operator, &together, &mut state, &probes, &mut |state| {
            if state.num_matvecs() >= before + 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if done.unwrap() {
            break;
        }
        stops += 1;
    }
    assert!(stops > 3);
    assert_eq!(state.density, whole);
}

/// Each entry within five of its standard errors, and these are the known ones: √(Σ_{j≠i} hᵢⱼ²/n).
#[test]
fn estimates_the_diagonal() {
    let spectrum: Vec<f64> = (0..300).map(|i| f64::from(i % 17) - 5.0).collect();
    let mut operator = Known::<f64>::new(&spectrum, 2);
    let truth = operator.diagonal();
    let mut heard = Vec::new();
    let found = diagonal(&mut operator, 200, 30, &host_probes(300, 7), &mut |done| {
        heard.push(done);
        ControlFlow::Continue(())
    });
    let found = found.unwrap();
    assert_eq!((found.num_matvecs, operator.products), (200, 200));
    assert_eq!(heard, [30, 60, 90, 120, 150, 180, 200]);
    let total: f64 = found.mean.iter().sum();
    assert!((found.samples.iter().sum::<f64>() / 200.0 - total).abs() < 1e-9 * total.abs());
    let mut ratio = 0.0;
    for i in 0..300 {
        let error = ((found.square[i] - found.mean[i].powi(2)) / 199.0).sqrt();
        assert!((found.mean[i] - truth[i]).abs() <= 5.0 * error, "entry {i}: {} {}", found.mean[i], truth[i]);
        ratio += ((found.mean[i] - truth[i]) / error).powi(2) / 300.0;
    }
    // Squared errors in units of their estimated variance average to about one.
    assert!((0.7..1.4).contains(&ratio), "{ratio}");
}
