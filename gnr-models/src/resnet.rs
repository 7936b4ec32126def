//! Residual networks: the CIFAR nets of He et al. and torchvision's ResNet-18 to -152, on small and on large images.

use gnr_nn::{Backend, Context, Layout, Model, PoolSpec, Result, layers::Linear};

use crate::{
    Architecture, ModelConfig, ModelError, Nonlinearity, Registered,
    residual::{Block, ConvNorm, Family, Shortcut},
};

/// A residual network: stem, stages of residual blocks, global average pool, linear classifier. Each stage after the
/// first starts with stride 2.
#[derive(Clone, Debug)]
pub struct ResNet {
    layout: Layout,
    nonlinearity: Nonlinearity,
    stem: ConvNorm,
    pool: Option<PoolSpec>,
    blocks: Vec<Block>,
    classifier: Linear,
}

/// The choices that make a member of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Design<'a> {
    /// Names of the tensors and kind of shortcut.
    pub style: Style,
    /// The first layers.
    pub stem: Stem,
    /// The residual function.
    pub unit: Unit,
    /// Blocks in each stage.
    pub blocks: &'a [usize],
    /// Width (torchvision's `planes`) of each stage.
    pub widths: &'a [usize],
}

/// A published code base, which decides the names of the tensors and the shortcut where shapes change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// He et al.'s CIFAR nets, option A: every second pixel, new channels zero (half before, half after). Tensors:
    /// `layer1.0.…`, `linear`.
    CifarOptionA,
    /// 1×1 convolution and BatchNorm (option B). Tensors: `layers.0.…`, `layers.3.shortcut.0`, `linear`.
    CifarProjection,
    /// 1×1 convolution and BatchNorm. Tensors: `layer1.0.…`, `layer2.0.downsample.0`, `fc`.
    Torchvision,
}

/// The first layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 3×3 convolution with stride 1: for images of 32×32 and the like.
    Cifar,
    /// 7×7 convolution with stride 2, then a 3×3 maximum with stride 2: for images of 224×224 and the like.
    ImageNet,
}

impl Stem {
    /// The shorter side, in pixels, below which images get the CIFAR stem unless the name fixes the stem.
    pub const SMALL: usize = 64;

    /// The usual stem for images `[C, H, W]`.
    pub fn for_images([_, height, width]: [usize; 3]) -> Self {
        if height.min(width) < Self::SMALL { Self::Cifar } else { Self::ImageNet }
    }
}

/// The residual function of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1; the output has 4 times the stage's width. The 3×3 convolution has `groups` groups of
    /// `base·width/64` channels: 1 and 64 in a ResNet, 32 and 4 in a ResNeXt 32×4d.
    Bottleneck {
        /// Number of groups (cardinality).
        groups: usize,
        /// Channels of a group in a stage of width 64.
        base: usize,
    },
}

impl Unit {
    /// The bottleneck of a ResNet.
    pub const PLAIN_BOTTLENECK: Self = Self::Bottleneck { groups: 1, base: 64 };
}

impl ResNet {
    /// Makes a network for images of `channels` channels.
    ///
    /// # Deviation
    /// Convolutions start He-normal over fan-out and the classifier as PyTorch's default in every style.
    pub fn new(design: &Design<'_>, channels: usize, classes: usize) -> Self {
        Self::with_nonlinearity(design, Nonlinearity::default(), channels, classes)
    }

