//! Relations between regularisers, and to the algorithms that they are taken from, as closed forms.

use crate::{assert_close, norm, ok, oracle, plain, sub};
use gnr_core::{
    Clip, Counted, ForwardDiff, Gnr, GradOracle, Method, Regularizer, Sam, Sgd, Vector,
    random::SplitMix64,
    regularizer::{CFlat, CrSam, Gam, GamWeights, Lookbehind, Msam, SamOn},
    testing::{Problem, ProblemOracle, TanhMlp},
};

type V = Vec<f64>;

/// The constant ξ beside the norms that divide.
const XI: f64 = 1e-12;

fn mlp() -> (TanhMlp, V) {
    let problem = TanhMlp::random(20, 3, 5, 1);
    let theta = SplitMix64::new(2).normals(problem.dim());
    (problem, theta)
}

/// The direction of the first step.
fn direction<O: GradOracle<Vector = V>>(regularizer: impl Regularizer<O>, mut oracle: O, theta: &[f64]) -> V {
    let mut moved = theta.to_vec();
    ok(plain(regularizer, 1.0).step(0, &mut moved, &mut oracle));
    sub(theta, &moved)
}

/// The sum x + a·y.
fn plus(x: &[f64], a: f64, y: &[f64]) -> V {
    x.iter().zip(y).map(|(x, y)| x + a * y).collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// C-Flat equals SAM plus a GNR of equal radius whose products are differences of that radius.
#[test]
fn c_flat_is_sam_and_gnr_by_differences() {
    let (problem, theta) = mlp();
    for (rho, lambda) in [(0.05, 0.2), (0.4, 1.5)] {
        let both = (ok(Sam::new(rho)), ok(Gnr::new(rho, lambda)));
        let differences = ok(ForwardDiff::new(oracle(&problem)).with_step(rho));
        let expected = direction(both, differences, &theta);
        let found = direction(ok(CFlat::new(rho, lambda)), oracle(&problem), &theta);
        assert_close(&found, &expected, 1e-12);
    }
    // SAM alone gives another direction.
    let sam = direction(ok(Sam::new(0.4)), oracle(&problem), &theta);
    assert!(norm(&sub(&direction(ok(CFlat::new(0.4, 1.5)), oracle(&problem), &theta), &sam)) > 1e-3);
}

/// With coefficients that leave the gradient ahead alone, each of these methods is SAM.
#[test]
fn sam_is_a_special_case() {
    let (problem, theta) = mlp();
    let rho = 0.3;
    let sam = direction(ok(Sam::new(rho)), oracle(&problem), &theta);
    let all = vec![true; theta.len()];
    let weights = GamWeights { alpha: 1.0, beta: 0.5, gamma: 0.0 };
    type Case<'p> = (&'static str, Box<dyn Regularizer<ProblemOracle<&'p TanhMlp>>>);
    let cases: [Case<'_>; 6] = [
        ("C-Flat, λ = 0", Box::new(ok(CFlat::new(rho, 0.0)))),
        ("CR-SAM, γ = β = 0", Box::new(ok(CrSam::new(rho, 0.0, 0.0)))),
        ("Lookbehind, k = 1, adaptive", Box::new(ok(Lookbehind::new(rho, 1, None)))),
        ("Lookbehind, k = 1, α = 1", Box::new(ok(Lookbehind::new(rho, 1, Some(1.0))))),
        ("SAM-ON, nothing but normalisation layers", Box::new(ok(SamOn::new(rho, &all)))),
        ("GAM, α = 1, γ = 0", Box::new(ok(Gam::new(0.7, rho, weights)))),
    ];
    for (name, regularizer) in cases {
        println!("{name}");
        assert_close(&direction(regularizer, oracle(&problem), &theta), &sam, 1e-13);
    }
}

/// Gradients ahead at equal radii are evaluated once for a list; a gradient behind θ is another one.
#[test]
fn members_of_a_list_share_gradients_ahead() {
    type List = Vec<Box<dyn Regularizer<ForwardDiff<Counted<ProblemOracle<TanhMlp>>>>>>;
    let (problem, theta) = mlp();
    let weights = GamWeights { alpha: 0.6, beta: 0.5, gamma: 0.03 };
    let probes = |list: List| {
        let counted = Counted::new(oracle(problem.clone()));
        let counter = counted.counter();
        direction(list, ok(ForwardDiff::new(counted).with_step(0.05)), &theta);
        counter.counts().probes
    };
    let sam = |rho| Box::new(ok(Sam::new(rho)));
    let gnr = || Box::new(ok(Gnr::new(0.1, 0.1)));
    assert_eq!(probes(vec![sam(0.05), Box::new(ok(CFlat::new(0.05, 0.2)))]), 3);
    assert_eq!(probes(vec![Box::new(ok(CFlat::new(0.05, 0.2))), sam(0.05), gnr()]), 3 + 2);
    assert_eq!(probes(vec![sam(0.05), Box::new(ok(Gam::new(0.2, 0.05, weights)))]), 3);
    assert_eq!(probes(vec![sam(0.05), Box::new(ok(CrSam::new(0.05, 0.1, 0.1)))]), 2);
    assert_eq!(probes(vec![Box::new(ok(Lookbehind::new(0.05, 3, None))), sam(0.05), gnr()]), 3 + 2);
    assert_eq!(probes(vec![sam(0.06), Box::new(ok(CrSam::new(0.05, 0.1, 0.1)))]), 3);
}

/// GAM subtracts nothing along h₊: with any γ the direction's part along h₊ stays, and γ·h₋⊥ is taken off.
#[test]
fn gam_takes_off_the_orthogonal_part() {
    let (problem, theta) = mlp();
    let gam = |gamma| {
        let weights = GamWeights { alpha: 0.6, beta: 0.5, gamma };
        direction(ok(Gam::new(0.4, 0.1, weights)), oracle(&problem), &theta)
    };
    let h_plus = gam(0.0);
    let [once, twice] = [0.3, 0.6].map(|gamma| sub(&h_plus, &gam(gamma)));
    assert!(norm(&once) > 1e-3, "{once:?}");
    assert!(dot(&once, &h_plus).abs() < 1e-13 * dot(&h_plus, &h_plus));
    assert_close(&twice, &once.iter().map(|x| 2.0 * x).collect::<V>(), 1e-14);
}

/// Lookbehind with SGD follows its definition: k steps of fast weights along the gradients of the climb, and slow
/// weights that follow by α.
#[test]
fn lookbehind_moves_slow_weights_towards_fast_ones() {
    let (problem, mut theta) = mlp();
    let (rho, lr, k) = (0.2, 0.1, 3);
    for alpha in [Some(0.5), None] {
        let mut expected = theta.clone();
        let mut method = plain(ok(Lookbehind::new(rho, k, alpha)), lr);
        for t in 0..5 {
            let (mut climb, mut fast, mut first) = (expected.clone(), expected.clone(), None);
            for _ in 0..k {
                let g = problem.value_and_gradient(&climb).1;
                climb = plus(&climb, rho / (norm(&g) + XI), &g);
                fast = plus(&fast, -lr, &problem.value_and_gradient(&climb).1);
                first.get_or_insert_with(|| sub(&fast, &expected));
            }
            let way = sub(&fast, &expected);
            let first = first.unwrap();
            let cosine = dot(&first, &way) / (norm(&first) * norm(&way));
            expected = plus(&expected, alpha.unwrap_or((cosine + 1.0) / 2.0), &way);
            ok(method.step(t, &mut theta, &mut oracle(&problem)));
            assert_close(&theta, &expected, 1e-12);
        }
    }
}

/// MSAM with SGD of the same momentum is the paper's optimiser, which keeps the perturbed point and one momentum.
#[test]
fn msam_with_momentum_is_the_optimizer_of_the_paper() {
    let (problem, mut theta) = mlp();
    let (rho, mu, lr) = (0.3, 0.9, 0.05);
    let mut method = Method {
        regularizer: ok(Msam::new(rho, mu)),
        optimizer: ok(Sgd::new().with_momentum(mu)),
        learning_rate: lr,
        clip: Clip::None,
    };
    let (mut perturbed, mut v, mut inverse_norm) = (theta.clone(), vec![0.0; theta.len()], 0.0);
    for t in 0..8 {
        let g = problem.value_and_gradient(&perturbed).1;
        let unperturbed = plus(&perturbed, rho * inverse_norm, &v);
        v = plus(&g, mu, &v);
        let moved = plus(&unperturbed, -lr, &v);
        inverse_norm = 1.0 / (norm(&v) + XI);
        perturbed = plus(&moved, -rho * inverse_norm, &v);
        ok(method.step(t, &mut theta, &mut oracle(&problem)));
        assert_close(&theta, &moved, 1e-12);
    }
}

/// The gradient is taken at a point that differs from θ in the marked entries only, by ρ in all.
#[test]
fn sam_on_perturbs_normalisation_layers_only() {
    let (problem, theta) = mlp();
    let marked: Vec<bool> = (0..theta.len()).map(|i| i % 3 == 1).collect();
    let g = problem.value_and_gradient(&theta).1;
    let masked: V = g.iter().zip(&marked).map(|(g, marked)| if *marked { *g } else { 0.0 }).collect();
    let expected = problem.value_and_gradient(&plus(&theta, 0.5 / (norm(&masked) + XI), &masked)).1;
    let found = direction(ok(SamOn::new(0.5, &marked)), oracle(&problem), &theta);
    assert_close(&found, &expected, 1e-13);
}

#[test]
fn sam_on_refuses_a_model_without_normalisation() {
    let error = SamOn::new(0.5, &[false; 7]).unwrap_err().to_string();
    assert_eq!(
        error,
        "sam-on: `normalisation layers` = none in 7 leaves: perturbs only these, so that the model needs one; \
         `sam` perturbs every leaf"
    );
    let (problem, mut theta) = mlp();
    let leaves = theta.dim();
    let mut method = plain(ok(SamOn::new(0.5, &[true, false])), 0.1);
    let error = method.step(0, &mut theta, &mut oracle(&problem)).unwrap_err().to_string();
    assert_eq!(error, format!("split: vectors of dimensions {leaves} and 2"));
}

/// To second order in ρ, CR-SAM adds ∇(γρ²·ĝᵀ∇²L̂·ĝ) and ∇(2βρ·‖∇L̂‖) with ĝ held fixed; the second is 2βρ·∇²L̂·ĝ.
#[test]
fn cr_sam_is_sam_and_differences() {
    let (problem, theta) = mlp();
    let g = problem.value_and_gradient(&theta).1;
    let unit: V = g.iter().map(|x| x / norm(&g)).collect();
    let hessian_unit = problem.hvp(&theta, &unit);
    let (rho, beta) = (1e-4, 0.7);
    let sam = direction(ok(CrSam::new(rho, 0.0, 0.0)), oracle(&problem), &theta);
    let slope = sub(&direction(ok(CrSam::new(rho, 0.0, beta)), oracle(&problem), &theta), &sam);
    let expected: V = hessian_unit.iter().map(|x| 2.0 * beta * rho * x).collect();
    // Central differences: the next term is of third order in ρ.
    assert_close(&slope, &expected, 1e-10);
    // (∇²L̂(θ + ρĝ) − ∇²L̂(θ − ρĝ))·ĝ·ρ/2 is the second difference of the gradient, to third order.
    let rho = 1e-3;
    let sam = direction(ok(CrSam::new(rho, 0.0, 0.0)), oracle(&problem), &theta);
    let curvature = sub(&direction(ok(CrSam::new(rho, 1.0, 0.0)), oracle(&problem), &theta), &sam);
    let [ahead, behind] = [rho, -rho].map(|r| problem.hvp(&plus(&theta, r, &unit), &unit));
    let expected: V = sub(&ahead, &behind).iter().map(|x| x * rho / 2.0).collect();
    assert!(norm(&expected) > 1e-7, "{expected:?}");
    assert_close(&curvature, &expected, 1e-10);
}

#[test]
fn settings_outside_their_domain_are_refused() {
    let weights = GamWeights { alpha: 0.5, beta: 0.5, gamma: 0.1 };
    assert!(Gam::new(0.1, 0.1, GamWeights { alpha: 1.1, ..weights }).is_err());
    assert!(Gam::new(0.1, 0.1, GamWeights { beta: -0.1, ..weights }).is_err());
    assert!(Gam::new(0.1, 0.1, GamWeights { gamma: f64::NAN, ..weights }).is_err());
    assert!(Gam::new(0.1, 0.0, weights).is_err() && Gam::new(0.0, 0.1, weights).is_err());
    assert!(Msam::<V>::new(0.1, 1.0).is_err() && Msam::<V>::new(0.0, 0.9).is_err());
    assert!(SamOn::new(f64::INFINITY, &[true]).is_err());
    assert!(Lookbehind::new(0.1, 0, None).is_err() && Lookbehind::new(0.1, 2, Some(0.0)).is_err());
    assert!(CrSam::new(0.1, -0.1, 0.0).is_err() && CrSam::new(0.1, 0.0, f64::NAN).is_err());
    assert!(CFlat::new(0.1, -0.1).is_err() && CFlat::new(-0.1, 0.1).is_err());
}
