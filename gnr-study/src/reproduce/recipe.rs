//! A case as a recipe for `gnr train`: everything that decides the run is written out, so that the recipe's text is its
//! address and a changed default of the program is not a silent change of the experiment.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::plan::{Case, Dataset, Net, Optimizer, Product, Schedule, Start};

/// SAM's radius, Foret et al.'s default.
const SAM_RHO: f64 = 0.05;
/// The paper's ρ and α for CIFAR.
const GNR_RHO: f64 = 0.1;
const GNR_ALPHA: f64 = 0.1;
/// Norm of the perturbation of a forward difference: the most accurate in f32.
const DIFFERENCE_STEP: f64 = 1e-3;

/// α of a GNR that acts on one step in `every`: as much in the mean. The paper only says "higher"; 0.1, 0.2, 0.5, 1 and 2 for
/// its ratios are values of its grid.
fn alpha(every: u64) -> f64 {
    // Not 0.1·every, which is 0.30000000000000004 for 3.
    every as f64 / (1.0 / GNR_ALPHA).round()
}

/// What the constants above are, for the report.
pub(super) fn hyperparameters() -> String {
    format!(
        "SGD with momentum 0.9; SAM ρ = {SAM_RHO}; GNR ρ = {GNR_RHO}, α = {GNR_ALPHA} on every step, α = {GNR_ALPHA}·n on one step \
         in n; forward differences with a step of norm {DIFFERENCE_STEP}. Nothing was tuned per method."
    )
}

/// What does not decide a run: where its files lie and how many threads train it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placement<'a> {
    pub(super) data: Option<&'a Path>,
    pub(super) weights: Option<&'a Path>,
    pub(super) threads: Option<usize>,
}

#[derive(Serialize)]
struct Recipe {
    name: String,
    data: Data,
    model: Model,
    method: Method,
    optimizer: OptimizerSection,
    schedule: ScheduleSection,
    train: Train,
}

#[derive(Serialize)]
struct Data {
    name: &'static str,
    dir: Option<String>,
    augment: &'static str,
    normalization: Option<&'static str>,
    subset: Option<Subset>,
    resize: Option<Resize>,
}

#[derive(Serialize)]
struct Subset {
    count: u64,
}

#[derive(Serialize)]
struct Resize {
    shorter: u64,
    height: u64,
    width: u64,
}

#[derive(Serialize)]
struct Model {
    name: &'static str,
    widths: Option<&'static [usize]>,
    weights: Option<String>,
    load: Option<&'static str>,
}

#[derive(Serialize)]
struct Method {
    sam: Switch<Sam>,
    gnr: Switch<Gnr>,
}

/// A table, or `false`.
#[derive(Serialize)]
#[serde(untagged)]
enum Switch<T> {
    Off(bool),
    On(T),
}

impl<T> From<Option<T>> for Switch<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Off(false), Self::On)
    }
}

#[derive(Serialize)]
struct Sam {
    rho: f64,
}

#[derive(Serialize)]
struct Gnr {
    rho: f64,
    alpha: f64,
    hvp: &'static str,
    step: Option<f64>,
    every: u64,
}

#[derive(Serialize)]
struct OptimizerSection {
    name: &'static str,
    lr: f64,
    momentum: Option<f64>,
    weight_decay: f64,
}

#[derive(Serialize)]
struct ScheduleSection {
    name: &'static str,
    warmup_epochs: Option<u64>,
    factor: Option<f64>,
    every_epochs: Option<u64>,
}

#[derive(Serialize)]
struct Train {
    epochs: u64,
    batch_size: u64,
    seed: u64,
    threads: Option<usize>,
    workers: usize,
    eval_every: u64,
    checkpoint_every_epochs: u64,
    keep_every_epochs: Option<u64>,
}

fn method(method: super::plan::Method) -> Method {
    let gnr = method.gnr.map(|gnr| Gnr {
        rho: GNR_RHO,
        alpha: alpha(gnr.every),
        hvp: match gnr.product {
            Product::Exact => "exact",
            Product::FiniteDifference => "forward-difference",
        },
        step: (gnr.product == Product::FiniteDifference).then_some(DIFFERENCE_STEP),
        every: gnr.every,
    });
    Method { sam: method.sam.then_some(Sam { rho: SAM_RHO }).into(), gnr: gnr.into() }
}

fn data(net: &Net, dir: Option<&Path>) -> Data {
    Data {
        name: net.dataset.recipe_name(),
        dir: dir.map(|dir| dir.display().to_string()),
        augment: net.augment,
        normalization: net.normalization.or_else(|| net.dataset.normalization()),
        subset: net.images.map(|count| Subset { count }),
        resize: net.resize.map(|side| Resize { shorter: side, height: side, width: side }),
    }
}

fn optimizer(optimizer: Optimizer) -> OptimizerSection {
    match optimizer {
        Optimizer::Sgd { lr, weight_decay } => {
            OptimizerSection { name: "sgd", lr, momentum: Some(0.9), weight_decay }
        }
        Optimizer::AdamW { lr, weight_decay } => {
            OptimizerSection { name: "adamw", lr, momentum: None, weight_decay }
        }
    }
}

fn schedule(schedule: Schedule) -> ScheduleSection {
    match schedule {
        Schedule::Cosine { warmup_epochs } => ScheduleSection {
            name: "cosine",
            warmup_epochs: (warmup_epochs > 0).then_some(warmup_epochs),
            factor: None,
            every_epochs: None,
        },
        Schedule::Step { every_epochs } => ScheduleSection {
            name: "step",
            warmup_epochs: None,
            factor: Some(0.1),
            every_epochs: Some(every_epochs),
        },
    }
}

