//! Conversion of any weight file to safetensors: the bytes of every tensor, under plain names.

use std::{collections::BTreeMap, path::Path};

use gnr_nn::Layout;

use super::{
    WeightsError,
    file::{WeightFile, natural},
    fit, names,
    write::{Described, cannot, header, write_whole},
};

/// The result of [`convert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Number of tensors written.
    pub tensors: usize,
    /// Number of bytes written.
    pub bytes: u64,
    /// The prefix that was taken off the names of the tensors.
    pub prefix: String,
    /// The wrappers that were taken off inside the names, with the number of tensors.
    pub unwrapped: BTreeMap<String, usize>,
    /// Tensors of the file that were left out: outside the part that was asked for, or not the model's.
    pub left_out: Vec<String>,
}

/// Writes the tensors of a weight file to a safetensors file, in their number formats, whole or not at all.
///
/// Common wrappers are taken off the names (`state_dict.`, `module.`, …), or `key` selects the part to write. With a
/// `layout` only its tensors are written, under its names.
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
    let mut unwrapped = BTreeMap::new();
    let (prefix, chosen): (String, Vec<(String, usize)>) = match (layout, key) {
        (Some(layout), _) => {
            let matching = names::find(stored, layout, key);
            names::check(file, &matching)?;
            let found = |name: &String| matching.found.get(name).map(|&index| (name.clone(), index));
            let chosen = layout.entries().iter().filter_map(|entry| found(&entry.name)).collect();
            unwrapped = matching.unwrapped;
            (matching.prefix, chosen)
        }
        (None, key) => {
            let prefix = key.map_or_else(|| names::wrapper(stored), |key| format!("{key}."));
            let inside = |(index, tensor): (usize, &super::Stored)| {
                Some((tensor.name.strip_prefix(&prefix)?.to_owned(), index))
            };
            let plain: Vec<_> = stored.iter().enumerate().filter_map(inside).collect();
            let plain = names::unwrap_all(plain, &mut unwrapped);
            (prefix, plain)
        }
    };
    if stored.is_empty() {
        let unread = fit::unread(file.foreign());
        return Err(WeightsError::NoTensors { file: file.name.clone(), unread });
    }
    if chosen.is_empty() {
        return Err(WeightsError::NoSuchKey {
            file: file.name.clone(),
            key: key.map_or(prefix, str::to_owned),
            known: names::top_level(stored),
        });
    }
    let mut chosen = chosen;
    if layout.is_none() {
        chosen.sort_by(|(a, _), (b, _)| natural(a, b));
    }
    let described: Vec<_> = (chosen.iter())
        .filter_map(|(name, index)| Some((name, stored.get(*index)?)))
        .map(|(name, tensor)| Described {
            name: name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            length: (tensor.len() * tensor.dtype.bitsize() / 8) as u64,
        })
        .collect();
    let head = header(&described, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]));
    let bytes = head.len() as u64 + described.iter().map(|tensor| tensor.length).sum::<u64>();
    // One tensor at a time: views of one storage may be much more than the file.
    write_whole(to, |out| {
        out.write_all(&head).map_err(|source| cannot(to, source))?;
        chosen.iter().filter_map(|(_, index)| stored.get(*index)).try_for_each(|tensor| {
            out.write_all(&file.bytes(&tensor.name)?).map_err(|source| cannot(to, source))
        })
    })?;
    let taken: std::collections::HashSet<usize> = chosen.iter().map(|(_, index)| *index).collect();
    let left_out = (stored.iter().enumerate())
        .filter(|(index, tensor)| !taken.contains(index) && !names::is_bookkeeping(&tensor.name))
        .map(|(_, tensor)| tensor.name.clone())
        .collect();
    Ok(Converted { tensors: described.len(), bytes, prefix, unwrapped, left_out })
}
