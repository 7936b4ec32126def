//! Failures inside burn: operation, shape, place and burn's own words.

use std::fmt;

use burn_backend::{ExecutionError, backend::AutodiffBackend};
use gnr_nn::Error;

use crate::tensor::{Burn, BurnTensor};

/// A failure that burn's device reported.
///
/// burn reports failures where a result is read. Operands that do not fit an operation are refused before burn sees
/// them.
#[derive(Debug)]
pub struct Failure {
    /// The operation that was asked for.
    pub operation: &'static str,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// Device, backend and precision.
    pub place: String,
    /// The message that burn gives.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "burn: {} of {:?} on {}: {}", self.operation, self.shape, self.place, self.message)
    }
}

impl std::error::Error for Failure {}

impl<B: AutodiffBackend> Burn<B> {
    /// burn's error as one of ours.
    pub(crate) fn failure(
        &self,
        operation: &'static str,
        of: &BurnTensor<B>,
        error: &ExecutionError,
    ) -> Error {
        let (shape, place) = (of.shape().to_vec(), self.place());
        let said = error.to_string();
        // burn uses these words for a device that is lost for good.
        let message = match said.contains("device is poisoned") {
            true => format!("the device was lost, with all that it held; start the program anew ({said})"),
            false => said,
        };
        Error::Library(Box::new(Failure { operation, shape, place, message }))
    }
}
