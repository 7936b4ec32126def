//! The conformance suite of oracles that know their examples one by one.

use super::Tolerances;
use crate::{
    Error, ExampleOracle, Order, OutputOracle, Outputs, Pass, Point, Result, Vector, random::SplitMix64,
};

/// Whether the loss of an example depends on the others of its batch, as with the batch statistics of BatchNorm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// The loss of an example does not depend on the others.
    Apart,
    /// The loss of an example depends on the batch.
    ByBatch,
}

/// Checks losses, selections, outputs and their derivative at a point, against each other and against L̂ and its
/// gradient.
///
/// `v` is a direction of about length 1 along which the outputs change and are smooth.
///
/// # Panics
/// When the oracle does not conform.
pub fn check_examples<O>(
    oracle: &mut O,
    at: &O::Vector,
    v: &O::Vector,
    coupling: Coupling,
    tolerances: Tolerances,
) where
    O: ExampleOracle + OutputOracle,
{
    if let Err(error) = check(oracle, at, v, coupling, tolerances) {
        panic!("the oracle failed: {error}");
    }
}

fn check<O>(
    oracle: &mut O,
    at: &O::Vector,
    v: &O::Vector,
    coupling: Coupling,
    tolerances: Tolerances,
) -> Result<()>
where
    O: ExampleOracle + OutputOracle,
{
    let close = |found: f64, expected: f64, scale: f64, what: &str| {
        let allowed = 100.0 * tolerances.rounding * scale.max(expected.abs());
        assert!((found - expected).abs() <= allowed, "{what}: {found}, expected {expected} ± {allowed:e}");
    };
    for early in [oracle.losses(Point::Committed).map(drop), oracle.outputs(Point::Committed).map(drop)] {
        assert!(matches!(early, Err(Error::Oracle(_))), "the committed point before there is one: {early:?}");
    }
    let committed = oracle.evaluate(at, Pass::Commit, Order::First)?;
    let losses = oracle.losses(Point::Committed)?;
    let n = losses.len();
    assert!(n >= 4, "the suite needs four examples or more, found {n}");
    close(losses.iter().sum::<f64>() / n as f64, committed.loss, 1.0, "mean loss of the examples");
    for (row, (found, expected)) in oracle.losses(Point::At(at))?.iter().zip(&losses).enumerate() {
        close(*found, *expected, 1.0, &format!("loss {row} of a probe"));
    }
    let outputs = oracle.outputs(Point::Committed)?;
    assert_eq!(outputs.num_rows(), n, "rows of outputs");
    for (found, expected) in oracle.outputs(Point::At(at))?.values().iter().zip(outputs.values()) {
        close(*found, *expected, 1.0, "output of a probe");
    }
    match oracle.examples() {
        Ok(examples) => assert_eq!(examples.len(), n, "numbers of the examples"),
        Err(Error::Oracle(_)) => {} // not known
        Err(other) => return Err(other),
    }

    // Selections: of neighbours, of rows apart, and of all rows.
    for rows in [vec![0], vec![1, n - 1], vec![0, 1, 3], (0..n).collect()] {
        let share = oracle.select(Some(&rows))?;
        close(share, rows.len() as f64 / n as f64, 0.0, "share of a selection");
        let own = oracle.losses(Point::At(at))?;
        assert_eq!(own.len(), rows.len(), "losses of a selection");
        let here = oracle.evaluate(at, Pass::Probe, Order::First)?;
        close(own.iter().sum::<f64>() / own.len() as f64, here.loss, 1.0, "mean loss of a selection");
        if coupling == Coupling::Apart {
            for (row, found) in rows.iter().zip(&own) {
                close(*found, losses[*row], 1.0, &format!("loss {row} in a selection"));
            }
        }
        oracle.select(None)?;
        close(oracle.loss(at)?, committed.loss, 1.0, "the loss of the whole batch again");
    }
    for bad in [vec![], vec![n], vec![0, n + 7]] {
        let refused = oracle.select(Some(&bad));
        assert!(matches!(refused, Err(Error::Oracle(_))), "rows {bad:?} of {n}: {refused:?}");
    }
    close(oracle.loss(at)?, committed.loss, 1.0, "the loss after refusals");

    // The derivative of ⟨u, outputs⟩ along v must be ⟨Jᵀu, v⟩.
    let mut random = SplitMix64::new(17);
    let u = Outputs::new(outputs.width(), random.normals(outputs.values().len()))?;
    let found = oracle.pull_back(at, &u)?.dot(v)?;
    let step = tolerances.rounding.cbrt().min(1e-2);
    let mut along = |step: f64| -> Result<f64> {
        let mut there = at.clone();
        there.axpy(step, v)?;
        let outputs = oracle.outputs(Point::At(&there))?;
        Ok(u.values().iter().zip(outputs.values()).map(|(u, z)| u * z).sum())
    };
    let difference = (along(step)? - along(-step)?) / (2.0 * step);
    assert!(difference.abs() > 1e-3, "the outputs do not change along v: the test could not fail");
    // The error of a difference: ε² of the third derivative, and rounding by ε.
    let allowed = 10.0 * step * step * difference.abs().max(1.0) + 10.0 * tolerances.rounding / step;
    assert!(
        (found - difference).abs() <= allowed,
        "Jᵀu along v: {found}, difference {difference} ± {allowed:e}"
    );
    let mut twice = u.clone();
    twice.append(u)?;
    assert!(oracle.pull_back(at, &twice).is_err(), "factors of twice as many rows");
    Ok(())
}
