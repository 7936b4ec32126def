//! PyTorch's numbers for whole architectures, in both precisions.

use gnr_burn::Precision;

use crate::flex;

gnr_models::golden_tests! {
    f64: flex(Precision::F64),
    f32: flex(Precision::F32),
    images: whole,
    release: || (),
}
