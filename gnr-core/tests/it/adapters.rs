//! Finite differences have the order they claim; micro-batches are the whole batch.

use crate::{assert_close, log_log_slope, norm, ok, oracle, plain, sub};
use gnr_core::{
    Accumulated, CentralDiff, Counted, Counts, Error, ExampleOracle, ForwardDiff, Gnr, GradOracle, HvpOracle,
    Order, OutputOracle, Outputs, Pass, Point, Products, Sam, Sample, SampledOracle, Use,
    random::SplitMix64,
    testing::{
        GgnProblem, LogisticRegression, Problem, ProblemOracle, TanhMlp,
        conformance::{Coupling, Operation, Spy, Tolerances, check_examples, check_wrapper, same},
    },
};

fn product<O: HvpOracle<Vector = Vec<f64>>>(oracle: &mut O, theta: &Vec<f64>, v: &Vec<f64>) -> Vec<f64> {
    let order = oracle.products().order();
    let here = ok(oracle.evaluate(theta, Pass::Probe, order));
    ok(oracle.hvp(&here, v, Use::Again))
}

/// Errors of products with steps from 1e-1 to 1e-3, where truncation is far above rounding (1e-16/1e-3).
fn errors<O: HvpOracle<Vector = Vec<f64>>>(
    make: impl Fn(ProblemOracle<TanhMlp>, f64) -> O,
) -> Vec<(f64, f64)> {
    let problem = TanhMlp::random(15, 3, 4, 6);
    let mut random = SplitMix64::new(1);
    let (theta, v) = (random.normals(problem.dim()), random.normals(problem.dim()));
    let exact = problem.hvp(&theta, &v);
    let steps = (0..5).map(|k| 10_f64.powf(-1.0 - k as f64 / 2.0));
    steps
        .map(|h| (h, norm(&sub(&product(&mut make(oracle(problem.clone()), h), &theta, &v), &exact))))
        .collect()
}

#[test]
fn one_sided_differences_are_of_first_order() {
    let slope = log_log_slope(&errors(|o, h| ok(ForwardDiff::new(o).with_step(h))));
    assert!((slope - 1.0).abs() < 0.1, "slope {slope}");
}

#[test]
fn central_differences_are_of_second_order() {
    let slope = log_log_slope(&errors(|o, h| ok(CentralDiff::new(o).with_step(h))));
    assert!((slope - 2.0).abs() < 0.1, "slope {slope}");
}

/// The perturbation has norm ε whatever ‖v‖ is. Products are therefore homogeneous, and zero gives zero.
#[test]
fn differences_do_not_depend_on_the_length_of_v() {
    let problem = TanhMlp::random(15, 3, 4, 6);
    let mut random = SplitMix64::new(1);
    let (theta, v) = (random.normals(problem.dim()), random.normals(problem.dim()));
    let long: Vec<_> = v.iter().map(|v| 1024.0 * v).collect();
    let zero = vec![0.0; v.len()];
    let check = |oracle: &mut dyn HvpOracle<Vector = Vec<f64>, Record = Order>| {
        let mut oracle = oracle;
        let expected: Vec<_> = product(&mut oracle, &theta, &v).iter().map(|x| 1024.0 * x).collect();
        assert_eq!(product(&mut oracle, &theta, &long), expected);
        assert_eq!(product(&mut oracle, &theta, &zero), zero);
    };
    check(&mut ForwardDiff::new(oracle(&problem)));
    check(&mut CentralDiff::new(oracle(&problem)));
    assert!(
        ForwardDiff::new(()).with_step(0.0).is_err() && CentralDiff::new(()).with_step(f64::NAN).is_err()
    );
}

fn halves(all: &LogisticRegression) -> impl Fn() -> Accumulated<ProblemOracle<LogisticRegression>> + '_ {
    // Unequal parts: a mean without weights would show.
    || ok(Accumulated::new([0..7, 7..10, 10..30].map(|part| (oracle(all.batch(part.clone())), part.len()))))
}

