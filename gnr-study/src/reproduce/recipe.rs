//! A case as a recipe: everything that decides the run is written out, so that the recipe's text is its address and a
//! changed default of the program is not a silent change of the experiment.

use std::path::Path;

use gnr_train::{Recipe, RecipeError};
use toml::{Table, Value};

use super::plan::{self, Case, Dataset, Net, Optimizer, Product, Schedule, Start};
use crate::error::{Result, StudyError};

/// SAM's radius, Foret et al.'s default.
const SAM_RHO: f64 = 0.05;
/// The paper's ρ and α for CIFAR.
const GNR_RHO: f64 = 0.1;
const GNR_ALPHA: f64 = 0.1;
/// Norm of the perturbation of a forward difference: the most accurate in f32.
const DIFFERENCE_STEP: f64 = 1e-3;

/// The α of a GNR that acts on one step in `every`, in proportion, so that its mean over all steps stays. The paper
/// only says "higher"; the values 0.1, 0.2, 0.5, 1 and 2 for its ratios are values of its grid.
fn alpha(every: u64) -> f64 {
    // Not 0.1·every, which is 0.30000000000000004 for 3.
    every as f64 / (1.0 / GNR_ALPHA).round()
}

/// The constants above in words, for the report.
pub(super) fn hyperparameters() -> String {
    format!(
        "SGD with momentum 0.9; SAM ρ = {SAM_RHO}; GNR ρ = {GNR_RHO}, α = {GNR_ALPHA} on every step, α = {GNR_ALPHA}·n on one step \
         in n; forward differences with a step of norm {DIFFERENCE_STEP}. Nothing was tuned per method."
    )
}

/// The places of a run's files, which do not decide the run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placement<'a> {
    pub(super) data: Option<&'a Path>,
    pub(super) weights: Option<&'a Path>,
}

