//! The test matrix: every optimiser, regulariser and schedule joins with one line and is trained with all the others.

use crate::{ok, oracle};
use gnr_core::{
    Adam, AdamW, CentralDiff, Clip, Cosine, Every, ForwardDiff, FromStep, Gnr, GradOracle, HvpOracle,
    InverseSqrt, Leaves, Method, Milestones, Optimizer, Order, Pass, Proportional, Regularizer, Sam,
    Schedule, Sgd, StepDecay, WarmUp,
    testing::{LogisticRegression, Problem, ProblemOracle, conformance::check_optimizer},
};

type V = Vec<f64>;
/// Exact or by differences: one type, so that boxes of methods can be listed.
type Oracle<'o> = &'o mut dyn HvpOracle<Vector = V, Record = Order>;
/// One entry of the matrix: a name and how to make a fresh one.
type Entry<T> = (&'static str, fn() -> T);

fn optimizers() -> Vec<Entry<Box<dyn Optimizer<V>>>> {
    let entries: &[Entry<Box<dyn Optimizer<V>>>] = &[
        ("sgd", || Box::new(Sgd::new())),
        ("sgd decay", || Box::new(ok(Sgd::new().with_weight_decay(1e-4)))),
        ("momentum", || Box::new(ok(ok(Sgd::new().with_momentum(0.9)).with_weight_decay(1e-4)))),
        ("nesterov", || Box::new(ok(Sgd::new().with_nesterov_momentum(0.9)))),
        ("adam", || Box::new(Adam::new())),
        ("adam decay", || Box::new(ok(Adam::new().with_weight_decay(1e-4)))),
        ("adamw", || Box::new(AdamW::new())),
    ];
    entries.to_vec()
}

type AnyRegularizer = Box<dyn for<'o> Regularizer<Oracle<'o>>>;

fn regularizers() -> Vec<Entry<AnyRegularizer>> {
    let entries: &[Entry<AnyRegularizer>] = &[
        ("none", || Box::new(())),
        ("sam", || Box::new(ok(Sam::new(0.05)))),
        ("gnr", || Box::new(ok(Gnr::new(0.1, 0.1)))),
        ("sam+gnr", || Box::new((ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.1))))),
        ("every", || Box::new(ok(Every::new(ok(Gnr::new(0.1, 0.1)), 5)))),
        ("from step", || Box::new(FromStep::new(ok(Gnr::new(0.1, 0.1)), 30))),
        ("scheduled", || Box::new(Gnr::scheduled(ok(InverseSqrt::new(0.1)), 0.1))),
        ("proportional", || Box::new(Sam::scheduled(ok(Proportional::new(0.1, 0.1, 0.05))))),
    ];
    entries.to_vec()
}

fn schedules() -> Vec<(&'static str, Box<dyn Schedule>)> {
    vec![
        ("constant", Box::new(0.05)),
        ("cosine", Box::new(ok(Cosine::new(0.05, 60, 0.001)))),
        ("step", Box::new(ok(StepDecay::new(0.05, 0.5, 20)))),
        ("milestones", Box::new(ok(Milestones::new(0.05, 0.5, [30, 50])))),
        ("warm-up", Box::new(WarmUp::new(5, 0.05))),
        ("inverse square root", Box::new(ok(InverseSqrt::new(0.1)))),
        ("proportional", Box::new(ok(Proportional::new(ok(Cosine::new(1.0, 60, 0.0)), 1.0, 0.05)))),
    ]
}

fn problem() -> LogisticRegression {
    LogisticRegression::random(60, 4, 12)
}

