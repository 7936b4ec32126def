//! Variants of SAM: where they equal SAM, and properties that their papers state.

use crate::{
    assert_close, norm, ok, oracle, plain,
    regularizers::{direction, mlp},
    sub,
};
use gnr_core::{
    Error, Regularizer, Result, Sam, StepDecay,
    registry::find,
    regularizer::{self, Asam, FriendlySam, Gsam, LookSam, Pgn, Run, Vasso, Wsam},
    testing::{Problem, ProblemOracle, TanhMlp},
};

/// Each variant with the settings that make it SAM, over steps in which methods with state use it.
#[test]
fn variants_of_sam_contain_it() {
    type Any = Box<dyn Regularizer<ProblemOracle<TanhMlp>>>;
    let rho = 0.3;
    let run = |regularizer: Any| {
        let (problem, mut theta) = mlp();
        let mut method = plain(regularizer, 0.1);
        for t in 0..6 {
            let batch = problem.batch(3 * t..3 * t + 3);
            ok(method.step(t as u64, &mut theta, &mut oracle(batch)));
        }
        theta
    };
    let sam = run(Box::new(ok(Sam::new(rho))));
    let variants: [(&str, Any); 6] = [
        ("GSAM", Box::new(ok(Gsam::new(rho, 0.0)))),
        ("LookSAM", Box::new(ok(LookSam::new(rho, 1, 0.7)))),
        ("PGN", Box::new(ok(Pgn::new(rho, 1.0)))),
        ("WSAM", Box::new(ok(Wsam::new(rho, 0.5)))),
        ("Friendly-SAM", Box::new(ok(FriendlySam::new(rho, 0.0, 0.9)))),
        ("VaSSO", Box::new(ok(Vasso::new(rho, 1.0)))),
    ];
    for (name, variant) in variants {
        println!("{name}");
        // Equal sums in another order.
        assert_close(&run(variant), &sam, 1e-13);
    }
    // ASAM with every weight of size 1/2 and η = 1/2: T = 1.
    let (problem, theta) = mlp();
    let halves: Vec<_> = theta.iter().map(|x| 0.5 * x.signum()).collect();
    let expected = direction(ok(Sam::new(rho)), &mut oracle(&problem), &halves);
    let found = direction(ok(Asam::new(rho, 0.5)), &mut oracle(&problem), &halves);
    assert_close(&found, &expected, 1e-14);
}

/// PGN adds the gradient of αρ·‖∇L̂‖, up to terms of order ρ².
#[test]
fn pgn_penalises_the_gradient_norm() {
    let (problem, theta) = mlp();
    let (_, g) = problem.value_and_gradient(&theta);
    let f: Vec<_> = problem.hvp(&theta, &g).iter().map(|x| x / norm(&g)).collect();
    let errors = [1e-2, 1e-3].map(|rho| {
        let added = sub(&direction(ok(Pgn::new(rho, 2.0)), &mut oracle(&problem), &theta), &g);
        (rho, norm(&sub(&added.iter().map(|x| x / (2.0 * rho)).collect::<Vec<_>>(), &f)))
    });
    let slope = crate::log_log_slope(&errors);
    assert!((slope - 1.0).abs() < 0.05, "slope {slope} of the relative error over ρ: {errors:?}");
}

/// The part that GSAM adds to SAM does not change the loss ahead. The part that LookSAM reuses is orthogonal to the
/// gradient and α times as long.
#[test]
fn parts_of_gsam_and_looksam_are_orthogonal() {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (problem, mut theta) = mlp();
    let g_p = direction(ok(Sam::new(0.3)), &mut oracle(&problem), &theta);
    let added = sub(&direction(ok(Gsam::new(0.3, 0.8)), &mut oracle(&problem), &theta), &g_p);
    assert!(dot(&added, &g_p).abs() < 1e-14 * norm(&added) * norm(&g_p) + 1e-15 && norm(&added) > 0.01);

    let mut method = plain(ok(LookSam::new(0.3, 2, 0.7)), 0.0);
    for t in 0..2 {
        // At learning rate 0 both steps are at one point.
        let report = ok(method.step(t, &mut theta, &mut oracle(&problem)));
        if t == 1 {
            let length = (1.0 + 0.7_f64.powi(2)).sqrt() * report.grad_norm;
            assert!((report.direction_norm / length - 1.0).abs() < 1e-10, "{report:?}");
        }
    }
}

