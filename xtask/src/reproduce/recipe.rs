//! A case as a recipe for `gnr train`: everything that decides the run is written out, so that the recipe's text is its
//! address and a changed default of the program is not a silent change of the experiment.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::plan::{Case, Dataset, Net, Product};

/// SAM's radius, Foret et al.'s default.
const SAM_RHO: f64 = 0.05;
/// The paper's ρ and α for CIFAR.
const GNR_RHO: f64 = 0.1;
const GNR_ALPHA: f64 = 0.1;
/// Norm of the perturbation of a forward difference: the most accurate in f32.
const DIFFERENCE_STEP: f64 = 1e-3;

/// What the constants above are, for the report.
pub(super) fn hyperparameters() -> String {
    format!(
        "SGD with momentum 0.9 and a cosine schedule; SAM ρ = {SAM_RHO}; GNR ρ = {GNR_RHO}, α = {GNR_ALPHA}, on every step; \
         forward differences with a step of norm {DIFFERENCE_STEP}. Nothing was tuned per method."
    )
}

#[derive(Serialize)]
struct Recipe {
    name: String,
    data: Data,
    model: Model,
    method: Method,
    optimizer: Optimizer,
    schedule: Schedule,
    train: Train,
}

#[derive(Serialize)]
struct Data {
    name: &'static str,
    dir: Option<String>,
    augment: &'static str,
    normalization: Option<&'static str>,
    subset: Option<Subset>,
}

#[derive(Serialize)]
struct Subset {
    count: usize,
}

#[derive(Serialize)]
struct Model {
    name: &'static str,
    widths: Option<&'static [usize]>,
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
}

#[derive(Serialize)]
struct Optimizer {
    name: &'static str,
    lr: f64,
    momentum: f64,
    weight_decay: f64,
}

#[derive(Serialize)]
struct Schedule {
    name: &'static str,
}

#[derive(Serialize)]
struct Train {
    epochs: u64,
    batch_size: usize,
    seed: u64,
    threads: usize,
    workers: usize,
    checkpoint_every_epochs: u64,
}

/// The recipe of a case as TOML, with the data in `place`.
///
/// # Errors
/// A value that TOML cannot hold.
pub(super) fn toml(net: &Net, case: &Case, place: Option<&Path>) -> Result<String> {
    let gnr = case.method.gnr.map(|product| Gnr {
        rho: GNR_RHO,
        alpha: GNR_ALPHA,
        hvp: match product {
            Product::Exact => "exact",
            Product::FiniteDifference => "forward-difference",
        },
        step: (product == Product::FiniteDifference).then_some(DIFFERENCE_STEP),
    });
    let (name, augment, normalization) = match net.dataset {
        Dataset::Digits => ("digits", "none", None),
        Dataset::FashionMnist => ("fashion-mnist", "none", None),
        Dataset::Cifar10Jpeg => ("folder", "pad-crop-flip", Some("cifar10")),
        Dataset::Cifar10 => ("cifar10", "pad-crop-flip", None),
        Dataset::Cifar100 => ("cifar100", "pad-crop-flip", None),
    };
    let recipe = Recipe {
        name: format!("{}-{}-{}", net.slug().replace('/', "-"), case.method.slug(), case.seed),
        data: Data {
            name,
            dir: place.map(|place| place.display().to_string()),
            augment,
            normalization,
            subset: net.train_images.map(|count| Subset { count }),
        },
        model: Model { name: net.model, widths: net.widths },
        method: Method { sam: case.method.sam.then_some(Sam { rho: SAM_RHO }).into(), gnr: gnr.into() },
        optimizer: Optimizer {
            name: "sgd",
            lr: net.learning_rate,
            momentum: 0.9,
            weight_decay: net.weight_decay,
        },
        schedule: Schedule { name: "cosine" },
        train: Train {
            epochs: net.epochs,
            batch_size: net.batch,
            seed: case.seed,
            threads: 1,
            workers: 1,
            // Runs of seconds need few checkpoints; one of hours may be interrupted at any time.
            checkpoint_every_epochs: if net.dataset == Dataset::Digits { 10 } else { 1 },
        },
    };
    // By way of a table, whose writer puts plain values before sections.
    let table = toml::Table::try_from(&recipe).context("a recipe as TOML")?;
    toml::to_string(&table).context("a recipe as TOML")
}

#[cfg(test)]
mod tests {
    use super::super::plan::{METHODS, Plan, Scale};
    use super::*;

    #[test]
    fn each_method_is_what_its_name_says() {
        let plan = Plan::table1(Scale::Smoke, 1);
        for (method, sam, gnr) in [
            (METHODS[0], false, None),
            (METHODS[1], false, Some("exact")),
            (METHODS[2], false, Some("forward-difference")),
            (METHODS[3], true, None),
            (METHODS[4], true, Some("exact")),
            (METHODS[5], true, Some("forward-difference")),
        ] {
            let text = toml(&plan.nets[0], &Case { net: 0, method, seed: 7 }, None).unwrap();
            let recipe: toml::Table = text.parse().unwrap();
            let of = |name: &str| recipe["method"][name].clone();
            assert_eq!(of("sam").is_table(), sam, "{text}");
            assert_eq!(of("gnr").get("hvp").and_then(toml::Value::as_str), gnr, "{text}");
            assert_eq!(
                (of("sam").is_bool(), of("gnr").is_bool()),
                (!sam, gnr.is_none()),
                "off is said, not left out"
            );
            assert_eq!(recipe["train"]["seed"].as_integer(), Some(7));
        }
    }

    #[test]
    fn the_place_of_the_data_is_the_only_difference() {
        let plan = Plan::table1(Scale::Small, 1);
        let (case, net) = (&plan.cases[0], &plan.nets[0]);
        let (bare, placed) =
            (toml(net, case, None).unwrap(), toml(net, case, Some(Path::new("a/b"))).unwrap());
        assert_eq!(placed.replace("dir = \"a/b\"\n", ""), bare);
        assert!(placed.contains("count = 5000"), "{placed}");
    }
}
