//! Failures inside LibTorch: operation, shapes, device and LibTorch's own words without its stack trace.

use std::fmt;

use gnr_nn::{Error, Result};
use tch::TchError;

use crate::tensor::{Torch, TorchTensor};

/// A failure inside LibTorch.
#[derive(Debug)]
pub struct Failure {
    /// The operation that was asked for.
    pub operation: &'static str,
    /// Shapes of its operands.
    pub shapes: Vec<Vec<usize>>,
    /// Device and precision, as "cuda:0, f32".
    pub place: String,
    /// LibTorch's message without its stack trace.
    pub message: String,
}

impl Failure {
    /// Whether the device had no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        ["out of memory", "can't allocate memory", "not enough memory"]
            .iter()
            .any(|words| self.message.contains(words))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        if !self.shapes.is_empty() {
            let shapes: Vec<String> = self.shapes.iter().map(|shape| format!("{shape:?}")).collect();
            write!(f, " of {}", shapes.join(" and "))?;
        }
        write!(f, " on {}: {}", self.place, self.message)?;
        if self.is_out_of_memory() {
            write!(
                f,
                "; fewer images at a time need less: lower `train.batch_size`, or raise `train.micro_batches`"
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// LibTorch's message up to the C++ stack trace, in one line.
pub(crate) fn words(error: &TchError) -> String {
    let text = match error {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    let said = text.split("Exception raised from").next().unwrap_or_default();
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

impl Torch {
    /// LibTorch's error as one of ours.
    pub(crate) fn failure(&self, operation: &'static str, of: &[&TorchTensor], error: &TchError) -> Error {
        let shapes = of.iter().map(|x| x.shape().to_vec()).collect();
        Error::Library(Box::new(Failure { operation, shapes, place: self.place(), message: words(error) }))
    }
    /// Turns the error of a result into one of ours, by [`failure`](Self::failure).
    pub(crate) fn checked<T>(
        &self,
        operation: &'static str,
        of: &[&TorchTensor],
        result: Result<T, TchError>,
    ) -> Result<T> {
        result.map_err(|error| self.failure(operation, of, &error))
    }
}
