//! Tests of `gnr compare`: pairing, the files it writes, no repeated work, tuning, parts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{TINY, gnr, run, tree, write};

/// The tiny recipe with a third of its labels wrong.
pub(crate) fn recipe(home: &Path) -> PathBuf {
    let noise = "label_noise = { rate = 0.3 }\n[model]";
    write(home, "r.toml", TINY.replace("[model]", noise))
}

pub(crate) fn arguments<'a>(recipe: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["compare", recipe.to_str().unwrap(), "--out", out.to_str().unwrap(), "--jobs", "2"];
    [&fixed[..], more].concat()
}

pub(crate) fn json(out: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(out.join("compare.json")).unwrap()).unwrap()
}

/// The run folders of a comparison whose names begin with `prefix`, with their summaries.
pub(crate) fn summaries(out: &Path, below: &str, prefix: &str) -> Vec<Value> {
    let mut found: Vec<(String, Value)> = fs::read_dir(out.join(below))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with(prefix))
        .map(|entry| {
            let text = fs::read_to_string(entry.path().join("summary.json")).unwrap();
            (entry.file_name().into_string().unwrap(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(_, summary)| summary).collect()
}

#[test]
fn compares_measures_and_writes_one_page() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &["--seeds", "2"]));
    assert_eq!(code, 0, "{stdout}{stderr}");
    let found = json(&out);
    let arms = found["arms"].as_array().unwrap();
    let titles: Vec<&str> = arms.iter().map(|arm| arm["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["SGD", "SGD + SAM", "SGD + GNR (exact)", "SGD + SAM + GNR (exact)"]);
    // The costs of Algorithm 1: 1, 2, 2 and two products, 3 and two products.
    let work = |arm: &Value| {
        let run = &arm["runs"][0];
        (run["gradients_per_step"].as_f64().unwrap(), run["products_per_step"].as_f64().unwrap())
    };
    assert_eq!(arms.iter().map(work).collect::<Vec<_>>(), [(1.0, 0.0), (2.0, 0.0), (2.0, 2.0), (3.0, 2.0)]);
    for (arm, prefix) in arms.iter().zip(["base-", "sam-", "gnr-", "sam_gnr-"]) {
        let summaries = summaries(&out, "runs", prefix);
        let runs = arm["runs"].as_array().unwrap();
        assert_eq!((summaries.len(), runs.len()), (2, 2), "{prefix}");
        for (summary, run) in summaries.iter().zip(runs) {
            assert_eq!(summary["test_accuracy"], run["test_accuracy"]);
            assert!(run["train_accuracy_flipped"].is_f64() && run["train_accuracy_untouched"].is_f64());
            let sharpness = &run["sharpness"];
            for key in ["lambda_max", "trace", "r_sam", "r_gnr"] {
                assert!(sharpness[key].as_f64().unwrap().is_finite(), "{key}: {sharpness}");
            }
        }
    }
    let page = fs::read_to_string(out.join("compare.html")).unwrap();
    assert!(!page.contains("<script") && !page.contains("src="), "self-contained");
    assert!(page.contains("<svg") && page.contains("R_GNR"), "{page}");
    for text in [&page, &fs::read_to_string(out.join("compare.md")).unwrap(), &stdout] {
        assert!(text.contains("(SGD + SAM) − SGD"), "{text}");
    }
    assert!(page.contains("of 100 labels flipped"), "the noise is told: {page}");

    let before = tree(&out);
    let (code, stdout, _) = run(&arguments(&recipe, &out, &["--seeds", "2"]));
    assert!(code == 0 && stdout.contains("training: 8 runs, 8 finished before"), "{stdout}");
    assert_eq!(tree(&out), before, "nothing is trained or measured twice");
    // Nor is it when only the records were carried here, without the weights.
    let report = fs::read_to_string(out.join("compare.md")).unwrap();
    for run in fs::read_dir(out.join("runs")).unwrap() {
        fs::remove_dir_all(run.unwrap().path().join("checkpoints")).unwrap();
    }
    let (code, stdout, _) = run(&arguments(&recipe, &out, &["--seeds", "2"]));
    assert!(code == 0 && stdout.contains("training: 8 runs, 8 finished before"), "{stdout}");
    assert_eq!(fs::read_to_string(out.join("compare.md")).unwrap(), report);
    let (code, stdout, _) = run(&arguments(&recipe, &out, &["--seeds", "3", "--no-sharpness"]));
    assert!(code == 0 && stdout.contains("training: 12 runs, 8 finished before"), "{stdout}");

    // What was not measured is measured in its turn. Missing weights are told then; they keep no run from training.
    let runs = || fs::read_dir(out.join("runs")).unwrap().map(|run| run.unwrap().path());
    let without = runs().find(|run| run.join("checkpoints").exists()).unwrap();
    fs::remove_dir_all(without.join("checkpoints")).unwrap();
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &["--seeds", "4"]));
    let told = "expected the weights of a finished run";
    let place = |words| stdout.find(words).unwrap_or_else(|| panic!("{words}: {stdout}{stderr}"));
    assert!(place(told) < place("] base-3: test") && stderr.contains(told) && code == 1, "{stdout}{stderr}");
    assert_eq!(runs().count(), 16);
    fs::remove_dir_all(&without).unwrap();
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &["--seeds", "4"]));
    assert!(code == 0 && stdout.contains("training: 16 runs, 15 finished before"), "{stdout}{stderr}");
}

