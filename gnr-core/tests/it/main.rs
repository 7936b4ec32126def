//! The specification of gnr-core, one module a subject.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod adapters;
mod averages;
mod checkpoints;
mod failed_steps;
mod failures;
mod golden;
mod groups;
mod leafy;
mod matrix;
mod measures;
mod optimizers;
mod problems;
mod rank_rows;
mod ranks;
mod registry;
mod regularizer_matrix;
mod regularizer_relations;
mod regularizers;
mod sam_variants;
mod schedules;
mod second_order;
mod vectors;

use gnr_core::{
    Clip, Method, Result,
    testing::{Problem, ProblemOracle},
};

/// `regularizer` over plain SGD without clipping.
fn plain<R>(regularizer: R, lr: f64) -> Method<R, gnr_core::Sgd<Vec<f64>>, f64> {
    Method { regularizer, optimizer: gnr_core::Sgd::new(), learning_rate: lr, clip: Clip::None }
}

fn oracle<P: Problem>(problem: P) -> ProblemOracle<P> {
    ProblemOracle::new(problem)
}

/// Asserts that each element is within `tolerance` of its expected value.
#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "lengths");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "[{i}]: {found}, expected {expected} ± {tolerance:e}");
    }
}

fn sub(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x - y).collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The slope of log y over log x by least squares.
fn log_log_slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let logs: Vec<_> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let (mx, my) = logs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (top, bottom) =
        logs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + (x - mx) * (y - my), b + (x - mx) * (x - mx)));
    top / bottom
}

/// Unwraps a result in a test, with the error's message.
#[track_caller]
fn ok<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
