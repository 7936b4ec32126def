//! Steps on a batch in groups follow the mean of the groups' own directions once.

use std::ops::Range;

use crate::{assert_close, norm, ok, oracle, plain, sub};
use gnr_core::{
    CentralDiff, Clip, Counted, Counter, Error, ForwardDiff, Gnr, GradOracle, HvpOracle, Method, Regularizer,
    Sam, Sgd, StepReport,
    random::SplitMix64,
    testing::{Problem, ProblemOracle, Quadratic, TanhMlp},
};

/// Groups of unequal size: a mean without weights would show.
const GROUPS: [Range<usize>; 3] = [0..8, 8..16, 16..19];
const EXAMPLES: usize = 19;

fn setting() -> (TanhMlp, Vec<f64>) {
    let problem = TanhMlp::random(EXAMPLES, 3, 5, 1);
    let theta = SplitMix64::new(2).normals(problem.dim());
    (problem, theta)
}

/// The direction and the report of one step of SGD with learning rate 1, over groups.
fn direction<O, R>(regularizer: R, theta: &[f64], groups: Vec<(O, usize)>) -> (Vec<f64>, StepReport)
where
    O: GradOracle<Vector = Vec<f64>>,
    R: Regularizer<O>,
{
    let mut moved = theta.to_vec();
    let report = ok(plain(regularizer, 1.0).step_groups(0, &mut moved, groups));
    (sub(theta, &moved), report)
}

/// Direction, loss and penalties of groups are the weighted means of those of each group alone. The gradient norm is
/// that of the mean.
fn check_mean<O, R>(name: &str, make: impl Fn(TanhMlp) -> O, regularizer: impl Fn() -> R)
where
    O: GradOracle<Vector = Vec<f64>>,
    R: Regularizer<O>,
{
    let (all, theta) = setting();
    let part = |range: &Range<usize>| (make(all.batch(range.clone())), range.len());
    let (found, report) = direction(regularizer(), &theta, GROUPS.iter().map(part).collect());
    let mut expected = vec![0.0; theta.len()];
    let (mut loss, mut penalties) = (0.0, Vec::new());
    for range in &GROUPS {
        let (alone, report) = direction(regularizer(), &theta, vec![part(range)]);
        let weight = range.len() as f64 / EXAMPLES as f64;
        expected.iter_mut().zip(&alone).for_each(|(e, a)| *e += weight * a);
        loss += weight * report.loss;
        penalties.resize(report.penalties.len(), (0.0, 0.0));
        for (sum, (_, penalty)) in penalties.iter_mut().zip(&report.penalties) {
            *sum = (sum.0 + weight * penalty.value, sum.1 + weight * penalty.added_norm);
        }
    }
    assert_close(&found, &expected, 1e-12);
    assert!((report.loss - loss).abs() < 1e-12, "{name}: {} {loss}", report.loss);
    assert_eq!(report.penalties.len(), penalties.len(), "{name}");
    for ((_, penalty), (value, added_norm)) in report.penalties.iter().zip(penalties) {
        assert!((penalty.value - value).abs() < 1e-12 && (penalty.added_norm - added_norm).abs() < 1e-12);
    }
    let whole = norm(&all.value_and_gradient(&theta).1);
    assert!((report.grad_norm - whole).abs() < 1e-12, "the mean gradient is the batch's: {whole}");
    assert!((report.direction_norm - norm(&expected)).abs() < 1e-12);
}

#[test]
fn groups_are_the_mean_of_their_own_steps() {
    let (sam, gnr) = (|| ok(Sam::new(0.05)), || ok(Gnr::new(0.1, 0.5)));
    check_mean("sam", oracle, sam);
    check_mean("gnr, exact", oracle, gnr);
    check_mean("sam and gnr", oracle, || (sam(), gnr()));
    check_mean("gnr, one-sided", |problem| ForwardDiff::new(oracle(problem)), gnr);
    check_mean("gnr, central", |problem| CentralDiff::new(oracle(problem)), gnr);
    check_mean("none", oracle, || ());
}

/// Each group is perturbed on its own: with a regulariser the step differs from the batch's, without one it does not.
#[test]
fn groups_are_the_batch_for_plain_gradients_only() {
    let (all, theta) = setting();
    let groups =
        || GROUPS.iter().map(|range| (oracle(all.batch(range.clone())), range.len())).collect::<Vec<_>>();
    let whole = || vec![(oracle(all.clone()), EXAMPLES)];
    assert_close(&direction((), &theta, groups()).0, &direction((), &theta, whole()).0, 1e-13);
    let sam = || ok(Sam::new(0.05));
    let apart = norm(&sub(&direction(sam(), &theta, groups()).0, &direction(sam(), &theta, whole()).0));
    assert!(apart > 1e-4, "{apart:e}");
}

