//! From a recipe to the values of gnr-core: regularisers, optimiser, learning-rate schedule, clipping.

use gnr_core::{
    Adam, AdamW, CentralDiff, Clip, Cosine, Elementwise, Every, ForwardDiff, FromStep, Gnr, Grouped,
    HvpOracle, InverseSqrt, Method, Milestones, OnSample, Optimizer, Partition, Proportional, Result, Sam,
    SampledOracle, Schedule, Sgd, StepDecay, StepReport, WarmUp,
};

use gnr_nn::Curvature;

use crate::{
    recipe::{Hvp, OptimizerName, Recipe, RhoSchedule, ScheduleName},
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

impl<V: Elementwise + Partition + 'static> Configured<V> {
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
                optimizer: optimizer(recipe, groups)?,
                learning_rate: rate()?,
                clip,
            },
            hvp,
            difference: difference.unwrap_or(1e-3),
        })
    }

    /// The matrix that the oracles of the steps are to multiply with.
    pub(crate) fn curvature(&self) -> Curvature {
        if self.hvp == Hvp::GaussNewton { Curvature::GaussNewton } else { Curvature::Hessian }
    }

    /// Step `t` (from 0) on one batch, in groups with their numbers of images: one, or those of `method.group`.
    ///
    /// # Errors
    /// Those of [`Method::step_groups`].
    pub(crate) fn step<O: HvpOracle<Vector = V> + SampledOracle>(
        &mut self,
        t: u64,
        theta: &mut V,
        groups: impl IntoIterator<Item = (O, usize)>,
    ) -> Result<StepReport> {
        let (method, groups) = (&mut self.method, groups.into_iter());
        match self.hvp {
            Hvp::Exact | Hvp::GaussNewton => method.step_groups(t, theta, groups),
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

fn optimizer<V: Elementwise + Partition + 'static>(
    recipe: &Recipe,
    groups: &Groups,
) -> Result<Box<dyn Optimizer<V>>> {
    match groups.settings[..] {
        [only] if only.lr_scale == 1.0 => one_optimizer(recipe, only.weight_decay),
        _ => {
            let optimizers = (groups.settings.iter())
                .map(|setting| Ok((one_optimizer(recipe, setting.weight_decay)?, setting.lr_scale)))
                .collect::<Result<Vec<_>>>()?;
            Ok(Box::new(Grouped::new(optimizers, groups.of.clone())?))
        }
    }
}

fn one_optimizer<V: Elementwise + 'static>(recipe: &Recipe, decay: f64) -> Result<Box<dyn Optimizer<V>>> {
    let chosen = &recipe.optimizer;
    let [beta1, beta2] = chosen.betas.unwrap_or([0.9, 0.999]);
    let eps = chosen.eps.unwrap_or(1e-8);
    Ok(match chosen.name {
        OptimizerName::Sgd => {
            let momentum = chosen.momentum.unwrap_or(0.0);
            let sgd = Sgd::new().with_weight_decay(decay)?;
            Box::new(match chosen.nesterov {
                Some(true) => sgd.with_nesterov_momentum(momentum)?,
                _ => sgd.with_momentum(momentum)?,
            })
        }
        OptimizerName::Adam => {
            Box::new(Adam::new().with_betas(beta1, beta2)?.with_eps(eps)?.with_weight_decay(decay)?)
        }
        OptimizerName::AdamW => {
            Box::new(AdamW::new().with_betas(beta1, beta2)?.with_eps(eps)?.with_weight_decay(decay)?)
        }
    })
}

pub(crate) fn learning_rate(recipe: &Recipe, steps_per_epoch: u64) -> Result<BoxedSchedule> {
    let (schedule, base) = (&recipe.schedule, recipe.optimizer.lr);
    let total = recipe.train.epochs.saturating_mul(steps_per_epoch);
    // A float-to-int cast saturates, so an absurd warm-up is a warm-up of the whole run.
    let warm_up = ((schedule.warmup_epochs * steps_per_epoch as f64).round() as u64).min(total);
    // Milestones are epochs of the run; the inner schedule starts counting after the warm-up.
    let after = |epoch: u64| epoch.saturating_mul(steps_per_epoch).saturating_sub(warm_up);
    let factor = schedule.factor.unwrap_or(0.1);
    let inner: BoxedSchedule = match schedule.name {
        ScheduleName::Constant => Box::new(base),
        ScheduleName::Cosine => Box::new(Cosine::new(base, total - warm_up, schedule.floor.unwrap_or(0.0))?),
        ScheduleName::InverseSqrt => Box::new(InverseSqrt::new(base)?),
        ScheduleName::Step => match &schedule.milestones {
            Some(epochs) => {
                let steps: Vec<u64> = epochs.iter().map(|&epoch| after(epoch)).collect();
                Box::new(Milestones::new(base, factor, steps)?)
            }
            None => {
                let every = schedule.every_epochs.unwrap_or(30);
                if warm_up == 0 {
                    Box::new(StepDecay::new(base, factor, every.saturating_mul(steps_per_epoch))?)
                } else {
                    let drops = (1..=recipe.train.epochs / every).map(|drop| after(drop * every));
                    Box::new(Milestones::new(base, factor, drops.collect::<Vec<u64>>())?)
                }
            }
        },
    };
    Ok(Box::new(WarmUp::new(warm_up, inner)))
}
