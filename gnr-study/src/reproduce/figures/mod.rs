//! The paper's figures: what is trained, what `gnr` measures of it, and the pictures that `gnr plot` draws of the measurements.

mod figure1;
mod figure2;
mod figure3;
mod measure;
mod sheet;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::plan::{Case, Dataset, METHODS, Method, Net, Plan, Scale, figure_net};
use super::runner::Run;
use crate::machine::Machine;
use crate::workspace::quoted;
use measure::Measurements;
use sheet::Sheet;

/// A figure of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    One,
    Two,
    Three,
}

/// SGD and SAM, each without GNR and with it (exact products, on every step).
const FOUR: [Method; 4] = [METHODS[0], METHODS[1], METHODS[3], METHODS[4]];

impl Figure {
    pub(super) const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// On the command line and in file names.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::One => "figure1",
            Self::Two => "figure2",
            Self::Three => "figure3",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::One => "Figure 1 (R_SAM and R_GNR; minima around SAM's solutions)",
            Self::Two => "Figure 2 (Hessian spectra)",
            Self::Three => "Figure 3 (loss landscapes)",
        }
    }

    /// What must be trained. Figure 1b looks at SAM's solutions with several seeds, the others at one seed of every method.
    pub(super) fn plan(self, scale: Scale, seeds: u64) -> Plan {
        let nets = vec![figure_net(scale)];
        match self {
            Self::One => Plan::new(self.slug(), self.title(), scale, nets, vec![METHODS[3]], seeds),
            Self::Two | Self::Three => Plan::new(self.slug(), self.title(), scale, nets, FOUR.to_vec(), 1),
        }
    }
}

/// How much is measured at a scale.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Training images that the loss is measured on.
    images: u64,
    /// Random directions of Figure 1b, and points a step.
    directions: u64,
    refine: u64,
    /// Eigenvalues of Figure 2, products at most, test vectors of the trace, steps of a density.
    eigenvalues: u64,
    matvecs: u64,
    samples: u64,
    density_steps: u64,
    /// Points along each direction of Figure 3.
    grid: u64,
}

impl Sizes {
    fn of(scale: Scale) -> Self {
        match scale {
            Scale::Smoke => Self {
                images: 300,
                directions: 20,
                refine: 4,
                eigenvalues: 20,
                matvecs: 400,
                samples: 30,
                density_steps: 40,
                grid: 15,
            },
            Scale::Small => Self {
                images: 256,
                directions: 20,
                refine: 2,
                eigenvalues: 50,
                matvecs: 400,
                samples: 30,
                density_steps: 60,
                grid: 13,
            },
            Scale::Paper => Self {
                images: 10_000,
                directions: 100,
                refine: 4,
                eigenvalues: 50,
                matvecs: 1_000,
                samples: 100,
                density_steps: 100,
                grid: 51,
            },
        }
    }
}

/// What a figure is made of.
pub(super) struct Making<'a> {
    pub(super) figure: Figure,
    pub(super) plan: &'a Plan,
    pub(super) runs: &'a [Run],
    pub(super) gnr: &'a Path,
    pub(super) out: &'a Path,
    pub(super) command: String,
}

impl Making<'_> {
    /// Measures the runs, draws the figure and writes its report.
    ///
    /// # Errors
    /// A run that is not trained, a measurement or a drawing that fails, an interruption.
    pub(super) fn make(&self) -> Result<()> {
        for run in self.runs {
            if super::results::summary(&run.folder)?.is_none_or(|summary| !summary.finished) {
                bail!("{} is not trained, so the figure cannot be made", run.name);
            }
        }
        let measurements = Measurements { gnr: self.gnr, out: self.out };
        let mut sheet = Sheet::new(self.out, self.figure.slug(), self.gnr);
        match self.figure {
            Figure::One => figure1::make(self, &measurements, &mut sheet)?,
            Figure::Two => figure2::make(self, &measurements, &mut sheet)?,
            Figure::Three => figure3::make(self, &measurements, &mut sheet)?,
        }
        let path = sheet.write(self.figure.title(), self.plan.scale, &self.provenance())?;
        println!("written: {}", path.display());
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        Sizes::of(self.plan.scale)
    }

    fn net(&self) -> &Net {
        &self.plan.nets[0]
    }

    /// `SAM + GNR exact`.
    fn method(&self, case: &Case) -> String {
        case.method.title(self.net().optimizer.title())
    }

    /// The arguments that say which network is measured on what.
    fn subject(&self, run: &Run, weights: PathBuf, images: u64) -> Vec<String> {
        let mut arguments = vec![weights.display().to_string(), "--subset".into(), images.to_string()];
        if let Some(data) = run.placement().data {
            arguments.extend(["--data-dir".into(), data.display().to_string()]);
        }
        arguments
    }

    /// Names of the files a run keeps: epoch 0, every so many, the last.
    fn kept(&self, run: &Run, epoch: u64) -> PathBuf {
        run.folder.join("checkpoints").join(format!("epoch-{epoch:04}.safetensors"))
    }

    fn provenance(&self) -> Vec<(&'static str, String)> {
        let machine = Machine::here();
        let net = self.net();
        let mut commits: Vec<String> = self.runs.iter().filter_map(Run::commit).collect();
        commits.sort();
        commits.dedup();
        let mut seeds: Vec<u64> = self.plan.cases.iter().map(|case| case.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        vec![
            ("command", format!("`{}`", self.command)),
            ("commit", machine.commit),
            ("runs trained by", if commits.is_empty() { "unknown".into() } else { commits.join(", ") }),
            (
                "recipe",
                format!(
                    "{}: {} images, {} epochs, batch {}, lr {}, {}. {}",
                    net.heading(),
                    net.images(),
                    net.epochs,
                    net.batch,
                    net.optimizer.learning_rate(),
                    net.schedule,
                    super::recipe::hyperparameters()
                ),
            ),
            ("seeds", seeds.join(", ")),
            (
                "measured on",
                format!(
                    "a stratified sample of {} training images without augmentation, BatchNorm on running statistics",
                    self.sizes().images
                ),
            ),
            ("machine", format!("{}, {} cores", machine.cpu, machine.cores)),
            ("date", format!("{} UTC", machine.date)),
        ]
    }
}

/// A list of numbers at a path of keys.
fn numbers(value: &Value, keys: &[&str]) -> Result<Vec<f64>> {
    let mut found = value;
    for key in keys {
        found = found.get(key).with_context(|| format!("`{}` is missing", keys.join(".")))?;
    }
    let list = found.as_array().with_context(|| format!("`{}` is no list", keys.join(".")))?;
    list.iter()
        .map(|value| value.as_f64().with_context(|| format!("`{}` holds {value}", keys.join("."))))
        .collect()
}

/// A number under a key.
fn number(value: &Value, key: &str) -> Result<f64> {
    value.get(key).and_then(Value::as_f64).with_context(|| format!("number `{key}` is missing"))
}

/// What readers of a data set must know.
fn data_caveat(net: &Net) -> &'static str {
    if net.dataset == Dataset::Cifar10Jpeg { "CIFAR-10 as lossy JPEG (quality 75)." } else { "" }
}

/// Words for a list of arguments, as they would be typed.
fn typed(arguments: &[String]) -> String {
    arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}
