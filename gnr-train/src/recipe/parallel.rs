//! `[parallel]`: how ranks share a batch. Of no consequence to a process by itself.

use serde::Serialize;

use super::reader::Reader;

/// `[parallel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parallel {
    /// Of which part of the batch SAM and GNR look at perturbed points. Default `global`.
    pub perturbation: Perturbation,
    /// With `perturbation = "global"`: whether BatchNorm takes the statistics of the whole batch, which each of its
    /// layers exchanges in each pass, or those of each rank's part, whose running averages are averaged after each
    /// step. Default true.
    pub sync: bool,
}

/// What is perturbed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Perturbation {
    /// The whole batch: every step is that of one process with all of it. A reduction for each gradient and each
    /// product.
    Global,
    /// Each rank's part by itself, as `method.group` does in one process (m-sharpness). One reduction a step, of the
    /// direction.
    Local,
}

impl Default for Parallel {
    fn default() -> Self {
        Self { perturbation: Perturbation::Global, sync: true }
    }
}

impl Parallel {
    /// Left out of a recipe's text, so that the text of recipes that were there before this section is what it was.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Parallel {
    let mut section = reader.section("parallel");
    let kinds = [("global", Perturbation::Global), ("local", Perturbation::Local)];
    let Parallel { perturbation, sync } = Parallel::default();
    Parallel {
        perturbation: section.choice("perturbation", &kinds).unwrap_or(perturbation),
        sync: section.value("sync", sync),
    }
}
