//! Devices and precisions by name.

use std::{fmt, str::FromStr, sync::Arc};

use gnr_nn::{Error, Result};
use tch::Kind;

use crate::cuda::{self, Multiplier};

/// The device on which tensors live and are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The cores of this machine.
    Cpu,
    /// The CUDA card of this number, from 0.
    Cuda(usize),
}

impl Device {
    /// Checks that LibTorch can compute on this device in this precision. For a card, loads LibTorch's CUDA library
    /// and, unless the precision is `F64`, sets for the whole process whether products of 32-bit numbers use TF32.
    ///
    /// # Errors
    /// Says what is missing: the library, a driver, or the card; TF32 on the CPU; TF32 beside work in the same process
    /// that must not multiply in TF32, or the other way round.
    pub fn ready(self, precision: Precision) -> Result<Ready> {
        self.present()?;
        let multiplier = match (self, precision) {
            (Self::Cpu, Precision::Tf32) => {
                return Err(Error::Invalid(
                    "precision tf32 on the cpu: TF32 is a format of CUDA cards; f32, bf16 and f64 compute on the cpu"
                        .into(),
                ));
            }
            // Nothing is multiplied in 32 bits on a card.
            (Self::Cpu, _) | (_, Precision::F64) => None,
            (Self::Cuda(_), _) => Some(Multiplier::claim(precision == Precision::Tf32)?),
        };
        Ok(Ready { device: self, precision, multiplier })
    }

    /// Checks that LibTorch can compute on this device.
    ///
    /// # Errors
    /// Says what is missing: the library, a driver, or the card.
    pub(crate) fn present(self) -> Result<()> {
        let Self::Cuda(index) = self else { return Ok(()) };
        match cuda::cards()? {
            0 => Err(Error::Invalid(format!(
                "device {self}: LibTorch's CUDA library is loaded but finds no card; does `nvidia-smi` show one, and is \
                 CUDA_VISIBLE_DEVICES set?"
            ))),
            cards if index >= cards => Err(Error::Invalid(format!(
                "device {self}: this machine has {cards} CUDA card(s), cuda:0 to cuda:{}",
                cards - 1
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn tch(self) -> tch::Device {
        match self {
            Self::Cpu => tch::Device::Cpu,
            Self::Cuda(index) => tch::Device::Cuda(index),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// Parses "cpu", "cuda" (the first card) or "cuda:N".
    fn from_str(name: &str) -> Result<Self> {
        let index = name.strip_prefix("cuda:").and_then(|index| index.parse().ok());
        match (name, index) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(index)) => Ok(Self::Cuda(index)),
            _ => Err(Error::Invalid(format!("device {name:?}: expected cpu, cuda or cuda:N"))),
        }
    }
}

/// A device on which LibTorch can compute in a precision, as [`Device::ready`] found.
#[derive(Clone, Debug)]
pub struct Ready {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    /// The TF32 setting, if numbers of 32 bits are multiplied on a card.
    pub(crate) multiplier: Option<Arc<Multiplier>>,
}

/// Number of CUDA cards that LibTorch sees. The first call loads LibTorch's CUDA library.
///
/// # Errors
/// When the library is not found, with the loader's words.
pub fn cards() -> Result<usize> {
    cuda::cards()
}

/// Sets the number of threads of the LibTorch operations that this thread calls. At least one is used.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// Precision of tensors and of their products.
///
/// Convolutions, dense layers, matrix products and attention are what `Tf32` and `Bf16` make faster. Parameters,
/// normalisations, losses and the arithmetic of Hessian-vector products stay in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision, 32 bits. On cards too: TF32 is off.
    F32,
    /// Single precision whose products are computed by a card's TF32 units: 11 bits of significand in the operands, 24
    /// in sums.
    Tf32,
    /// Single precision whose products have operands and results rounded to bfloat16: 8 bits of significand.
    Bf16,
    /// Double precision, 64 bits.
    F64,
}

impl Precision {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::F32 | Self::Tf32 | Self::Bf16 => Kind::Float,
            Self::F64 => Kind::Double,
        }
    }
    /// The kind of the operands of products, where it is not [`kind`](Self::kind).
    pub(crate) fn operands(self) -> Option<Kind> {
        (self == Self::Bf16).then_some(Kind::BFloat16)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
        })
    }
}

/// The LibTorch that tch 0.26 is written for; its build script refuses others unless it is told not to.
const BUILT_FOR: &str = "2.13.0";

/// The version of LibTorch that this crate was built with, and the versions of CUDA's libraries if they are loaded. A
/// build that accepted any version reports its version as not checked.
pub fn libtorch_version() -> String {
    let mut version = match option_env!("LIBTORCH_BYPASS_VERSION_CHECK") {
        None => format!("LibTorch {BUILT_FOR}"),
        Some(_) => format!("LibTorch, not checked to be {BUILT_FOR}"),
    };
    if cuda::is_loaded() {
        version += &format!(", CUDA {}, cuDNN {}", tch::utils::version_cudart(), tch::utils::version_cudnn());
    }
    version
}
