//! The keys that several optimisers have.

use crate::registry::{Interval, Key};

/// η, the peak of the schedule. (An optimiser gets the rate of each step as an argument; recipes keep the peak in its section.)
pub(super) const fn lr(default: f64) -> Key {
    Key::number("lr", Interval::POSITIVE, default, "peak learning rate η")
}

/// λ, whose gradient λθ joins the direction.
pub(super) const fn coupled_decay(default: f64) -> Key {
    Key::number(
        "weight_decay",
        Interval::NOT_NEGATIVE,
        default,
        "coupled weight decay λ: λθ joins the direction",
    )
}

/// λ, which shrinks θ beside the step.
pub(super) const fn decoupled_decay(default: f64) -> Key {
    Key::number(
        "weight_decay",
        Interval::NOT_NEGATIVE,
        default,
        "decoupled weight decay λ: θ shrinks by ηλθ beside the step",
    )
}

/// β₁ and β₂.
pub(super) const fn betas(default: &'static [f64; 2]) -> Key {
    Key::pair("betas", Interval::RATE, default, "decay rates β₁ and β₂ of the first and second moment")
}

/// ε.
pub(super) const fn eps(default: f64) -> Key {
    // Zero would make 0/0 of a parameter whose gradient vanishes.
    Key::number("eps", Interval::POSITIVE, default, "ε beside the root")
}
