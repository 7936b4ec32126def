//! The conformance suite of optimisers.

use super::super::{Problem, Quadratic};
use crate::{Checkpoint, Error, Leaf, Leaves, Optimizer, Result};

/// Checks an optimiser over `Vec<f64>`. The optimiser must minimise a quadratic with learning rate `lr`, be
/// deterministic, and refuse wrong dimensions before θ changes. Its checkpoint must resume bit for bit after any number
/// of steps, none included.
///
/// The optimiser gets the diagonal of the Hessian ([`Optimizer::curvature`]) before every other step, the first
/// included.
///
/// `make` gives a fresh optimiser whose weight decay, if any, is too weak to hide the minimum at 0.
///
/// # Panics
/// When the optimiser does not conform.
pub fn check_optimizer<P: Optimizer<Vec<f64>>>(make: impl Fn() -> P, lr: f64) {
    let run = || -> Result<()> {
        descends(&mut make(), lr)?;
        resumes(&make, lr)?;
        resumes_after_an_estimate(&make, lr)?;
        refuses_estimates(&make, lr)
    };
    if let Err(error) = run() {
        panic!("the optimiser failed: {error}");
    }
    refuses(&mut make(), lr);
    keeps_state_on_bad_checkpoint(&make, lr);
}

const START: [f64; 3] = [1.0, -2.0, 0.5];
/// The diagonal of the quadratic's Hessian.
const DIAGONAL: [f64; 3] = [1.0, 0.5, 2.0];

fn advance<P: Optimizer<Vec<f64>>>(
    optimizer: &mut P,
    theta: &mut Vec<f64>,
    lr: f64,
    steps: usize,
) -> Result<()> {
    let problem = Quadratic::diagonal(&DIAGONAL);
    for step in 0..steps {
        if step % 2 == 0 {
            optimizer.curvature(&DIAGONAL.to_vec())?;
        }
        let (_, grad) = problem.value_and_gradient(theta);
        optimizer.step(theta, &grad, lr)?;
    }
    Ok(())
}

fn descends<P: Optimizer<Vec<f64>>>(optimizer: &mut P, lr: f64) -> Result<()> {
    let mut theta = START.to_vec();
    let problem = Quadratic::diagonal(&DIAGONAL);
    let (before, _) = problem.value_and_gradient(&theta);
    advance(optimizer, &mut theta, lr, 2000)?;
    let (after, _) = problem.value_and_gradient(&theta);
    assert!(after < 1e-2 * before, "2000 steps on a quadratic: the loss went from {before} to {after}");
    Ok(())
}

fn saved<P: Checkpoint<Vec<f64>>>(optimizer: &P) -> Result<Leaves<Vec<f64>>> {
    let mut leaves = Leaves::new();
    optimizer.save(&mut leaves)?;
    Ok(leaves)
}

fn resumes<P: Optimizer<Vec<f64>>>(make: &impl Fn() -> P, lr: f64) -> Result<()> {
    for steps in [0, 1, 7] {
        let (mut whole, mut theta) = (make(), START.to_vec());
        advance(&mut whole, &mut theta, lr, steps)?;
        let mut leaves = saved(&whole)?;
        let mut resumed = make();
        advance(&mut resumed, &mut START.to_vec(), lr, 3)?; // whatever it held must go
        resumed.load(&mut leaves)?;
        assert_eq!(saved(&resumed)?, leaves, "saving after loading gives other leaves ({steps} steps)");
        let mut other = theta.clone();
        advance(&mut whole, &mut theta, lr, 5)?;
        advance(&mut resumed, &mut other, lr, 5)?;
        assert_eq!(theta, other, "5 steps after resuming from step {steps} differ");
        assert_eq!(
            saved(&resumed)?,
            saved(&whole)?,
            "states 5 steps after resuming from step {steps} differ"
        );
    }
    Ok(())
}

