//! The one place that names concrete backends: gnr-cpu always, gnr-burn, gnr-dfdx and gnr-torch with the features
//! `burn`, `dfdx` (on CUDA cards `dfdx-cuda`) and `torch`; in single or double precision.

use gnr_cpu::Cpu;
use gnr_nn::Autodiff;

use crate::{
    error::Result,
    recipe::{Engine, Place, Precision},
};

/// Work that can be done on any backend.
pub(crate) trait Job {
    type Output;
    /// Does the work. `backend` is called on the thread that will use its result.
    fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> Result<B> + Send) -> Self::Output;
}

/// Does the work on the backend of `place`.
///
/// # Errors
/// A device that this machine lacks, or a precision that the engine lacks. The work has not begun then.
pub(crate) fn dispatch<J: Job>(place: Place, job: J) -> Result<J::Output> {
    if place.engine.name() != "torch" && matches!(place.precision, Precision::Tf32 | Precision::Bf16) {
        let (engine, precision) = (place.engine.name(), place.precision);
        return Err(gnr_nn::Error::Invalid(format!(
            "the backend {engine:?} computes in f32 and f64, not in {precision}"
        ))
        .into());
    }
    Ok(match (place.engine, place.precision) {
        (Engine::Cpu, Precision::F64) => job.on(|| Ok(Cpu::<f64>::new())),
        #[cfg(feature = "burn")]
        (Engine::Burn, _) => return burn(place, job),
        (Engine::Cpu, _) => job.on(|| Ok(Cpu::<f32>::new())),
        #[cfg(feature = "dfdx")]
        (Engine::Dfdx, _) => return dfdx(place, job),
        #[cfg(feature = "torch")]
        (Engine::Torch, _) => {
            let ready = torch(place)?;
            // LibTorch allocates its tensors anew in each step, from the system's allocator, which now keeps freed
            // memory.
            gnr_kernels::runtime().keep_freed();
            job.on(move || {
                // The number is set on the thread that computes, because each thread has a setting of its own.
                gnr_torch::set_threads(rayon::current_num_threads());
                Ok(gnr_torch::Torch::on(ready).with_channels_last(place.channels_last))
            })
        }
    })
}

#[cfg(feature = "dfdx")]
fn dfdx<J: Job>(place: Place, job: J) -> Result<J::Output> {
    use crate::recipe::Device;
    match (place.device, place.precision.is_double()) {
        (Device::Cpu, true) => Ok(job.on(|| Ok(gnr_dfdx::Generic::<f64>::default()))),
        (Device::Cpu, false) => Ok(job.on(|| Ok(gnr_dfdx::Generic::<f32>::default()))),
        #[cfg(feature = "dfdx-cuda")]
        (Device::Cuda(index), double) => {
            // dfdx's device belongs to the thread that made it, so the search for the card, which may fail, comes
            // first.
            let card = gnr_dfdx::Card::find(index)?;
            Ok(if double {
                job.on(move || Ok(gnr_dfdx::Cuda::<f64>::on_card(card)?))
            } else {
                job.on(move || Ok(gnr_dfdx::Cuda::<f32>::on_card(card)?))
            })
        }
        #[cfg(not(feature = "dfdx-cuda"))]
        (Device::Cuda(_), _) => Err(gnr_nn::Error::Invalid(format!(
            "this program's backend \"dfdx\" was built without CUDA: {}",
            crate::recipe::device::how_to_build("dfdx-cuda")
        ))
        .into()),
        (Device::Vulkan(_), _) => Err(elsewhere(place).into()),
    }
}

#[cfg(feature = "burn")]
fn burn<J: Job>(place: Place, job: J) -> Result<J::Output> {
    use crate::recipe::Device;
    use gnr_burn::{Burn, Flex, Precision};
    let precision = if place.precision.is_double() { Precision::F64 } else { Precision::F32 };
    #[cfg(feature = "burn-wgpu")]
    if let Device::Vulkan(index) = place.device {
        let backend = Burn::vulkan(index, precision)?;
        return Ok(job.on(move || Ok(backend)));
    }
    if place.device != Device::Cpu {
        return Err(elsewhere(place).into());
    }
    let backend = Burn::<Flex>::new(precision)?;
    Ok(job.on(move || Ok(backend)))
}

/// The error of an engine that was asked to compute on another engine's device.
#[cfg(any(feature = "burn", feature = "dfdx", feature = "torch"))]
fn elsewhere(place: Place) -> gnr_nn::Error {
    let (engine, device) = (place.engine.name(), place.device);
    gnr_nn::Error::Invalid(format!("the backend {engine:?} of this program does not compute on {device}"))
}

