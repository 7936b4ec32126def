//! The report: one JSON file with everything, one Markdown file to read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{
    Report,
    nets::Net,
    steps::{METHODS, Side, WEIGHED},
    targets::{Target, memory, time},
};

/// The files of a report in a folder: JSON, Markdown.
pub(super) fn paths(folder: &Path) -> [PathBuf; 2] {
    ["gpu-check.json", "gpu-check.md"].map(|name| folder.join(name))
}

/// Writes both files.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn write(folder: &Path, report: &Report) -> Result<()> {
    let texts = [serde_json::to_string_pretty(report)? + "\n", markdown(report)];
    for (path, text) in paths(folder).iter().zip(texts) {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The first line of an error.
pub(super) fn first_line(error: &str) -> &str {
    error.lines().next().unwrap_or_default()
}

/// The report as Markdown.
fn markdown(report: &Report) -> String {
    let mut text = head(report);
    if !report.targets.is_empty() {
        text += &targets(&report.targets);
    }
    for net in &report.nets {
        text += &steps(report, net);
    }
    if let Some(epoch) = &report.epoch {
        text += &format!(
            "\n## An epoch with the loader\n\n{:.0} images a second; {}.\n",
            epoch.images_per_second,
            epoch.described()
        );
    }
    text + &stages(report)
}

fn head(report: &Report) -> String {
    let machine = &report.machine;
    let list = |key: &str| {
        let found = report.devices.as_ref().and_then(|found| found[key].as_array());
        found.map_or(&[][..], Vec::as_slice)
    };
    let vulkan = report.device.starts_with("vulkan");
    let wanted = if report.device == "vulkan" { "vulkan:0" } else { &report.device };
    let adapter = list("adapters").iter().find(|adapter| adapter["device"] == wanted);
    let software = adapter.is_some_and(|adapter| adapter["kind"] == "software");
    let place = match (report.device.as_str(), software) {
        ("cpu", _) => Some("LibTorch's CPU"),
        (_, true) => Some("a software driver of Vulkan"),
        _ => None,
    };
    let rehearsal = place.map_or_else(String::new, |place| {
        format!("**A rehearsal on {place}.** It shows that every stage runs. Its times and memory say nothing about a card.\n\n")
    });
    let cards = if vulkan { adapter.map_or(&[][..], std::slice::from_ref) } else { list("cards") };
    let cards: Vec<&str> = cards.iter().filter_map(|card| card["name"].as_str()).collect();
    let cards = if cards.is_empty() { "no card".into() } else { cards.join(", ") };
    let pytorch = report.pytorch.as_ref().map_or_else(String::new, |version| format!("; PyTorch {version}"));
    format!(
        "# gpu-check, {}\n\n{rehearsal}Device `{}`, precision {}{}; {}, {} threads, {cards}{pytorch}; commit {}.\n",
        machine.date,
        report.device,
        report.precision,
        if report.small { ", small batches" } else { "" },
        machine.cpu,
        machine.cores,
        machine.commit,
    )
}

fn targets(targets: &[Target]) -> String {
    let mut text =
        "\n## Targets\n\n| net | target | at most | measured | met |\n|---|---|---|---|---|\n".to_owned();
    for Target { model, what, limit, ratio, met } in targets {
        let met = met.map_or("not measured", |met| if met { "yes" } else { "**no**" });
        text += &format!("| {model} | {what} | {limit} | {} | {met} |\n", shown(*ratio, 2));
    }
    text
}

fn steps(report: &Report, net: &Net) -> String {
    if report.pytorch.is_none() {
        return ours_alone(report, net);
    }
    let sides = [Side::Ours, Side::Eager, Side::Func, Side::Compiled];
    let titles = sides.map(Side::title).join(" | ");
    let mut text = format!(
        "\n## {}\n\nMilliseconds a step; of gnr and of PyTorch run eagerly, the better of two memory layouts.\n\n\
         | | {titles} | gnr / PyTorch |\n|---|---|---|---|---|---|\n",
        net.described()
    );
    for method in METHODS {
        let times = sides.map(|side| time(&report.timings, net.model, side, method));
        let ratio = times[0].zip(times[1]).map(|(ours, theirs)| ours / theirs);
        let cells = times.map(|time| shown(time, 1)).join(" | ");
        text += &format!("| {} | {cells} | {} |\n", title(method), shown(ratio, 2));
    }
    text += "\nPeak memory over the idle program, MB.\n\n| | gnr | PyTorch |\n|---|---|---|\n";
    for method in WEIGHED {
        let of = |side| shown(memory(&report.weights, net.model, side, method), 0);
        text += &format!("| {} | {} | {} |\n", title(method), of(Side::Ours), of(Side::Eager));
    }
    text
}

/// The table of our times on a device where PyTorch does not compute. Memory is missing, because no program tells it.
fn ours_alone(report: &Report, net: &Net) -> String {
    let mut text = format!("\n## {}\n\n| | ms a step |\n|---|---|\n", net.described());
    for method in METHODS {
        let ms = time(&report.timings, net.model, Side::Ours, method);
        text += &format!("| {} | {} |\n", title(method), shown(ms, 1));
    }
    text
}

fn stages(report: &Report) -> String {
    let mut text = "\n## Stages\n\n| stage | s | |\n|---|---|---|\n".to_owned();
    for stage in &report.stages {
        let outcome = match &stage.error {
            None => "passed".into(),
            Some(error) => format!("**failed**: {}", first_line(error).replace('|', "\\|")),
        };
        text += &format!("| {} | {:.1} | {outcome} |\n", stage.name, stage.seconds);
    }
    text
}

fn title(method: &str) -> &str {
    match method {
        "gradient" => "gradient",
        "hvp" => "exact product with its gradient",
        "sam" => "SAM",
        "gnr_exact" => "GNR, exact products",
        "gnr_fd" => "GNR, differences of gradients",
        other => other,
    }
}

fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gpu_check::{Stage, nets::SMALL, targets::judge},
        machine::Machine,
    };

    #[test]
    fn what_failed_and_what_was_not_measured_is_said() {
        let stage = Stage {
            name: "gnr devices".into(),
            passed: false,
            seconds: 1.0,
            error: Some("no | card\nmore".into()),
        };
        let report = Report {
            machine: Machine {
                cpu: "x".into(),
                cores: 2,
                commit: "c".into(),
                date: "2026-11-29 12:00".into(),
            },
            device: "cpu".into(),
            precision: "f32".into(),
            small: true,
            pytorch: Some("2".into()),
            devices: None,
            nets: SMALL.to_vec(),
            stages: vec![stage],
            timings: Vec::new(),
            targets: judge(&SMALL, &[], &[]),
            weights: Vec::new(),
            epoch: None,
        };
        let text = markdown(&report);
        for words in [
            "rehearsal on LibTorch's CPU",
            "| gnr devices | 1.0 | **failed**: no \\| card |",
            "| resnet50 | exact GNR step, in gradients | 6.1 | – | not measured |",
        ] {
            assert!(text.contains(words), "{words:?} in {text}");
        }
        assert!(text.contains("no card; PyTorch 2; commit c") && !text.contains("An epoch"), "{text}");
        let adapter = serde_json::json!({"device": "vulkan:0", "name": "llvmpipe", "kind": "software"});
        let devices = Some(serde_json::json!({"adapters": [adapter]}));
        let targets = Vec::new();
        let vulkan = Report { device: "vulkan".into(), pytorch: None, devices, targets, ..report.clone() };
        let text = markdown(&vulkan);
        assert!(text.contains("rehearsal on a software driver of Vulkan"), "{text}");
        assert!(text.contains("2 threads, llvmpipe; commit c"), "{text}");
        assert!(text.contains("| | ms a step |") && !text.contains("PyTorch"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &report).unwrap();
        let json = std::fs::read_to_string(&paths(folder.path())[0]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["stages"][0]["error"], "no | card\nmore");
    }
}
