//! Checkpoints as safetensors files.
//!
//! A file has the model's tensors under their published names, and the optimiser's under
//! `optimizer.<leaf>.<parameter>`. The state of regulariser i is under `regularizer.<i>.<leaf>.<parameter>`. An average
//! of the weights is under `average.weights.<leaf>.<parameter>` and `average.statistics.<leaf>.<buffer>`. One metadata
//! entry, `gnr`, holds everything else as JSON.
//!
//! A frozen parameter is among the model's tensors and not among the optimiser's or the average's.
//!
//! Nothing in the file depends on the time, the machine or how often the run was stopped: equal states are equal bytes.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use gnr_core::{Leaf, Leaves, Optimizer, Regularizer, StateSource, Table};
use gnr_models::{
    AnyModel,
    weights::{self, Options, Policy, Report, Stored, WeightFile},
};
use gnr_nn::{Autodiff, BatchOracle, Buffers, Entry, Frozen, Layout, ParamVector};
use safetensors::{Dtype, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{
    atomic::write_atomically,
    average::{Parts, WeightAverage},
    error::{Result, TrainError, io},
    method::Regularizers,
    recipe::Precision,
    summary::Best,
};

/// Version of the `gnr` entry's format.
const FORMAT: u32 = 1;
const ENTRY: &str = "gnr";
const OPTIMIZER: &str = "optimizer.";
const REGULARIZER: &str = "regularizer.";
const AVERAGE_WEIGHTS: &str = "average.weights.";
const AVERAGE_STATISTICS: &str = "average.statistics.";

/// The position of a run: everything but vectors. Data order and augmentation are pure functions of this and the
/// recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of steps done.
    pub step: u64,
    /// Number of epochs completed, evaluation included.
    pub epoch: u64,
    /// Number of batches done in the epoch after those.
    pub batch: u64,
    /// Sums over the batches of that epoch so far.
    pub sums: Sums,
    /// The best epoch so far, if there is one.
    pub best: Option<Best>,
    /// Number of gradients computed, in units of a whole batch.
    pub gradient_evaluations: u64,
    /// Number of Hessian-vector (or Gauss–Newton) products computed.
    pub products: u64,
    /// Number of forward passes without a gradient, in units of a whole batch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forward_passes: u64,
    /// The times at which the run was given more epochs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// The times at which the run continued on another backend or device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
}

/// Whether a number is left out of files: those of runs without such passes then keep their text.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Progress {
    /// Refuses numbers that no run reaches, with which counting would overflow.
    fn check(&self) -> Result<(), String> {
        let Sums { correct, images, flipped, .. } = &self.sums;
        let counts = [
            ("step", self.step),
            ("epoch", self.epoch),
            ("batch", self.batch),
            ("gradient_evaluations", self.gradient_evaluations),
            ("products", self.products),
            ("forward_passes", self.forward_passes),
            ("sums.correct", *correct),
            ("sums.images", *images),
            ("sums.flipped.images", flipped.images),
            ("sums.flipped.correct", flipped.correct),
        ];
        let penalties = self.sums.penalties.iter().map(|(name, (_, steps))| (name.as_str(), *steps));
        let most = 1 << 53;
        match counts.into_iter().chain(penalties).find(|(_, count)| *count > most) {
            Some((name, count)) => Err(format!("expected at most {most} as `{name}`, found {count}")),
            None => Ok(()),
        }
    }
}

/// A change of a run's number of epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Number of epochs done at that moment.
    pub at_epoch: u64,
    /// Number of epochs before the change.
    pub from: u64,
    /// Number of epochs after the change.
    pub to: u64,
}

/// A change of a run's backend or device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Number of steps done at that moment.
    pub at_step: u64,
    /// Backend and device before the change, as in `cpu on cpu`.
    pub from: String,
    /// Backend and device after the change, as in `torch on cuda:0`.
    pub to: String,
}

