//! GNR, SAM, Every and their combinations: closed forms and costs.

use crate::{assert_close, norm, ok, oracle, plain, sub};
use gnr_core::{
    Ahead, Change, Clip, Counted, Evaluation, Every, ForwardDiff, FromStep, Gnr, GradOracle, HvpOracle,
    Method, Needs, OnSample, Order, Pass, Regularizer, Result, Sam, Sample, SampledOracle, Sgd, StepContext,
    Use, Vector,
    regularizer::HessianDiagonal,
    regularizer::{Gsam, Pgn, Wsam},
    testing::{LogisticRegression, Problem, ProblemOracle, Quadratic, TanhMlp},
};

/// The default ξ of Algorithm 1.
const XI: f64 = 1e-12;

/// The direction: what one step of plain SGD with lr = 1 subtracts from θ.
pub(crate) fn direction<O>(regularizer: impl Regularizer<O>, oracle: &mut O, theta: &[f64]) -> Vec<f64>
where
    O: GradOracle<Vector = Vec<f64>>,
{
    let mut moved = theta.to_vec();
    ok(plain(regularizer, 1.0).step(0, &mut moved, oracle));
    sub(theta, &moved)
}

pub(crate) fn mlp() -> (TanhMlp, Vec<f64>) {
    let problem = TanhMlp::random(20, 3, 5, 1);
    let theta = gnr_core::random::SplitMix64::new(2).normals(problem.dim());
    (problem, theta)
}

/// Lines 6–9 of Algorithm 1 with a constant diagonal Hessian, written out.
#[test]
fn gnr_on_a_quadratic_is_algorithm_1() {
    let (lambda, theta, rho, alpha) = ([2.0, -1.0, 0.5], [1.0, 3.0, -2.0], 0.1, 0.7);
    let scale = |x: &[f64], a: f64| x.iter().map(|x| a * x).collect::<Vec<_>>();
    let times_h = |x: &[f64]| x.iter().zip(lambda).map(|(x, l)| l * x).collect::<Vec<_>>();
    let g = times_h(&theta);
    let f = scale(&times_h(&g), 1.0 / (norm(&g) + XI));
    let f_norm = norm(&f) + XI;
    let adv: Vec<_> = theta.iter().zip(&f).map(|(t, f)| t + rho * f / f_norm).collect();
    let g_adv = times_h(&adv);
    let h_norm = scale(&times_h(&g_adv), rho / (norm(&g_adv) + XI));
    let expected: Vec<_> = g.iter().zip(&h_norm).map(|(g, h)| g + alpha * h).collect();

    let gnr = ok(Gnr::new(rho, alpha));
    let exact = direction(gnr.clone(), &mut oracle(Quadratic::diagonal(&lambda)), &theta);
    assert_close(&exact, &expected, 1e-14);
    // Gradients of a quadratic are linear: differences of them are exact up to rounding over the step, 1e-16/1e-3.
    let mut differences = ForwardDiff::new(oracle(Quadratic::diagonal(&lambda)));
    assert_close(&direction(gnr, &mut differences, &theta), &expected, 1e-11);
}

#[test]
fn sam_is_the_gradient_uphill() {
    let (problem, theta) = mlp();
    let (_, g) = problem.value_and_gradient(&theta);
    let g_norm = norm(&g) + XI;
    let uphill: Vec<_> = theta.iter().zip(&g).map(|(t, g)| t + 0.05 * g / g_norm).collect();
    let expected = problem.value_and_gradient(&uphill).1;
    assert_close(&direction(ok(Sam::new(0.05)), &mut oracle(&problem), &theta), &expected, 1e-14);
}

/// "SAM + GNR": h_loss is SAM's gradient, and h_norm does not depend on SAM.
#[test]
fn sam_and_gnr_add_up() {
    let (problem, theta) = mlp();
    let (sam, gnr) = (ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.3)));
    let base = problem.value_and_gradient(&theta).1;
    let from_sam = direction(sam.clone(), &mut oracle(&problem), &theta);
    let from_gnr = direction(gnr.clone(), &mut oracle(&problem), &theta);
    let expected: Vec<_> = from_sam.iter().zip(sub(&from_gnr, &base)).map(|(s, h)| s + h).collect();
    assert_close(&direction((sam.clone(), gnr.clone()), &mut oracle(&problem), &theta), &expected, 1e-13);
    let boxed: Vec<Box<dyn Regularizer<ProblemOracle<&TanhMlp>>>> = vec![Box::new(gnr), Box::new(Some(sam))];
    assert_close(&direction(boxed, &mut oracle(&problem), &theta), &expected, 1e-13);
}

