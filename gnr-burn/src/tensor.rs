//! [`Burn`], the backend, and its tensors.

use std::{fmt, sync::Arc};

use burn_autodiff::Autodiff;
use burn_backend::{
    DType, FloatDType, TensorData, TensorMetadata, backend::AutodiffBackend, ops::FloatTensorOps as _,
    tensor::FloatTensor,
};
use gnr_nn::{Error, Result};

/// burn's CPU backend with its reverse mode: the backend of [`Burn`] that every machine has.
pub type Flex = Autodiff<burn_flex::Flex>;

/// The burn that this crate is written for, in words.
pub const VERSION: &str = "burn 0.22";

/// Precision of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision, 32 bits.
    F32,
    /// Double precision, 64 bits.
    F64,
}

impl Precision {
    /// The type of elements as burn names it.
    pub(crate) fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F64 => FloatDType::F64,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A burn backend on one of its devices in one precision, as a `gnr_nn::Backend` with `gnr_nn::Autodiff`.
///
/// Gradients come from burn's reverse mode, which differentiates once. Products run the model on dual numbers and then
/// one reverse pass, so they are exact. Operations in which no variable takes part run on burn's inner backend and
/// leave no trace in burn's graph.
pub struct Burn<B: AutodiffBackend> {
    device: B::Device,
    precision: Precision,
}

impl<B: AutodiffBackend> Burn<B> {
    /// A backend on burn's default device of `B`.
    ///
    /// # Errors
    /// When that device does not compute in this precision.
    pub fn new(precision: Precision) -> Result<Self> {
        Self::on(B::Device::default(), precision)
    }
    /// A backend on a device.
    ///
    /// # Errors
    /// When the device does not compute in this precision.
    pub fn on(device: B::Device, precision: Precision) -> Result<Self> {
        // A card that can only store doubles says that it also computes in them.
        #[cfg(feature = "wgpu")]
        if B::name(&device).contains(crate::vulkan::NAME) {
            crate::vulkan::single(precision)?;
        }
        let dtype = precision.dtype().into();
        if !B::supports_dtype(&device, dtype) {
            return Err(Error::Invalid(format!(
                "device {device:?} of burn's backend {} does not compute in {precision}; most cards compute in f32 alone",
                B::name(&device)
            )));
        }
        Ok(Self { device, precision })
    }
    /// The device that computes.
    pub fn device(&self) -> &B::Device {
        &self.device
    }
    /// The precision of tensors.
    pub fn precision(&self) -> Precision {
        self.precision
    }
    /// Backend, device and precision in words.
    pub(crate) fn place(&self) -> String {
        format!("{:?} of {}, {}", self.device, B::name(&self.device), self.precision)
    }
    /// Whether the device adds in double precision.
    pub(crate) fn has_double(&self) -> bool {
        // burn's wgpu backend loses terms of a sum of 100,000 doubles.
        #[cfg(feature = "wgpu")]
        if B::name(&self.device).contains(crate::vulkan::NAME) {
            return false;
        }
        B::supports_dtype(&self.device, DType::F64)
    }

    /// Host data on the device.
    pub(crate) fn host(
        &self,
        operation: &'static str,
        data: impl ExactSizeIterator<Item = f64>,
        shape: &[usize],
    ) -> Result<BurnTensor<B>> {
        if data.len() != shape.iter().product::<usize>() {
            return invalid(operation, format!("one with {} elements", data.len()), shape);
        }
        let data = match self.precision {
            Precision::F32 => TensorData::new(data.map(|x| x as f32).collect(), shape),
            Precision::F64 => TensorData::new(data.collect(), shape),
        };
        Ok(BurnTensor::plain(<B::InnerBackend>::float_from_data(data, &self.device)))
    }
}

impl<B: AutodiffBackend> Clone for Burn<B> {
    fn clone(&self) -> Self {
        Self { device: self.device.clone(), precision: self.precision }
    }
}

impl<B: AutodiffBackend> fmt::Debug for Burn<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Burn").field("device", &self.device).field("precision", &self.precision).finish()
    }
}

