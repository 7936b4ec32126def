//! The engines of runs: their names, and that all of them compute equal runs up to rounding.

use gnr_train::{Device, Engine, Recipe};

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
    assert!(error.contains("`train.backend` = \"gpu\": expected one of cpu, burn, dfdx, torch"), "{error}");
}

#[test]
fn an_engine_that_is_not_built_in_names_the_command_that_builds_it() {
    let optional = [
        ("burn", cfg!(feature = "burn")),
        ("dfdx", cfg!(feature = "dfdx")),
        ("torch", cfg!(feature = "torch")),
    ];
    for (name, built) in optional {
        let set = [format!("train.backend={name}")];
        match Recipe::parse("r.toml", "r", "", &set) {
            Ok(recipe) => assert!(built && recipe.train.backend.name() == name),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !built && error.contains(&format!("cargo build --release --features {name}")),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn the_cpu_is_the_device_unless_another_is_asked_for_and_unknown_ones_are_refused() {
    let recipe = tiny(&["train.device=cpu"]);
    assert_eq!(recipe.train.device, Device::Cpu);
    assert!(!recipe.to_toml().unwrap().contains("device"), "recipes keep their addresses");
    let refused = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Recipe::parse("r.toml", "r", "", &sets).unwrap_err().to_string()
    };
    let error = refused(&["train.device=tpu"]);
    let known = match (cfg!(any(feature = "torch", feature = "dfdx-cuda")), cfg!(feature = "burn-wgpu")) {
        (false, false) => "expected cpu, which",
        (true, false) => "expected one of cpu, cuda, cuda:N;",
        (false, true) => "expected one of cpu, vulkan, vulkan:N;",
        (true, true) => "expected one of cpu, cuda, cuda:N, vulkan, vulkan:N;",
    };
    assert!(error.contains("`train.device` = \"tpu\"") && error.contains(known), "{error}");
    assert!(error.contains("gnr devices"), "{error}");
    for name in ["cuda:x", "vulkan:", "cpu:0", "vulkan:-1"] {
        let error = refused(&[&format!("train.device={name}")]);
        assert!(error.contains(&format!("\"{name}\": {known}")), "{error}");
    }
    let error = refused(&["train.device=cuda", "train.backend=cpu"]);
    let cards = cfg!(any(feature = "torch", feature = "dfdx-cuda"));
    let reason = if cards { "does not compute on CUDA cards" } else { "--features torch" };
    assert!(error.contains(reason), "{error}");
    if !cards {
        assert!(error.contains("`cargo xtask cuda-build`"), "{error}");
        assert!(refused(&["train.device=cuda"]).contains("--features torch"));
    }
    let error = refused(&["train.device=vulkan:1", "train.backend=cpu"]);
    let reason = if cfg!(feature = "burn-wgpu") {
        "does not compute on Vulkan devices"
    } else {
        "--features burn-wgpu"
    };
    assert!(error.contains(reason) && error.contains("train.backend = \"burn\""), "{error}");
}

#[cfg(feature = "burn-wgpu")]
#[test]
fn a_vulkan_device_means_burn_in_single_precision_and_is_written_with_its_number() {
    let recipe = tiny(&["train.device=vulkan"]);
    assert_eq!((recipe.train.backend, recipe.train.device), (Engine::Burn, Device::Vulkan(0)));
    let text = recipe.to_toml().unwrap();
    assert!(text.contains("backend = \"burn\"") && text.contains("device = \"vulkan:0\""), "{text}");
    assert_eq!(Recipe::parse("r.toml", "r", &text, &[]).unwrap(), recipe);
    let sets = ["train.device=vulkan".to_owned(), "train.precision=f64".to_owned()];
    let error = Recipe::parse("r.toml", "r", "", &sets).unwrap_err().to_string();
    assert!(error.contains("no exponential, logarithm, tanh or power in f64"), "{error}");
}

/// A short run on the first Vulkan device, which may be Mesa's software. It is the CPU engine's run in single
/// precision: rounding of 6e-8, grown over the steps.
#[cfg(feature = "burn-wgpu")]
#[test]
fn a_run_through_vulkan_is_that_of_the_cpu_engine_in_single_precision() {
    use std::sync::atomic::AtomicBool;

    use gnr_train::{Existing, train};

    use crate::support::Watch;

    let losses = |device: &str| {
        let device = format!("train.device={device}");
        let sets = ["model.name=mlp", &device, "train.epochs=4", "method.gnr.rho=0.1"];
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, run) = (Watch::default(), folder.path().join("run"));
        train(tiny(&sets), &run, Existing::Refuse, &mut watch, &AtomicBool::new(false)).unwrap();
        let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        let words = |key: &str| summary[key].as_str().unwrap().to_owned();
        (watch.steps.iter().map(|step| step.loss).collect::<Vec<_>>(), words("device"), words("library"))
    };
    let (cpu, ..) = losses("cpu");
    let (vulkan, device, library) = losses("vulkan");
    assert_eq!(device, "vulkan:0");
    assert!(library.starts_with("burn 0.22 on "), "{library}");
    assert!(cpu.len() >= 20 && cpu.len() == vulkan.len());
    for (step, (cpu, vulkan)) in cpu.iter().zip(&vulkan).enumerate() {
        assert!((cpu - vulkan).abs() < 1e-4 * cpu.abs(), "step {step}: {cpu} and {vulkan}");
    }
}

#[cfg(feature = "burn-wgpu")]
#[test]
fn a_vulkan_device_that_is_not_there_is_refused_before_anything_is_written() {
    use gnr_train::{Existing, train};

    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let recipe = tiny(&["train.device=vulkan:1000"]);
    let error = train(recipe, &run, Existing::Refuse, &mut (), &stop).unwrap_err().to_string();
    assert!(
        error.contains("device vulkan:1000: wgpu finds") && error.contains("vulkan:0 to vulkan:"),
        "{error}"
    );
    assert!(!run.exists(), "nothing was begun");
}

#[test]
fn lower_precisions_and_another_layout_are_refused_where_nothing_computes_in_them() {
    let refused = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Recipe::parse("r.toml", "r", "", &sets).unwrap_err().to_string()
    };
    let torch = cfg!(feature = "torch");
    for name in ["bf16", "tf32"] {
        let error = refused(&[&format!("train.precision={name}")]);
        let reason = if torch { "the backend \"cpu\" computes in f32 and f64" } else { "--features torch" };
        assert!(
            error.contains(&format!("`train.precision` = \"{name}\": ")) && error.contains(reason),
            "{error}"
        );
    }
    let error = refused(&["train.precision=f16"]);
    assert!(error.contains("expected one of f32, tf32, bf16, f64"), "{error}");
    let error = refused(&["train.channels_last=true"]);
    let reason = if torch { "the backend \"cpu\" has one layout" } else { "--features torch" };
    assert!(error.contains("`train.channels_last` = true: ") && error.contains(reason), "{error}");
}

