//! EfficientNet-B0 and its Lite variant: inverted bottlenecks with depthwise convolutions.

use gnr_nn::{
    Backend, Context, Conv2dSpec, Fused, Layout, Model, Padding, Result, Scope, Unary,
    layers::{Conv2d, DropPath, Dropout, Linear},
};

use crate::{Architecture, ModelConfig, ModelError, Registered, registry::Naming, residual::ConvNorm};

/// An EfficientNet: 3×3 stem with stride 2, stages of inverted bottlenecks, 1×1 head convolution, global average pool,
/// linear classifier. BatchNorm follows every convolution except those of squeeze-and-excitation.
///
/// # Deviation
/// The convolutions of squeeze-and-excitation and the classifier start as PyTorch's default. The other convolutions
/// start He-normal over fan-out, as published.
///
/// BatchNorm has momentum 0.1 in both styles, as in torchvision. TensorFlow's EfficientNet-Lite keeps 0.99 of the old
/// statistics, which is a momentum of 0.01. This matters for training alone.
///
/// The rate of stochastic depth in bottleneck i of n, from 0, is rate·i/(n − 1), so the last one has the whole rate. In
/// torchvision and timm it is rate·i/n.
///
/// timm has nets with symmetric padding and with TensorFlow's, under equal names of tensors. Of these,
/// `efficientnet_b0` and `tf_efficientnet_lite0` compute what the models here do. `tf_efficientnet_b0` and
/// `efficientnet_lite0` load, too, but their outputs are wrong.
#[derive(Clone, Debug)]
pub struct EfficientNet {
    layout: Layout,
    style: Style,
    stem: ConvNorm,
    blocks: Vec<InvertedBottleneck>,
    head: ConvNorm,
    dropout: Dropout,
    classifier: Linear,
}

/// A published code base, which decides the names of the tensors and the layers in which the nets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// torchvision's EfficientNet: SiLU, squeeze-and-excitation, symmetric padding, BatchNorm ε 1e-5. Tensors:
    /// `features.0.0`, `features.1.0.block.0.0`, …, `classifier.1`.
    Torchvision,
    /// EfficientNet-Lite as ported from TensorFlow: ReLU6, no squeeze-and-excitation, TensorFlow's padding, BatchNorm ε
    /// 1e-3. Tensors: `_conv_stem`, `_blocks.0._depthwise_conv`, …, `_fc`.
    Lite,
}

impl Style {
    fn activation(self) -> Unary {
        match self {
            Self::Torchvision => Unary::Silu,
            Self::Lite => Unary::Relu6,
        }
    }
    fn convolution(
        self,
        scope: &mut Scope<'_>,
        names: [&str; 2],
        channels: [usize; 2],
        window: usize,
        stride: usize,
        groups: usize,
    ) -> ConvNorm {
        let (padding, eps) = match self {
            Self::Torchvision => (Padding::Each(window / 2), 1e-5),
            Self::Lite => (Padding::Same, 1e-3),
        };
        let spec = Conv2dSpec { stride, padding, groups };
        ConvNorm::with_spec(scope, names, channels, window, spec).with_eps(eps)
    }
}

/// A row of the architecture's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Number of bottlenecks.
    pub blocks: usize,
    /// Side of the depthwise window.
    pub window: usize,
    /// Stride of the first bottleneck.
    pub stride: usize,
    /// Width inside a bottleneck over the width of its input.
    pub expansion: usize,
    /// Width of the outputs.
    pub width: usize,
}

const fn stage(blocks: usize, window: usize, stride: usize, expansion: usize, width: usize) -> Stage {
    Stage { blocks, window, stride, expansion, width }
}

/// EfficientNet-B0 (Tan and Le, Table 1).
pub const B0: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// Widths of B0's stem and head.
const ENDS: [usize; 2] = [32, 1280];

