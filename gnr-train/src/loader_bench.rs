//! Whether a recipe's loader is fast enough, as `gnr data bench` prints: the images a second that it makes alone, and
//! those that one gradient consumes. Also how long training waits for images when both run together.

use std::{cell::RefCell, hint::black_box, time::Instant};

use gnr_core::{GradOracle, Order, Pass};
use gnr_data::Loader;
use gnr_models::AnyModel;
use gnr_nn::{Autodiff, BatchOracle, Buffers, Model, ParamVector};
use serde::Serialize;

use crate::{
    Result, TrainError,
    backend::{Job, dispatch},
    data::{Images, upload},
    pool::{in_pool, threads},
    recipe::Recipe,
    run::build,
    team::Team,
};

/// The speeds that [`loader_bench()`] measured.
#[derive(Clone, Debug, Serialize)]
pub struct LoaderReport {
    /// The images, described in words.
    pub data: String,
    /// The shape `[C, H, W]` of a prepared image.
    pub shape: [usize; 3],
    /// Name of the model.
    pub model: String,
    /// Number of images in a batch.
    pub batch_size: usize,
    /// Number of batches timed in each way.
    pub batches: usize,
    /// Number of worker threads of the loader.
    pub workers: usize,
    /// Number of threads of the tensor kernels.
    pub threads: usize,
    /// Images a second that the loader makes when nothing else runs.
    pub loader_images_per_second: f64,
    /// Images a second that one gradient, the cheapest training step, consumes when the images are ready.
    pub step_images_per_second: f64,
    /// Images a second when both run together, as in training.
    pub together_images_per_second: f64,
    /// Share of the time together in which the step waited for the loader.
    pub waiting: f64,
}

/// Times `batches` batches of the recipe's training images in each way, after one that warms up.
///
/// # Errors
/// Fewer than two batches an epoch; the errors of opening the images, building the model and running it.
pub fn loader_bench(recipe: &Recipe, batches: usize) -> Result<LoaderReport> {
    struct Bench<'r>(&'r Recipe, usize);
    impl Job for Bench<'_> {
        type Output = Result<LoaderReport>;
        fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> Result<B> + Send) -> Self::Output {
            let images = Images::open(self.0, &Team::default())?;
            let dataset = images.train.dataset();
            let model = build(&self.0.model, dataset.classes().len(), dataset.shape())?;
            in_pool(threads(self.0.train.threads), || {
                measure(self.0, &images.train, &model, &backend()?, self.1)
            })?
        }
    }
    dispatch(recipe.train.place(), Bench(recipe, batches))?
}

fn measure<B: Autodiff>(
    recipe: &Recipe,
    loader: &Loader,
    model: &AnyModel,
    backend: &B,
    batches: usize,
) -> Result<LoaderReport> {
    let available = loader.batches_per_epoch();
    if available < 2 {
        let problem = format!(
            "timing needs two batches an epoch, and there is {available}: make train.batch_size smaller"
        );
        return Err(TrainError::Request(problem));
    }
    let batches = batches.clamp(1, available - 1);
    let mut step = Step {
        model,
        backend,
        theta: ParamVector::initial(backend, model.layout(), 0)?,
        buffers: RefCell::new(Buffers::initial(model.layout(), backend)?),
    };

    let mut epoch = loader.epoch(0, 0)?;
    let first = epoch.next().transpose()?;
    let mut images = 0;
    let started = Instant::now();
    for batch in epoch.by_ref().take(batches) {
        let batch = batch?;
        images += batch.len();
        loader.recycle(batch);
    }
    let alone = started.elapsed().as_secs_f64();
    drop(epoch);

    let mut stepped = 0.0;
    let mut consumed = 0;
    if let Some(batch) = &first {
        step.take(batch)?;
        let started = Instant::now();
        for _ in 0..batches {
            step.take(batch)?;
            consumed += batch.len();
        }
        stepped = started.elapsed().as_secs_f64();
    }

    let (mut waited, mut together) = (0.0, 0);
    let mut epoch = loader.epoch(1, 0)?;
    if let Some(batch) = epoch.next() {
        step.take(&batch?)?;
    }
    let started = Instant::now();
    for _ in 0..batches {
        let asked = Instant::now();
        let Some(batch) = epoch.next() else { break };
        waited += asked.elapsed().as_secs_f64();
        let batch = batch?;
        step.take(&batch)?;
        together += batch.len();
        loader.recycle(batch);
    }
    let elapsed = started.elapsed().as_secs_f64();
    Ok(LoaderReport {
        data: loader.dataset().describe(),
        shape: loader.dataset().shape(),
        model: recipe.model.name.clone(),
        batch_size: loader.config().batch_size,
        batches,
        workers: loader.config().workers,
        threads: threads(recipe.train.threads),
        loader_images_per_second: images as f64 / alone,
        step_images_per_second: consumed as f64 / stepped,
        together_images_per_second: together as f64 / elapsed,
        waiting: waited / elapsed,
    })
}

struct Step<'a, B: Autodiff> {
    model: &'a AnyModel,
    backend: &'a B,
    theta: ParamVector<B>,
    buffers: RefCell<Buffers<B>>,
}

impl<B: Autodiff> Step<'_, B> {
    /// Computes one gradient of the batch.
    fn take(&mut self, batch: &gnr_data::Batch) -> Result<()> {
        for part in upload(self.backend, batch, 1)? {
            let mut oracle = BatchOracle::new(self.model, self.backend, &part, &self.buffers)
                .with_masks(gnr_nn::MaskSeed::new(0, 0, 0));
            black_box(&oracle.evaluate(&self.theta, Pass::Probe, Order::First)?);
        }
        Ok(())
    }
}
