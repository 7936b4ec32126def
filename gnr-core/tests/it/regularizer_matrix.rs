//! The test matrix of regularisers that have a name: one line a method, and what each line must pass.
//!
//! The golden values in `tests/golden/regularizers` are of an independent implementation, `make.py` there.

use crate::{assert_close, norm, ok, plain, sub};
use gnr_core::{
    Counted, ForwardDiff, FullOracle, Leaf, Leaves, Method, Regularizer, Sgd,
    registry::{Domain, Entry, Value, find},
    regularizer::{self, Run},
    testing::{ProblemOracle, TanhMlp},
};
use std::path::Path;

/// A method: its name, settings that differ from its defaults, and its cost with them beyond the step's own gradient.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    given: &'static [(&'static str, f64)],
    /// Gradients a step, on average; a gradient of a part of the batch counts as its share.
    gradients: f64,
    /// Hessian-vector products a step, on average.
    products: f64,
    /// Forward passes without a gradient a step, on average.
    forwards: f64,
}

const fn line(
    name: &'static str,
    given: &'static [(&'static str, f64)],
    gradients: f64,
    products: f64,
) -> Line {
    Line { name, given, gradients, products, forwards: 0.0 }
}

impl Line {
    const fn forwards(self, forwards: f64) -> Self {
        Self { forwards, ..self }
    }
}

/// The matrix. A method joins with one line, and with its formula in `make.py`.
#[rustfmt::skip]
pub(crate) const LINES: &[Line] = &[
    line("gnr", &[], 1.0, 2.0),
    line("sam", &[], 1.0, 0.0),
    line("asam", &[], 1.0, 0.0),
    line("gsam", &[("alpha", 0.6)], 1.0, 0.0),
    line("looksam", &[("k", 2.0), ("rho", 0.3)], 0.5, 0.0),
    line("esam", &[("beta", 0.4), ("gamma", 0.75), ("rho", 0.2)], 0.75, 0.0).forwards(1.0),
    line("saf", &[("from_epoch", 2.0), ("epochs", 2.0), ("lambda", 2.0), ("tau", 2.0)], 1.0, 0.0),
    line("mesa", &[("from_epoch", 0.0), ("beta", 0.6)], 1.0, 0.0).forwards(1.0),
    line("pgn", &[], 1.0, 0.0),
    line("wsam", &[], 1.0, 0.0),
    line("friendly-sam", &[("sigma", 0.8), ("lambda", 0.6)], 1.0, 0.0),
    line("gam", &[("gamma", 0.2)], 3.0, 0.0),
    line("msam", &[("rho", 0.1)], 1.0, 0.0),
    line("sam-on", &[("rho", 0.1)], 1.0, 0.0),
    line("lookbehind-sam", &[("k", 4.0)], 4.0, 0.0),
    line("cr-sam", &[("beta", 0.2)], 2.0, 0.0),
    line("c-flat", &[("lambda", 0.5)], 3.0, 0.0),
    line("vasso", &[("theta", 0.3)], 1.0, 0.0),
];