/// h_norm is α·∇R to first order in ρ: R(θ) ≈ ρ‖∇L̂(θ_adv)‖, whose slope along h_norm is ‖h_norm‖.
#[test]
fn gnr_reports_its_value_and_norm() {
    let (problem, mut theta) = mlp();
    let report = ok(plain(ok(Gnr::new(1e-6, 2.0)), 0.1).step(0, &mut theta.clone(), &mut oracle(&problem)));
    let (name, penalty) = report.penalties[0];
    assert_eq!((name, report.penalties.len()), ("gnr", 1));
    assert!((penalty.value / (1e-6 * report.grad_norm) - 1.0).abs() < 1e-4, "{penalty:?}");
    assert!(penalty.added_norm > 0.0);
    let none = ok(plain((), 0.1).step(0, &mut theta, &mut oracle(&problem)));
    assert!(none.penalties.is_empty());
}

/// Evaluations, products, and evaluations that kept a record, of one step.
fn cost<O: HvpOracle<Vector = Vec<f64>>>(
    regularizer: impl Regularizer<O>,
    t: u64,
    wrap: impl Fn(Counted<ProblemOracle<TanhMlp>>) -> O,
) -> (u64, u64, u64) {
    let (problem, mut theta) = mlp();
    let counted = Counted::new(oracle(problem));
    let counter = counted.counter();
    ok(plain(regularizer, 0.1).step(t, &mut theta, &mut wrap(counted)));
    let counts = counter.counts();
    assert_eq!(counts.commits, 1, "one Commit evaluation a step");
    (counts.evaluations(), counts.products, counts.second_order)
}

#[test]
fn steps_cost_what_is_documented() {
    let exact = |counted| counted;
    let forward = |counted| ok(ForwardDiff::new(counted).with_step(0.05));
    let (sam, gnr) = (ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.1)));
    assert_eq!(cost((), 0, exact), (1, 0, 0));
    assert_eq!(cost(sam.clone(), 0, exact), (2, 0, 0));
    assert_eq!(cost(gnr.clone(), 0, exact), (2, 2, 2));
    assert_eq!(cost((sam.clone(), gnr.clone()), 0, exact), (3, 2, 2));
    assert_eq!(cost(gnr.clone(), 0, forward), (4, 0, 0));
    // The step of the differences is SAM's radius: ∇L̂(θ + 0.05 ĝ) serves both.
    assert_eq!(cost((sam.clone(), gnr.clone()), 0, forward), (4, 0, 0));
    assert_eq!(cost((gnr.clone(), sam.clone()), 0, forward), (4, 0, 0));
    assert_eq!(cost((Some(gnr.clone()), vec![sam.clone(), sam.clone()]), 0, forward), (4, 0, 0));
    assert_eq!(cost((ok(Sam::new(0.06)), gnr), 0, forward), (5, 0, 0));
    // Variants of SAM of equal radius look at one point.
    let (gsam, pgn, wsam) = (ok(Gsam::new(0.05, 0.4)), ok(Pgn::new(0.05, 0.8)), ok(Wsam::new(0.05, 0.9)));
    assert_eq!(cost((sam, gsam, pgn, wsam), 0, exact), (2, 0, 0));
}

/// A gradient ahead is evaluated once for all that announced it, and again for one that did not.
#[test]
fn gradients_ahead_are_shared_by_those_who_announced_them() {
    let (problem, theta) = mlp();
    let counted = Counted::new(oracle(problem));
    let (counter, mut counted) = (counted.counter(), counted);
    let here = ok(counted.evaluate(&theta, Pass::Commit, Order::First));
    let [near, far] = [0.05, 0.1].map(|radius| Ahead { radius, xi: XI });
    let needs = Needs { ahead: vec![near, far, near], ..Needs::NONE };
    let mut change = Change::new(here.grad.clone());
    let mut cx = StepContext::new(0, &here, &mut counted, needs, &mut change);
    let first = ok(cx.ahead(near));
    assert_eq!((ok(cx.ahead(near)), counter.counts().probes), (first.clone(), 1));
    assert_eq!((ok(cx.ahead(near)), counter.counts().probes), (first.clone(), 2), "nobody announced a third");
    assert_ne!(ok(cx.ahead(far)), first);
    assert_eq!(counter.counts().probes, 3);
}

