//! `[method]`: which regularisers act, how strongly, when.

use serde::{Serialize, Serializer};

/// `[method]`: each regulariser is a table, `true` (its defaults) or `false`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    /// SAM. Default: off.
    #[serde(serialize_with = "table_or_false")]
    pub sam: Option<Sam>,
    /// The gradient norm regulariser. Default: **on**; `gnr = false` trains without.
    #[serde(serialize_with = "table_or_false")]
    pub gnr: Option<Gnr>,
    /// Split each batch into consecutive groups of so many images (the last one has what is left). Each group is normalised and
    /// perturbed on its own, and the directions are averaged, weighted by their images: SAM's m-sharpness, and its like for GNR.
    /// Running statistics move once a group. With `batch_fraction`, each group gives its share. A step computes as many
    /// gradients of the batch as without groups, in smaller pieces, in the memory of one group. Not together with
    /// `train.micro_batches`. Default: the batch is one group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
}

impl Method {
    /// The radii of perturbed points as assignments.
    pub(crate) fn radii(&self) -> Vec<String> {
        let sam = self.sam.map(|sam| format!("method.sam.rho = {:?}", sam.rho));
        let gnr = self.gnr.map(|gnr| format!("method.gnr.rho = {:?}", gnr.rho));
        sam.into_iter().chain(gnr).collect()
    }
}

fn table_or_false<T: Serialize, S: Serializer>(table: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match table {
        Some(table) => table.serialize(serializer),
        None => serializer.serialize_bool(false),
    }
}

/// `[method.sam]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sam {
    /// Radius ρ > 0. Default 0.05.
    pub rho: f64,
    /// ρ over time. Default constant.
    pub rho_schedule: RhoSchedule,
    /// Number of epochs that are trained without SAM before it acts: 30 means that it acts in the epochs 31, 32, … (counted
    /// from 1, as in `metrics.jsonl`). Its schedule runs from the first step all the same. Less than `train.epochs`. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub from_epoch: u64,
}

/// `[method.gnr]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gnr {
    /// Radius ρ > 0. Default 0.1.
    pub rho: f64,
    /// Coefficient α ≥ 0. Default 0.1.
    pub alpha: f64,
    /// ξ > 0 beside norms that divide. Default 1e-12.
    pub xi: f64,
    /// How Hessian-vector products are made. Default exact.
    pub hvp: Hvp,
    /// Norm of the perturbation of a difference. Default 1e-3 (forward), 1e-2 (central); not for the other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// Act on every so many steps. Default 1.
    pub every: u64,
    /// Fraction of the batch, in (0, 1], on which the regulariser is evaluated: a seeded sample, drawn anew in each step. Default 1.
    pub batch_fraction: f64,
    /// ρ over time. Default constant.
    pub rho_schedule: RhoSchedule,
    /// Number of epochs that are trained without GNR before it acts, at the cost of training without: see
    /// [`Sam::from_epoch`]. With `every` a step needs both. Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub from_epoch: u64,
}

/// What is not written: a key that has its default leaves the text, and so the address, of recipes that were written before
/// there was such a key.
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// How Hessian-vector products are made, or what stands in their place. Each kind but the exact one is another method: the
/// difference kinds on nets with ReLU, the Gauss–Newton kind on all that are not linear in their parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hvp {
    /// By dual numbers.
    Exact,
    /// With the generalised Gauss–Newton matrix in place of the Hessian: another method, at somewhat less than the cost of
    /// exact products.
    GaussNewton,
    /// One-sided difference of gradients.
    ForwardDifference,
    /// Two-sided difference of gradients.
    CentralDifference,
}

/// A radius over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RhoSchedule {
    /// ρ.
    Constant,
    /// ρ/√t, Theorem 2.3.
    InverseSqrt,
    /// ρ·η_t/η₀.
    ProportionalToLr,
}
