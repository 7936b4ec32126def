//! Dominant eigenpairs against known spectra.

use crate::{Dense, jacobi};
use gnr_core::{
    GradOracle, Order, Pass,
    random::SplitMix64,
    testing::{Problem, ProblemOracle, Quadratic, TanhMlp},
};
use gnr_hessian::{
    Eigenpair, Error, Hessian, PowerIteration, SymmetricOperator, Verdict, dominant_eigenpairs,
    power_iteration,
};
use std::f64::consts::PI;

const OPTIONS: PowerIteration = PowerIteration { num_matvecs: 2000, tolerance: 1e-9 };

fn starts(dim: usize) -> impl Iterator<Item = Vec<f64>> {
    let mut random = SplitMix64::new(1);
    std::iter::repeat_with(move || random.normals(dim))
}

fn values(pairs: &[Eigenpair<Vec<f64>>]) -> Vec<f64> {
    pairs.iter().map(|pair| pair.value).collect()
}

/// Every pair converged, with an eigenvalue to `tolerance` and an honest residual and unit vector.
fn check(operator: &mut impl SymmetricOperator<Vector = Vec<f64>>, expected: &[f64], tolerance: f64) {
    let pairs = dominant_eigenpairs(operator, expected.len(), starts(operator.dim()), OPTIONS).unwrap();
    for (pair, expected) in pairs.iter().zip(expected) {
        assert!(pair.converged(), "{pair:?}");
        assert!((pair.value - expected).abs() <= tolerance, "{} instead of {expected}", pair.value);
        let product = operator.matvec(&pair.vector).unwrap();
        let residual: f64 =
            product.iter().zip(&pair.vector).map(|(hv, v)| (hv - pair.value * v).powi(2)).sum::<f64>().sqrt();
        // Rounding of a unit vector times |λ₁| is all that may lie between the two.
        assert!(
            (residual - pair.residual).abs() < 1e-13 * expected.abs().max(pairs[0].value.abs()),
            "{pair:?}"
        );
        let norm: f64 = pair.vector.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-13);
    }
}

#[test]
fn finds_the_spectrum_of_a_quadratic() {
    let spectrum = [7.0, -5.0, 3.0, -1.5, 0.8, 0.1];
    let mut oracle = ProblemOracle::new(Quadratic::with_spectrum(&spectrum, 4));
    let theta = vec![0.3; 6];
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    // Rayleigh quotients are off by residual²/gap only, but a residual's bound is what is promised: 1e-9·7.
    check(&mut Hessian::new(&mut oracle, &here), &spectrum, 7e-9);
}

/// The second difference on n points has the eigenvalues 2 − 2 cos(kπ/(n + 1)).
#[test]
fn finds_the_spectrum_of_the_discrete_laplacian() {
    let n = 12;
    let row = |i: usize| (0..n).map(|j| [2.0, -1.0, 0.0][i.abs_diff(j).min(2)]).collect();
    let expected: Vec<_> = (0..4).map(|k| 2.0 - 2.0 * ((n - k) as f64 * PI / (n + 1) as f64).cos()).collect();
    check(&mut Dense((0..n).map(row).collect()), &expected, 4e-9);
}

/// A network's Hessian, indefinite, against all eigenvalues of its dense form.
#[test]
fn finds_the_dominant_eigenvalues_of_a_network() {
    let problem = TanhMlp::random(15, 2, 3, 5);
    let theta = SplitMix64::new(3).normals(problem.dim());
    let expected = jacobi(problem.hessian(&theta));
    let mut oracle = ProblemOracle::new(problem);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    check(&mut Hessian::new(&mut oracle, &here), &expected[..4], 1e-8);
    assert!(expected.iter().any(|&lambda| lambda < 0.0), "the point should not be a minimum: {expected:?}");
}

/// A repeated eigenvalue is found as often as it occurs; a zero one is found, too.
#[test]
fn repeated_and_zero_eigenvalues() {
    let spectrum = [2.0, 2.0, 2.0, 0.0];
    check(&mut Dense(Quadratic::with_spectrum(&spectrum, 8).hessian(&[0.0; 4])), &spectrum, 1e-8);
    let zero = power_iteration(&mut Dense(vec![vec![0.0; 2]; 2]), vec![1.0, 1.0], OPTIONS).unwrap();
    assert_eq!(
        (zero.value, zero.residual, zero.num_matvecs, zero.verdict),
        (0.0, 0.0, 1, Verdict::Converged)
    );
}

/// λ and −λ: the iterates never settle, and the verdict does not pretend they do.
#[test]
fn a_tie_in_modulus_is_reported() {
    let mut operator = Dense(vec![vec![1.0, 0.0], vec![0.0, -1.0]]);
    let pair = power_iteration(&mut operator, vec![1.0, 0.5], PowerIteration::default()).unwrap();
    assert_eq!((pair.verdict, pair.num_matvecs), (Verdict::BudgetExhausted, 100));
    assert!(pair.residual > 0.5);
}

#[test]
fn the_budget_is_kept() {
    for num_matvecs in [1, 5, 17] {
        let mut operator = Dense(Quadratic::with_spectrum(&[1.0, 0.99, 0.98], 2).hessian(&[0.0; 3]));
        let options = PowerIteration { num_matvecs, tolerance: 1e-12 };
        let pair = power_iteration(&mut operator, vec![1.0, 2.0, 3.0], options).unwrap();
        assert_eq!((pair.num_matvecs, pair.verdict), (num_matvecs, Verdict::BudgetExhausted));
    }
}

#[test]
fn bad_input_is_an_error() {
    let mut operator = Dense(vec![vec![2.0, 0.0], vec![0.0, 1.0]]);
    let zero = power_iteration(&mut operator, vec![0.0; 2], OPTIONS);
    assert!(matches!(zero, Err(Error::DegenerateStart { index: 0 })), "{zero:?}");
    let same = dominant_eigenpairs(&mut operator, 2, vec![vec![1.0, 0.0]; 2], OPTIONS);
    assert!(matches!(same, Err(Error::DegenerateStart { index: 1 })), "{same:?}");
    let many = dominant_eigenpairs(&mut operator, 3, starts(2), OPTIONS);
    assert!(matches!(many, Err(Error::TooManyEigenpairs { asked: 3, dim: 2 })), "{many:?}");
    let few = dominant_eigenpairs(&mut operator, 2, starts(2).take(1), OPTIONS);
    assert!(matches!(few, Err(Error::MissingStart { expected: 2, found: 1 })), "{few:?}");
    let mut broken = Dense(vec![vec![f64::NAN, 0.0], vec![0.0, 1.0]]);
    let nan = power_iteration(&mut broken, vec![1.0, 1.0], OPTIONS);
    assert!(matches!(nan, Err(Error::Core(gnr_core::Error::NonFinite { .. }))), "{nan:?}");
    assert!(values(&dominant_eigenpairs(&mut operator, 0, starts(2), OPTIONS).unwrap()).is_empty());
}