/// Two regularisers multiply at θ: the record stays for the second, and is freed in the last product. A product by
/// differences needs no record.
#[test]
fn a_record_is_freed_in_the_last_product_that_was_announced() {
    let (problem, theta) = mlp();
    let uses = |count: usize| {
        let seen = std::cell::RefCell::new(Vec::new());
        let mut noting = Noting { inner: oracle(problem.clone()), seen: &seen };
        let gnrs = vec![ok(Gnr::new(0.1, 0.1)); count];
        ok(plain(gnrs, 0.1).step(0, &mut theta.clone(), &mut noting));
        seen.into_inner()
    };
    // The second product of each is that with the gradient at the perturbed point, which consumes its evaluation.
    assert_eq!(uses(1), [Use::Last, Use::Last]);
    assert_eq!(uses(2), [Use::Again, Use::Last, Use::Last, Use::Last]);
    assert_eq!(uses(3), [Use::Again, Use::Last, Use::Again, Use::Last, Use::Last, Use::Last]);
}

/// An oracle that records how its records are used.
struct Noting<'s> {
    inner: ProblemOracle<TanhMlp>,
    seen: &'s std::cell::RefCell<Vec<Use>>,
}

impl GradOracle for Noting<'_> {
    type Vector = Vec<f64>;
    type Record = Order;
    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<f64>,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, Vec<f64>, Order>> {
        self.inner.evaluate(at, pass, order)
    }
}

impl HvpOracle for Noting<'_> {
    fn hvp(&mut self, here: &Evaluation<'_, Vec<f64>, Order>, v: &Vec<f64>, record: Use) -> Result<Vec<f64>> {
        self.seen.borrow_mut().push(record);
        self.inner.hvp(here, v, record)
    }
}

#[test]
fn every_costs_nothing_in_between() {
    let every = ok(Every::new(ok(Gnr::new(0.1, 0.1)), 10));
    for t in 0..25 {
        let expected = if t % 10 == 0 { (2, 2, 2) } else { (1, 0, 0) };
        assert_eq!(cost(every.clone(), t, |counted| counted), expected, "step {t}");
    }
    let shifted = ok(every.with_offset(3));
    assert_eq!((0..25).filter(|&t| shifted.acts(t)).collect::<Vec<_>>(), [3, 13, 23]);
    assert!(Every::new((), 0).is_err() && ok(Every::new((), 2)).with_offset(2).is_err());
}

/// A regulariser that starts late acts as usual from its start on; the steps before are plain, bit for bit.
#[test]
fn from_step_costs_nothing_before_its_start() {
    let late = FromStep::new(ok(Gnr::new(0.1, 0.1)), 3);
    let late_sam = FromStep::new(ok(Sam::new(0.05)), 3);
    for t in 0..6 {
        let exact = |counted| counted;
        let forward = |counted| ok(ForwardDiff::new(counted).with_step(0.05));
        let acts = t >= 3;
        assert_eq!(cost(late.clone(), t, exact), if acts { (2, 2, 2) } else { (1, 0, 0) }, "step {t}");
        assert_eq!(cost(late_sam.clone(), t, exact), if acts { (2, 0, 0) } else { (1, 0, 0) }, "step {t}");
        // Nothing is announced before the start either: SAM evaluates its gradient ahead once, for itself.
        let both = (ok(Sam::new(0.05)), late.clone());
        assert_eq!(cost(both, t, forward), if acts { (4, 0, 0) } else { (2, 0, 0) }, "step {t}");
    }
    assert_eq!(cost(FromStep::new(ok(Gnr::new(0.1, 0.1)), 0), 0, |counted| counted), (2, 2, 2));
}

