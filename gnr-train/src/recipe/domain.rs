//! The domains of numbers in recipes, and what errors say of them.

pub(super) const POSITIVE: &str = "must be positive and finite";
pub(super) const NOT_NEGATIVE: &str = "must be 0 or larger, and finite";
pub(super) const AT_LEAST_ONE: &str = "must be at least 1";

pub(super) fn positive(x: &f64) -> bool {
    x.is_finite() && *x > 0.0
}

pub(super) fn not_negative(x: &f64) -> bool {
    x.is_finite() && *x >= 0.0
}

pub(super) fn in_unit(x: &f64) -> bool {
    (0.0..1.0).contains(x)
}