impl EfficientNet {
    /// Makes a net for images of `channels` channels; `ends` are the widths of stem and head.
    pub fn new(style: Style, channels: usize, stages: &[Stage], ends: [usize; 2], classes: usize) -> Self {
        let mut layout = Layout::new();
        let mut root = layout.root();
        let lite = style == Style::Lite;
        let names = if lite { ["_conv_stem", "_bn0"] } else { ["features.0.0", "features.0.1"] };
        let stem = style.convolution(&mut root, names, [channels, ends[0]], 3, 2, 1);
        let mut input = ends[0];
        let mut blocks = Vec::new();
        for (i, row) in stages.iter().enumerate() {
            for block in 0..row.blocks {
                let name = if lite {
                    format!("_blocks.{}", blocks.len())
                } else {
                    format!("features.{}.{block}.block", i + 1)
                };
                let stride = if block == 0 { row.stride } else { 1 };
                let row = Stage { stride, ..*row };
                blocks.push(InvertedBottleneck::new(&mut root.enter(&name), style, input, row));
                input = row.width;
            }
        }
        let features = format!("features.{}", stages.len() + 1);
        let torchvision = [format!("{features}.0"), format!("{features}.1")];
        let names = if lite { ["_conv_head", "_bn1"] } else { [&*torchvision[0], &*torchvision[1]] };
        let head = style.convolution(&mut root, names, [input, ends[1]], 1, 1, 1);
        let name = if lite { "_fc" } else { "classifier.1" };
        let classifier = Linear::new(&mut root.enter(name), ends[1], classes);
        Self { layout, style, stem, blocks, head, dropout: Dropout::default(), classifier }
    }
    /// Adds dropout before the classifier, and stochastic depth, one rate a bottleneck, where there is a shortcut.
    /// [`new`](Self::new) has neither; published nets have 0.2 and 0.2.
    pub fn with_noise(mut self, dropout: Dropout, drop_paths: &[DropPath]) -> Self {
        self.dropout = dropout;
        for (block, drop_path) in self.blocks.iter_mut().zip(drop_paths) {
            block.drop_path = *drop_path;
        }
        self
    }
    /// The classifier's input, `[N, D]`.
    fn features<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let fused = Fused { residual: None, activation: Some(self.style.activation()) };
        let mut x = self.stem.forward(cx, x, fused)?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        let fused = Fused { residual: None, activation: Some(self.style.activation()) };
        let x = self.head.forward(cx, &x, fused)?;
        cx.backend.global_avg_pool(&x)
    }
}

impl Model for EfficientNet {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let features = self.features(cx, x)?;
        self.classify(cx, &features)
    }
    fn embed<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<Option<B::Tensor>> {
        self.features(cx, x).map(Some)
    }
    fn classify<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
        let features = self.dropout.forward(cx, features)?;
        self.classifier.forward(cx, &features)
    }
}

/// 1×1 expansion, depthwise convolution, squeeze-and-excitation, and 1×1 projection without activation. The input is
/// added where stride and widths allow.
#[derive(Clone, Debug)]
struct InvertedBottleneck {
    activation: Unary,
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    squeeze: Option<SqueezeExcite>,
    project: ConvNorm,
    skip: bool,
    drop_path: DropPath,
}

impl InvertedBottleneck {
    fn new(scope: &mut Scope<'_>, style: Style, input: usize, row: Stage) -> Self {
        let width = input * row.expansion;
        let mut index = 0;
        // torchvision numbers the layers that are there; Lite names them.
        let mut names = |lite: [&'static str; 2]| {
            let name = match style {
                Style::Torchvision => [format!("{index}.0"), format!("{index}.1")],
                Style::Lite => lite.map(str::to_owned),
            };
            index += 1;
            name
        };
        let layer = |scope: &mut Scope<'_>, names: [String; 2], channels, window, stride, groups| {
            style.convolution(scope, [&names[0], &names[1]], channels, window, stride, groups)
        };
        let expand = (row.expansion != 1)
            .then(|| layer(scope, names(["_expand_conv", "_bn0"]), [input, width], 1, 1, 1));
        let depthwise = names(["_depthwise_conv", "_bn1"]);
        let depthwise = layer(scope, depthwise, [width; 2], row.window, row.stride, width);
        let squeeze = (style == Style::Torchvision).then(|| {
            let [name, _] = names([""; 2]);
            SqueezeExcite::new(&mut scope.enter(name.trim_end_matches(".0")), width, (input / 4).max(1))
        });
        let project = layer(scope, names(["_project_conv", "_bn2"]), [width, row.width], 1, 1, 1);
        let skip = row.stride == 1 && input == row.width;
        Self {
            activation: style.activation(),
            expand,
            depthwise,
            squeeze,
            project,
            skip,
            drop_path: DropPath::default(),
        }
    }

    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let fused = || Fused { residual: None, activation: Some(self.activation) };
        let mut y = x.clone();
        if let Some(expand) = &self.expand {
            y = expand.forward(cx, &y, fused())?;
        }
        y = self.depthwise.forward(cx, &y, fused())?;
        if let Some(squeeze) = &self.squeeze {
            y = squeeze.forward(cx, &y)?;
        }
        if self.skip && self.drop_path.rate() > 0.0 {
            let y = self.project.forward(cx, &y, Fused::default())?;
            return cx.backend.add(&self.drop_path.forward(cx, &y)?, x);
        }
        self.project.forward(cx, &y, Fused { residual: self.skip.then_some(x), activation: None })
    }
}