/// Another optimiser as a method leaves out settings that only the recipe's own has, and says so.
#[test]
fn another_optimiser_leaves_out_what_it_lacks() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let set = [
        "--set=optimizer.momentum=0.8",
        "--set=optimizer.lr=0.02",
        "--methods",
        "base,lion,rmsprop",
        "--dry-run",
    ];
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &set));
    assert_eq!(code, 0, "{stdout}{stderr}");
    let told: Vec<&str> = stdout.lines().filter(|line| line.contains("without")).collect();
    assert_eq!(told, ["lion: without optimizer.momentum of the recipe, which its optimiser does not have"]);
    assert!(stdout.contains("Lion: about 1.0 gradients a step"), "{stdout}");
}

#[test]
fn a_run_of_a_comparison_is_the_run_that_one_would_train_by_hand() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let methods = ["--methods", "sgd", "--methods", "gnr method.gnr.rho=0.2 method.gnr.alpha=1.0"];
    let more = [&methods[..], &["--no-sharpness", "--threads", "1"]].concat();
    let (code, _, stderr) = run(&arguments(&recipe, &out, &more));
    assert_eq!(code, 0, "{stderr}");
    let alone = home.path().join("alone");
    let (code, _, stderr) = run(&[
        "train",
        recipe.to_str().unwrap(),
        "--out",
        alone.to_str().unwrap(),
        "--set=method.gnr.rho=0.2",
        "--set=method.gnr.alpha=1.0",
        "--set=train.seed=1",
    ]);
    assert_eq!(code, 0, "{stderr}");
    let folder = fs::read_dir(out.join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("gnr-1-"))
        .unwrap();
    let weights = |run: &Path| {
        let file = gnr_train::CheckpointFile::read(&run.join("checkpoints/last.safetensors")).unwrap();
        let weights = file.weights();
        weights.stored().iter().map(|s| weights.values(s).unwrap()).collect::<Vec<_>>()
    };
    assert!(weights(&folder) == weights(&alone));
}