pub(crate) type V = Vec<f64>;
pub(crate) type Oracle = ProblemOracle<TanhMlp>;
pub(crate) type Given = Vec<(&'static str, Value)>;

const INPUTS: usize = 3;
const HIDDEN: usize = 4;
const BATCH: usize = 4;
const STEPS_PER_EPOCH: u64 = 3;
/// Number of steps of a run: a multiple of the periods of methods that act differently from step to step.
const STEPS: u64 = 20;

/// The batch of step t, of data that `make.py` has, too.
fn batch(t: u64) -> TanhMlp {
    let start = BATCH * t as usize;
    let example = |i: usize| {
        let i = i as f64;
        let x = (0..INPUTS).map(|j| (1.0 + 3.0 * i + 5.0 * j as f64).sin()).collect();
        (x, (2.0 + 7.0 * i).sin())
    };
    TanhMlp::new(INPUTS, HIDDEN, (start..start + BATCH).map(example).collect())
}

/// The oracle of step t. Each epoch has every example, in another order.
pub(crate) fn oracle(t: u64) -> Oracle {
    let (epoch, size) = (t / STEPS_PER_EPOCH, STEPS_PER_EPOCH * BATCH as u64);
    let first = t % STEPS_PER_EPOCH * BATCH as u64;
    let examples = (first..first + BATCH as u64).map(|place| (place + 5 * epoch) % size);
    ProblemOracle::new(batch(t)).with_examples(examples.collect())
}

pub(crate) fn theta_0() -> V {
    (0..HIDDEN * (INPUTS + 2) + 1).map(|k| 0.5 * (1.0 + 2.0 * k as f64).sin()).collect()
}

/// Marks the biases of the hidden units as leaves of normalisation layers, as `make.py` does.
fn normalisation() -> Vec<bool> {
    (0..theta_0().len()).map(|k| (INPUTS * HIDDEN..(INPUTS + 1) * HIDDEN).contains(&k)).collect()
}

fn entry(name: &str) -> &'static Entry {
    find(regularizer::entries(), name).unwrap_or_else(|| panic!("`{name}` is not registered"))
}

/// Reads a setting from a number or a word, by the type of the entry's key.
fn value(entry: &Entry, key: &str, text: &str) -> (&'static str, Value) {
    let key = entry.key(key).unwrap_or_else(|| panic!("{} has no key `{key}`", entry.name));
    let value = match key.domain {
        Domain::Number(_) => Value::from(text.parse::<f64>().unwrap()),
        Domain::Integer(_) => text.parse::<u64>().unwrap().into(),
        Domain::Flag => text.parse::<bool>().unwrap().into(),
        _ => text.to_owned().into(),
    };
    (key.name, value)
}

impl Line {
    fn entry(&self) -> &'static Entry {
        entry(self.name)
    }

    /// Whether the method saves anything after some steps.
    fn remembers(&self) -> bool {
        let (mut method, mut leaves) = (method::<Oracle>(self.name, &self.with(&[]), 0.1), Leaves::new());
        let mut theta = theta_0();
        (0..STEPS).for_each(|t| drop(ok(method.step(t, &mut theta, &mut oracle(t)))));
        ok(Regularizer::<Oracle>::save(&method.regularizer, &mut leaves));
        !leaves.is_empty()
    }

    /// The settings of the line, with others added.
    fn with(&self, others: &[(&str, f64)]) -> Given {
        let all = self.given.iter().chain(others);
        all.map(|(key, x)| value(self.entry(), key, &x.to_string())).collect()
    }

    /// The settings of the line alone, and each of these added where the method has it: every second step, from the
    /// second epoch on, half of the batch. The last variant has all of them.
    pub(crate) fn variants(&self) -> Vec<Given> {
        let when: Vec<_> = [("every", 2.0), ("from_epoch", 1.0), ("batch_fraction", 0.5)]
            .into_iter()
            .filter(|(key, _)| self.entry().key(key).is_some())
            .collect();
        let mut variants = vec![self.with(&[])];
        variants.extend(when.iter().map(|one| self.with(&[*one])));
        variants.push(self.with(&when));
        variants
    }
}

/// Plain SGD with the method of the given settings.
pub(crate) fn method<O>(
    name: &str,
    given: &Given,
    lr: f64,
) -> Method<impl Regularizer<O> + use<O>, Sgd<V>, f64>
where
    O: FullOracle<Vector = V>,
{
    let run = Run {
        learning_rate: &|| Ok(Box::new(0.1)),
        peak: 0.1,
        steps_per_epoch: STEPS_PER_EPOCH,
        examples: STEPS_PER_EPOCH as usize * BATCH,
        seed: 5,
        normalisation: &normalisation(),
    };
    let values = ok(entry(name).values(given.iter().cloned()));
    plain(ok(regularizer::build::<V>(&values, &run)), lr)
}