/// Saves after an estimate that no step has used yet, before the first step as well: the estimate must be in the state.
fn resumes_after_an_estimate<P: Optimizer<Vec<f64>>>(make: &impl Fn() -> P, lr: f64) -> Result<()> {
    for steps in [0, 3] {
        let (mut whole, mut theta) = (make(), START.to_vec());
        advance(&mut whole, &mut theta, lr, steps)?;
        whole.curvature(&vec![3.0, -1.0, 0.25])?;
        let mut leaves = saved(&whole)?;
        let mut resumed = make();
        resumed.load(&mut leaves)?;
        assert_eq!(
            saved(&resumed)?,
            leaves,
            "saving after loading an estimate gives other leaves ({steps} steps)"
        );
        let mut other = theta.clone();
        for (optimizer, point) in [(&mut whole, &mut theta), (&mut resumed, &mut other)] {
            optimizer.step(point, &vec![0.5, -0.25, 1.0], lr)?;
        }
        assert_eq!(theta, other, "the step after an estimate differs, resumed at step {steps}");
    }
    Ok(())
}

fn refuses<P: Optimizer<Vec<f64>>>(optimizer: &mut P, lr: f64) {
    let mut theta = START.to_vec();
    let result = optimizer.step(&mut theta, &vec![1.0; 2], lr);
    let refused = matches!(result, Err(Error::DimensionMismatch { .. }));
    assert!(
        refused,
        "a direction of dimension 2 for θ of 3 must be Error::DimensionMismatch, got {result:?}"
    );
    assert_eq!(theta, START, "θ changed although the step was refused");
}

/// An optimiser that keeps estimates must refuse one of another dimension, and keep nothing of it.
fn refuses_estimates<P: Optimizer<Vec<f64>>>(make: &impl Fn() -> P, lr: f64) -> Result<()> {
    for steps in [1, 2] {
        let mut optimizer = make();
        advance(&mut optimizer, &mut START.to_vec(), lr, steps)?;
        let before = saved(&optimizer)?;
        let result = optimizer.curvature(&vec![1.0; 2]);
        assert!(
            matches!(result, Ok(()) | Err(Error::DimensionMismatch { .. })),
            "an estimate of dimension 2 for θ of 3 must be Error::DimensionMismatch, got {result:?}"
        );
        assert_eq!(saved(&optimizer)?, before, "an estimate of another dimension changed the state");
        optimizer.curvature(&DIAGONAL.to_vec())?;
        let keeps = saved(&optimizer)? != before;
        assert!(result.is_err() || !keeps, "an estimate of dimension 2 for θ of 3 was not refused");
    }
    Ok(())
}

/// Replaces each leaf in turn by one of the wrong type: loading must fail and keep the state.
fn keeps_state_on_bad_checkpoint<P: Optimizer<Vec<f64>>>(make: &impl Fn() -> P, lr: f64) {
    let prepared = || -> Result<_> {
        let mut optimizer = make();
        advance(&mut optimizer, &mut START.to_vec(), lr, 2)?;
        let leaves = saved(&optimizer)?;
        Ok((optimizer, leaves))
    };
    let Ok((mut optimizer, leaves)) = prepared() else { panic!("two steps and a save failed") };
    for (name, leaf) in &leaves {
        let mut bad = leaves.clone();
        let wrong = match leaf {
            Leaf::Vector(_) | Leaf::Table(_) => Leaf::Count(3),
            Leaf::Count(_) => Leaf::Vector(START.to_vec()),
        };
        bad.insert(name.clone(), wrong);
        match optimizer.load(&mut bad) {
            Err(Error::CheckpointLeaf { name: found, .. }) => {
                assert_eq!(&found, name, "the error names another leaf")
            }
            other => panic!("leaf `{name}` of the wrong type must be Error::CheckpointLeaf, got {other:?}"),
        }
        assert!(saved(&optimizer).is_ok_and(|now| now == leaves), "a refused checkpoint changed the state");
    }
}
