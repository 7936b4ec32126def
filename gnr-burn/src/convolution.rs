//! Convolutions by burn, in either padding.

use burn_backend::backend::AutodiffBackend;
use gnr_nn::{Conv2dSpec, Convolution, Result, composed};

use crate::tensor::{Burn, BurnTensor, invalid, mismatch, run};

impl<B: AutodiffBackend> Convolution for Burn<B> {
    fn conv2d(&self, x: &BurnTensor<B>, w: &BurnTensor<B>, spec: Conv2dSpec) -> Result<BurnTensor<B>> {
        let &[_, channels, height, width] = x.shape() else {
            return invalid("conv2d", "[N, C, H, W]", x.shape());
        };
        let &[outputs, inputs, k, k2] = w.shape() else {
            return invalid("conv2d", "weights [O, C/groups, K, K]", w.shape());
        };
        let groups = spec.groups;
        if groups == 0 || inputs * groups != channels || !outputs.is_multiple_of(groups) || k != k2 {
            return mismatch("conv2d", x, w);
        }
        let padding = [height, width].map(|length| spec.padding.around(length, k, spec.stride));
        composed::swept("conv2d", height, k, spec.stride, padding[0])?;
        composed::swept("conv2d", width, k, spec.stride, padding[1])?;
        Ok(run!(conv2d, [x, w], spec.stride, padding, groups))
    }
}