#[cfg(feature = "torch")]
#[test]
fn libtorch_has_bf16_everywhere_and_tf32_on_cards() {
    use gnr_train::Precision;

    let recipe = tiny(&["train.backend=torch", "train.precision=bf16", "train.channels_last=true"]);
    assert_eq!((recipe.train.precision, recipe.train.channels_last), (Precision::Bf16, true));
    let text = recipe.to_toml().unwrap();
    assert!(text.contains("precision = \"bf16\"") && text.contains("channels_last = true"), "{text}");
    assert_eq!(Recipe::parse("r.toml", "r", &text, &[]).unwrap(), recipe);
    let recipe = tiny(&["train.device=cuda", "train.precision=tf32"]);
    assert_eq!(recipe.train.precision, Precision::Tf32);
    let sets = ["train.backend=torch".to_owned(), "train.precision=tf32".to_owned()];
    let error = Recipe::parse("r.toml", "r", "", &sets).unwrap_err().to_string();
    assert!(error.contains("TF32 is a format of CUDA cards"), "{error}");
}

/// The other layout computes the same run but for the order of additions; bfloat16 one that is close, and the summary
/// says so.
#[cfg(feature = "torch")]
#[test]
fn a_run_in_the_other_layout_is_the_same_run_and_one_in_bf16_is_close() {
    use crate::support::run;

    let losses = |sets: &[&str], precision: &str| {
        let precision = format!("train.precision={precision}");
        let net = ["model.name=resnet8", "model.widths=[4,4,4]", "train.backend=torch", &precision];
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("run");
        let recipe = tiny(&[&net[..], &["train.epochs=2", "method.gnr.rho=0.1"], sets].concat());
        run(recipe, &at).unwrap();
        let summary = std::fs::read_to_string(at.join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        (summary["train_loss"].as_f64().unwrap(), summary["precision"].as_str().unwrap().to_owned())
    };
    let (expected, _) = losses(&[], "f64");
    let (other, _) = losses(&["train.channels_last=true"], "f64");
    assert!((other - expected).abs() < 1e-9 * expected, "{other} and {expected}");
    let (half, precision) = losses(&[], "bf16");
    assert_eq!(precision, "bf16");
    // Ten steps from one point: rounding of 1/256 in each product changes the loss by a few percent at most.
    assert!(half != expected && (half - expected).abs() < 0.1 * expected, "{half} and {expected}");
}

#[cfg(feature = "dfdx")]
#[test]
fn dfdx_computes_on_a_card_where_it_was_built_with_cuda() {
    let sets = ["train.backend=dfdx".to_owned(), "train.device=cuda:1".to_owned()];
    match Recipe::parse("r.toml", "r", "", &sets) {
        Ok(recipe) => {
            assert!(cfg!(feature = "dfdx-cuda"));
            assert_eq!((recipe.train.backend, recipe.train.device), (Engine::Dfdx, Device::Cuda(1)));
            let text = recipe.to_toml().unwrap();
            assert!(text.contains("backend = \"dfdx\"") && text.contains("device = \"cuda:1\""), "{text}");
        }
        Err(error) => {
            let error = error.to_string();
            assert!(!cfg!(feature = "dfdx-cuda"));
            assert!(error.contains("was built without CUDA: `cargo xtask cuda-build`"), "{error}");
        }
    }
}

#[cfg(feature = "torch")]
#[test]
fn a_card_means_libtorch_and_is_written_with_its_number() {
    let recipe = tiny(&["train.device=cuda"]);
    assert_eq!((recipe.train.backend, recipe.train.device), (Engine::Torch, Device::Cuda(0)));
    let text = recipe.to_toml().unwrap();
    assert!(text.contains("backend = \"torch\"") && text.contains("device = \"cuda:0\""), "{text}");
    assert_eq!(Recipe::parse("r.toml", "r", &text, &[]).unwrap(), recipe);
}

/// The engines that this program has beside the CPU engine.
#[cfg(any(feature = "burn", feature = "dfdx", feature = "torch"))]
const OTHERS: &[&str] = &[
    #[cfg(feature = "burn")]
    "burn",
    #[cfg(feature = "dfdx")]
    "dfdx",
    #[cfg(feature = "torch")]
    "torch",
];

/// All engines compute equal steps with additions in another order: f64 rounding, grown over 20 steps.
#[cfg(any(feature = "burn", feature = "dfdx", feature = "torch"))]
#[test]
fn a_run_on_another_engine_is_that_of_the_cpu_engine() {
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
            assert_eq!(resolved.contains(&format!("backend = \"{engine}\"")), engine != "cpu");
            let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
            let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
            let library = match engine {
                "cpu" => "gnr-cpu ",
                "burn" => "burn 0.22",
                "dfdx" => "dfdx ",
                _ => "LibTorch 2.",
            };
            assert!(summary["library"].as_str().unwrap().starts_with(library), "{summary}");
            assert_eq!((&summary["device"], &summary["precision"]), (&"cpu".into(), &"f64".into()));
            watch.steps.iter().map(|step| step.loss).collect::<Vec<_>>()
        };
        let cpu = losses("cpu");
        assert!(cpu.len() >= 20);
        for engine in OTHERS {
            for (step, (cpu, other)) in cpu.iter().zip(&losses(engine)).enumerate() {
                assert!((cpu - other).abs() < 1e-9, "{engine}, {model:?} step {step}: {cpu} and {other}");
            }
        }
    }
}

