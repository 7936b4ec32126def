//! The paper's figures: what is trained, what is measured of it, and the pictures of the measurements.

mod figure1;
mod figure2;
mod figure3;
mod measure;
mod sheet;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::plan::{Case, Dataset, METHODS, Method, Net, Plan, Scale, figure_net};
use super::{Say, recipe, runs::Planned};
use crate::error::{Result, StudyError};
use measure::{Kind, Measurements};
use sheet::Sheet;

pub use figure1::worked_example;

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

    /// The figure's name on the command line and in files.
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

    /// The runs that must be trained. Figure 1b looks at SAM's solutions with several seeds, the other figures at one
    /// seed of every method.
    pub(super) fn plan(self, scale: Scale, seeds: u64) -> Plan {
        let nets = vec![figure_net(scale)];
        match self {
            Self::One => Plan::new(self.slug(), self.title(), scale, nets, vec![METHODS[3]], seeds),
            Self::Two | Self::Three => Plan::new(self.slug(), self.title(), scale, nets, FOUR.to_vec(), 1),
        }
    }
}

/// The extent of the measurements at a scale.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Number of training images on which the loss is measured.
    images: usize,
    /// Numbers of random directions of Figure 1b, and of points in a step.
    directions: usize,
    refine: usize,
    /// Numbers of eigenvalues of Figure 2, of products at most, of test vectors of the trace, and of steps of a
    /// density.
    eigenvalues: usize,
    matvecs: usize,
    samples: usize,
    density_steps: usize,
    /// Number of points along each direction of Figure 3.
    grid: usize,
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

/// The parts of which a figure is made.
pub(super) struct Making<'a> {
    pub(super) figure: Figure,
    pub(super) plan: &'a Plan,
    pub(super) runs: &'a [Planned],
    pub(super) out: &'a Path,
    pub(super) command: &'a str,
    pub(super) stop: &'a AtomicBool,
}

impl Making<'_> {
    /// Measures the runs, draws the figure and writes its report. All runs are trained.
    ///
    /// # Errors
    /// A measurement or a drawing that fails, an interruption.
    pub(super) fn make(&self, say: Say<'_>) -> Result<()> {
        let mut measurements = Measurements { out: self.out, stop: self.stop, say };
        let mut sheet = Sheet::new(self.out, self.figure.slug());
        match self.figure {
            Figure::One => figure1::make(self, &mut measurements, &mut sheet)?,
            Figure::Two => figure2::make(self, &mut measurements, &mut sheet)?,
            Figure::Three => figure3::make(self, &mut measurements, &mut sheet)?,
        }
        let written = sheet.write(self.figure.title(), self.plan.scale, self.provenance()?)?;
        for path in written {
            (measurements.say)(&format!("written: {}", path.display()));
        }
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        Sizes::of(self.plan.scale)
    }

    fn net(&self) -> &Net {
        &self.plan.nets[0]
    }

    /// The title of a case's method, as in `SAM + GNR exact`.
    fn method(&self, case: &Case) -> String {
        case.method.title(self.net().optimizer.title())
    }

    /// The file of the weights after an epoch. A run keeps those of epoch 0, of every so many epochs, and of the last
    /// one.
    fn kept(&self, planned: &Planned, epoch: u64) -> PathBuf {
        planned.run.folder.join("checkpoints").join(format!("epoch-{epoch:04}.safetensors"))
    }

    fn provenance(&self) -> Result<Vec<(String, String)>> {
        let net = self.net();
        let mut commits = Vec::new();
        for planned in self.runs {
            commits
                .extend(crate::results::summary(&planned.run.folder)?.and_then(|summary| summary.commits()));
        }
        commits.sort();
        commits.dedup();
        let mut seeds: Vec<u64> = self.plan.cases.iter().map(|case| case.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let facts = [
            ("command", format!("`{}`", self.command)),
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
                    recipe::hyperparameters()
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
        ];
        Ok(facts
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .chain(crate::machine::facts())
            .collect())
    }
}

/// The error of a measurement's report that lacks a key.
fn lacks(key: &str) -> StudyError {
    StudyError::Request(format!(
        "a measurement's report lacks `{key}`; remove the folder `measures` to measure again"
    ))
}

/// A list under a key.
fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| lacks(key))
}

/// A list of numbers under a key; values that are no numbers become NaN.
fn numbers(value: &Value, key: &str) -> Result<Vec<f64>> {
    Ok(list(value, key)?.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect())
}

/// A number under a key.
fn number(value: &Value, key: &str) -> Result<f64> {
    value.get(key).and_then(Value::as_f64).ok_or_else(|| lacks(key))
}

/// The caveat about a net's data set for readers.
fn data_caveat(net: &Net) -> &'static str {
    if net.dataset == Dataset::Cifar10Jpeg { "CIFAR-10 as lossy JPEG (quality 75)." } else { "" }
}
