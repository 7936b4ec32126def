//! R_SAM and R_GNR satisfy the propositions of the paper.

use crate::{ok, oracle};
use gnr_core::{
    measure::{LowerBound, Search, SearchMethod, r_gnr, r_sam},
    random::{SplitMix64, UnitBall},
    testing::{Cosine1d, Problem, Quadratic, TanhMlp},
};
use std::f64::consts::PI;

fn both(
    problem: impl Problem + Clone,
    theta: &Vec<f64>,
    rho: f64,
    starts: usize,
) -> (LowerBound, LowerBound) {
    let ball = || UnitBall::<f64>::new(theta.len(), 1).take(starts);
    let search = |starts| Search::MultiStart { starts, steps: 100 };
    (
        ok(r_sam(&mut oracle(problem.clone()), theta, rho, search(&mut ball()))),
        ok(r_gnr(&mut oracle(problem), theta, rho, search(&mut ball()))),
    )
}

/// Figure 1a: R_SAM cannot tell the flat minimum from the sharp one, R_GNR can.
#[test]
fn figure_1a() {
    for frequency in [1.0, 3.0] {
        let (sam, gnr) = both(Cosine1d { frequency }, &vec![0.0], 1.0, 10);
        // Ascent by step halving ends within rounding of a smooth maximum.
        assert!((sam.value - 2.0).abs() < 1e-9, "R_SAM = {sam:?}");
        assert!((gnr.value - frequency * PI).abs() < 1e-9, "R_GNR = {gnr:?}");
        assert!(sam.distance <= 1.0 && gnr.distance <= 1.0);
    }
}

/// Proposition 2.1: at a minimum (or any critical point) of a quadratic, R_GNR/ρ² = |λ|max.
#[test]
fn proposition_2_1() {
    for (spectrum, dominant) in [([5.0, 2.0, 1.0, 0.1], 5.0), ([1.0, -4.0, 2.0, 0.0], 4.0)] {
        for rho in [0.01, 1.0] {
            let (sam, gnr) = both(Quadratic::with_spectrum(&spectrum, 3), &vec![0.0; 4], rho, 5);
            assert!((gnr.value / (rho * rho) - dominant).abs() < 1e-6 * dominant, "{gnr:?}");
            let top = spectrum.into_iter().fold(f64::MIN, f64::max);
            assert!((sam.value / (rho * rho) - top / 2.0).abs() < 1e-6 * top, "{sam:?}");
        }
    }
}

/// Proposition 2.4: R_GNR ≥ R_SAM for the exact maxima, which one-dimensional searches find.
#[test]
fn proposition_2_4() {
    for frequency in [0.3, 1.0, 2.0, 3.0] {
        for theta in [-0.4, 0.0, 0.1, 0.7] {
            for rho in [0.05, 0.5, 1.0] {
                let (sam, gnr) = both(Cosine1d { frequency }, &vec![theta], rho, 20);
                assert!(gnr.value >= sam.value * (1.0 - 1e-12), "θ = {theta}, ρ = {rho}: {gnr:?} < {sam:?}");
            }
        }
    }
}

/// More search never finds less, and reports how many points it looked at.
#[test]
fn searches_are_ordered_and_honest() {
    let problem = TanhMlp::random(20, 3, 5, 1);
    let theta = SplitMix64::new(2).normals(problem.dim());
    let (_, gradient) = problem.value_and_gradient(&theta);
    let (rho, mut starts) = (0.5, UnitBall::<f64>::new(theta.len(), 7).take(3));
    let one = ok(r_gnr(&mut oracle(&problem), &theta, rho, Search::OneStep));
    let ascent = ok(r_gnr(&mut oracle(&problem), &theta, rho, Search::Ascent { steps: 30 }));
    let search = Search::MultiStart { starts: &mut starts, steps: 30 };
    let multi = ok(r_gnr(&mut oracle(&problem), &theta, rho, search));
    assert!(one.value >= rho * crate::norm(&gradient), "θ itself is in the ball");
    // The first trial of the ascent is the one step; every point looked at is counted, accepted or not.
    assert!(ascent.value >= one.value && multi.value >= ascent.value);
    assert_eq!((one.method, one.evaluations, one.products), (SearchMethod::OneStep, 2, 1));
    assert_eq!((ascent.method, ascent.evaluations), (SearchMethod::Ascent, 31));
    assert_eq!((multi.method, multi.evaluations), (SearchMethod::MultiStart, 4 * 31));
    // A multi-start search is the best of its parts.
    let parts = UnitBall::new(theta.len(), 7).take(3).map(|start| {
        let part = ok(r_gnr(&mut oracle(&problem), &theta, rho, Search::AscentFrom { start, steps: 30 }));
        assert_eq!((part.method, part.evaluations), (SearchMethod::Ascent, 31));
        part.value
    });
    assert_eq!(parts.fold(ascent.value, f64::max), multi.value);
    let sam = ok(r_sam(&mut oracle(&problem), &theta, rho, Search::OneStep));
    assert_eq!((sam.evaluations, sam.products), (3, 0));
}

/// A one-step search at an exact critical point has no direction and reports the value at θ.
#[test]
fn a_critical_point_needs_starts() {
    let theta = vec![0.0, 0.0];
    let one = ok(r_gnr(&mut oracle(Quadratic::diagonal(&[1.0, 2.0])), &theta, 0.1, Search::OneStep));
    assert_eq!((one.value, one.distance), (0.0, 0.0));
    assert!(r_gnr(&mut oracle(Quadratic::diagonal(&[1.0])), &vec![0.0], 0.0, Search::OneStep).is_err());
}

/// θ is in the ball, so a search that looks at lower points alone still has the loss at θ.
#[test]
fn the_rise_of_the_loss_is_never_negative() {
    let search = Search::AscentFrom { start: vec![-1.0], steps: 0 };
    let found = ok(r_sam(&mut oracle(Quadratic::diagonal(&[2.0])), &vec![1.0], 0.5, search));
    assert_eq!((found.value, found.distance), (0.0, 0.0));
}

#[test]
fn the_unit_ball_is_seeded_and_uniform() {
    let points: Vec<Vec<f64>> = UnitBall::new(2, 5).take(4000).collect();
    assert_eq!(points, UnitBall::<f64>::new(2, 5).take(4000).collect::<Vec<_>>());
    assert!(points.iter().all(|p| crate::norm(p) <= 1.0));
    // A quarter of the disc's area lies within half its radius: 4000 draws have a standard deviation of 0.7 %.
    let inner = points.iter().filter(|p| crate::norm(p) < 0.5).count() as f64 / 4000.0;
    assert!((inner - 0.25).abs() < 0.03, "{inner}");
    let mean_x = points.iter().map(|p| p[0]).sum::<f64>() / 4000.0;
    assert!(mean_x.abs() < 0.03, "{mean_x}"); // standard deviation 0.5/√4000 = 0.008
}
