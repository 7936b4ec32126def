//! A Python callable `v -> Hv` as the linear operator of gnr-hessian, and its progress callback.

use crate::{
    array::{self, Element},
    error,
};
use gnr_hessian::{Error, Result, SymmetricOperator};
use numpy::PyArray1;
use pyo3::{exceptions::PyFloatingPointError, prelude::*, types::PyDict};
use std::{marker::PhantomData, ops::ControlFlow};

/// The operator of a callable. The interpreter is held while the callable runs and while arrays are passed, and
/// released in between.
pub(crate) struct Callable<T> {
    hvp: Py<PyAny>,
    dim: usize,
    num_matvecs: usize,
    element: PhantomData<T>,
}

impl<T: Element> Callable<T> {
    /// The operator that calls `hvp` on vectors of `dim` elements.
    pub(crate) fn new(hvp: Py<PyAny>, dim: usize) -> Self {
        Self { hvp, dim, num_matvecs: 0, element: PhantomData }
    }

    fn product(&mut self, v: &[T]) -> PyResult<Vec<T>> {
        Python::attach(|py| {
            // Ctrl-C may have come while Rust computed, or during a callable that does not check for it.
            py.check_signals()?;
            let answer = self.hvp.bind(py).call1((PyArray1::from_slice(py, v),))?;
            py.check_signals()?;
            self.num_matvecs += 1;
            let what = || format!("hvp, product {}", self.num_matvecs);
            let product = array::vector::<T>(&answer, self.dim, &what())?;
            match product.iter().position(|x| !x.is_finite()) {
                None => Ok(product),
                Some(index) => {
                    let count = product.iter().filter(|x| !x.is_finite()).count();
                    let (what, first, dim) = (what(), product[index], self.dim);
                    Err(PyFloatingPointError::new_err(format!(
                        "{what}: expected finite numbers, found {count} of {dim} that are not; element {index} is {first:?}"
                    )))
                }
            }
        })
    }
}

impl<T: Element> SymmetricOperator for Callable<T> {
    type Vector = Vec<T>;
    fn dim(&self) -> usize {
        self.dim
    }
    fn matvec(&mut self, v: &Vec<T>) -> Result<Vec<T>> {
        Ok(self.product(v).map_err(error::carried)?)
    }
}

/// Reports the progress of an algorithm to a callback. A callback that returns `False` ends the algorithm. A callback
/// that raises also ends it, and the caller gets the exception.
pub(crate) struct Watcher {
    callback: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Watcher {
    /// A watcher that calls `callback`, if there is one.
    pub(crate) fn new(callback: Option<Py<PyAny>>) -> Self {
        Self { callback, raised: None }
    }

    /// Calls the callback with a dictionary that `describe` fills.
    pub(crate) fn tell(
        &mut self,
        describe: impl FnOnce(&Bound<'_, PyDict>) -> PyResult<()>,
    ) -> ControlFlow<()> {
        let Some(callback) = &self.callback else { return ControlFlow::Continue(()) };
        let told = Python::attach(|py| {
            let progress = PyDict::new(py);
            describe(&progress)?;
            let answer = callback.bind(py).call1((progress,))?;
            py.check_signals()?;
            Ok(answer.extract::<bool>().unwrap_or(true))
        });
        match told {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                self.raised = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Returns the answer of the algorithm, unless the callback raised.
    pub(crate) fn finish<T>(self, answer: Result<T>) -> PyResult<T> {
        match self.raised {
            Some(raised) => Err(raised),
            None => answer.map_err(error::of_hessian),
        }
    }
}

/// The operator of a callable that reports each product to a [`Watcher`], for algorithms without an observer of their
/// own.
pub(crate) struct Watched<T> {
    /// The operator that multiplies.
    pub(crate) operator: Callable<T>,
    /// The watcher, whose break ends the algorithm with [`Error::Stopped`](gnr_hessian::Error::Stopped).
    pub(crate) watcher: Watcher,
    /// The largest number of products.
    pub(crate) budget: usize,
}

impl<T: Element> SymmetricOperator for Watched<T> {
    type Vector = Vec<T>;
    fn dim(&self) -> usize {
        self.operator.dim
    }
    fn matvec(&mut self, v: &Vec<T>) -> Result<Vec<T>> {
        let product = self.operator.matvec(v)?;
        let (num_matvecs, budget) = (self.operator.num_matvecs, self.budget);
        let flow = self.watcher.tell(|told| {
            told.set_item("num_matvecs", num_matvecs)?;
            told.set_item("budget", budget)
        });
        match flow {
            ControlFlow::Continue(()) => Ok(product),
            ControlFlow::Break(()) => Err(Error::Stopped { num_matvecs }),
        }
    }
}
