//! Landscapes, extrema, filter normalisation and trajectories against closed forms.

use gnr_core::{
    GradOracle,
    testing::{ProblemOracle, Quadratic},
};
use gnr_hessian::{
    Error, Extrema, Scaling, SmallTensors, Subspace, count_extrema, host_probes, linspace,
    principal_directions, scale_direction,
    worked_example::{Cosine, examples},
};
use proptest::prelude::*;
use std::f64::consts::PI;

fn counts(values: &[f64], resolution: f64) -> (usize, usize) {
    let Extrema { minima, maxima } = count_extrema(values, resolution).unwrap();
    (minima, maxima)
}

#[test]
fn extrema_of_simple_sequences() {
    for (values, resolution, expected) in [
        (&[][..], 0.0, (0, 0)),
        (&[1.0], 0.0, (0, 0)),
        (&[1.0, 2.0, 3.0], 0.0, (0, 0)),
        (&[3.0, 2.0, 1.0], 0.0, (0, 0)),
        (&[1.0, 0.0, 1.0], 0.0, (1, 0)),
        (&[0.0, 1.0, 0.0], 0.0, (0, 1)),
        (&[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], 0.0, (1, 1)),
        (&[2.0, 2.0, 2.0], 0.0, (0, 0)),
        // A wave on a slope: seen or not, by its height.
        (&[0.0, 1.0, 0.9, 2.0, 1.9, 3.0], 0.05, (2, 2)),
        (&[0.0, 1.0, 0.9, 2.0, 1.9, 3.0], 0.2, (0, 0)),
        // A turn lies at the extreme, whatever the noise beside it.
        (&[1.0, 0.0, 0.01, 0.0, 1.0], 0.1, (1, 0)),
        // A first dip that is too small is none.
        (&[1.0, 0.95, 2.0], 0.1, (0, 0)),
    ] {
        assert_eq!(counts(values, resolution), expected, "{values:?} at {resolution}");
    }
    assert!(count_extrema(&[0.0, f64::NAN], 0.0).is_err() && count_extrema(&[0.0], -1.0).is_err());
}

/// A cosine of k periods on [−1, 1] has k maxima and k minima but for those at the ends, at any grid that resolves
/// them.
#[test]
fn extrema_of_a_cosine_do_not_depend_on_the_grid() {
    for points in [41, 101, 401, 4001] {
        let values: Vec<f64> =
            linspace(-1.0, 1.0, points).into_iter().map(|t| Cosine::SHARP.value(t)).collect();
        // Maxima at ±1/3 and (the ends) ±1, minima at 0 and ±2/3.
        assert_eq!(counts(&values, 0.0), (3, 2), "{points} points");
    }
}

proptest! {
    /// The turns of the reversed and of the negated sequence are the same, and a coarser resolution sees no more of
    /// them.
    #[test]
    fn extrema_are_symmetric(values in prop::collection::vec(-4_i8..4, 0..30), resolution in 0_u8..5) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let resolution = f64::from(resolution);
        let (minima, maxima) = counts(&values, resolution);
        let reversed: Vec<f64> = values.iter().rev().copied().collect();
        let negated: Vec<f64> = values.iter().map(|x| -x).collect();
        prop_assert_eq!(counts(&reversed, resolution), (minima, maxima));
        prop_assert_eq!(counts(&negated, resolution), (maxima, minima));
        prop_assert!(minima.abs_diff(maxima) <= 1);
        let (coarse_minima, coarse_maxima) = counts(&values, resolution + 1.0);
        prop_assert!(coarse_minima <= minima && coarse_maxima <= maxima);
    }
}

