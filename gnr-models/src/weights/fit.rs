//! Assignment of stored tensors to the tensors of a layout: tensors fit, are made to fit, or are refused.

use gnr_nn::Layout;

use super::{
    Loaded, Mismatch, NonFinite, Report, WeightsError,
    file::{Stored, WeightFile},
    grid::Grids,
    names,
};

/// The differences that are allowed between a file and the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// None: every tensor of the model comes from the file, and every tensor of the file goes into the model.
    #[default]
    All,
    /// The file may have more tensors than the model.
    IgnoreUnexpected,
    /// The file may have more tensors, and the [head](Layout::head) keeps its initial values, whatever the file has.
    NewHead,
    /// Every tensor that fits is taken; at least one must fit.
    Matching,
}

/// The use of the weights, which decides the advice in errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Training begins with the weights, and can learn a new classifier.
    #[default]
    Training,
    /// The weights are evaluated as they are.
    Evaluation,
}

/// The options of reading a file into a model.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The differences that are allowed.
    pub policy: Policy,
    /// The part of the file to read (`state_dict_ema`). Default: the part that has most of the model's tensors.
    pub key: Option<String>,
    /// Whether to interpolate a position embedding (`pos_embed`) of another grid of patches. The grid of a file is the
    /// one that a run recorded in it, and else a square.
    pub resample_pos_embed: bool,
    /// The treatment of NaN and ±∞.
    pub non_finite: NonFinite,
    /// The use of the weights.
    pub purpose: Purpose,
}

/// Reads a file into a layout. `initial` has one tensor an entry, as [`Layout::initialise`] gives; a tensor that is not
/// read from the file keeps these values.
///
/// Names are matched without the prefix that the file puts before them (`state_dict.`, `module.`), as they are or
/// translated from other publishers (timm, torchvision, lukemelas' EfficientNet, Microsoft's Swin). Shapes may differ
/// by axes of length 1.
///
/// # Errors
/// A difference that the policy does not allow, naming the file, the first tensor and both shapes; a tensor that is not
/// of floating-point numbers; a weight that is not finite; a damaged file.
pub fn fit(
    file: &WeightFile,
    layout: &Layout,
    initial: Vec<Vec<f64>>,
    options: &Options,
) -> Result<Loaded, WeightsError> {
    if initial.len() != layout.entries().len() {
        return Err(WeightsError::Count { expected: layout.entries().len(), found: initial.len() });
    }
    let matching = names::find(file.stored(), layout, options.key.as_deref());
    names::check(file, &matching)?;
    if matching.found.is_empty() {
        return Err(nothing_fits(file, layout, options));
    }
    let mut report = Report {
        file: file.name.clone(),
        format: file.format().to_string(),
        prefix: matching.prefix.clone(),
        renamed: matching.renamed,
        foreign: file.foreign().to_vec(),
        unwrapped: matching.unwrapped.clone(),
        ..Report::default()
    };
    let head = layout.head();
    let in_head = |name: &str| Layout::is_within(name, head);
    let mut values = initial;
    let mut used = vec![false; file.stored().len()];
    for (entry, values) in layout.entries().iter().zip(&mut values) {
        let index = matching.found.get(&entry.name).copied();
        if let Some(index) = index {
            used[index] = true;
        }
        if options.policy == Policy::NewHead && in_head(&entry.name) {
            report.new_head.push(entry.name.clone());
            continue;
        }
        let Some(stored) = index.and_then(|index| file.stored().get(index)) else {
            report.missing.push(entry.name.clone());
            continue;
        };
        let difference = || Mismatch {
            name: entry.name.clone(),
            expected: entry.shape.clone(),
            found: stored.shape.clone(),
        };
        let read = || finite(file, stored, options.non_finite);
        let grids = Grids::of(entry, stored, layout, file).filter(Grids::differ);
        if let Some(grids) = grids.as_ref().filter(|_| options.resample_pos_embed) {
            *values = grids.resample(&read()?);
            report.resampled.push(difference());
        } else if grids.as_ref().is_some_and(|grids| grids.recorded) {
            report.mismatched.push(difference());
            continue;
        } else if stored.shape == entry.shape {
            *values = read()?;
            if let Some(Grids { from: [h, w], to: [rows, columns], .. }) = grids {
                let name = &entry.name;
                report.assumed.push(format!("{name} as {rows}x{columns} patches, not {h}x{w}"));
            }
        } else if squeezed(&stored.shape).eq(squeezed(&entry.shape)) {
            *values = read()?;
            report.reshaped.push(difference());
        } else {
            report.mismatched.push(difference());
            continue;
        }
        report.matched.push(entry.name.clone());
    }
    for (tensor, used) in file.stored().iter().zip(used) {
        match tensor.name.strip_prefix(&matching.prefix) {
            _ if used || names::is_bookkeeping(&tensor.name) => {}
            // Checkpoints of runs have these states beside the weights.
            Some(name) if ["optimizer.", "average."].iter().any(|state| name.starts_with(state)) => {
                report.elsewhere += 1
            }
            Some(name) => report.unexpected.push(name.to_owned()),
            None => report.elsewhere += 1,
        }
    }
    check(file, layout, &report, options)?;
    Ok(Loaded { values, report, metadata: file.metadata().clone() })
}

