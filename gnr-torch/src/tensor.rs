//! [`Torch`], the backend, and its tensors.

use std::{rc::Rc, sync::Arc};

use gnr_nn::{Error, Result};
use tch::{TchError, Tensor};

use crate::{
    cuda::Multiplier,
    device::{Device, Precision, Ready},
    record::Session,
    tables::Tables,
};

/// LibTorch on one device in one precision, as a `gnr_nn::Backend` with `gnr_nn::Autodiff`.
///
/// Gradients come from ATen's own graph. Products run the model on dual numbers over what the gradient pass recorded,
/// and then one reverse pass.
#[derive(Clone, Debug)]
pub struct Torch {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    pub(crate) tables: Rc<Tables>,
    /// Whether images are uploaded with their channels next to each other.
    channels_last: bool,
    pub(crate) session: Session,
    /// The process's TF32 setting, which cannot change while a handle of it exists.
    #[allow(dead_code)]
    multiplier: Option<Arc<Multiplier>>,
}

impl Torch {
    /// A backend on `device`.
    ///
    /// # Errors
    /// When LibTorch cannot compute there; see [`Device::ready`].
    pub fn new(device: Device, precision: Precision) -> Result<Self> {
        Ok(Self::on(device.ready(precision)?))
    }
    /// A backend on a device that was found to be ready.
    pub fn on(Ready { device, precision, multiplier }: Ready) -> Self {
        Self {
            device,
            precision,
            tables: Rc::default(),
            channels_last: false,
            session: Session::Plain,
            multiplier,
        }
    }
    /// Uploads images `[N, C, H, W]` with the channels of a pixel next to each other in memory, or not (the default).
    ///
    /// Convolutions, and what follows them, then compute in that layout. Shapes and results are those of the other
    /// layout, but for rounding.
    pub fn with_channels_last(self, channels_last: bool) -> Self {
        Self { channels_last, ..self }
    }
    /// A handle for one session.
    pub(crate) fn within(&self, session: Session) -> Self {
        Self { session, ..self.clone() }
    }
    /// The device that computes.
    pub fn device(&self) -> Device {
        self.device
    }
    /// Converts an operand of a convolution or matrix product to the precision in which those are computed.
    pub(crate) fn operand(&self, x: &Tensor) -> Result<Tensor, TchError> {
        match self.precision.operands() {
            Some(kind) => x.f_to_kind(kind),
            None => Ok(x.shallow_clone()),
        }
    }
    /// Converts the result of a convolution or matrix product to the precision of tensors.
    pub(crate) fn result(&self, y: Tensor) -> Result<Tensor, TchError> {
        match self.precision.operands() {
            Some(_) => y.f_to_kind(self.precision.kind()),
            None => Ok(y),
        }
    }
    /// The matrix product a·b, for every index of the axes before the last two.
    pub(crate) fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
        self.result(self.operand(a)?.f_matmul(&self.operand(b)?)?)
    }
    /// Device and precision in words.
    pub(crate) fn place(&self) -> String {
        format!("{}, {}", self.device, self.precision)
    }

    /// A new tensor, which may share its data with another.
    pub(crate) fn new_tensor(
        &self,
        operation: &'static str,
        of: &[&TorchTensor],
        result: Result<Tensor, TchError>,
    ) -> Result<TorchTensor> {
        self.checked(operation, of, result).map(TorchTensor::sharing)
    }

    /// A number for an operation with a tensor on any device: shape `[]`, in host memory, where it costs no kernel.
    ///
    /// No operation here takes tch's `Scalar`: when LibTorch fails, dropping one panics before the error can be read.
    pub(crate) fn number(&self, value: f64) -> Result<Tensor, TchError> {
        let number = match self.precision.kind() {
            tch::Kind::Double => Tensor::f_from_slice(&[value]),
            _ => Tensor::f_from_slice(&[value as f32]),
        };
        number?.f_squeeze()
    }

    /// Images in the layout in which they are to be computed.
    pub(crate) fn laid_out(&self, images: TorchTensor) -> Result<TorchTensor> {
        if !self.channels_last || images.shape().len() != 4 {
            return Ok(images);
        }
        let pixels = images.t().f_permute([0_i64, 2, 3, 1].as_slice()).and_then(|t| t.f_contiguous());
        let laid_out = pixels.and_then(|t| t.f_permute([0_i64, 3, 1, 2].as_slice()));
        self.checked("upload", &[&images], laid_out).map(TorchTensor::owning)
    }

    /// Copies a tensor from the host to the device. A copy to a card is not waited for: it reads pinned memory, which
    /// LibTorch keeps until the copy is done.
    pub(crate) fn sent(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        let device = self.device.tch();
        match self.device {
            Device::Cpu => Ok(tensor.shallow_clone()),
            Device::Cuda(_) => {
                tensor.f_internal_pin_memory(device)?.f_internal_to_copy((tensor.kind(), device), true)
            }
        }
    }

    /// Host data on the device.
    pub(crate) fn host<E: tch::kind::Element>(
        &self,
        operation: &'static str,
        data: &[E],
        shape: &[usize],
    ) -> Result<TorchTensor> {
        if data.len() != shape.iter().product::<usize>() {
            return invalid(operation, format!("one with {} elements", data.len()), shape);
        }
        // Doubles are rounded to single precision before the transfer, singles are widened after it: fewer bytes
        // travel.
        let kind = self.precision.kind();
        let make = || -> Result<Tensor, TchError> {
            let mut tensor = Tensor::f_from_slice(data)?;
            if kind == tch::Kind::Float {
                tensor = tensor.f_to_kind(kind)?;
            }
            self.sent(&tensor)?.f_to_kind(kind)?.f_reshape(ints(shape))
        };
        self.checked(operation, &[], make()).map(TorchTensor::owning)
    }
}

