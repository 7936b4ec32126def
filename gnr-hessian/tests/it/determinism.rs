//! The check notices what it is for.

use crate::Dense;
use gnr_core::random::SplitMix64;
use gnr_hessian::{Error, Result, SymmetricOperator, determinism_check};

fn vectors() -> (Vec<f64>, Vec<f64>) {
    let mut random = SplitMix64::new(6);
    (random.normals(3), random.normals(3))
}

#[test]
fn a_symmetric_matrix_passes() {
    let (u, v) = vectors();
    let mut operator = Dense(vec![vec![1.0, 2.0, 3.0], vec![2.0, -1.0, 0.5], vec![3.0, 0.5, 0.0]]);
    let report = determinism_check(&mut operator, &u, &v, 0.0).unwrap();
    assert_eq!(report.repeat, 0.0);
    assert!(report.asymmetry < 1e-15);
    let zero = determinism_check(&mut Dense(vec![vec![0.0; 3]; 3]), &u, &v, 0.0).unwrap();
    assert_eq!((zero.repeat, zero.asymmetry), (0.0, 0.0));
}

#[test]
fn an_asymmetric_matrix_is_refused() {
    let (u, v) = vectors();
    let mut operator = Dense(vec![vec![1.0, 2.0, 3.0], vec![2.001, -1.0, 0.5], vec![3.0, 0.5, 0.0]]);
    let result = determinism_check(&mut operator, &u, &v, 1e-5);
    assert!(matches!(result, Err(Error::NotSymmetric { .. })), "{result:?}");
    assert!(determinism_check(&mut operator, &u, &v, 1e-2).is_ok(), "within a generous tolerance");
}

/// Another mini-batch at each product.
struct Drifting(f64);

impl SymmetricOperator for Drifting {
    type Vector = Vec<f64>;
    fn dim(&self) -> usize {
        3
    }
    fn matvec(&mut self, v: &Vec<f64>) -> Result<Vec<f64>> {
        self.0 += 1e-6;
        Ok(v.iter().map(|v| self.0 * v).collect())
    }
}

#[test]
fn a_moving_operator_is_refused() {
    let (u, v) = vectors();
    let result = determinism_check(&mut Drifting(1.0), &u, &v, 1e-7);
    assert!(matches!(result, Err(Error::NotDeterministic { .. })), "{result:?}");
}
