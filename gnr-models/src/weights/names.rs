//! Which tensor of a file is which of the model: containers around the names, and other publishers' names for the same
//! architecture.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gnr_nn::Layout;

use super::file::Stored;

/// Bookkeeping of PyTorch modules, which no weight is: BatchNorm's counters, Swin's index tables.
const BOOKKEEPING: [&str; 3] = ["num_batches_tracked", "relative_position_index", "attn_mask"];

/// Whether a tensor is bookkeeping that no report mentions.
pub(super) fn is_bookkeeping(name: &str) -> bool {
    BOOKKEEPING.contains(&name.rsplit('.').next().unwrap_or_default())
}

/// Where the model's tensors are in a file.
#[derive(Debug)]
pub(super) struct Matching {
    /// What stands before every name: `state_dict.`, `module.`, both, ….
    pub(super) prefix: String,
    /// The publisher whose names were translated.
    pub(super) renamed: Option<&'static str>,
    /// Index of the stored tensor for each name of the layout that has one.
    pub(super) found: HashMap<String, usize>,
    /// What was taken off inside names, and of how many.
    pub(super) unwrapped: BTreeMap<String, usize>,
}

/// Parts that wrappers put into names: `torch.compile`, checkpointing of activations, FSDP of today and of 2022, Lightning
/// and DeepSpeed, `DataParallel`. What stands before all names is a prefix and stays.
const INSIDE: [&str; 6] = [
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_forward_module",
    "module",
];

/// A name without the wrappers in it, unless it has none or begins with one.
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

/// Takes the wrappers off names that stay apart without them, and counts what was taken off.
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

/// The longest name that is matched, and the most parts that may stand before a model's names.
const LONGEST: usize = 1000;
const BEFORE: usize = 16;

