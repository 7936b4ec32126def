//! PyTorch's numbers for whole architectures, in both precisions.

use gnr_cpu::Cpu;

gnr_models::golden_tests! {
    f64: Cpu::<f64>::new(),
    f32: Cpu::<f32>::new(),
    images: whole,
    // A failed test leaves idle buffers of its lengths behind; the next one needs others.
    release: || gnr_kernels::runtime().release_idle(),
}