#[test]
fn tuning_gives_every_method_as_many_tries_on_noisy_held_out_images() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let more = ["--methods", "base,gnr-fd", "--tune", "5", "--seeds", "1", "--no-sharpness"];
    let more =
        [&more[..], &["--grid", "method.gnr.alpha=0.5,1.0", "--grid", "optimizer.lr=0.02,0.05"]].concat();
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &more));
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("method.gnr.alpha: 0.5, 1"), "the grid is said: {stdout}");
    assert!(stdout.contains("Every method had the same number of tries"), "{stdout}");
    let found = json(&out);
    for (tuned, arm) in found["tuning"].as_array().unwrap().iter().zip(found["arms"].as_array().unwrap()) {
        let tries = tuned["tries"].as_array().unwrap();
        assert_eq!(tries.len(), 5, "{tuned}");
        let mean = |one: &Value| one["val_accuracies"][0].as_f64().unwrap();
        let best = &tries[tuned["best"].as_u64().unwrap() as usize];
        assert!(tries.iter().all(|one| mean(one) <= mean(best)));
        // The chosen values are those that are compared.
        let (chosen, used) = (&best["assignments"], arm["assignments"].as_array().unwrap());
        assert!(chosen.as_array().unwrap().iter().all(|word| used.contains(word)), "{chosen} {used:?}");
    }
    let text = |below: &str| {
        let folder = fs::read_dir(out.join(below)).unwrap().next().unwrap().unwrap().path();
        fs::read_to_string(folder.join("recipe.toml")).unwrap()
    };
    let tried = text("tuning");
    assert!(tried.contains("validation = true") && tried.contains("validation = 0.1"), "{tried}");
    assert!(tried.contains("seed = 1000000"), "seeds of their own: {tried}");
    let compared = text("runs");
    let only_at_end = "test_only_at_end = true";
    assert!(tried.contains(only_at_end) && !compared.contains(only_at_end), "{tried} {compared}");
    let line = |start: &str, words: &str| {
        let mut lines = stdout.lines().filter(|line| line.contains(start));
        assert!(
            lines.all(|line| line.contains(words)) && stdout.contains(start),
            "{start} {words}: {stdout}"
        );
    };
    line("] base-a000-0: ", "validation ");
    line("] base-0: ", "test ");
    // A grid of four points allows no fifth try of a method without keys of its own, and the report says so.
    let small = ["--grid", "optimizer.lr=0.02,0.05", "--grid", "optimizer.weight_decay=0.0,0.001"];
    let small =
        [&["--methods", "base,gnr-fd", "--tune", "7", "--seeds", "1", "--no-sharpness"], &small[..]].concat();
    let (code, stdout, stderr) = run(&arguments(&recipe, &home.path().join("small"), &small));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("Methods had 5 to 7 tries"), "{stdout}");
    assert!(compared.contains("validation = 0.0") && compared.contains("seed = 0"), "{compared}");
}

/// A comparison has the learning rate, the weight decay and the strengths that another one chose, and tells in what
/// the two differ.
#[test]
fn choices_of_one_comparison_are_used_by_another() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, tuned, out) = (recipe(home.path()), home.path().join("tuned"), home.path().join("out"));
    let methods = ["--methods", "base", "--methods", "mine: method.gnr.every=2"];
    let methods = [&methods[..], &["--seeds", "1", "--no-sharpness"]].concat();
    let tune = ["--tune", "4", "--grid", "optimizer.lr=0.02,0.05", "--set", "optimizer.weight_decay=0.001"];
    let (code, _, stderr) = run(&arguments(&recipe, &tuned, &[&methods[..], &tune].concat()));
    assert_eq!(code, 0, "{stderr}");
    let choices = format!("--choices={}", tuned.display());
    let other = ["--set", "data.label_noise.rate=0.1"];
    let transferred = [&methods[..], &[&choices], &other].concat();
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &transferred));
    assert_eq!(code, 0, "{stdout}{stderr}");

    let (there, here) = (json(&tuned), json(&out));
    assert_eq!((&there["tuning"], out.join("tuning").exists()), (&here["tuning"], false));
    assert_eq!(
        here["tuned_in"]["differences"],
        serde_json::json!(["data.label_noise.rate: 0.3 there, 0.1 here"])
    );
    // Keys that the best try left alone have the value of the recipe there, which is not that of the recipe here.
    let sections = |out: &Path, method: &str| -> Vec<String> {
        let mut runs = fs::read_dir(out.join("runs")).unwrap().map(|run| run.unwrap().path());
        let run = runs.find(|run| run.file_name().unwrap().to_str().unwrap().starts_with(method)).unwrap();
        let text = fs::read_to_string(run.join("recipe.toml")).unwrap();
        text.split("\n[").filter(|section| !section.starts_with("data")).map(str::to_owned).collect()
    };
    for method in ["base", "mine"] {
        let there = sections(&tuned, method);
        assert_eq!(there, sections(&out, method));
        assert!(there.iter().any(|section| section.contains("weight_decay = ")), "{there:?}");
    }
    let report = fs::read_to_string(out.join("compare.md")).unwrap();
    for text in [&stdout, &report] {
        assert!(
            text.contains("Nothing was tuned for this comparison") && text.contains("--tune 4"),
            "{text}"
        );
        assert!(text.contains("differs in data.label_noise.rate: 0.3 there, 0.1 here."), "{text}");
        assert!(!text.contains("(--grid)"), "{text}");
    }
    assert!(stdout.contains("tuning mine: gnr.rho=") && stdout.contains(", as chosen in "), "{stdout}");
    let (code, stdout, _) = run(&arguments(&recipe, &out, &transferred));
    assert!(code == 0 && stdout.contains("training: 2 runs, 2 finished before"), "{stdout}");
}

