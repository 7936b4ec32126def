//! The output of each command, and the files that it leaves, when all is well.

use crate::support::{TINY, run, tree, write};

#[test]
fn a_run_and_its_evaluation() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "mine.toml", TINY);
    let out = home.path().join("out");
    let (recipe, out_text) = (recipe.to_str().unwrap(), out.to_str().unwrap());
    let (code, stdout, stderr) = run(&["train", recipe, "--out", out_text]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("SGD + GNR (exact)") && stdout.contains("epoch   2/2"), "{stdout}");
    let files = tree(&out);
    let events = files.iter().find(|file| file.starts_with("events.out.tfevents.")).unwrap();
    let expected = [
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "data.json",
        events,
        "metrics.jsonl",
        "recipe.toml",
    ];
    assert_eq!(files, [&expected[..], &["run.lock", "summary.json"]].concat());
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(
        (&summary["finished"], &summary["steps"], &summary["name"]),
        (&true.into(), &12.into(), &"mine".into())
    );

    let last = out.join("checkpoints/last.safetensors");
    let (code, stdout, _) = run(&["eval", last.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["accuracy"], &report["images"]), (&summary["test_accuracy"], &360.into()));

    let (code, _, stderr) = run(&["train", recipe, "--out", out_text]);
    assert!(code == 1 && stderr.contains("gnr resume"), "{stderr}");
    assert_eq!(run(&["resume", out_text, "--quiet"]), (0, String::new(), String::new()));
}

#[test]
fn runs_are_numbered_and_failures_reserve_nothing() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "mine.toml", TINY);
    let train = |sets: &[&str]| {
        let mut command = crate::support::gnr(&["train", recipe.to_str().unwrap(), "--quiet"]);
        command.args(sets).current_dir(home.path()).output().unwrap().status.code()
    };
    assert_eq!(train(&[]), Some(0));
    assert_eq!(train(&["--set", "data.name=cifar10"]), Some(1));
    assert_eq!(train(&[]), Some(0));
    let mut folders: Vec<_> = std::fs::read_dir(home.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    folders.sort();
    assert_eq!(folders, ["mine-1", "mine-2"]);
}

#[test]
fn a_dry_run_prints_the_whole_recipe_and_trains_nothing() {
    let (code, stdout, _) = run(&["train", "--dry-run", "--set", "train.epochs=7"]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("epochs = 7") && stdout.contains("# 7 epochs of 22 steps; nothing was trained"),
        "{stdout}"
    );
}

#[test]
fn listings() {
    for (arguments, expected) in [
        (&["models"][..], "resnet20"),
        (&["methods"], "η·sign(β₁m + (1−β₁)h)"),
        (&["methods"], "floor = 0.0"),
        (
            &["methods", "sgd"],
            "nesterov      Nesterov's momentum instead of the heavy ball: true | false, default false",
        ),
        (&["methods", "step"], "factor of each drop: (0, 1], default 0.1"),
        (&["methods", "--help"], "gnr methods lion"),
        (&["data"], "fashion-mnist"),
        (&["data", "digits"], "1437 images 1x8x8"),
        (&["data", "cifar10"], "md5 c32a1d4ab5d03f1284b67883e8d87530"),
        (&["data", "fetch", "--help"], "--mirror"),
        (&["data", "bench", "--batches", "2"], "% of the time waiting for images"),
        (&["train", "--list"], "cifar10-resnet20-sam-gnr"),
        (&["train", "--help"], "Examples:"),
        (&["report", "--help"], "every run of a comparison"),
        (&["train", "--help"], "schedule-free-adamw"),
    ] {
        let (code, stdout, _) = run(arguments);
        assert!(code == 0 && stdout.contains(expected), "{arguments:?}: {stdout}");
    }
}

/// Every registered method is listed, and described by its name.
#[test]
fn every_method_is_listed_and_described() {
    let (_, all, _) = run(&["methods"]);
    for kind in gnr_train::recipe::kinds() {
        assert!(all.contains(&format!("[{}]", kind.section)), "{all}");
        for entry in kind.entries {
            assert!(all.contains(entry.equation) && all.contains(entry.reference), "{}: {all}", entry.name);
            let (code, one, _) = run(&["methods", entry.name]);
            let complete = entry.keys.iter().all(|key| one.contains(key.doc)) && one.contains(entry.doc);
            assert!(code == 0 && complete, "{}: {one}", entry.name);
        }
    }
    let (code, _, stderr) = run(&["methods", "lyon"]);
    assert!(code == 1 && stderr.contains("no method is called `lyon`; known are sam, asam"), "{stderr}");
}

#[test]
fn a_loader_of_one_batch_cannot_be_timed() {
    let (code, _, stderr) = run(&["data", "bench", "--set", "train.batch_size=1000"]);
    assert!(code == 1 && stderr.contains("make train.batch_size smaller"), "{stderr}");
}

