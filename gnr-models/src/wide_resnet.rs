//! Wide residual networks of any depth and width.

use gnr_nn::{
    Backend, Context, Layout, Model, Result, Scope,
    layers::{Conv2d, Linear},
};

use crate::{
    Architecture, ModelConfig, ModelError, Nonlinearity, Registered,
    nonlinearity::MapNorm,
    residual::{Family, classify},
};

/// A wide residual network for small images: 3×3 stem of 16 channels, three stages of (depth − 4)/6 pre-activation
/// blocks of 16k, 32k and 64k channels, BatchNorm, ReLU, global average pool, linear classifier.
///
/// Tensors: `conv1`, `layer1.0.bn1`, `layer1.0.conv1`, `layer1.0.bn2`, `layer1.0.conv2`, `layer1.0.downsample`, …,
/// `bn1`, `fc`.
#[derive(Clone, Debug)]
pub struct WideResNet {
    layout: Layout,
    nonlinearity: Nonlinearity,
    stem: Conv2d,
    blocks: Vec<Block>,
    bn: MapNorm,
    classifier: Linear,
}

/// Width of the stem.
const STEM: usize = 16;

impl WideResNet {
    /// Makes a net for images of `channels` channels, with `blocks` blocks in each stage, `widths[i]` wide in stage i.
    pub fn new(channels: usize, blocks: usize, widths: &[usize], classes: usize) -> Self {
        Self::with_nonlinearity(Nonlinearity::default(), channels, blocks, widths, classes)
    }

    /// Makes the net of [`new`](Self::new) with other normalisations or another activation. Tensors keep their names
    /// (`bn1.weight`), whichever normalisation they belong to.
    pub fn with_nonlinearity(
        nonlinearity: Nonlinearity,
        channels: usize,
        blocks: usize,
        widths: &[usize],
        classes: usize,
    ) -> Self {
        let family = Family::new(nonlinearity, blocks * widths.len());
        let mut layout = Layout::new();
        let mut root = layout.root();
        let mut input = STEM;
        let stem = family.convolution(&mut root, "conv1", [channels, input], 3, 1);
        let mut built = Vec::new();
        for (stage, &width) in widths.iter().enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let mut scope = root.enter(&format!("layer{}.{block}", stage + 1));
                built.push(Block::new(family, &mut scope, [input, width], stride));
                input = width;
            }
        }
        let bn = family.norm(&mut root, "bn1", input);
        let classifier = Linear::new(&mut root.enter("fc"), input, classes);
        Self { layout, nonlinearity, stem, blocks: built, bn, classifier }
    }
}

impl Model for WideResNet {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let mut x = self.stem.forward(cx, x)?;
        for block in &self.blocks {
            x = block.forward(cx, &x, self.nonlinearity)?;
        }
        let x = self.bn.forward(cx, &x, self.nonlinearity.activate())?;
        classify(cx, &self.classifier, &x)
    }
}

/// A block: conv2(act(bn2(conv1(a)))) + shortcut with a = act(bn1(x)). The shortcut is x, or a 1×1 convolution of a
/// where the width or the map's size changes.
#[derive(Clone, Debug)]
struct Block {
    bn1: MapNorm,
    conv1: Conv2d,
    bn2: MapNorm,
    conv2: Conv2d,
    downsample: Option<Conv2d>,
}

impl Block {
    fn new(family: Family, scope: &mut Scope<'_>, [input, output]: [usize; 2], stride: usize) -> Self {
        Self {
            bn1: family.norm(scope, "bn1", input),
            conv1: family.convolution(scope, "conv1", [input, output], 3, stride),
            bn2: family.norm(scope, "bn2", output),
            conv2: family.last_convolution(scope, "conv2", [output, output], 3, 1),
            downsample: (input != output || stride != 1)
                .then(|| family.convolution(scope, "downsample", [input, output], 1, stride)),
        }
    }
    fn forward<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        nonlinearity: Nonlinearity,
    ) -> Result<B::Tensor> {
        let a = self.bn1.forward(cx, x, nonlinearity.activate())?;
        let y = self.conv1.forward(cx, &a)?;
        let y = self.bn2.forward(cx, &y, nonlinearity.activate())?;
        let y = self.conv2.forward(cx, &y)?;
        match &self.downsample {
            Some(downsample) => cx.backend.add(&y, &downsample.forward(cx, &a)?),
            None => cx.backend.add(&y, x),
        }
    }
}

/// Depth and width of `wrn28_10`.
fn parse(name: &str) -> Option<(usize, usize)> {
    let (depth, width) = name.strip_prefix("wrn")?.split_once('_')?;
    Some((depth.parse().ok()?, width.parse().ok()?))
}

const fn registered(name: &'static str, description: &'static str) -> Registered {
    Registered { name, family: "WideResNet", description, reference: "Zagoruyko and Komodakis, BMVC 2016" }
}

impl Architecture for WideResNet {
    const OPTIONS: &'static [&'static str] = &["widths", "activation", "norm", "norm_groups"];
    const REGISTERED: &'static [Registered] = &[
        registered("wrn28_2", "depth 28, 2 times as wide; wrnD_K is any depth D = 6n + 4 and width K"),
        registered("wrn28_10", "depth 28, 10 times as wide"),
        registered("wrn16_4", "depth 16, 4 times as wide"),
        registered("wrn40_2", "depth 40, 2 times as wide"),
    ];

    fn answers_to(name: &str) -> bool {
        parse(name).is_some()
    }

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let (depth, width) = parse(&config.name)
            .ok_or_else(|| config.invalid("name", "not a wide ResNet; wrn28_10 has depth 28 and width 10"))?;
        if !(10..=1000).contains(&depth) || !(depth - 4).is_multiple_of(6) || !(1..=100).contains(&width) {
            let problem = format!(
                "depth {depth} and width {width}, but the depth must be 10, 16, 22, … below 1000 and the width 1 to 100"
            );
            return Err(config.invalid("name", problem));
        }
        let widths = config.stage_widths(&[16 * width, 32 * width, 64 * width])?;
        let (nonlinearity, blocks) = (config.nonlinearity()?, (depth - 4) / 6);
        let net = Self::with_nonlinearity(nonlinearity, config.input[0], blocks, &widths, config.classes);
        config.check_norm_groups(&net.layout)?;
        Ok(net)
    }
}
