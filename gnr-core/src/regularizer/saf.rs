//! SAF: keeps a model's outputs near those of some epochs ago for each example.

use super::{
    Built, Ending, Needs, Regularizer, Run, StepContext, keys,
    trajectory::{Trajectory, add},
};
use crate::{
    Error, Leaf, OutputOracle, Outputs, Point, Result, StateSink, StateSource, Table,
    checkpoint::{bad_leaf, optional_table},
    registry::{Cost, Entry, Key, Registered, Values},
    schedule::validate_constant,
};

/// SAF, sharpness-aware training for free: a penalty on the distance of an example's outputs from its outputs Ẽ epochs
/// ago. No example's loss can then drop suddenly, which happens on the way into a sharp minimum.
///
/// > h = ∇(L̂ + λτ²·KL(softmax(y/τ) ‖ softmax(f_θ/τ))),
///
/// where y are the outputs of the batch's examples in epoch e − Ẽ, in the step that saw them.
///
/// KL is the mean over the batch. The penalty acts from epoch `from_epoch` on; outputs are recorded from Ẽ epochs
/// before. A model of one output is read as the logit of one class against another whose logit is 0.
///
/// Defaults: λ = 0.3 (of the authors' run of ResNet-50), Ẽ = 3, τ = 5 and `from_epoch` = 6, those of their program.
/// State: `outputs.0`, …, and `epochs`. With N examples of K outputs these are N × K numbers in single precision for
/// each recorded epoch, and N × Ẽ numbers of epochs. (CIFAR-100: 60 MB.)
///
/// # Errors
/// A step returns [`Error::Oracle`] when the oracle does not know the examples of its rows, or rows are blends of
/// several.
///
/// # Cost
/// A gradient and a vector on top of the base step, and the memory above. Nothing before `from_epoch`: outputs are
/// those of the base step's own pass.
///
/// # References
/// Du et al., "Sharpness-Aware Training for Free", NeurIPS 2022, and the authors' code, github.com/AngusDujw/SAF
/// (`SAF_train.py`).
///
/// # Deviation
/// The authors add the penalty to the loss, so that one backward pass serves both: free, as the title says. Here ∇L̂ is
/// computed by itself, for SAM and GNR beside it, and the penalty has a pass of its own.
///
/// An example that epoch e − Ẽ left out has no part in the penalty. The authors compare it with its outputs of an
/// earlier epoch, or with zeros. They count epochs from 0, and their penalty acts in the epochs after `kl_start_epoch`
/// = 5, which is after six epochs. It stops at epoch 300.
#[derive(Clone, Debug)]
pub struct Saf {
    trajectory: Trajectory,
    /// The distance Ẽ ≥ 1 in epochs to the outputs that are compared with.
    epochs: u64,
    from_epoch: u64,
    steps_per_epoch: u64,
    /// The number N of examples of the data set.
    examples: usize,
    recorded: Option<Recorded>,
    /// The outputs that the present step records if it succeeds.
    seen: Vec<Seen>,
}

/// Outputs of one example in one epoch.
#[derive(Clone, Debug)]
struct Seen {
    example: usize,
    epoch: u64,
    outputs: Vec<f32>,
}

/// The outputs of the last Ẽ epochs: those of epoch e are in table e mod Ẽ.
#[derive(Clone, Debug)]
struct Recorded {
    /// One table `[N, K]` of outputs for each of the Ẽ epochs.
    outputs: Vec<Table>,
    /// The number of the epoch, from 1, in which an entry was made, 0 before: `[N, Ẽ]`. Exact up to 2²⁴.
    epochs: Table,
}

impl Recorded {
    fn new(epochs: u64, examples: usize, width: usize) -> Self {
        Self {
            outputs: (0..epochs).map(|_| Table::zeros([examples, width])).collect(),
            epochs: Table::zeros([examples, epochs as usize]),
        }
    }

    fn width(&self) -> usize {
        self.outputs.first().map_or(0, |table| table.shape()[1])
    }

    fn slot(&self, epoch: u64) -> usize {
        (epoch % self.outputs.len() as u64) as usize
    }

    /// The outputs of an example in an epoch, if they were recorded.
    fn get(&self, example: usize, epoch: u64) -> Option<Vec<f64>> {
        let slot = self.slot(epoch);
        let made = self.epochs.row(example)[slot];
        let outputs = self.outputs[slot].row(example);
        (made == (epoch + 1) as f32).then(|| outputs.iter().map(|&z| f64::from(z)).collect())
    }

    fn put(&mut self, seen: &Seen) {
        let slot = self.slot(seen.epoch);
        self.epochs.row_mut(seen.example)[slot] = (seen.epoch + 1) as f32;
        self.outputs[slot].row_mut(seen.example).copy_from_slice(&seen.outputs);
    }
}

impl Saf {
    /// SAF with coefficient λ > 0 and temperature τ > 0, against the outputs of Ẽ = `epochs` ≥ 1 epochs ago. The
    /// penalty acts from epoch `from_epoch` on; `steps_per_epoch` and `examples` are those of the run and its data set.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`] for a value outside its domain.
    pub fn new(
        lambda: f64,
        tau: f64,
        epochs: u64,
        from_epoch: u64,
        steps_per_epoch: u64,
        examples: usize,
    ) -> Result<Self> {
        let trajectory = Trajectory::new(lambda, tau)?;
        validate_constant("epochs", epochs as f64, |x| x >= 1.0, "must be at least 1")?;
        validate_constant("steps_per_epoch", steps_per_epoch as f64, |x| x >= 1.0, "must be at least 1")?;
        Ok(Self {
            trajectory,
            epochs,
            from_epoch,
            steps_per_epoch,
            examples,
            recorded: None,
            seen: Vec::new(),
        })
    }