/// Sums over the batches of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Sum of loss · images over the batches.
    pub loss: f64,
    /// Number of correct predictions.
    pub correct: u64,
    /// Number of images.
    pub images: u64,
    /// Sum of ‖∇L̂‖ over the steps.
    pub grad_norm: f64,
    /// Sum of the values, and number of steps, of each regulariser.
    pub penalties: BTreeMap<String, (f64, u64)>,
    /// Counts of the images whose label is wrong on purpose; left out where there was none.
    #[serde(default, skip_serializing_if = "Flipped::is_none")]
    pub flipped: Flipped,
}

/// Counts of images with flipped labels in an epoch so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flipped {
    /// Number of images with a flipped label.
    pub images: u64,
    /// Number of correct predictions of flipped labels.
    pub correct: u64,
}

impl Flipped {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The contents of the `gnr` entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    format: u32,
    /// Number of classes.
    pub classes: usize,
    /// The shape `[C, H, W]` of an image.
    pub input: [usize; 3],
    /// The position of the run.
    pub progress: Progress,
    /// The resolved recipe as TOML.
    pub recipe: String,
}

impl Header {
    /// Makes an entry of the current format.
    pub(crate) fn new(classes: usize, input: [usize; 3], progress: Progress, recipe: String) -> Self {
        Self { format: FORMAT, classes, input, progress, recipe }
    }
}

/// The path of the last checkpoint in a run folder.
pub(crate) fn last(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("last.safetensors")
}

/// The path of the best checkpoint in a run folder.
pub(crate) fn best(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("best.safetensors")
}

/// The path of the averaged weights of a finished run.
pub(crate) fn average(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("average.safetensors")
}

/// The path of the weights kept after an epoch; 0 is before the first.
pub(crate) fn kept(folder: &Path, epoch: u64) -> PathBuf {
    folder.join("checkpoints").join(format!("epoch-{epoch:04}.safetensors"))
}

