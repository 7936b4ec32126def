//! Settings that many regularisers have.

use crate::registry::{Interval, Key};

/// The radius ρ.
pub(super) const fn rho(default: f64) -> Key {
    Key::number("rho", Interval::POSITIVE, default, "radius ρ of the perturbation")
}

/// How ρ changes over the run.
pub(super) const RHO_SCHEDULE: Key = Key::choice(
    "rho_schedule",
    &["constant", "inverse-sqrt", "proportional-to-lr"],
    "constant",
    "ρ over time: ρ, ρ/√t (Theorem 2.3), or ρ·η_t/η₀",
);

/// Steps between two on which it acts: [`Every`](super::Every).
pub(super) const EVERY: Key = Key::integer("every", 1, 1, "act on every so many steps");

/// Epochs before it acts: [`FromStep`](super::FromStep).
pub(super) const FROM_EPOCH: Key =
    Key::integer("from_epoch", 0, 0, "epochs that are trained without it first");

/// As [`FROM_EPOCH`], of a regulariser that watches these epochs.
pub(super) const fn watched_from_epoch(default: u64) -> Key {
    Key::integer("from_epoch", 0, default, "epochs that are trained without it first, while it watches")
}

/// The coefficient λ of a loss that compares with earlier outputs.
pub(super) const fn trajectory_lambda(default: f64) -> Key {
    Key::number("lambda", Interval::POSITIVE, default, "coefficient λ of the divergence from earlier outputs")
}

/// The temperature of a loss that compares with earlier outputs.
pub(super) const TAU: Key = Key::number(
    "tau",
    Interval::POSITIVE,
    5.0,
    "temperature τ that outputs are divided by before they are compared",
);

/// The part of the batch that it looks at: [`OnSample`](super::OnSample).
pub(super) const BATCH_FRACTION: Key = Key::number(
    "batch_fraction",
    Interval::FRACTION,
    1.0,
    "fraction of the batch on which it is evaluated, drawn anew in each step",
);
