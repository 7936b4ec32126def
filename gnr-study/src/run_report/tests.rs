//! Pages of run folders as they are at any moment: nothing but a recipe, half-written lines, finished with
//! measurements.

use std::{fs, path::Path, time::Duration};

use super::*;

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn epochs(count: u64) -> String {
    let line = |epoch: u64| {
        format!(
            "{{\"kind\":\"epoch\",\"epoch\":{epoch},\"step\":{},\"train_loss\":{},\"train_accuracy\":0.5,\"test_loss\":1.5,\
             \"test_accuracy\":0.{epoch},\"learning_rate\":0.1,\"grad_norm\":1.0,\"penalties\":{{\"gnr\":0.25}},\"seconds\":10.0,\
             \"train_seconds\":8.0}}\n",
            20 * epoch,
            2.0 / epoch as f64
        )
    };
    (1..=count).map(line).collect()
}

fn page(folders: &[&Path], now: SystemTime) -> (String, String) {
    let folders: Vec<PathBuf> = folders.iter().map(|folder| folder.to_path_buf()).collect();
    let report = RunReport::read(&folders, now).unwrap();
    (report.document.html(), report.missing.join("\n"))
}

#[test]
fn a_run_without_a_line_says_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "recipe.toml", "[train]\nepochs = 4\n");
    let (page, missing) = page(&[home.path()], SystemTime::now());
    for what in
        ["curves: ", "results of an epoch: ", "the images: ", "commit of ", "not measured: `gnr spectrum"]
    {
        assert!(missing.contains(what), "{what} in:\n{missing}");
    }
    assert!(page.contains("training when this page was made, 0 of 4 epochs done") && !page.contains("<svg"));
    assert!(page.contains("What this page lacks") && page.contains("epochs = 4"));
}

#[test]
fn a_run_that_trains_shows_what_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    write(at, "recipe.toml", "[train]\nepochs = 4\n");
    write(at, "metrics.jsonl", &(epochs(2) + "{\"kind\":\"epoch\",\"epo"));
    write(at, "summary.json", "{\"finished\":tr");
    let now = fs::metadata(at.join("metrics.jsonl")).unwrap().modified().unwrap();
    let (while_training, missing) = page(&[at], now);
    assert!(while_training.contains("2 of 4 epochs done, about 20.0 s left"), "{while_training}");
    assert!(while_training.contains("20.00 (epoch 2)"), "the highest accuracy");
    assert_eq!(while_training.matches("<svg").count(), 6, "loss, accuracy, penalties, norm, rate, speed");
    assert!(!missing.contains("curves"), "{missing}");
    let (stopped, _) = page(&[at], now + Duration::from_secs(7200));
    assert!(
        stopped.contains("stopped after 2 of 4 epochs, the last line 2.0 h before this page"),
        "{stopped}"
    );
    assert!(stopped.contains("gnr resume"));
}

/// An epoch without an evaluation does not have the accuracy of an earlier one.
#[test]
fn the_headline_names_the_epoch_of_the_evaluation() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    write(at, "recipe.toml", "[train]\nepochs = 4\n");
    let unevaluated = epochs(3).lines().last().unwrap().replace("\"test_accuracy\":0.3,", "");
    write(at, "metrics.jsonl", &format!("{}{unevaluated}\n", epochs(2)));
    let (words, _) = page(&[at], SystemTime::now());
    assert!(words.contains("Test accuracy 20.00 % after epoch 2."), "{words}");
}

#[test]
fn steps_a_second_are_those_of_the_logged_epochs() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    write(at, "recipe.toml", "[train]\nepochs = 4\n");
    // The log lacks the first two epochs.
    let lines = epochs(4);
    for text in [lines.clone(), lines.lines().skip(2).map(|line| format!("{line}\n")).collect()] {
        write(at, "metrics.jsonl", &text);
        let (words, _) = page(&[at], SystemTime::now());
        assert!(words.contains("<dt>steps a second</dt><dd>2.500</dd>"), "{words}");
    }
}