/// Steps `from..to` over six batches in turn.
fn train(
    method: &mut Method<AnyRegularizer, Box<dyn Optimizer<V>>, &dyn Schedule>,
    theta: &mut V,
    from: u64,
    to: u64,
) -> gnr_core::Result<()> {
    let all = problem();
    for t in from..to {
        let start = 10 * (t as usize % 6);
        let mut batch = oracle(all.batch(start..start + 10));
        method.step(t, theta, &mut (&mut batch as Oracle<'_>))?;
    }
    Ok(())
}

#[test]
fn every_optimizer_conforms() {
    for (name, make) in optimizers() {
        println!("{name}");
        check_optimizer(make, 0.01);
    }
}

/// All combinations lower the training loss, and a run stopped in the middle resumes bit for bit.
#[test]
fn every_combination_trains_and_resumes() {
    let start = problem().value_and_gradient(&[0.0; 4]).0;
    for (schedule_name, schedule) in &schedules() {
        for (optimizer_name, optimizer) in &optimizers() {
            for (regularizer_name, regularizer) in &regularizers() {
                let name = format!("{optimizer_name} / {regularizer_name} / {schedule_name}");
                let method = || Method {
                    regularizer: regularizer(),
                    optimizer: optimizer(),
                    learning_rate: &**schedule,
                    clip: ok(Clip::norm(10.0)),
                };
                let (mut whole, mut theta) = (method(), vec![0.0; 4]);
                ok(train(&mut whole, &mut theta, 0, 23));
                let mut leaves = Leaves::new();
                ok(whole.optimizer.save(&mut leaves));
                let (mut resumed, mut other) = (method(), theta.clone());
                ok(resumed.optimizer.load(&mut leaves));
                ok(train(&mut whole, &mut theta, 23, 60));
                ok(train(&mut resumed, &mut other, 23, 60));
                assert_eq!(theta, other, "{name}: resuming at step 23 changed the run");
                let end = problem().value_and_gradient(&theta).0;
                assert!(end < 0.95 * start, "{name}: the loss went from {start} to {end}");
            }
        }
    }
}

/// The same regulariser with exact and difference products, on a smooth problem: close, and never the same cost.
#[test]
fn every_regularizer_takes_products_by_differences() {
    for (name, make) in regularizers() {
        let step = |oracle: Oracle<'_>| {
            let mut theta = vec![0.3, -0.2, 0.5, 0.1];
            let mut oracle = oracle;
            let mut method =
                Method { regularizer: make(), optimizer: Sgd::new(), learning_rate: 0.5, clip: Clip::None };
            ok(method.step(0, &mut theta, &mut oracle));
            theta
        };
        let exact = step(&mut oracle(problem()));
        // α·ρ times a difference's error of about ε = 1e-3 (1e-4 for central differences of step 1e-2).
        crate::assert_close(&step(&mut ForwardDiff::new(oracle(problem()))), &exact, 1e-4);
        crate::assert_close(&step(&mut CentralDiff::new(oracle(problem()))), &exact, 1e-5);
        // A model that is linear in θ: the Gauss–Newton matrix is the Hessian.
        assert_eq!(step(&mut ProblemOracle::gauss_newton(problem())), exact, "{name}");
        println!("{name}");
    }
}

/// Theorem 2.3: with η_t = η₀/√t and ρ_t = ρ₀/√t the mean squared gradient norm falls like log T/√T.
#[test]
fn the_schedules_of_theorem_2_3_converge() {
    let all = problem();
    let mut method = Method {
        regularizer: Gnr::scheduled(ok(InverseSqrt::new(0.1)), 0.5),
        optimizer: Sgd::new(),
        learning_rate: ok(InverseSqrt::new(0.5)),
        clip: Clip::None,
    };
    let (mut theta, mut sum, mut means) = (vec![0.0; 4], 0.0, Vec::new());
    for t in 0..4000_u64 {
        let start = 10 * (t as usize * 7 % 6);
        ok(method.step(t, &mut theta, &mut oracle(all.batch(start..start + 10))));
        let whole = ok(GradOracle::evaluate(&mut oracle(&all), &theta, Pass::Probe, Order::First)).grad_norm;
        sum += whole * whole;
        if [250, 1000, 4000].contains(&(t + 1)) {
            means.push((t + 1, sum / (t + 1) as f64));
        }
    }
    // The theorem's bound falls by (log 4T/log T)/2 when T grows 4-fold: 0.63 and 0.60.
    for pair in means.windows(2) {
        let bound = ((pair[1].0 as f64).ln() / (pair[0].0 as f64).ln()) / 2.0;
        assert!(pair[1].1 <= bound * pair[0].1, "mean ‖∇L̂‖² after T steps: {means:?}");
    }
}
