//! Matching of a file's tensors with the model's: containers around the names, and other publishers' names for the same
//! architecture.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gnr_nn::Layout;

use super::{
    WeightsError,
    file::{Stored, WeightFile},
};
use crate::registry::{Canonical, namings};

/// Tensors that PyTorch's modules keep beside the weights: BatchNorm's counters, Swin's index tables.
const BOOKKEEPING: [&str; 3] = ["num_batches_tracked", "relative_position_index", "attn_mask"];

/// Whether a tensor is such bookkeeping of a module. Reports do not mention it.
pub(super) fn is_bookkeeping(name: &str) -> bool {
    BOOKKEEPING.contains(&name.rsplit('.').next().unwrap_or_default())
}

/// The model's tensors in a file.
#[derive(Debug)]
pub(super) struct Matching {
    /// The prefix of every name, e.g. `state_dict.module.`.
    pub(super) prefix: String,
    /// The publisher whose names were translated.
    pub(super) renamed: Option<&'static str>,
    /// Index of the stored tensor for each name of the layout that has one.
    pub(super) found: HashMap<String, usize>,
    /// The wrappers that were taken off inside names, with the number of names.
    pub(super) unwrapped: BTreeMap<String, usize>,
}

/// Parts that wrappers put into names: `torch.compile`, checkpointing of activations, FSDP of today and of 2022,
/// Lightning and DeepSpeed, `DataParallel`. At the start of a name they belong to the prefix and stay.
const INSIDE: [&str; 6] = [
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_forward_module",
    "module",
];

/// A name without the wrappers in it. `None` if it has none or begins with one.
pub(super) fn unwrapped(name: &str) -> Option<String> {
    let wraps = |part: &&str| INSIDE.contains(part);
    let mut parts = name.split('.');
    if parts.next().is_some_and(|first| wraps(&first)) || !parts.any(|part| wraps(&part)) {
        return None;
    }
    Some(name.split('.').filter(|part| !wraps(part)).collect::<Vec<_>>().join("."))
}

/// Counts a name for each wrapper in it.
fn count(name: &str, wrappers: &mut BTreeMap<String, usize>) {
    let inside = name.split('.').filter(|part| INSIDE.contains(part));
    for part in inside.collect::<BTreeSet<_>>() {
        *wrappers.entry(part.to_owned()).or_insert(0) += 1;
    }
}

/// Takes the wrappers off names, where the results differ from all other names, and counts what was taken off.
pub(super) fn unwrap_all(
    names: Vec<(String, usize)>,
    wrappers: &mut BTreeMap<String, usize>,
) -> Vec<(String, usize)> {
    let plain: Vec<_> = names.iter().map(|(name, _)| unwrapped(name)).collect();
    let mut seen = HashMap::new();
    for (plain, (name, _)) in plain.iter().zip(&names) {
        *seen.entry(plain.as_ref().unwrap_or(name).clone()).or_insert(0) += 1;
    }
    let alone = |plain: &String| seen.get(plain) == Some(&1);
    (plain.into_iter().zip(names))
        .map(|(plain, (name, index))| match plain.filter(alone) {
            Some(plain) => {
                count(&name, wrappers);
                (plain, index)
            }
            None => (name, index),
        })
        .collect()
}

/// The longest name in bytes that is matched, and the largest number of parts before a model's names.
const LONGEST: usize = 1000;
const BEFORE: usize = 16;

/// Finds the prefix (under `key`, if given) and the naming under which the file has most of the model's tensors.
///
/// Among subtrees with equally many, one whose name does not contain `ema` (a moving average) is preferred, then the
/// shortest name.
pub(super) fn find(stored: &[Stored], layout: &Layout, key: Option<&str>) -> Matching {
    let mut best =
        Matching { prefix: String::new(), renamed: None, found: HashMap::new(), unwrapped: BTreeMap::new() };
    let names: Vec<&str> = stored.iter().map(|tensor| tensor.name.as_str()).collect();
    let as_it_is: Canonical = Box::new(|name| Some(name.to_owned()));
    let translations = namings().into_iter().map(|naming| (Some(naming.name), (naming.for_file)(&names)));
    for (publisher, canonical) in std::iter::once((None, as_it_is)).chain(translations) {
        let wanted: HashMap<String, &str> = (layout.entries().iter())
            .filter_map(|entry| Some((canonical(&entry.name)?, entry.name.as_str())))
            .collect();
        let mut subtrees: BTreeMap<&str, HashMap<String, usize>> = BTreeMap::new();
        let mut wrapped: Vec<(&str, String, usize)> = Vec::new();
        for (index, tensor) in stored.iter().enumerate().filter(|(_, tensor)| tensor.name.len() <= LONGEST) {
            let starts = std::iter::once(0).chain(tensor.name.match_indices('.').map(|(dot, _)| dot + 1));
            for start in starts.take(BEFORE) {
                let (prefix, name) = tensor.name.split_at(start);
                if !under(prefix, key) {
                    continue;
                }
                let ours = |name: &str| wanted.get(&canonical(name)?).map(|&ours| ours.to_owned());
                if let Some(ours) = ours(name) {
                    subtrees.entry(prefix).or_default().insert(ours, index);
                } else if let Some(ours) = unwrapped(name).and_then(|name| ours(&name)) {
                    // A name that needs no unwrapping takes precedence.
                    wrapped.push((prefix, ours, index));
                }
            }
        }
        for (prefix, ours, index) in wrapped {
            subtrees.entry(prefix).or_default().entry(ours).or_insert(index);
        }
        let rank =
            |prefix: &str, found: usize| (found, !prefix.contains("ema"), std::cmp::Reverse(prefix.len()));
        let top = (subtrees.into_iter()).max_by(|(a, x), (b, y)| rank(a, x.len()).cmp(&rank(b, y.len())));
        // Names without translation win over a translation that finds no more.
        if let Some((prefix, found)) = top
            && found.len() > best.found.len()
        {
            let mut unwrapped = BTreeMap::new();
            for &index in found.values() {
                let name = stored.get(index).and_then(|tensor| tensor.name.get(prefix.len()..));
                count(name.unwrap_or_default(), &mut unwrapped);
            }
            best = Matching { prefix: prefix.to_owned(), renamed: publisher, found, unwrapped };
        }
    }
    best
}

