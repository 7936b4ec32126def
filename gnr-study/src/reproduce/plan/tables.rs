//! The rows of the paper's tables at each scale.

use super::method::{self, Method, Product};
use super::{Dataset, Net, Optimizer, Scale, Schedule, Start, Table};

/// The rows of a table.
pub(super) fn nets(table: Table, scale: Scale) -> Vec<Net> {
    match (table, scale) {
        (Table::One, Scale::Smoke) => smoke(),
        (Table::One, Scale::Small) => thin_families(),
        (Table::One, Scale::Paper) => families(),
        (Table::Two, Scale::Smoke) => vec![Net { schedule: Schedule::Step { every_epochs: 8 }, ..lenet() }],
        (Table::Two, Scale::Small) => vec![thin_imagenet()],
        (Table::Two, Scale::Paper) => vec![imagenet()],
        (Table::Three, Scale::Smoke) => smoke_transfer(),
        (Table::Three, Scale::Small) => small_transfer(),
        (Table::Three, Scale::Paper) => transfer(),
        (Table::Four, Scale::Smoke) => vec![mlp()],
        (Table::Four, Scale::Small) => vec![small_resnet(), small_wide_resnet()],
        (Table::Four, Scale::Paper) => {
            [Dataset::Cifar10, Dataset::Cifar100].map(|dataset| cifar(dataset, RESNET18)).to_vec()
        }
    }
}

/// The methods of Table 4. At the small scale GNR has exact products only, as in the paper, because differences double
/// the time.
pub(super) fn ratios(scale: Scale) -> Vec<Method> {
    match scale {
        Scale::Small => method::ratios(&[Product::Exact]),
        Scale::Smoke | Scale::Paper => method::ratios(&[Product::Exact, Product::FiniteDifference]),
    }
}

/// Name, title and cost of an architecture.
type Architecture = (&'static str, &'static str, f64);

const RESNET18: Architecture = ("resnet18", "ResNet-18", 556.0);
const RESNET20: Architecture = ("resnet20", "ResNet-20", 41.0);
const WRN10_1: Architecture = ("wrn10_1", "WRN-10-1", 12.0);

/// The families of Table 1. Its numbers are lost in the paper's text; the members follow its prose and its references.
const FAMILIES: [Architecture; 8] = [
    RESNET18,
    ("resnet101", "ResNet-101", 2_520.0),
    ("wrn28_2", "WRN-28-2", 215.0),
    ("wrn28_10", "WRN-28-10", 5_240.0),
    ("resnext29_32x4d", "ResNeXt-29 32×4d", 780.0),
    ("pyramidnet110_a270", "PyramidNet-110 α=270", 4_700.0),
    ("vit_tiny_patch4_32", "ViT-Tiny", 370.0),
    ("vit_small_patch4_32", "ViT-Small", 1_430.0),
];

/// Table 1 on CIFAR: 200 epochs, flip and pad-and-crop. The paper does not state learning rate, batch and weight decay.
/// For SGD they are those of the authors' later code. ViTs have AdamW, as usual for training them on CIFAR from
/// scratch.
fn cifar(dataset: Dataset, (model, title, mflop): Architecture) -> Net {
    let vit = model.starts_with("vit");
    Net {
        dataset,
        model,
        title,
        stands_for: None,
        widths: None,
        start: Start::Random,
        images: None,
        resize: None,
        normalization: None,
        augment: "pad-crop-flip",
        epochs: 200,
        batch: 128,
        optimizer: if vit {
            Optimizer::AdamW { lr: 1e-3, weight_decay: 0.05 }
        } else {
            Optimizer::Sgd { lr: 0.1, weight_decay: 5e-4 }
        },
        schedule: Schedule::Cosine { warmup_epochs: if vit { 10 } else { 0 } },
        eval_every: 1,
        keep_every: None,
        mflop,
    }
}

/// The net whose loss the figures look at: the paper's ResNet-18 on CIFAR-100, or what stands in for it.
pub(in crate::reproduce) fn figure_net(scale: Scale) -> Net {
    match scale {
        Scale::Smoke => Net { epochs: 8, keep_every: Some(4), eval_every: 8, ..mlp() },
        Scale::Small => Net {
            images: Some(2_000),
            epochs: 16,
            optimizer: Optimizer::Sgd { lr: 0.1, weight_decay: 5e-4 },
            keep_every: Some(1),
            eval_every: 16,
            ..small_resnet()
        },
        Scale::Paper => Net { keep_every: Some(10), ..cifar(Dataset::Cifar100, RESNET18) },
    }
}

