//! The state of a method, as named leaves in Rust and in a Python dictionary.

use crate::{
    array::{self, Element},
    theta::{Shapes, Theta, total},
};
use gnr_core::{Leaf, Leaves};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyDict, PyInt},
};

/// The leaves of the regularisers and of the optimiser.
#[derive(Debug)]
pub(super) struct State<T> {
    pub(super) regularizer: Leaves<Theta<T>>,
    pub(super) optimizer: Leaves<Theta<T>>,
}

const REGULARIZER: &str = "regularizer.";
const OPTIMIZER: &str = "optimizer.";

impl<T: Element> State<T> {
    /// A state without any leaf.
    pub(super) fn empty() -> Self {
        Self { regularizer: Leaves::new(), optimizer: Leaves::new() }
    }

    /// Reads a dictionary of counts and arrays; each array must have as many elements as the shapes.
    ///
    /// # Errors
    /// `ValueError` for a name that begins with neither part's prefix; `TypeError` and `ValueError` for leaves that do
    /// not fit.
    pub(super) fn read(leaves: &Bound<'_, PyDict>, shapes: &Shapes) -> PyResult<Self> {
        let mut state = Self::empty();
        let dim = total(shapes);
        for (name, value) in leaves.iter() {
            let name: String = name.extract()?;
            let what = format!("state, leaf {name:?}");
            let (part, rest) = if let Some(rest) = name.strip_prefix(REGULARIZER) {
                (&mut state.regularizer, rest)
            } else if let Some(rest) = name.strip_prefix(OPTIMIZER) {
                (&mut state.optimizer, rest)
            } else {
                let expected = format!("expected a name that begins with {REGULARIZER:?} or {OPTIMIZER:?}");
                return Err(PyValueError::new_err(format!("{what}: {expected}")));
            };
            let leaf = if value.is_instance_of::<PyInt>() {
                Leaf::Count(value.extract()?)
            } else {
                let elements = array::vector::<T>(&value, dim, &what)?;
                let vector = Theta::new(elements, shapes.clone());
                Leaf::Vector(
                    vector.ok_or_else(|| PyValueError::new_err(format!("{what}: not of the shapes")))?,
                )
            };
            part.insert(rest.to_owned(), leaf);
        }
        Ok(state)
    }

    /// Writes the leaves to a dictionary.
    pub(super) fn write(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let leaves = PyDict::new(py);
        for (prefix, part) in [(REGULARIZER, self.regularizer), (OPTIMIZER, self.optimizer)] {
            for (name, leaf) in part {
                let name = format!("{prefix}{name}");
                match leaf {
                    Leaf::Count(count) => leaves.set_item(name, count)?,
                    Leaf::Table(table) => {
                        let [rows, columns] = table.shape();
                        let values = PyArray1::from_slice(py, table.values());
                        leaves.set_item(name, values.reshape([rows, columns])?)?;
                    }
                    Leaf::Vector(vector) => {
                        leaves.set_item(name, PyArray1::from_vec(py, vector.into_elements()))?;
                    }
                }
            }
        }
        Ok(leaves)
    }

    /// The names of all leaves.
    pub(super) fn names(&self) -> Vec<String> {
        let named = |prefix: &str, part: &Leaves<Theta<T>>| -> Vec<String> {
            part.keys().map(|name| format!("{prefix}{name}")).collect()
        };
        [named(REGULARIZER, &self.regularizer), named(OPTIMIZER, &self.optimizer)].concat()
    }
}
