//! The one place that names concrete backends: gnr-cpu always, gnr-dfdx with the feature `dfdx`; in single or double precision.

use gnr_cpu::Cpu;
use gnr_nn::Autodiff;

use crate::recipe::{Engine, Precision};

/// Work that is written for every backend.
pub(crate) trait Job {
    type Output;
    fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> B + Send) -> Self::Output;
}

/// Does the work on this engine in this precision.
pub(crate) fn dispatch<J: Job>(engine: Engine, precision: Precision, job: J) -> J::Output {
    match (engine, precision) {
        (Engine::Cpu, Precision::F32) => job.on(Cpu::<f32>::new),
        (Engine::Cpu, Precision::F64) => job.on(Cpu::<f64>::new),
        #[cfg(feature = "dfdx")]
        (Engine::Dfdx, Precision::F32) => job.on(gnr_dfdx::Generic::<f32>::default),
        #[cfg(feature = "dfdx")]
        (Engine::Dfdx, Precision::F64) => job.on(gnr_dfdx::Generic::<f64>::default),
    }
}

/// Multiplications that the kernels were asked for since the process started, by definition (not by algorithm).
pub(crate) fn multiplications() -> u64 {
    gnr_kernels::runtime().multiplications()
}

/// Frees memory that is kept for reuse.
pub(crate) fn release_idle_memory() {
    gnr_kernels::runtime().release_idle();
}

/// The fastest of a few f32 products of 1024 x 1024 matrices on all threads of the pool, GFLOP/s: what this machine can do.
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