#[test]
fn micro_batches_are_the_whole_batch() {
    let all = LogisticRegression::random(30, 5, 3);
    let parts = halves(&all);
    let mut random = SplitMix64::new(9);
    let (theta, v) = (random.normals(5), random.normals(5));
    let (loss, grad) = all.value_and_gradient(&theta);
    let mut accumulated = parts();
    let here = ok(gnr_core::GradOracle::evaluate(&mut accumulated, &theta, Pass::Commit, Order::Second));
    // Equal sums in another order.
    assert!((here.loss - loss).abs() < 1e-14);
    assert_close(&here.grad, &grad, 1e-14);
    assert_close(&product(&mut parts(), &theta, &v), &all.hvp(&theta, &v), 1e-14);

    let regularizer = || (ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.5)));
    let (mut a, mut b) = (theta.clone(), theta.clone());
    ok(plain(regularizer(), 0.3).step(0, &mut a, &mut oracle(all.clone())));
    ok(plain(regularizer(), 0.3).step(0, &mut b, &mut parts()));
    assert_close(&b, &a, 1e-13);

    // Differences of the mean equal the mean of differences; both report one-sided differences.
    let (mut c, mut d) = (theta.clone(), theta.clone());
    ok(plain(regularizer(), 0.3).step(0, &mut c, &mut ForwardDiff::new(parts())));
    let each = |part: std::ops::Range<usize>| (ForwardDiff::new(oracle(all.batch(part.clone()))), part.len());
    let mut mean_of_differences = ok(Accumulated::new([each(0..7), each(7..30)]));
    assert_eq!(mean_of_differences.products(), Products::ForwardDifference { step: 1e-3 });
    ok(plain(regularizer(), 0.3).step(0, &mut d, &mut mean_of_differences));
    assert_close(&d, &c, 1e-11); // rounding over the step: 1e-16/1e-3
    assert_eq!(parts().products(), Products::Exact);
}

/// A whole step commits every micro-batch once; exact products evaluate again, with a record, and differences do not.
#[test]
fn micro_batches_cost_what_is_documented() {
    let all = LogisticRegression::random(30, 5, 3);
    let theta = vec![0.1; 5];
    let counted = || {
        let parts = [0..10, 10..30].map(|part| (Counted::new(oracle(all.batch(part.clone()))), part.len()));
        let counters = parts.each_ref().map(|(part, _)| part.counter());
        (ok(Accumulated::new(parts)), counters)
    };
    let gnr = ok(Gnr::new(0.1, 0.5));

    let (mut exact, counters) = counted();
    ok(plain(gnr.clone(), 0.3).step(0, &mut theta.clone(), &mut exact));
    for counts in counters.map(|counter| counter.counts()) {
        assert_eq!((counts.commits, counts.probes, counts.second_order, counts.products), (1, 3, 2, 2));
    }
    let (differences, counters) = counted();
    ok(plain(gnr, 0.3).step(0, &mut theta.clone(), &mut ForwardDiff::new(differences)));
    for counter in counters {
        let counts = counter.take();
        assert_eq!((counts.commits, counts.probes, counts.second_order, counts.products), (1, 3, 0, 0));
        assert_eq!(counter.counts().evaluations(), 0, "take starts again");
    }
}

#[test]
fn an_accumulation_needs_examples() {
    let none: Result<Accumulated<ProblemOracle<TanhMlp>>, _> = Accumulated::new([]);
    assert!(matches!(none, Err(Error::Oracle(_))));
    let empty = Accumulated::new([
        (oracle(TanhMlp::random(2, 1, 1, 0)), 2),
        (oracle(TanhMlp::random(2, 1, 1, 0)), 0),
    ]);
    assert!(empty.is_err_and(|error| error.to_string().contains("micro-batch 1 has no examples")));
}

/// The matrix G is JᵀJ/n with J a row an example. The loss of an example is r²/2, so that its gradient is r·J, with r =
/// √(2·loss) up to its sign.
#[test]
fn gauss_newton_products_are_those_of_the_dense_matrix() {
    let (examples, mut random) = (12, SplitMix64::new(5));
    let all = TanhMlp::random(examples, 3, 4, 6);
    let (theta, v) = (random.normals(all.dim()), random.normals(all.dim()));
    let mut expected = vec![0.0; v.len()];
    for i in 0..examples {
        let (loss, grad) = all.batch(i..i + 1).value_and_gradient(&theta);
        let row: Vec<_> = grad.iter().map(|g| g / (2.0 * loss).sqrt()).collect();
        let along: f64 = row.iter().zip(&v).map(|(j, v)| j * v).sum();
        expected.iter_mut().zip(&row).for_each(|(e, j)| *e += j * along / examples as f64);
    }
    let scale = norm(&expected);
    // Tolerance: rounding of a root and a quotient.
    assert_close(&all.ggn(&theta, &v), &expected, 1e-12 * scale);
    assert_close(
        &product(&mut ProblemOracle::<_, f64>::gauss_newton(&all), &theta, &v),
        &expected,
        1e-12 * scale,
    );
    let parts =
        [0..5, 5..6, 6..12].map(|part| (ProblemOracle::gauss_newton(all.batch(part.clone())), part.len()));
    let mut parts = ok(Accumulated::new(parts));
    assert_eq!(parts.products(), Products::GaussNewton);
    assert_close(&product(&mut parts, &theta, &v), &expected, 1e-12 * scale);
    assert!(norm(&sub(&all.hvp(&theta, &v), &expected)) > 1e-2 * scale, "not the Hessian");
}