#[test]
fn damaged_files_are_listed_and_counted() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "train/cat/a.png", [0x89, b'P', b'N', b'G', 13, 10, 26, 10]);
    let (code, stdout, _) = run(&["data", "verify", home.path().to_str().unwrap()]);
    assert!(code == 1 && stdout.contains("a.png: cannot decode"), "{stdout}");
    assert!(stdout.contains("1 files checked, 1 damaged"), "{stdout}");
    let (code, _, stderr) = run(&["data", "verify", "/nowhere/at/all"]);
    assert!(code == 1 && stderr.contains("/nowhere/at/all"), "{stderr}");
}

/// Photographs of several sizes are counted, and the keys that give them one size are named.
#[test]
fn photographs_of_several_sizes_are_described() {
    let home = tempfile::tempdir().unwrap();
    for (name, header, bytes) in [("train/a/1", "P6 2 2 255 ", 12), ("train/a/2", "P6 1 2 255 ", 6)] {
        let bytes = [header.as_bytes(), &(0..bytes).collect::<Vec<u8>>()].concat();
        write(home.path(), &format!("{name}.ppm"), &bytes);
        write(home.path(), "test/a/1.ppm", &bytes);
    }
    let (code, stdout, stderr) = run(&["data", "folder", "--data-dir", home.path().to_str().unwrap()]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("decoded on demand: 2 images"), "{stdout}");
    assert!(
        stdout.contains("warning: train: sizes differ") && stdout.contains("data.resize.height"),
        "{stdout}"
    );
}

/// Data sets without an address, and names that are not registered.
#[test]
fn what_cannot_be_fetched_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    let (code, _, stderr) = run(&["data", "fetch", "stanford-cars", "--data-dir", dir]);
    assert!(code == 1 && stderr.contains("the published address is gone"), "{stderr}");
    let (code, _, stderr) = run(&["data", "fetch", "imagenet", "--data-dir", dir]);
    assert!(code == 1 && stderr.contains("image-net.org"), "{stderr}");
    let (code, _, stderr) = run(&["data", "fetch", "cifar11", "--data-dir", dir]);
    assert!(code == 1 && stderr.contains("did you mean"), "{stderr}");
}

/// Every survey leaves data and pictures, prints a table, and continues from its folder. A figure is drawn again from
/// its JSON.
#[test]
fn surveys_and_their_figures() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "mine.toml", TINY);
    let out = home.path().join("out");
    let (recipe, run_folder) = (recipe.to_str().unwrap(), out.to_str().unwrap());
    let train = ["train", recipe, "--out", run_folder, "--quiet", "--set", "train.keep_every_epochs=1"];
    assert_eq!(run(&train), (0, String::new(), String::new()));
    for (arguments, expected) in [
        (&["landscape", run_folder, "--points", "3"][..], "9 points, loss from"),
        (&["minima", run_folder, "--directions", "2", "--steps", "2", "--refine", "2"], "mean minima"),
        (&["sharpness", run_folder, "--steps", "2", "--starts", "1", "--rho", "0.1,0.2"], "multi-start"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert!(code == 0 && stdout.contains(expected), "{arguments:?}: {stdout}{stderr}");
        let again = run(&[arguments, &["--quiet"]].concat());
        assert_eq!((again.0, again.1, again.2.as_str()), (0, stdout, ""), "the same without work");
        let name = arguments[0];
        let files = tree(&out.join(name));
        for extension in ["csv", "json", "svg", "png", "figure.json"] {
            assert!(files.contains(&format!("{name}.{extension}")), "{files:?}");
        }
        let (code, json, _) = run(&[arguments, &["--json", "--no-plot"]].concat());
        assert!(code == 0 && serde_json::from_str::<serde_json::Value>(&json).unwrap().is_object());
    }
    let figure = out.join("landscape/landscape.figure.json");
    let again = home.path().join("deep/again");
    let (code, stdout, _) = run(&["plot", figure.to_str().unwrap(), "--out", again.to_str().unwrap()]);
    assert!(code == 0 && stdout.contains("again.svg"), "{stdout}");
    let bytes = |path: &std::path::Path| std::fs::read(path).unwrap();
    assert!(bytes(&again.with_extension("png")) == bytes(&out.join("landscape/landscape.png")));

    let (code, stdout, _) =
        run(&["landscape", run_folder, "--trajectory", "--points", "2", "--out", run_folder]);
    assert!(code == 0 && stdout.contains("principal direction"), "{stdout}");
}

