//! Settings that several regularisers have.

use crate::registry::{Interval, Key};

/// The key of the radius ρ.
pub(super) const fn rho(default: f64) -> Key {
    Key::number("rho", Interval::POSITIVE, default, "radius ρ of the perturbation")
}

/// The key of the schedule of ρ over the run.
pub(super) const RHO_SCHEDULE: Key = Key::choice(
    "rho_schedule",
    &["constant", "inverse-sqrt", "proportional-to-lr"],
    "constant",
    "ρ over time: ρ, ρ/√t (Theorem 2.3), or ρ·η_t/η₀",
);

/// The key of the steps from one action to the next, for [`Every`](super::Every).
pub(super) const EVERY: Key = Key::integer("every", 1, 1, "act on every so many steps");

/// The key of the epochs without the regulariser at the start, for [`FromStep`](super::FromStep).
pub(super) const FROM_EPOCH: Key =
    Key::integer("from_epoch", 0, 0, "epochs that are trained without it first");

/// The key `from_epoch` of a regulariser that watches these epochs.
pub(super) const fn watched_from_epoch(default: u64) -> Key {
    Key::integer("from_epoch", 0, default, "epochs that are trained without it first, while it watches")
}

/// The key of the coefficient λ of a loss that compares with earlier outputs.
pub(super) const fn trajectory_lambda(default: f64) -> Key {
    Key::number("lambda", Interval::POSITIVE, default, "coefficient λ of the divergence from earlier outputs")
}

/// The key of the temperature τ of a loss that compares with earlier outputs.
pub(super) const TAU: Key = Key::number(
    "tau",
    Interval::POSITIVE,
    5.0,
    "temperature τ that outputs are divided by before they are compared",
);

/// The key of the fraction of the batch that the regulariser sees, for [`OnSample`](super::OnSample).
pub(super) const BATCH_FRACTION: Key = Key::number(
    "batch_fraction",
    Interval::FRACTION,
    1.0,
    "fraction of the batch on which it is evaluated, drawn anew in each step",
);