/// Lines 6–9 of Algorithm 1 with G for H, written out. On a net of tanh the direction differs from that of the exact
/// method.
#[test]
fn gnr_takes_gauss_newton_products() {
    let (problem, mut random) = (TanhMlp::random(20, 3, 5, 1), SplitMix64::new(2));
    let theta = random.normals(problem.dim());
    let (rho, alpha) = (0.1, 0.7);
    let g = problem.value_and_gradient(&theta).1;
    let f = problem.ggn(&theta, &g);
    let f_norm = norm(&f);
    let adv: Vec<_> = theta.iter().zip(&f).map(|(t, f)| t + rho * f / f_norm).collect();
    let there = problem.value_and_gradient(&adv).1;
    let h = problem.ggn(&adv, &there);
    let there_norm = norm(&there);
    let expected: Vec<_> = g.iter().zip(&h).map(|(g, h)| g + alpha * rho * h / there_norm).collect();
    let gnr = || plain(ok(Gnr::new(rho, alpha)), 1.0);
    let direction = |oracle: &mut dyn HvpOracle<Vector = Vec<f64>, Record = Order>| {
        let (mut oracle, mut moved) = (oracle, theta.clone());
        ok(gnr().step(0, &mut moved, &mut oracle));
        sub(&theta, &moved)
    };
    let mut counted = Counted::new(ProblemOracle::gauss_newton(&problem));
    let counter = counted.counter();
    let found = direction(&mut counted);
    // Tolerance: ξ beside the norms, and rounding.
    assert_close(&found, &expected, 1e-11);
    let counts = counter.counts();
    assert_eq!((counts.evaluations(), counts.products, counts.second_order), (2, 2, 2));
    let exact = direction(&mut oracle(&problem));
    assert!(norm(&sub(&found, &exact)) > 1e-3, "G is not the Hessian here");
}

/// A block of products equals single products for every oracle, and each of its vectors is counted.
#[test]
fn several_products_are_counted() {
    let (problem, mut random) = (TanhMlp::random(20, 3, 5, 1), SplitMix64::new(2));
    let theta = random.normals(problem.dim());
    let vs = [random.normals(problem.dim()), random.normals(problem.dim())];
    let mut counted = Counted::new(ProblemOracle::gauss_newton(&problem));
    let counter = counted.counter();
    let here = ok(counted.evaluate(&theta, Pass::Commit, Order::Second));
    let expected = vs.each_ref().map(|v| problem.ggn(&theta, v));
    assert_eq!((ok(counted.hvp_block(&here, &vs)), counter.counts().products), (expected.to_vec(), 2));
    assert_eq!(ok(counted.hvp(&here, &vs[0], Use::Last)), expected[0]);
    let own = problem.ggn(&theta, &here.grad);
    assert_eq!(ok(counted.hvp_of_gradient(here)), own);
    assert_eq!(counter.counts().products, 4);
    assert_eq!(ok(counted.loss(&theta)), problem.value_and_gradient(&theta).0);
    assert_eq!(ok(counted.gradient(theta.clone())), problem.value_and_gradient(&theta).1);
    assert_eq!(counter.counts().evaluations(), 3);
}

