//! The native part of `gnr.core.Method`: the parts of a step, checked once, and the step.
//!
//! Between two steps all state of a method lies in a Python dictionary of named leaves. A step builds the method from
//! its settings, loads the leaves, and saves them again when it has succeeded. A step that fails therefore changes
//! neither θ nor the state, a resumed run equals one that never stopped, and nothing of the method has to cross
//! threads.

mod plan;
mod products;
mod state;
mod step;

pub(crate) use plan::Plan;
