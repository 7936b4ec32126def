//! The smallest distance of operands from the kinks of their functions.

use std::{cell::Cell, rc::Rc};

use crate::Unary;

/// The smallest distance so far. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Kinks(Rc<Cell<f64>>);

impl Default for Kinks {
    fn default() -> Self {
        Self(Rc::new(Cell::new(f64::INFINITY)))
    }
}

impl Kinks {
    pub(super) fn distance(&self) -> f64 {
        self.0.get()
    }

    /// Takes the operand of a function into account. A maximum over a window acts as a step function of the differences
    /// to it.
    pub(super) fn see(&self, op: Unary, x: &[f64]) {
        let distance: fn(f64) -> f64 = match op {
            Unary::Relu | Unary::Step => f64::abs,
            Unary::Relu6 => |x| x.abs().min((x - 6.0).abs()),
            _ => return,
        };
        let inexact = x.iter().filter(|x| **x != 0.0);
        self.0.set(inexact.map(|x| distance(*x)).fold(self.0.get(), f64::min));
    }
}
