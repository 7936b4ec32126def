//! Trace estimates against the truth: bias, coverage of the intervals over 200 seeds, exactness, stopping, resuming.

use crate::operators::{Known, spectra};
use gnr_hessian::{
    Distribution, Error, HutchPlusPlus, Hutchinson, Stopping, TraceEnd, TraceEstimate, XTrace, host_probes,
    hutch_plus_plus, hutchinson, mean_interval, student_t_quantile, xtrace,
};
use std::ops::ControlFlow;

const SEEDS: u64 = 200;

fn go<'a>() -> impl FnMut(&gnr_hessian::TraceProgress<'_>) -> ControlFlow<()> + 'a {
    |_| ControlFlow::Continue(())
}

/// An estimator with its options bound.
type Estimator = fn(&mut Known<f32>, u64) -> TraceEstimate;

fn fixed(samples: usize) -> Stopping {
    Stopping { max_samples: samples, ..Stopping::default() }
}

fn rademacher(operator: &mut Known<f32>, seed: u64) -> TraceEstimate {
    let options = Hutchinson { rule: fixed(60), ..Hutchinson::default() };
    hutchinson(operator, &options, &host_probes(300, seed), &mut Vec::new(), &mut go()).unwrap()
}

fn gaussian(operator: &mut Known<f32>, seed: u64) -> TraceEstimate {
    let options = Hutchinson { rule: fixed(60), distribution: Distribution::Gaussian, block: 7 };
    hutchinson(operator, &options, &host_probes(300, seed), &mut Vec::new(), &mut go()).unwrap()
}

fn sketched(operator: &mut Known<f32>, seed: u64) -> TraceEstimate {
    let options = HutchPlusPlus { sketch: 15, rule: fixed(30), block: 4 };
    hutch_plus_plus(operator, &options, &host_probes(300, seed), &mut go()).unwrap()
}

fn exchangeable(operator: &mut Known<f32>, seed: u64) -> TraceEstimate {
    let options = XTrace { rule: fixed(30), block: 4 };
    xtrace(operator, &options, &host_probes(300, seed), &mut go()).unwrap()
}

fn sequential(operator: &mut Known<f32>, seed: u64) -> TraceEstimate {
    let rule = Stopping { tolerance: Some(0.1), max_samples: 200, ..Stopping::default() };
    let options = Hutchinson { rule, ..Hutchinson::default() };
    hutchinson(operator, &options, &host_probes(300, seed), &mut Vec::new(), &mut go()).unwrap()
}