pub(crate) fn bits(theta: &[f64]) -> Vec<u64> {
    theta.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn every_regularizer_has_a_line() {
    for entry in regularizer::entries() {
        let lines = LINES.iter().filter(|line| line.name == entry.name).count();
        assert_eq!(lines, 1, "lines of `{}` in the matrix of regularisers", entry.name);
    }
    assert_eq!(LINES.len(), regularizer::entries().len(), "a line names no regulariser");
}

/// The points of plain SGD are those of the independent implementation, with the paper's defaults and with other
/// settings.
#[test]
fn every_regularizer_has_the_golden_values() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/regularizers");
    for line in LINES {
        let path = folder.join(format!("{}.txt", line.name));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut cases = text.split("case").skip(1);
        let first = cases.next().unwrap_or_else(|| panic!("{}: no case", path.display()));
        assert_eq!(first.lines().next(), Some(""), "{}: the first case is that of the defaults", line.name);
        for case in [first].into_iter().chain(cases) {
            let (settings, points) = case.split_once('\n').unwrap();
            let given = settings.split_whitespace().map(|setting| {
                let (key, text) = setting.split_once('=').unwrap();
                value(line.entry(), key, text)
            });
            let mut method = method::<Oracle>(line.name, &given.collect(), 0.5);
            let (mut theta, mut steps) = (theta_0(), 0);
            for point in points.lines() {
                let expected: V = point.split_whitespace().skip(1).map(|x| x.parse().unwrap()).collect();
                ok(method.step(steps, &mut theta, &mut oracle(steps)));
                println!("{}{settings}, step {steps}", line.name);
                assert_close(&theta, &expected, 1e-12);
                steps += 1;
            }
            assert!(steps >= 5, "{}: {steps} steps", line.name);
        }
    }
}

/// A run repeats bit for bit, also when it is saved and loaded into a fresh regulariser after any of its steps.
#[test]
fn every_regularizer_resumes_bit_for_bit() {
    for line in LINES {
        for given in line.variants() {
            let name = format!("{} {given:?}", line.name);
            let whole = walk(line.name, &given, None);
            assert_eq!(walk(line.name, &given, None), whole, "{name}: two runs");
            for stop in 0..STEPS {
                let resumed = walk(line.name, &given, Some((stop, true)));
                assert_eq!(resumed, whole, "{name}: resuming at step {stop} changed the run");
            }
            // The loop above must be able to fail: a method with state would miss it.
            let forgot = (0..STEPS).any(|stop| walk(line.name, &given, Some((stop, false))) != whole);
            assert_eq!(forgot, line.remembers(), "{name}: a fresh one instead of the saved one");
        }
    }
}

/// The last point of a run that continues with a fresh method at one of its steps, with or without the saved state.
fn walk(name: &str, given: &Given, stop: Option<(u64, bool)>) -> Vec<u64> {
    let (mut current, mut theta) = (method::<Oracle>(name, given, 0.1), theta_0());
    for t in 0..STEPS {
        if let Some((_, load)) = stop.filter(|(stop, _)| *stop == t) {
            let mut leaves = Leaves::new();
            ok(Regularizer::<Oracle>::save(&current.regularizer, &mut leaves));
            current = method(name, given, 0.1);
            if load {
                ok(Regularizer::<Oracle>::load(&mut current.regularizer, &mut leaves));
            }
        }
        ok(current.step(t, &mut theta, &mut oracle(t)));
    }
    bits(&theta)
}