/// An older program kept the recipe's averaging in every method, and tuned with it.
#[test]
fn choices_with_averaging_are_used_by_methods_without() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, tuned, out) = (recipe(home.path()), home.path().join("tuned"), home.path().join("out"));
    let methods =
        ["--methods", "base,ema", "--seeds", "1", "--no-sharpness", "--set", "train.average.kind=ema"];
    let (code, _, stderr) = run(&arguments(&recipe, &tuned, &[&methods[..], &["--tune", "3"]].concat()));
    assert_eq!(code, 0, "{stderr}");
    let mut older = json(&tuned);
    let assignments = older["arms"][0]["assignments"].as_array_mut().unwrap();
    let settings = assignments.len();
    assignments.retain(|word| word != "!train.average");
    assert_eq!(assignments.len(), settings - 1, "the test could not fail");
    fs::write(tuned.join("compare.json"), older.to_string()).unwrap();
    let choices = format!("--choices={}", tuned.display());
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &[&methods[..], &[&choices]].concat()));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("base: without train.average of the recipe"), "{stdout}");
    let differences = json(&out)["tuned_in"]["differences"].to_string();
    assert!(differences.contains("train.average"), "{differences}");
}

#[test]
fn choices_that_cannot_be_used_are_errors_that_say_why() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, tuned, out) = (recipe(home.path()), home.path().join("tuned"), home.path().join("out"));
    let common = ["--seeds", "1", "--no-sharpness"];
    let compare = |out: &Path, more: &[&str]| {
        let (code, _, stderr) = run(&arguments(&recipe, out, &[&common[..], more].concat()));
        (code, stderr)
    };
    let (code, stderr) = compare(&tuned, &["--methods", "base,sam", "--tune", "2"]);
    assert_eq!(code, 0, "{stderr}");
    let from = |path: &Path| format!("--choices={}", path.display());
    let choices = from(&tuned);
    let changed = |name: &str, change: fn(&mut Value)| {
        let mut found = json(&tuned);
        change(&mut found);
        write(home.path(), name, found.to_string())
    };
    let untuned = changed("untuned.json", |found| drop(found.as_object_mut().unwrap().remove("tuning")));
    let beyond = changed("beyond.json", |found| found["tuning"][1]["best"] = 99.into());
    let odd =
        changed("odd.json", |found| found["tuning"][0]["tries"][0]["val_accuracies"] = vec![300].into());
    let moved = changed("moved.json", |found| {
        let best = found["tuning"][1]["best"].as_u64().unwrap() as usize;
        found["tuning"][1]["tries"][best]["assignments"] = vec!["method.sam.rho=0.4"].into();
    });
    let unreadable = changed("unreadable.json", |found| found["recipe"] = "optimizer.lrr = 1.0".into());
    for (more, words) in [
        (vec![&*choices, "--methods", "base,gnr"], "method `gnr` was not tuned there; tuned were base, sam"),
        (vec![&choices, "--tune", "4"], "cannot be used with"),
        (vec![&choices, "--tune-seeds", "4"], "cannot be used with"),
        (vec![&choices, "--grid", "optimizer.lr=1,2"], "cannot be used with"),
        (
            vec![&choices, "--methods", "base", "--set", "optimizer.lr=0.3"],
            "leave --set optimizer.lr or --choices out",
        ),
        (vec![&choices, "--methods", "sam method.sam.rho=0.3"], "method `sam` sets method.sam.rho=0.3, and"),
        (vec![&from(&home.path().join("none"))], "none: cannot read"),
        (vec![&from(home.path())], "not found; expected the folder of a finished `gnr compare --tune`"),
        (vec![&from(&untuned)], "expected a comparison that tuned its methods (--tune); this one did not"),
        (vec![&from(&beyond)], "tuning of method `sam`: expected the index of one of 2 tries, found 99"),
        (vec![&from(&odd)], "method `base`: expected accuracies between 0 and 1"),
        (vec![&from(&moved), "--methods", "base"], "method `sam`: expected runs with the chosen settings"),
        (vec![&from(&unreadable), "--methods", "base"], "the recipe in "),
    ] {
        let (code, stderr) = compare(&out, &more);
        assert!(code != 0 && stderr.contains(words), "{more:?}: expected {words}: {stderr}");
        assert!(!out.exists(), "{more:?}");
    }
    let (code, stderr) = compare(&tuned, &[&choices, "--methods", "base,sam"]);
    assert!(code == 1 && stderr.contains("choose another --out"), "{stderr}");
    assert_eq!(compare(&out, &[&choices, "--methods", "base"]).0, 0);
    let (code, stderr) = compare(&home.path().join("chain"), &[&from(&out), "--methods", "base"]);
    assert!(code == 1 && stderr.contains("this one has the choices of "), "{stderr}");
}

