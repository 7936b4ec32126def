//! Optimisers that scale by the diagonal of the Hessian, and the points of their estimates: closed forms, costs, state.

use crate::{
    assert_close, norm, ok, oracle, plain,
    regularizers::{Listener, mlp},
};
use gnr_core::{
    Clip, Counted, Counts, Error, Evaluation, Every, ForwardDiff, GradOracle, Grouped, HvpOracle, Leaf,
    Leaves, Method, Optimizer, Order, Pass, Quantity, Regularizer, Result, Sam, Use, optimizer,
    optimizer::{AdaHessian, Sassha, SophiaH},
    registry::{Configured, Value, Values, find},
    regularizer::{self, HessianDiagonal, Run},
    testing::{Problem, Quadratic, conformance::check_optimizer},
};

type V = Vec<f64>;
const NAMES: [&str; 3] = ["sophia-h", "adahessian", "sassha"];

fn make(name: &str) -> Box<dyn Optimizer<V>> {
    let entry = find(optimizer::entries(), name).unwrap_or_else(|| panic!("{name} is not registered"));
    ok(optimizer::build(&ok(entry.values([]))))
}

/// The point that a fresh optimiser reaches from θ along h, after it was given these estimates.
fn moved<P: Optimizer<V>>(mut optimizer: P, theta: &[f64], heard: &[&[f64]], h: &[f64], lr: f64) -> V {
    for diagonal in heard {
        ok(optimizer.curvature(&diagonal.to_vec()));
    }
    let mut theta = theta.to_vec();
    ok(optimizer.step(&mut theta, &h.to_vec(), lr));
    theta
}

/// With exact curvature, no momentum and η = 1, AdaHessian's step ends in the minimum where the curvature is positive.
/// At a maximum it goes as far uphill as it would go downhill at a minimum.
#[test]
fn adahessian_without_momentum_is_newtons_method() {
    let settings = || [("betas", Value::from([0.0, 0.999])), ("eps", 1e-12.into())];
    let (lambda, theta) = ([4.0, 0.25, -2.0], [1.0, -3.0, 0.5]);
    let gradient: V = lambda.iter().zip(theta).map(|(l, x)| l * x).collect();
    let end = moved(ok(AdaHessian::with(settings())), &theta, &[&lambda], &gradient, 1.0);
    // Tolerance: ε over the curvature, 1e-12/0.25 of a distance of 3.
    assert_close(&end, &[0.0, 0.0, 1.0], 2e-11);
}

/// The first estimate counts in full: SASSHA divides by √|λ|. Sophia-H, which corrects no bias, divides by γ(1 − β₂)λ
/// and clips.
#[test]
fn the_first_estimate_divides_the_step() {
    let settings = || [("betas", Value::from([0.0, 0.999])), ("eps", 1e-12.into())];
    let lambda = [4.0, 0.25, -9.0];
    let end = moved(ok(Sassha::with(settings())), &[0.0; 3], &[&lambda], &[1.0, 1.0, -1.0], 0.5);
    assert_close(&end, &[-0.25, -1.0, 0.5 / 3.0], 1e-11);
    let settings = [("betas", Value::from([0.0, 0.5])), ("gamma", 0.5.into()), ("weight_decay", 0.0.into())];
    let end = moved(ok(SophiaH::with(settings)), &[0.0; 3], &[&lambda], &[0.25, 0.25, -1e-9], 0.5);
    assert_close(&end, &[-0.125, -0.5, 0.5], 1e-15);
}

/// Nothing is divided by zero before the first estimate: Sophia-H moves along signs, the others along the momentum,
/// which is the direction.
#[test]
fn steps_before_the_first_estimate_are_those_of_a_momentum() {
    let (theta, h) = ([0.5, -1.0, 2.0], [0.25, 0.0, -3.0]);
    for name in ["adahessian", "sassha"] {
        let expected: V = theta.iter().zip(h).map(|(x, h)| x - 0.1 * h / (1.0 + 1e-4)).collect();
        assert_close(&moved(make(name), &theta, &[], &h, 0.1), &expected, 1e-15);
    }
    let expected: V = theta.iter().zip([1.0, 0.0, -1.0]).map(|(x, sign)| 0.99 * x - 0.1 * sign).collect();
    assert_close(&moved(make("sophia-h"), &theta, &[], &h, 0.1), &expected, 1e-15);
}

