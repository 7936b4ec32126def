//! The page of several runs over each other.

use std::{collections::BTreeMap, time::SystemTime};

use super::{RunReport, duration, figures, number, percent, state};
use crate::{
    error::Result,
    follow::{FollowedRun, labels},
    machine, recipe_keys,
    report::{Block, Document},
};

pub(super) fn report(runs: &[FollowedRun], now: SystemTime) -> Result<RunReport> {
    let folders: Vec<_> = runs.iter().map(|run| run.folder().to_path_buf()).collect();
    let names = labels(&folders);
    let mut missing = Vec::new();
    for (run, name) in runs.iter().zip(&names) {
        if run.log().epochs().is_empty() {
            missing.push(format!("{name}: no epoch has ended yet"));
        }
        if let Err(problem) = run.recipe() {
            missing.push(format!("{name}: its recipe cannot be read: {problem}"));
        }
    }
    let mut blocks = vec![
        Block::Paragraph(
            "For orientation: each curve is one run. `gnr compare` repeats methods over seeds and says how sure a difference is.".into(),
        ),
        overview(runs, &names, now),
    ];
    let curves = figures::of_several(runs)?;
    if curves.is_empty() {
        missing.push("curves: no run has a line in its metrics.jsonl yet".into());
    } else {
        blocks.push(Block::Heading("Curves".into()));
        blocks.push(figures::key(&names));
        blocks.extend(curves);
    }
    blocks.push(Block::Heading("What the recipes differ in".into()));
    blocks.push(differences(runs, &names));
    blocks.push(Block::Heading("Origin".into()));
    let mut facts: Vec<(String, String)> = names
        .iter()
        .zip(&folders)
        .map(|(name, folder)| (name.clone(), folder.display().to_string()))
        .collect();
    facts.extend(machine::facts().into_iter().map(|(name, value)| (format!("this page, {name}"), value)));
    blocks.push(Block::Facts(facts));
    if !missing.is_empty() {
        blocks.push(Block::Heading("What this page lacks".into()));
        blocks.extend(missing.iter().cloned().map(Block::Paragraph));
    }
    let title = format!("{} runs over each other", runs.len());
    Ok(RunReport { document: Document { title, blocks }, missing })
}

fn overview(runs: &[FollowedRun], names: &[String], now: SystemTime) -> Block {
    let row = |(run, name): (&FollowedRun, &String)| {
        let (epochs, last) = (run.log().epochs(), run.log().epochs().last());
        let seconds: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
        let steps = last.map_or(1.0, |last| last.step.max(1) as f64);
        let summary = run.summary();
        let each = |count: Option<f64>| count.map(|count| count / steps);
        let work = summary.and_then(|found| each(found.gradient_evaluations).zip(each(found.products)));
        vec![
            name.clone(),
            run.recipe().map_or_else(|_| "–".into(), |recipe| recipe.method_name()),
            percent(run.test_accuracy()),
            percent(last.and_then(|last| last.val_accuracy)),
            number(run.train_loss()),
            work.map_or_else(
                || "–".into(),
                |(gradients, products)| format!("{gradients:.1} + {products:.1}"),
            ),
            duration(seconds),
            state(run, now),
        ]
    };
    let header = [
        "run",
        "method",
        "test %",
        "validation %",
        "training loss",
        "gradients + products a step",
        "time",
        "state",
    ];
    Block::Table {
        header: header.map(str::to_owned).to_vec(),
        rows: runs.iter().zip(names).map(row).collect(),
    }
}

/// A row for each key whose value is not equal in all recipes.
fn differences(runs: &[FollowedRun], names: &[String]) -> Block {
    let keys: Vec<Option<BTreeMap<String, String>>> =
        runs.iter().map(|run| recipe_keys::values(run.recipe().ok()?)).collect();
    let all: std::collections::BTreeSet<&String> = keys.iter().flatten().flat_map(BTreeMap::keys).collect();
    let value = |keys: &Option<BTreeMap<String, String>>, key: &String| match keys {
        Some(keys) => keys.get(key).cloned().unwrap_or_else(|| "–".into()),
        None => "unknown".into(),
    };
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .filter(|key| key.as_str() != "name")
        .map(|key| (key, keys.iter().map(|keys| value(keys, key)).collect::<Vec<_>>()))
        .filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1]))
        .map(|(key, values)| [vec![key.clone()], values].concat())
        .collect();
    if rows.is_empty() {
        return Block::Paragraph("Nothing.".into());
    }
    let header = std::iter::once("key".to_owned()).chain(names.iter().cloned()).collect();
    Block::Table { header, rows }
}
