//! The backend on any dfdx device, through dfdx's public operations only. CUDA runs this code, and the CPU runs it in
//! tests.
//!
//! A tensor is a flat dfdx tensor and a run-time shape; each operation recovers the ranks that dfdx wants at compile
//! time (three axes around the one in question). Everything beyond the primitives is gnr-nn's composition, so an exact
//! Hessian-vector product needs nothing more. On a CPU, this backend is about twenty times slower than the engine of
//! `gnr-cpu`.

mod autodiff;
mod device;
mod kept;
mod ops;
mod sums;

use std::{fmt, rc::Rc};

use dfdx::prelude::{Cpu, Dtype, NoneTape, PutTape, Shape, Storage, Tensor};
use gnr_nn::{
    Arithmetic, Attention, Conv2dSpec, Convolution, Error, Linear, Loss, Normalisation, Pooling, Result,
    Unary,
};
use num_traits::Float;

pub use device::DeviceOps;
#[cfg(feature = "cuda")]
pub use device::hvp_on_cuda;

use self::kept::Kept;
use crate::tape::SharedTape;

/// A dfdx tensor on a session's tape.
type Taped<S, E, D> = Tensor<S, E, D, SharedTape<E, D>>;

/// The backend on a dfdx device; `Generic<f64>` is on dfdx's CPU.
///
/// `Generic::new(device)` is a plain handle.
pub struct Generic<E: Dtype, D: Storage<E> + Storage<usize> = Cpu> {
    device: D,
    tape: SharedTape<E, D>,
    /// Constants and index tables on the device, shared by all handles.
    kept: Rc<Kept<E, D>>,
}

/// A tensor of [`Generic`]. Cloning shares the data.
pub struct GenericTensor<E: Dtype, D: Storage<E> = Cpu> {
    flat: Taped<(usize,), E, D>,
    shape: Rc<[usize]>,
    /// The tensor's identity in dfdx, which refuses one tensor as both operands of an operation.
    identity: Rc<()>,
}

impl<E: Dtype, D: Storage<E>> GenericTensor<E, D> {
    fn new(flat: Taped<(usize,), E, D>, shape: &[usize]) -> Self {
        Self { flat, shape: shape.into(), identity: Rc::new(()) }
    }
    /// The values without tape.
    fn values(&self) -> Tensor<(usize,), E, D> {
        self.flat.retaped::<NoneTape>()
    }
    /// The tensor to use in an operation.
    fn taped(&self) -> Taped<(usize,), E, D> {
        self.flat.clone()
    }
}

impl<E: Dtype + Float, D: DeviceOps<E>> Generic<E, D> {
    /// A plain handle, on a device that [`DeviceOps::prepare`] made ready.
    pub fn new(device: D) -> Self {
        device.prepare();
        Self { device, tape: SharedTape::default(), kept: Rc::default() }
    }
    /// The device that tensors live on.
    pub fn device(&self) -> &D {
        &self.device
    }
}

impl<E: Dtype + Float, D: DeviceOps<E> + Default> Default for Generic<E, D> {
    fn default() -> Self {
        Self::new(D::default())
    }
}

impl<E: Dtype, D: Storage<E> + Storage<usize>> Clone for Generic<E, D> {
    fn clone(&self) -> Self {
        Self { device: self.device.clone(), tape: self.tape.clone(), kept: Rc::clone(&self.kept) }
    }
}

impl<E: Dtype, D: Storage<E> + Storage<usize>> fmt::Debug for Generic<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generic").field("dtype", &std::any::type_name::<E>()).finish_non_exhaustive()
    }
}

impl<E: Dtype, D: Storage<E>> Clone for GenericTensor<E, D> {
    fn clone(&self) -> Self {
        Self { flat: self.flat.clone(), shape: Rc::clone(&self.shape), identity: Rc::clone(&self.identity) }
    }
}

impl<E: Dtype, D: Storage<E>> fmt::Debug for GenericTensor<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenericTensor").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Turns an error of dfdx into one of ours. dfdx's device errors are `Debug` only.
pub(crate) fn library(error: impl fmt::Debug) -> Error {
    Error::Library(format!("dfdx: {error:?}").into())
}