/// An estimate of 0, as of a parameter that the batch does not touch, divides nothing by zero either.
#[test]
fn a_vanishing_curvature_keeps_steps_finite() {
    for name in NAMES {
        let end = moved(make(name), &[1.0, 1.0], &[&[0.0, 1.0]], &[0.0, 0.0], 0.1);
        assert!(end[0] == end[1] && end[0] > 0.9, "{name}: {end:?} without a gradient");
        let end = moved(make(name), &[1.0, 1.0], &[&[0.0, 1.0]], &[1e-6, 1e-6], 0.1);
        assert!(end.iter().all(|x| x.is_finite()), "{name}: {end:?}");
    }
}

#[test]
fn groups_of_them_conform() {
    for name in NAMES {
        check_optimizer(|| ok(Grouped::new(vec![(make(name), 1.0), (make(name), 0.5)], vec![1, 0, 1])), 0.05);
    }
}

/// Leaves that contradict each other are refused by name, and the state stays.
#[test]
fn a_state_that_cannot_be_is_refused() {
    for (name, diagonal) in
        NAMES.into_iter().zip(["exp_hessian_diag", "exp_hessian_diag_sq", "exp_hessian_diag"])
    {
        let mut optimizer = make(name);
        ok(optimizer.curvature(&vec![1.0, 2.0]));
        ok(optimizer.step(&mut vec![1.0, 1.0], &vec![0.5, 0.5], 0.1));
        let mut leaves = Leaves::new();
        ok(optimizer.save(&mut leaves));
        let names: Vec<_> = leaves.keys().map(String::as_str).collect();
        assert_eq!(names, ["exp_avg", diagonal, "hessian_count", "hessian_step", "step"], "{name}");
        let bad: [(&str, Option<Leaf<V>>, &str); 5] = [
            (diagonal, None, "missing after 1 estimates"),
            (diagonal, Some(Leaf::Vector(vec![1.0])), "dimension 1, but exp_avg has 2"),
            ("hessian_count", Some(Leaf::Count(0)), "1, after 0 estimates and before step 2"),
            ("hessian_step", Some(Leaf::Count(3)), "3, after 1 estimates and before step 2"),
            ("hessian_step", Some(Leaf::Count(0)), "0, after 1 estimates and before step 2"),
        ];
        for (key, leaf, expected) in bad {
            let mut altered = leaves.clone();
            match leaf {
                Some(leaf) => altered.insert(key.into(), leaf),
                None => altered.remove(key),
            };
            let error = optimizer.load(&mut altered).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}, {key}: {error}");
            let mut now = Leaves::new();
            ok(optimizer.save(&mut now));
            assert_eq!(now, leaves, "{name}, {key}: the state changed");
        }
    }
}

/// The estimate of step 0 at θ, the norm of the direction, and the cost.
fn heard<O>(regularizer: impl Regularizer<Counted<O>>, inner: O, theta: &[f64]) -> (V, f64, Counts)
where
    O: GradOracle<Vector = V>,
{
    let mut method =
        Method { regularizer, optimizer: Listener::default(), learning_rate: 0.1, clip: Clip::None };
    let mut counted = Counted::new(inner);
    let report = ok(method.step(0, &mut theta.to_vec(), &mut counted));
    let counts = counted.counter().counts();
    (method.optimizer.0.remove(0), report.direction_norm, counts)
}

