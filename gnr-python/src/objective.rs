//! Python callables as an oracle: `theta -> (loss, grad)`, and optionally `hvp(theta, v)`.

use crate::{
    array::{self, Element},
    error::{NO_EXAMPLES, carried},
    theta::{Shapes, Theta},
};
use gnr_core::{
    Error, Evaluation, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point,
    Products, Result, Sample, SampledOracle, Use, Vector,
};
use numpy::PyArray1;
use pyo3::{exceptions::PyTypeError, exceptions::PyValueError, prelude::*, types::PyTuple};
use std::marker::PhantomData;

/// One mini-batch, whose loss and gradient Python computes.
pub(crate) struct Objective<T> {
    shapes: Shapes,
    loss_and_grad: Py<PyAny>,
    /// The method that is called in place of `loss_and_grad` for the step's own evaluation, if there is one.
    commit: Option<Py<PyAny>>,
    hvp: Option<Py<PyAny>>,
    restrict: Option<Py<PyAny>>,
    products: Products,
    element: PhantomData<T>,
}

/// An attribute of an object, if the object has it and its value is not `None`.
fn optional<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(object.getattr_opt(name)?.filter(|value| !value.is_none()))
}

impl<T: Element> Objective<T> {
    /// The oracle of a callable `theta -> (loss, grad)` with its optional methods `commit` and `restrict`. `products`
    /// is the kind of matrix that `hvp` multiplies with.
    ///
    /// # Errors
    /// `TypeError` for a `loss_and_grad` or an `hvp` that is not callable.
    pub(crate) fn new(
        loss_and_grad: &Bound<'_, PyAny>,
        hvp: Option<&Bound<'_, PyAny>>,
        products: Products,
        shapes: Shapes,
    ) -> PyResult<Self> {
        array::callable(loss_and_grad, "loss_and_grad", "theta -> (loss, grad)")?;
        if let Some(hvp) = hvp {
            array::callable(hvp, "hvp", "(theta, v) -> Hv")?;
        }
        Ok(Self {
            shapes,
            commit: optional(loss_and_grad, "commit")?.map(Bound::unbind),
            restrict: optional(loss_and_grad, "restrict")?.map(Bound::unbind),
            loss_and_grad: loss_and_grad.clone().unbind(),
            hvp: hvp.map(|hvp| hvp.clone().unbind()),
            products,
            element: PhantomData,
        })
    }

    fn loss_and_grad(&self, at: &Theta<T>, pass: Pass) -> PyResult<(f64, Theta<T>)> {
        let (callable, what) = match (pass, &self.commit) {
            (Pass::Commit, Some(commit)) => (commit, "commit"),
            _ => (&self.loss_and_grad, "loss_and_grad"),
        };
        Python::attach(|py| {
            py.check_signals()?;
            let answer = callable.bind(py).call1((PyArray1::from_slice(py, at.elements()),))?;
            py.check_signals()?;
            let pair = answer.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
            let Some(pair) = pair else {
                let found = match answer.cast::<PyTuple>() {
                    Ok(tuple) => format!("a tuple of {}", tuple.len()),
                    Err(_) => array::type_name(&answer),
                };
                let message = format!("{what}: expected it to return a tuple (loss, grad), found {found}");
                return Err(PyTypeError::new_err(message));
            };
            let loss = array::number(&pair.get_item(0)?, &format!("{what}, loss"))?;
            let grad = array::vector::<T>(&pair.get_item(1)?, at.dim(), &format!("{what}, grad"))?;
            Ok((loss, self.theta(grad)?))
        })
    }

    fn product(&self, at: &Theta<T>, v: &Theta<T>) -> PyResult<Theta<T>> {
        Python::attach(|py| {
            py.check_signals()?;
            let Some(hvp) = &self.hvp else {
                return Err(PyValueError::new_err("expected a callable hvp(theta, v), found none"));
            };
            let arrays = (PyArray1::from_slice(py, at.elements()), PyArray1::from_slice(py, v.elements()));
            let answer = hvp.bind(py).call1(arrays)?;
            py.check_signals()?;
            self.theta(array::vector::<T>(&answer, at.dim(), "hvp")?)
        })
    }

    fn theta(&self, elements: Vec<T>) -> PyResult<Theta<T>> {
        let found = elements.len();
        Theta::new(elements, self.shapes.clone())
            .ok_or_else(|| PyValueError::new_err(format!("{found} elements do not fill the shapes")))
    }
}

impl<T: Element> GradOracle for Objective<T> {
    type Vector = Theta<T>;
    type Record = ();
    fn evaluate<'a>(
        &mut self,
        at: &'a Theta<T>,
        pass: Pass,
        _: Order,
    ) -> Result<Evaluation<'a, Theta<T>, ()>> {
        let (loss, grad) = self.loss_and_grad(at, pass).map_err(carried)?;
        Evaluation::new(at, loss, grad, ())
    }
}

impl<T: Element> HvpOracle for Objective<T> {
    fn products(&self) -> Products {
        self.products
    }
    fn hvp(&mut self, here: &Evaluation<'_, Theta<T>, ()>, v: &Theta<T>, _: Use) -> Result<Theta<T>> {
        self.product(&here.at, v).map_err(carried)
    }
}

impl<T: Element> SampledOracle for Objective<T> {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        let restricted = Python::attach(|py| {
            let Some(restrict) = &self.restrict else {
                return Err(PyValueError::new_err(
                    "batch_fraction: a fraction below 1 expects a method `restrict(sample)` of loss_and_grad, found none",
                ));
            };
            let sample = sample.map(|Sample { fraction, seed, .. }| (fraction, seed));
            restrict.bind(py).call1((sample,)).map(drop)
        });
        restricted.map_err(carried)
    }
}

/// Plans refuse regularisers that would ask for examples or outputs.
impl<T: Element> ExampleOracle for Objective<T> {
    fn losses(&mut self, _: Point<'_, Theta<T>>) -> Result<Vec<f64>> {
        Err(no_examples())
    }
    fn select(&mut self, _: Option<&[usize]>) -> Result<f64> {
        Err(no_examples())
    }
}

impl<T: Element> OutputOracle for Objective<T> {
    fn outputs(&mut self, _: Point<'_, Theta<T>>) -> Result<Outputs> {
        Err(no_examples())
    }
    fn pull_back(&mut self, _: &Theta<T>, _: &Outputs) -> Result<Theta<T>> {
        Err(no_examples())
    }
    fn examples(&self) -> Result<Vec<u64>> {
        Err(no_examples())
    }
}

fn no_examples() -> Error {
    Error::Oracle(format!("a regulariser {NO_EXAMPLES}"))
}
