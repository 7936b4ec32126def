//! The differences between devices: how each is prepared, and which operations it has a kernel of its own for.

use dfdx::prelude::{Cpu, Device, Dtype};
use gnr_nn::{Conv2dSpec, Result, composed};
use num_traits::Float;

use super::{Generic, GenericTensor};

/// A dfdx device that [`Generic`] runs on. The defaults are public dfdx operations; a new device is one line.
pub trait DeviceOps<E: Dtype + Float>: Device<E> {
    /// Prepares a new device. The default does nothing.
    fn prepare(&self) {}

    /// See [`Convolution::conv2d`](gnr_nn::Convolution::conv2d); by default windows (gather) and a matrix product.
    ///
    /// # Errors
    /// Shape mismatches, a failure of the device.
    fn conv2d(
        backend: &Generic<E, Self>,
        x: &GenericTensor<E, Self>,
        w: &GenericTensor<E, Self>,
        spec: Conv2dSpec,
    ) -> Result<GenericTensor<E, Self>> {
        composed::conv2d(backend, x, w, spec)
    }
}

impl<E: Dtype + Float> DeviceOps<E> for Cpu where Cpu: Device<E> {}

#[cfg(feature = "cuda")]
impl<E: Dtype + Float> DeviceOps<E> for dfdx::prelude::Cuda
where
    dfdx::prelude::Cuda: Device<E>,
{
    /// Keeps the memory of dropped tensors for new ones of equal size. So a step does not ask the driver for memory
    /// that the step before had.
    fn prepare(&self) {
        use dfdx::prelude::Cache as _;
        // `enable_cache` is a switch, and cannot fail.
        self.enable_cache();
    }
}

/// Type-checks a model, its gradient and its exact Hessian-vector product on CUDA where no CUDA is at hand.
///
/// # Errors
/// The errors of the oracle.
#[cfg(feature = "cuda")]
pub fn hvp_on_cuda<M: gnr_nn::Model>(
    oracle: &mut gnr_nn::BatchOracle<'_, M, Generic<f32, dfdx::prelude::Cuda>>,
    theta: &gnr_nn::ParamVector<Generic<f32, dfdx::prelude::Cuda>>,
) -> gnr_core::Result<gnr_nn::ParamVector<Generic<f32, dfdx::prelude::Cuda>>> {
    use gnr_core::{GradOracle, HvpOracle, Order, Pass, Use};
    let here = oracle.evaluate(theta, Pass::Probe, Order::Second)?;
    oracle.hvp(&here, &here.grad, Use::Last)
}