/// The weights that a run kept by `train.keep_every_epochs`, with their epochs.
///
/// # Errors
/// A folder that cannot be listed.
pub fn kept_checkpoints(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let folder = folder.join("checkpoints");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io(&folder, "list"))? {
        let path = entry.map_err(io(&folder, "list"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let epoch = name.strip_prefix("epoch-").and_then(|rest| rest.strip_suffix(".safetensors"));
        if let Some(epoch) = epoch.and_then(|digits| digits.parse().ok()) {
            found.push((epoch, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The part of a run's state that a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The whole state, as resuming needs it.
    All,
    /// The model alone: enough to evaluate and to measure, at half the size or less.
    Model,
}

/// The type of oracles that a run's regularisers ask. Their state does not depend on it.
pub(crate) type Asked<'o, B> = BatchOracle<'o, AnyModel, B>;

/// The state of a run on a backend, borrowed.
pub(crate) struct State<'a, B: Autodiff> {
    pub(crate) layout: &'a Layout,
    /// The learned parameters.
    pub(crate) theta: &'a ParamVector<B>,
    pub(crate) frozen: Option<&'a Frozen<B>>,
    pub(crate) buffers: &'a Buffers<B>,
    pub(crate) optimizer: &'a dyn Optimizer<ParamVector<B>>,
    pub(crate) regularizers: &'a Regularizers<ParamVector<B>>,
    pub(crate) average: Option<&'a WeightAverage<B>>,
}

impl<B: Autodiff> State<'_, B> {
    /// Makes the bytes of a checkpoint.
    pub(crate) fn to_bytes(
        &self,
        backend: &B,
        header: &Header,
        precision: Precision,
        content: Content,
    ) -> Result<Vec<u8>> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut put = |name: String, shape: &[usize], values: Vec<f64>| {
            let (dtype, bytes) = if precision.is_double() {
                (Dtype::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            } else {
                (Dtype::F32, values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect())
            };
            tensors.push((name, dtype, shape.to_vec(), bytes));
        };
        let parameters = all_parameters(backend, self.theta, self.frozen)?;
        for (entry, values) in self.layout.parameters().zip(parameters.to_host()?) {
            put(entry.name.clone(), &entry.shape, values);
        }
        for (entry, tensor) in self.layout.buffers().zip(&self.buffers.tensors) {
            put(entry.name.clone(), &entry.shape, backend.to_host(tensor)?);
        }
        let (mut counts, mut tables) = (Vec::new(), Vec::new());
        let mut put_state = |prefix: &str, entries: Vec<&Entry>, leaves: &Leaves<ParamVector<B>>| {
            for (name, leaf) in leaves {
                match leaf {
                    Leaf::Count(count) => {
                        counts.push((format!("{prefix}{name}"), count.to_le_bytes().to_vec()))
                    }
                    Leaf::Table(table) => tables.push((format!("{prefix}{name}"), table.clone())),
                    Leaf::Vector(vector) => {
                        for (entry, values) in entries.iter().zip(vector.to_host()?) {
                            put(format!("{prefix}{name}.{}", entry.name), &entry.shape, values);
                        }
                    }
                }
            }
            Ok::<(), TrainError>(())
        };
        if content == Content::All {
            let mut leaves = Leaves::new();
            self.optimizer.save(&mut leaves)?;
            put_state(OPTIMIZER, learned(self.layout, self.frozen), &leaves)?;
            let mut leaves = Leaves::new();
            Regularizer::<Asked<'_, B>>::save(self.regularizers, &mut leaves)?;
            put_state(REGULARIZER, learned(self.layout, self.frozen), &leaves)?;
            if let Some(Parts { weights, statistics }) = self.average.map(WeightAverage::state) {
                let mut leaves = Leaves::new();
                weights.save(&mut leaves)?;
                put_state(AVERAGE_WEIGHTS, learned(self.layout, self.frozen), &leaves)?;
                if let Some(statistics) = statistics {
                    let mut leaves = Leaves::new();
                    statistics.save(&mut leaves)?;
                    put_state(AVERAGE_STATISTICS, self.layout.buffers().collect(), &leaves)?;
                }
            }
        }
        // Tables are in single precision, whatever the run computes in.
        let of = |table: &Table| table.values().iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.extend(
            tables.into_iter().map(|(name, table)| (name, Dtype::F32, table.shape().to_vec(), of(&table))),
        );
        tensors.extend(counts.into_iter().map(|(name, bytes)| (name, Dtype::U64, vec![1], bytes)));

        let invalid = |error: &dyn std::fmt::Display| gnr_nn::Error::Invalid(format!("checkpoint: {error}"));
        let entry = serde_json::to_string(header).map_err(|e| invalid(&e))?;
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| invalid(&e))?))
            })
            .collect::<Result<Vec<_>>>()?;
        // There is a single entry, because the crate writes metadata in the order of a hash map.
        let metadata = HashMap::from([(ENTRY.to_owned(), entry)]);
        Ok(safetensors::serialize(views, Some(metadata)).map_err(|e| invalid(&e))?)
    }

    /// Writes a checkpoint atomically.
    pub(crate) fn save(
        &self,
        path: &Path,
        backend: &B,
        header: &Header,
        precision: Precision,
        content: Content,
    ) -> Result<()> {
        write_atomically(path, &self.to_bytes(backend, header, precision, content)?)
    }
}

/// The layout entries of the learned parameters.
fn learned<'l, B: Autodiff>(layout: &'l Layout, frozen: Option<&Frozen<B>>) -> Vec<&'l Entry> {
    match frozen {
        Some(frozen) => frozen.learned(layout.parameters()).collect(),
        None => layout.parameters().collect(),
    }
}

/// All parameters of a model, learned or frozen.
pub(crate) fn all_parameters<B: Autodiff>(
    backend: &B,
    theta: &ParamVector<B>,
    frozen: Option<&Frozen<B>>,
) -> Result<ParamVector<B>> {
    Ok(match frozen {
        Some(frozen) => {
            ParamVector::new(backend.clone(), frozen.assemble(theta.tensors().to_vec(), Clone::clone)?)
        }
        None => theta.clone(),
    })
}

/// The contents of a checkpoint or of another weight file.
pub struct CheckpointFile {
    path: PathBuf,
    file: WeightFile,
    header: Option<Header>,
}

