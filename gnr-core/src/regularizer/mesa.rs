//! MESA: keeps a model's outputs near those at the average of its weights.

use super::{
    Built, Ending, Needs, Regularizer, Run, StepContext, keys,
    memory::Memory,
    trajectory::{Trajectory, add},
};
use crate::{
    OutputOracle, Point, Result, StateSink, StateSource, Vector,
    error::{at_perturbed_point, same_rows},
    registry::{Cost, Entry, Interval, Key, Registered, Values},
    schedule::validate_constant,
    vector::same_dim,
};

/// MESA, memory-efficient sharpness-aware training for free: a penalty on the distance of the model's outputs from
/// those at an exponential moving average v of the weights. MESA is SAF without a memory of outputs.
///
/// > v ← β·v + (1 − β)·θ (v = θ in the first step),  h = ∇(L̂ + λτ²·KL(softmax(f_v/τ) ‖ softmax(f_θ/τ)))
///
/// KL is the mean over the batch; no gradient flows through v. The penalty acts from epoch `from_epoch` on, v moves
/// from the first step on. A model of one output is read as the logit of one class against another whose logit is 0.
/// Defaults: β = 0.9998, τ = 5 and `from_epoch` = 6, those of the authors' program, and λ = 0.8, of their run of
/// ResNet-50. State: `average`, v.
///
/// # Cost
/// A gradient, a forward pass and three vectors on top of the base step; one of the vectors is kept. Before
/// `from_epoch`, two vectors.
///
/// # References
/// Du et al., "Sharpness-Aware Training for Free", NeurIPS 2022, and the authors' code, github.com/AngusDujw/SAF
/// (`MESA_train.py`).
///
/// # Deviation
/// The authors add the penalty to the loss, so that one backward pass serves both, and the cost is a forward pass. Here
/// ∇L̂ is computed by itself, for SAM and GNR beside it, and the penalty has a pass of its own.
///
/// The authors' average model is evaluated with averaged running statistics and without dropout. Here v is evaluated as
/// θ is, with the statistics and the dropout masks of the batch.
///
/// The authors count epochs from 0, and their penalty acts in the epochs after `kl_start_epoch` = 5, which is after six
/// epochs. It stops at epoch 360.
#[derive(Clone, Debug)]
pub struct Mesa<V> {
    trajectory: Trajectory,
    beta: f64,
    /// The first step on which the penalty acts.
    start: u64,
    average: Memory<V>,
}

impl<V> Mesa<V> {
    /// MESA with coefficient λ > 0, temperature τ > 0 and decay β in [0, 1), whose penalty acts from step `start` on.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a value outside its domain.
    pub fn new(lambda: f64, tau: f64, beta: f64, start: u64) -> Result<Self> {
        let trajectory = Trajectory::new(lambda, tau)?;
        validate_constant("beta", beta, |x| (0.0..1.0).contains(&x), "must lie in [0, 1)")?;
        Ok(Self { trajectory, beta, start, average: Memory::new() })
    }
}

impl<V> Registered for Mesa<V> {
    const ENTRY: &'static Entry = &Entry {
        name: "mesa",
        title: "MESA",
        doc: "Sharpness-aware training with the average of the weights as a teacher: penalises outputs that move away from its outputs.",
        equation: "h = ∇(L̂ + λτ²·KL(softmax(f_v/τ) ‖ softmax(f_θ/τ))),  v ← β·v + (1 − β)·θ",
        keys: &[
            keys::trajectory_lambda(0.8),
            keys::TAU,
            Key::number("beta", Interval::RATE, 0.9998, "decay β of the average of the weights"),
            keys::watched_from_epoch(6),
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 1.0, vectors: 1, outputs: false },
        reference: "Du et al., \"Sharpness-Aware Training for Free\", NeurIPS 2022",
        resolve: None,
    };
}

impl<V> Built for Mesa<V> {
    const WATCHES: bool = true;

    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        let start = values.integer("from_epoch")?.saturating_mul(run.steps_per_epoch);
        Self::new(values.number("lambda")?, values.number("tau")?, values.number("beta")?, start)
    }
}

impl<O: OutputOracle> Regularizer<O> for Mesa<O::Vector> {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        // The average moves once a step: by the first of the groups of a batch.
        if self.average.pending().is_none() {
            let theta = &*cx.here.at;
            let average = match self.average.take() {
                Some(mut average) => {
                    same_dim("mesa", average.dim(), theta.dim())?;
                    average.scale(self.beta)?;
                    average.axpy(1.0 - self.beta, theta)?;
                    average
                }
                None => theta.clone(),
            };
            self.average.set(average);
        }
        let Some(average) = self.average.pending().filter(|_| cx.t >= self.start) else { return Ok(()) };
        let earlier = cx.oracle.outputs(Point::At(average)).map_err(at_perturbed_point)?;
        let outputs = cx.oracle.outputs(Point::Committed)?;
        same_rows("mesa", outputs.num_rows(), earlier.num_rows())?;
        if let Some(moved) = self.trajectory.moved(&outputs, earlier.rows().map(Some))? {
            add(cx, "mesa", &moved)?;
        }
        Ok(())
    }

    fn end_step(&mut self, ending: Ending) {
        self.average.end_step(ending);
    }

    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        self.average.save("average", sink)
    }

    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        self.average.load("average", source)
    }
}