/// On a quadratic the loss in a plane is a polynomial that is known.
#[test]
fn a_plane_through_a_quadratic() {
    let mut oracle = ProblemOracle::<_, f64>::new(Quadratic::diagonal(&[1.0, -3.0, 2.0]));
    let plane = Subspace::new(vec![0.0, 0.0, 1.0], vec![vec![1.0, 0.0, 0.0], vec![1.0, 2.0, 0.0]]).unwrap();
    for a in linspace(-1.0, 1.0, 5) {
        for b in linspace(-1.0, 1.0, 5) {
            let expected = 0.5 * ((a + b).powi(2) - 3.0 * (2.0 * b).powi(2) + 2.0);
            assert!((plane.loss(&mut oracle, &[a, b]).unwrap() - expected).abs() < 1e-14);
        }
    }
    assert_eq!(plane.loss(&mut oracle, &[]).unwrap(), oracle.loss(plane.origin()).unwrap());
    assert!(matches!(Subspace::new(vec![0.0], vec![]), Err(Error::Configuration(_))));
    assert!(Subspace::new(vec![0.0], vec![vec![0.0]]).is_err());
    assert!(Subspace::new(vec![0.0], vec![vec![0.0, 1.0]]).is_err());
}

/// Least squares in skewed axes: points of the plane have their own coordinates and distance 0, others are Pythagoras'.
#[test]
fn projections() {
    let plane = Subspace::new(vec![1.0, 1.0, 1.0], vec![vec![1.0, 0.0, 0.0], vec![3.0, 4.0, 0.0]]).unwrap();
    let (coordinates, distance) = plane.project(&plane.point(&[-2.0, 0.5]).unwrap()).unwrap();
    assert!((coordinates[0] + 2.0).abs() < 1e-12 && (coordinates[1] - 0.5).abs() < 1e-12 && distance < 1e-12);
    let (coordinates, distance) = plane.project(&vec![1.0, 5.0, 8.0]).unwrap();
    assert!((coordinates[0] + 3.0).abs() < 1e-12 && (coordinates[1] - 1.0).abs() < 1e-12);
    assert!((distance - 7.0).abs() < 1e-12);
    // The same axis twice: half each.
    let twice = Subspace::new(vec![0.0], vec![vec![2.0], vec![2.0]]).unwrap();
    let (coordinates, _) = twice.project(&vec![4.0]).unwrap();
    assert!(coordinates.iter().all(|c| (c - 1.0).abs() < 1e-12), "{coordinates:?}");
}

#[test]
fn equidistant_numbers() {
    assert_eq!(linspace(-1.0, 1.0, 5), [-1.0, -0.5, 0.0, 0.5, 1.0]);
    assert_eq!((linspace(0.3, 0.7, 1), linspace(0.0, 1.0, 0)), (vec![0.3], vec![]));
    let tenths = linspace(0.0, 0.1, 11);
    assert_eq!((tenths[0], tenths[10], tenths[1]), (0.0, 0.1, 0.01));
}

/// A convolution `[2, 1, 2]`, a bias `[2]`, a linear map `[2, 2]`.
#[test]
fn filter_normalisation() {
    let shapes = [vec![2, 1, 2], vec![2], vec![2, 2]];
    let theta = [vec![3.0, 4.0, 0.0, 0.0], vec![1.0, 0.0], vec![0.0, 2.0, 5.0, 12.0]];
    let start = [vec![1.0, 0.0, 1.0, 1.0], vec![0.6, 0.8], vec![0.0, 0.0, 1.0, 0.0]];
    let scaled = |scaling, small| {
        let mut direction = start.clone();
        scale_direction(&mut direction, &theta, &shapes, scaling, small).unwrap();
        direction
    };
    assert_eq!(
        scaled(Scaling::Filter, SmallTensors::Fixed),
        [vec![5.0, 0.0, 0.0, 0.0], vec![0.0, 0.0], vec![0.0, 0.0, 13.0, 0.0]]
    );
    assert_eq!(scaled(Scaling::Filter, SmallTensors::Scaled)[1], [0.6, 0.8]);
    let layer = scaled(Scaling::Layer, SmallTensors::Fixed);
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((norm(&layer[0]) - 5.0).abs() < 1e-12 && (norm(&layer[2]) - 173_f64.sqrt()).abs() < 1e-12);
    let unit = scaled(Scaling::Unit, SmallTensors::Fixed);
    assert!((norm(&unit.concat()) - 1.0).abs() < 1e-15 && unit[1][0] > 0.0, "every tensor moves");

    let mut zero = [vec![0.0; 4], vec![1.0, 1.0], vec![0.0; 4]];
    assert!(scale_direction(&mut zero, &theta, &shapes, Scaling::Filter, SmallTensors::Fixed).is_err());
    assert!(scale_direction(&mut zero[..2], &theta, &shapes, Scaling::Filter, SmallTensors::Fixed).is_err());
}

