//! The measurements in a run's folder: spectrum, trace, density, sharpness, and every figure that was drawn.

use std::{fs, io::ErrorKind, path::Path};

use gnr_plot::{Axis, Content, Figure, Lines, Panel, Series, inline_svg};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::number;
use crate::{
    compare::measured_of,
    error::{Result, io},
    follow::FollowedRun,
    report::Block,
};

/// Blocks of the measurements that were found, and a sentence for each that is missing or incomplete.
#[derive(Default)]
pub(super) struct Found {
    pub(super) blocks: Vec<Block>,
    pub(super) missing: Vec<String>,
}

/// The commands that measure, which are also the names of their folders and files.
const COMMANDS: [&str; 6] = ["spectrum", "trace", "density", "sharpness", "landscape", "minima"];

pub(super) fn found(run: &FollowedRun) -> Result<Found> {
    let mut found = Found::default();
    let mut none = Vec::new();
    for command in COMMANDS {
        let folder = run.folder().join(command);
        if !folder.is_dir() {
            none.push(command);
            continue;
        }
        let path = folder.join(format!("{command}.json"));
        let Some(report) = json::<Value>(&path)? else {
            let how = format!("{command}/{command}.json is missing or cut off");
            found
                .missing
                .push(format!("{how}: `gnr {command}` was interrupted, and the same command goes on"));
            continue;
        };
        let before = found.blocks.len();
        match command {
            "spectrum" => found.spectrum(&report),
            "trace" => found.trace(&report),
            "density" => found.density(&report, &folder)?,
            "sharpness" => found.sharpness(&report),
            _ => {}
        }
        found.drawn(&folder.join(format!("{command}.figure.json")), command)?;
        if found.blocks.len() > before {
            let after = report["subject"]["epoch"].as_u64();
            found.blocks.insert(before, Block::Heading(heading(command, after)));
            found.blocks.push(Block::Paragraph(subject(&report["subject"], after, run)));
        }
    }
    found.of_comparison(run)?;
    if !none.is_empty() {
        let commands: Vec<String> = none.iter().map(|command| format!("`gnr {command} RUN`")).collect();
        found.missing.push(format!("not measured: {}", commands.join(", ")));
    }
    Ok(found)
}

fn heading(command: &str, epoch: Option<u64>) -> String {
    let what = match command {
        "spectrum" => "Largest eigenvalues",
        "trace" => "Trace",
        "density" => "Density of the eigenvalues",
        "sharpness" => "Sharpness within a radius",
        "landscape" => "Landscape of the loss",
        _ => "Extrema of the loss along random directions",
    };
    epoch.map_or_else(|| what.to_owned(), |epoch| format!("{what} after epoch {epoch}"))
}

/// The weights and images of a measurement in words, and whether the run continued since.
fn subject(subject: &Value, epoch: Option<u64>, run: &FollowedRun) -> String {
    let text = |key: &str| subject[key].as_str().unwrap_or("unknown").to_owned();
    let statistics = if subject["batch_norm"] == "eval" { "running" } else { "batch" };
    let later = match epoch {
        Some(epoch) if epoch < run.epochs_done() => {
            format!(" The run went on since: it is at epoch {}.", run.epochs_done())
        }
        _ => String::new(),
    };
    format!(
        "{}, on {}; batch normalisation by {statistics} statistics.{later}",
        text("weights"),
        text("data")
    )
}

