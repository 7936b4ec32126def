//! The keys that several schedules have.

use super::Span;
use crate::{
    Result,
    registry::{Interval, Key, Values},
};

/// The key of the warm-up's length in epochs.
pub(super) const WARM_UP: Key = Key::number(
    "warmup_epochs",
    Interval::NOT_NEGATIVE,
    0.0,
    "epochs (a fraction is fine) of linear warm-up before the schedule",
);

/// The key of the value at which a schedule ends.
pub(super) const fn floor(default: f64) -> Key {
    Key::number("floor", Interval::NOT_NEGATIVE, default, "the last learning rate, at most the first")
}

/// The floor of a schedule that falls from the peak; an error if it lies above the peak.
pub(super) fn checked_floor(values: &Values, span: &Span) -> Result<f64> {
    let floor = values.number("floor")?;
    if floor <= span.peak {
        Ok(floor)
    } else {
        Err(values.refusal("floor", &format!("{floor:?}"), "must lie in [0, optimizer.lr]"))
    }
}