/// With a radius the Hessian is that of SAM's point, and SAM's gradient comes from that evaluation, in either order.
/// The direction does not change.
#[test]
fn with_a_radius_sam_and_the_estimate_share_their_point() {
    let (problem, theta) = mlp();
    let make = || oracle(problem.clone());
    let (rho, seed) = (0.5, 3);
    let at_theta = HessianDiagonal::new(seed);
    let ahead = ok(at_theta.with_radius(rho));
    let g = problem.value_and_gradient(&theta).1;
    let length = norm(&g) + 1e-12;
    let there: V = theta.iter().zip(&g).map(|(x, g)| x + rho * g / length).collect();
    // The z of step 0 is a function of the seed alone, so the estimate at the other point uses it, too.
    let (expected, ..) = heard(at_theta, make(), &there);
    let (found, _, alone) = heard(ahead, make(), &theta);
    assert_close(&found, &expected, 1e-12);
    let elsewhere = heard(at_theta, make(), &theta).0;
    let apart: V = found.iter().zip(&elsewhere).map(|(x, y)| x - y).collect();
    assert!(norm(&apart) > 1e-2, "the Hessian at both points is about the same: the test could not fail");
    let (gradients, batch_products) = (2.0, 1.0);
    let counts = Counts {
        commits: 1,
        probes: 1,
        second_order: 1,
        products: 1,
        forwards: 0,
        gradients,
        batch_products,
    };
    assert_eq!(alone, counts);

    let sam = || ok(Sam::new(rho));
    let direction = heard((at_theta, sam()), make(), &theta).1;
    for (diagonal, norm, cost) in
        [heard((ahead, sam()), make(), &theta), heard((sam(), ahead), make(), &theta)]
    {
        assert_eq!((&diagonal, norm), (&found, direction));
        assert!(cost.probes <= 2 && (cost.commits, cost.products) == (1, 1), "{cost:?}");
    }
    assert_eq!(heard((ahead, sam()), make(), &theta).2, alone, "SAM's gradient costs nothing more");
    let other = ok(Sam::new(0.1));
    assert_eq!(heard((ahead, other), make(), &theta).2.probes, 2, "another radius is another point");
    // Differences of gradients: two probes, at SAM's point and ahead of it.
    let (found, ..) = heard((ahead, sam()), ForwardDiff::new(make()), &theta);
    assert_close(&found, &expected, 1e-2);

    for rho in [0.0, -1.0, f64::NAN] {
        assert!(matches!(at_theta.with_radius(rho), Err(Error::InvalidHyperparameter { .. })), "{rho}");
    }
}

/// The loss L̂ = ‖θ‖²/2 with products that are not finite.
struct Poisoned;

impl GradOracle for Poisoned {
    type Vector = V;
    type Record = ();
    fn evaluate<'a>(&mut self, at: &'a V, _: Pass, _: Order) -> Result<Evaluation<'a, V, ()>> {
        Evaluation::new(at, at.iter().map(|x| x * x).sum::<f64>() / 2.0, at.clone(), ())
    }
}

impl HvpOracle for Poisoned {
    fn hvp(&mut self, _: &Evaluation<'_, V, ()>, v: &V, _: Use) -> Result<V> {
        Ok(v.iter().map(|_| f64::NAN).collect())
    }
}

#[test]
fn an_estimate_that_is_not_finite_is_an_error_and_changes_no_state() {
    let mut method = Method {
        regularizer: HessianDiagonal::new(1),
        optimizer: make("sophia-h"),
        learning_rate: 0.1,
        clip: Clip::None,
    };
    let mut theta = vec![3.0, 4.0];
    match method.step(0, &mut theta, &mut Poisoned) {
        Err(Error::NonFinite { quantity: Quantity::HvpNorm, .. }) => {}
        other => panic!("expected the product not to be finite, got {other:?}"),
    }
    let (mut now, mut fresh) = (Leaves::new(), Leaves::new());
    ok(method.optimizer.save(&mut now));
    ok(make("sophia-h").save(&mut fresh));
    assert_eq!((theta, now), (vec![3.0, 4.0], fresh));
}

