//! The page of one run.

use std::{fs, io::ErrorKind, time::SystemTime};

use gnr_train::{BestBy, EpochMetrics};
use serde_json::Value;

use super::{RunReport, duration, figures, measured, number, percent, state};
use crate::{
    error::{Result, io},
    follow::{Activity, FollowedRun},
    machine,
    report::{Block, Document},
};

pub(super) fn report(run: &FollowedRun, now: SystemTime) -> Result<RunReport> {
    let mut missing = Vec::new();
    let mut blocks = vec![Block::Paragraph(headline(run, now))];
    match run.activity() {
        Activity::Finished => {}
        Activity::Training => blocks.push(Block::Caveat(
            "The run is training: this page shows what was written so far. The same command makes it anew."
                .into(),
        )),
        Activity::Stopped => blocks.push(Block::Caveat(format!(
            "The run is not finished (no summary.json that says so): `gnr resume {}` goes on.",
            run.folder().display()
        ))),
    }
    if let Some(epoch) = run.collapsed_at_epoch() {
        blocks.push(Block::Caveat(format!(
            "The run has collapsed: after epoch {epoch}, and in every evaluation since, every image gets the same output."
        )));
    }
    let epochs = run.log().epochs();
    if let Some(last) = epochs.last() {
        blocks.push(results(run, last));
    } else {
        let steps = run.log().steps().len();
        missing.push(format!("results of an epoch: none has ended yet ({steps} logged steps)"));
    }
    let curves = figures::of_one(run)?;
    if curves.is_empty() {
        missing.push("curves: metrics.jsonl has no line yet".into());
    } else {
        blocks.push(Block::Heading("Curves".into()));
        blocks.extend(curves);
    }
    blocks.extend(cost(run));
    let measured = measured::found(run)?;
    blocks.extend(measured.blocks);
    missing.extend(measured.missing);
    if let Err(problem) = run.recipe() {
        missing.push(format!("the recipe: {problem}"));
    }
    blocks.push(Block::Heading("Origin".into()));
    blocks.push(Block::Facts(origin(run, &mut missing)?));
    if !missing.is_empty() {
        blocks.push(Block::Heading("What this page lacks".into()));
        blocks.push(Block::Facts(missing.iter().map(|what| split(what)).collect()));
    }
    let path = run.folder().join("recipe.toml");
    let text = fs::read_to_string(&path).map_err(io(&path, "read"))?;
    blocks.push(Block::Log { title: "The recipe, with every default".into(), text });
    Ok(RunReport { document: Document { title: title(run), blocks }, missing })
}

/// Splits a sentence `part: reason` into its part and its reason.
fn split(sentence: &str) -> (String, String) {
    let (what, why) = sentence.split_once(": ").unwrap_or((sentence, ""));
    (what.to_owned(), why.to_owned())
}

fn title(run: &FollowedRun) -> String {
    let folder = run.folder().file_name().map(|name| name.to_string_lossy().into_owned());
    match (run.recipe(), folder) {
        (Ok(recipe), Some(folder)) if !folder.contains(&recipe.name) => {
            format!("Run {folder}: {}", recipe.name)
        }
        (Ok(recipe), None) => format!("Run of {}", recipe.name),
        (_, Some(folder)) => format!("Run {folder}"),
        (Err(_), None) => "Run".into(),
    }
}

fn headline(run: &FollowedRun, now: SystemTime) -> String {
    let accuracy = run.test_accuracy().map_or_else(String::new, |accuracy| {
        let epoch = run.evaluated_epoch().unwrap_or_else(|| run.epochs_done());
        format!(" Test accuracy {:.2} % after epoch {epoch}.", 100.0 * accuracy)
    });
    let what = run.recipe().map_or_else(
        |_| String::new(),
        |recipe| {
            let (model, data, method) = (&recipe.model.name, &recipe.data.name, recipe.method_name());
            format!("{model} on {data} with {method}; ")
        },
    );
    format!("{what}{}.{accuracy}", state(run, now))
}

