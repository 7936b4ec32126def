//! `[method]`: which regularisers act, how strongly, when.

use gnr_core::{
    registry::{Entry, Unset, Value, Values},
    regularizer,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::Settings;

/// `[method]`: each regulariser is a table, `true` (its defaults) or `false`.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// What acts, in the order of the registry. Default: **GNR**; `gnr = false` trains without.
    pub regularizers: Vec<Settings>,
    /// Split each batch into consecutive groups of so many images (the last one has what is left). Each group is
    /// normalised and perturbed on its own, and the directions are averaged, weighted by their images: SAM's
    /// m-sharpness, and its like for GNR. Running statistics move once a group. With `batch_fraction`, each group gives
    /// its share. A step computes as many gradients of the batch as without groups, in smaller pieces, in the memory of
    /// one group. Not together with `train.micro_batches`. Default: the batch is one group.
    pub group: Option<usize>,
}

/// Settings that are written at their defaults too, as they were before other settings were: the text of a recipe, and
/// so the address of its runs, does not change when a setting is added.
const ALWAYS_WRITTEN: [(&str, &str); 2] = [("gnr", "every"), ("gnr", "batch_fraction")];

/// Settings of when and on what a regulariser acts: left out at their defaults.
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
    /// The settings of a regulariser that acts.
    pub fn get(&self, name: &str) -> Option<&Values> {
        self.regularizers.iter().map(|settings| &settings.0).find(|values| values.of() == name)
    }

    /// What the paper is about, when it acts.
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

    /// The settings `key` of all regularisers that have it, by name.
    pub(crate) fn each<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'static str, &'a Value)> {
        self.regularizers.iter().filter_map(move |Settings(values)| Some((values.of(), values.get(key)?)))
    }

    /// The fractions of the batch on which regularisers are evaluated, where that is not all of it.
    pub(crate) fn fractions(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.each("batch_fraction").filter_map(|(name, value)| match value {
            Value::Number(fraction) if *fraction < 1.0 => Some((name, *fraction)),
            _ => None,
        })
    }

    /// The radii of perturbed points as assignments.
    pub(crate) fn radii(&self) -> Vec<String> {
        self.each("rho").map(|(name, rho)| format!("method.{name}.rho = {rho}")).collect()
    }
}

/// `[method.gnr]`, as far as what it means is asked for outside of gnr-core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gnr {
    /// Radius ρ.
    pub rho: f64,
    /// Coefficient α.
    pub alpha: f64,
    /// How Hessian-vector products are made.
    pub hvp: Hvp,
    /// Norm of the perturbation of a difference.
    pub step: Option<f64>,
}

/// How Hessian-vector products are made, or what stands in their place. Each kind but the exact one is another method:
/// the difference kinds on nets with ReLU, the Gauss–Newton kind on all that are not linear in their parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hvp {
    /// By dual numbers.
    Exact,
    /// With the generalised Gauss–Newton matrix in place of the Hessian: another method, at somewhat less than the cost
    /// of exact products.
    GaussNewton,
    /// One-sided difference of gradients.
    ForwardDifference,
    /// Two-sided difference of gradients.
    CentralDifference,
}
