//! The state of a run, written to a file.

use std::{collections::HashMap, path::Path};

use gnr_core::{Leaf, Leaves, Optimizer, Regularizer, Table};
use gnr_models::AnyModel;
use gnr_nn::{Autodiff, BatchOracle, Buffers, Entry, Frozen, Layout, ParamVector};
use safetensors::{Dtype, tensor::TensorView};

use super::{AVERAGE_STATISTICS, AVERAGE_WEIGHTS, ENTRY, Header, OPTIMIZER, REGULARIZER};
use crate::{
    atomic::write_atomically,
    average::{Parts, WeightAverage},
    error::{Result, TrainError},
    method::Regularizers,
    recipe::Precision,
};

/// The part of a run's state that a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The whole state, as resuming needs it.
    All,
    /// The model alone: enough to evaluate and to measure, at half the size or less.
    Model,
}

/// The oracle type with which `save` and `load` of regularisers are called. The saved state does not depend on it.
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
pub(super) fn learned<'l, B: Autodiff>(layout: &'l Layout, frozen: Option<&Frozen<B>>) -> Vec<&'l Entry> {
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