impl Found {
    fn spectrum(&mut self, report: &Value) {
        let operator = operator(report);
        let pairs = report["pairs"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |pair: &Value| {
            vec![
                (pair["rank"].as_u64().unwrap_or_default() + 1).to_string(),
                pair["end"].as_str().unwrap_or_default().to_owned(),
                number(pair["eigenvalue"].as_f64()),
                pair["residual"].as_f64().map_or_else(|| "–".into(), |residual| format!("{residual:.1e}")),
                pair["verdict"].as_str().unwrap_or_default().to_owned(),
            ]
        };
        self.blocks.push(table(
            ["rank", "end", &format!("eigenvalue of the {operator}"), "residual", "verdict"],
            pairs.iter().map(row).collect(),
        ));
    }

    fn trace(&mut self, report: &Value) {
        let value = |key: &str| number(report[key].as_f64());
        let percent = 100.0 * report["confidence"].as_f64().unwrap_or(0.95);
        self.blocks.push(table(
            [
                &format!("trace of the {}", operator(report)),
                "standard error",
                &format!("{percent:.0} % interval"),
                "vectors",
            ],
            vec![vec![
                value("trace"),
                value("standard_error"),
                format!("[{}, {}]", value("low"), value("high")),
                report["samples"].as_array().map_or(0, Vec::len).to_string(),
            ]],
        ));
    }

    fn density(&mut self, report: &Value, folder: &Path) -> Result<()> {
        let value = |key: &str| number(report[key].as_f64());
        self.blocks.push(table(
            ["smallest node", "largest node", "broadened by", "share below −σ, %", "trace"],
            vec![vec![
                value("smallest"),
                value("largest"),
                value("sigma"),
                number(report["negative_fraction"].as_f64().map(|share| 100.0 * share)),
                value("trace"),
            ]],
        ));
        let path = folder.join("density.csv");
        let points = match fs::read_to_string(&path) {
            Ok(text) => points(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io(&path, "read")(error)),
        };
        let highest = points.iter().map(|[_, y]| *y).fold(0.0, f64::max);
        if highest <= 0.0 {
            self.missing.push("density/density.csv is missing or has no points".into());
            return Ok(());
        }
        // The axis has six decades, because the bulk near zero is many decades higher than the rest.
        let (x, y) = points.iter().map(|[x, y]| (*x, *y)).unzip();
        let lines = Lines {
            x: Axis::linear("eigenvalue"),
            y: Axis::log("density").within(highest * 1e-6, highest * 2.0),
            series: vec![Series::line("", x, y)],
            marks: Vec::new(),
        };
        let mut figure = Figure::new("", vec![Panel::new("", Content::Lines(lines))]);
        figure.panel_size = [420, 270];
        let caption = format!("density of the eigenvalues of the {}", operator(report));
        self.blocks.push(Block::Figure { caption, svg: inline_svg(&figure)? });
        Ok(())
    }

    fn sharpness(&mut self, report: &Value) {
        let bounds = report["bounds"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |bound: &Value| {
            let text = |key: &str| bound[key].as_str().unwrap_or_default().to_owned();
            vec![
                if bound["measure"] == "r_sam" { "R_SAM".into() } else { "R_GNR".into() },
                number(bound["rho"].as_f64()),
                text("search"),
                number(bound["lower_bound"].as_f64()),
                number(bound["distance"].as_f64()),
            ]
        };
        let header = ["measure", "ρ", "search", "at least", "found at distance"];
        self.blocks.push(table(header, bounds.iter().map(row).collect()));
    }

    /// A figure that `gnr` drew beside its measurement, panels below each other.
    fn drawn(&mut self, path: &Path, command: &str) -> Result<()> {
        let name = format!("{command}/{command}.figure.json");
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if ["landscape", "minima"].contains(&command) {
                    self.missing.push(format!("{name}: no figure was drawn (--no-plot)"));
                }
                return Ok(());
            }
            text => text.map_err(io(path, "read"))?,
        };
        let figure: Figure = match serde_json::from_str(&text) {
            Ok(figure) => figure,
            Err(error) => {
                let again = format!("`gnr {command}` draws it again without measuring");
                self.missing.push(format!("{name} cannot be read as a figure ({error}); {again}"));
                return Ok(());
            }
        };
        let caption = figure.title.clone();
        let bare = Figure { title: String::new(), columns: Some(1), ..figure };
        self.blocks.push(Block::Figure { caption, svg: inline_svg(&bare)? });
        Ok(())
    }

    /// The measurements of `gnr compare` for one of its own runs, in `../../measures/RUN`.
    fn of_comparison(&mut self, run: &FollowedRun) -> Result<()> {
        let Some((found, present)) = measured_of(run.folder())? else { return Ok(()) };
        if !present {
            self.missing.push(
                "sharpness, as the comparison measured it: measured at other weights, because the run was trained anew since, or by \
                 an older program that did not record at which, before the present file of weights was written; `gnr compare` \
                 measures it again"
                    .into(),
            );
            return Ok(());
        }
        let setting = found.setting;
        self.blocks.push(Block::Heading("Sharpness, as the comparison measured it".into()));
        self.blocks.push(table(
            ["λ₁", "trace", "R_SAM ≥", "R_GNR ≥"],
            vec![vec![
                number(Some(found.lambda_max)),
                format!("{} ± {}", number(Some(found.trace)), number(Some(found.trace_standard_error))),
                number(Some(found.r_sam)),
                number(Some(found.r_gnr)),
            ]],
        ));
        self.blocks.push(Block::Paragraph(format!(
            "On {} training images, trace by {} vectors, within ρ = {}.",
            setting.images, setting.probes, setting.rho
        )));
        Ok(())
    }
}

fn operator(report: &Value) -> &'static str {
    if report["operator"] == "ggn" { "Gauss–Newton matrix" } else { "Hessian" }
}

fn table<const N: usize>(header: [&str; N], rows: Vec<Vec<String>>) -> Block {
    Block::Table { header: header.map(str::to_owned).to_vec(), rows }
}

/// The first two columns of a table with a header line.
fn points(csv: &str) -> Vec<[f64; 2]> {
    let point = |line: &str| {
        let mut cells = line.split(',').map(|cell| cell.parse::<f64>().ok());
        Some([cells.next()??, cells.next()??])
    };
    csv.lines().skip(1).filter_map(point).collect()
}

/// A JSON file; `None` where there is none, or none of this kind.
fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, "read")(error)),
    }
}