/// Checks a number of elements against a shape.
fn check_len(op: &'static str, len: usize, shape: &[usize]) -> Result<()> {
    if len == shape.iter().product::<usize>() {
        Ok(())
    } else {
        Err(Error::InvalidShape { op, expected: format!("one with {len} elements"), found: shape.to_vec() })
    }
}

/// Checks that two tensors have equal shapes.
fn same_shape<E: Dtype, D: Storage<E>>(
    op: &'static str,
    a: &GenericTensor<E, D>,
    b: &GenericTensor<E, D>,
) -> Result<()> {
    if a.shape == b.shape {
        Ok(())
    } else {
        Err(Error::ShapeMismatch { op, lhs: a.shape.to_vec(), rhs: b.shape.to_vec() })
    }
}

impl<E: Dtype + Float, D: DeviceOps<E>> Generic<E, D> {
    /// Turns a dfdx tensor of any rank into one of ours, with this `shape`.
    fn wrap<S: Shape>(&self, x: Taped<S, E, D>, shape: &[usize]) -> Result<GenericTensor<E, D>> {
        use dfdx::prelude::ReshapeTo;
        let len: usize = shape.iter().product();
        let flat = x.try_reshape_like(&(len,)).map_err(library)?;
        Ok(GenericTensor::new(flat, shape))
    }
    /// Rounds a scalar to the element type.
    fn scalar(x: f64) -> Result<E> {
        E::from_f64(x).ok_or_else(|| Error::Invalid(format!("{x} has no value in the element type")))
    }
}

impl<E: Dtype + Float, D: DeviceOps<E>> Arithmetic for Generic<E, D> {
    type Tensor = GenericTensor<E, D>;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Self::Tensor> {
        let data = data.iter().map(|&x| Self::scalar(x)).collect::<Result<Vec<_>>>()?;
        self.tensor("constant", data, shape)
    }
    fn shape<'t>(&self, x: &'t Self::Tensor) -> &'t [usize] {
        &x.shape
    }
    fn detach(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        // dfdx keys gradients by tensor, so a constant must not be the tensor it came from.
        let flat = self.renewed(x)?.put_tape(SharedTape::default());
        Ok(GenericTensor::new(flat, &x.shape))
    }
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.add_op(a, b)
    }
    fn mul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.mul_op(a, b)
    }
    fn affine(&self, x: &Self::Tensor, a: f64, b: f64) -> Result<Self::Tensor> {
        self.affine_op(x, a, b)
    }
    fn unary(&self, op: Unary, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.unary_op(op, x)
    }
    fn matmul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.matmul_op(a, b)
    }
    fn sum(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor> {
        self.sum_op(x, axes)
    }
    fn broadcast(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor> {
        self.broadcast_op(x, shape)
    }
    fn reshape(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor> {
        let len = x.shape.iter().product();
        check_len("reshape", len, shape)?;
        Ok(GenericTensor { shape: shape.into(), ..x.clone() })
    }
    fn permute(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor> {
        self.permute_op(x, axes)
    }
    fn gather(&self, x: &Self::Tensor, axis: usize, indices: &[Option<usize>]) -> Result<Self::Tensor> {
        self.gather_op(x, axis, indices)
    }
    fn max_last(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.max_last_op(x)
    }
}

impl<E: Dtype + Float, D: DeviceOps<E>> Convolution for Generic<E, D> {
    fn conv2d(&self, x: &Self::Tensor, w: &Self::Tensor, spec: Conv2dSpec) -> Result<Self::Tensor> {
        D::conv2d(self, x, w, spec)
    }
}

impl<E: Dtype + Float, D: DeviceOps<E>> Linear for Generic<E, D> {}
impl<E: Dtype + Float, D: DeviceOps<E>> Pooling for Generic<E, D> {}
impl<E: Dtype + Float, D: DeviceOps<E>> Normalisation for Generic<E, D> {}
impl<E: Dtype + Float, D: DeviceOps<E>> Attention for Generic<E, D> {}
impl<E: Dtype + Float, D: DeviceOps<E>> Loss for Generic<E, D> {}