/// A tensor of [`Burn`]; cloning shares the data.
pub struct BurnTensor<B: AutodiffBackend> {
    data: Data<B>,
    shape: Arc<[usize]>,
}

/// A tensor outside of burn's graph, or one that depends on a variable.
enum Data<B: AutodiffBackend> {
    Plain(FloatTensor<B::InnerBackend>),
    Tracked(FloatTensor<B>),
}

impl<B: AutodiffBackend> BurnTensor<B> {
    /// A tensor of burn's inner backend as one of ours. It is a constant, and shares its data with burn's.
    pub fn plain(tensor: FloatTensor<B::InnerBackend>) -> Self {
        let shape = tensor.shape().as_slice().into();
        Self { data: Data::Plain(tensor), shape }
    }
    /// A tensor that depends on a variable.
    pub(crate) fn tracked(tensor: FloatTensor<B>) -> Self {
        let shape = tensor.shape().as_slice().into();
        Self { data: Data::Tracked(tensor), shape }
    }
    /// Whether the tensor depends on a variable.
    pub(crate) fn is_tracked(&self) -> bool {
        matches!(self.data, Data::Tracked(_))
    }
    /// The values as a tensor of burn's inner backend, without history. They are not copied.
    pub fn values(&self) -> FloatTensor<B::InnerBackend> {
        match &self.data {
            Data::Plain(tensor) => tensor.clone(),
            Data::Tracked(tensor) => B::inner(tensor.clone()),
        }
    }
    /// The tensor as burn's reverse mode takes it.
    pub(crate) fn lifted(&self) -> FloatTensor<B> {
        match &self.data {
            Data::Plain(tensor) => B::from_inner(tensor.clone()),
            Data::Tracked(tensor) => tensor.clone(),
        }
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

impl<B: AutodiffBackend> Clone for BurnTensor<B> {
    fn clone(&self) -> Self {
        let data = match &self.data {
            Data::Plain(tensor) => Data::Plain(tensor.clone()),
            Data::Tracked(tensor) => Data::Tracked(tensor.clone()),
        };
        Self { data, shape: Arc::clone(&self.shape) }
    }
}

impl<B: AutodiffBackend> fmt::Debug for BurnTensor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tracked = self.is_tracked();
        f.debug_struct("BurnTensor").field("shape", &self.shape).field("tracked", &tracked).finish()
    }
}

/// Calls a function of `ops`, generic over burn's backend, on the reverse mode if a tensor of the list is tracked, else
/// on the inner backend.
macro_rules! run {
    ($f:ident, [$($x:expr),+] $(, $more:expr)*) => {
        if [$($x.is_tracked()),+].contains(&true) {
            BurnTensor::tracked(crate::ops::$f::<B>($($x.lifted()),+ $(, $more)*))
        } else {
            BurnTensor::plain(crate::ops::$f::<B::InnerBackend>($($x.values()),+ $(, $more)*))
        }
    };
}
pub(crate) use run;

/// The error of an operand whose shape the operation cannot take.
pub(crate) fn invalid<T>(op: &'static str, expected: impl Into<String>, found: &[usize]) -> Result<T> {
    Err(Error::InvalidShape { op, expected: expected.into(), found: found.to_vec() })
}

/// The error of two operands whose shapes do not fit each other.
pub(crate) fn mismatch<T, B: AutodiffBackend>(
    op: &'static str,
    a: &BurnTensor<B>,
    b: &BurnTensor<B>,
) -> Result<T> {
    Err(Error::ShapeMismatch { op, lhs: a.shape().to_vec(), rhs: b.shape().to_vec() })
}

/// Checks that two shapes are equal.
pub(crate) fn same<B: AutodiffBackend>(op: &'static str, a: &BurnTensor<B>, b: &BurnTensor<B>) -> Result<()> {
    if a.shape() == b.shape() { Ok(()) } else { mismatch(op, a, b) }
}
