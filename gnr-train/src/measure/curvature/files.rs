//! Vectors as safetensors with the tensors' names and shapes.

use gnr_nn::Entry;
use safetensors::{Dtype, tensor::TensorView};

use crate::{error::Result, recipe::Precision};

/// Writes vectors of a point's space as tensors `prefix.TENSOR`.
pub(super) fn vectors(
    named: &[(String, Vec<Vec<f64>>)],
    entries: &[Entry],
    precision: Precision,
) -> Result<Vec<u8>> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (prefix, values) in named {
        for (entry, values) in entries.iter().zip(values) {
            let (dtype, bytes) = if precision.is_double() {
                (Dtype::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            } else {
                (Dtype::F32, values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect())
            };
            tensors.push((format!("{prefix}.{}", entry.name), dtype, entry.shape.clone(), bytes));
        }
    }
    let invalid = |error: &dyn std::fmt::Display| gnr_nn::Error::Invalid(format!("vectors: {error}"));
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| invalid(&e))?))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, None).map_err(|e| invalid(&e))?)
}
