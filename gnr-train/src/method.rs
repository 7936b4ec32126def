//! The method of a recipe as values of gnr-core: regularisers, optimiser, learning-rate schedule, clipping.

use gnr_core::{
    AnyRegularizer, CentralDiff, Clip, Every, ForwardDiff, FromStep, FullOracle, Grouped, Matrices, Method,
    OnSample, Optimizer, Pack, Result, Schedule, Shares, Signs, StepReport, optimizer,
    regularizer::{self, HessianDiagonal, Radius},
    schedule::{self, Span},
};

use gnr_nn::Curvature;

use crate::{
    recipe::{Hvp, Recipe},
    select::Groups,
};

type BoxedSchedule = Box<dyn Schedule>;
/// The estimates of the Hessian that the optimiser asks for, and the regularisers of a recipe, each on its steps and
/// its part of the batch.
pub(crate) type Regularizers<V> =
    (Option<Every<HessianDiagonal<Radius>>>, Vec<FromStep<Every<OnSample<AnyRegularizer<V>>>>>);

/// The method of a recipe for points of type `V`.
pub(crate) struct Configured<V> {
    pub(crate) method: Method<Regularizers<V>, Box<dyn Optimizer<V>>, BoxedSchedule>,
    hvp: Hvp,
    difference: f64,
}

impl<V: Matrices + Signs + Pack + 'static> Configured<V> {
    /// Makes the method of a recipe.
    ///
    /// # Errors
    /// A hyper-parameter outside its domain (a recipe that was not checked).
    pub(crate) fn new(
        recipe: &Recipe,
        groups: &Groups,
        steps_per_epoch: u64,
        examples: usize,
    ) -> Result<Self> {
        let rate = || learning_rate(recipe, steps_per_epoch);
        let run = regularizer::Run {
            learning_rate: &rate,
            peak: recipe.optimizer.lr,
            steps_per_epoch,
            examples,
            seed: recipe.train.seed,
            normalisation: &groups.normalisation,
        };
        let regularizers = recipe.method.regularizers.iter();
        let regularizers =
            regularizers.map(|settings| regularizer::build(&settings.0, &run)).collect::<Result<_>>()?;
        let acting = recipe.method.regularizers.iter().map(|settings| &settings.0);
        let diagonal = HessianDiagonal::wanted(&recipe.optimizer.settings.0, acting, &run)?;
        let clip = match recipe.train.clip_norm {
            Some(max) => Clip::norm(max)?,
            None => Clip::None,
        };
        let (hvp, difference) = recipe.method.gnr().map_or((Hvp::Exact, None), |gnr| (gnr.hvp, gnr.step));
        Ok(Self {
            method: Method {
                regularizer: (diagonal, regularizers),
                optimizer: in_groups(recipe, groups)?,
                learning_rate: rate()?,
                clip,
            },
            hvp,
            difference: difference.unwrap_or(1e-3),
        })
    }

    /// The matrix with which the oracles of the steps must multiply.
    pub(crate) fn curvature(&self) -> Curvature {
        if self.hvp == Hvp::GaussNewton { Curvature::GaussNewton } else { Curvature::Hessian }
    }

    /// Makes step `t` (from 0) on one batch. `groups` has the oracle and the number of images of each group: of a
    /// single group, or of those of `method.group`. Each rank of `shares` passes its own groups. If the oracle already
    /// answers for all ranks together, `shares` must be those of a single process.
    ///
    /// # Errors
    /// The errors of [`Method::step_ranks`].
    pub(crate) fn step<'o, O: FullOracle<Vector = V> + 'o>(
        &mut self,
        t: u64,
        theta: &mut V,
        groups: impl IntoIterator<Item = (O, usize)>,
        shares: &Shares,
    ) -> Result<StepReport> {
        let pointed = |(oracle, n)| Ok((self.multiplied(oracle)?, n));
        let groups: Vec<_> = groups.into_iter().map(pointed).collect::<Result<_>>()?;
        self.method.step_ranks(t, theta, groups, shares)
    }

    /// Wraps the oracle so that it computes the products that the recipe asks for. All regularisers are compiled once
    /// for each type of oracle; the trait object leaves one such type for each type of record.
    fn multiplied<'o, O: FullOracle<Vector = V> + 'o>(
        &self,
        oracle: O,
    ) -> Result<Box<dyn FullOracle<Vector = V, Record = O::Record> + 'o>> {
        Ok(match self.hvp {
            Hvp::Exact | Hvp::GaussNewton => Box::new(oracle),
            Hvp::ForwardDifference => Box::new(ForwardDiff::new(oracle).with_step(self.difference)?),
            Hvp::CentralDifference => Box::new(CentralDiff::new(oracle).with_step(self.difference)?),
        })
    }
}

fn in_groups<V: Matrices + 'static>(recipe: &Recipe, groups: &Groups) -> Result<Box<dyn Optimizer<V>>> {
    let build = |weight_decay| optimizer::build(&recipe.optimizer.values(weight_decay)?);
    match groups.settings[..] {
        [only] if only.lr_scale == 1.0 => build(only.weight_decay),
        _ => {
            let optimizers = (groups.settings.iter())
                .map(|setting| Ok((build(setting.weight_decay)?, setting.lr_scale)))
                .collect::<Result<Vec<_>>>()?;
            Ok(Box::new(Grouped::new(optimizers, groups.of.clone())?))
        }
    }
}

pub(crate) fn learning_rate(recipe: &Recipe, steps_per_epoch: u64) -> Result<BoxedSchedule> {
    let span = Span::new(recipe.optimizer.lr, recipe.train.epochs, steps_per_epoch);
    schedule::build(&recipe.schedule.settings.0, span)
}