/// Where the curvatures of coordinates differ a thousandfold, dividing by the curvature or by its root gets further
/// than plain steps of the largest stable rate.
#[test]
fn they_precondition_a_steep_and_shallow_valley() {
    let spectrum = [100.0, 10.0, 1.0, 0.1];
    let problem = Quadratic::diagonal(&spectrum);
    let start = vec![1.0; 4];
    let steps = 300;
    let mut theta = start.clone();
    for t in 0..steps {
        // 2/100 is the largest stable rate of plain steps.
        ok(plain((), 0.019).step(t, &mut theta, &mut oracle(&problem)));
    }
    let reached = problem.value_and_gradient(&theta).0;
    for (name, lr) in [("adahessian", 0.1), ("sassha", 0.05)] {
        let mut method = Method {
            regularizer: ok(Every::new(HessianDiagonal::new(1), 10)),
            optimizer: make(name),
            learning_rate: lr,
            clip: Clip::None,
        };
        let mut theta = start.clone();
        for t in 0..steps {
            ok(method.step(t, &mut theta, &mut oracle(&problem)));
        }
        let found = problem.value_and_gradient(&theta).0;
        assert!(found < 0.1 * reached, "{name}: {found}, plain steps {reached}");
    }
}

/// By its settings SASSHA gets the Hessian at SAM's point, whose radius follows its schedule. Without SAM, or where the
/// settings say so, and for all other optimisers, the point is θ.
#[test]
fn settings_say_where_the_hessian_is_taken() {
    let (problem, theta) = mlp();
    let make = || oracle(problem.clone());
    let run = Run {
        learning_rate: &|| Ok(Box::new(0.1)),
        peak: 0.2,
        steps_per_epoch: 1,
        examples: 1,
        seed: 3,
        normalisation: &[],
    };
    let sam = |given: &[(&'static str, Value)]| {
        ok(find(regularizer::entries(), "sam").unwrap().values(given.iter().cloned()))
    };
    let rho: (&str, Value) = ("rho", 0.5.into());
    let (plain, halved, late) = (
        sam(std::slice::from_ref(&rho)),
        sam(&[rho.clone(), ("rho_schedule", "proportional-to-lr".to_owned().into())]),
        sam(&[rho, ("from_epoch", 9.into())]),
    );
    let at = |radius: Option<f64>| {
        let diagonal = HessianDiagonal::new(3);
        let diagonal = radius.map_or(diagonal, |rho| ok(diagonal.with_radius(rho)));
        heard(diagonal, make(), &theta).0
    };
    let (here, there, near) = (at(None), at(Some(0.5)), at(Some(0.25)));
    assert!(here != there && there != near && near != here);
    type Given = &'static str;
    type Case<'c, V> = (&'c str, &'c [(Given, Value)], Option<&'c Values>, &'c V);
    let cases: [Case<'_, V>; 7] = [
        ("sassha", &[], Some(&plain), &there),
        ("sassha", &[], Some(&halved), &near),
        ("sassha", &[], None, &here),
        ("sassha", &[], Some(&late), &here),
        ("sassha", &[("hessian_at", "theta".to_owned().into())], Some(&plain), &here),
        ("sophia-h", &[], Some(&plain), &here),
        ("adahessian", &[], Some(&plain), &here),
    ];
    for (name, given, sam, expected) in cases {
        let optimizer = ok(find(optimizer::entries(), name).unwrap().values(given.iter().cloned()));
        let wanted = ok(HessianDiagonal::wanted(&optimizer, sam, &run)).unwrap();
        assert_eq!(wanted.acts(1), name == "adahessian", "{name}: on which steps");
        assert_eq!(&heard(wanted, make(), &theta).0, expected, "{name} with {given:?} beside {sam:?}");
    }
    let sgd = ok(find(optimizer::entries(), "sgd").unwrap().values([]));
    assert!(ok(HessianDiagonal::wanted(&sgd, [&plain], &run)).is_none());
}
