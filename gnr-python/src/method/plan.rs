//! The checked settings of a method, and what Python may ask of them.

use super::{
    products::{Asked, Kind},
    step::check_state_of,
};
use crate::{
    array::{self, Precision, ThetaArray, with_precision},
    error,
    objective::Objective,
    registry,
    theta::{Shapes, total},
};
use gnr_core::{Clip, registry::Values};
use numpy::PyUntypedArrayMethods;
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

/// A wrapper that limits a regulariser to some steps. Wrappers are no settings of the regulariser.
#[derive(Clone, Debug)]
pub(super) enum Acts {
    /// The regulariser acts on the steps `offset`, `offset + period`, …
    Every { period: u64, offset: u64 },
    /// The regulariser acts on this step and all later ones.
    From(u64),
}

/// A regulariser with its settings and, innermost first, its wrappers.
#[derive(Clone, Debug)]
pub(super) struct Acting {
    pub(super) values: Values,
    pub(super) acts: Vec<Acts>,
}

impl Acting {
    /// Whether the wrappers let the regulariser act on step `t`.
    pub(super) fn acts_on(&self, t: u64) -> bool {
        self.acts.iter().all(|acts| match *acts {
            Acts::Every { period, offset } => t.checked_rem(period) == Some(offset),
            Acts::From(step) => t >= step,
        })
    }
}

/// The checked parts of a method.
#[pyclass(frozen, module = "gnr._native")]
pub(crate) struct Plan {
    pub(super) regularizers: Vec<Acting>,
    /// The settings of each group's optimiser, with the factor of its learning rate.
    pub(super) optimizers: Vec<(Values, f64)>,
    /// The group of each leaf, if there are several groups.
    pub(super) groups: Option<Vec<usize>>,
    /// The axes of each leaf. Without it there is one leaf of one axis.
    pub(super) shapes: Option<Shapes>,
    pub(super) normalisation: Option<Vec<bool>>,
    pub(super) clip: Clip,
    pub(super) steps_per_epoch: u64,
    pub(super) seed: u64,
    pub(super) asked: Asked,
    /// The largest learning rate, if it is known.
    pub(super) peak: Option<f64>,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RegularizerArguments<'py> {
    name: String,
    settings: Bound<'py, PyDict>,
    /// The wrappers, as `("every", period, offset)` or `("from", step, 0)`.
    acts: Vec<(String, u64, u64)>,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct OptimizerArguments<'py> {
    name: String,
    settings: Bound<'py, PyDict>,
    lr_scale: f64,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct PlanArguments<'py> {
    regularizers: Vec<RegularizerArguments<'py>>,
    optimizers: Vec<OptimizerArguments<'py>>,
    groups: Option<Vec<usize>>,
    shapes: Option<Vec<Vec<usize>>>,
    normalisation: Option<Vec<bool>>,
    clip_norm: Option<f64>,
    steps_per_epoch: u64,
    seed: u64,
    products: Option<String>,
    difference_step: Option<f64>,
    peak: Option<f64>,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct StepArguments<'py> {
    pub(super) theta: Bound<'py, PyAny>,
    pub(super) loss_and_grad: Bound<'py, PyAny>,
    pub(super) hvp: Option<Bound<'py, PyAny>>,
    pub(super) t: u64,
    pub(super) rate: f64,
    pub(super) state: Option<Bound<'py, PyDict>>,
}

/// The inputs of a step beside the plan.
pub(super) struct At {
    pub(super) t: u64,
    pub(super) rate: f64,
}

#[pymethods]
impl Plan {
    #[new]
    fn new(arguments: PlanArguments<'_>) -> PyResult<Self> {
        let mut asked = Asked { kind: None, step: arguments.difference_step };
        if let Some(name) = &arguments.products {
            asked.kind = Some(Kind::named(name)?);
        }
        let mut regularizers = Vec::new();
        for given in &arguments.regularizers {
            let values = registry::values(registry::entry("regularizer", &given.name)?, &given.settings)?;
            // Without the setting `hvp`, the kind depends on whether a step gets a callable for products.
            if given.settings.get_item("hvp")?.is_some_and(|hvp| !hvp.is_none()) {
                let kind = Kind::named(values.choice("hvp").map_err(error::of_core)?)?;
                // The registry fills in a step that was not given, which asks for nothing.
                let own = given.settings.get_item("step")?.is_some_and(|step| !step.is_none());
                let step = values.number("step").ok().filter(|_| own);
                if let (Some(before), Some(step)) = (asked.step, step)
                    && before != step
                {
                    return Err(PyValueError::new_err(format!(
                        "{}: step is {step:?}, but the method's difference_step or another regulariser's step is {before:?}: a step \
                         has differences of one length",
                        given.name
                    )));
                }
                if asked.kind.is_some_and(|other| other != kind) {
                    return Err(PyValueError::new_err(format!(
                        "{}: hvp is {:?}, but the method's products are {:?}: a step has products of one kind",
                        given.name,
                        kind.name(),
                        asked.kind.map_or("", Kind::name)
                    )));
                }
                asked = Asked { kind: Some(kind), step: asked.step.or(step) };
            }
            let acts = given.acts.iter().map(|(which, first, second)| match which.as_str() {
                "every" => Acts::Every { period: *first, offset: *second },
                _ => Acts::From(*first),
            });
            regularizers.push(Acting { values, acts: acts.collect() });
        }
        let optimizers = arguments.optimizers.iter().map(|given| {
            let values = registry::values(registry::entry("optimizer", &given.name)?, &given.settings)?;
            Ok((values, given.lr_scale))
        });
        let clip = arguments.clip_norm.map_or(Ok(Clip::None), Clip::norm).map_err(error::of_core)?;
        let plan = Self {
            regularizers,
            optimizers: optimizers.collect::<PyResult<_>>()?,
            groups: arguments.groups,
            shapes: arguments.shapes.map(Into::into),
            normalisation: arguments.normalisation,
            clip,
            steps_per_epoch: arguments.steps_per_epoch,
            seed: arguments.seed,
            asked,
            peak: arguments.peak,
        };
        plan.check()?;
        Ok(plan)
    }