/// With `Every`, in either order, both must let a step act; a radius that follows a schedule gets the step's own
/// number.
#[test]
fn from_step_composes_with_every_and_with_schedules() {
    let (problem, theta) = mlp();
    type Any = Box<dyn Regularizer<ProblemOracle<TanhMlp>>>;
    let moved = |regularizer: Any, t| {
        let mut theta = theta.clone();
        let report = ok(plain(regularizer, 0.1).step(t, &mut theta, &mut oracle(problem.clone())));
        (theta, report.penalties.len())
    };
    let gnr = || Gnr::scheduled(ok(gnr_core::InverseSqrt::new(0.1)), 0.5);
    for t in 0..12 {
        let outside = moved(Box::new(FromStep::new(ok(Every::new(gnr(), 4)), 5)), t);
        let inside = moved(Box::new(ok(Every::new(FromStep::new(gnr(), 5), 4))), t);
        let expected = if t == 8 { moved(Box::new(gnr()), t) } else { moved(Box::new(()), t) };
        assert_eq!((&outside, &inside), (&expected, &expected), "step {t}");
    }
}

/// A combination asks for products exactly when one of its members does.
#[test]
fn order_is_the_largest_of_the_members() {
    type O = ProblemOracle<Quadratic>;
    let oracle: O = oracle(Quadratic::diagonal(&[1.0]));
    let (sam, every) = (ok(Sam::new(0.1)), ok(Every::new(ok(Gnr::new(0.1, 0.1)), 2)));
    let order = |r: &dyn Regularizer<O>, t| r.needs(t, &oracle).order;
    assert_eq!((order(&(), 0), order(&sam, 0)), (Order::First, Order::First));
    assert_eq!((order(&every, 0), order(&every, 1)), (Order::Second, Order::First));
    assert_eq!(order(&(sam.clone(), every.clone(), sam.clone(), ()), 0), Order::Second);
    assert_eq!(order(&(sam.clone(), every.clone()), 1), Order::First);
    assert_eq!(order(&None::<Gnr>, 0), Order::First);
    assert_eq!(order(&vec![every.clone(), every], 0), Order::Second);
}

#[test]
fn clipping_bounds_the_step() {
    let theta = vec![3.0, 4.0];
    for (max, expected) in [(2.5, [1.5, 2.0]), (5.0, [3.0, 4.0]), (7.0, [3.0, 4.0])] {
        let (mut moved, clip) = (theta.clone(), ok(Clip::norm(max)));
        let mut method = Method { regularizer: (), optimizer: Sgd::new(), learning_rate: 1.0, clip };
        let report = ok(method.step(0, &mut moved, &mut oracle(Quadratic::diagonal(&[1.0, 1.0]))));
        assert_close(&sub(&theta, &moved), &expected, 1e-15);
        assert_eq!(report.direction_norm, 5.0, "the norm before clipping is reported");
    }
    assert!(Clip::norm(0.0).is_err() && Clip::norm(f64::NAN).is_err());
}

/// A method in a box serves oracles that borrow their batch, as `Box<dyn for<'b> …>`.
#[test]
fn a_boxed_method_serves_oracles_that_borrow() {
    type Borrowing<'b> = ProblemOracle<&'b LogisticRegression>;
    let mut method =
        plain(Box::new(ok(Gnr::new(0.1, 0.1))) as Box<dyn for<'b> Regularizer<Borrowing<'b>>>, 0.5);
    let (all, mut theta) = (LogisticRegression::random(40, 3, 1), vec![0.0; 3]);
    for t in 0..4 {
        let batch = all.batch(10 * t..10 * t + 10);
        ok(method.step(t as u64, &mut theta, &mut ProblemOracle::new(&batch)));
    }
    assert!(theta.norm().unwrap() > 0.0);
}

/// Oracles chosen at run time: every trait is object safe.
#[test]
fn a_boxed_oracle_is_an_oracle() {
    let (problem, mut theta) = mlp();
    let mut boxed: Box<dyn HvpOracle<Vector = Vec<f64>, Record = Order>> = Box::new(oracle(problem.clone()));
    let mut expected = theta.clone();
    ok(plain(ok(Gnr::new(0.1, 0.1)), 0.1).step(0, &mut expected, &mut oracle(problem)));
    ok(plain(ok(Gnr::new(0.1, 0.1)), 0.1).step(0, &mut theta, &mut boxed));
    assert_eq!(theta, expected);
    let borrowed = &mut *boxed;
    ok(borrowed.evaluate(&theta, Pass::Probe, Order::First));
}