/// The two minima have R_SAM = 2 both, and R_GNR = π and 3π.
#[test]
fn the_worked_example() {
    let home = tempfile::tempdir().unwrap();
    let prefix = home.path().join("figure1a");
    let (code, stdout, _) = run(&["plot", "--example", "figure1a", "--out", prefix.to_str().unwrap()]);
    assert_eq!(code, 0);
    for expected in ["R_SAM ≥ 2.000000000, R_GNR ≥ 3.141592654", "R_SAM ≥ 2.000000000, R_GNR ≥ 9.424777961"]
    {
        assert!(stdout.contains(expected), "{stdout}");
    }
    assert_eq!(tree(home.path()), ["figure1a.csv", "figure1a.figure.json", "figure1a.png", "figure1a.svg"]);
}

#[test]
fn bench_takes_the_shape_and_the_sizes_of_a_net() {
    let common = ["bench", "--batch", "2", "--rounds", "1", "--method", "gradient", "--model"];
    let with = |more: &[&str]| run(&[&common[..], more].concat());
    let line = |more: &[&str]| {
        let (code, stdout, stderr) = with(more);
        assert_eq!(code, 0, "{stdout}{stderr}");
        serde_json::from_str::<serde_json::Value>(&stdout).unwrap()
    };
    let resnet = line(&["resnet8", "--input", "1,8,8", "--widths", "4,8,8"]);
    // Registered methods by their names, with their cost on the batch; rare costs are averaged.
    let registered = [
        "bench", "--batch", "4", "--rounds", "1", "--model", "resnet8", "--input", "1,8,8", "--widths",
        "4,8,8",
    ];
    let (code, stdout, stderr) =
        run(&[&registered[..], &["--methods", "sgd,esam,saf,mesa,looksam,sam-on,sophia-h"]].concat());
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named =
        |name: &str| lines.iter().find(|line| line["method"] == name).unwrap()["gflop"].as_f64().unwrap();
    assert_eq!(lines.len(), 7, "{stdout}");
    // In order: a gradient of half of the batch and a forward pass; a gradient; a gradient with a forward pass; a fifth
    // of a gradient; a gradient; a tenth of a product.
    let ratio = |name: &str| named(name) / named("sgd");
    for (name, low, high) in [
        ("esam", 1.7, 1.95),
        ("saf", 1.9, 2.1),
        ("mesa", 2.2, 2.5),
        ("looksam", 1.15, 1.25),
        ("sam-on", 1.9, 2.1),
        ("sophia-h", 1.1, 1.4),
    ] {
        assert!((low..high).contains(&ratio(name)), "{name} takes {} times the work of SGD", ratio(name));
    }
    let (code, _, stderr) = run(&[&registered[..], &["--methods", "asma"]].concat());
    assert!(code == 1 && stderr.contains("no method `asma` to time"), "{stderr}");
    assert!(resnet["min_ms"].as_f64().unwrap() > 0.0, "{resnet}");
    let vit = |depth| {
        let vit = line(&["vit_tiny_patch4_32", "--input", "3,8,8", "--widths", "12", "--depth", depth]);
        vit["gflop"].as_f64().unwrap()
    };
    assert!(vit("3") > 1.4 * vit("2"));
    let (code, _, stderr) = with(&["resnet8", "--input", "8,8"]);
    assert!(code == 2 && stderr.contains("expected C,H,W"), "{stderr}");
    let (code, _, stderr) = with(&["resnet8", "--depth", "2"]);
    assert!(
        code == 1 && stderr.contains("depth: given, but this architecture has no such option"),
        "{code} {stderr}"
    );
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&["generate", home.path().to_str().unwrap()]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
    let files = tree(home.path());
    for name in [
        "man/man1/gnr.1",
        "man/man1/gnr-data-fetch.1",
        "completions/gnr.bash",
        "completions/_gnr",
        "completions/gnr.fish",
    ] {
        assert!(files.iter().any(|file| file == name), "{name} in {files:?}");
    }
    let help = run(&["--help"]).1;
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description's second line is indented more.
    let names: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 15 && !names.contains(&"generate"), "{names:?}");
    for name in names {
        let page = std::fs::read_to_string(home.path().join(format!("man/man1/gnr-{name}.1"))).unwrap();
        assert!(page.contains("SYNOPSIS"), "{name}");
        let bash = std::fs::read_to_string(home.path().join("completions/gnr.bash")).unwrap();
        assert!(bash.contains(name), "{name}");
    }
}

/// One run that is named by two paths is one curve.
#[test]
fn a_run_that_is_named_twice_is_on_the_page_once() {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join("one"), "recipe.toml", "[train]\nepochs = 4\n");
    let (one, page) = (home.path().join("one"), home.path().join("page.html"));
    let other = one.join("..").join("one");
    let paths = [&one, &other, &page].map(|path| path.to_str().unwrap());
    let (code, _, stderr) = run(&["report", paths[0], paths[1], "--out", paths[2]]);
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("Run one") && !text.contains("runs over each other"), "{text}");
}