/// A run saves as many vectors of the size of θ as the entry says.
#[test]
fn every_regularizer_keeps_what_its_entry_says() {
    for line in LINES {
        let (mut method, mut theta) = (method::<Oracle>(line.name, &line.with(&[]), 0.1), theta_0());
        for t in 0..STEPS {
            ok(method.step(t, &mut theta, &mut oracle(t)));
        }
        let mut leaves = Leaves::new();
        ok(Regularizer::<Oracle>::save(&method.regularizer, &mut leaves));
        let shapes = leaves.iter().filter_map(|(name, leaf)| match leaf {
            Leaf::Table(table) => Some((name.as_str(), table.shape())),
            _ => None,
        });
        let examples = STEPS_PER_EPOCH as usize * BATCH;
        let of_saf = [("epochs", [examples, 2]), ("outputs.0", [examples, 1]), ("outputs.1", [examples, 1])];
        let tables = if line.entry().cost.outputs { &of_saf[..] } else { &[] };
        assert_eq!(shapes.collect::<Vec<_>>(), tables, "{}: tables of state", line.name);
        let vectors: Vec<_> = leaves.values().filter(|leaf| matches!(leaf, Leaf::Vector(_))).collect();
        assert_eq!(vectors.len(), line.entry().cost.vectors as usize, "{}: vectors of state", line.name);
        assert!(vectors.iter().all(|leaf| matches!(leaf, Leaf::Vector(v) if v.len() == theta.len())));
    }
}

/// Average cost a step: gradients beyond the step's own, products and forward passes. Only the second half of a run
/// counts, in which methods that start late act, too.
fn cost<O>(name: &str, given: &Given, wrap: impl Fn(Counted<Oracle>) -> O) -> ([f64; 3], Vec<u64>)
where
    O: FullOracle<Vector = V>,
{
    let (mut method, mut theta) = (method::<O>(name, given, 0.1), theta_0());
    let counter = gnr_core::Counter::default();
    for t in 0..2 * STEPS {
        if t == STEPS {
            counter.take();
        }
        let counted = Counted::with_counter(oracle(t), counter.clone());
        let report = ok(method.step(t, &mut theta, &mut wrap(counted)));
        assert!(report.penalties.iter().all(|(by, _)| *by == name), "{name}: {:?}", report.penalties);
    }
    let counts = counter.take();
    assert_eq!(counts.commits, STEPS, "{name}: one Commit evaluation a step");
    let mean = |count: u64| count as f64 / STEPS as f64;
    let gradients = (counts.gradients - STEPS as f64) / STEPS as f64;
    ([gradients, mean(counts.products), mean(counts.forwards)], bits(&theta))
}

#[test]
fn every_regularizer_costs_what_it_says() {
    for line in LINES {
        let Line { name, gradients, products, forwards, .. } = *line;
        let entry = line.entry().cost;
        let (defaults, _) = cost(name, &vec![], |counted| counted);
        let expected = [entry.gradients, entry.products, entry.forwards];
        assert_eq!(defaults, expected, "{name}: its entry, with the defaults");
        let (found, _) = cost(name, &line.with(&[]), |counted| counted);
        assert_eq!(found, [gradients, products, forwards], "{name}: its line of the matrix");
        // A product by forward differences is one gradient.
        let forward = |counted| ok(ForwardDiff::new(counted).with_step(1e-6));
        let (found, _) = cost(name, &line.with(&[]), forward);
        assert_eq!(found, [gradients + products, 0.0, forwards], "{name}: by forward differences");
    }
}

/// With products by forward differences of step ε = 1e-6 the run is close to the exact one. Without products both have
/// equal bits.
#[test]
fn every_regularizer_takes_forward_differences() {
    for line in LINES {
        let given = line.with(&[]);
        let (_, exact) = cost(line.name, &given, |counted| counted);
        let (_, forward) = cost(line.name, &given, |counted| ok(ForwardDiff::new(counted).with_step(1e-6)));
        if line.products == 0.0 {
            assert_eq!(forward, exact, "{}", line.name);
        } else {
            let [forward, exact] =
                [forward, exact].map(|theta| theta.into_iter().map(f64::from_bits).collect::<V>());
            println!("{}", line.name);
            // Tolerance: ε and a rounding of 1e-16/ε in each of the 40 steps.
            assert_close(&forward, &exact, 4e-5);
            assert_ne!(forward, exact, "{}: no product was asked for", line.name);
        }
    }
}

