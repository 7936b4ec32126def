//! Residual networks of basic blocks on small images: CIFAR ResNets with either shortcut, and ResNet-18 with a CIFAR stem.

use gnr_nn::{
    Backend, Context, Conv2dSpec, Fused, Layout, Model, Result, Scope,
    layers::{BatchNorm2d, Conv2d, Linear},
};

use crate::{Architecture, ModelConfig, ModelError, Registered};

/// A residual network: 3×3 stem without pooling, stages of basic blocks (each after the first starts with stride 2), global
/// average pool, linear classifier.
///
/// The second BatchNorm of a block also adds the shortcut and applies the ReLU, so a fused backend makes one pass of it.
#[derive(Clone, Debug)]
pub struct ResNet {
    layout: Layout,
    stem: Convolution,
    blocks: Vec<BasicBlock>,
    classifier: Linear,
}

/// A published code base: it decides the names of the tensors and the kind of shortcut where shapes change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// He et al.'s CIFAR nets, option A: every second pixel, new channels zero (half before, half after). `layer1.0.…`,
    /// `linear`.
    CifarOptionA,
    /// 1×1 convolution and BatchNorm (option B). `layers.0.…`, `layers.3.shortcut.0`, `linear`.
    CifarProjection,
    /// 1×1 convolution and BatchNorm. `layer1.0.…`, `layer2.0.downsample.0`, `fc`.
    Torchvision,
}

impl ResNet {
    /// For images of `channels` channels; stage i has `blocks[i]` basic blocks of width `widths[i]`.
    ///
    /// # Deviation
    /// Convolutions start He-normal over fan-out and the classifier as PyTorch's default in every style.
    pub fn new(style: Style, channels: usize, blocks: &[usize], widths: &[usize], classes: usize) -> Self {
        let mut layout = Layout::new();
        let mut root = layout.root();
        let mut input = widths.first().copied().unwrap_or(channels);
        let stem = Convolution::new(&mut root, ["conv1", "bn1"], channels, input, 3, 1);
        let mut built = Vec::new();
        for (stage, (&count, &width)) in blocks.iter().zip(widths).enumerate() {
            for block in 0..count {
                let name = match style {
                    Style::CifarProjection => format!("layers.{}", built.len()),
                    _ => format!("layer{}.{block}", stage + 1),
                };
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                built.push(BasicBlock::new(&mut root.enter(&name), style, input, width, stride));
                input = width;
            }
        }
        let classifier = if style == Style::Torchvision { "fc" } else { "linear" };
        let classifier = Linear::new(&mut root.enter(classifier), input, classes);
        Self { layout, stem, blocks: built, classifier }
    }
}

impl ResNet {
    /// What the classifier sees, `[N, D]`.
    fn features<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let mut x = self.stem.forward(cx, x, Fused { residual: None, relu: true })?;
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

/// A convolution without bias and its BatchNorm.
#[derive(Clone, Debug)]
struct Convolution {
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl Convolution {
    fn new(
        scope: &mut Scope<'_>,
        [conv, bn]: [&str; 2],
        input: usize,
        output: usize,
        window: usize,
        stride: usize,
    ) -> Self {
        let spec = Conv2dSpec { stride, padding: window / 2, groups: 1 };
        Self {
            conv: Conv2d::new(&mut scope.enter(conv), input, output, window, spec),
            bn: BatchNorm2d::new(&mut scope.enter(bn), output),
        }
    }
    fn forward<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        fused: Fused<'_, B::Tensor>,
    ) -> Result<B::Tensor> {
        let y = self.conv.forward(cx, x)?;
        self.bn.forward_fused(cx, &y, fused)
    }
}

/// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)).
#[derive(Clone, Debug)]
struct BasicBlock {
    first: Convolution,
    second: Convolution,
    shortcut: Shortcut,
}

#[derive(Clone, Debug)]
enum Shortcut {
    Identity,
    /// Rows and columns 0, stride, 2·stride, …; channels as listed, `None` being zero.
    Pad {
        stride: usize,
        channels: Vec<Option<usize>>,
    },
    Projection(Convolution),
}

impl BasicBlock {
    fn new(scope: &mut Scope<'_>, style: Style, input: usize, output: usize, stride: usize) -> Self {
        let first = Convolution::new(scope, ["conv1", "bn1"], input, output, 3, stride);
        let second = Convolution::new(scope, ["conv2", "bn2"], output, output, 3, 1);
        let mut projection =
            |name: [&str; 2]| Shortcut::Projection(Convolution::new(scope, name, input, output, 1, stride));
        let shortcut = match style {
            _ if stride == 1 && input == output => Shortcut::Identity,
            Style::CifarOptionA => {
                let before = output.saturating_sub(input) / 2;
                let channels =
                    (0..output).map(|c| c.checked_sub(before).filter(|&old| old < input)).collect();
                Shortcut::Pad { stride, channels }
            }
            Style::CifarProjection => projection(["shortcut.0", "shortcut.1"]),
            Style::Torchvision => projection(["downsample.0", "downsample.1"]),
        };
        Self { first, second, shortcut }
    }

    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let y = self.first.forward(cx, x, Fused { residual: None, relu: true })?;
        let shortcut = match &self.shortcut {
            Shortcut::Identity => x.clone(),
            Shortcut::Pad { stride, channels } => pad(cx.backend, x, *stride, channels)?,
            Shortcut::Projection(projection) => projection.forward(cx, x, Fused::default())?,
        };
        self.second.forward(cx, &y, Fused { residual: Some(&shortcut), relu: true })
    }
}

