//! PyTorch's numbers for whole architectures, in both precisions.

use gnr_torch::Precision;

use crate::torch;

gnr_models::golden_tests! {
    f64: torch(Precision::F64),
    f32: torch(Precision::F32),
    images: whole,
    release: || (),
}
