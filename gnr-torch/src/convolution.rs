//! Convolutions by ATen, in either padding.

use gnr_nn::{
    Conv2dSpec, Convolution, Dual, Padding, Result,
    composed::{self, add_tangents},
};
use tch::Tensor;

use crate::tensor::{Torch, TorchTensor, invalid, mismatch};

/// One length for both axes of an image.
pub(crate) fn square(length: usize) -> [i64; 2] {
    [length as i64; 2]
}

impl Torch {
    /// Computes a convolution, without recording it.
    fn convolved(&self, x: &TorchTensor, w: &TorchTensor, spec: Conv2dSpec) -> Result<TorchTensor> {
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
        let [rows, columns] = [height, width].map(|length| spec.padding.around(length, k, spec.stride));
        composed::swept("conv2d", height, k, spec.stride, rows)?;
        composed::swept("conv2d", width, k, spec.stride, columns)?;
        let conv = |x: &Tensor, padding: [i64; 2]| {
            let (stride, one) = (square(spec.stride), square(1));
            let y = self.operand(x)?.f_conv2d(
                &self.operand(w.t())?,
                None::<&Tensor>,
                stride.as_slice(),
                padding.as_slice(),
                one.as_slice(),
                groups as i64,
            )?;
            self.result(y)
        };
        let y = match spec.padding {
            Padding::Each(padding) => conv(x.t(), square(padding)),
            Padding::Same if rows[0] == rows[1] && columns[0] == columns[1] => {
                conv(x.t(), [rows[0] as i64, columns[0] as i64])
            }
            Padding::Same => {
                let zeros =
                    [columns, rows].as_flattened().iter().map(|&zeros| zeros as i64).collect::<Vec<_>>();
                x.t().f_constant_pad_nd(zeros).and_then(|x| conv(&x, [0, 0]))
            }
        };
        self.new_tensor("conv2d", &[x, w], y)
    }
}

impl Convolution for Torch {
    fn conv2d(&self, x: &TorchTensor, w: &TorchTensor, spec: Conv2dSpec) -> Result<TorchTensor> {
        self.recorded("conv2d", || self.convolved(x, w, spec))
    }

    /// ẏ = ẋ∗w + x∗ẇ.
    fn conv2d_dual(
        &self,
        x: &Dual<TorchTensor>,
        w: &Dual<TorchTensor>,
        spec: Conv2dSpec,
    ) -> Result<Dual<TorchTensor>> {
        let tangent = || {
            let left = x.tangent.as_ref().map(|x_t| self.convolved(x_t, &w.primal, spec)).transpose()?;
            let right = w.tangent.as_ref().map(|w_t| self.convolved(&x.primal, w_t, spec)).transpose()?;
            add_tangents(self, left, right)
        };
        self.recorded_dual("conv2d", || self.convolved(&x.primal, &w.primal, spec), tangent)
    }
}
