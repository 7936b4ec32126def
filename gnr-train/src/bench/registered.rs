//! Registered methods with their defaults, to be timed.

use gnr_core::{
    Clip, Method, Optimizer, optimizer,
    registry::{Value, find},
    regularizer::{self, HessianDiagonal},
};
use gnr_models::AnyModel;
use gnr_nn::{Autodiff, Model, ParamVector};

use super::{RATE, Timed};
use crate::{
    error::{Result, TrainError},
    method::Regularizers,
    select::is_of_normalisation,
};

/// A registered method with its default settings.
pub(super) type Registered<B> = Method<Regularizers<ParamVector<B>>, Box<dyn Optimizer<ParamVector<B>>>, f64>;

/// A regulariser over SGD with momentum, or an optimiser, with the default settings of its entry. The method acts from
/// the first step on.
pub(super) fn registered<B: Autodiff + 'static>(
    method: Timed,
    model: &AnyModel,
    batch: usize,
) -> Result<Registered<B>> {
    let layout = model.layout();
    let run = regularizer::Run {
        learning_rate: &|| Ok(Box::new(RATE)),
        peak: RATE,
        steps_per_epoch: 1,
        examples: batch,
        seed: 0,
        normalisation: &layout
            .parameters()
            .map(|entry| is_of_normalisation(layout, entry))
            .collect::<Vec<_>>(),
    };
    let acting = match method {
        Timed::Regularizer(name) => find(regularizer::entries(), name)
            .map(|entry| {
                let at_once = entry.key("from_epoch").map(|key| (key.name, Value::from(0_u64)));
                entry.values(at_once)
            })
            .transpose()?,
        _ => None,
    };
    let (name, given) = match method {
        Timed::Optimizer(name) => (name, None),
        _ => ("sgd", Some(("momentum", Value::from(0.9)))),
    };
    let entry = find(optimizer::entries(), name)
        .ok_or_else(|| TrainError::Request(format!("no optimiser `{name}`")))?;
    let settings = entry.values(given)?;
    let diagonal = HessianDiagonal::wanted(&settings, &acting, &run)?;
    let regularizers =
        acting.iter().map(|values| regularizer::build(values, &run)).collect::<Result<_, _>>()?;
    Ok(Method {
        regularizer: (diagonal, regularizers),
        optimizer: optimizer::build(&settings)?,
        learning_rate: RATE,
        clip: Clip::None,
    })
}
