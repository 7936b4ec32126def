//! Tiny runs on the embedded digits.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use gnr_train::{EpochMetrics, Existing, Observer, Outcome, Recipe, StepEvent, Summary, TrainError, train};

/// An MLP on 100 digits: 5 steps an epoch, milliseconds in all.
pub(crate) const TINY: &str = r#"
name = "tiny"
[data]
subset = { per_class = 10 }
validation = 0.2
[model]
name = "mlp"
widths = [16]
[train]
epochs = 3
batch_size = 16
threads = 1
workers = 0
"#;

pub(crate) fn tiny(sets: &[&str]) -> Recipe {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::parse("tiny.toml", "tiny", TINY, &sets).unwrap()
}

/// An observer that asks to stop after a number of steps, and records the events.
#[derive(Default)]
pub(crate) struct Watch<'a> {
    pub(crate) stop_at: Option<(u64, &'a AtomicBool)>,
    pub(crate) epochs: Vec<EpochMetrics>,
    pub(crate) steps: Vec<StepEvent>,
}

impl Observer for Watch<'_> {
    fn on_step(&mut self, event: &StepEvent) {
        if let Some((step, stop)) = self.stop_at
            && step == event.step
        {
            stop.store(true, Ordering::Relaxed);
        }
        self.steps.push(event.clone());
    }
    fn on_epoch(&mut self, epoch: &EpochMetrics) {
        self.epochs.push(epoch.clone());
    }
}

pub(crate) fn run(recipe: Recipe, folder: &Path) -> Result<Summary, TrainError> {
    match train(recipe, folder, Existing::Refuse, &mut (), &AtomicBool::new(false))? {
        Outcome::Finished(summary) => Ok(*summary),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn bytes(folder: &Path, checkpoint: &str) -> Vec<u8> {
    std::fs::read(folder.join("checkpoints").join(checkpoint)).unwrap()
}
