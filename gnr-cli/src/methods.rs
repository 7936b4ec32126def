//! The command `gnr methods`: lists the registered methods, or describes one.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;
use gnr_core::registry::{Cost, Entry, Unset};
use gnr_train::recipe::{Kind, kinds};

/// List the optimisers and schedules with their equations, keys, costs and references, or describe one
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr methods\n  \
    gnr methods lion\n  \
    gnr train --set optimizer.name=lion --set optimizer.lr=0.001")]
pub(crate) struct Arguments {
    /// A method to describe
    pub(crate) name: Option<String>,
}

pub(crate) fn methods(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let kinds = kinds();
    let text = match &arguments.name {
        None => kinds.iter().map(listing).collect::<Vec<_>>().join("\n"),
        Some(name) => {
            let all = || kinds.iter().flat_map(|kind| kind.entries.iter().map(move |entry| (kind, entry)));
            match all().find(|(_, entry)| entry.name == name) {
                Some((kind, entry)) => described(kind, entry),
                None => {
                    let names: Vec<&str> = all().map(|(_, entry)| entry.name).collect();
                    bail!("no method is called `{name}`; known are {}", names.join(", "));
                }
            }
        }
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The examples of a help text, followed by the names of every kind of method.
pub(crate) fn named(examples: &str) -> String {
    let mut text = examples.to_owned();
    for Kind { title, section, entries } in kinds() {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let _ = write!(text, "\n\n{title}, {section}.name (gnr methods NAME for keys): {}", names.join(", "));
    }
    text
}

/// The list of a kind: name, equation, keys with their defaults, cost and reference of each method.
fn listing(kind: &Kind) -> String {
    let mut text = format!("{}, [{}] in a recipe (gnr methods NAME for more)\n", kind.title, kind.section);
    let width = kind.entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in kind.entries {
        let keys: Vec<String> = entry
            .keys
            .iter()
            .map(|key| match &key.unset {
                Unset::Value(default) => format!("{} = {default}", key.name),
                Unset::Absent | Unset::Refused => key.name.to_owned(),
            })
            .collect();
        let name = entry.name;
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "  {name:width$}  {}\n  {:width$}  {}\n  {:width$}  {}; {}\n",
            entry.equation,
            "",
            keys.join(", "),
            "",
            cost(entry.cost),
            entry.reference
        );
    }
    text
}

/// The full description of a method by its entry.
fn described(kind: &Kind, entry: &Entry) -> String {
    let Entry { title, doc, equation, reference, .. } = entry;
    let mut text = format!(
        "{title}: {doc}\n\n  {equation}\n\ncost       {}\nreference  {reference}\nrecipe     {}\n",
        cost(entry.cost),
        kind.in_recipe(entry).join("\n           ")
    );
    let width = entry.keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
    for key in entry.keys {
        let unset = match &key.unset {
            Unset::Value(default) => format!("default {default}"),
            Unset::Absent => "may be left out".into(),
            Unset::Refused => "needed".into(),
        };
        let _ = writeln!(text, "  {:width$}  {}: {}, {unset}", key.name, key.doc, key.domain);
    }
    text
}

/// The parts of a cost that are not zero, as in `a step: 1 gradient, 2 products; keeps 3 vectors`.
fn cost(cost: Cost) -> String {
    let count = |n: f64, thing: &str, plural: &str| match n {
        0.0 => None,
        1.0 => Some(format!("1 {thing}")),
        n => Some(format!("{n} {plural}")),
    };
    let asked = [
        count(cost.gradients, "gradient", "gradients"),
        count(cost.products, "Hessian-vector product", "Hessian-vector products"),
        count(cost.forwards, "forward pass", "forward passes"),
    ];
    let asked: Vec<String> = asked.into_iter().flatten().collect();
    let outputs = cost.outputs.then(|| "outputs of every example".to_owned());
    let kept: Vec<String> =
        count(f64::from(cost.vectors), "vector", "vectors").into_iter().chain(outputs).collect();
    let kept = if kept.is_empty() { "nothing".into() } else { kept.join(" and ") };
    let kept = format!("keeps {kept}");
    if asked.is_empty() { kept } else { format!("{} a step, {kept}", asked.join(", ")) }
}