impl CheckpointFile {
    /// Reads a weight file: a checkpoint of a run, published safetensors, or a PyTorch checkpoint.
    ///
    /// # Errors
    /// A file that cannot be read, is incomplete, or has a later format. Each error names the file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(path, WeightFile::open(path)?)
    }

    /// Reads like [`read`](Self::read) from the file at `path`, which is open.
    pub(crate) fn of(path: &Path, file: WeightFile) -> Result<Self> {
        let problem = |problem: String| TrainError::Checkpoint { path: path.to_path_buf(), problem };
        let header = match file.metadata().get(ENTRY) {
            None => None,
            Some(entry) => {
                let header: Header = serde_json::from_str(entry)
                    .map_err(|e| problem(format!("damaged metadata entry `{ENTRY}`: {e}")))?;
                if header.format != FORMAT {
                    let found = header.format;
                    return Err(problem(format!("checkpoint format {found}, this program reads {FORMAT}")));
                }
                header
                    .progress
                    .check()
                    .map_err(|wrong| problem(format!("damaged metadata entry `{ENTRY}`: {wrong}")))?;
                Some(header)
            }
        };
        Ok(Self { path: path.to_path_buf(), file, header })
    }

    /// The entry that a run wrote beside the tensors; `None` for other weight files.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The file's tensors.
    pub fn weights(&self) -> &WeightFile {
        &self.file
    }

    /// The model's tensors, in layout order; others in the file are ignored.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or not finite.
    pub fn model(&self, layout: &Layout) -> Result<Vec<Vec<f64>>> {
        Ok(self
            .model_reported(layout, &Options { policy: Policy::IgnoreUnexpected, ..Options::default() })?
            .0)
    }

    /// The model's tensors by the given rules, and a report of what was found. A tensor that the rules allow to be
    /// missing is still an error: there are no initial values here.
    ///
    /// # Errors
    /// A tensor that the rules do not allow, or that is missing.
    pub fn model_reported(&self, layout: &Layout, options: &Options) -> Result<(Vec<Vec<f64>>, Report)> {
        let loaded = weights::fit(&self.file, layout, vec![Vec::new(); layout.entries().len()], options)?;
        let report = loaded.report;
        let mismatched = report.mismatched.iter().map(|mismatch| &mismatch.name);
        if let Some(tensor) = report.missing.iter().chain(&report.new_head).chain(mismatched).next() {
            let problem = format!(
                "tensor `{tensor}` does not come from the file, and there is no training to learn it"
            );
            return Err(TrainError::Checkpoint { path: self.path.clone(), problem });
        }
        Ok((loaded.values, report))
    }

    /// Restores the optimiser's state.
    pub(crate) fn optimizer<B: Autodiff>(
        &self,
        backend: &B,
        layout: &Layout,
        frozen: Option<&Frozen<B>>,
        optimizer: &mut dyn Optimizer<ParamVector<B>>,
    ) -> Result<()> {
        self.state(backend, OPTIMIZER, learned(layout, frozen), |source| optimizer.load(source))
    }

    /// Restores the state of the regularisers.
    pub(crate) fn regularizers<B: Autodiff>(
        &self,
        backend: &B,
        layout: &Layout,
        frozen: Option<&Frozen<B>>,
        regularizers: &mut Regularizers<ParamVector<B>>,
    ) -> Result<()> {
        self.state(backend, REGULARIZER, learned(layout, frozen), |source| {
            Regularizer::<Asked<'_, B>>::load(regularizers, source)
        })
    }

    /// Restores the state of an average.
    pub(crate) fn average<B: Autodiff>(
        &self,
        backend: &B,
        layout: &Layout,
        frozen: Option<&Frozen<B>>,
        average: &mut WeightAverage<B>,
    ) -> Result<()> {
        let Parts { weights, statistics } = average.state_mut();
        self.state(backend, AVERAGE_WEIGHTS, learned(layout, frozen), |source| weights.load(source))?;
        let Some(statistics) = statistics else { return Ok(()) };
        self.state(backend, AVERAGE_STATISTICS, layout.buffers().collect(), |source| statistics.load(source))
    }

    /// Passes to `load` the leaves under a prefix, whose vectors consist of `entries`.
    fn state<B: Autodiff>(
        &self,
        backend: &B,
        prefix: &'static str,
        entries: Vec<&Entry>,
        load: impl FnOnce(&mut dyn StateSource<ParamVector<B>>) -> gnr_core::Result<()>,
    ) -> Result<()> {
        let stored = self.file.stored().iter().map(|stored| (stored.name.as_str(), stored)).collect();
        let mut source = StateTensors { backend, prefix, entries, file: &self.file, stored };
        load(&mut source).map_err(|error| TrainError::Checkpoint {
            path: self.path.clone(),
            problem: format!("{prefix}*: {error}"),
        })
    }
}