/// A table of those entries that have a value.
fn section<const N: usize>(entries: [(&str, Option<Value>); N]) -> Table {
    entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn text(text: impl Into<String>) -> Option<Value> {
    Some(Value::String(text.into()))
}

fn real(number: f64) -> Option<Value> {
    Some(Value::Float(number))
}

/// All numbers of a plan are far below 2⁶³.
fn whole(number: u64) -> Option<Value> {
    Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// A table, or `false`.
fn switch(table: Option<Table>) -> Option<Value> {
    Some(table.map_or(Value::Boolean(false), Value::Table))
}

fn method(method: plan::Method) -> Table {
    let sam = method.sam.then(|| section([("rho", real(SAM_RHO))]));
    let gnr = method.gnr.map(|gnr| {
        let (hvp, step) = match gnr.product {
            Product::Exact => ("exact", None),
            Product::FiniteDifference => ("forward-difference", real(DIFFERENCE_STEP)),
        };
        let (rho, alpha) = (real(GNR_RHO), real(alpha(gnr.every)));
        section([
            ("rho", rho),
            ("alpha", alpha),
            ("hvp", text(hvp)),
            ("step", step),
            ("every", whole(gnr.every)),
        ])
    });
    section([("sam", switch(sam)), ("gnr", switch(gnr))])
}

fn data(net: &Net, dir: Option<&Path>) -> Table {
    let subset = net.images.map(|count| section([("count", whole(count))]));
    let resize = net
        .resize
        .map(|side| section([("shorter", whole(side)), ("height", whole(side)), ("width", whole(side))]));
    section([
        ("name", text(net.dataset.recipe_name())),
        ("dir", dir.and_then(|dir| text(dir.display().to_string()))),
        ("augment", text(net.augment)),
        ("normalization", net.normalization.or_else(|| net.dataset.normalization()).and_then(text)),
        ("subset", subset.map(Value::Table)),
        ("resize", resize.map(Value::Table)),
    ])
}

fn model(net: &Net, weights: Option<&Path>) -> Table {
    let width = |width: &usize| whole(*width as u64);
    section([
        ("name", text(net.model)),
        ("widths", net.widths.map(|widths| Value::Array(widths.iter().filter_map(width).collect()))),
        ("weights", weights.and_then(|path| text(path.display().to_string()))),
        // The paper: pretrained weights except for the last layer.
        ("load", weights.and_then(|_| text("new-head"))),
    ])
}

fn optimizer(optimizer: Optimizer) -> Table {
    let (name, lr, momentum, weight_decay) = match optimizer {
        Optimizer::Sgd { lr, weight_decay } => ("sgd", lr, real(0.9), weight_decay),
        Optimizer::AdamW { lr, weight_decay } => ("adamw", lr, None, weight_decay),
    };
    section([
        ("name", text(name)),
        ("lr", real(lr)),
        ("momentum", momentum),
        ("weight_decay", real(weight_decay)),
    ])
}

fn schedule(schedule: Schedule) -> Table {
    match schedule {
        Schedule::Cosine { warmup_epochs } => {
            let warmup = Some(warmup_epochs).filter(|epochs| *epochs > 0).and_then(whole);
            section([("name", text("cosine")), ("warmup_epochs", warmup)])
        }
        Schedule::Step { every_epochs } => {
            section([("name", text("step")), ("factor", real(0.1)), ("every_epochs", whole(every_epochs))])
        }
    }
}

fn train(net: &Net, seed: u64) -> Table {
    section([
        ("epochs", whole(net.epochs)),
        ("batch_size", whole(net.batch)),
        ("seed", whole(seed)),
        ("workers", whole(1)),
        ("eval_every", whole(net.eval_every)),
        // Runs of seconds need few checkpoints; one of hours may be interrupted at any time.
        ("checkpoint_every_epochs", whole(if net.dataset == Dataset::Digits { 10 } else { 1 })),
        ("keep_every_epochs", net.keep_every.and_then(whole)),
    ])
}

/// The recipe of a case. Without a placement it has no path, so that its text can address the run.
pub(super) fn table(net: &Net, case: &Case, place: Placement<'_>) -> Table {
    let base = net.optimizer.title();
    let name = format!("{}-{}-{}", net.slug().replace('/', "-"), case.method.slug(base), case.seed);
    section([
        ("name", text(name)),
        ("data", Some(data(net, place.data).into())),
        ("model", Some(model(net, place.weights).into())),
        ("method", Some(method(case.method).into())),
        ("optimizer", Some(optimizer(net.optimizer).into())),
        ("schedule", Some(schedule(net.schedule).into())),
        ("train", Some(train(net, case.seed).into())),
    ])
}

/// The recipe's text; without a placement, it is equal on every machine.
///
/// # Errors
/// A value that TOML cannot hold.
pub(super) fn toml(net: &Net, case: &Case, place: Placement<'_>) -> Result<String> {
    written(&table(net, case, place))
}

pub(super) fn written(table: &Table) -> Result<String> {
    toml::to_string(table).map_err(|error| StudyError::Recipe(RecipeError::Unwritable(error.to_string())))
}

/// The recipe as gnr-train takes it.
///
/// # Errors
/// A plan that is no valid recipe.
pub(super) fn parsed(name: &str, text: &str) -> Result<Recipe> {
    Ok(Recipe::parse(name, name, text, &[])?)
}

/// The text from which a run's address is made: the recipe without a placement, after the origin of its initial
/// weights.
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
    let case = Case { net: 0, method: plan::METHODS[0], seed: 1_000_000 };
    toml(&net, &case, Placement { weights: None, ..place })
}

#[cfg(test)]
mod tests {
    use super::super::plan::{METHODS, Plan, Scale, Table as PaperTable};
    use super::*;

    fn table(net: &Net, case: &Case) -> Table {
        toml(net, case, Placement::default()).unwrap().parse().unwrap()
    }

    #[test]
    fn each_method_is_what_its_name_says() {
        let plan = Plan::table(PaperTable::One, Scale::Smoke, 1);
        for (method, sam, gnr) in [
            (METHODS[0], false, None),
            (METHODS[1], false, Some("exact")),
            (METHODS[2], false, Some("forward-difference")),
            (METHODS[3], true, None),
            (METHODS[4], true, Some("exact")),
            (METHODS[5], true, Some("forward-difference")),
        ] {
            let recipe = table(&plan.nets[0], &Case { net: 0, method, seed: 7 });
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
    fn every_case_of_every_plan_is_a_valid_recipe() {
        for (table, scale) in
            PaperTable::ALL.into_iter().flat_map(|table| Scale::ALL.map(|scale| (table, scale)))
        {
            let plan = Plan::table(table, scale, 1);
            for case in &plan.cases {
                let name = plan.name(case);
                let recipe = parsed(&name, &toml(&plan.nets[case.net], case, Placement::default()).unwrap());
                let recipe = recipe.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(recipe.train.epochs, plan.nets[case.net].epochs, "{name}");
            }
        }
    }

    #[test]
    fn the_placement_is_the_only_difference() {
        let plan = Plan::table(PaperTable::One, Scale::Small, 1);
        let (case, net) = (&plan.cases[0], &plan.nets[0]);
        let bare = toml(net, case, Placement::default()).unwrap();
        let place = Placement { data: Some(Path::new("a/b")), weights: None };
        let placed = toml(net, case, place).unwrap();
        assert_eq!(placed.replace("dir = \"a/b\"\n", ""), bare);
        assert!(placed.contains("count = 5000"), "{placed}");
    }

    #[test]
    fn a_sparse_gnr_has_a_larger_alpha_from_the_papers_grid() {
        let plan = Plan::table(PaperTable::Four, Scale::Smoke, 1);
        for case in &plan.cases {
            let Some(gnr) = case.method.gnr else { continue };
            let recipe = table(&plan.nets[case.net], case);
            let section = &recipe["method"]["gnr"];
            assert_eq!(section["every"].as_integer(), Some(gnr.every as i64));
            let grid = [(1, 0.1), (2, 0.2), (5, 0.5), (10, 1.0), (20, 2.0)];
            let (_, alpha) = grid.into_iter().find(|(every, _)| *every == gnr.every).unwrap();
            assert_eq!(section["alpha"].as_float(), Some(alpha));
        }
    }

    #[test]
    fn weights_are_a_part_of_the_identity_though_their_place_is_not() {
        let plan = Plan::table(PaperTable::Three, Scale::Smoke, 1);
        let (net, case) = (&plan.nets[0], &plan.cases[0]);
        let fresh = Net { start: Start::Random, ..net.clone() };
        assert_ne!(identity(net, case).unwrap(), identity(&fresh, case).unwrap());
        let placed = Placement { weights: Some(Path::new("w.pth")), ..Placement::default() };
        let text = toml(net, case, placed).unwrap();
        assert!(text.contains("weights = \"w.pth\"") && text.contains("load = \"new-head\""), "{text}");
    }
}
