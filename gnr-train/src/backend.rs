//! The one place that names a concrete backend: gnr-dfdx on the CPU, in single or double precision.

use gnr_dfdx::Cpu;
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