/// The leaves of a state: the tensors `<prefix>*` of a file.
struct StateTensors<'a, B> {
    backend: &'a B,
    prefix: &'static str,
    /// The entries of which a vector consists.
    entries: Vec<&'a Entry>,
    file: &'a WeightFile,
    stored: HashMap<&'a str, &'a Stored>,
}

impl<B: Autodiff> StateSource<ParamVector<B>> for StateTensors<'_, B> {
    fn get(&mut self, name: &str) -> gnr_core::Result<Option<Leaf<ParamVector<B>>>> {
        let refuse = |problem: String| gnr_core::Error::CheckpointLeaf { name: name.to_owned(), problem };
        let prefix = self.prefix;
        if let Some(stored) = self.stored.get(format!("{prefix}{name}").as_str()) {
            let bytes = self.file.bytes(&stored.name).map_err(|error| refuse(error.to_string()))?;
            return match (stored.dtype, stored.shape[..].try_into()) {
                (Dtype::F32, Ok(shape)) => {
                    let (words, _) = bytes.as_chunks::<4>();
                    let values = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
                    Table::new(shape, values).map(|table| Some(Leaf::Table(table)))
                }
                (Dtype::U64, _) => match bytes.try_into() {
                    Ok(count) => Ok(Some(Leaf::Count(u64::from_le_bytes(count)))),
                    Err(_) => Err(refuse("expected one U64".into())),
                },
                (dtype, _) => {
                    let found = &stored.shape;
                    Err(refuse(format!(
                        "expected one U64 or a table of F32, found {dtype:?} of shape {found:?}"
                    )))
                }
            };
        }
        let full = |entry: &&Entry| format!("{prefix}{name}.{}", entry.name);
        if !self.entries.iter().any(|entry| self.stored.contains_key(full(entry).as_str())) {
            return Ok(None);
        }
        let mut tensors = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let key = full(entry);
            let stored =
                self.stored.get(key.as_str()).ok_or_else(|| refuse(format!("tensor `{key}` is missing")))?;
            if stored.shape != entry.shape {
                let (found, expected) = (&stored.shape, &entry.shape);
                return Err(refuse(format!("tensor `{key}` has shape {found:?}, expected {expected:?}")));
            }
            let values = self.file.values(stored).map_err(|error| refuse(error.to_string()))?;
            tensors.push(self.backend.constant(&values, &entry.shape)?);
        }
        Ok(Some(Leaf::Vector(ParamVector::new(self.backend.clone(), tensors))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints without counts of noise are read, and those of runs without noise have not changed.
    #[test]
    fn sums_without_noise_are_written_as_before() {
        let text = r#"{"loss":1.5,"correct":3,"images":8,"grad_norm":0.5,"penalties":{"gnr":[0.25,2]}}"#;
        let sums: Sums = serde_json::from_str(text).unwrap();
        assert_eq!((sums.correct, sums.flipped), (3, Flipped::default()));
        assert_eq!(serde_json::to_string(&sums).unwrap(), text);
        let noisy = Sums { flipped: Flipped { images: 4, correct: 1 }, ..sums };
        let again: Sums = serde_json::from_str(&serde_json::to_string(&noisy).unwrap()).unwrap();
        assert_eq!(again, noisy);
    }
}
