//! Maxima and means of windows.

use gnr_nn::{Dual, Error, PoolSpec, Pooling, Result, composed};
use tch::Tensor;

use crate::{
    convolution::square,
    tensor::{Torch, TorchTensor, invalid},
};

impl Torch {
    /// Shape of the pooled image, when the window fits.
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
}

impl Pooling for Torch {
    fn max_pool2d(&self, x: &TorchTensor, spec: PoolSpec) -> Result<TorchTensor> {
        self.max_pooled(x, spec).map(|(y, _)| y)
    }
    /// ẏ is ẋ where the maxima of x are.
    fn max_pool2d_dual(&self, x: &Dual<TorchTensor>, spec: PoolSpec) -> Result<Dual<TorchTensor>> {
        let (primal, indices) = self.max_pooled(&x.primal, spec)?;
        let Some(tangent) = &x.tangent else { return Ok(Dual::constant(primal)) };
        let taken = || {
            let flat = tangent.t().f_flatten(2, 3)?.f_gather(2, &indices.f_flatten(2, 3)?, false)?;
            flat.f_reshape(primal.t().size())
        };
        let tangent = self.new_tensor("max_pool2d", &[tangent], taken())?;
        Ok(Dual { primal, tangent: Some(tangent) })
    }
    fn avg_pool2d(&self, x: &TorchTensor, spec: PoolSpec) -> Result<TorchTensor> {
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
    fn global_avg_pool(&self, x: &TorchTensor) -> Result<TorchTensor> {
        let &[_, _, _, _] = x.shape() else { return invalid("global_avg_pool", "[N, C, H, W]", x.shape()) };
        let y = x.t().f_mean_dim([2_i64, 3].as_slice(), false, self.precision.kind());
        self.new_tensor("global_avg_pool", &[x], y)
    }
}