/// Refuses a file whose tensors correspond to the model's although its net computes otherwise.
pub(super) fn check(file: &WeightFile, matching: &Matching) -> Result<(), WeightsError> {
    let ours: HashMap<usize, &str> =
        matching.found.iter().map(|(ours, index)| (*index, ours.as_str())).collect();
    let names: Vec<&str> = file.stored().iter().map(|tensor| tensor.name.as_str()).collect();
    for naming in namings() {
        let canonical = (naming.for_file)(&names);
        if !ours.values().any(|ours| canonical(ours).is_some()) {
            continue;
        }
        for (index, name) in names.iter().enumerate() {
            let Some(theirs) = name.strip_prefix(&matching.prefix) else { continue };
            let theirs = unwrapped(theirs).unwrap_or_else(|| theirs.to_owned());
            if let Some((what, advice)) = (naming.unfit)(ours.get(&index).copied(), &theirs) {
                let (file, what, advice) = (file.name.clone(), what.to_owned(), advice.to_owned());
                return Err(WeightsError::Unsupported { file, what, advice });
            }
        }
    }
    Ok(())
}

/// Whether a subtree lies under a key: the key itself or something in it.
fn under(prefix: &str, key: Option<&str>) -> bool {
    key.is_none_or(|key| prefix.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// Common containers in checkpoints, for use where no model says which names to expect.
const WRAPPERS: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "model_ema",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// The containers around at least a quarter of a file's tensors, e.g. `state_dict.module.`; empty if there are none.
pub(super) fn wrapper(stored: &[Stored]) -> String {
    let mut prefix = String::new();
    loop {
        let inside = |prefix: &str| stored.iter().filter(|tensor| tensor.name.starts_with(prefix)).count();
        let all = inside(&prefix);
        let next = WRAPPERS.iter().map(|wrapper| format!("{prefix}{wrapper}.")).find(|candidate| {
            // A quarter is enough: an optimiser's two moments outnumber the weights that they belong to.
            inside(candidate) * 4 >= all.max(1)
        });
        match next.filter(|next| next.split('.').count() <= BEFORE) {
            Some(next) => prefix = next,
            None => return prefix,
        }
    }
}

/// The first parts of the names in a file.
pub(super) fn top_level(stored: &[Stored]) -> String {
    let mut names: Vec<_> = stored.iter().filter_map(|tensor| tensor.name.split('.').next()).collect();
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > 8 { ", …" } else { "" };
    names.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(names: &[&str]) -> Vec<Stored> {
        let tensor =
            |name: &&str| Stored { name: (*name).to_owned(), dtype: safetensors::Dtype::F32, shape: vec![1] };
        names.iter().map(tensor).collect()
    }

    fn layout(names: &[&str]) -> Layout {
        let mut layout = Layout::new();
        let mut root = layout.root();
        for name in names {
            root.parameter(name, &[1], gnr_nn::Init::Constant(0.0));
        }
        layout
    }

    #[test]
    fn the_subtree_with_most_of_the_models_tensors_is_found() {
        let layout = layout(&["conv1.weight", "fc.weight", "fc.bias"]);
        let cases: [(&[&str], &str); 6] = [
            (&["conv1.weight", "fc.weight", "fc.bias"], ""),
            (&["module.conv1.weight", "module.fc.weight", "module.fc.bias"], "module."),
            (
                &["state_dict.module.conv1.weight", "state_dict.module.fc.weight", "epoch.weight"],
                "state_dict.module.",
            ),
            // The moving average only when nothing else is as complete, or when asked for.
            (&["ema.conv1.weight", "ema.fc.weight", "model.conv1.weight", "model.fc.weight"], "model."),
            (&["model.fc.weight", "model_ema.conv1.weight", "model_ema.fc.weight"], "model_ema."),
            // A backbone inside something larger.
            (&["backbone.conv1.weight", "decoder.fc.weight", "backbone.fc.bias"], "backbone."),
        ];
        for (names, expected) in cases {
            let found = find(&stored(names), &layout, None);
            assert_eq!(found.prefix, expected, "{names:?}");
        }
        let both = stored(&["ema.conv1.weight", "ema.fc.weight", "model.conv1.weight", "model.fc.weight"]);
        assert_eq!(find(&both, &layout, Some("ema")).prefix, "ema.");
        assert!(find(&both, &layout, Some("em")).found.is_empty());
    }

    #[test]
    fn wrappers_without_a_model() {
        assert_eq!(wrapper(&stored(&["conv1.weight", "fc.weight"])), "");
        let nested = stored(&["state_dict.module.a", "state_dict.module.b", "optimizer.state.0.m"]);
        assert_eq!(wrapper(&nested), "state_dict.module.");
        assert_eq!(wrapper(&[]), "");
    }
}