#[test]
fn the_best_tries_are_told_apart_by_more_seeds() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let plain = ["--methods", "base,sam", "--tune", "4", "--seeds", "1", "--no-sharpness"];
    let finalists = [&plain[..], &["--tune-finalists", "2", "--tune-final-seeds", "3"]].concat();
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &finalists));
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("then 3 more seeds of the best 2"), "{stdout}");
    assert!(
        stdout.contains("tuning: the best tries with more seeds: 12 runs, 0 finished before"),
        "{stdout}"
    );
    let words = "The best tries were trained with more seeds, and the choice among them is by the mean over all their seeds \
                 (base: 2 tries with 4 seeds; sam: 2 tries with 4 seeds).";
    assert!(stdout.contains(words), "{stdout}");
    for tuned in json(&out)["tuning"].as_array().unwrap() {
        let tries: Vec<Vec<f64>> = tuned["tries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| serde_json::from_value(one["val_accuracies"].clone()).unwrap())
            .collect();
        let again: Vec<&Vec<f64>> = tries.iter().filter(|seeds| seeds.len() == 4).collect();
        let once: Vec<f64> = tries.iter().filter(|seeds| seeds.len() == 1).map(|seeds| seeds[0]).collect();
        assert_eq!((again.len(), once.len()), (2, 2), "{tuned}");
        assert!(again.iter().all(|seeds| once.iter().all(|first| *first <= seeds[0])), "{tuned}");
        let mean = |seeds: &[f64]| seeds.iter().sum::<f64>();
        let best = &tries[tuned["best"].as_u64().unwrap() as usize];
        assert!(best.len() == 4 && again.iter().all(|seeds| mean(seeds) <= mean(best)), "{tuned}");
    }
    // Where a further seed fails, the next best try takes the place.
    let chosen = json(&out)["tuning"][0]["best"].as_u64().unwrap();
    let second = fs::read_dir(out.join("tuning")).unwrap().map(|run| run.unwrap().path());
    let mut second: Vec<_> = second
        .filter(|run| {
            let name = run.file_name().unwrap().to_str().unwrap();
            // Of a method without keys of its own, try 2 is the first of the second half.
            let (half, number) = if chosen < 2 { ("a", chosen) } else { ("b", chosen - 2) };
            name.starts_with(&format!("base-{half}{number:03}-1-"))
        })
        .collect();
    let second = second.pop().unwrap();
    fs::remove_file(second.join("summary.json")).unwrap();
    fs::write(second.join("recipe.toml"), "no recipe").unwrap();
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &finalists));
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(
        stdout.contains("(base: 2 tries with 4 seeds, 1 more failed; sam: 2 tries with 4 seeds)"),
        "{stdout}"
    );
    let base = &json(&out)["tuning"][0];
    assert_eq!(
        (base["finalists"][0].as_u64(), base["finalists"].as_array().unwrap().len()),
        (Some(chosen), 3)
    );
    assert!(base["best"].as_u64() != Some(chosen), "{base}");

    // The first seeds of the tries are those of a tuning without finalists.
    let (code, stdout, _) = run(&arguments(&recipe, &out, &plain));
    assert_eq!(code, 0);
    assert!(stdout.contains("tuning: the methods' own keys: 4 runs, 4 finished before"), "{stdout}");
    let (code, _, stderr) = run(&arguments(&recipe, &out, &["--tune", "4", "--tune-finalists", "1"]));
    assert!(code != 0 && stderr.contains("--tune-finalists"), "{stderr}");
}