/// Over 200 seeds: the mean is the trace to four standard errors, and 95 % intervals cover it. 200 intervals that cover
/// with probability 0.95 cover at least 180 times but for one chance in 600.
#[test]
fn intervals_cover() {
    let estimators: [(&str, Estimator); 5] = [
        ("Rademacher", rademacher),
        ("Gaussian", gaussian),
        ("Hutch++", sketched),
        ("XTrace", exchangeable),
        ("sequential", sequential),
    ];
    for (spectrum_name, spectrum) in spectra() {
        let mut operator = Known::<f32>::new(&spectrum, 11);
        let truth = operator.trace();
        let scale: f64 = spectrum.iter().map(|x| x.abs()).sum();
        for (name, estimator) in estimators {
            let found: Vec<_> = (0..SEEDS).map(|seed| estimator(&mut operator, seed)).collect();
            // Estimates that are exact differ from the truth by rounding only.
            let rounding = 1e-5 * scale;
            let covered =
                found.iter().filter(|e| e.low - rounding <= truth && truth <= e.high + rounding).count();
            println!(
                "{spectrum_name:18} {name:10} covered {covered} of {SEEDS}, {} matvecs",
                found[0].num_matvecs
            );
            assert!(covered >= 180, "{name} on {spectrum_name}: {covered} of {SEEDS}");
            let n = SEEDS as f64;
            let mean = found.iter().map(|e| e.value).sum::<f64>() / n;
            let spread =
                (found.iter().map(|e| (e.value - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt();
            // Stopping early correlates with small samples' means: a bias below the tolerance is the rule's price.
            let allowed = if name == "sequential" { 0.02 * truth.abs() } else { 0.0 };
            assert!(
                (mean - truth).abs() <= 4.0 * spread + rounding + allowed,
                "{name} on {spectrum_name}: {mean} ± {spread} instead of {truth}"
            );
        }
    }
}

/// Where few eigenvalues dominate, equal budgets serve the newer estimators far better.
#[test]
fn sketches_beat_sampling_on_decaying_spectra() {
    let spectrum: Vec<f64> = (0..300).map(|i| 100.0 / f64::from(1 + i).powi(2)).collect();
    let truth: f64 = spectrum.iter().sum();
    let error = |estimator: Estimator| {
        let squares: f64 =
            (0..50).map(|seed| (estimator(&mut Known::new(&spectrum, 11), seed).value - truth).powi(2)).sum();
        (squares / 50.0).sqrt()
    };
    let (plain, plus, x) = (error(rademacher), error(sketched), error(exchangeable));
    // Theory: √(2Σλ²/60) = 1.9 for sampling; with the first 15 eigenvalues gone √(2·Σ_{i>15}λᵢ²/30) = 0.25.
    assert!(plus < 0.2 * plain && x < 0.2 * plain, "{plain} {plus} {x}");
}

/// The variance of a Rademacher sample is 2(‖H‖²_F − Σhᵢᵢ²), of a Gaussian one 2‖H‖²_F.
#[test]
fn variances_are_the_known_ones() {
    let spectrum: Vec<f64> = (0..300).map(|i| f64::from(i % 17) - 5.0).collect();
    let mut operator = Known::<f64>::new(&spectrum, 2);
    let frobenius: f64 = spectrum.iter().map(|x| x * x).sum();
    let diagonal: f64 = operator.diagonal().iter().map(|x| x * x).sum();
    for (distribution, expected) in
        [(Distribution::Rademacher, 2.0 * (frobenius - diagonal)), (Distribution::Gaussian, 2.0 * frobenius)]
    {
        let options = Hutchinson { rule: fixed(4000), distribution, block: 1 };
        let mut samples = Vec::new();
        hutchinson(&mut operator, &options, &host_probes(300, 9), &mut samples, &mut go()).unwrap();
        let interval = mean_interval(&samples, 0.95);
        let variance = interval.standard_error.powi(2) * samples.len() as f64;
        // The relative error of a variance from 4000 nearly normal samples is √(2/4000) = 2.2 %.
        assert!((variance / expected - 1.0).abs() < 0.09, "{distribution:?}: {variance} {expected}");
    }
}

/// Operators of low rank are measured exactly, and it is said.
#[test]
fn low_rank_is_exact() {
    let spectrum = spectra().remove(3).1;
    let mut operator = Known::<f64>::new(&spectrum, 3);
    let found = xtrace(&mut operator, &XTrace::default(), &host_probes(300, 1), &mut go()).unwrap();
    assert_eq!((found.end, found.low, found.high), (TraceEnd::Exact, found.value, found.value));
    assert!((found.value - operator.trace()).abs() < 1e-9, "{found:?}");
    assert!(found.num_matvecs <= 16, "{}", found.num_matvecs);
    let options = HutchPlusPlus { sketch: 10, rule: fixed(4), block: 1 };
    let found = hutch_plus_plus(&mut operator, &options, &host_probes(300, 1), &mut go()).unwrap();
    assert!((found.exact_part - operator.trace()).abs() < 1e-9);
    assert!((found.value - operator.trace()).abs() < 1e-9 && found.high - found.low < 1e-9);
    // As many vectors as there are dimensions.
    let mut small = Known::<f64>::new(&[3.0, 1.0, -2.0, 5.0], 1);
    let found = xtrace(&mut small, &XTrace::default(), &host_probes(4, 1), &mut go()).unwrap();
    assert_eq!(found.end, TraceEnd::Exact);
    assert!((found.value - 7.0).abs() < 1e-10);
}

/// A tolerance is kept by the interval that is reported; easy operators take few samples, hard ones the budget.
#[test]
fn stops_when_the_interval_is_narrow_and_not_before() {
    let (easy, hard) = (vec![2.0; 300], (0..300).map(|i| f64::from(i % 2) * 2.0 - 0.99).collect::<Vec<_>>());
    let rule = Stopping { tolerance: Some(0.05), max_samples: 80, ..Stopping::default() };
    let options = Hutchinson { rule, ..Hutchinson::default() };
    let estimate = |spectrum: &[f64]| {
        let mut operator = Known::<f64>::new(spectrum, 3);
        hutchinson(&mut operator, &options, &host_probes(300, 1), &mut Vec::new(), &mut go()).unwrap()
    };
    let found = estimate(&easy);
    assert_eq!((found.end, found.num_matvecs), (TraceEnd::Tolerance, 16));
    assert!(found.high - found.low <= 0.1 * found.value);
    let found = estimate(&hard);
    assert_eq!((found.end, found.num_matvecs), (TraceEnd::Budget, 80));
    // The looks share the allowed error, so each is stricter than one alone would be.
    let looks = rule.looks();
    assert_eq!(looks.iter().map(|look| look.0).collect::<Vec<_>>(), [16, 24, 36, 54, 80]);
    let spent: f64 = looks.iter().map(|look| 1.0 - look.1).sum();
    assert!(spent < 0.05 && looks.iter().all(|look| look.1 > 0.95));
}

/// Stopped and continued, bit for bit.
#[test]
fn goes_on_where_it_stopped() {
    let spectrum = spectra().remove(0).1;
    let options = Hutchinson { rule: fixed(40), block: 3, ..Hutchinson::default() };
    let mut operator = Known::<f32>::new(&spectrum, 3);
    let probes = host_probes(300, 4);
    let whole = hutchinson(&mut operator, &options, &probes, &mut Vec::new(), &mut go()).unwrap();
    let mut samples = Vec::new();
    let stopped = hutchinson(&mut operator, &options, &probes, &mut samples, &mut |progress| {
        if progress.samples.len() >= 12 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((stopped.unwrap().end, samples.len()), (TraceEnd::Stopped, 12));
    let resumed = hutchinson(&mut operator, &options, &probes, &mut samples, &mut go()).unwrap();
    assert_eq!(whole, resumed);
}

#[test]
fn quantiles_of_students_distribution() {
    // Published values: t(0.975; df) and t(0.995; df).
    for (confidence, df, expected) in [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.95, 9, 2.2622),
        (0.95, 30, 2.0423),
        (0.99, 5, 4.0321),
        (0.99, 60, 2.6603),
        (0.95, 100_000, 1.9600),
    ] {
        let found = student_t_quantile(confidence, df);
        assert!((found - expected).abs() < 1e-3, "t({confidence}; {df}) = {found}");
    }
}

#[test]
fn intervals_by_hand() {
    // Symmetric: plain Student's t. 1, 2, 3: s/√n = 1/√3, t(2) = 4.3027.
    let interval = mean_interval(&[1.0, 2.0, 3.0], 0.95);
    assert!((interval.low - (2.0 - 4.3027 / 3f64.sqrt())).abs() < 1e-4, "{interval:?}");
    assert!((interval.high + interval.low - 4.0).abs() < 1e-9);
    // Skewed to the right: the interval reaches further up than down.
    let interval = mean_interval(&[1.0, 1.0, 1.2, 0.9, 1.1, 1.0, 4.0, 1.0], 0.95);
    assert!(interval.high - interval.mean > interval.mean - interval.low, "{interval:?}");
    let point = mean_interval(&[3.0; 5], 0.95);
    assert_eq!((point.low, point.high), (3.0, 3.0));
    assert_eq!(mean_interval(&[3.0, 4.0], 0.95).high, f64::INFINITY);
}

#[test]
fn bad_input_is_an_error() {
    let mut operator = Known::<f64>::new(&[1.0; 5], 1);
    for rule in [
        Stopping { confidence: 1.0, ..Stopping::default() },
        Stopping { tolerance: Some(0.0), ..Stopping::default() },
        Stopping { max_samples: 2, ..Stopping::default() },
    ] {
        let options = Hutchinson { rule, ..Hutchinson::default() };
        let result = hutchinson(&mut operator, &options, &host_probes(5, 1), &mut Vec::new(), &mut go());
        assert!(matches!(result, Err(Error::Configuration(_))), "{rule:?}");
    }
    let mut broken = crate::Dense(vec![vec![f64::NAN; 2]; 2]);
    let result =
        hutchinson(&mut broken, &Hutchinson::default(), &host_probes(2, 1), &mut Vec::new(), &mut go());
    assert!(matches!(result, Err(Error::Core(gnr_core::Error::NonFinite { .. }))));
}
