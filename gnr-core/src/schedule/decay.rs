//! Piecewise constant decay: at regular steps, or at given ones.

use super::{Schedule, Span, Spanning, keys, validate_constant};
use crate::{
    Error, Result,
    registry::{Cost, Domain, Entry, Interval, Key, Registered, Value, Values},
};

/// The value base·factor^⌊t/every⌋, which drops every `every` steps.
///
/// Boundaries: `at(every − 1) = base`, `at(every) = base·factor`.
///
/// ImageNet ResNet-50 in the paper: 0.1, times 0.1 every 30 epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDecay {
    /// The value on the first `every` steps.
    pub base: f64,
    /// The factor of each drop, in (0, 1].
    pub factor: f64,
    /// Number of steps between drops, at least 1.
    pub every: u64,
}

impl StepDecay {
    /// A checked schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`] unless base ≥ 0, 0 < factor ≤ 1 and every ≥ 1.
    pub fn new(base: f64, factor: f64, every: u64) -> Result<Self> {
        check(base, factor)?;
        if every == 0 {
            let requirement = "must be at least 1";
            return Err(Error::InvalidHyperparameter { name: "every", value: 0.0, requirement });
        }
        Ok(Self { base, factor, every })
    }
}

impl Schedule for StepDecay {
    fn at(&self, t: u64) -> f64 {
        self.base * power(self.factor, t.checked_div(self.every).unwrap_or(0))
    }
}

/// The value base·factor^(number of milestones ≤ t).
///
/// Boundaries: the drop of a milestone m happens at t = m, as in PyTorch's `MultiStepLR`; a milestone given twice drops
/// twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Milestones {
    /// The value before the first milestone.
    pub base: f64,
    /// The factor of each drop, in (0, 1].
    pub factor: f64,
    /// The steps at which the value drops, in any order.
    pub milestones: Vec<u64>,
}

impl Milestones {
    /// A checked schedule.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`] unless base ≥ 0 and 0 < factor ≤ 1.
    pub fn new(base: f64, factor: f64, milestones: impl Into<Vec<u64>>) -> Result<Self> {
        check(base, factor)?;
        Ok(Self { base, factor, milestones: milestones.into() })
    }
}

impl Schedule for Milestones {
    fn at(&self, t: u64) -> f64 {
        let drops = self.milestones.iter().filter(|&&milestone| milestone <= t).count();
        self.base * power(self.factor, drops as u64)
    }
}

impl Registered for StepDecay {
    const ENTRY: &'static Entry = &Entry {
        name: "step",
        title: "step",
        doc: "Drops by a factor at regular epochs, or at given ones.",
        equation: "η(t) = η₀·factor^(number of drops until t)",
        keys: &[
            keys::WARM_UP,
            Key::number("factor", Interval::FRACTION, 0.1, "factor of each drop"),
            Key::absent(
                "every_epochs",
                Domain::Integer(1),
                "a drop every so many epochs; 30 unless `milestones` are given",
            ),
            Key::absent(
                "milestones",
                Domain::Integers,
                "the epochs at which to drop, instead of `every_epochs`",
            ),
        ],
        cost: Cost::state(0),
        reference: "He et al., \"Deep Residual Learning for Image Recognition\", CVPR 2016, Section 3.4",
        resolve: Some(|values| match (values.get("every_epochs"), values.get("milestones")) {
            (None, None) => values.set("every_epochs", Value::Integer(30)),
            (Some(_), Some(_)) => {
                Err(values.refusal("milestones", "given", "`every_epochs` is given too: one of the two"))
            }
            _ => Ok(()),
        }),
    };
}

/// The schedule whose milestones are epochs of the run; its steps count from the end of the warm-up.
impl Spanning for StepDecay {
    fn spanning(values: &Values, span: &Span) -> Result<Box<dyn Schedule>> {
        let factor = values.number("factor")?;
        let drops: Vec<u64> = match values.get("milestones") {
            Some(_) => values.integers("milestones")?.into_iter().map(|epoch| span.after(epoch)).collect(),
            None => {
                let every = values.integer("every_epochs")?;
                if span.warm_up == 0 {
                    let every = every.saturating_mul(span.steps_per_epoch);
                    return Ok(Box::new(Self::new(span.peak, factor, every)?));
                }
                (1..=span.epochs / every.max(1)).map(|drop| span.after(drop * every)).collect()
            }
        };
        Ok(Box::new(Milestones::new(span.peak, factor, drops)?))
    }
}

fn check(base: f64, factor: f64) -> Result<()> {
    validate_constant("base", base, |x| x >= 0.0, "must not be negative")?;
    validate_constant("factor", factor, |x| x > 0.0 && x <= 1.0, "must lie in (0, 1]")
}

fn power(factor: f64, n: u64) -> f64 {
    factor.powi(i32::try_from(n).unwrap_or(i32::MAX))
}