#[test]
fn parts_together_are_the_whole() {
    let home = tempfile::tempdir().unwrap();
    let recipe = recipe(home.path());
    let (parts, whole) = (home.path().join("parts"), home.path().join("whole"));
    let more = ["--methods", "base,sam", "--tune", "2", "--seeds", "2", "--no-sharpness"];
    let part = |shard| run(&arguments(&recipe, &parts, &[&more[..], &["--shard", shard]].concat()));
    let (code, stdout, _) = part("1/2");
    assert!(code == 0 && stdout.contains("this part is done; 1 of 2 tries are finished"), "{stdout}");
    // The other part finds the tries of the first, continues with the second half, and so both do by turns.
    for shard in ["2/2", "1/2", "2/2", "1/2", "2/2"] {
        let (code, stdout, stderr) = part(shard);
        assert_eq!(code, 0, "{stdout}{stderr}");
    }
    for out in [&parts, &whole] {
        let (code, _, stderr) = run(&arguments(&recipe, out, &more));
        assert_eq!(code, 0, "{stderr}");
    }
    let strip = |out: &Path| {
        let mut found = json(out);
        for arm in found["arms"].as_array_mut().unwrap() {
            for run in arm["runs"].as_array_mut().unwrap() {
                run["seconds"] = Value::Null;
            }
        }
        found["command"] = Value::Null;
        found
    };
    assert_eq!(strip(&parts), strip(&whole));
}

#[test]
fn wrong_requests_say_what_is_expected() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    for (more, words) in [
        (&["--methods", "smo"][..], "no method is called `smo`"),
        (&["--methods", "sam,sam"], "two methods are called `sam`"),
        (&["--methods", "mine: method.gnr.rhoo=1"], "unknown key `rhoo`"),
        (&["--methods", "base,sgd"], "methods `base` and `sgd` are one recipe"),
        (&["--methods", "mine: train.seed=3"], "method `mine` sets train.seed=3"),
        (&["--set", "train.seed=3"], "--set train.seed=3: every method"),
        (
            &["--tune", "2", "--grid", "optimizer.rl=0.1,0.2"],
            "--grid optimizer.rl: expected a key that tuning varies",
        ),
        (&["--tune", "1"], "1 is not in 2..="),
        (&["--shard", "3/2"], "1 ≤ i ≤ n"),
    ] {
        let (code, _, stderr) = run(&arguments(&recipe, &out, more));
        assert!(code != 0 && stderr.contains(words), "{more:?}: {stderr}");
        assert!(!out.join("runs").exists());
    }
}

#[test]
fn nothing_is_trained_by_a_dry_run() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let (code, stdout, _) = run(&arguments(&recipe, &out, &["--dry-run", "--tune", "4"]));
    assert_eq!(code, 0);
    assert!(stdout.contains("8 runs beside tuning") && stdout.contains("tuning sam: 4 tries"), "{stdout}");
    assert!(!out.exists());
    // A part lists its own runs, and the gradients are those of each method's own steps: 2 epochs of 6 and of 12.
    let (_, stdout, _) = run(&arguments(&recipe, &out, &["--dry-run", "--shard", "1/2"]));
    assert!(stdout.contains("4 of 8 runs") && stdout.matches("to train").count() == 4, "{stdout}");
    let half = ["--methods", "base", "--methods", "half: method.gnr=false train.batch_size=8"];
    let (_, stdout, _) =
        run(&arguments(&recipe, &out, &[&half[..], &["--dry-run", "--seeds", "1"]].concat()));
    assert!(stdout.contains("2 runs beside tuning, about 36 gradients in all"), "{stdout}");
    let averaged = ["--dry-run", "--methods", "base,ema", "--set", "train.average.kind=ema"];
    let (_, stdout, _) = run(&arguments(&recipe, &out, &averaged));
    assert!(stdout.contains("base: without train.average of the recipe"), "{stdout}");
    let list = gnr(&["compare", "--list-methods"]).output().unwrap();
    assert!(String::from_utf8(list.stdout).unwrap().contains("gnr-gn"));
}

#[test]
fn warnings_of_every_method_are_said_once() {
    let home = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(home.path()), home.path().join("out"));
    let sets = ["--dry-run", "--set=method.gnr.alpha=0", "--set=schedule.warmup_epochs=2"];
    let (code, stdout, stderr) = run(&arguments(&recipe, &out, &sets));
    assert_eq!(code, 0, "{stderr}");
    let warnings: Vec<&str> = stdout.lines().filter(|line| line.contains("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{stdout}");
    assert!(warnings[0].starts_with("warning: schedule.warmup_epochs = 2 "), "{stdout}");
    let methods = "warning: SGD + GNR (exact), SGD + SAM + GNR (exact): method.gnr.alpha = 0";
    assert!(warnings[1].starts_with(methods), "{stdout}");
}
