//! Weight files, read by tensor name into a layout (safetensors and PyTorch checkpoints), and written as safetensors.
//!
//! [`WeightFile`] is a file of either kind, [`fit`] reads it into a model and [`Report`]s what it did. [`convert`]
//! turns any of them into safetensors.

mod convert;
mod data;
mod error;
mod file;
mod fit;
mod grid;
mod header;
mod kind;
mod names;
mod number;
mod report;
mod resample;
mod torch;
mod write;
mod zip;

use std::{collections::BTreeMap, path::Path};

use gnr_nn::{Entry, Layout, Role};

pub use convert::{Converted, convert};
pub use error::WeightsError;
pub use file::{Format, Stored, WeightFile};
pub use fit::{Options, Policy, Purpose, fit, stored_shape};
pub use report::{Mismatch, Report, objects};
pub use write::{Precision, save, to_bytes};

/// A weight file as values of a layout's entries.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// One row-major tensor for each entry of the layout, buffers included; see [`split`].
    pub values: Vec<Vec<f64>>,
    /// The report of what was loaded and what was left out.
    pub report: Report,
    /// The file's own notes.
    pub metadata: BTreeMap<String, String>,
}

/// The treatment of weights that are NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// NaN or infinity is an error, which names the tensor and the element.
    #[default]
    Reject,
    /// NaN and infinities are kept.
    Keep,
}

/// Loads every tensor of `layout` from a file of either kind. Other tensors in the file are reported, not refused.
///
/// # Errors
/// A file that cannot be read or is damaged, a tensor that is missing, of another shape or of another type, a weight
/// that is not finite; each names the file, and the tensor where there is one.
pub fn load(path: &Path, layout: &Layout, non_finite: NonFinite) -> Result<Loaded, WeightsError> {
    whole(&WeightFile::open(path)?, layout, non_finite)
}

/// [`load`] of a file in memory; `name` stands for the file in errors.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(
    name: &str,
    bytes: &[u8],
    layout: &Layout,
    non_finite: NonFinite,
) -> Result<Loaded, WeightsError> {
    whole(&WeightFile::from_bytes(name, bytes.to_vec())?, layout, non_finite)
}

fn whole(file: &WeightFile, layout: &Layout, non_finite: NonFinite) -> Result<Loaded, WeightsError> {
    let options = Options { policy: Policy::IgnoreUnexpected, non_finite, ..Options::default() };
    // Every tensor comes from the file or is an error: nothing keeps its initial value.
    fit(file, layout, vec![Vec::new(); layout.entries().len()], &options)
}

/// Separates parameters and running statistics, each in the order of their ids, as
/// [`ParamVector::from_host`](gnr_nn::ParamVector::from_host) and [`Buffers`](gnr_nn::Buffers) take them.
pub fn split(layout: &Layout, values: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let (mut parameters, mut buffers) = (Vec::new(), Vec::new());
    for (entry, values) in layout.entries().iter().zip(values) {
        match entry.role {
            Role::Parameter(_) => parameters.push(values),
            Role::Buffer(_) => buffers.push(values),
        }
    }
    (parameters, buffers)
}

/// The inverse of [`split`].
///
/// # Errors
/// When there are fewer or more tensors than the layout has.
pub fn join(
    layout: &Layout,
    parameters: Vec<Vec<f64>>,
    buffers: Vec<Vec<f64>>,
) -> Result<Vec<Vec<f64>>, WeightsError> {
    let (expected, found) = (layout.entries().len(), parameters.len() + buffers.len());
    let (mut parameters, mut buffers) = (parameters.into_iter(), buffers.into_iter());
    let next = |entry: &Entry| match entry.role {
        Role::Parameter(_) => parameters.next(),
        Role::Buffer(_) => buffers.next(),
    };
    let values: Option<Vec<_>> = layout.entries().iter().map(next).collect();
    values.filter(|_| expected == found).ok_or(WeightsError::Count { expected, found })
}