/// Loss and accuracy of the last epoch and the best of all, for each set of images.
fn results(run: &FollowedRun, last: &EpochMetrics) -> Block {
    type Of = fn(&EpochMetrics) -> Option<f64>;
    let sets: [(&str, Of, Of); 6] = [
        ("train, as seen", |e| Some(e.train_loss), |e| Some(e.train_accuracy)),
        ("train, wrong labels", |_| None, |e| e.train_accuracy_flipped),
        ("train, right labels", |_| None, |e| e.train_accuracy_untouched),
        ("validation", |e| e.val_loss, |e| e.val_accuracy),
        ("test", |e| e.test_loss, |e| e.test_accuracy),
        ("test, averaged weights", |e| e.average_test_loss, |e| e.average_test_accuracy),
    ];
    let epochs = run.log().epochs();
    let row = |(name, loss, accuracy): &(&str, Of, Of)| {
        let best = epochs.iter().filter_map(|epoch| Some((accuracy(epoch)?, epoch.epoch)));
        let (best, at) = best.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
        // Where not every epoch is evaluated, the last values count.
        let latest = |of: &Of| of(last).or_else(|| epochs.iter().rev().find_map(of));
        Some(vec![
            (*name).to_owned(),
            number(latest(loss)),
            percent(latest(accuracy)),
            format!("{} (epoch {at})", percent(Some(best))),
        ])
    };
    let header = ["images", "loss", "accuracy %", "highest accuracy %"].map(str::to_owned).to_vec();
    Block::Table { header, rows: sets.iter().filter_map(row).collect() }
}

fn cost(run: &FollowedRun) -> Vec<Block> {
    let epochs = run.log().epochs();
    let Some(last) = epochs.last() else { return Vec::new() };
    let seconds: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
    let training: f64 = epochs.iter().map(|epoch| epoch.train_seconds.unwrap_or(epoch.seconds)).sum();
    let timed = last.step.saturating_sub(run.log().steps_before());
    let mut facts = vec![
        ("steps", last.step.to_string()),
        ("wall-clock time", format!("{}, {} of it training steps", duration(seconds), duration(training))),
        ("time of an epoch", duration(seconds / epochs.len() as f64)),
        ("steps a second", number(Some(timed as f64 / training.max(1e-9)))),
    ];
    if let Some(summary) = run.summary() {
        let each = |count: Option<f64>| number(count.map(|count| count / last.step.max(1) as f64));
        facts.push(("gradients of a batch", format!("{} a step", each(summary.gradient_evaluations))));
        facts.push(("Hessian-vector products", format!("{} a step", each(summary.products))));
        if let Some(best) = summary.best {
            let by = match best.by {
                BestBy::ValidationAccuracy => format!("validation accuracy, {} %", percent(Some(best.value))),
                BestBy::TrainLoss => format!("training loss, {}", number(Some(best.value))),
            };
            facts.push(("best checkpoint", format!("epoch {}, by {by}", best.epoch)));
        }
    }
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    vec![Block::Heading("Cost".into()), Block::Facts(facts)]
}

/// The run's folder, its data, the commit that trained it, and the circumstances of this page.
fn origin(run: &FollowedRun, missing: &mut Vec<String>) -> Result<Vec<(String, String)>> {
    let mut facts = vec![("run".to_owned(), run.folder().display().to_string())];
    facts.extend(data(run, missing)?);
    let trained = run.summary().and_then(crate::results::Summarized::commits);
    match trained {
        Some(commit) => facts.push(("trained by commit".into(), commit)),
        None => missing.push(
            "commit of the program that trained: stands in summary.json, where the build knew it".into(),
        ),
    }
    if run.folder().join("weights.json").is_file() {
        facts.push(("initial weights".into(), "read from a file; weights.json says what was taken".into()));
    }
    let here = machine::facts().into_iter().map(|(name, value)| (format!("this page, {name}"), value));
    facts.extend(here);
    Ok(facts)
}

/// The images as the run recorded them.
fn data(run: &FollowedRun, missing: &mut Vec<String>) -> Result<Vec<(String, String)>> {
    let path = run.folder().join("data.json");
    let recorded = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str::<Value>(&text).ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(io(&path, "read")(error)),
    };
    let Some(Value::Object(recorded)) = recorded else {
        missing
            .push("the images: data.json, which a run writes when it begins, is missing or cut off".into());
        return Ok(Vec::new());
    };
    let mut facts = Vec::new();
    for (part, set) in &recorded {
        let Some(images) = set["images"].as_u64() else { continue };
        let shape: Vec<String> =
            set["shape"].as_array().into_iter().flatten().map(Value::to_string).collect();
        let classes = set["classes"].as_array().map_or(0, Vec::len);
        let text = |key: &str| set[key].as_str().unwrap_or("–").to_owned();
        facts.push((
            format!("{part} images"),
            format!(
                "{images} of {}, {classes} classes; checksum of the labels {}, of the pixels {}",
                shape.join(" × "),
                text("labels"),
                text("pixels")
            ),
        ));
    }
    if let Some(noise) = run.summary().and_then(|summary| summary.label_noise) {
        facts.push(("wrong labels".into(), format!("{} of {} training images", noise.flipped, noise.of)));
    }
    Ok(facts)
}