/// Scaling a filter of θ by c and the direction's step alike leaves the network's function along the line the same: the
/// direction follows θ's scale, and its own does not matter.
#[test]
fn filter_normalisation_follows_theta() {
    let shapes = [vec![3, 4]];
    let theta = [host_probes::<f64>(12, 1).draw(gnr_hessian::Distribution::Gaussian, 0).unwrap()];
    let direction = host_probes::<f64>(12, 2).draw(gnr_hessian::Distribution::Gaussian, 0).unwrap();
    let mut larger = theta.clone();
    larger[0][..4].iter_mut().for_each(|x| *x *= 8.0);
    let scaled = |theta: &[Vec<f64>], factor: f64| {
        let mut direction = [direction.iter().map(|x| factor * x).collect::<Vec<f64>>()];
        scale_direction(&mut direction, theta, &shapes, Scaling::Filter, SmallTensors::Fixed).unwrap();
        direction[0].clone()
    };
    let (plain, followed) = (scaled(&theta, 1.0), scaled(&larger, 0.1));
    for (index, (a, b)) in plain.iter().zip(&followed).enumerate() {
        let factor = if index < 4 { 8.0 } else { 1.0 };
        assert!((factor * a - b).abs() < 1e-12 * b.abs());
    }
}

/// An ellipse in a plane of ℝ⁵⁰: its axes are the principal directions, their variances as a² : b².
#[test]
fn principal_directions_of_an_ellipse() {
    let draw = |index| host_probes::<f64>(50, 3).draw(gnr_hessian::Distribution::Gaussian, index).unwrap();
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
    let unit = |mut x: Vec<f64>| {
        let norm = dot(&x, &x).sqrt();
        x.iter_mut().for_each(|x| *x /= norm);
        x
    };
    let u = unit(draw(0));
    let mut v = draw(1);
    let overlap = dot(&u, &v);
    v.iter_mut().zip(&u).for_each(|(v, u)| *v -= overlap * u);
    let (v, centre) = (unit(v), draw(2));
    let points: Vec<Vec<f64>> = (0..16)
        .map(|k| {
            let (sin, cos) = (2.0 * PI * f64::from(k) / 16.0).sin_cos();
            (0..50).map(|i| centre[i] + 3.0 * cos * u[i] + sin * v[i]).collect()
        })
        .collect();
    let found = principal_directions(&points, 2).unwrap();
    assert!((found.explained[0] - 0.9).abs() < 1e-12 && (found.explained[1] - 0.1).abs() < 1e-12);
    assert!((dot(&found.directions[0], &u).abs() - 1.0).abs() < 1e-12);
    assert!((dot(&found.directions[1], &v).abs() - 1.0).abs() < 1e-12);
    assert!(principal_directions(&points, 3).unwrap_err().to_string().contains("2 directions only"));
    assert!(principal_directions(&points[..2], 2).is_err());
}

/// A straight trajectory has one direction, along which it goes forward.
#[test]
fn a_straight_trajectory() {
    let points: Vec<Vec<f64>> = (0..4).map(|k| vec![1.0, 2.0 - f64::from(k), 5.0]).collect();
    let found = principal_directions(&points, 1).unwrap();
    assert!((found.explained[0] - 1.0).abs() < 1e-12);
    assert!((found.directions[0][1] + 1.0).abs() < 1e-12, "{found:?}");
}

/// Figure 1a: R_SAM = 2 for both minima, R_GNR = π and 3π.
#[test]
fn figure_1a() {
    let [flat, sharp] = examples(201).unwrap();
    for (example, r_gnr) in [(&flat, PI), (&sharp, 3.0 * PI)] {
        assert!((example.r_sam.value - 2.0).abs() < 1e-9, "{example:?}");
        assert!((example.r_gnr.value - r_gnr).abs() < 1e-9, "{example:?}");
        let steepest = example.slopes.iter().copied().fold(0.0, f64::max);
        assert!((steepest - r_gnr).abs() < 1e-3 * r_gnr, "the curve shows what the search found");
        assert_eq!((example.values[100], example.theta[100]), (-1.0, 0.0));
    }
}