    /// Makes the network of [`new`](Self::new) with other normalisations or another activation. Tensors keep the
    /// published names (`bn1.weight`), whichever normalisation they belong to.
    pub fn with_nonlinearity(
        design: &Design<'_>,
        nonlinearity: Nonlinearity,
        channels: usize,
        classes: usize,
    ) -> Self {
        let family = Family::new(nonlinearity, design.blocks.iter().sum());
        let mut layout = Layout::new();
        let mut root = layout.root();
        let mut input = design.widths.first().copied().unwrap_or(channels);
        let (window, stride, pool) = match design.stem {
            Stem::Cifar => (3, 1, None),
            Stem::ImageNet => (7, 2, Some(PoolSpec { window: 3, stride: 2, padding: 1 })),
        };
        let stem = family.conv_norm(&mut root, ["conv1", "bn1"], [channels, input], window, stride);
        let mut blocks = Vec::new();
        for (stage, (&count, &width)) in design.blocks.iter().zip(design.widths).enumerate() {
            for block in 0..count {
                let name = match design.style {
                    Style::CifarProjection => format!("layers.{}", blocks.len()),
                    _ => format!("layer{}.{block}", stage + 1),
                };
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let output = match design.unit {
                    Unit::Basic => width,
                    Unit::Bottleneck { .. } => 4 * width,
                };
                let ends = [input, output];
                let shortcut = |scope: &mut gnr_nn::Scope<'_>| match design.style {
                    Style::CifarOptionA => Shortcut::option_a(ends, stride),
                    Style::CifarProjection => {
                        Shortcut::projection(family, scope, ["shortcut.0", "shortcut.1"], ends, stride)
                    }
                    Style::Torchvision => {
                        Shortcut::projection(family, scope, ["downsample.0", "downsample.1"], ends, stride)
                    }
                };
                let mut scope = root.enter(&name);
                blocks.push(match design.unit {
                    Unit::Basic => Block::basic(family, &mut scope, ends, stride, shortcut),
                    Unit::Bottleneck { groups, base } => {
                        let inner = width * base / 64 * groups;
                        Block::bottleneck(
                            family,
                            &mut scope,
                            [input, inner, output],
                            stride,
                            groups,
                            shortcut,
                        )
                    }
                });
                input = output;
            }
        }
        let classifier = if design.style == Style::Torchvision { "fc" } else { "linear" };
        let classifier = Linear::new(&mut root.enter(classifier), input, classes);
        Self { layout, nonlinearity, stem, pool, blocks, classifier }
    }
}

impl ResNet {
    /// The classifier's input, `[N, D]`.
    fn features<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let mut x = self.stem.forward(cx, x, self.nonlinearity.activate())?;
        if let Some(pool) = self.pool {
            x = cx.backend.max_pool2d(&x, pool)?;
        }
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        cx.backend.global_avg_pool(&x)
    }
}

impl Model for ResNet {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let features = self.features(cx, x)?;
        self.classifier.forward(cx, &features)
    }
    fn embed<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<Option<B::Tensor>> {
        self.features(cx, x).map(Some)
    }
    fn classify<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
        self.classifier.forward(cx, features)
    }
}

const CIFAR: &[usize] = &[16, 32, 64];
const TORCHVISION: &[usize] = &[64, 128, 256, 512];

/// The design called `name` (without the suffix that fixes the stem).
fn design(name: &str) -> Option<Design<'static>> {
    let cifar =
        |style, blocks, widths| Design { style, stem: Stem::Cifar, unit: Unit::Basic, blocks, widths };
    let torchvision = |unit, blocks| Design {
        style: Style::Torchvision,
        stem: Stem::ImageNet,
        unit,
        blocks,
        widths: TORCHVISION,
    };
    Some(match name {
        "resnet8" => cifar(Style::CifarOptionA, &[1, 1, 1], &[8, 16, 32]),
        "resnet20" => cifar(Style::CifarOptionA, &[3, 3, 3], CIFAR),
        "resnet32" => cifar(Style::CifarOptionA, &[5, 5, 5], CIFAR),
        "resnet44" => cifar(Style::CifarOptionA, &[7, 7, 7], CIFAR),
        "resnet56" => cifar(Style::CifarOptionA, &[9, 9, 9], CIFAR),
        "resnet20_projection" => cifar(Style::CifarProjection, &[3, 3, 3], CIFAR),
        "resnet18" => torchvision(Unit::Basic, &[2, 2, 2, 2]),
        "resnet34" => torchvision(Unit::Basic, &[3, 4, 6, 3]),
        "resnet50" => torchvision(Unit::PLAIN_BOTTLENECK, &[3, 4, 6, 3]),
        "resnet101" => torchvision(Unit::PLAIN_BOTTLENECK, &[3, 4, 23, 3]),
        "resnet152" => torchvision(Unit::PLAIN_BOTTLENECK, &[3, 8, 36, 3]),
        _ => return None,
    })
}

