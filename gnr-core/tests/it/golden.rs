//! Every registered optimiser against the values of an independent implementation, `golden-optimizers/NAME.txt`. They
//! are made by `make.py` there, or by `hutchinson.py` for optimisers that use the Hessian's diagonal.

use crate::leafy::Leafy;
use gnr_core::{
    Optimizer, optimizer,
    registry::{Domain, Entry, Value, Values},
};

/// Reads the settings of one method from text: `key=value` with spaces between.
pub(crate) fn values(entry: &'static Entry, settings: &str) -> Values {
    let parse = |text: &str| -> f64 { text.parse().unwrap_or_else(|_| panic!("{}: {text}", entry.name)) };
    let given: Vec<(&str, Value)> = settings
        .split_whitespace()
        .map(|setting| {
            let (key, text) = setting.split_once('=').unwrap();
            let known = entry.key(key).unwrap_or_else(|| panic!("{} has no key {key}", entry.name));
            let value = match known.domain {
                Domain::Number(_) => parse(text).into(),
                Domain::Numbers(..) => text.split(',').map(parse).collect::<Vec<_>>().into(),
                Domain::Integer(_) => (parse(text) as u64).into(),
                Domain::Flag => (text == "true").into(),
                Domain::Choice(_) => text.to_owned().into(),
                Domain::Integers => text.split(',').map(|n| parse(n) as u64).collect::<Vec<_>>().into(),
            };
            (key, value)
        })
        .collect();
    entry.values(given).unwrap_or_else(|error| panic!("{error}"))
}

fn start() -> Vec<f64> {
    (0..6).map(|i| (f64::from(3 * i % 5) - 2.0) / 2.0).collect()
}

fn gradient(t: usize) -> Vec<f64> {
    (0..6).map(|i| (((7 * t + 5 * i) % 11) as f64 - 5.0) / 4.0).collect()
}

/// The estimate of the Hessian's diagonal before step t of `hutchinson.py`: z ⊙ Hz.
fn estimate(t: usize) -> Vec<f64> {
    let sign = |i: usize| if (5 * t + 3 * i + t * i) % 4 < 2 { 1.0 } else { -1.0 };
    let entry = |i: usize, j: usize| (((3 * (i + j) + i * j + t) % 7) as f64 - 3.0) / 4.0;
    (0..6).map(|i| sign(i) * (0..6).map(|j| entry(i, j) * sign(j)).sum::<f64>()).collect()
}

/// Gives the optimiser the estimate before step t, from 1, if its settings ask for one.
fn hear(optimizer: &mut dyn Optimizer<Leafy>, values: &Values, t: usize, shapes: &str) {
    if let Some(Value::Integer(every)) = values.get("hessian_every")
        && (t as u64 - 1).is_multiple_of(*every)
    {
        optimizer.curvature(&Leafy::new(shapes, &estimate(t))).unwrap();
    }
}

fn close(found: &[f64], line: &str, what: &str) {
    let row: Vec<f64> = line.split(' ').map(|x| x.parse().unwrap()).collect();
    assert_eq!(row.len(), found.len());
    for (x, expected) in found.iter().zip(&row) {
        // Tolerance: roots and quotients of a few ulps each, over twelve steps.
        let allowed = 1e-13 * expected.abs().max(1.0);
        assert!((x - expected).abs() <= allowed, "{what}: {found:?}, expected {row:?}");
    }
}

/// The θ of each step agrees, relative to its size, as closely as the order of the operations allows.
#[test]
fn every_optimizer_has_the_values_of_its_reference() {
    for entry in optimizer::entries() {
        let name = entry.name;
        let path = format!("{}/tests/golden-optimizers/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{name} has no golden values, {path}: {error}"));
        let mut lines = text.lines();
        assert!(
            lines.next().is_some_and(|line| line.len() > 10),
            "{name}: the first line names the reference"
        );
        let mut cases = 0;
        let mut lines = lines.peekable();
        while let Some(case) = lines.next() {
            let settings = case.strip_prefix("case ").unwrap();
            // The parameters are one vector, unless the method knows matrices.
            let (shapes, settings) = match settings.strip_prefix("shapes=") {
                Some(rest) => rest.split_once(' ').unwrap(),
                None => ("6", settings),
            };
            let values = values(entry, settings);
            let mut optimizer = optimizer::build::<Leafy>(&values).unwrap();
            let (lr, mut theta) = (values.number("lr").unwrap(), Leafy::new(shapes, &start()));
            for t in 1..=12 {
                let share = if name.starts_with("schedule-free") {
                    (t as f64 / 4.0).min(1.0)
                } else {
                    [1.0, 0.5, 0.25][(t - 1) / 4]
                };
                let rate = lr * share;
                hear(&mut optimizer, &values, t, shapes);
                optimizer.step(&mut theta, &Leafy::new(shapes, &gradient(t)), rate).unwrap();
                close(&theta.values(), lines.next().unwrap(), &format!("{name}, {case}, step {t}"));
            }
            let solution = optimizer.solution(&theta).unwrap();
            let expected = lines.next_if(|line| line.starts_with("solution "));
            assert_eq!(solution.is_some(), expected.is_some(), "{name}: a solution beside θ");
            if let (Some(solution), Some(line)) = (solution, expected) {
                close(&solution.values(), &line["solution ".len()..], &format!("{name}, {case}, solution"));
            }
            cases += 1;
        }
        assert!(cases >= 2, "{name}: one case is that of the defaults, one of other settings");
    }
}

/// Every setting changes the values: one that is never read would not.
#[test]
fn every_key_changes_the_steps() {
    for entry in optimizer::entries() {
        let run = |values: &Values| {
            let mut optimizer = optimizer::build::<Leafy>(values).unwrap();
            let mut theta = Leafy::new("2x2,2", &start());
            // Enough steps for methods that change their rule after some steps.
            for t in 1..=60_usize {
                // One coordinate is small, where bounds act, and one tiny, where constants act that keep quotients
                // finite.
                let mut wave: Vec<f64> = (1..=6).map(|i| (t as f64 * f64::from(i)).sin()).collect();
                wave[0] *= 1e-3;
                wave[3] *= 1e-13;
                hear(&mut optimizer, values, t, "2x2,2");
                optimizer.step(&mut theta, &Leafy::new("2x2,2", &wave), 0.05).unwrap();
            }
            theta
        };
        let default = entry.values([]).unwrap();
        // The place of the estimates has no effect here: `second_order` tests it.
        for key in entry.keys.iter().filter(|key| key.name != "hessian_at") {
            let other: Value = match (&key.domain, default.get(key.name)) {
                (Domain::Number(interval), Some(Value::Number(x))) => [0.5 * x, 2.0 * x, 0.5]
                    .into_iter()
                    .find(|y| y != x && interval.contains(*y))
                    .unwrap()
                    .into(),
                (Domain::Numbers(..), Some(Value::Numbers(pair))) => [0.5 * pair[0], 0.75 * pair[1]].into(),
                (Domain::Flag, Some(Value::Flag(yes))) => (!yes).into(),
                (Domain::Integer(_), Some(Value::Integer(n))) => (n + 1).into(),
                other => panic!("{}.{}: {other:?}", entry.name, key.name),
            };
            let changed = entry.values([(key.name, other)]).unwrap();
            // The learning rate of a step is an argument; `lr` is read only for what is relative to the peak.
            if key.name != "lr" {
                assert_ne!(run(&changed), run(&default), "{}.{} changes nothing", entry.name, key.name);
            }
        }
    }
}
