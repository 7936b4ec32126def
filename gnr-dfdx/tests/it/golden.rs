//! PyTorch's numbers for whole architectures, in both precisions. Images are smaller where the generic convolution,
//! which gathers its operand and keeps it, would take gigabytes.

use gnr_dfdx::Generic;

gnr_models::golden_tests! {
    f64: Generic::<f64>::default(),
    f32: Generic::<f32>::default(),
    images: small,
    release: || (),
}
