//! The section `[optimizer]` of a recipe, with its groups of parameters.

use gnr_core::{
    optimizer::{self, ScheduleFreeAdamW, ScheduleFreeSgd},
    registry::{self, Registered as _, Value, Values},
};
use serde::Serialize;

use super::{
    domain::{NOT_NEGATIVE, not_negative},
    reader::Reader,
    registered::{self, Settings},
};

/// The section `[optimizer]`: the optimiser and its groups of parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Optimizer {
    /// The optimiser, a name that `gnr methods` lists. Default `sgd`.
    pub name: &'static str,
    /// The peak η₀ > 0 of the learning rate. Default: the optimiser's own (0.1 for SGD, 1e-3 for Adam and AdamW).
    pub lr: f64,
    /// Weight decay ≥ 0, coupled or decoupled as the optimiser has it. Default: the optimiser's own (5e-4 for SGD, 0
    /// for Adam, 0.01 for AdamW).
    pub weight_decay: f64,
    /// All other keys of the optimiser, which `gnr methods NAME` describes.
    #[serde(flatten)]
    pub settings: Settings,
    /// The parameters without weight decay. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_decay: Option<NoDecay>,
    /// Groups `[[optimizer.group]]` of parameters with a learning rate or weight decay of their own. The first matching
    /// group counts.
    #[serde(rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

impl Optimizer {
    /// The optimiser's name in reports (`SGD`).
    pub fn title(&self) -> &'static str {
        registry::find(optimizer::entries(), self.name).map_or(self.name, |entry| entry.title)
    }

    /// All settings of the optimiser, with this weight decay.
    pub(crate) fn values(&self, weight_decay: f64) -> gnr_core::Result<Values> {
        let mut values = self.settings.0.clone();
        values.set("lr", self.lr.into())?;
        values.set("weight_decay", weight_decay.into())?;
        Ok(values)
    }
}

/// The parameters without weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoDecay {
    /// Parameters of one axis: biases, and the scales and shifts of normalisations.
    NormAndBias,
    /// Scales, shifts and biases, and a transformer's parameters of positions: class token, position embeddings,
    /// relative position biases.
    NormBiasAndPosition,
}

/// A section `[[optimizer.group]]`: some of the parameters, with settings of their own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The parameters: a tensor (`fc.weight`), a module (`fc`), or a pattern in which `*` stands for any characters
    /// (`layer4.*.bn*`).
    #[serde(rename = "match")]
    pub pattern: String,
    /// Factor ≥ 0 of the learning rate. Default 1.
    pub lr_scale: f64,
    /// Weight decay ≥ 0. Default: the optimiser's. The parameters that `optimizer.no_decay` names have none in any
    /// group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl Optimizer {
    /// Whether the optimiser averages the weights itself, which makes it independent of a schedule.
    pub(crate) fn is_schedule_free(&self) -> bool {
        let free = [ScheduleFreeSgd::<Vec<f64>>::ENTRY.name, ScheduleFreeAdamW::<Vec<f64>>::ENTRY.name];
        free.contains(&self.name)
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>) -> Optimizer {
    let mut section = reader.section("optimizer");
    let entry = registered::name(&mut section, optimizer::entries(), "sgd");
    let mut values = registered::values(&mut section, optimizer::entries(), entry);
    registered::check(&mut section, optimizer::build::<Vec<f64>>(&values));
    // Groups have their own weight decay, and the schedule makes the learning rate of each step.
    let mut own = |key: &str| match values.remove(key) {
        Some(Value::Number(x)) => x,
        _ => entry.number(key).unwrap_or(0.0),
    };
    let (lr, weight_decay) = (own("lr"), own("weight_decay"));
    let no_decay = section.choice(
        "no_decay",
        &[("norm-and-bias", NoDecay::NormAndBias), ("norm-bias-and-position", NoDecay::NormBiasAndPosition)],
    );
    let groups = groups(reader);
    Optimizer { name: entry.name, lr, weight_decay, settings: Settings(values), no_decay, groups }
}

fn groups(reader: &mut Reader<'_>) -> Vec<Group> {
    (0..reader.list("optimizer.group"))
        .map(|index| {
            let mut group = reader.section(&format!("optimizer.group.{index}"));
            let pattern = group.optional_in("match", |text: &String| !text.is_empty(), "must not be empty");
            if pattern.is_none() && !group.has("match") {
                group.refuse(
                    "match",
                    "nothing",
                    "a group needs a tensor, a module or a pattern such as \"fc.*\"",
                );
            }
            let lr_scale = group.optional_in("lr_scale", not_negative, NOT_NEGATIVE);
            let weight_decay = group.optional_in("weight_decay", not_negative, NOT_NEGATIVE);
            if lr_scale.is_none()
                && weight_decay.is_none()
                && !group.has("lr_scale")
                && !group.has("weight_decay")
            {
                group.refuse("lr_scale", "nothing", "a group needs `lr_scale` or `weight_decay`");
            }
            Group { pattern: pattern.unwrap_or_default(), lr_scale: lr_scale.unwrap_or(1.0), weight_decay }
        })
        .collect()
}
