//! Convolutions and pooling.

use gnr_nn::{Conv2dSpec, Dual, Error, Padding, PoolSpec, Result, composed};
use tch::Tensor;

use crate::tensor::{Torch, TorchTensor, invalid, mismatch};

/// Both axes of an image.
fn square(length: usize) -> [i64; 2] {
    [length as i64; 2]
}

impl Torch {
    pub(crate) fn conv2d(&self, x: &TorchTensor, w: &TorchTensor, spec: Conv2dSpec) -> Result<TorchTensor> {
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
            x.f_conv2d(
                w.t(),
                None::<&Tensor>,
                stride.as_slice(),
                padding.as_slice(),
                one.as_slice(),
                groups as i64,
            )
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

    /// N and C of an image that the window fits.
    fn pooled(op: &'static str, x: &TorchTensor, spec: PoolSpec) -> Result<[usize; 4]> {
        let &[n, c, height, width] = x.shape() else { return invalid(op, "[N, C, H, W]", x.shape()) };
        let [h, w] = [height, width]
            .map(|length| composed::swept(op, length, spec.window, spec.stride, [spec.padding; 2]));
        Ok([n, c, h?, w?])
    }

    fn max_pooled(&self, x: &TorchTensor, spec: PoolSpec) -> Result<(TorchTensor, Tensor)> {
        if spec.padding * 2 > spec.window {
            return Err(Error::Invalid(format!(
                "max_pool2d: padding {} is more than half of the window {}",
                spec.padding, spec.window
            )));
        }
        Self::pooled("max_pool2d", x, spec)?;
        let [window, stride, padding] = [spec.window, spec.stride, spec.padding].map(square);
        let one = square(1);
        let pooled = x.t().f_max_pool2d_with_indices(
            window.as_slice(),
            stride.as_slice(),
            padding.as_slice(),
            one.as_slice(),
            false,
        );
        self.checked("max_pool2d", &[x], pooled).map(|(y, indices)| (TorchTensor::sharing(y), indices))
    }
    pub(crate) fn max_pool2d(&self, x: &TorchTensor, spec: PoolSpec) -> Result<TorchTensor> {
        self.max_pooled(x, spec).map(|(y, _)| y)
    }
    /// ẏ is ẋ where the maxima of x are.
    pub(crate) fn max_pool2d_dual(&self, x: Dual<&TorchTensor>, spec: PoolSpec) -> Result<Dual<TorchTensor>> {
        let (primal, indices) = self.max_pooled(x.primal, spec)?;
        let Some(tangent) = x.tangent else { return Ok(Dual::constant(primal)) };
        let taken = || {
            let flat = tangent.t().f_flatten(2, 3)?.f_gather(2, &indices.f_flatten(2, 3)?, false)?;
            flat.f_reshape(primal.t().size())
        };
        let tangent = self.new_tensor("max_pool2d", &[tangent], taken())?;
        Ok(Dual { primal, tangent: Some(tangent) })
    }
    pub(crate) fn avg_pool2d(&self, x: &TorchTensor, spec: PoolSpec) -> Result<TorchTensor> {
        Self::pooled("avg_pool2d", x, spec)?;
        // ATen refuses windows that may lie in the padding.
        if spec.padding * 2 > spec.window {
            return composed::avg_pool2d(self, x, spec);
        }
        let [window, stride, padding] = [spec.window, spec.stride, spec.padding].map(square);
        let y = x.t().f_avg_pool2d(
            window.as_slice(),
            stride.as_slice(),
            padding.as_slice(),
            false,
            true,
            None::<i64>,
        );
        self.new_tensor("avg_pool2d", &[x], y)
    }
    pub(crate) fn global_avg_pool(&self, x: &TorchTensor) -> Result<TorchTensor> {
        let &[_, _, _, _] = x.shape() else { return invalid("global_avg_pool", "[N, C, H, W]", x.shape()) };
        let y = x.t().f_mean_dim([2_i64, 3].as_slice(), false, self.precision.kind());
        self.new_tensor("global_avg_pool", &[x], y)
    }
}
