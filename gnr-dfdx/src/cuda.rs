//! The backend on CUDA cards: which cards there are, and a device on one of them that is fit for training.
//!
//! dfdx panics if a card is missing, or if it cannot compile a kernel. So this module first looks for all that is known
//! to be missing on some machines, and returns an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cudarc::driver::{DriverError, result, sys::cudaError_enum as Code};
use dfdx::prelude::{Axes2, CudaError, Dtype, PermuteTo, ReshapeTo, Tensor, ZerosTensor};
use gnr_nn::{Error, Result};
use num_traits::Float;

use crate::generic::{DeviceOps, Generic};

/// [`Generic`] on dfdx's CUDA device.
pub type Cuda<E> = Generic<E, dfdx::prelude::Cuda>;

/// The number of a card that NVIDIA's driver shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card(usize);

impl Card {
    /// The card of this number, from 0.
    ///
    /// # Errors
    /// When NVIDIA's driver is missing or shows no such card.
    pub fn find(index: usize) -> Result<Self> {
        let cards = cards()?;
        if index < cards {
            return Ok(Self(index));
        }
        let there = match cards {
            0 => "no CUDA card".into(),
            1 => "one CUDA card, cuda:0".into(),
            n => format!("{n} CUDA cards, cuda:0 to cuda:{}", n - 1),
        };
        Err(Error::Invalid(format!("this machine has {there}; there is no cuda:{index}")))
    }
}

/// Number of CUDA cards that NVIDIA's driver shows.
///
/// # Errors
/// When the driver is missing or does not start.
pub fn cards() -> Result<usize> {
    match result::init() {
        Ok(()) => {}
        Err(DriverError(Code::CUDA_ERROR_NO_DEVICE)) => return Ok(0),
        // A driver that is missing cannot say what its codes are called, so this error has words of its own.
        Err(DriverError(Code::CUDA_ERROR_STUB_LIBRARY)) => {
            return Err(Error::Invalid(
                "NVIDIA's driver, whose library is libcuda.so.1, cannot be loaded on this machine".into(),
            ));
        }
        Err(error) => return Err(Error::Invalid(format!("NVIDIA's driver does not start: {error:?}"))),
    }
    let count = result::device::get_count()
        .map_err(|error| Error::Invalid(format!("NVIDIA's driver shows no cards: {error:?}")))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

impl<E: Dtype + Float> Cuda<E>
where
    dfdx::prelude::Cuda: DeviceOps<E>,
{
    /// The backend on a card. Memory that tensors leave is kept for tensors of equal size.
    ///
    /// # Errors
    /// When cuBLAS, NVRTC or the headers that dfdx compiles its kernels with are not found; a failure of the device.
    pub fn on_card(card: Card) -> Result<Self> {
        compiles()?;
        let device = dfdx::prelude::Cuda::try_build(card.0, 0).map_err(|error| match error {
            CudaError::Blas(error) => Error::Invalid(format!(
                "cuBLAS does not start on cuda:{} ({error:?}): the folder of libcublas.so and libcublasLt.so belongs into \
                 LD_LIBRARY_PATH",
                card.0
            )),
            error => Error::Invalid(format!("dfdx cannot compute on cuda:{}: {error:?}", card.0)),
        })?;
        let backend = Self::new(device);
        backend.reshapes()?;
        Ok(backend)
    }

    /// Checks that dfdx can compile kernels, by an operation whose kernel it compiles at the first use, like others
    /// later.
    fn reshapes(&self) -> Result<()> {
        let turned = || -> std::result::Result<(), CudaError> {
            let x: Tensor<(usize, usize), E, dfdx::prelude::Cuda> = self.device().try_zeros_like(&(2, 3))?;
            let turned: Tensor<(usize, usize), E, dfdx::prelude::Cuda> = x.try_permute::<_, Axes2<1, 0>>()?;
            turned.try_reshape_like(&(6,)).map(|_: Tensor<(usize,), E, dfdx::prelude::Cuda>| ())
        };
        match catch_unwind(AssertUnwindSafe(turned)) {
            Ok(done) => done.map_err(|error| Error::Invalid(format!("dfdx cannot run its kernels: {error:?}"))),
            Err(_) => Err(Error::Invalid(
                "dfdx cannot compile its kernels on this machine, for the reason above: it reads headers in the folders in \
                 which the program was built"
                    .into(),
            )),
        }
    }
}

/// Compiles an empty kernel.
fn compiles() -> Result<()> {
    match cudarc::nvrtc::compile_ptx("extern \"C\" __global__ void nothing() {}") {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Invalid(format!(
            "NVRTC does not compile ({error:?}): the folder of libnvrtc.so belongs into LD_LIBRARY_PATH"
        ))),
    }
}
