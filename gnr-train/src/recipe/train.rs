//! The section `[train]` of a recipe: the loop, its engine and its files.

use serde::Serialize;

use super::{
    device::{self, Device, Engine, Place, Precision},
    domain::{AT_LEAST_ONE, POSITIVE, in_unit, positive},
    reader::Reader,
};

/// The section `[train]`: the loop, its engine and its files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Train {
    /// Number of passes over the training images. Default 30.
    pub epochs: u64,
    /// Number of images a step. Default 64.
    pub batch_size: usize,
    /// Number of parts of a batch that are evaluated one after the other to save memory. Default 1.
    pub micro_batches: usize,
    /// Label smoothing, in [0, 1). Default 0.
    pub label_smoothing: f64,
    /// Largest norm of the direction; a longer one is scaled down. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Seed of initialisation, order and augmentation. Default 0.
    pub seed: u64,
    /// The engine that computes. Default: the CPU engine.
    #[serde(skip_serializing_if = "Engine::is_default")]
    pub backend: Engine,
    /// The device of the engine: `cpu`; with the backends `torch` and `dfdx` also `cuda` and `cuda:N`; with `burn` also
    /// `vulkan` and `vulkan:N`. Default: the CPU.
    #[serde(skip_serializing_if = "Device::is_default")]
    pub device: Device,
    /// Precision of parameters and activations: `f32`, `f64`; with the backend `torch` also `bf16`, and on cards
    /// `tf32`. Default f32.
    pub precision: Precision,
    /// Whether the channels of a pixel are adjacent in memory, with the backend `torch` only. Default: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub channels_last: bool,
    /// Number of threads of the tensor kernels. Default 0: as many as there are cores, fixed when the run starts
    /// and when it continues.
    pub threads: usize,
    /// Number of threads that prepare batches; any number gives equal bits. Each set of images has at most 5 batches in
    /// memory, or one more than threads if these are more. Default 2.
    pub workers: usize,
    /// Number of epochs between checkpoints. Default 1; 0: only at the end and when interrupted.
    pub checkpoint_every_epochs: u64,
    /// Number of steps between additional checkpoints within epochs. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every_steps: Option<u64>,
    /// Number of epochs between weights that are kept as `checkpoints/epoch-<n>.safetensors`, beside those of epochs 0
    /// and the last, for trajectories and curvature over time. Default: only the last and the best weights are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every_epochs: Option<u64>,
    /// Number of epochs between evaluations; the last epoch is always evaluated. Default 1.
    pub eval_every: u64,
    /// Whether runs with validation images evaluate the test images at their end only: a run that serves a choice by
    /// validation accuracy need not look at test images on its way. The key changes no result. Default: no, at each
    /// evaluation; `gnr compare` sets it for its tries.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test_only_at_end: bool,
    /// Whether a run ends at the second evaluation in a row in which every image gets the same logits, bit for bit.
    /// Such a network has collapsed: no signal passes through it any more, and so no gradient. The network predicts one
    /// class for all images, and further epochs do not change that. Default: no, the run goes on; `gnr compare` sets it
    /// for its tries.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stop_when_collapsed: bool,
    /// Number of images at a time in evaluation. Default: [`eval_batch`](Self::eval_batch).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_batch_size: Option<usize>,
    /// Number of steps between lines of metrics. Default: lines for epochs only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_every_steps: Option<u64>,
    /// An average of the weights, `[train.average]`, which is evaluated beside them and does not affect training.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Average>,
}

/// The section `[train.average]`: an average of the weights.
///
/// Once there is an average, each evaluation is also made for it (`average_*` in `metrics.jsonl` and `summary.json`),
/// and the last one is written as `checkpoints/average.safetensors`. The weights themselves decide which checkpoint is
/// the best.
///
/// A schedule-free optimiser has averaged weights of its own, which are evaluated and written likewise. It does not go
/// with this section.
///
/// # Cost
/// One vector, and each evaluation twice. For `swa` of a model with BatchNorm, also a forward pass over the training
/// images before each evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Average {
    /// The kind of average; it must be given.
    pub kind: AverageKind,
    /// For EMA: the weight in (0, 1) of the old average in each step. Default 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// Number of epochs before the first one that is averaged, less than `train.epochs`: 30 means the steps (EMA) or
    /// ends (SWA) of the epochs 31, 32, …. Default 0 for EMA, ¾ of the epochs (rounded down) for SWA.
    pub from_epoch: u64,
}