    /// The name of the products that a step would use, with or without a callable for them.
    ///
    /// # Errors
    /// `ValueError` for products that need a callable, if there is none.
    fn products(&self, callable: bool) -> PyResult<&'static str> {
        Ok(self.asked.with(callable)?.name())
    }

    /// Makes a step: θ changes in place, once everything has succeeded. Returns the report, and the state for the next
    /// step.
    fn step<'py>(
        &self,
        py: Python<'py>,
        arguments: StepArguments<'py>,
    ) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        match array::theta(&arguments.theta)? {
            ThetaArray::Single(theta) => self.step_of(py, &theta, &arguments),
            ThetaArray::Double(theta) => self.step_of(py, &theta, &arguments),
        }
    }

    /// The point to evaluate and to keep in place of θ, if the optimiser has one.
    fn solution<'py>(
        &self,
        theta: &Bound<'py, PyAny>,
        state: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match array::theta(theta)? {
            ThetaArray::Single(theta) => self.solution_of(&theta, state),
            ThetaArray::Double(theta) => self.solution_of(&theta, state),
        }
    }

    /// Checks that a state belongs to this method: it must have every leaf that the method needs, and no other.
    fn check_state(&self, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let first = state.values().iter().find_map(|leaf| leaf.cast_into::<numpy::PyUntypedArray>().ok());
        let (precision, dim) = match &first {
            Some(array) => (Precision::named(&array.dtype().to_string())?, array.len()),
            None => (Precision::Double, 0),
        };
        with_precision!(precision, check_state_of(self, state, dim))
    }
}

impl Plan {
    /// Checks the settings as far as they do not depend on θ.
    fn check(&self) -> PyResult<()> {
        let refuse = |message: String| Err(PyValueError::new_err(message));
        if self.optimizers.is_empty() {
            return refuse("optimizer: expected one, found none".into());
        }
        if self.steps_per_epoch == 0 {
            return refuse("steps_per_epoch: expected at least 1, found 0".into());
        }
        if let Some(step) = self.asked.step.filter(|step| !(*step > 0.0 && step.is_finite())) {
            return refuse(format!("difference_step: expected a positive finite number, found {step}"));
        }
        let leaves = self.shapes.as_ref().map_or(1, |shapes| shapes.len());
        for (name, found) in [
            ("groups", self.groups.as_ref().map(Vec::len)),
            ("normalisation", self.normalisation.as_ref().map(Vec::len)),
        ] {
            if found.is_some_and(|found| found != leaves) {
                let found = found.unwrap_or_default();
                return refuse(format!(
                    "{name}: expected one entry for each of {leaves} leaves, found {found}"
                ));
            }
        }
        let estimates = |(values, _): &(Values, f64)| {
            let every = values.get("hessian_every")?.clone();
            Some((values.of(), every, values.get("hessian_at").cloned()))
        };
        let mut estimates = self.optimizers.iter().filter_map(estimates);
        if let Some((first, every, at)) = estimates.next()
            && let Some((other, ..)) = estimates.find(|(_, e, a)| (e, a) != (&every, &at))
        {
            return refuse(format!(
                "optimizer: {first} and {other} share one estimate of the Hessian's diagonal; expected equal settings hessian_every \
                 and hessian_at, found others"
            ));
        }
        let at = At { t: 0, rate: 1.0 };
        self.method::<f64, Objective<f64>>(&at, leaves).map(drop).map_err(error::of_core)
    }

    /// The shapes of the leaves of a θ with `dim` elements.
    ///
    /// # Errors
    /// `ValueError` for shapes with another number of elements.
    pub(super) fn shapes_for(&self, dim: usize) -> PyResult<Shapes> {
        let Some(shapes) = &self.shapes else { return Ok([vec![dim]].into()) };
        let expected = total(shapes);
        if expected == dim {
            return Ok(shapes.clone());
        }
        let leaves = shapes.len();
        Err(PyValueError::new_err(format!(
            "theta: expected {expected} elements, those of {leaves} {}, found {dim}",
            if leaves == 1 { "shape" } else { "shapes" }
        )))
    }
}
