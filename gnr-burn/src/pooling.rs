//! Maxima and means of windows.

use burn_backend::backend::AutodiffBackend;
use gnr_nn::{Dual, Error, PoolSpec, Pooling, Result, composed};

use crate::{
    ops,
    tensor::{Burn, BurnTensor, invalid, run},
};

/// Checks that the window fits the image `[N, C, H, W]`.
fn fits<B: AutodiffBackend>(op: &'static str, x: &BurnTensor<B>, spec: PoolSpec) -> Result<()> {
    let &[_, _, height, width] = x.shape() else { return invalid(op, "[N, C, H, W]", x.shape()) };
    for length in [height, width] {
        composed::swept(op, length, spec.window, spec.stride, [spec.padding; 2])?;
    }
    Ok(())
}

/// Checks [`fits`], and that the padding is at most half of the window, so that no maximum is over padding alone.
fn fits_maximum<B: AutodiffBackend>(x: &BurnTensor<B>, spec: PoolSpec) -> Result<()> {
    if spec.padding * 2 > spec.window {
        return Err(Error::Invalid(format!(
            "max_pool2d: padding {} is more than half of the window {}",
            spec.padding, spec.window
        )));
    }
    fits("max_pool2d", x, spec)
}

impl<B: AutodiffBackend> Pooling for Burn<B> {
    fn max_pool2d(&self, x: &BurnTensor<B>, spec: PoolSpec) -> Result<BurnTensor<B>> {
        fits_maximum(x, spec)?;
        Ok(run!(max_pool2d, [x], spec))
    }
    /// ẏ is ẋ where the maxima of x are.
    fn max_pool2d_dual(&self, x: &Dual<BurnTensor<B>>, spec: PoolSpec) -> Result<Dual<BurnTensor<B>>> {
        let Dual { primal, tangent: Some(tangent) } = x else {
            return Ok(Dual::constant(self.max_pool2d(&x.primal, spec)?));
        };
        fits_maximum(primal, spec)?;
        let (primal, tangent) = if primal.is_tracked() || tangent.is_tracked() {
            let (y, y_t) = ops::max_pool2d_dual::<B>(primal.lifted(), tangent.lifted(), spec);
            (BurnTensor::tracked(y), BurnTensor::tracked(y_t))
        } else {
            let (y, y_t) = ops::max_pool2d_dual::<B::InnerBackend>(primal.values(), tangent.values(), spec);
            (BurnTensor::plain(y), BurnTensor::plain(y_t))
        };
        Ok(Dual { primal, tangent: Some(tangent) })
    }
    fn avg_pool2d(&self, x: &BurnTensor<B>, spec: PoolSpec) -> Result<BurnTensor<B>> {
        fits("avg_pool2d", x, spec)?;
        Ok(run!(avg_pool2d, [x], spec))
    }
}