/// x ⊙ σ(fc2(SiLU(fc1(mean of x over space)))), one factor a channel and sample (Hu et al., CVPR 2018). `fc1`, `fc2`
/// are 1×1 convolutions with bias.
#[derive(Clone, Debug)]
struct SqueezeExcite {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcite {
    fn new(scope: &mut Scope<'_>, width: usize, squeezed: usize) -> Self {
        let spec = Conv2dSpec { stride: 1, padding: Padding::Each(0), groups: 1 };
        Self {
            fc1: Conv2d::with_bias(&mut scope.enter("fc1"), width, squeezed, 1, spec),
            fc2: Conv2d::with_bias(&mut scope.enter("fc2"), squeezed, width, 1, spec),
        }
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let b = cx.backend;
        let mean = b.global_avg_pool(x)?;
        let &[samples, channels] = b.shape(&mean) else {
            return Err(gnr_nn::Error::InvalidShape {
                op: "squeeze_excite",
                expected: "[N, C]".into(),
                found: b.shape(&mean).to_vec(),
            });
        };
        let squeezed = self.fc1.forward(cx, &b.reshape(&mean, &[samples, channels, 1, 1])?)?;
        let gate = self.fc2.forward(cx, &b.unary(Unary::Silu, &squeezed)?)?;
        let gate = b.reshape(&b.unary(Unary::Sigmoid, &gate)?, &[samples, channels])?;
        b.scale_channels(x, &gate)
    }
}

const TAN_AND_LE: &str = "Tan and Le, ICML 2019";

impl Architecture for EfficientNet {
    const NAMINGS: &'static [Naming] = &[Naming {
        name: "EfficientNet of another publisher",
        for_file: |_| Box::new(canonical),
        unfit: |ours, theirs| match ours {
            Some(ours) if ours.starts_with("features.") && theirs.starts_with('_') => Some((
                "weights of lukemelas' EfficientNet, whose names begin with `_`: it pads as TensorFlow does and has BatchNorm ε \
                 1e-3, where this model pads symmetrically and has ε 1e-5, so it would compute something else",
                "give the file of torchvision, or timm's `efficientnet_b0`",
            )),
            // Lite0's other tensors have the shapes of B0's.
            None if canonical(theirs).is_some_and(|name| name.contains(" squeeze.")) => Some((
                "weights of an EfficientNet with squeeze-and-excitation, which this model does not have: it would compute \
                 something else",
                "give weights of EfficientNet-Lite0, or take model.name = \"efficientnet_b0\"",
            )),
            _ => None,
        },
    }];
    const OPTIONS: &'static [&'static str] = &["dropout", "drop_path"];
    const REGISTERED: &'static [Registered] = &[
        Registered {
            name: "efficientnet_b0",
            family: "EfficientNet",
            description: "torchvision's EfficientNet-B0: SiLU, squeeze-and-excitation; published for 224×224",
            reference: TAN_AND_LE,
        },
        Registered {
            name: "efficientnet_lite0",
            family: "EfficientNet",
            description: "EfficientNet-Lite0: ReLU6, no squeeze-and-excitation, TensorFlow's padding; published for 224×224",
            reference: TAN_AND_LE,
        },
    ];

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let style = if config.name == "efficientnet_lite0" { Style::Lite } else { Style::Torchvision };
        let net = Self::new(style, config.input[0], &B0, ENDS, config.classes);
        let drop_paths = config.drop_paths(net.blocks.len())?;
        Ok(net.with_noise(config.dropout_layer()?, &drop_paths))
    }
}

/// Blocks of the seven stages of EfficientNet-B0 and -Lite0.
const STAGES: [usize; 7] = [1, 2, 2, 3, 3, 4, 1];

