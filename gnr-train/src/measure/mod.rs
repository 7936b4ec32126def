//! Measurements after training, of a network and a fixed sample of images.
//!
//! * [`subject`]: the network at its weights and the images, as an oracle of loss, gradients and products.
//! * [`curvature`]: eigenpairs, trace, density and diagonal of the Hessian or the Gauss–Newton matrix.
//! * [`geometry`]: landscapes, extrema along directions, sharpness within a radius.
//!
//! Each kind of measurement has a request, a report, and files in a folder, and continues where it was stopped. This
//! module has what they share: how a program watches them, how they end and how they write.

pub mod curvature;
pub mod geometry;
mod session;
pub mod subject;

use std::time::Duration;

pub(crate) use session::Session;
use subject::Description;

/// The progress of a measurement in steps: products of a matrix and a vector, or points of the loss.
#[derive(Clone, Debug)]
pub struct MeasureEvent {
    /// Number of steps done, those before an interruption included.
    pub done: usize,
    /// Number of steps in all. Measurements of curvature may end earlier.
    pub total: usize,
    /// Time since this process started measuring, and the number of steps it has done.
    pub since: (Duration, usize),
    /// The result so far, in words.
    pub message: String,
}

/// Lets a program watch a measurement. Every method has an empty default.
pub trait MeasureObserver: Send {
    /// Called when everything is open and the work begins.
    fn on_start(&mut self, subject: &Description) {
        let _ = subject;
    }
    /// Called after each step.
    fn on_progress(&mut self, event: &MeasureEvent) {
        let _ = event;
    }
}

/// An observer that ignores everything.
impl MeasureObserver for () {}

/// The end of a measurement.
#[derive(Clone, Debug)]
pub enum Measured<R> {
    /// The measurement has a result, which is also in the folder.
    Finished(R),
    /// The work was asked to stop.
    Interrupted {
        /// Number of steps done.
        done: usize,
        /// Number of steps in all; see [`MeasureEvent::total`].
        total: usize,
        /// Whether the folder holds a state from which an equal request continues.
        resumable: bool,
    },
}
