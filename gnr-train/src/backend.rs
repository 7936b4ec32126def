//! The one place that names a concrete backend: gnr-cpu, in single or double precision.

use gnr_cpu::Cpu;
use gnr_nn::Autodiff;

use crate::recipe::Precision;

/// Work that is written for every backend.
pub(crate) trait Job {
    type Output;
    fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> B + Send) -> Self::Output;
}

/// Does the work in this precision.
pub(crate) fn dispatch<J: Job>(precision: Precision, job: J) -> J::Output {
    match precision {
        Precision::F32 => job.on(Cpu::<f32>::new),
        Precision::F64 => job.on(Cpu::<f64>::new),
    }
}

/// Multiplications that the kernels were asked for since the process started, by definition (not by algorithm).
pub(crate) fn multiplications() -> u64 {
    gnr_kernels::work::multiplications()
}

/// Frees memory that is kept for reuse.
pub(crate) fn release_idle_memory() {
    gnr_kernels::buffer::release_idle();
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
