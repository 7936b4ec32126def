//! Lanczos against known spectra, dense solvers, and itself when it is stopped and goes on.

use crate::{
    Dense, jacobi,
    operators::{Known, spectra},
};
use gnr_core::{
    GradOracle, Order, Pass, Vector,
    random::SplitMix64,
    testing::{Problem, ProblemOracle, Quadratic, TanhMlp},
};
use gnr_hessian::{
    Eigenpair, Error, Hessian, Lanczos, LanczosEnd, LanczosState, Reorthogonalization, SymmetricOperator,
    Verdict, Which, host_probes, lanczos, residuals,
};
use std::ops::ControlFlow;

fn solve<A: SymmetricOperator>(
    operator: &mut A,
    options: &Lanczos,
    probes: &impl gnr_hessian::Draw<A::Vector>,
) -> (LanczosState<A::Vector>, LanczosEnd) {
    let mut state = LanczosState::random(options, operator.dim(), probes).unwrap();
    let end = lanczos(operator, options, &mut state, probes, &mut |_, _| ControlFlow::Continue(())).unwrap();
    (state, end)
}

fn values<V>(pairs: &[Eigenpair<V>]) -> Vec<f64> {
    pairs.iter().map(|pair| pair.value).collect()
}

/// Values in double precision, at `tolerance` relative to the largest modulus.
fn double(options: Lanczos) -> Lanczos {
    Lanczos { tolerance: 1e-9, floor: 1e-11, epsilon: f64::EPSILON / 2.0, ..options }
}

/// What each choice should find of a falling spectrum.
fn expected(which: Which, spectrum: &[f64]) -> Vec<f64> {
    let rising: Vec<f64> = spectrum.iter().rev().copied().collect();
    match which {
        Which::Top(count) => spectrum[..count].to_vec(),
        Which::Bottom(count) => rising[..count].to_vec(),
        Which::Dominant(count) => {
            let mut all = spectrum.to_vec();
            all.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
            all[..count].to_vec()
        }
        Which::BothEnds(count) => [&spectrum[..count], &rising[..count]].concat(),
    }
}

/// Every known spectrum, every choice of ends, several block sizes and bases small enough to restart: values, unit
/// vectors that are orthogonal, and residuals that products of their own confirm.
#[test]
fn finds_known_spectra() {
    for (name, mut spectrum) in spectra() {
        spectrum.sort_by(|a, b| b.total_cmp(a));
        let scale = spectrum.iter().fold(0.0_f64, |scale, x| scale.max(x.abs()));
        for which in [Which::Top(6), Which::Bottom(2), Which::Dominant(5), Which::BothEnds(2)] {
            // Eigenvalues that are (nearly) zero beside the largest cannot be told apart by residuals relative to it;
            // the bottom of these spectra is such a crowd.
            let bottom = !matches!(which, Which::Top(_) | Which::Dominant(_));
            if bottom && name != "indefinite" && name != "diagonal" {
                continue;
            }
            for block in [1, 3] {
                let options =
                    double(Lanczos { block, max_basis: Some(40), num_matvecs: 4000, ..Lanczos::new(which) });
                let mut operator = Known::<f64>::new(&spectrum, 3);
                let (state, end) = solve(&mut operator, &options, &host_probes(300, 5));
                assert_eq!(end, LanczosEnd::Converged, "{name}, {which:?}, block {block}");
                assert_eq!(state.num_matvecs, operator.products);
                let pairs = state.eigenpairs(&options).unwrap();
                let wanted = expected(which, &spectrum);
                for (pair, expected) in pairs.iter().zip(&wanted) {
                    assert!(pair.converged());
                    assert!(
                        (pair.value - expected).abs() <= 1e-9 * scale,
                        "{name}, {which:?}, block {block}: {:?} instead of {wanted:?}",
                        values(&pairs)
                    );
                }
                assert_eq!(pairs.len(), wanted.len());
                let vectors: Vec<_> = pairs.iter().map(|pair| pair.vector.clone()).collect();
                for (pair, (value, residual)) in pairs.iter().zip(residuals(&mut operator, &vectors).unwrap())
                {
                    assert!((pair.value - value).abs() < 1e-12 * scale);
                    assert!((pair.residual - residual).abs() < 1e-11 * scale, "{} {residual}", pair.residual);
                }
                for (i, a) in vectors.iter().enumerate() {
                    for (j, b) in vectors.iter().enumerate() {
                        assert!((a.dot(b).unwrap() - f64::from(i == j)).abs() < 1e-11, "{name}: {i}, {j}");
                    }
                }
            }
        }
    }
}

