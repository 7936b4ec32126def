//! From a recipe to the values of gnr-core: regularisers, optimiser, learning-rate schedule, clipping.

use gnr_core::{
    CentralDiff, Clip, Every, ForwardDiff, FromStep, GaussNewton, GgnOracle, Gnr, Grouped, HvpOracle,
    InverseSqrt, Matrices, Method, OnSample, Optimizer, Proportional, Result, Sam, Schedule, StepReport,
    optimizer,
    schedule::{self, Span},
};

use crate::{
    recipe::{Hvp, Recipe, RhoSchedule},
    select::Groups,
};

type BoxedSchedule = Box<dyn Schedule>;
type LateSam = FromStep<Sam<BoxedSchedule>>;
type LateGnr = FromStep<Every<OnSample<Gnr<BoxedSchedule>>>>;
type Regularizers = (Option<LateSam>, Option<LateGnr>);

/// The method of a recipe for points of type `V`.
pub(crate) struct Configured<V> {
    pub(crate) method: Method<Regularizers, Box<dyn Optimizer<V>>, BoxedSchedule>,
    hvp: Hvp,
    difference: f64,
}

impl<V: Matrices + 'static> Configured<V> {
    /// # Errors
    /// A hyper-parameter outside its domain (a recipe that was not checked).
    pub(crate) fn new(recipe: &Recipe, groups: &Groups, steps_per_epoch: u64) -> Result<Self> {
        let rate = || learning_rate(recipe, steps_per_epoch);
        let radius = |rho: f64, schedule: RhoSchedule| -> Result<BoxedSchedule> {
            Ok(match schedule {
                RhoSchedule::Constant => Box::new(rho),
                RhoSchedule::InverseSqrt => Box::new(InverseSqrt::new(rho)?),
                RhoSchedule::ProportionalToLr => {
                    Box::new(Proportional::new(rate()?, recipe.optimizer.lr, rho)?)
                }
            })
        };
        let start = |epoch: u64| epoch.saturating_mul(steps_per_epoch);
        let sam = match &recipe.method.sam {
            Some(sam) => {
                let inner = Sam::scheduled(radius(sam.rho, sam.rho_schedule)?);
                Some(FromStep::new(inner, start(sam.from_epoch)))
            }
            None => None,
        };
        let gnr = match &recipe.method.gnr {
            Some(gnr) => {
                let inner = Gnr::scheduled(radius(gnr.rho, gnr.rho_schedule)?, gnr.alpha).with_xi(gnr.xi)?;
                let sampled = OnSample::new(inner, gnr.batch_fraction)?.with_seed(recipe.train.seed);
                Some(FromStep::new(Every::new(sampled, gnr.every)?, start(gnr.from_epoch)))
            }
            None => None,
        };
        let clip = match recipe.train.clip_norm {
            Some(max) => Clip::norm(max)?,
            None => Clip::None,
        };
        let (hvp, difference) = recipe.method.gnr.map_or((Hvp::Exact, None), |gnr| (gnr.hvp, gnr.step));
        Ok(Self {
            method: Method {
                regularizer: (sam, gnr),
                optimizer: in_groups(recipe, groups)?,
                learning_rate: rate()?,
                clip,
            },
            hvp,
            difference: difference.unwrap_or(1e-3),
        })
    }

    /// Step `t` (from 0) on one batch, in groups with their numbers of images: one, or those of `method.group`.
    ///
    /// # Errors
    /// Those of [`Method::step_groups`].
    pub(crate) fn step<O: HvpOracle<Vector = V> + GgnOracle>(
        &mut self,
        t: u64,
        theta: &mut V,
        groups: impl IntoIterator<Item = (O, usize)>,
    ) -> Result<StepReport> {
        let (method, groups) = (&mut self.method, groups.into_iter());
        match self.hvp {
            Hvp::Exact => method.step_groups(t, theta, groups),
            Hvp::GaussNewton => {
                method.step_groups(t, theta, groups.map(|(oracle, n)| (GaussNewton::new(oracle), n)))
            }
            Hvp::ForwardDifference => {
                let wrap = |(oracle, n)| Ok((ForwardDiff::new(oracle).with_step(self.difference)?, n));
                method.step_groups(t, theta, groups.map(wrap).collect::<Result<Vec<_>>>()?)
            }
            Hvp::CentralDifference => {
                let wrap = |(oracle, n)| Ok((CentralDiff::new(oracle).with_step(self.difference)?, n));
                method.step_groups(t, theta, groups.map(wrap).collect::<Result<Vec<_>>>()?)
            }
        }
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
