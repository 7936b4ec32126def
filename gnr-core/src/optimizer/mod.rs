//! Optimisers move θ along a direction. Each has a file; the learning rate is an argument of the step.

mod ada_bound;
mod ada_hessian;
mod adagrad;
mod adai;
mod adam;
mod adam_w;
mod ams_grad;
mod averaging;
mod grouped;
mod hutchinson;
mod keys;
mod lion;
mod moments;
mod muon;
mod n_adam;
mod padam;
mod r_adam;
mod rms_prop;
mod sassha;
mod schedule_free_adam_w;
mod schedule_free_sgd;
mod sgd;
mod sophia_h;
mod state;
mod yogi;

pub use grouped::Grouped;

use crate::{
    Checkpoint, Matrices, Result, Vector,
    registry::{Configured, Entry, Registered, Values},
};

/// Exports the optimisers, lists their entries and builds them by name.
macro_rules! optimizers {
    ($($file:ident::$name:ident),+ $(,)?) => {
        $(pub use $file::$name;)+

        /// Every optimiser that has a name, in the order of listings.
        pub fn entries() -> &'static [&'static Entry] {
            &[$(<$name<Vec<f64>> as Registered>::ENTRY),+]
        }

        /// Makes the optimiser that the settings belong to.
        ///
        /// # Errors
        /// [`Error::Setting`](crate::Error::Setting) when no optimiser has that name; the errors of the optimiser.
        pub fn build<V: Matrices + 'static>(values: &Values) -> Result<Box<dyn Optimizer<V>>> {
            $(if values.of() == <$name<V> as Registered>::ENTRY.name {
                return Ok(Box::new(<$name<V> as Configured>::configured(values)?));
            })+
            Err(crate::registry::unknown("optimizer", entries(), values.of()))
        }
    };
}

optimizers! {
    sgd::Sgd,
    adam::Adam,
    adam_w::AdamW,
    ams_grad::AmsGrad,
    n_adam::NAdam,
    r_adam::RAdam,
    adagrad::Adagrad,
    rms_prop::RmsProp,
    yogi::Yogi,
    ada_bound::AdaBound,
    padam::Padam,
    adai::Adai,
    lion::Lion,
    muon::Muon,
    schedule_free_sgd::ScheduleFreeSgd,
    schedule_free_adam_w::ScheduleFreeAdamW,
    sophia_h::SophiaH,
    ada_hessian::AdaHessian,
    sassha::Sassha,
}

/// Moves θ along a direction. Nothing else changes θ.
pub trait Optimizer<V: Vector>: Checkpoint<V> {
    /// Makes the step `theta ← theta − lr·u`, where u is what this optimiser makes of `direction`.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend.
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()>;

    /// Receives an estimate of the diagonal of ∇²L̂(θ_t) before step t.
    /// [`HessianDiagonal`](crate::regularizer::HessianDiagonal) makes one on each step on which it acts. Most
    /// optimisers ignore it.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend.
    fn curvature(&mut self, diagonal: &V) -> Result<()> {
        let _ = diagonal;
        Ok(())
    }

    /// The point to evaluate and to keep in place of θ, for methods that only take gradients at θ (the schedule-free
    /// ones). `None` stands for θ itself, as before the first step of any method.
    ///
    /// # Errors
    /// A failure of the backend.
    ///
    /// # Cost
    /// One vector.
    fn solution(&self, theta: &V) -> Result<Option<V>> {
        let _ = theta;
        Ok(None)
    }
}

impl<V: Vector, P: Checkpoint<V> + ?Sized> Checkpoint<V> for Box<P> {
    fn save(&self, sink: &mut dyn crate::StateSink<V>) -> Result<()> {
        (**self).save(sink)
    }
    fn load(&mut self, source: &mut dyn crate::StateSource<V>) -> Result<()> {
        (**self).load(source)
    }
}

impl<V: Vector, P: Optimizer<V> + ?Sized> Optimizer<V> for Box<P> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        (**self).step(theta, direction, lr)
    }
    fn curvature(&mut self, diagonal: &V) -> Result<()> {
        (**self).curvature(diagonal)
    }
    fn solution(&self, theta: &V) -> Result<Option<V>> {
        (**self).solution(theta)
    }
}