#[test]
fn a_run_that_collapsed_says_so() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    write(at, "recipe.toml", "[train]\nepochs = 9\n");
    let collapsed = epochs(4).replace("\"penalties\"", "\"collapsed\":true,\"penalties\"");
    // Evaluated are the epochs 1, 2 and 4; the last two of them found the collapse.
    let lines: Vec<&str> = collapsed.lines().collect();
    let healthy = epochs(1);
    let unevaluated = lines[2].replace("\"test_accuracy\":0.3,", "").replace("\"collapsed\":true,", "");
    write(at, "metrics.jsonl", &format!("{healthy}{}\n{unevaluated}\n{}\n", lines[1], lines[3]));
    write(at, "summary.json", "{\"finished\":true,\"test_accuracy\":0.1}");
    let (words, _) = page(&[at], SystemTime::now());
    assert!(words.contains("The run has collapsed: after epoch 2, and in every evaluation since"), "{words}");
    let other = tempfile::tempdir().unwrap();
    write(other.path(), "recipe.toml", "[train]\nepochs = 4\n");
    let (words, _) = page(&[at, other.path()], SystemTime::now());
    assert!(words.contains("ended early, because it collapsed at epoch 2: 4 of 9 epochs"), "{words}");
    write(at, "metrics.jsonl", &epochs(4));
    assert!(!page(&[at], SystemTime::now()).0.contains("collapsed"));
}

#[test]
fn what_was_measured_is_on_the_page_of_a_finished_run() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    write(at, "recipe.toml", "[train]\nepochs = 2\n");
    write(at, "metrics.jsonl", &epochs(2));
    write(
        at,
        "summary.json",
        "{\"finished\":true,\"test_accuracy\":0.9,\"steps\":40,\"gradient_evaluations\":80,\"products\":60,\"commit\":\"abc\",\
         \"best\":{\"by\":\"train_loss\",\"value\":0.5,\"epoch\":2},\"label_noise\":{\"flipped\":7,\"of\":30}}",
    );
    write(
        at,
        "data.json",
        "{\"train\":{\"images\":30,\"shape\":[1,8,8],\"classes\":[[\"0\",15],[\"1\",15]],\"labels\":\"aa\",\"pixels\":\"bb\"}}",
    );
    let subject = "\"subject\":{\"weights\":\"w\",\"epoch\":1,\"data\":\"30 images\",\"batch_norm\":\"eval\"},\"operator\":\"hessian\"";
    write(
        at,
        "spectrum/spectrum.json",
        &format!(
            "{{{subject},\"pairs\":[{{\"rank\":0,\"end\":\"top\",\"eigenvalue\":4.25,\"residual\":1e-9,\"verdict\":\"converged\"}}]}}"
        ),
    );
    write(
        at,
        "trace/trace.json",
        &format!(
            "{{{subject},\"trace\":37.5,\"standard_error\":1.25,\"low\":35,\"high\":40,\"confidence\":0.95,\"samples\":[1,2]}}"
        ),
    );
    write(
        at,
        "density/density.json",
        &format!(
            "{{{subject},\"smallest\":-0.5,\"largest\":4.5,\"sigma\":0.01,\"negative_fraction\":0.02,\"trace\":38}}"
        ),
    );
    write(at, "density/density.csv", "lambda,density,standard_error\n-1,0.001,\n0,5,\n4,0.01,\n");
    write(
        at,
        "sharpness/sharpness.json",
        &format!(
            "{{{subject},\"bounds\":[{{\"measure\":\"r_gnr\",\"rho\":0.1,\"search\":\"ascent\",\"lower_bound\":0.125,\"distance\":0.1}}]}}"
        ),
    );
    fs::create_dir(at.join("landscape")).unwrap();
    let (page, missing) = page(&[at], SystemTime::now());
    for words in [
        "finished, 2 of 2 epochs. Test accuracy 90.00 % after epoch 2.",
        "eigenvalue of the Hessian",
        "4.250",
        "[35.00, 40.00]",
        "density of the eigenvalues of the Hessian",
        "R_GNR",
        "0.1250",
        "The run went on since: it is at epoch 2.",
        "2.000 a step",
        "1.500 a step",
        "30 of 1 × 8 × 8, 2 classes",
        "7 of 30 training images",
        "<dd>abc</dd>",
    ] {
        assert!(page.contains(words), "{words} in:\n{page}");
    }
    assert_eq!(page.matches("<svg").count(), 7, "six curves and the density");
    assert!(missing.contains("landscape/landscape.json is missing or cut off"), "{missing}");
    assert!(missing.contains("not measured: `gnr minima RUN`"), "{missing}");
}

