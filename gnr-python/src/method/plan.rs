//! The settings of a method and its step.

use super::{
    products::{Asked, Kind},
    state::State,
};
use crate::{
    array::{self, Element, Precision, ThetaArray, with_precision},
    error,
    objective::Objective,
    registry,
    theta::{Shapes, Theta, total},
};
use gnr_core::{
    CentralDiff, Checkpoint, Clip, Every, ForwardDiff, FromStep, Grouped, HvpOracle, Method, Optimizer,
    Products, Regularizer, Result, SampledOracle, Schedule, StepReport, optimizer,
    registry::{Value, Values, find},
    regularizer::{self, HessianDiagonal},
};
use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

/// On which steps a regulariser acts, beside its own settings.
#[derive(Clone, Debug)]
enum Acts {
    Every { period: u64, offset: u64 },
    From(u64),
}

/// A regulariser with its settings and, innermost first, its wrappers.
#[derive(Clone, Debug)]
struct Acting {
    values: Values,
    acts: Vec<Acts>,
}

/// What a method is made of, checked.
#[pyclass(frozen, module = "gnr._native")]
pub(crate) struct Plan {
    regularizers: Vec<Acting>,
    /// Settings and factor of the learning rate of each group.
    optimizers: Vec<(Values, f64)>,
    /// The group of each leaf, where there are several.
    groups: Option<Vec<usize>>,
    /// The axes of each leaf; one leaf of one axis where it is not given.
    shapes: Option<Shapes>,
    normalisation: Option<Vec<bool>>,
    clip: Clip,
    steps_per_epoch: u64,
    seed: u64,
    asked: Asked,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RegularizerArguments<'py> {
    name: String,
    settings: Bound<'py, PyDict>,
    /// `("every", period, offset)` or `("from", step, 0)`.
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
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct StepArguments<'py> {
    theta: Bound<'py, PyAny>,
    loss_and_grad: Bound<'py, PyAny>,
    hvp: Option<Bound<'py, PyAny>>,
    t: u64,
    rate: f64,
    peak: f64,
    state: Option<Bound<'py, PyDict>>,
}

/// What a step is given beside the plan.
struct At {
    t: u64,
    rate: f64,
    peak: f64,
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
            // A key that is not given is the caller's choice by what there is: an `hvp` callable or none.
            if given.settings.get_item("hvp")?.is_some_and(|hvp| !hvp.is_none()) {
                let kind = Kind::named(values.choice("hvp").map_err(error::of_core)?)?;
                let step = values.get("step").and_then(|_| values.number("step").ok());
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
        };
        plan.check()?;
        Ok(plan)
    }

    /// The name of the products that a step would use, with a callable for them or without.
    fn products(&self, callable: bool) -> PyResult<&'static str> {
        Ok(self.asked.with(callable)?.name())
    }

    /// A step: θ changes in place, once everything has succeeded. Returns the report, and the state to hand to the next step.
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

    /// The point to evaluate and to keep in place of θ, where there is one.
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

    /// Whether a state is one of this method: every leaf that it needs, and none beside.
    fn check_state(&self, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let first = state.values().iter().find_map(|leaf| leaf.cast_into::<numpy::PyUntypedArray>().ok());
        let (precision, dim) = match &first {
            Some(array) => (Precision::named(&array.dtype().to_string())?, array.len()),
            None => (Precision::Double, 0),
        };
        with_precision!(precision, check_state_of(self, state, dim))
    }
}

fn check_state_of<T: Element>(plan: &Plan, state: &Bound<'_, PyDict>, dim: usize) -> PyResult<()> {
    let shapes = if dim > 0 { plan.shapes_for(dim)? } else { plan.shapes.clone().unwrap_or_default() };
    let given = State::<T>::read(state, &shapes)?;
    let names = given.names();
    // No step is made: the rate only has to be one that every schedule takes.
    let at = At { t: 0, rate: 1.0, peak: 1.0 };
    let mut method = plan.method::<T, Objective<T>>(&at, shapes.len()).map_err(error::of_core)?;
    let loaded = load(&mut method, Some(given)).and_then(|()| save(&method)).map_err(error::of_core)?;
    let taken = loaded.names();
    match names.iter().find(|name| !taken.contains(name)) {
        Some(name) => {
            let message = format!("state, leaf {name:?}: this method has no such leaf; it has {taken:?}");
            Err(PyValueError::new_err(message))
        }
        None => Ok(()),
    }
}

