//! The keys that several optimisers have.

use crate::registry::{Interval, Key};

/// The key of η₀, the peak of the schedule. An optimiser gets the learning rate of each step as an argument; recipes
/// keep the peak in the optimiser's section.
pub(super) const fn lr(default: f64) -> Key {
    Key::number("lr", Interval::POSITIVE, default, "peak learning rate η")
}

/// The key of the coupled weight decay λ, whose gradient λθ joins the direction.
pub(super) const fn coupled_decay(default: f64) -> Key {
    Key::number(
        "weight_decay",
        Interval::NOT_NEGATIVE,
        default,
        "coupled weight decay λ: λθ joins the direction",
    )
}

/// The key of the decoupled weight decay λ, which shrinks θ beside the step.
pub(super) const fn decoupled_decay(default: f64) -> Key {
    Key::number(
        "weight_decay",
        Interval::NOT_NEGATIVE,
        default,
        "decoupled weight decay λ: θ shrinks by ηλθ beside the step",
    )
}

/// The key of the decay rates β₁ and β₂.
pub(super) const fn betas(default: &'static [f64; 2]) -> Key {
    Key::pair("betas", Interval::RATE, default, "decay rates β₁ and β₂ of the first and second moment")
}

/// The key of the constant ε beside the root.
pub(super) const fn eps(default: f64) -> Key {
    // Zero would give 0/0 for a parameter whose gradient vanishes.
    Key::number("eps", Interval::POSITIVE, default, "ε beside the root")
}

/// The key of β₁ and β₂ of methods that average estimates of the Hessian's diagonal.
pub(super) const fn diagonal_betas(default: &'static [f64; 2]) -> Key {
    Key::pair("betas", Interval::RATE, default, "decay rates β₁ and β₂ of the momentum and of the diagonal")
}

/// The key of the point whose Hessian is estimated.
pub(super) const HESSIAN_AT: Key = Key::choice(
    "hessian_at",
    &["sam", "theta"],
    "sam",
    "where the Hessian is taken: at the point of the regulariser `sam`, if it acts, or at θ",
);

/// The key of the number of steps from one estimate of the Hessian's diagonal to the next. The optimiser only receives
/// the estimates; the training loop makes them.
pub(super) const fn hessian_every(default: u64) -> Key {
    Key::integer(
        "hessian_every",
        1,
        default,
        "period k: the diagonal of the Hessian is estimated on the steps 0, k, 2k, …",
    )
}

/// The key of the power of the Hessian's diagonal.
pub(super) const fn hessian_power(default: f64) -> Key {
    Key::number(
        "hessian_power",
        Interval::FRACTION,
        default,
        "the power of the Hessian's diagonal that divides the momentum",
    )
}