/// Losses, outputs and selections of a problem agree with those of micro-batches (one of them without a selected
/// example), and of wrappers.
#[test]
fn examples_are_known_one_by_one() {
    let (problem, mut random) = (TanhMlp::random(8, 3, 5, 1), SplitMix64::new(2));
    let theta = random.normals(problem.dim());
    let v: Vec<f64> = random.normals(problem.dim()).iter().map(|x| 0.2 * x).collect();
    let whole = || ProblemOracle::<_, f64>::new(problem.clone()).with_examples((10..18).collect());
    let part = |range: std::ops::Range<usize>| {
        let examples = range.clone().map(|row| 10 + row as u64).collect();
        (ProblemOracle::new(problem.batch(range.clone())).with_examples(examples), range.len())
    };
    let parts = || ok(Accumulated::new([part(0..1), part(1..5), part(5..8)]));
    check_examples(&mut whole(), &theta, &v, Coupling::Apart, Tolerances::F64);
    check_examples(&mut parts(), &theta, &v, Coupling::Apart, Tolerances::F64);
    check_examples(
        &mut Counted::new(ForwardDiff::new(parts())),
        &theta,
        &v,
        Coupling::Apart,
        Tolerances::F64,
    );
    let (mut whole, mut parts) = (whole(), parts());
    assert_eq!(ok(parts.examples()), ok(whole.examples()));
    assert_eq!(ok(parts.losses(Point::At(&theta))), ok(whole.losses(Point::At(&theta))));
    let u = ok(Outputs::new(1, random.normals(8)));
    assert_close(&ok(parts.pull_back(&theta, &u)), &ok(whole.pull_back(&theta, &u)), 1e-12);
    for rows in [&[5, 6, 7][..], &[0, 7], &[2]] {
        assert_eq!(ok(parts.select(Some(rows))), ok(whole.select(Some(rows))));
        assert_close(&ok(parts.gradient(theta.clone())), &ok(whole.gradient(theta.clone())), 1e-13);
        // Outputs are those of the selected rows, and so is u.
        assert_eq!(ok(parts.outputs(Point::At(&theta))), ok(whole.outputs(Point::At(&theta))));
        let u = ok(Outputs::new(1, random.normals(rows.len())));
        assert_close(&ok(parts.pull_back(&theta, &u)), &ok(whole.pull_back(&theta, &u)), 1e-12);
        let v = random.normals(problem.dim());
        let here = ok(parts.evaluate(&theta, Pass::Probe, Order::Second));
        let product = ok(parts.hvp(&here, &v, Use::Last));
        let here = ok(whole.evaluate(&theta, Pass::Probe, Order::Second));
        assert_close(&product, &ok(whole.hvp(&here, &v, Use::Last)), 1e-12);
    }
}

/// A gradient counts by its share of the examples; a pass over them without a gradient is counted separately.
#[test]
fn shares_of_a_batch_are_counted() {
    let problem = TanhMlp::random(8, 3, 5, 1);
    let theta = vec![0.1; problem.dim()];
    let mut counted = Counted::new(ProblemOracle::<_, f64>::new(problem));
    let counter = counted.counter();
    ok(counted.evaluate(&theta, Pass::Commit, Order::First));
    ok(counted.losses(Point::Committed));
    ok(counted.losses(Point::At(&theta)));
    ok(counted.outputs(Point::At(&theta)));
    assert_eq!(counter.counts(), Counts { commits: 1, forwards: 2, gradients: 1.0, ..Counts::default() });
    ok(counted.select(Some(&[1, 4])));
    ok(counted.gradient(theta.clone()));
    ok(counted.select(None));
    ok(counted.gradient(theta.clone()));
    ok(counted.restrict(Some(Sample::new(0.5, 1))));
    ok(counted.gradient(theta.clone()));
    let counts = counter.take();
    assert_eq!((counts.probes, counts.gradients, counts.evaluations()), (3, 2.75, 4));
    assert_eq!(counter.counts(), Counts::default());
}

/// One line for each oracle that is made of another.
#[test]
fn every_wrapper_passes_every_operation_on() {
    check_wrapper(Box::new, same);
    check_wrapper(|spy| -> &mut Spy { Box::leak(Box::new(spy)) }, same);
    check_wrapper(Counted::new, same);
    check_wrapper(|spy| Counted::new(Box::new(spy)), same);
    check_wrapper(|spy| ok(ForwardDiff::new(spy).with_step(0.5)), |operation, _| differences(operation, 1));
    check_wrapper(|spy| ok(CentralDiff::new(spy).with_step(0.5)), |operation, _| differences(operation, 2));
    check_wrapper(|spy| ok(Accumulated::new([(spy, 3)])), one_micro_batch);
}

/// A product asks for `count` gradients; no evaluation leaves a record.
fn differences(operation: Operation, count: usize) -> Vec<Operation> {
    use Operation::{Evaluate, Gradient, Hvp, HvpBlock, HvpOfGradient, Products};
    match operation {
        Evaluate(pass, _) => vec![Evaluate(pass, Order::First)],
        Hvp(_) | HvpOfGradient => vec![Gradient; count],
        HvpBlock => vec![Gradient; 2 * count],
        Products => Vec::new(),
        other => vec![other],
    }
}

/// A product evaluates again, because no record outlives its micro-batch. Only a single micro-batch could consume its
/// point.
fn one_micro_batch(operation: Operation, products: Products) -> Vec<Operation> {
    use Operation::{Evaluate, Gradient, Hvp, HvpBlock, HvpOfGradient};
    let again = Evaluate(Pass::Probe, products.order());
    match operation {
        Evaluate(pass, _) => vec![Evaluate(pass, Order::First)],
        Gradient => vec![Evaluate(Pass::Probe, Order::First)],
        Hvp(_) | HvpOfGradient => vec![again, Hvp(Use::Last)],
        HvpBlock => vec![again, Hvp(Use::Again), Hvp(Use::Again)],
        other => vec![other],
    }
}
