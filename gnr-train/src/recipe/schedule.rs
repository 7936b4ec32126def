//! The section `[schedule]` of a recipe: the learning rate over time.

use gnr_core::schedule::{self, Span};
use serde::Serialize;

use super::{
    reader::Reader,
    registered::{self, Settings},
};

/// The section `[schedule]`: the learning rate over time, after a linear warm-up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// The schedule, a name that `gnr methods` lists. Default `cosine`.
    pub name: &'static str,
    /// The keys of the schedule, `warmup_epochs` included, which `gnr methods NAME` describes.
    #[serde(flatten)]
    pub settings: Settings,
}

/// Reads the section. `lr` is the peak of the learning rate.
pub(super) fn read(reader: &mut Reader<'_>, lr: f64) -> Schedule {
    let mut section = reader.section("schedule");
    let entry = registered::name(&mut section, schedule::entries(), "cosine");
    let values = registered::values(&mut section, schedule::entries(), entry);
    // Any run will do: only the settings beside the learning rate are checked.
    registered::check(&mut section, schedule::build(&values, Span::new(lr, 1, 1)));
    Schedule { name: entry.name, settings: Settings(values) }
}