/// The recipe. Without a placement it is what decides the run and nothing else, the same text on every machine.
///
/// # Errors
/// What TOML cannot hold.
pub(super) fn toml(net: &Net, case: &Case, place: Placement<'_>) -> Result<String> {
    let base = net.optimizer.title();
    let recipe = Recipe {
        name: format!("{}-{}-{}", net.slug().replace('/', "-"), case.method.slug(base), case.seed),
        data: data(net, place.data),
        model: Model {
            name: net.model,
            widths: net.widths,
            weights: place.weights.map(|path| path.display().to_string()),
            // The paper: pretrained weights except for the last layer.
            load: place.weights.map(|_| "new-head"),
        },
        method: method(case.method),
        optimizer: optimizer(net.optimizer),
        schedule: schedule(net.schedule),
        train: Train {
            epochs: net.epochs,
            batch_size: net.batch,
            seed: case.seed,
            threads: place.threads,
            workers: 1,
            eval_every: net.eval_every,
            // Runs of seconds need few checkpoints; one of hours may be interrupted at any time.
            checkpoint_every_epochs: if net.dataset == Dataset::Digits { 10 } else { 1 },
            keep_every_epochs: net.keep_every,
        },
    };
    // By way of a table, whose writer puts plain values before sections.
    let table = toml::Table::try_from(&recipe).context("a recipe as TOML")?;
    toml::to_string(&table).context("a recipe as TOML")
}

/// What a run's address is made of: the recipe without a placement, and what the weights are that it starts from.
pub(super) fn identity(net: &Net, case: &Case) -> Result<String> {
    let start = match net.start {
        Start::Random => String::new(),
        Start::Weights(file) => format!("# from {file}\n"),
        Start::OwnPretraining => format!("# from\n{}", pretraining(net, Placement::default())?),
    };
    Ok(start + &toml(net, case, Placement::default())?)
}

/// The run whose weights [`Start::OwnPretraining`] starts from: plain SGD, three epochs, a seed that no case has.
pub(super) fn pretraining(net: &Net, place: Placement<'_>) -> Result<String> {
    let net = Net {
        start: Start::Random,
        epochs: 3,
        optimizer: Optimizer::Sgd { lr: 0.02, weight_decay: 5e-4 },
        ..net.clone()
    };
    let case = Case { net: 0, method: super::plan::METHODS[0], seed: 1_000_000 };
    toml(&net, &case, Placement { weights: None, ..place })
}

#[cfg(test)]
mod tests {
    use super::super::plan::{METHODS, Plan, Scale, Table};
    use super::*;

    fn parsed(net: &Net, case: &Case) -> toml::Table {
        toml(net, case, Placement::default()).unwrap().parse().unwrap()
    }

    #[test]
    fn each_method_is_what_its_name_says() {
        let plan = Plan::table(Table::One, Scale::Smoke, 1);
        for (method, sam, gnr) in [
            (METHODS[0], false, None),
            (METHODS[1], false, Some("exact")),
            (METHODS[2], false, Some("forward-difference")),
            (METHODS[3], true, None),
            (METHODS[4], true, Some("exact")),
            (METHODS[5], true, Some("forward-difference")),
        ] {
            let recipe = parsed(&plan.nets[0], &Case { net: 0, method, seed: 7 });
            let of = |name: &str| recipe["method"][name].clone();
            assert_eq!(of("sam").is_table(), sam, "{recipe}");
            assert_eq!(of("gnr").get("hvp").and_then(toml::Value::as_str), gnr, "{recipe}");
            assert_eq!(
                (of("sam").is_bool(), of("gnr").is_bool()),
                (!sam, gnr.is_none()),
                "off is said, not left out"
            );
            assert_eq!(recipe["train"]["seed"].as_integer(), Some(7));
        }
    }

    #[test]
    fn the_placement_is_the_only_difference() {
        let plan = Plan::table(Table::One, Scale::Small, 1);
        let (case, net) = (&plan.cases[0], &plan.nets[0]);
        let bare = toml(net, case, Placement::default()).unwrap();
        let place = Placement { data: Some(Path::new("a/b")), weights: None, threads: Some(3) };
        let placed = toml(net, case, place).unwrap();
        assert_eq!(placed.replace("dir = \"a/b\"\n", "").replace("threads = 3\n", ""), bare);
        assert!(placed.contains("count = 5000"), "{placed}");
    }

    #[test]
    fn a_sparse_gnr_has_a_larger_alpha_from_the_papers_grid() {
        let plan = Plan::table(Table::Four, Scale::Smoke, 1);
        for case in &plan.cases {
            let Some(gnr) = case.method.gnr else { continue };
            let recipe = parsed(&plan.nets[case.net], case);
            let section = &recipe["method"]["gnr"];
            assert_eq!(section["every"].as_integer(), Some(gnr.every as i64));
            let grid = [(1, 0.1), (2, 0.2), (5, 0.5), (10, 1.0), (20, 2.0)];
            let (_, alpha) = grid.into_iter().find(|(every, _)| *every == gnr.every).unwrap();
            assert_eq!(section["alpha"].as_float(), Some(alpha));
        }
    }

    #[test]
    fn weights_are_a_part_of_the_identity_though_their_place_is_not() {
        let plan = Plan::table(Table::Three, Scale::Smoke, 1);
        let (net, case) = (&plan.nets[0], &plan.cases[0]);
        let fresh = Net { start: Start::Random, ..net.clone() };
        assert_ne!(identity(net, case).unwrap(), identity(&fresh, case).unwrap());
        let placed = Placement { weights: Some(Path::new("w.pth")), ..Placement::default() };
        let text = toml(net, case, placed).unwrap();
        assert!(text.contains("weights = \"w.pth\"") && text.contains("load = \"new-head\""), "{text}");
    }
}
