//! The section `[method]`: which regularisers act, how strongly, and when.

use gnr_core::{
    registry::{Entry, Unset, Value, Values},
    regularizer,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    domain::AT_LEAST_ONE,
    reader::Reader,
    registered::{self, Settings},
};

/// The section `[method]`: each regulariser is a table, `true` (its defaults) or `false`.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// The regularisers that act, in the order of the registry. Default: **GNR**; `gnr = false` trains without it.
    pub regularizers: Vec<Settings>,
    /// Number of images of the consecutive groups into which each batch is split; the last group has what is left.
    /// Default: the batch is one group.
    ///
    /// Each group is normalised and perturbed on its own, and the directions are averaged, weighted by the numbers of
    /// images. For SAM this is m-sharpness; GNR is treated alike. Running statistics move once a group. With
    /// `batch_fraction`, each group gives its share. A step computes as many gradients of the batch as without groups,
    /// in smaller pieces, in the memory of one group. The key cannot be combined with `train.micro_batches`.
    pub group: Option<usize>,
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>) -> Method {
    let group = reader.section("method").optional_in("group", |n: &usize| *n > 0, AT_LEAST_ONE);
    let mut regularizers = Vec::new();
    for entry in regularizer::entries() {
        let path = format!("method.{}", entry.name);
        let on = reader.enabled(&path, entry.name == "gnr");
        let values = registered::values(&mut reader.keys_of(&path), &[entry], entry);
        if on {
            regularizers.push(Settings(values));
        }
    }
    Method { regularizers, group }
}

/// Quiet settings that are written even at their defaults, because they already were before other settings existed.
/// Recipes keep their text, and so runs their addresses, when a setting is added.
const ALWAYS_WRITTEN: [(&str, &str); 2] = [("gnr", "every"), ("gnr", "batch_fraction")];

/// Settings that say when and on what a regulariser acts. They are left out at their defaults, except for
/// `ALWAYS_WRITTEN`.
const QUIET: [&str; 3] = ["every", "batch_fraction", "from_epoch"];

/// Regularisers that are written as `false` when they do not act.
const ALWAYS_TOLD: [&str; 2] = ["sam", "gnr"];

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for entry in regularizer::entries() {
            match self.get(entry.name) {
                Some(values) => map.serialize_entry(entry.name, &Settings(written(entry, values)))?,
                None if ALWAYS_TOLD.contains(&entry.name) => map.serialize_entry(entry.name, &false)?,
                None => {}
            }
        }
        if let Some(group) = self.group {
            map.serialize_entry("group", &group)?;
        }
        map.end()
    }
}

/// The settings without those that are left out at their defaults.
fn written(entry: &Entry, values: &Values) -> Values {
    let mut values = values.clone();
    for key in entry.keys.iter().filter(|key| QUIET.contains(&key.name)) {
        let default = matches!(&key.unset, Unset::Value(default) if values.get(key.name) == Some(default));
        if default && !ALWAYS_WRITTEN.contains(&(entry.name, key.name)) {
            values.remove(key.name);
        }
    }
    values
}

impl Method {
    /// The settings of a regulariser, if it acts.
    pub fn get(&self, name: &str) -> Option<&Values> {
        self.regularizers.iter().map(|settings| &settings.0).find(|values| values.of() == name)
    }

    /// The settings of GNR, if it acts.
    pub fn gnr(&self) -> Option<Gnr> {
        let values = self.get("gnr")?;
        let hvp = match values.choice("hvp").ok()? {
            "gauss-newton" => Hvp::GaussNewton,
            "forward-difference" => Hvp::ForwardDifference,
            "central-difference" => Hvp::CentralDifference,
            _ => Hvp::Exact,
        };
        Some(Gnr {
            rho: values.number("rho").ok()?,
            alpha: values.number("alpha").ok()?,
            hvp,
            step: values.number("step").ok(),
        })
    }

    /// The value of setting `key` in each regulariser that has it, with the regulariser's name.
    pub(crate) fn each<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'static str, &'a Value)> {
        self.regularizers.iter().filter_map(move |Settings(values)| Some((values.of(), values.get(key)?)))
    }

    /// The fractions of the batch on which regularisers are evaluated, where they are less than 1.
    pub(crate) fn fractions(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.each("batch_fraction").filter_map(|(name, value)| match value {
            Value::Number(fraction) if *fraction < 1.0 => Some((name, *fraction)),
            _ => None,
        })
    }

    /// The radii of perturbed points, written as assignments.
    pub(crate) fn radii(&self) -> Vec<String> {
        self.each("rho").map(|(name, rho)| format!("method.{name}.rho = {rho}")).collect()
    }
}

/// The settings of `[method.gnr]` that are used outside of gnr-core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gnr {
    /// The radius ρ.
    pub rho: f64,
    /// The coefficient α.
    pub alpha: f64,
    /// The kind of the Hessian-vector products.
    pub hvp: Hvp,
    /// The norm of a difference's perturbation; `None` for the default of its kind.
    pub step: Option<f64>,
}

/// The kind of Hessian-vector products, or of their substitutes. Each kind but the exact one is another method, because
/// it computes another quantity: differences on nets with ReLU, Gauss–Newton products on nets that are not linear in
/// their parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hvp {
    /// Exact products by dual numbers.
    Exact,
    /// Products with the generalised Gauss–Newton matrix in place of the Hessian. They are another method, at somewhat
    /// less than the cost of exact products.
    GaussNewton,
    /// One-sided differences of gradients.
    ForwardDifference,
    /// Two-sided differences of gradients.
    CentralDifference,
}