const fn registered(name: &'static str, description: &'static str) -> Registered {
    Registered { name, family: "ResNet", description, reference: "He et al., CVPR 2016" }
}

impl Architecture for ResNet {
    const OPTIONS: &'static [&'static str] = &["widths", "activation", "norm", "norm_groups"];
    const REGISTERED: &'static [Registered] = &[
        registered("resnet8", "three basic blocks, widths 8/16/32, option A: for 8×8 digits and smoke tests"),
        registered(
            "resnet20",
            "CIFAR ResNet, 3 stages of 3 basic blocks, widths 16/32/64, option-A shortcuts",
        ),
        registered("resnet32", "as resnet20 with stages of 5 blocks"),
        registered("resnet44", "as resnet20 with stages of 7 blocks"),
        registered("resnet56", "as resnet20 with stages of 9 blocks"),
        registered("resnet20_projection", "as resnet20 with 1×1 convolution and BatchNorm shortcuts"),
        registered(
            "resnet18",
            "torchvision's ResNet-18; the stem follows the image: CIFAR below 64 pixels, else ImageNet",
        ),
        registered("resnet34", "torchvision's ResNet-34, stem as resnet18"),
        registered("resnet50", "torchvision's ResNet-50 (bottlenecks, v1.5), stem as resnet18"),
        registered("resnet101", "torchvision's ResNet-101, stem as resnet18"),
        registered("resnet152", "torchvision's ResNet-152, stem as resnet18"),
        registered("resnet18_cifar", "ResNet-18 with the CIFAR stem at any size: 3×3 stride 1, no max-pool"),
        registered("resnet34_cifar", "ResNet-34 with the CIFAR stem at any size"),
        registered("resnet50_cifar", "ResNet-50 with the CIFAR stem at any size"),
        registered("resnet101_cifar", "ResNet-101 with the CIFAR stem at any size"),
        registered("resnet152_cifar", "ResNet-152 with the CIFAR stem at any size"),
        registered(
            "resnet18_imagenet",
            "ResNet-18 with the ImageNet stem at any size: 7×7 stride 2, max-pool",
        ),
        registered("resnet34_imagenet", "ResNet-34 with the ImageNet stem at any size"),
        registered("resnet50_imagenet", "ResNet-50 with the ImageNet stem at any size"),
        registered("resnet101_imagenet", "ResNet-101 with the ImageNet stem at any size"),
        registered("resnet152_imagenet", "ResNet-152 with the ImageNet stem at any size"),
    ];

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let (name, stem) = if let Some(name) = config.name.strip_suffix("_cifar") {
            (name, Stem::Cifar)
        } else if let Some(name) = config.name.strip_suffix("_imagenet") {
            (name, Stem::ImageNet)
        } else {
            (config.name.as_str(), Stem::for_images(config.input))
        };
        let mut design = design(name).ok_or_else(|| config.invalid("name", "not a ResNet"))?;
        if design.style == Style::Torchvision {
            design.stem = stem;
        }
        let widths = config.stage_widths(design.widths)?;
        if design.style == Style::CifarOptionA && !widths.is_sorted() {
            return Err(
                config.invalid("widths", format!("{widths:?} shrink, but option A can only add channels"))
            );
        }
        let design = Design { widths: &widths, ..design };
        let net = Self::with_nonlinearity(&design, config.nonlinearity()?, config.input[0], config.classes);
        config.check_norm_groups(&net.layout)?;
        Ok(net)
    }
}
