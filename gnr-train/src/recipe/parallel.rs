//! The section `[parallel]`: how ranks share a batch. It does not affect a process by itself.

use serde::Serialize;

use super::reader::Reader;

/// The section `[parallel]`: how ranks share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parallel {
    /// The part of the batch for which SAM and GNR perturb the point. Default `global`.
    pub perturbation: Perturbation,
    /// With `perturbation = "global"`: whether BatchNorm takes the statistics of the whole batch, which each layer then
    /// exchanges in each pass. Otherwise each rank's part has its own, and their running averages are averaged after
    /// each step. Default true.
    pub sync: bool,
}

/// The part of the batch that shares one perturbed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Perturbation {
    /// The whole batch: every step equals that of one process with the whole batch. The cost is a reduction for each
    /// gradient and each product.
    Global,
    /// Each rank's part by itself, as with `method.group` in one process (m-sharpness). The cost is one reduction a
    /// step, of the direction.
    Local,
}

impl Default for Parallel {
    fn default() -> Self {
        Self { perturbation: Perturbation::Global, sync: true }
    }
}

impl Parallel {
    /// Whether the section is left out of a recipe's text, so that the text of recipes older than the section stays.
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
