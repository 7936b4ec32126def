//! PyTorch's numbers on the reference backend. The matrix over architectures, precisions and fused kernels is run where the
//! fast backends are; this one net shows that the composed operations alone agree.

use gnr_models::testing::{Precision, check_golden};
use gnr_nn::testing::Reference;

#[test]
fn resnet20() {
    check_golden(&Reference::new(), "resnet20", Precision::F64);
}