/// A method over any oracle, as a step has it.
type AnyMethod<T, O> =
    Method<(Option<Every<HessianDiagonal>>, Vec<Box<dyn Regularizer<O>>>), Box<dyn Optimizer<Theta<T>>>, f64>;

impl Plan {
    /// What can be said without θ.
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
        let at = At { t: 0, rate: 1.0, peak: 1.0 };
        self.method::<f64, Objective<f64>>(&at, leaves).map(drop).map_err(error::of_core)
    }

    fn shapes_for(&self, dim: usize) -> PyResult<Shapes> {
        let Some(shapes) = &self.shapes else { return Ok([vec![dim]].into()) };
        let expected = total(shapes);
        if expected == dim {
            return Ok(shapes.clone());
        }
        let leaves = shapes.len();
        Err(PyValueError::new_err(format!(
            "theta: expected {expected} elements, those of the {leaves} shapes, found {dim}"
        )))
    }

    /// Everything that acts in a step.
    fn method<T: Element, O>(&self, at: &At, leaves: usize) -> Result<AnyMethod<T, O>>
    where
        O: HvpOracle<Vector = Theta<T>> + SampledOracle + 'static,
    {
        let (rate, none) = (at.rate, vec![false; leaves]);
        let run = regularizer::Run {
            learning_rate: &|| Ok(Box::new(rate) as Box<dyn Schedule>),
            peak: at.peak,
            steps_per_epoch: self.steps_per_epoch,
            seed: self.seed,
            normalisation: self.normalisation.as_deref().unwrap_or(&none),
        };
        let regularizers = self.regularizers.iter().map(|acting| {
            let mut built: Box<dyn Regularizer<O>> =
                Box::new(regularizer::build::<Theta<T>>(&acting.values, &run)?);
            for acts in &acting.acts {
                built = match *acts {
                    Acts::Every { period, offset } => {
                        Box::new(Every::new(built, period)?.with_offset(offset)?)
                    }
                    Acts::From(step) => Box::new(FromStep::new(built, step)),
                };
            }
            Ok(built)
        });
        let regularizers = regularizers.collect::<Result<Vec<_>>>()?;
        // An optimiser that looks at the Hessian says on which steps.
        let every = self.optimizers.iter().find_map(|(values, _)| match values.get("hessian_every") {
            Some(Value::Integer(every)) => Some(*every),
            _ => None,
        });
        let diagonal = every.map(|every| Every::new(HessianDiagonal::new(self.seed), every)).transpose()?;
        Ok(Method {
            regularizer: (diagonal, regularizers),
            optimizer: self.optimizer()?,
            learning_rate: rate,
            clip: self.clip,
        })
    }

    fn optimizer<T: Element>(&self) -> Result<Box<dyn Optimizer<Theta<T>>>> {
        match (&self.groups, &self.optimizers[..]) {
            (None, [(values, _)]) => optimizer::build(values),
            (groups, optimizers) => {
                let built = optimizers.iter().map(|(values, scale)| Ok((optimizer::build(values)?, *scale)));
                let of = groups.clone().unwrap_or_default();
                Ok(Box::new(Grouped::new(built.collect::<Result<Vec<_>>>()?, of)?))
            }
        }
    }

    fn step_of<'py, T: Element>(
        &self,
        py: Python<'py>,
        array: &Bound<'py, PyArray1<T>>,
        arguments: &StepArguments<'py>,
    ) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        let mut theta = self.theta_of(array)?;
        let shapes = self.shapes_for(array.len())?;
        let state = arguments.state.as_ref().map(|state| State::<T>::read(state, &shapes)).transpose()?;
        let kind = self.asked.with(arguments.hvp.is_some())?;
        let products = kind.products(self.asked.step);
        let leaves = shapes.len();
        let oracle = Objective::<T>::new(&arguments.loss_and_grad, arguments.hvp.as_ref(), products, shapes)?;
        let at = At { t: arguments.t, rate: arguments.rate, peak: arguments.peak };
        let stepped = py.detach(|| {
            let (report, state) = match products {
                Products::Exact | Products::GaussNewton => self.run(&at, leaves, &mut theta, oracle, state),
                Products::ForwardDifference { step } => {
                    self.run(&at, leaves, &mut theta, ForwardDiff::new(oracle).with_step(step)?, state)
                }
                Products::CentralDifference { step } => {
                    self.run(&at, leaves, &mut theta, CentralDiff::new(oracle).with_step(step)?, state)
                }
            }?;
            Ok((theta, report, state))
        });
        let (theta, report, state) = stepped.map_err(error::of_core)?;
        let told = (told(py, &report, kind)?, state.write(py)?);
        let mut written =
            array.try_readwrite().map_err(|error| PyValueError::new_err(format!("theta: {error}")))?;
        written.as_array_mut().iter_mut().zip(theta.elements()).for_each(|(to, from)| *to = *from);
        Ok(told)
    }

    fn run<T: Element, O>(
        &self,
        at: &At,
        leaves: usize,
        theta: &mut Theta<T>,
        mut oracle: O,
        state: Option<State<T>>,
    ) -> Result<(StepReport, State<T>)>
    where
        O: HvpOracle<Vector = Theta<T>> + SampledOracle + 'static,
    {
        let mut method = self.method::<T, O>(at, leaves)?;
        load(&mut method, state)?;
        let report = method.step(at.t, theta, &mut oracle)?;
        Ok((report, save(&method)?))
    }

    fn theta_of<T: Element>(&self, array: &Bound<'_, PyArray1<T>>) -> PyResult<Theta<T>> {
        let elements: Vec<T> = {
            let readonly =
                array.try_readonly().map_err(|error| PyValueError::new_err(format!("theta: {error}")))?;
            readonly.as_array().iter().copied().collect()
        };
        let shapes = self.shapes_for(elements.len())?;
        Theta::new(elements, shapes)
            .ok_or_else(|| PyValueError::new_err("theta: expected the elements of the shapes"))
    }

    fn solution_of<'py, T: Element>(
        &self,
        array: &Bound<'py, PyArray1<T>>,
        state: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let theta = self.theta_of(array)?;
        let shapes = self.shapes_for(array.len())?;
        let mut optimizer = self.optimizer::<T>().map_err(error::of_core)?;
        if let Some(state) = state {
            optimizer.load(&mut State::<T>::read(state, &shapes)?.optimizer).map_err(error::of_core)?;
        }
        let solution = optimizer.solution(&theta).map_err(error::of_core)?;
        Ok(solution.map(|x| PyArray1::from_vec(array.py(), x.into_elements()).into_any()))
    }
}