#[cfg(feature = "torch")]
fn torch(place: Place) -> Result<gnr_torch::Ready> {
    use crate::recipe::Device;
    let device = match place.device {
        Device::Cpu => gnr_torch::Device::Cpu,
        Device::Cuda(index) => gnr_torch::Device::Cuda(index),
        Device::Vulkan(_) => return Err(elsewhere(place).into()),
    };
    let precision = match place.precision {
        Precision::F32 => gnr_torch::Precision::F32,
        Precision::Tf32 => gnr_torch::Precision::Tf32,
        Precision::Bf16 => gnr_torch::Precision::Bf16,
        Precision::F64 => gnr_torch::Precision::F64,
    };
    Ok(device.ready(precision)?)
}

/// Name and version of the library that computes at `place`, as in `gnr-cpu 0.1.0` or `LibTorch 2.13.0`.
pub(crate) fn library(place: Place) -> String {
    match place.engine {
        // All crates of this workspace have one version.
        Engine::Cpu => format!("gnr-cpu {}", crate::VERSION),
        #[cfg(feature = "burn")]
        Engine::Burn => burn_library(place),
        #[cfg(feature = "dfdx")]
        Engine::Dfdx => "dfdx 0.13".into(),
        #[cfg(feature = "torch")]
        Engine::Torch => gnr_torch::libtorch_version(),
    }
}

/// burn's name and version; on a graphics card also the card's name, because machines number their cards differently.
#[cfg(feature = "burn")]
fn burn_library(place: Place) -> String {
    #[cfg(feature = "burn-wgpu")]
    if let crate::recipe::Device::Vulkan(index) = place.device
        && let Some(adapter) = gnr_burn::adapters().ok().and_then(|adapters| adapters.into_iter().nth(index))
    {
        return format!("{} on {}", gnr_burn::VERSION, adapter.name);
    }
    let _ = place;
    gnr_burn::VERSION.into()
}

/// The Vulkan devices on which burn can compute, in the order of their numbers. Each is opened.
///
/// # Errors
/// The reason why there are none.
#[cfg(feature = "burn-wgpu")]
pub(crate) fn vulkan_devices() -> Result<Vec<crate::devices::Adapter>> {
    let devices = gnr_burn::adapters()?.into_iter().enumerate().map(|(index, found)| {
        let memory = gnr_burn::memory_bytes(index);
        let unusable = memory.as_ref().err().map(ToString::to_string);
        crate::devices::Adapter {
            device: format!("vulkan:{index}"),
            name: found.name,
            kind: found.kind.name(),
            driver: found.driver,
            memory_mb: memory.ok().flatten().map(|bytes| bytes >> 20),
            unusable,
        }
    });
    Ok(devices.collect())
}

/// Number of CUDA cards on which LibTorch can compute.
///
/// # Errors
/// The reason why there are none: LibTorch's CUDA library is not found.
#[cfg(feature = "torch")]
pub(crate) fn torch_cards() -> Result<usize> {
    Ok(gnr_torch::cards()?)
}

/// Number of CUDA cards on which dfdx can compute.
///
/// # Errors
/// The reason why there are none: NVIDIA's driver is not found or does not start.
#[cfg(feature = "dfdx-cuda")]
pub(crate) fn dfdx_cards() -> Result<usize> {
    Ok(gnr_dfdx::cards()?)
}

/// Number of multiplications in the kernels' operations since the process started, by the definition of each operation,
/// whatever its algorithm.
pub(crate) fn multiplications() -> u64 {
    gnr_kernels::runtime().multiplications()
}

/// Frees memory that the engines keep for reuse.
pub(crate) fn release_idle_memory() {
    gnr_kernels::runtime().release_idle();
}

/// The peak speed of this machine in GFLOP/s: the fastest of a few f32 products of 1024 x 1024 matrices on all threads
/// of the pool.
pub(crate) fn matmul_peak_gflops() -> f64 {
    use gnr_kernels::gemm::{Mat, batched};
    const SIDE: usize = 1024;
    let operand: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut product = vec![0.0_f32; SIDE * SIDE];
    let mut best = f64::INFINITY;
    for _ in 0..12 {
        let started = std::time::Instant::now();
        let (a, b) = (Mat::rows(&operand, SIDE), Mat::rows(&operand, SIDE));
        batched([SIDE; 3], a, b, &mut product, gnr_kernels::Accum::Replace);
        best = best.min(started.elapsed().as_secs_f64());
    }
    std::hint::black_box(&product);
    2.0 * (SIDE as f64).powi(3) / best / 1e9
}