/// Option A: a linear map without parameters. Space first: it leaves a quarter of the pixels for the second step.
fn pad<B: Backend>(b: &B, x: &B::Tensor, stride: usize, channels: &[Option<usize>]) -> Result<B::Tensor> {
    let mut x = x.clone();
    if stride > 1 {
        for axis in [2, 3] {
            let kept: Vec<_> = (0..b.shape(&x)[axis]).step_by(stride).map(Some).collect();
            x = b.gather(&x, axis, &kept)?;
        }
    }
    b.gather(&x, 1, channels)
}

/// The members of the family.
struct Member {
    name: &'static str,
    style: Style,
    blocks: &'static [usize],
    widths: &'static [usize],
}

const CIFAR: &[usize] = &[16, 32, 64];

const MEMBERS: &[Member] = &[
    Member { name: "resnet8", style: Style::CifarOptionA, blocks: &[1, 1, 1], widths: &[8, 16, 32] },
    Member { name: "resnet20", style: Style::CifarOptionA, blocks: &[3, 3, 3], widths: CIFAR },
    Member { name: "resnet32", style: Style::CifarOptionA, blocks: &[5, 5, 5], widths: CIFAR },
    Member { name: "resnet44", style: Style::CifarOptionA, blocks: &[7, 7, 7], widths: CIFAR },
    Member { name: "resnet56", style: Style::CifarOptionA, blocks: &[9, 9, 9], widths: CIFAR },
    Member { name: "resnet20_projection", style: Style::CifarProjection, blocks: &[3, 3, 3], widths: CIFAR },
    Member {
        name: "resnet18",
        style: Style::Torchvision,
        blocks: &[2, 2, 2, 2],
        widths: &[64, 128, 256, 512],
    },
];

const HE: &str = "He et al., CVPR 2016";

const fn registered(name: &'static str, description: &'static str) -> Registered {
    Registered { name, family: "ResNet", description, reference: HE }
}

impl Architecture for ResNet {
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
        registered("resnet18", "torchvision's ResNet-18 with a CIFAR stem: 3×3 stride 1, no max-pool"),
    ];

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.refuse("activation", &config.activation)?;
        let member = MEMBERS
            .iter()
            .find(|member| member.name == config.name)
            .ok_or_else(|| config.invalid("name", "not a ResNet"))?;
        let widths = config.widths.as_deref().unwrap_or(member.widths);
        if widths.len() != member.blocks.len() {
            let stages = member.blocks.len();
            return Err(config.invalid("widths", format!("{widths:?}, but there are {stages} stages")));
        }
        if member.style == Style::CifarOptionA && !widths.is_sorted() {
            return Err(
                config.invalid("widths", format!("{widths:?} shrink, but option A can only add channels"))
            );
        }
        Ok(Self::new(member.style, config.input[0], member.blocks, widths, config.classes))
    }
}