/// Loads what an earlier step saved; nothing before the first.
fn load<T: Element, O>(method: &mut AnyMethod<T, O>, state: Option<State<T>>) -> Result<()>
where
    O: HvpOracle<Vector = Theta<T>>,
{
    let Some(mut state) = state else { return Ok(()) };
    method.regularizer.1.load(&mut state.regularizer)?;
    method.optimizer.load(&mut state.optimizer)
}

fn save<T: Element, O>(method: &AnyMethod<T, O>) -> Result<State<T>>
where
    O: HvpOracle<Vector = Theta<T>>,
{
    let mut state = State::empty();
    method.regularizer.1.save(&mut state.regularizer)?;
    method.optimizer.save(&mut state.optimizer)?;
    Ok(state)
}

/// A report as a dictionary. Penalties that are made of products say so where these are not exact.
fn told<'py>(py: Python<'py>, report: &StepReport, kind: Kind) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("loss", report.loss)?;
    told.set_item("grad_norm", report.grad_norm)?;
    told.set_item("direction_norm", report.direction_norm)?;
    told.set_item("learning_rate", report.learning_rate)?;
    let penalties = report.penalties.iter().map(|(name, penalty)| {
        let multiplies = find(regularizer::entries(), name).is_some_and(|entry| entry.cost.products > 0.0);
        let name = match kind {
            Kind::Exact => (*name).to_owned(),
            _ if multiplies => format!("{name} ({})", kind.name()),
            _ => (*name).to_owned(),
        };
        (name, penalty.value, penalty.added_norm)
    });
    told.set_item("penalties", penalties.collect::<Vec<_>>())?;
    told.set_item("products", kind.name())?;
    Ok(told)
}
