//! The engine of a run: which there are, and that all of them compute the same run.

use gnr_train::{Engine, Recipe};

use crate::support::tiny;

#[test]
fn the_default_engine_is_not_written_so_that_recipes_keep_their_addresses() {
    let recipe = tiny(&["train.backend=cpu"]);
    assert_eq!(recipe.train.backend, Engine::Cpu);
    assert!(!recipe.to_toml().unwrap().contains("backend"));
    assert_eq!(recipe, tiny(&[]));
}

#[test]
fn an_unknown_engine_is_refused_with_the_known_ones() {
    let set = ["train.backend=gpu".to_owned()];
    let error = Recipe::parse("r.toml", "r", "", &set).unwrap_err().to_string();
    assert!(error.contains("`train.backend` = \"gpu\": expected one of cpu, dfdx"), "{error}");
}

#[cfg(not(feature = "dfdx"))]
#[test]
fn an_engine_that_is_not_built_in_names_the_command_that_builds_it() {
    let set = ["train.backend=dfdx".to_owned()];
    let error = Recipe::parse("r.toml", "r", "", &set).unwrap_err().to_string();
    assert!(error.contains("cargo build --release --features dfdx"), "{error}");
}

/// Both engines compute the same step in another order of additions: f64 rounding, grown over 20 steps.
#[cfg(feature = "dfdx")]
#[test]
fn a_run_on_dfdx_is_that_of_the_cpu_engine() {
    use std::sync::atomic::AtomicBool;

    use gnr_train::{Existing, train};

    use crate::support::Watch;

    for model in [&["model.name=mlp"][..], &["model.name=resnet8", "model.widths=[4,4,4]"]] {
        let losses = |engine: &str| {
            let backend = format!("train.backend={engine}");
            let sets =
                [model, &[&backend, "train.precision=f64", "train.epochs=4", "method.gnr.rho=0.1"]].concat();
            let folder = tempfile::tempdir().unwrap();
            let mut watch = Watch::default();
            let run = folder.path().join("run");
            train(tiny(&sets), &run, Existing::Refuse, &mut watch, &AtomicBool::new(false)).unwrap();
            let resolved = std::fs::read_to_string(run.join("recipe.toml")).unwrap();
            assert_eq!(resolved.contains("backend = \"dfdx\""), engine == "dfdx");
            watch.steps.iter().map(|step| step.loss).collect::<Vec<_>>()
        };
        let (cpu, dfdx) = (losses("cpu"), losses("dfdx"));
        assert!(cpu.len() >= 20);
        for (step, (cpu, dfdx)) in cpu.iter().zip(&dfdx).enumerate() {
            assert!((cpu - dfdx).abs() < 1e-9, "{model:?} step {step}: {cpu} and {dfdx}");
        }
    }
}