/// Logistic regression that can answer for some of its examples.
struct Examples {
    all: LogisticRegression,
    count: usize,
    sample: Option<Sample>,
}

impl Examples {
    fn new() -> Self {
        Self { all: LogisticRegression::random(24, 4, 12), count: 24, sample: None }
    }
    fn rows(&self, sample: Option<Sample>) -> Vec<usize> {
        sample.map_or_else(|| (0..self.count).collect(), |sample| sample.rows(self.count))
    }
    fn mean(&self, sample: Option<Sample>, f: impl Fn(&LogisticRegression) -> Vec<f64>) -> Vec<f64> {
        let rows = self.rows(sample);
        let mut sum = Vec::new();
        for row in &rows {
            let value = f(&self.all.batch(*row..row + 1));
            sum.resize(value.len(), 0.0);
            sum.iter_mut().zip(value).for_each(|(sum, value)| *sum += value / rows.len() as f64);
        }
        sum
    }
}

impl GradOracle for Examples {
    type Vector = Vec<f64>;
    type Record = Option<Sample>;
    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<f64>,
        _: Pass,
        _: Order,
    ) -> Result<Evaluation<'a, Vec<f64>, Option<Sample>>> {
        let loss = self.mean(self.sample, |one| vec![one.value_and_gradient(at).0])[0];
        let grad = self.mean(self.sample, |one| one.value_and_gradient(at).1);
        Evaluation::new(at, loss, grad, self.sample)
    }
}

impl SampledOracle for Examples {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.sample = sample;
        Ok(())
    }
}

impl HvpOracle for Examples {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, Vec<f64>, Option<Sample>>,
        v: &Vec<f64>,
        _: Use,
    ) -> Result<Vec<f64>> {
        assert_eq!(here.record, self.sample, "a product belongs to the sample of its evaluation");
        Ok(self.mean(self.sample, |one| one.hvp(&here.at, v)))
    }
}

/// `OnSample` adds to the batch's gradient what the regulariser adds on a batch of the sampled examples alone.
#[test]
fn a_regularizer_on_a_sample_sees_the_sample_alone() {
    let theta = vec![0.3, -0.2, 0.5, 0.1];
    let gnr = ok(Gnr::new(0.1, 0.7));
    let on_sample = ok(OnSample::new(gnr.clone(), 0.25)).with_seed(5);
    let mut oracle = Examples::new();
    let found = direction(on_sample.clone(), &mut oracle, &theta);
    assert_eq!(oracle.sample, None, "the oracle is whole again");
    // One of the 6-element samples explains what was added, and it is the one that the step drew.
    let mut drawn = Recorder(Examples::new(), Vec::new());
    direction(on_sample, &mut drawn, &theta);
    let [sample] = drawn.1[..] else { panic!("{:?}", drawn.1) };
    assert_eq!(sample.rows(24).len(), 6);
    let mut alone = Examples { sample: Some(sample), ..Examples::new() };
    let added = sub(&direction(gnr.clone(), &mut alone, &theta), &direction((), &mut alone, &theta));
    let expected: Vec<_> =
        direction((), &mut Examples::new(), &theta).iter().zip(added).map(|(g, a)| g + a).collect();
    assert_close(&found, &expected, 1e-14);
    // The fraction 1 is the regulariser itself, and other steps draw other samples.
    let whole = direction(ok(OnSample::new(gnr.clone(), 1.0)), &mut Examples::new(), &theta);
    assert_eq!(whole, direction(gnr, &mut Examples::new(), &theta));
    assert_ne!(Sample::new(0.25, 1).rows(24), Sample::new(0.25, 2).rows(24));
}

/// An oracle that records the samples to which it is restricted.
struct Recorder(Examples, Vec<Sample>);

impl GradOracle for Recorder {
    type Vector = Vec<f64>;
    type Record = Option<Sample>;
    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<f64>,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, Vec<f64>, Option<Sample>>> {
        self.0.evaluate(at, pass, order)
    }
}