#[test]
fn settings_of_variants_out_of_range_are_named() {
    let refused = |result: Result<()>, expected: &str| match result {
        Err(Error::InvalidHyperparameter { name, .. }) => assert_eq!(name, expected),
        other => panic!("{expected}: {other:?}"),
    };
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(Gsam::new(bad, 0.1).map(drop), "rho");
        refused(LookSam::<Vec<f64>>::new(bad, 5, 0.7).map(drop), "rho");
        refused(Pgn::new(bad, 0.8).map(drop), "rho");
        refused(Wsam::new(bad, 0.9).map(drop), "rho");
        refused(FriendlySam::<Vec<f64>>::new(bad, 1.0, 0.9).map(drop), "rho");
        refused(Asam::new(bad, 0.01).map(drop), "rho");
    }
    for bad in [-0.1, f64::NAN] {
        refused(Gsam::new(0.1, bad).map(drop), "alpha");
        refused(LookSam::<Vec<f64>>::new(0.1, 5, bad).map(drop), "alpha");
        refused(Pgn::new(0.1, bad).map(drop), "alpha");
        refused(Wsam::new(0.1, bad).map(drop), "gamma");
        refused(FriendlySam::<Vec<f64>>::new(0.1, bad, 0.9).map(drop), "sigma");
        refused(FriendlySam::<Vec<f64>>::new(0.1, 1.0, bad).map(drop), "lambda");
        refused(Asam::new(0.1, bad).map(drop), "eta");
    }
    refused(LookSam::<Vec<f64>>::new(0.1, 0, 0.7).map(drop), "k");
    refused(Wsam::new(0.1, 1.0).map(drop), "gamma");
    refused(FriendlySam::<Vec<f64>>::new(0.1, 1.0, 1.0).map(drop), "lambda");
}

/// The radius of GSAM is ρ_t = ρ_min + (ρ − ρ_min)·η_t/η₀.
#[test]
fn the_radius_of_gsam_follows_the_learning_rate() {
    let entry = find(regularizer::entries(), "gsam").unwrap();
    let run = Run {
        learning_rate: &|| Ok(Box::new(StepDecay::new(0.2, 0.5, 2)?)),
        peak: 0.2,
        steps_per_epoch: 1,
        seed: 0,
        examples: 1,
        normalisation: &[],
    };
    let (problem, theta) = mlp();
    for (t, rho) in [(0, 0.3), (2, 0.2), (4, 0.15)] {
        let values = [("rho", 0.3), ("rho_min", 0.1), ("alpha", 0.6)].map(|(key, x)| (key, x.into()));
        let built = ok(regularizer::build::<Vec<f64>>(&ok(entry.values(values)), &run));
        let (mut found, mut expected) = (theta.clone(), theta.clone());
        ok(plain(built, 0.1).step(t, &mut found, &mut oracle(problem.clone())));
        ok(plain(ok(Gsam::new(rho, 0.6)), 0.1).step(t, &mut expected, &mut oracle(&problem)));
        // Tolerance: rounded sums and products of the radius.
        assert_close(&found, &expected, 1e-15);
    }
    assert_eq!(ok(ok(entry.values([("rho", 0.5.into())])).number("rho_min")), 0.25);
    let error = entry.values([("rho", 0.1.into()), ("rho_min", 0.2.into())]).unwrap_err().to_string();
    assert_eq!(error, "gsam: `rho_min` = 0.2: must be at most rho = 0.1");
}
