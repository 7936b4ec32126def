//! What is measured after training, of a network and a fixed sample of images.
//!
//! * [`subject`]: the network at its weights and the images, ready to be asked for loss, gradients and products.
//! * [`curvature`]: eigenpairs, trace, density and diagonal of the Hessian or the Gauss–Newton matrix.
//! * [`geometry`]: landscapes, extrema along directions, sharpness within a radius.
//!
//! Each kind of measurement has a request, a report, and files in a folder, and goes on where it was stopped. How a
//! program watches it, how it ends and how it writes is here, once for all of them.

pub mod curvature;
pub mod geometry;
mod session;
pub mod subject;

use std::time::Duration;

pub(crate) use session::Session;
use subject::Description;

/// How far a measurement is, in steps: products of a matrix and a vector, or points of the loss.
#[derive(Clone, Debug)]
pub struct MeasureEvent {
    /// Steps done, those before an interruption included.
    pub done: usize,
    /// Steps in all. Measurements of curvature may end before them.
    pub total: usize,
    /// Done by this process since it started measuring.
    pub since: (Duration, usize),
    /// What is known so far, in words.
    pub message: String,
}

/// How a program watches a measurement. Every method has an empty default.
pub trait MeasureObserver: Send {
    /// Everything is open; the work begins.
    fn on_start(&mut self, subject: &Description) {
        let _ = subject;
    }
    /// After each step.
    fn on_progress(&mut self, event: &MeasureEvent) {
        let _ = event;
    }
}

/// Watches nothing.
impl MeasureObserver for () {}

/// How a measurement ended.
#[derive(Clone, Debug)]
pub enum Measured<R> {
    /// With a result, which is also in the folder.
    Finished(R),
    /// The work was asked to stop.
    Interrupted {
        /// Steps done.
        done: usize,
        /// Steps in all; see [`MeasureEvent::total`].
        total: usize,
        /// Whether the folder holds what an equal request goes on with.
        resumable: bool,
    },
}