/// Translates a name in EfficientNet-B0 or -Lite0 to one that all publishers share (`block 1 depthwise.weight`):
/// torchvision (`features.2.0.block.1.0.weight`), timm (`blocks.1.0.conv_dw.weight`) and lukemelas
/// (`_blocks.1._depthwise_conv.weight`). `None` for other names.
fn canonical(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok();
    let in_stage = |stage: usize, block: usize| -> Option<usize> {
        (block < *STAGES.get(stage)?).then(|| STAGES[..stage].iter().sum::<usize>() + block)
    };
    let (block, layer, leaf) = match parts[..] {
        // lukemelas
        ["_conv_stem", leaf] => return Some(format!("stem.{leaf}")),
        ["_bn0", leaf] => return Some(format!("stem bn.{leaf}")),
        ["_conv_head", leaf] => return Some(format!("head.{leaf}")),
        ["_bn1", leaf] => return Some(format!("head bn.{leaf}")),
        ["_fc", leaf] => return Some(format!("classifier.{leaf}")),
        ["_blocks", block, layer, leaf] => {
            let layer = match layer {
                "_expand_conv" => "expand",
                "_bn0" => "expand bn",
                "_depthwise_conv" => "depthwise",
                "_bn1" => "depthwise bn",
                "_se_reduce" => "squeeze",
                "_se_expand" => "excite",
                "_project_conv" => "project",
                "_bn2" => "project bn",
                _ => return None,
            };
            (number(block)?, layer, leaf)
        }
        // timm
        ["conv_stem", leaf] => return Some(format!("stem.{leaf}")),
        ["bn1", leaf] => return Some(format!("stem bn.{leaf}")),
        ["conv_head", leaf] => return Some(format!("head.{leaf}")),
        ["bn2", leaf] => return Some(format!("head bn.{leaf}")),
        ["classifier", leaf] => return Some(format!("classifier.{leaf}")),
        ["blocks", stage, block, ref layer @ .., leaf] => {
            let (stage, block) = (number(stage)?, number(block)?);
            // The first stage does not expand, so its layers are counted one lower.
            let layer = match (stage, layer) {
                (_, ["se", "conv_reduce"]) => "squeeze",
                (_, ["se", "conv_expand"]) => "excite",
                (_, ["conv_dw"]) => "depthwise",
                (0, ["bn1"]) => "depthwise bn",
                (0, ["conv_pw"]) => "project",
                (0, ["bn2"]) => "project bn",
                (_, ["conv_pw"]) => "expand",
                (_, ["bn1"]) => "expand bn",
                (_, ["bn2"]) => "depthwise bn",
                (_, ["conv_pwl"]) => "project",
                (_, ["bn3"]) => "project bn",
                _ => return None,
            };
            (in_stage(stage, block)?, layer, leaf)
        }
        // torchvision
        ["features", "0", "0", leaf] => return Some(format!("stem.{leaf}")),
        ["features", "0", "1", leaf] => return Some(format!("stem bn.{leaf}")),
        ["features", "8", "0", leaf] => return Some(format!("head.{leaf}")),
        ["features", "8", "1", leaf] => return Some(format!("head bn.{leaf}")),
        ["classifier", "1", leaf] => return Some(format!("classifier.{leaf}")),
        ["features", stage, block, "block", step, layer, leaf] => {
            let stage = number(stage)?.checked_sub(1)?;
            let step = number(step)? + usize::from(stage == 0);
            let layer = match (step, layer) {
                (0, "0") => "expand",
                (0, "1") => "expand bn",
                (1, "0") => "depthwise",
                (1, "1") => "depthwise bn",
                (2, "fc1") => "squeeze",
                (2, "fc2") => "excite",
                (3, "0") => "project",
                (3, "1") => "project bn",
                _ => return None,
            };
            (in_stage(stage, number(block)?)?, layer, leaf)
        }
        _ => return None,
    };
    Some(format!("block {block} {layer}.{leaf}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_names_of_one_tensor_are_equal() {
        for names in [
            [
                "_blocks.0._depthwise_conv.weight",
                "blocks.0.0.conv_dw.weight",
                "features.1.0.block.0.0.weight",
            ],
            ["_blocks.0._bn2.bias", "blocks.0.0.bn2.bias", "features.1.0.block.2.1.bias"],
            ["_blocks.2._se_reduce.bias", "blocks.1.1.se.conv_reduce.bias", "features.2.1.block.2.fc1.bias"],
            [
                "_blocks.15._project_conv.weight",
                "blocks.6.0.conv_pwl.weight",
                "features.7.0.block.3.0.weight",
            ],
            ["_bn1.running_var", "bn2.running_var", "features.8.1.running_var"],
            ["_fc.weight", "classifier.weight", "classifier.1.weight"],
        ] {
            let translated = names.map(|name| canonical(name).unwrap());
            assert_eq!([&translated[1], &translated[2]], [&translated[0]; 2], "{names:?}");
        }
    }
}
