//! `gnr.core.Method`: what a step is made of, checked once, and the step.
//!
//! Between two steps everything that a method remembers lies in a Python dictionary of named leaves. A step builds the
//! method from its settings, loads the leaves, and saves them again when it has succeeded. So a step that fails changes
//! neither θ nor the state, a resumed run is the run that never stopped, and nothing of the method has to cross
//! threads.

mod plan;
mod products;
mod state;
mod step;

pub(crate) use plan::Plan;