/// The kind of average and its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AverageKind {
    /// Exponential moving average of weights and running statistics after each step, as in timm's `ModelEmaV2`.
    Ema,
    /// Stochastic weight averaging: the mean of the weights at the ends of late epochs. Running statistics are measured
    /// at the averaged weights before each evaluation, like PyTorch's `update_bn`, on training images without
    /// augmentation.
    Swa,
}

impl Train {
    /// Number of images `[C, H, W]` at a time in evaluation: `eval_batch_size`, or else 256, or fewer if they have more
    /// than 2²¹ pixels in all (41 of 224×224). Larger batches would not be faster, and the maps of 256 photographs take
    /// gigabytes.
    pub fn eval_batch(&self, [_, height, width]: [usize; 3]) -> usize {
        self.eval_batch_size.unwrap_or_else(|| ((1 << 21) / (height * width).max(1)).clamp(1, 256))
    }
    /// The engine, device and precision of the run.
    pub fn place(&self) -> Place {
        Place {
            engine: self.backend,
            device: self.device,
            precision: self.precision,
            channels_last: self.channels_last,
        }
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>) -> Train {
    let mut train = reader.section("train");
    let batch_size = train.value_in("batch_size", 64, |n| *n > 0, AT_LEAST_ONE);
    let micro_batches = train.value_in("micro_batches", 1, |n| *n > 0, AT_LEAST_ONE);
    if micro_batches > batch_size {
        train.refuse(
            "micro_batches",
            &micro_batches.to_string(),
            &format!("cannot cut a batch of {batch_size} into so many parts"),
        );
    }
    let epochs = train.value_in("epochs", 30, |n| *n > 0, AT_LEAST_ONE);
    let average = average(reader, epochs);
    let mut train = reader.section("train");
    let (backend, device) = device::read(&mut train);
    let precision = device::precision(&mut train, backend, device);
    let channels_last = device::channels_last(&mut train, backend);
    Train {
        epochs,
        batch_size,
        micro_batches,
        label_smoothing: train.value_in("label_smoothing", 0.0, in_unit, "must lie in [0, 1)"),
        clip_norm: train.optional_in("clip_norm", positive, POSITIVE),
        seed: train.value("seed", 0),
        backend,
        device,
        precision,
        channels_last,
        threads: train.value_in("threads", 0, |n| *n <= 1024, "must be at most 1024"),
        workers: train.value_in("workers", 2, |n| *n <= 1024, "must be at most 1024"),
        checkpoint_every_epochs: train.value("checkpoint_every_epochs", 1),
        checkpoint_every_steps: train.optional_in("checkpoint_every_steps", |n| *n > 0, AT_LEAST_ONE),
        keep_every_epochs: train.optional_in("keep_every_epochs", |n| *n > 0, AT_LEAST_ONE),
        eval_every: train.value_in("eval_every", 1, |n| *n > 0, AT_LEAST_ONE),
        test_only_at_end: train.value("test_only_at_end", false),
        stop_when_collapsed: train.value("stop_when_collapsed", false),
        eval_batch_size: train.optional_in("eval_batch_size", |n| *n > 0, AT_LEAST_ONE),
        log_every_steps: train.optional_in("log_every_steps", |n| *n > 0, AT_LEAST_ONE),
        average,
    }
}

fn average(reader: &mut Reader<'_>, epochs: u64) -> Option<Average> {
    let mut section = reader.section("train.average");
    let kind = section.choice("kind", &[("ema", AverageKind::Ema), ("swa", AverageKind::Swa)]);
    let decay =
        section.optional_in("decay", |decay: &f64| *decay > 0.0 && *decay < 1.0, "must lie in (0, 1)");
    let from_epoch = section.optional("from_epoch");
    if section.present() && kind.is_none() && !section.has("kind") {
        section.refuse("kind", "nothing", "an average needs `kind`, \"ema\" or \"swa\"");
    }
    let kind = kind?;
    let ema = kind == AverageKind::Ema;
    section.only_for("decay", &decay, ema, "kind = \"ema\"");
    // Three quarters of the epochs, without overflow.
    let late = epochs / 4 * 3 + epochs % 4 * 3 / 4;
    Some(Average {
        kind,
        decay: ema.then(|| decay.unwrap_or(0.999)),
        from_epoch: from_epoch.unwrap_or(if ema { 0 } else { late }),
    })
}
