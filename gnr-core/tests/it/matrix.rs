//! The test matrix: every optimiser, regulariser and schedule joins with one line and is trained with all the others.

use crate::{ok, oracle};
use gnr_core::{
    CentralDiff, Clip, Cosine, Every, ForwardDiff, FromStep, Gnr, GradOracle, HvpOracle, InverseSqrt, Leaf,
    Leaves, Method, Optimizer, Order, Pass, Proportional, Regularizer, Sam, Schedule, Sgd, optimizer,
    registry::{self, Value, Values, find},
    regularizer::HessianDiagonal,
    schedule::{self, Span},
    testing::{LogisticRegression, Problem, ProblemOracle, conformance::check_optimizer},
};

type V = Vec<f64>;
/// An oracle with exact products or differences: one type, so that boxes of methods can be listed.
type Oracle<'o> = &'o mut dyn HvpOracle<Vector = V, Record = Order>;
/// An entry of the matrix: a name, and a function that makes a fresh instance.
type Made<T> = (&'static str, fn() -> T);

/// At least one line an optimiser: its name in the registry, and the settings that differ from the defaults, with a
/// learning rate that minimises a quadratic in 2000 steps.
const OPTIMIZERS: &[(&str, &str)] = &[
    ("sgd", "lr=0.01 momentum=0 weight_decay=0"),
    ("sgd", "lr=0.01 momentum=0 weight_decay=0.0001"),
    ("sgd", "lr=0.01 momentum=0.9 weight_decay=0.0001"),
    ("sgd", "lr=0.01 nesterov=true weight_decay=0"),
    ("adam", "lr=0.01"),
    ("adam", "lr=0.01 weight_decay=0.0001"),
    ("adamw", "lr=0.01"),
    ("amsgrad", "lr=0.01"),
    ("nadam", "lr=0.01"),
    ("radam", "lr=0.01"),
    ("adagrad", "lr=0.1"),
    ("rmsprop", "lr=0.01"),
    ("rmsprop", "lr=0.001 momentum=0.9"),
    ("yogi", "lr=0.01"),
    ("adabound", "lr=0.01"),
    ("padam", "lr=0.01"),
    ("adai", "lr=0.01"),
    ("lion", "lr=0.01"),
    ("muon", "lr=0.01 adam_lr=0.01"),
    ("schedule-free-sgd", "lr=0.1"),
    ("schedule-free-adamw", "lr=0.01"),
    ("sophia-h", "lr=0.01"),
    ("sophia-h", "lr=0.01 gamma=0.5 hessian_every=3"),
    ("adahessian", "lr=0.1"),
    ("adahessian", "lr=0.1 hessian_power=0.5 hessian_every=5"),
    ("sassha", "lr=0.1"),
];

/// A line of the matrix with its settings read.
struct Line {
    name: String,
    values: Values,
}

impl Line {
    /// Makes a fresh optimiser of the line.
    fn make(&self) -> Box<dyn Optimizer<V>> {
        ok(optimizer::build(&self.values))
    }

    /// The estimates of the Hessian's diagonal that the optimiser asks for.
    fn diagonal(&self) -> Option<Every<HessianDiagonal>> {
        match self.values.get("hessian_every") {
            Some(Value::Integer(every)) => Some(ok(Every::new(HessianDiagonal::new(7), *every))),
            _ => None,
        }
    }
}

fn optimizers() -> Vec<Line> {
    let line = |(name, settings): &(&str, &str)| {
        let entry = find(optimizer::entries(), name).unwrap_or_else(|| panic!("{name} is not registered"));
        Line { name: format!("{name} {settings}"), values: crate::golden::values(entry, settings) }
    };
    OPTIMIZERS.iter().map(line).collect()
}

#[test]
fn every_registered_optimizer_has_a_line() {
    for entry in optimizer::entries() {
        assert!(OPTIMIZERS.iter().any(|(name, _)| *name == entry.name), "{} has no line", entry.name);
    }
}

/// A step's cost with the default settings: the vectors that are kept, and the products of the estimates. (An optimiser
/// sees no oracle, so it can ask nothing else.)
#[test]
fn every_optimizer_keeps_as_many_vectors_as_it_says() {
    for entry in optimizer::entries() {
        let values = ok(entry.values([]));
        let mut built = ok(optimizer::build::<V>(&values));
        let mut theta = vec![1.0, -1.0];
        for _ in 0..3 {
            ok(built.curvature(&vec![2.0, 0.5]));
            ok(built.step(&mut theta, &vec![0.5, 0.25], 0.01));
        }
        let mut leaves = Leaves::new();
        ok(built.save(&mut leaves));
        let vectors = leaves.values().filter(|leaf| matches!(leaf, Leaf::Vector(_))).count();
        assert_eq!(vectors, entry.cost.vectors as usize, "{}", entry.name);
        let products = values.integer("hessian_every").map_or(0.0, |every| 1.0 / every as f64);
        assert_eq!((entry.cost.gradients, entry.cost.products), (0.0, products), "{}", entry.name);
    }
}

type AnyRegularizer = Box<dyn for<'o> Regularizer<Oracle<'o>>>;
/// A regulariser with the estimates that the optimiser asks for.
type WithDiagonal = (Option<Every<HessianDiagonal>>, AnyRegularizer);

fn regularizers() -> Vec<Made<AnyRegularizer>> {
    let entries: &[Made<AnyRegularizer>] = &[
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

/// At least one line a schedule: its name in the registry, its settings, the peak, and some values. The values are
/// worked out by hand for a run of six epochs of ten steps.
type ScheduleLine = (&'static str, &'static str, f64, &'static [(u64, f64)]);
const SCHEDULES: &[ScheduleLine] = &[
    ("constant", "", 0.05, &[(0, 0.05), (59, 0.05)]),
    ("constant", "warmup_epochs=0.5", 0.06, &[(0, 0.01), (4, 0.05), (5, 0.06), (59, 0.06)]),
    ("cosine", "floor=0.01", 0.05, &[(0, 0.05), (20, 0.04), (30, 0.03), (40, 0.02), (60, 0.01)]),
    ("cosine", "warmup_epochs=2", 0.05, &[(20, 0.05), (40, 0.025), (60, 0.0)]),
    ("step", "every_epochs=2 factor=0.5", 0.05, &[(19, 0.05), (20, 0.025), (40, 0.0125)]),
    (
        "step",
        "every_epochs=2 factor=0.5 warmup_epochs=1",
        0.05,
        &[(10, 0.05), (19, 0.05), (20, 0.025), (40, 0.0125)],
    ),
    ("step", "milestones=3,5 factor=0.5", 0.05, &[(29, 0.05), (30, 0.025), (50, 0.0125)]),
    ("inverse-sqrt", "", 0.1, &[(0, 0.1), (3, 0.05), (24, 0.02)]),
    ("linear", "floor=0.02", 0.08, &[(0, 0.08), (30, 0.05), (45, 0.035), (60, 0.02)]),
    ("linear", "warmup_epochs=1", 0.05, &[(10, 0.05), (35, 0.025), (60, 0.0)]),
];

fn schedules() -> Vec<(String, Box<dyn Schedule>)> {
    let mut all: Vec<(String, Box<dyn Schedule>)> = vec![(
        "proportional".into(),
        Box::new(ok(Proportional::new(ok(Cosine::new(1.0, 60, 0.0)), 1.0, 0.05))),
    )];
    for (name, settings, peak, _) in SCHEDULES {
        let entry = find(schedule::entries(), name).unwrap_or_else(|| panic!("{name} is not registered"));
        let values = crate::golden::values(entry, settings);
        all.push((format!("{name} {settings}"), ok(schedule::build(&values, Span::new(*peak, 6, 10)))));
    }
    all
}

#[test]
fn every_registered_schedule_has_a_line_and_its_values() {
    for entry in schedule::entries() {
        assert!(SCHEDULES.iter().any(|(name, ..)| *name == entry.name), "{} has no line", entry.name);
    }
    for ((name, built), (.., values)) in schedules()[1..].iter().zip(SCHEDULES) {
        for (t, expected) in *values {
            let found = built.at(*t);
            assert!((found - expected).abs() < 1e-15, "{name}: at({t}) = {found}, expected {expected}");
        }
    }
}

/// Every setting changes the values: one that is never read would not.
#[test]
fn every_key_of_a_schedule_changes_it() {
    let values = |built: Box<dyn Schedule>| (0..60).map(|t| built.at(t)).collect::<Vec<_>>();
    let run = |entry: &'static registry::Entry, settings: &str| {
        values(ok(schedule::build(&crate::golden::values(entry, settings), Span::new(0.1, 60, 1))))
    };
    for entry in schedule::entries() {
        for key in entry.keys {
            let other = match key.name {
                "milestones" => "milestones=7",
                "every_epochs" => "every_epochs=7",
                "factor" => "factor=0.75",
                "floor" => "floor=0.01",
                "warmup_epochs" => "warmup_epochs=3",
                other => panic!("{}.{other}: give it a value here", entry.name),
            };
            assert_ne!(run(entry, other), run(entry, ""), "{}.{} changes nothing", entry.name, key.name);
        }
    }
}

fn problem() -> LogisticRegression {
    LogisticRegression::random(60, 4, 12)
}

/// Makes the steps `from..to` over six batches in turn.
fn train(
    method: &mut Method<WithDiagonal, Box<dyn Optimizer<V>>, &dyn Schedule>,
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
    for line in optimizers() {
        println!("{}", line.name);
        check_optimizer(|| line.make(), ok(line.values.number("lr")));
    }
}

/// All combinations lower the training loss, and a run stopped in the middle resumes bit for bit.
#[test]
fn every_combination_trains_and_resumes() {
    let start = problem().value_and_gradient(&[0.0; 4]).0;
    for (schedule_name, schedule) in &schedules() {
        for line in &optimizers() {
            for (regularizer_name, regularizer) in &regularizers() {
                let name = format!("{} / {regularizer_name} / {schedule_name}", line.name);
                let method = || Method {
                    regularizer: (line.diagonal(), regularizer()),
                    optimizer: line.make(),
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

/// Compares a regulariser with exact and with difference products on a smooth problem: close, and never at one cost.
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
        // Tolerance: α·ρ times a difference's error of about ε = 1e-3 (1e-4 for central differences of step 1e-2).
        crate::assert_close(&step(&mut ForwardDiff::new(oracle(problem()))), &exact, 1e-4);
        crate::assert_close(&step(&mut CentralDiff::new(oracle(problem()))), &exact, 1e-5);
        // The model is linear in θ, so the Gauss–Newton matrix is the Hessian.
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