/// Storage in single precision, as networks have it: residual tolerances of 1e-3 give eigenvalues far better than that.
#[test]
fn single_precision_is_enough() {
    for (name, mut spectrum) in spectra() {
        spectrum.sort_by(|a, b| b.total_cmp(a));
        // Within a cluster the tolerance cannot tell copies apart; a block finds as many as it has vectors.
        let block = if name == "clustered" { 3 } else { 1 };
        let options = Lanczos { block, ..Lanczos::new(Which::Top(6)) };
        let mut operator = Known::<f32>::new(&spectrum, 3);
        let (state, end) = solve(&mut operator, &options, &host_probes(300, 5));
        assert_eq!(end, LanczosEnd::Converged, "{name}");
        let pairs = state.eigenpairs(&options).unwrap();
        let vectors: Vec<_> = pairs.iter().map(|pair| pair.vector.clone()).collect();
        for (pair, (_, residual)) in pairs.iter().zip(residuals(&mut operator, &vectors).unwrap()) {
            // The recurrence's residual is the true one up to the rounding of products.
            assert!(
                (pair.residual - residual).abs() < 2e-6 * spectrum[0],
                "{name}: {} {residual}",
                pair.residual
            );
        }
        for (found, expected) in values(&pairs).iter().zip(&spectrum) {
            assert!((found - expected).abs() <= 1e-3 * expected.abs(), "{name}: {:?}", values(&pairs));
        }
    }
}

/// A repeated eigenvalue is found as often as the block sees it.
#[test]
fn multiplicities_up_to_the_block_size() {
    let mut spectrum = vec![5.0, 5.0, 5.0, 4.0, 4.0];
    spectrum.extend((0..95).map(|i| 0.01 * i as f64));
    let options = double(Lanczos { block: 3, ..Lanczos::new(Which::Top(5)) });
    let (state, end) = solve(&mut Known::<f64>::new(&spectrum, 1), &options, &host_probes(100, 2));
    assert_eq!(end, LanczosEnd::Converged);
    for (found, expected) in
        values(&state.eigenpairs(&options).unwrap()).iter().zip([5.0, 5.0, 5.0, 4.0, 4.0])
    {
        assert!((found - expected).abs() < 1e-8);
    }
}

/// A Krylov space that ends early is filled up with random vectors: the whole spectrum of small operators comes out.
#[test]
fn whole_spectra_of_small_operators() {
    for spectrum in [vec![3.0], vec![2.0, 2.0, 2.0], vec![1.0, 0.0, -1.0, -1.0], vec![0.0; 4]] {
        for block in [1, 2, 5] {
            let options = double(Lanczos { block, ..Lanczos::new(Which::Top(spectrum.len())) });
            let mut operator = Known::<f64>::new(&spectrum, 4);
            let (state, end) = solve(&mut operator, &options, &host_probes(spectrum.len(), 6));
            assert_eq!(end, LanczosEnd::Converged, "{spectrum:?}");
            assert_eq!(operator.products, spectrum.len());
            for (found, expected) in values(&state.eigenpairs(&options).unwrap()).iter().zip(&spectrum) {
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{spectrum:?}, block {block}: {:?}",
                    state.ritz().values
                );
            }
        }
    }
}

/// A network's Hessian at a point that is no minimum, against all eigenvalues of its dense form.
#[test]
fn finds_both_ends_of_a_network() {
    let problem = TanhMlp::random(15, 2, 3, 5);
    let theta = SplitMix64::new(3).normals(problem.dim());
    let mut dense = jacobi(problem.hessian(&theta));
    dense.sort_by(|a, b| b.total_cmp(a));
    let mut oracle = ProblemOracle::new(problem);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    let options = double(Lanczos::new(Which::BothEnds(4)));
    let dim = theta.len();
    let (state, _) = solve(&mut Hessian::new(&mut oracle, &here), &options, &host_probes(dim, 1));
    let found = values(&state.eigenpairs(&options).unwrap());
    for (found, expected) in found.iter().zip(expected(Which::BothEnds(4), &dense)) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
    assert!(found[4] < 0.0);
}

/// Local orthogonalisation alone brings converged eigenvalues back as copies; selective does not, with less work than
/// full.
#[test]
fn selective_reorthogonalization_prevents_ghosts() {
    let mut spectrum = vec![100.0, 60.0, 30.0];
    spectrum.extend((0..497).map(|i| (i as f64 + 1.0) / 497.0));
    spectrum.sort_by(|a, b| b.total_cmp(a));
    let run = |reorthogonalization| {
        let options = Lanczos {
            reorthogonalization,
            num_matvecs: 120,
            max_basis: Some(200),
            tolerance: 1e-30,
            floor: 0.0,
            epsilon: f64::EPSILON / 2.0,
            ..Lanczos::new(Which::Top(3))
        };
        let (state, _) = solve(&mut Known::<f64>::new(&spectrum, 3), &options, &host_probes(500, 5));
        let copies = state.ritz().values.iter().filter(|value| **value > 20.0).count();
        let mut worst = 0.0_f64;
        for (i, a) in state.basis.iter().enumerate() {
            for b in &state.basis[..i] {
                worst = worst.max(a.dot(b).unwrap().abs());
            }
        }
        (copies, worst)
    };
    let (full, selective, local) = (
        run(Reorthogonalization::Full),
        run(Reorthogonalization::Selective),
        run(Reorthogonalization::Local),
    );
    assert_eq!((full.0, selective.0), (3, 3));
    assert!(local.0 > 3, "without any, there should be ghosts: {local:?}");
    assert!(full.1 < 1e-14, "{full:?}");
    // Semi-orthogonality is √ε; ten times that for the vectors noted a step late.
    assert!(selective.1 < 10.0 * (f64::EPSILON / 2.0).sqrt(), "{selective:?}");
    assert!(local.1 > 0.1, "{local:?}");
}