    /// Checks that there is an example of the data set for each row, and that outputs have the width of those recorded.
    fn checked(&self, examples: Vec<u64>, outputs: &Outputs) -> Result<Vec<usize>> {
        if examples.len() != outputs.num_rows() {
            let (found, expected) = (examples.len(), outputs.num_rows());
            return Err(Error::Oracle(format!(
                "saf: {found} numbers of examples for {expected} rows of outputs"
            )));
        }
        if let Some(recorded) = self.recorded.as_ref().filter(|recorded| recorded.width() != outputs.width())
        {
            let (found, expected) = (outputs.width(), recorded.width());
            return Err(Error::Oracle(format!("saf: {found} outputs a row, but {expected} are remembered")));
        }
        let of = self.examples;
        let within = |example| usize::try_from(example).ok().filter(|&example| example < of);
        let checked = examples.into_iter().map(|example| {
            within(example)
                .ok_or_else(|| Error::Oracle(format!("saf: example {example} of a data set of {of}")))
        });
        checked.collect()
    }
}

impl Registered for Saf {
    const ENTRY: &'static Entry = &Entry {
        name: "saf",
        title: "SAF",
        doc: "Sharpness-aware training by a memory of outputs: penalises outputs that move away from those of the same example some epochs ago. \
              Remembers, for each of these epochs, a number in single precision for each output of each example.",
        equation: "h = ∇(L̂ + λτ²·KL(softmax(y/τ) ‖ softmax(f_θ/τ))),  y the outputs of the same examples Ẽ epochs ago",
        keys: &[
            keys::trajectory_lambda(0.3),
            keys::TAU,
            Key::integer("epochs", 1, 3, "how many epochs Ẽ ago the outputs are that it compares with"),
            keys::watched_from_epoch(6),
        ],
        cost: Cost { gradients: 1.0, products: 0.0, forwards: 0.0, vectors: 0, outputs: true },
        reference: "Du et al., \"Sharpness-Aware Training for Free\", NeurIPS 2022",
        resolve: None,
    };
}

impl Built for Saf {
    const WATCHES: bool = true;

    fn built(values: &Values, run: &Run<'_>) -> Result<Self> {
        Self::new(
            values.number("lambda")?,
            values.number("tau")?,
            values.integer("epochs")?,
            values.integer("from_epoch")?,
            run.steps_per_epoch,
            run.examples,
        )
    }
}

impl<O: OutputOracle> Regularizer<O> for Saf {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }

    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        let epoch = cx.t / self.steps_per_epoch;
        if epoch.saturating_add(self.epochs) < self.from_epoch {
            return Ok(()); // no later epoch compares with these outputs
        }
        let outputs = cx.oracle.outputs(Point::Committed)?;
        let examples = self.checked(cx.oracle.examples()?, &outputs)?;
        let before = epoch.checked_sub(self.epochs).filter(|_| epoch >= self.from_epoch);
        if let (Some(before), Some(recorded)) = (before, &self.recorded) {
            let earlier = examples.iter().map(|&example| recorded.get(example, before));
            if let Some(moved) = self.trajectory.moved(&outputs, earlier)? {
                add(cx, "saf", &moved)?;
            }
        }
        let seen = examples.into_iter().zip(outputs.rows());
        self.seen.extend(seen.map(|(example, row)| {
            let outputs = row.iter().map(|&z| z as f32).collect();
            Seen { example, epoch, outputs }
        }));
        Ok(())
    }

    fn end_step(&mut self, ending: Ending) {
        let seen = std::mem::take(&mut self.seen);
        let Some(first) = seen.first().filter(|_| ending == Ending::Moved) else { return };
        let (first, examples) = (first.outputs.len(), self.examples);
        let recorded = match &mut self.recorded {
            Some(recorded) => recorded,
            none => none.insert(Recorded::new(self.epochs, examples, first)),
        };
        // Groups whose outputs differ in width are of different models. The first group decides, and the next step is
        // refused.
        let width = recorded.width();
        seen.iter().filter(|seen| seen.outputs.len() == width).for_each(|seen| recorded.put(seen));
    }

    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        let Some(Recorded { outputs, epochs }) = &self.recorded else { return Ok(()) };
        sink.put("epochs", Leaf::Table(epochs.clone()))?;
        for (slot, table) in outputs.iter().enumerate() {
            sink.put(&outputs_name(slot), Leaf::Table(table.clone()))?;
        }
        Ok(())
    }

    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        let recorded = match optional_table(source, "epochs")? {
            None => None,
            Some(epochs) => {
                let fits = [self.examples, self.epochs as usize];
                if epochs.shape() != fits {
                    let problem = format!("expected shape {fits:?}, found {:?}", epochs.shape());
                    return Err(bad_leaf("epochs", problem));
                }
                let mut outputs: Vec<Table> = Vec::new();
                for name in (0..fits[1]).map(outputs_name) {
                    let table = optional_table(source, &name)?
                        .ok_or_else(|| bad_leaf(&name, "expected a table, found nothing"))?;
                    let width = outputs.first().map_or(table.shape()[1].max(1), |first| first.shape()[1]);
                    if table.shape() != [self.examples, width] {
                        let problem =
                            format!("expected shape [{}, {width}], found {:?}", self.examples, table.shape());
                        return Err(bad_leaf(&name, problem));
                    }
                    outputs.push(table);
                }
                Some(Recorded { outputs, epochs })
            }
        };
        (self.recorded, self.seen) = (recorded, Vec::new());
        Ok(())
    }
}

fn outputs_name(slot: usize) -> String {
    format!("outputs.{slot}")
}