/// In one dimension L̂ᵢ = λᵢ(θ − cᵢ)²/2 has gᵢ = λᵢ(θ − cᵢ). SAM of single examples adds ρ·mean(λᵢ·sign gᵢ) to the mean
/// gradient, SAM of the batch ρ·mean(λᵢ)·sign(mean gᵢ). Where signs differ the first is the smaller.
#[test]
fn sam_of_single_examples_in_closed_form() {
    let (curvatures, centres, theta, rho) = ([1.0, 2.0, 4.0], [3.0, -1.0, 0.25], 1.0, 0.125);
    let example = |i: usize| {
        let [lambda, centre]: [f64; 2] = [curvatures[i], centres[i]];
        oracle(ok(Quadratic::diagonal(&[lambda]).with_linear(vec![-lambda * centre])))
    };
    let g: Vec<f64> = (0..3).map(|i| curvatures[i] * (theta - centres[i])).collect();
    assert_eq!(g, [-2.0, 4.0, 3.0]);
    let mean = |x: [f64; 3]| x.iter().sum::<f64>() / 3.0;
    let per_example = mean([0, 1, 2].map(|i| g[i] + rho * curvatures[i] * g[i].signum()));
    let of_batch = mean([0, 1, 2].map(|i| g[i])) + rho * mean(curvatures);
    let sam = || ok(Sam::new(rho));
    let (found, _) = direction(sam(), &[theta], (0..3).map(|i| (example(i), 1)).collect());
    // Tolerance: ξ beside the norm, and rounding.
    assert_close(&found, &[per_example], 1e-12);
    let batch = ok(gnr_core::Accumulated::new((0..3).map(|i| (example(i), 1))));
    let (found, _) = direction(sam(), &[theta], vec![(batch, 3)]);
    assert_close(&found, &[of_batch], 1e-12);
    assert!(per_example < of_batch - 1e-2);
}

/// A step over one group equals the step on the batch, bit for bit, and so does its report.
#[test]
fn one_group_changes_no_bit() {
    let (all, theta) = setting();
    let method = || Method {
        regularizer: (ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.3))),
        optimizer: ok(ok(Sgd::new().with_momentum(0.9)).with_weight_decay(1e-3)),
        learning_rate: 0.1,
        clip: ok(Clip::norm(0.5)),
    };
    let (mut whole, mut grouped) = (method(), method());
    let (mut a, mut b) = (theta.clone(), theta);
    for t in 0..5 {
        let expected = ok(whole.step(t, &mut a, &mut oracle(&all)));
        assert_eq!(ok(grouped.step_groups(t, &mut b, [(oracle(&all), EXAMPLES)])), expected);
        assert_eq!(a, b, "step {t}");
    }
}

/// The mean direction is clipped once; the groups' own directions are not.
#[test]
fn the_mean_is_clipped() {
    let (all, theta) = setting();
    let mut method = Method {
        regularizer: ok(Sam::new(0.05)),
        optimizer: Sgd::new(),
        learning_rate: 1.0,
        clip: ok(Clip::norm(0.01)),
    };
    let groups =
        || GROUPS.iter().map(|range| (oracle(all.batch(range.clone())), range.len())).collect::<Vec<_>>();
    let mut moved = theta.clone();
    let report = ok(method.step_groups(0, &mut moved, groups()));
    let (free, _) = direction(ok(Sam::new(0.05)), &theta, groups());
    let scale = 0.01 / norm(&free);
    assert!(report.direction_norm > 0.01 && (report.direction_norm - norm(&free)).abs() < 1e-12);
    assert_close(&sub(&theta, &moved), &free.iter().map(|x| scale * x).collect::<Vec<_>>(), 1e-12);
}

/// Each group is asked the batch's questions about its own examples alone, and commits once.
#[test]
fn a_step_in_groups_costs_the_batch_in_pieces() {
    let (all, theta) = setting();
    fn cost<O, R>(
        regularizer: R,
        theta: &[f64],
        all: &TanhMlp,
        wrap: impl Fn(Counted<ProblemOracle<TanhMlp>>) -> O,
    ) -> [u64; 3]
    where
        O: HvpOracle<Vector = Vec<f64>>,
        R: Regularizer<O>,
    {
        let counter = Counter::default();
        let group = |range: &Range<usize>| {
            let counted = Counted::with_counter(oracle(all.batch(range.clone())), counter.clone());
            (wrap(counted), range.len())
        };
        direction(regularizer, theta, GROUPS.iter().map(group).collect());
        let counts = counter.counts();
        assert_eq!(counts.commits, 3, "one commit a group");
        [counts.evaluations(), counts.products, counts.second_order]
    }
    let (sam, gnr) = (ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.1)));
    assert_eq!(cost((), &theta, &all, |counted| counted), [3, 0, 0]);
    assert_eq!(cost(sam.clone(), &theta, &all, |counted| counted), [6, 0, 0]);
    assert_eq!(cost(gnr.clone(), &theta, &all, |counted| counted), [6, 6, 6]);
    let forward = |counted| ok(ForwardDiff::new(counted).with_step(0.05));
    assert_eq!(
        cost((sam, gnr), &theta, &all, forward),
        [12, 0, 0],
        "SAM and the difference share a gradient in each group"
    );
}

/// A step over no group, an empty group or a group that fails leaves θ unchanged.
#[test]
fn groups_that_cannot_be_stepped_on_are_refused() {
    let (all, theta) = setting();
    let mut moved = theta.clone();
    let mut method = plain(ok(Sam::new(0.05)), 1.0);
    let none = method.step_groups(0, &mut moved, Vec::<(ProblemOracle<TanhMlp>, usize)>::new());
    assert!(
        matches!(&none, Err(Error::Oracle(problem)) if problem.contains("at least one group")),
        "{none:?}"
    );
    let empty = method.step_groups(0, &mut moved, [(oracle(all.clone()), 19), (oracle(all.batch(0..0)), 0)]);
    assert!(matches!(&empty, Err(Error::Oracle(problem)) if problem.contains("group 1")), "{empty:?}");
    let other = TanhMlp::random(4, 2, 5, 1);
    let failing = method.step_groups(0, &mut moved, [(oracle(all), 19), (oracle(other), 4)]);
    assert!(matches!(failing, Err(Error::DimensionMismatch { .. })), "{failing:?}");
    assert_eq!(moved, theta);
}