#[test]
fn a_figure_that_cannot_be_read_is_told_from_one_that_was_not_drawn() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    write(at, "recipe.toml", "[train]\nepochs = 2\n");
    write(at, "metrics.jsonl", &epochs(2));
    write(at, "landscape/landscape.json", "{}");
    write(at, "landscape/landscape.figure.json", "{\"title\":\"cut");
    write(at, "minima/minima.json", "{}");
    let (_, missing) = page(&[at], SystemTime::now());
    for words in [
        "landscape/landscape.figure.json cannot be read as a figure (EOF while parsing",
        "minima/minima.figure.json: no figure was drawn (--no-plot)",
    ] {
        assert!(missing.contains(words), "{missing}");
    }
    // An overflowed loss is a hole.
    let figure = r#"{"title":"Loss","panels":[{"title":"","kind":"lines","x":{"label":"x"},"y":{"label":"y"},
        "series":[{"label":"","x":[0,1,2],"y":[1,2,null]}]}]}"#;
    write(at, "landscape/landscape.figure.json", figure);
    let (page, missing) = self::page(&[at], SystemTime::now());
    assert!(page.contains("Loss") && !missing.contains("landscape/"), "{missing}");
}

#[test]
fn several_runs_lie_over_each_other() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join("runs").join(name);
    for (name, recipe) in [("sgd", "[method]\ngnr = false\n"), ("gnr", "[train]\nepochs = 7\n"), ("none", "")]
    {
        write(&at(name), "recipe.toml", recipe);
    }
    write(&at("sgd"), "metrics.jsonl", &epochs(3));
    write(&at("gnr"), "metrics.jsonl", &epochs(2));
    let (page, missing) = page(&[&at("sgd"), &at("gnr"), &at("none")], SystemTime::now());
    assert_eq!(missing, "none: no epoch has ended yet");
    // Loss and accuracy on test and training images each, penalty, norm, rate, speed.
    assert_eq!(page.matches("<svg").count(), 8);
    for words in [
        "<td>train.epochs</td><td>30</td><td>7</td><td>30</td>",
        "loss: test",
        "regularisers&#39; values: gnr",
        "3 runs over each other",
    ] {
        let plain = words.replace("&#39;", "'");
        assert!(page.contains(&plain), "{words} in:\n{page}");
    }
    assert!(RunReport::read(&[home.path().to_path_buf()], SystemTime::now()).is_err(), "no run");
    assert!(RunReport::read(&[], SystemTime::now()).is_err(), "nothing");
}

#[test]
fn numbers_have_four_digits() {
    for (value, expect) in
        [(0.0, "0.0"), (1.23456, "1.235"), (0.0123456, "0.01235"), (12345.6, "12346"), (1.5e-7, "1.500e-7")]
    {
        assert_eq!(number(Some(value)), expect);
    }
    assert_eq!((number(None), percent(Some(0.93611))), ("–".into(), "93.61".into()));
    assert_eq!([59.0, 600.0, 7200.0].map(duration), ["59.0 s", "10.0 min", "2.0 h"]);
}
