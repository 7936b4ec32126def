//! Any weight file as safetensors: the same bytes of every tensor, under plain names.

use std::{collections::BTreeMap, path::Path};

use gnr_nn::Layout;

use super::{
    WeightsError,
    file::{WeightFile, natural},
    names,
    write::{Raw, raw_bytes, write_whole},
};

/// What [`convert`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Number of tensors written.
    pub tensors: usize,
    /// Bytes written.
    pub bytes: u64,
    /// What was taken off their names.
    pub prefix: String,
    /// Tensors of the file that were left out: outside the part that was asked for, or not the model's.
    pub left_out: Vec<String>,
}

/// Writes the tensors of a weight file to a safetensors file, in their number formats, whole or not at all.
///
/// Common wrappers are taken off the names (`state_dict.`, `module.`, …), or `key` says which part to take. With a `layout`
/// only its tensors are written, under its names.
///
/// # Errors
/// A damaged file, a part that has no tensors, a file that cannot be written.
pub fn convert(
    file: &WeightFile,
    key: Option<&str>,
    layout: Option<&Layout>,
    to: &Path,
) -> Result<Converted, WeightsError> {
    let stored = file.stored();
    let (prefix, chosen): (String, Vec<(String, usize)>) = match (layout, key) {
        (Some(layout), _) => {
            let matching = names::find(stored, layout, key);
            let found = |name: &String| matching.found.get(name).map(|&index| (name.clone(), index));
            (
                matching.prefix.clone(),
                layout.entries().iter().filter_map(|entry| found(&entry.name)).collect(),
            )
        }
        (None, key) => {
            let prefix = key.map_or_else(|| names::wrapper(stored), |key| format!("{key}."));
            let inside = |(index, tensor): (usize, &super::Stored)| {
                Some((tensor.name.strip_prefix(&prefix)?.to_owned(), index))
            };
            (prefix.clone(), stored.iter().enumerate().filter_map(inside).collect())
        }
    };
    if chosen.is_empty() {
        return Err(WeightsError::NoSuchKey {
            file: file.name.clone(),
            key: key.map_or(prefix, str::to_owned),
            known: names::top_level(stored),
        });
    }
    let mut tensors = Vec::with_capacity(chosen.len());
    for (name, index) in &chosen {
        let tensor = &stored[*index];
        let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
        tensors.push(Raw { name: name.clone(), dtype, shape, bytes: file.bytes(&tensor.name)? });
    }
    if layout.is_none() {
        tensors.sort_by(|a, b| natural(&a.name, &b.name));
    }
    let bytes = raw_bytes(&tensors, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]));
    write_whole(to, &bytes)?;
    let taken: std::collections::HashSet<usize> = chosen.iter().map(|(_, index)| *index).collect();
    let left_out = (stored.iter().enumerate())
        .filter(|(index, tensor)| !taken.contains(index) && !names::is_bookkeeping(&tensor.name))
        .map(|(_, tensor)| tensor.name.clone())
        .collect();
    Ok(Converted { tensors: tensors.len(), bytes: bytes.len() as u64, prefix, left_out })
}