/// Stopped after any block of products and continued: the same bits as in one go, restarts included.
#[test]
fn goes_on_where_it_stopped() {
    let spectrum = spectra().remove(0).1;
    for (block, reorthogonalization) in
        [(1, Reorthogonalization::Full), (2, Reorthogonalization::Full), (1, Reorthogonalization::Selective)]
    {
        let options =
            Lanczos { block, reorthogonalization, max_basis: Some(12), ..Lanczos::new(Which::Top(2)) };
        let probes = host_probes::<f32>(300, 5);
        let (whole, end) = solve(&mut Known::<f32>::new(&spectrum, 3), &options, &probes);
        assert_eq!(end, LanczosEnd::Converged);
        assert!(whole.restarts > 1);
        let mut operator = Known::<f32>::new(&spectrum, 3);
        let mut state = LanczosState::random(&options, 300, &probes).unwrap();
        let mut stops = 0;
        loop {
            let before = state.num_matvecs;
            let end = lanczos(&mut operator, &options, &mut state, &probes, &mut |state, _| {
                if state.num_matvecs >= before + 5 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            match end.unwrap() {
                LanczosEnd::Stopped => stops += 1,
                end => break assert_eq!(end, LanczosEnd::Converged),
            }
        }
        assert!(stops > 2);
        assert_eq!((whole.num_matvecs, whole.restarts), (state.num_matvecs, state.restarts));
        let (one, other) = (whole.eigenpairs(&options).unwrap(), state.eigenpairs(&options).unwrap());
        assert_eq!(values(&one), values(&other));
        assert!(one.iter().zip(&other).all(|(a, b)| a.vector == b.vector && a.residual == b.residual));
    }
}

#[test]
fn the_budget_is_kept_and_said() {
    let spectrum: Vec<f64> = (0..200).map(|i| 1.0 + 1e-4 * i as f64).collect();
    let options = Lanczos { num_matvecs: 17, tolerance: 1e-9, ..Lanczos::new(Which::Top(3)) };
    let mut operator = Known::<f64>::new(&spectrum, 3);
    let (state, end) = solve(&mut operator, &options, &host_probes(200, 5));
    assert_eq!((end, operator.products), (LanczosEnd::BudgetExhausted, 17));
    let pairs = state.eigenpairs(&options).unwrap();
    assert!(pairs.iter().any(|pair| pair.verdict == Verdict::BudgetExhausted && pair.residual > 1e-9));
}

#[test]
fn bad_input_is_an_error() {
    let probes = host_probes::<f64>(3, 0);
    let mut operator = Dense(Quadratic::with_spectrum(&[3.0, 2.0, 1.0], 8).hessian(&[0.0; 3]));
    let mut go = |options: &Lanczos, mut state| {
        lanczos(&mut operator, options, &mut state, &probes, &mut |_, _| ControlFlow::Continue(()))
    };
    let state = || LanczosState::random(&Lanczos::new(Which::Top(1)), 3, &probes).unwrap();
    let many = go(&Lanczos::new(Which::BothEnds(2)), state());
    assert!(matches!(many, Err(Error::TooManyEigenpairs { asked: 4, dim: 3 })), "{many:?}");
    assert!(matches!(go(&Lanczos::new(Which::Top(0)), state()), Err(Error::Configuration(_))));
    let mut damaged = state();
    damaged.kept = 4;
    assert!(matches!(go(&Lanczos::new(Which::Top(1)), damaged), Err(Error::Configuration(_))));
    let same = LanczosState::from_starts(vec![vec![1.0, 0.0, 0.0]; 2], 0);
    assert!(matches!(same, Err(Error::DegenerateStart { index: 1 })));
    assert!(matches!(LanczosState::<Vec<f64>>::from_starts(vec![], 0), Err(Error::MissingStart { .. })));
    let mut broken = Dense(vec![vec![f64::NAN, 0.0, 0.0], vec![0.0; 3], vec![0.0; 3]]);
    let nan = lanczos(&mut broken, &Lanczos::new(Which::Top(1)), &mut state(), &probes, &mut |_, _| {
        ControlFlow::Continue(())
    });
    assert!(matches!(nan, Err(Error::Core(gnr_core::Error::NonFinite { .. }))), "{nan:?}");
}
