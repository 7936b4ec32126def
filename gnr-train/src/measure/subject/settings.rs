//! The settings that decide, beside weights and images, which loss is measured.

use gnr_models::{Activation, Norm};
use serde_json::{Map, Value, json};

use crate::{error::Result, recipe::Recipe};

/// Keys of `[model]` that say how parameters are initialised and learned. They do not change the function.
const OF_TRAINING: [&str; 5] = ["weights", "weights_key", "load", "resample_pos_embed", "freeze"];

/// The architecture and the normalisation of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// The section `[model]` without [`OF_TRAINING`], and without values that are the default.
    pub(super) model: Map<String, Value>,
    /// The preset of mean and standard deviation; `None` for images that are not normalised.
    pub(super) normalization: Option<String>,
}

impl Settings {
    pub(super) fn of(recipe: &Recipe, normalised: bool) -> Self {
        let default = |key: &str, value: &Value| match key {
            "activation" => *value == Activation::default().name(),
            "norm" => *value == Norm::default().name(),
            "dropout" | "drop_path" => *value == 0.0,
            _ => OF_TRAINING.contains(&key),
        };
        let mut model = match json!(recipe.model) {
            Value::Object(model) => model,
            _ => Map::new(),
        };
        model.retain(|key, value| !default(key, value));
        Self { model, normalization: normalised.then(|| recipe.data.normalization.clone()) }
    }

    /// The settings of the recipe in a file of weights, with these assignments. Where the run was computed does not
    /// matter, and this program may lack that engine.
    ///
    /// # Errors
    /// A recipe that cannot be read.
    pub(super) fn in_file(origin: &str, recipe: &str, sets: &[String], normalised: bool) -> Result<Self> {
        let anywhere = ["backend", "device", "precision", "channels_last"].map(|key| format!("!train.{key}"));
        let recipe = Recipe::parse(origin, "run", recipe, &[sets, &anywhere].concat())?;
        Ok(Self::of(&recipe, normalised))
    }

    /// The settings of weights without a recipe, unless a request says otherwise: those of the architecture and of the
    /// data set.
    pub(super) fn usual(recipe: &Recipe, normalised: bool) -> Self {
        let preset = gnr_data::find(&recipe.data.name).map_or("unit", |known| known.preset);
        Self {
            model: Map::from_iter([("name".to_owned(), json!(recipe.model.name))]),
            normalization: normalised.then(|| preset.to_owned()),
        }
    }

    /// The first key of a recipe in which two settings differ, with both values as JSON.
    pub(super) fn difference(&self, other: &Self) -> Option<(String, [String; 2])> {
        let keys = self.model.keys().chain(other.model.keys());
        let of_model =
            keys.map(|key| (format!("model.{key}"), [self, other].map(|of| json!(of.model.get(key)))));
        let normalization = [self, other].map(|of| json!(of.normalization));
        let mut all = of_model.chain([("data.normalization".to_owned(), normalization)]);
        let (key, values) = all.find(|(_, [mine, theirs])| mine != theirs)?;
        Some((
            key,
            values.map(|value| if value.is_null() { "the default".into() } else { value.to_string() }),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights are measured wherever they were trained.
    #[test]
    fn the_engine_of_a_run_does_not_matter() {
        let settings = |text: &str| Settings::in_file("run", text, &[], true);
        let elsewhere =
            "[train]\nbackend = \"nowhere\"\ndevice = \"cuda:7\"\nprecision = \"bf16\"\nchannels_last = true";
        assert_eq!(settings(elsewhere).unwrap(), settings("").unwrap());
        assert_ne!(settings("data.normalization = \"unit\"").unwrap(), settings("").unwrap());
        assert!(settings("[train]\nepoch = 3").is_err());
    }
}