fn families() -> Vec<Net> {
    let on = |dataset| FAMILIES.map(|family| cifar(dataset, family));
    [on(Dataset::Cifar10), on(Dataset::Cifar100)].concat()
}

/// A thin stand-in for a row of Table 1: 10 epochs on 5,000 images.
fn thin(dataset: Dataset, stands_for: &'static str, architecture: Architecture) -> Net {
    let full = cifar(dataset, architecture);
    Net {
        stands_for: Some(stands_for),
        images: Some(5_000),
        augment: if dataset == Dataset::FashionMnist { "none" } else { full.augment },
        epochs: 10,
        batch: 64,
        optimizer: match full.optimizer {
            Optimizer::Sgd { weight_decay, .. } => Optimizer::Sgd { lr: 0.05, weight_decay },
            adamw @ Optimizer::AdamW { .. } => adamw,
        },
        schedule: match full.schedule {
            Schedule::Cosine { warmup_epochs: 0 } => full.schedule,
            _ => Schedule::Cosine { warmup_epochs: 1 },
        },
        eval_every: 2,
        ..full
    }
}

fn small_resnet() -> Net {
    thin(Dataset::Cifar10Jpeg, "ResNet-18", RESNET20)
}

fn small_wide_resnet() -> Net {
    thin(Dataset::Cifar10Jpeg, "WRN-28-2", WRN10_1)
}

/// Every row of Table 1, thinner; Fashion-MNIST stands in for CIFAR-100, of which no copy can be had without its site.
fn thin_families() -> Vec<Net> {
    let on = |dataset| {
        let thin = |stands_for, architecture| thin(dataset, stands_for, architecture);
        let narrow = |widths, net| Net { widths: Some(widths), ..net };
        vec![
            thin("ResNet-18", RESNET20),
            narrow(
                &[4, 8, 16, 32],
                thin("ResNet-101", ("resnet101", "ResNet-101, a sixteenth as wide", 11.0)),
            ),
            thin("WRN-28-2", WRN10_1),
            thin("WRN-28-10", ("wrn16_2", "WRN-16-2", 100.0)),
            narrow(
                &[16, 32, 64],
                thin("ResNeXt-29 32×4d", ("resnext11_8x4d", "ResNeXt-11 8×4d, thin", 15.0)),
            ),
            thin("PyramidNet-110 α=270", ("pyramidnet20_a24", "PyramidNet-20 α=24", 50.0)),
            thin("ViT-Tiny", ("vit_tiny_patch4_32", "ViT-Tiny", 370.0)),
            Net {
                epochs: 5,
                ..thin("ViT-Small", ("vit_small_patch4_32", "ViT-Small, half the epochs", 1_430.0))
            },
        ]
    };
    [on(Dataset::Cifar10Jpeg), on(Dataset::FashionMnist)].concat()
}

/// Table 2: batch 256, lr 0.1 with a tenth every 30 epochs, decay 1e-4. 90 epochs, as usual with that schedule.
fn imagenet() -> Net {
    Net {
        augment: "imagenet",
        resize: Some(224),
        epochs: 90,
        batch: 256,
        optimizer: Optimizer::Sgd { lr: 0.1, weight_decay: 1e-4 },
        schedule: Schedule::Step { every_epochs: 30 },
        ..cifar(Dataset::ImageNet, ("resnet50", "ResNet-50", 4_100.0))
    }
}

fn thin_imagenet() -> Net {
    Net {
        dataset: Dataset::Imagenette,
        title: "ResNet-50, an eighth as wide, 64 × 64",
        stands_for: Some("ResNet-50"),
        widths: Some(&[8, 16, 32, 64]),
        resize: Some(64),
        augment: "pad-crop-flip",
        epochs: 15,
        batch: 32,
        optimizer: Optimizer::Sgd { lr: 0.025, weight_decay: 1e-4 },
        schedule: Schedule::Step { every_epochs: 5 },
        eval_every: 3,
        mflop: 80.0,
        ..imagenet()
    }
}

