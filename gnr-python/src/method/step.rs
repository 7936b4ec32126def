//! A step of a plan, which builds the method, loads its state, moves θ and saves the state again.

use super::{
    plan::{Acts, At, Plan, StepArguments},
    products::Kind,
    state::State,
};
use crate::{array::Element, error, objective::Objective, theta::Theta};
use gnr_core::{
    CentralDiff, Checkpoint, Error, Every, ForwardDiff, FromStep, FullOracle, Grouped, Method, Optimizer,
    Products, Regularizer, Result, Schedule, StepReport, optimizer,
    registry::find,
    regularizer::{self, HessianDiagonal, Radius},
};
use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

/// A method over any oracle, as a step builds it.
pub(super) type AnyMethod<T, O> = Method<
    (Option<Every<HessianDiagonal<Radius>>>, Vec<Box<dyn Regularizer<O>>>),
    Box<dyn Optimizer<Theta<T>>>,
    f64,
>;

impl Plan {
    /// Builds everything that acts in a step.
    pub(super) fn method<T: Element, O>(&self, at: &At, leaves: usize) -> Result<AnyMethod<T, O>>
    where
        O: FullOracle<Vector = Theta<T>> + 'static,
    {
        let (rate, none) = (at.rate, vec![false; leaves]);
        let run = regularizer::Run {
            // Only radii that follow the learning rate ask for it, and they need its peak.
            learning_rate: &|| {
                match self.peak {
                Some(_) => Ok(Box::new(rate) as Box<dyn Schedule>),
                None => Err(Error::Setting {
                    method: "learning_rate",
                    key: "peak".into(),
                    found: "nothing".into(),
                    requirement: "the radius of a regulariser follows the learning rate relative to its peak: give a number, a schedule \
                                  of gnr.core, or a callable with an attribute `peak`"
                        .into(),
                }),
            }
            },
            peak: self.peak.unwrap_or(1.0),
            steps_per_epoch: self.steps_per_epoch,
            // The registry refuses regularisers that ask for examples.
            examples: 0,
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
        // The settings of an optimiser that uses the Hessian's diagonal set the steps and the point of its estimates.
        // `Plan::check` makes sure that all groups agree.
        let acting = || {
            let acting = self.regularizers.iter().filter(|acting| acting.acts_on(at.t));
            acting.map(|acting| &acting.values)
        };
        let mut wanted = (self.optimizers.iter())
            .map(|(values, _)| HessianDiagonal::wanted(values, acting(), &run))
            .filter_map(Result::transpose);
        let diagonal = wanted.next().transpose()?;
        Ok(Method {
            regularizer: (diagonal, regularizers),
            optimizer: self.optimizer(leaves)?,
            learning_rate: rate,
            clip: self.clip,
        })
    }

    /// Builds the optimiser of a θ with so many leaves. Without groups, one optimiser moves all of them.
    fn optimizer<T: Element>(&self, leaves: usize) -> Result<Box<dyn Optimizer<Theta<T>>>> {
        match (&self.groups, &self.optimizers[..]) {
            (None, [(values, 1.0)]) => optimizer::build(values),
            (groups, optimizers) => {
                let built = optimizers.iter().map(|(values, scale)| Ok((optimizer::build(values)?, *scale)));
                let of = groups.clone().unwrap_or_else(|| vec![0; leaves.max(1)]);
                Ok(Box::new(Grouped::new(built.collect::<Result<Vec<_>>>()?, of)?))
            }
        }
    }

    pub(super) fn step_of<'py, T: Element>(
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
        let at = At { t: arguments.t, rate: arguments.rate };
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
        O: FullOracle<Vector = Theta<T>> + 'static,
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

    pub(super) fn solution_of<'py, T: Element>(
        &self,
        array: &Bound<'py, PyArray1<T>>,
        state: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let theta = self.theta_of(array)?;
        let shapes = self.shapes_for(array.len())?;
        let mut optimizer = self.optimizer::<T>(shapes.len()).map_err(error::of_core)?;
        if let Some(state) = state {
            optimizer.load(&mut State::<T>::read(state, &shapes)?.optimizer).map_err(error::of_core)?;
        }
        let solution = optimizer.solution(&theta).map_err(error::of_core)?;
        Ok(solution.map(|x| PyArray1::from_vec(array.py(), x.into_elements()).into_any()))
    }
}

/// Checks that a state belongs to the plan's method. `dim` is the number of elements of the state's arrays, 0 if it has
/// none.
pub(super) fn check_state_of<T: Element>(plan: &Plan, state: &Bound<'_, PyDict>, dim: usize) -> PyResult<()> {
    let shapes = if dim > 0 { plan.shapes_for(dim)? } else { plan.shapes.clone().unwrap_or_default() };
    let given = State::<T>::read(state, &shapes)?;
    let names = given.names();
    // No step is made, so any rate serves that every schedule accepts.
    let at = At { t: 0, rate: 1.0 };
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

/// Loads the state that an earlier step saved, if there was one.
fn load<T: Element, O>(method: &mut AnyMethod<T, O>, state: Option<State<T>>) -> Result<()>
where
    O: FullOracle<Vector = Theta<T>>,
{
    let Some(mut state) = state else { return Ok(()) };
    method.regularizer.1.load(&mut state.regularizer)?;
    method.optimizer.load(&mut state.optimizer)
}

fn save<T: Element, O>(method: &AnyMethod<T, O>) -> Result<State<T>>
where
    O: FullOracle<Vector = Theta<T>>,
{
    let mut state = State::empty();
    method.regularizer.1.save(&mut state.regularizer)?;
    method.optimizer.save(&mut state.optimizer)?;
    Ok(state)
}

/// The report as a dictionary. The names of penalties tell the kind of products that are not exact.
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