/// A run that was stopped continues on another engine, up to rounding, and its summary says so.
#[cfg(any(feature = "burn", feature = "dfdx", feature = "torch"))]
#[test]
fn a_run_that_was_stopped_goes_on_with_another_engine() {
    use std::sync::atomic::AtomicBool;

    use gnr_train::{Existing, Move, Outcome, extended, train};

    use crate::support::{Watch, run};

    let home = tempfile::tempdir().unwrap();
    let recipe = tiny(&["train.precision=f64", "optimizer.name=adam"]);
    let whole = run(recipe.clone(), &home.path().join("whole")).unwrap();
    assert!(whole.moves.is_empty());
    for engine in OTHERS {
        let (folder, stop) = (home.path().join(engine), AtomicBool::new(false));
        let mut watch = Watch { stop_at: Some((7, &stop)), ..Watch::default() };
        train(recipe.clone(), &folder, Existing::Refuse, &mut watch, &stop).unwrap();
        let (moved, _) = extended(&folder, &[format!("train.backend={engine}")]).unwrap();
        let go_on = AtomicBool::new(false);
        let Outcome::Finished(summary) = train(moved, &folder, Existing::Resume, &mut (), &go_on).unwrap()
        else {
            panic!("nobody asked to stop");
        };
        let (from, to) = ("cpu on cpu".into(), format!("{engine} on cpu"));
        assert_eq!(summary.moves, [Move { at_step: 7, from, to }]);
        assert!((summary.train_loss - whole.train_loss).abs() < 1e-9, "{engine}");
        assert!((summary.test_loss - whole.test_loss).abs() < 1e-9, "{engine}");
    }
}
