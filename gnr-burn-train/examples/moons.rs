//! A burn model trains with GNR in burn-train's `Learner`: what changes for a burn user is between the rules.
//!
//! `cargo run --release --example moons` in this folder.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, unreachable_pub)]

use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
    logger::InMemoryMetricLogger, metric::LossMetric,
};
use burn::{
    data::{
        dataloader::{DataLoaderBuilder, batcher::Batcher},
        dataset::InMemDataset,
    },
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use burn::{lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig, optim::AdamWConfig};
use gnr_burn_train::Regularized;
use gnr_core::Gnr;

#[derive(Module, Debug)]
pub struct Net {
    input: Linear,
    output: Linear,
}

impl Net {
    fn classify(&self, batch: &Batch) -> ClassificationOutput {
        let logits = self.output.forward(self.input.forward(batch.points.clone()).tanh());
        let loss = CrossEntropyLossConfig::new().init(&logits.device());
        ClassificationOutput::new(
            loss.forward(logits.clone(), batch.classes.clone()),
            logits,
            batch.classes.clone(),
        )
    }
}

// ---------------------------------------------------------------------------------------------------------------------
impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        // In the place of `TrainOutput::new(self, output.loss.backward(), output)`.
        let method = Regularized::new(Gnr::new(0.05, 0.1).unwrap());
        let output = method.step(self, |net| {
            let output = net.classify(&batch);
            (output.loss.clone(), output)
        });
        output.unwrap()
    }
}
// ---------------------------------------------------------------------------------------------------------------------

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(&batch)
    }
}

pub fn main() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let net =
        Net { input: LinearConfig::new(2, 16).init(&device), output: LinearConfig::new(16, 2).init(&device) };
    let loader = || {
        DataLoaderBuilder::new(Moons)
            .batch_size(50)
            .shuffle(1)
            .build(InMemDataset::new((0..SAMPLES).collect()))
    };
    let adam = AdamWConfig::new().init();
    let rate = CosineAnnealingLrSchedulerConfig::new(0.05, 100 * SAMPLES / 50).init().unwrap();
    let folder = std::env::temp_dir().join(format!("gnr-burn-train-moons-{}", std::process::id()));
    let trained = SupervisedTraining::new(&folder, loader(), loader())
        .num_epochs(100)
        .with_metric_logger(InMemoryMetricLogger::new())
        .metric_train_numeric(LossMetric::new())
        .with_application_logger(None)
        .launch(Learner::new(net, adam, rate));
    std::fs::remove_dir_all(&folder).ok();

    let batch = Moons.batch((0..SAMPLES).collect(), &Device::flex());
    let output = trained.model.classify(&batch);
    let right = output.output.argmax(1).squeeze::<1>().equal(batch.classes).int().sum().into_scalar::<i64>();
    println!("{right} of {SAMPLES} right");
    assert!(right >= 98 * SAMPLES as i64 / 100, "{right} of {SAMPLES} right");
}

const SAMPLES: usize = 200;

#[derive(Clone, Debug)]
pub struct Batch {
    points: Tensor<2>,
    classes: Tensor<1, Int>,
}

/// Two interleaved half circles with a little deterministic jitter.
#[derive(Clone)]
struct Moons;

impl Batcher<usize, Batch> for Moons {
    fn batch(&self, items: Vec<usize>, device: &Device) -> Batch {
        let mut points = Vec::with_capacity(2 * items.len());
        for &i in &items {
            let angle = (i / 2) as f32 / (SAMPLES / 2) as f32 * std::f32::consts::PI;
            let jitter = 0.1 * (12.9898 * i as f32).sin();
            let (u, v) =
                if i % 2 == 0 { (angle.cos(), angle.sin()) } else { (1.0 - angle.cos(), 0.5 - angle.sin()) };
            points.extend([u + jitter, v - jitter]);
        }
        let classes: Vec<i64> = items.iter().map(|i| (i % 2) as i64).collect();
        let n = items.len();
        Batch {
            points: Tensor::from_data(TensorData::new(points, [n, 2]), device),
            classes: Tensor::from_data(TensorData::new(classes, [n]), device),
        }
    }
}