/// Where the gradient vanishes nothing is NaN: in the first step, after others, before others, and with weights that
/// are all 0.
#[test]
fn every_regularizer_survives_a_zero_gradient() {
    let targets = |y: f64| {
        let example = |i: usize| ((0..INPUTS).map(|j| (1.0 + (i + 5 * j) as f64).sin()).collect(), y);
        let problem = TanhMlp::new(INPUTS, HIDDEN, (0..BATCH).map(example).collect());
        ProblemOracle::new(problem).with_examples((0..BATCH as u64).collect())
    };
    // No weight after the tanh layer: an output of 0 is right.
    let mut flat = theta_0();
    flat.iter_mut().skip(HIDDEN * (INPUTS + 1)).for_each(|w| *w = 0.0);
    for line in LINES {
        for start in [&flat, &vec![0.0; flat.len()]] {
            let name = line.name;
            let mut method = method::<Oracle>(name, &line.with(&[]), 0.1);
            for t in 0..STEPS {
                let mut at = start.clone();
                let report = ok(method.step(t, &mut at, &mut targets((t % 2) as f64)));
                assert!(at.iter().all(|x| x.is_finite()), "{name}: θ after step {t}: {at:?}");
                let numbers = report.penalties.iter().flat_map(|(_, p)| [p.value, p.added_norm]);
                assert!(numbers.into_iter().all(f64::is_finite), "{name}: {:?}", report.penalties);
            }
        }
    }
}

/// "SAM + GNR" of any regulariser: the list `[base, gnr]` descends along the direction of `base` plus α·h_norm. This
/// holds in either order, with exact products and with differences that share gradients.
#[test]
fn every_regularizer_is_a_base_objective_of_gnr() {
    fn check<O: FullOracle<Vector = V>>(line: &Line, wrap: impl Fn(Oracle) -> O) {
        // All at one point, so that methods with state see equal gradients whatever stands beside them.
        let theta = theta_0();
        let of = |name| method::<O>(name, &if name == line.name { line.with(&[]) } else { vec![] }, 1.0);
        let (mut base, mut gnr) = (of(line.name), of("gnr"));
        let mut both = plain(vec![of(line.name).regularizer, of("gnr").regularizer], 1.0);
        let mut reversed = plain(vec![of("gnr").regularizer, of(line.name).regularizer], 1.0);
        for t in 0..STEPS {
            let moved = |regularized: &mut dyn FnMut(&mut V, &mut O)| {
                let mut moved = theta.clone();
                regularized(&mut moved, &mut wrap(oracle(t)));
                sub(&theta, &moved)
            };
            let none = moved(&mut |at, o| drop(ok(plain((), 1.0).step(t, at, o))));
            let base = moved(&mut |at, o| drop(ok(base.step(t, at, o))));
            let gnr = moved(&mut |at, o| drop(ok(gnr.step(t, at, o))));
            let both = moved(&mut |at, o| drop(ok(both.step(t, at, o))));
            let reversed = moved(&mut |at, o| drop(ok(reversed.step(t, at, o))));
            let alpha_h_norm = sub(&gnr, &none);
            assert!(norm(&alpha_h_norm) > 1e-6, "GNR does nothing at step {t}: {alpha_h_norm:?}");
            let expected: V = base.iter().zip(&alpha_h_norm).map(|(h, a)| h + a).collect();
            println!("{} and GNR, step {t}", line.name);
            assert_close(&both, &expected, 1e-13);
            assert_close(&reversed, &expected, 1e-13);
        }
    }
    for line in LINES {
        check(line, |exact| exact);
        check(line, |exact| ok(ForwardDiff::new(exact).with_step(0.05)));
    }
}
