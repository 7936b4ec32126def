//! The nets that are timed, by their names in gnr's registry.

use serde::Serialize;

/// A net and its batch.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Net {
    /// The name in gnr's registry and in `bench_step.py`.
    pub(super) model: &'static str,
    /// Images in the batch.
    pub(super) batch: usize,
    /// Height and width of an image of three channels.
    pub(super) side: usize,
    /// Number of classes.
    pub(super) classes: usize,
    /// Blocks of a ViT that is cut short; `None` is the architecture's own depth.
    pub(super) depth: Option<usize>,
    /// Whether `torch.compile` is timed; false where compiling for a CPU takes a quarter of an hour.
    pub(super) compiled: bool,
}

/// Batches that fill a card, and a few GB of its memory.
pub(super) const FULL: [Net; 3] = [
    Net { model: "resnet18", batch: 256, side: 32, classes: 10, depth: None, compiled: true },
    Net { model: "resnet50", batch: 64, side: 224, classes: 1000, depth: None, compiled: true },
    Net { model: "vit_small_patch16_224", batch: 64, side: 224, classes: 1000, depth: None, compiled: true },
];

/// Nets for a rehearsal on a CPU: a step takes seconds at most.
pub(super) const SMALL: [Net; 3] = [
    Net { model: "resnet18", batch: 4, side: 32, classes: 10, depth: None, compiled: true },
    Net { model: "resnet50", batch: 2, side: 64, classes: 10, depth: None, compiled: false },
    Net { model: "vit_small_patch16_224", batch: 2, side: 224, classes: 10, depth: Some(2), compiled: true },
];

impl Net {
    /// Options that `gnr bench` and `bench_step.py` share.
    pub(super) fn options(&self) -> Vec<String> {
        let Self { model, batch, side, classes, depth, .. } = self;
        let mut options: Vec<String> = ["--model", model].map(String::from).into_iter().collect();
        options.extend(["--batch".into(), batch.to_string(), "--classes".into(), classes.to_string()]);
        options.extend(["--input".into(), format!("3,{side},{side}")]);
        options.extend(depth.iter().flat_map(|depth| ["--depth".into(), depth.to_string()]));
        options
    }
    /// Whether the layout of images matters to the net.
    pub(super) fn is_convolutional(&self) -> bool {
        self.model.starts_with("resnet")
    }
    /// The net in words, as in `resnet18, batch 256, 3x32x32, 10 classes`.
    pub(super) fn described(&self) -> String {
        let Self { model, batch, side, classes, depth, .. } = self;
        let cut = depth.map_or_else(String::new, |depth| format!(", cut to {depth} blocks"));
        format!("{model}{cut}, batch {batch}, 3x{side}x{side}, {classes} classes")
    }
}