/// Finds the prefix (under `key`, if given) and the naming under which the file has most of the model's tensors.
///
/// Of several subtrees with equally many, the one is taken whose name does not speak of a moving average; then the
/// shortest name.
pub(super) fn find(stored: &[Stored], layout: &Layout, key: Option<&str>) -> Matching {
    let mut best =
        Matching { prefix: String::new(), renamed: None, found: HashMap::new(), unwrapped: BTreeMap::new() };
    for naming in NAMINGS {
        let context = Context::of(stored);
        let wanted: HashMap<String, &str> = (layout.entries().iter())
            .filter_map(|entry| Some(((naming.canonical)(&entry.name, &context)?, entry.name.as_str())))
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
                let ours = |name: &str| {
                    let canonical = (naming.canonical)(name, &context)?;
                    wanted.get(&canonical).map(|&ours| ours.to_owned())
                };
                if let Some(ours) = ours(name) {
                    subtrees.entry(prefix).or_default().insert(ours, index);
                } else if let Some(ours) = unwrapped(name).and_then(|name| ours(&name)) {
                    // A name that is the model's as it stands goes first.
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
        // Names as they are win over a translation that finds no more.
        if let Some((prefix, found)) = top
            && found.len() > best.found.len()
        {
            let mut unwrapped = BTreeMap::new();
            for &index in found.values() {
                let name = stored.get(index).and_then(|tensor| tensor.name.get(prefix.len()..));
                count(name.unwrap_or_default(), &mut unwrapped);
            }
            best = Matching { prefix: prefix.to_owned(), renamed: naming.name, found, unwrapped };
        }
    }
    best
}

/// Whether a subtree lies under a key: the key itself or something in it.
fn under(prefix: &str, key: Option<&str>) -> bool {
    key.is_none_or(|key| prefix.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// What canonical names depend on beside the name itself.
struct Context {
    /// Swin: whether patch merging is counted with the stage before it (Microsoft, timm before 0.9) or after.
    merging_ends_stage: bool,
}

impl Context {
    fn of(stored: &[Stored]) -> Self {
        let merging_ends_stage = stored.iter().any(|tensor| tensor.name.contains("layers.0.downsample."));
        Self { merging_ends_stage }
    }
}

/// A vocabulary in which two publishers' names of one tensor are equal.
struct Naming {
    name: Option<&'static str>,
    canonical: fn(&str, &Context) -> Option<String>,
}

const NAMINGS: &[Naming] = &[
    Naming { name: None, canonical: |name, _| Some(name.to_owned()) },
    Naming { name: Some("EfficientNet of another publisher"), canonical: |name, _| efficientnet(name) },
    Naming { name: Some("Swin Transformer of another publisher"), canonical: swin },
];

/// Blocks of the seven stages of EfficientNet-B0 and -Lite0.
const STAGES: [usize; 7] = [1, 2, 2, 3, 3, 4, 1];

/// EfficientNet-B0/Lite0 as torchvision (`features.2.0.block.1.0.weight`), timm (`blocks.1.0.conv_dw.weight`) and
/// lukemelas (`_blocks.1._depthwise_conv.weight`) name it → `block 1 depthwise.weight`.
fn efficientnet(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok();
    let in_stage = |stage: usize, block: usize| -> Option<usize> {
        (block < *STAGES.get(stage)?).then(|| STAGES[..stage].iter().sum::<usize>() + block)
    };
    let (block, layer, leaf) = match parts[..] {
        // lukemelas
        ["_conv_stem", leaf] => return Some(format!("stem.{leaf}")),
        ["_bn0", leaf] => return Some(format!("stem bn.{leaf}")),
        ["_conv_head", leaf] => return Some(format!("head.{leaf}")),
        ["_bn1", leaf] => return Some(format!("head bn.{leaf}")),
        ["_fc", leaf] => return Some(format!("classifier.{leaf}")),
        ["_blocks", block, layer, leaf] => {
            let layer = match layer {
                "_expand_conv" => "expand",
                "_bn0" => "expand bn",
                "_depthwise_conv" => "depthwise",
                "_bn1" => "depthwise bn",
                "_se_reduce" => "squeeze",
                "_se_expand" => "excite",
                "_project_conv" => "project",
                "_bn2" => "project bn",
                _ => return None,
            };
            (number(block)?, layer, leaf)
        }
        // timm
        ["conv_stem", leaf] => return Some(format!("stem.{leaf}")),
        ["bn1", leaf] => return Some(format!("stem bn.{leaf}")),
        ["conv_head", leaf] => return Some(format!("head.{leaf}")),
        ["bn2", leaf] => return Some(format!("head bn.{leaf}")),
        ["classifier", leaf] => return Some(format!("classifier.{leaf}")),
        ["blocks", stage, block, ref layer @ .., leaf] => {
            let (stage, block) = (number(stage)?, number(block)?);
            // The first stage does not expand, so its layers are counted one lower.
            let layer = match (stage, layer) {
                (_, ["se", "conv_reduce"]) => "squeeze",
                (_, ["se", "conv_expand"]) => "excite",
                (_, ["conv_dw"]) => "depthwise",
                (0, ["bn1"]) => "depthwise bn",
                (0, ["conv_pw"]) => "project",
                (0, ["bn2"]) => "project bn",
                (_, ["conv_pw"]) => "expand",
                (_, ["bn1"]) => "expand bn",
                (_, ["bn2"]) => "depthwise bn",
                (_, ["conv_pwl"]) => "project",
                (_, ["bn3"]) => "project bn",
                _ => return None,
            };
            (in_stage(stage, block)?, layer, leaf)
        }
        // torchvision
        ["features", "0", "0", leaf] => return Some(format!("stem.{leaf}")),
        ["features", "0", "1", leaf] => return Some(format!("stem bn.{leaf}")),
        ["features", "8", "0", leaf] => return Some(format!("head.{leaf}")),
        ["features", "8", "1", leaf] => return Some(format!("head bn.{leaf}")),
        ["classifier", "1", leaf] => return Some(format!("classifier.{leaf}")),
        ["features", stage, block, "block", step, layer, leaf] => {
            let stage = number(stage)?.checked_sub(1)?;
            let step = number(step)? + usize::from(stage == 0);
            let layer = match (step, layer) {
                (0, "0") => "expand",
                (0, "1") => "expand bn",
                (1, "0") => "depthwise",
                (1, "1") => "depthwise bn",
                (2, "fc1") => "squeeze",
                (2, "fc2") => "excite",
                (3, "0") => "project",
                (3, "1") => "project bn",
                _ => return None,
            };
            (in_stage(stage, number(block)?)?, layer, leaf)
        }
        _ => return None,
    };
    Some(format!("block {block} {layer}.{leaf}"))
}

/// Swin as torchvision (`features.1.0.mlp.3.weight`) and as Microsoft and timm (`layers.0.blocks.0.mlp.fc2.weight`) name it
/// → `stage 0 block 0 mlp.fc2.weight`.
fn swin(name: &str, context: &Context) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok();
    Some(match parts[..] {
        // torchvision
        ["features", "0", "0", leaf] => format!("embed.{leaf}"),
        ["features", "0", "2", leaf] => format!("embed norm.{leaf}"),
        ["features", position, layer @ ("reduction" | "norm"), leaf] => {
            format!("merge {} {layer}.{leaf}", number(position)?.checked_sub(2)? / 2)
        }
        ["features", position, block, ref rest @ ..] => {
            let rest = match rest {
                ["mlp", "0", leaf] => format!("mlp.fc1.{leaf}"),
                ["mlp", "3", leaf] => format!("mlp.fc2.{leaf}"),
                rest => rest.join("."),
            };
            format!("stage {} block {block} {rest}", number(position)?.checked_sub(1)? / 2)
        }
        // Microsoft, timm
        ["patch_embed", "proj", leaf] => format!("embed.{leaf}"),
        ["patch_embed", "norm", leaf] => format!("embed norm.{leaf}"),
        ["layers", stage, "downsample", layer, leaf] => {
            let after =
                if context.merging_ends_stage { number(stage)? } else { number(stage)?.checked_sub(1)? };
            format!("merge {after} {layer}.{leaf}")
        }
        ["layers", stage, "blocks", block, ref rest @ ..] => {
            format!("stage {stage} block {block} {}", rest.join("."))
        }
        // both
        ["norm", leaf] => format!("norm.{leaf}"),
        ["head", leaf] | ["head", "fc", leaf] => format!("head.{leaf}"),
        _ => return None,
    })
}

/// What checkpoints are commonly wrapped in, for when no model says which names to expect.
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

/// The wrappers around most tensors of a file: `state_dict.module.`, or nothing.
pub(super) fn wrapper(stored: &[Stored]) -> String {
    let mut prefix = String::new();
    loop {
        let inside = |prefix: &str| stored.iter().filter(|tensor| tensor.name.starts_with(prefix)).count();
        let all = inside(&prefix);
        let next = WRAPPERS.iter().map(|wrapper| format!("{prefix}{wrapper}.")).find(|candidate| {
            // An optimiser's two moments outnumber the weights they belong to.
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
    fn publishers_names_of_one_tensor_are_equal() {
        let context = Context { merging_ends_stage: false };
        for names in [
            [
                "_blocks.0._depthwise_conv.weight",
                "blocks.0.0.conv_dw.weight",
                "features.1.0.block.0.0.weight",
            ],
            ["_blocks.0._bn2.bias", "blocks.0.0.bn2.bias", "features.1.0.block.2.1.bias"],
            ["_blocks.2._se_reduce.bias", "blocks.1.1.se.conv_reduce.bias", "features.2.1.block.2.fc1.bias"],
            [
                "_blocks.15._project_conv.weight",
                "blocks.6.0.conv_pwl.weight",
                "features.7.0.block.3.0.weight",
            ],
            ["_bn1.running_var", "bn2.running_var", "features.8.1.running_var"],
            ["_fc.weight", "classifier.weight", "classifier.1.weight"],
        ] {
            let canonical = names.map(|name| efficientnet(name).unwrap());
            assert_eq!([&canonical[1], &canonical[2]], [&canonical[0]; 2], "{names:?}");
        }
        let swin = |name| swin(name, &context).unwrap();
        for (torchvision, timm) in [
            ("features.0.2.weight", "patch_embed.norm.weight"),
            (
                "features.3.1.attn.relative_position_bias_table",
                "layers.1.blocks.1.attn.relative_position_bias_table",
            ),
            ("features.5.0.mlp.3.bias", "layers.2.blocks.0.mlp.fc2.bias"),
            ("features.2.reduction.weight", "layers.1.downsample.reduction.weight"),
            ("head.bias", "head.fc.bias"),
        ] {
            assert_eq!(swin(torchvision), swin(timm));
        }
        let older = Context { merging_ends_stage: true };
        assert_eq!(
            super::swin("layers.0.downsample.norm.bias", &older),
            super::swin("features.2.norm.bias", &older)
        );
    }

    #[test]
    fn wrappers_without_a_model() {
        assert_eq!(wrapper(&stored(&["conv1.weight", "fc.weight"])), "");
        let nested = stored(&["state_dict.module.a", "state_dict.module.b", "optimizer.state.0.m"]);
        assert_eq!(wrapper(&nested), "state_dict.module.");
        assert_eq!(wrapper(&[]), "");
    }
}
