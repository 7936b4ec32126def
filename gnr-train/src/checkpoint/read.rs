//! The state of a run, or published weights, from a file.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use gnr_core::{Leaf, Optimizer, Regularizer, StateSource, Table};
use gnr_models::weights::{self, Options, Policy, Report, Stored, WeightFile};
use gnr_nn::{Autodiff, Entry, Frozen, Layout, ParamVector};
use safetensors::Dtype;

use super::{
    AVERAGE_STATISTICS, AVERAGE_WEIGHTS, ENTRY, FORMAT, Header, OPTIMIZER, REGULARIZER,
    write::{Asked, learned},
};
use crate::{
    average::{Parts, WeightAverage},
    error::{Result, TrainError},
    method::Regularizers,
};

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

    /// Reads like [`read`](Self::read), from a file that is already open; `path` names it in errors.
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