impl SampledOracle for Recorder {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.1.extend(sample);
        self.0.restrict(sample)
    }
}

impl HvpOracle for Recorder {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, Vec<f64>, Option<Sample>>,
        v: &Vec<f64>,
        record: Use,
    ) -> Result<Vec<f64>> {
        self.0.hvp(here, v, record)
    }
}

#[test]
fn a_sample_is_a_fraction() {
    assert!(OnSample::new(ok(Gnr::new(0.1, 0.1)), 0.0).is_err());
    assert!(OnSample::new(ok(Gnr::new(0.1, 0.1)), 1.5).is_err());
}

/// An optimiser that keeps the estimates of the Hessian's diagonal, and does not move.
#[derive(Default)]
pub(crate) struct Listener(pub(crate) Vec<Vec<f64>>);

impl gnr_core::Checkpoint<Vec<f64>> for Listener {
    fn save(&self, _: &mut dyn gnr_core::StateSink<Vec<f64>>) -> Result<()> {
        Ok(())
    }
    fn load(&mut self, _: &mut dyn gnr_core::StateSource<Vec<f64>>) -> Result<()> {
        Ok(())
    }
}

impl gnr_core::Optimizer<Vec<f64>> for Listener {
    fn step(&mut self, _: &mut Vec<f64>, _: &Vec<f64>, _: f64) -> Result<()> {
        Ok(())
    }
    fn curvature(&mut self, diagonal: &Vec<f64>) -> Result<()> {
        self.0.push(diagonal.clone());
        Ok(())
    }
}

/// With a diagonal Hessian every sample is the diagonal, with any other Hessian the samples' mean approaches it. A step
/// costs one product and keeps its direction; groups give the mean.
#[test]
fn the_optimizer_hears_the_diagonal_of_the_hessian() {
    let listen = |problem: &dyn Fn() -> ProblemOracle<Quadratic>, steps: u64| {
        let diagonal = ok(Every::new(HessianDiagonal::new(3), 2));
        let mut method = Method {
            regularizer: diagonal,
            optimizer: Listener::default(),
            learning_rate: 0.1,
            clip: Clip::None,
        };
        let counted = Counted::new(problem());
        let (counter, mut counted) = (counted.counter(), counted);
        for t in 0..steps {
            let report = ok(method.step(t, &mut vec![1.0, -2.0, 0.5], &mut counted));
            assert_eq!(report.direction_norm, report.grad_norm);
        }
        assert_eq!((counter.counts().products, counter.counts().evaluations()), (steps / 2, steps));
        method.optimizer.0
    };
    let spectrum = [3.0, -1.0, 0.25];
    assert_eq!(listen(&|| oracle(Quadratic::diagonal(&spectrum)), 4), [spectrum.to_vec(), spectrum.to_vec()]);
    let dense = Quadratic::with_spectrum(&spectrum, 5);
    let hessian = dense.hessian(&[0.0; 3]);
    let heard = listen(&|| oracle(dense.clone()), 20_000);
    for i in 0..3 {
        let mean = heard.iter().map(|one| one[i]).sum::<f64>() / heard.len() as f64;
        // The variance of a sample is the sum of the squared off-diagonal entries of its row.
        let variance: f64 = (0..3).filter(|j| *j != i).map(|j| hessian[i][j].powi(2)).sum();
        let deviations = (mean - hessian[i][i]).abs() / (variance / heard.len() as f64).sqrt();
        assert!(deviations < 4.0, "entry {i}: {mean} for {}, {deviations} standard errors", hessian[i][i]);
    }
    let mut method = Method {
        regularizer: HessianDiagonal::new(1),
        optimizer: Listener::default(),
        learning_rate: 0.1,
        clip: Clip::None,
    };
    let groups =
        [([1.0, 2.0, 3.0], 1), ([5.0, 6.0, 7.0], 3)].map(|(d, n)| (oracle(Quadratic::diagonal(&d)), n));
    ok(method.step_groups(0, &mut vec![0.1, 0.2, 0.3], groups));
    assert_close(&method.optimizer.0[0], &[4.0, 5.0, 6.0], 1e-14);
}