/// A tensor of [`Torch`]; cloning shares the data.
#[derive(Clone, Debug)]
pub struct TorchTensor {
    tensor: Rc<Tensor>,
    shape: Rc<[usize]>,
    /// One handle for each of our tensors that uses the data. `None`: ATen may use them too.
    users: Option<Rc<()>>,
}

impl TorchTensor {
    /// A tensor whose data ATen's graph or another tensor may also use.
    pub(crate) fn sharing(tensor: Tensor) -> Self {
        Self { shape: shape_of(&tensor), tensor: Rc::new(tensor), users: None }
    }
    /// A tensor that nobody else uses.
    pub(crate) fn owning(tensor: Tensor) -> Self {
        Self { shape: shape_of(&tensor), tensor: Rc::new(tensor), users: Some(Rc::new(())) }
    }
    /// Another view of this tensor's data.
    pub(crate) fn view(&self, tensor: Tensor) -> Self {
        Self { shape: shape_of(&tensor), tensor: Rc::new(tensor), users: self.users.clone() }
    }
    /// Whether no other tensor would see a write into the data.
    pub(crate) fn is_alone(&self) -> bool {
        self.users.as_ref().is_some_and(|users| Rc::strong_count(users) == 1)
    }
    /// The tensor as LibTorch knows it.
    pub(crate) fn t(&self) -> &Tensor {
        &self.tensor
    }
    /// The lengths of the axes.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The shape of LibTorch's tensor.
pub(crate) fn shape_of(tensor: &Tensor) -> Rc<[usize]> {
    // Lengths are not negative.
    tensor.size().into_iter().map(|length| usize::try_from(length).unwrap_or(0)).collect()
}

/// A shape as LibTorch takes it.
pub(crate) fn ints(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&length| length as i64).collect()
}

/// The error of an operand whose shape the operation cannot take.
pub(crate) fn invalid<T>(op: &'static str, expected: impl Into<String>, found: &[usize]) -> Result<T> {
    Err(Error::InvalidShape { op, expected: expected.into(), found: found.to_vec() })
}

/// The error of two operands whose shapes do not fit each other.
pub(crate) fn mismatch<T>(op: &'static str, a: &TorchTensor, b: &TorchTensor) -> Result<T> {
    Err(Error::ShapeMismatch { op, lhs: a.shape().to_vec(), rhs: b.shape().to_vec() })
}

/// Checks that two shapes are equal.
pub(crate) fn same(op: &'static str, a: &TorchTensor, b: &TorchTensor) -> Result<()> {
    if a.shape() == b.shape() { Ok(()) } else { mismatch(op, a, b) }
}