/// The shape that a tensor of the layout has in a file.
pub fn stored_shape(file: &WeightFile, layout: &Layout, name: &str, key: Option<&str>) -> Option<Vec<usize>> {
    let matching = names::find(file.stored(), layout, key);
    matching.found.get(name).and_then(|&index| file.stored().get(index)).map(|stored| stored.shape.clone())
}

/// Fails for a difference that the policy does not allow.
fn check(file: &WeightFile, layout: &Layout, report: &Report, options: &Options) -> Result<(), WeightsError> {
    let policy = options.policy;
    if policy == Policy::Matching {
        return if report.matched.is_empty() { Err(nothing_fits(file, layout, options)) } else { Ok(()) };
    }
    // Most files that differ have a classifier for other classes; the error then tells how to replace it.
    let differ = report.missing.iter().chain(report.mismatched.iter().map(|mismatch| &mismatch.name));
    let head = layout.head();
    let only_head = !report.matched.is_empty() && differ.clone().all(|name| Layout::is_within(name, head));
    let new_head = match options.purpose {
        Purpose::Training if only_head => {
            "; the rest fits: to train a new classifier, set load = \"new-head\" (--set model.load=new-head)"
        }
        // A classifier that is missing cannot be mapped.
        Purpose::Evaluation if only_head && report.missing.is_empty() => {
            "; the rest fits: name the data's classes among the file's with --class-map"
        }
        _ => "",
    };
    if let Some(first) = report.missing.first() {
        return Err(WeightsError::Missing {
            file: file.name.clone(),
            tensor: first.clone(),
            others: report.missing.len() - 1,
            note: in_place_of(file, first).unwrap_or_else(|| new_head.to_owned()),
        });
    }
    if let Some(Mismatch { name, expected, found }) = report.mismatched.first() {
        return Err(WeightsError::Shape {
            file: file.name.clone(),
            tensor: name.clone(),
            expected: expected.clone(),
            found: found.clone(),
            note: match expected == found {
                true => "; its patches make another grid: to interpolate, set resample_pos_embed = true \
                         (--set model.resample_pos_embed=true)"
                    .to_owned(),
                false => new_head.to_owned(),
            },
        });
    }
    match report.unexpected.first() {
        Some(first) if policy == Policy::All => Err(WeightsError::Unexpected {
            file: file.name.clone(),
            tensor: first.clone(),
            others: report.unexpected.len() - 1,
        }),
        _ => Ok(()),
    }
}

/// Words for an error about objects that were not read, one of which may hold the weights; empty if there are none.
pub(super) fn unread(foreign: &[String]) -> String {
    match foreign {
        [] => String::new(),
        [one] => format!("; not read: {one}"),
        [first, others @ ..] => format!("; not read: {first} (and {} more)", others.len()),
    }
}

/// Words for an error about an object in the place of a tensor; `None` if there is no such object.
fn in_place_of(file: &WeightFile, name: &str) -> Option<String> {
    let line = file.foreign().iter().find(|line| {
        let path = line.split_once(": ").map_or("", |(path, _)| path);
        path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })?;
    Some(format!("; the file has something else there, {line}"))
}

fn nothing_fits(file: &WeightFile, layout: &Layout, options: &Options) -> WeightsError {
    if let Some(key) = &options.key {
        let inside = |line: &&String| {
            let path = line.split_once(": ").map_or("", |(path, _)| path);
            path.strip_prefix(key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut known = names::top_level(file.stored());
        if let Some(line) = file.foreign().iter().find(inside) {
            known.push_str(&format!("; not read: {line}"));
        }
        return WeightsError::NoSuchKey { file: file.name.clone(), key: key.clone(), known };
    }
    // Shapes are shown because the names may well be equal.
    let some = |tensors: Vec<(&str, &[usize])>| match tensors[..] {
        [] => match file.foreign() {
            [] => "no tensor at all".to_owned(),
            [first] => format!("no tensor at all, but {first}"),
            [first, others @ ..] => format!("no tensor at all, but {first} (and {} more)", others.len()),
        },
        _ => {
            let told = tensors.iter().take(3).map(|(name, shape)| format!("`{name}` {shape:?}"));
            told.collect::<Vec<_>>().join(", ")
        }
    };
    let unread = if file.stored().is_empty() { String::new() } else { unread(file.foreign()) };
    WeightsError::NothingFits {
        file: file.name.clone(),
        found: some(file.stored().iter().map(|tensor| (&*tensor.name, &*tensor.shape)).collect()),
        expected: some(layout.entries().iter().map(|entry| (&*entry.name, &*entry.shape)).collect())
            + &unread,
    }
}

fn finite(file: &WeightFile, stored: &Stored, policy: NonFinite) -> Result<Vec<f64>, WeightsError> {
    let values = file.values(stored)?;
    let culprit = values.iter().position(|value| !value.is_finite());
    match culprit.filter(|_| policy == NonFinite::Reject) {
        Some(index) => Err(WeightsError::NonFinite {
            file: file.name.clone(),
            tensor: stored.name.clone(),
            index,
            value: values[index],
        }),
        None => Ok(values),
    }
}

/// The axes whose length is not 1.
fn squeezed(shape: &[usize]) -> impl Iterator<Item = &usize> {
    shape.iter().filter(|&&length| length != 1)
}