/// Table 3: 40,000 steps of batch 128, lr 2e-3 with a cosine, decay 1e-5; augmentation on CIFAR only. Images at 224 ×
/// 224.
fn transfer() -> Vec<Net> {
    let steps = 40_000;
    let sets =
        [Dataset::StanfordCars, Dataset::Cifar10, Dataset::Cifar100, Dataset::OxfordPets, Dataset::Food101];
    let on = |architecture: Architecture, file, adamw: bool| {
        sets.map(|dataset| {
            let batch = 128;
            let steps_per_epoch = dataset.train_images().div_ceil(batch);
            let augmented = matches!(dataset, Dataset::Cifar10 | Dataset::Cifar100);
            let (lr, weight_decay) = (2e-3, 1e-5);
            Net {
                start: Start::Weights(file),
                resize: Some(224),
                augment: if augmented { "pad-crop-flip" } else { "none" },
                epochs: (steps + steps_per_epoch / 2) / steps_per_epoch,
                batch,
                optimizer: if adamw {
                    Optimizer::AdamW { lr, weight_decay }
                } else {
                    Optimizer::Sgd { lr, weight_decay }
                },
                schedule: Schedule::Cosine { warmup_epochs: 0 },
                ..cifar(dataset, architecture)
            }
        })
    };
    [
        on(("efficientnet_b0", "EfficientNet-b0", 390.0), "efficientnet_b0_rwightman-7f5810bc.pth", false),
        on(("swin_t", "Swin-T", 4_500.0), "swin_t-704ceda3.pth", true),
    ]
    .concat()
}

/// Fine-tuning on real photographs, with weights from a package index. Swin-T, which has no weights there, is trained
/// from scratch on small images.
fn small_transfer() -> Vec<Net> {
    let tuned = Net {
        dataset: Dataset::Imagenette,
        model: "efficientnet_lite0",
        title: "EfficientNet-lite0",
        stands_for: Some("EfficientNet-b0"),
        start: Start::Weights("efficientnet_lite0.pth"),
        resize: Some(224),
        normalization: Some("efficientnet-lite"),
        augment: "none",
        epochs: 2,
        batch: 8,
        optimizer: Optimizer::Sgd { lr: 2e-3, weight_decay: 1e-5 },
        schedule: Schedule::Cosine { warmup_epochs: 0 },
        eval_every: 1,
        mflop: 390.0,
        ..cifar(Dataset::Imagenette, RESNET18)
    };
    let cifar10 = |net: &Net| Net {
        dataset: Dataset::Cifar10Jpeg,
        images: Some(2_000),
        augment: "pad-crop-flip",
        resize: Some(64),
        mflop: 35.0,
        ..net.clone()
    };
    let scratch = Net {
        model: "swin_t",
        title: "Swin-T from scratch, 64 × 64",
        stands_for: Some("Swin-T"),
        start: Start::Random,
        resize: Some(64),
        normalization: None,
        epochs: 4,
        batch: 32,
        optimizer: Optimizer::AdamW { lr: 5e-4, weight_decay: 1e-5 },
        schedule: Schedule::Cosine { warmup_epochs: 1 },
        mflop: 370.0,
        ..tuned.clone()
    };
    vec![
        cifar10(&tuned),
        Net {
            augment: "pad-crop-flip",
            images: Some(2_000),
            dataset: Dataset::Cifar10Jpeg,
            ..scratch.clone()
        },
        tuned,
        scratch,
    ]
}

fn mlp() -> Net {
    Net { model: "mlp", title: "MLP", widths: Some(&[64, 32]), mflop: 0.006, ..lenet() }
}

fn lenet() -> Net {
    Net {
        augment: "none",
        epochs: 20,
        batch: 64,
        optimizer: Optimizer::Sgd { lr: 0.05, weight_decay: 5e-4 },
        ..cifar(Dataset::Digits, ("lenet", "LeNet", 0.05))
    }
}

fn smoke() -> Vec<Net> {
    let resnet8 =
        Net { model: "resnet8", title: "ResNet-8", widths: Some(&[8, 16, 32]), mflop: 0.8, ..lenet() };
    vec![resnet8, lenet(), mlp()]
}

/// Both optimisers of Table 3, from weights of a short run with another seed.
fn smoke_transfer() -> Vec<Net> {
    let tuned = |net: Net, optimizer| Net { start: Start::OwnPretraining, epochs: 5, optimizer, ..net };
    vec![
        tuned(mlp(), Optimizer::Sgd { lr: 2e-2, weight_decay: 1e-5 }),
        tuned(lenet(), Optimizer::AdamW { lr: 2e-3, weight_decay: 1e-5 }),
    ]
}
