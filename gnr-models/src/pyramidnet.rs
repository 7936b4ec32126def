//! PyramidNet: residual networks whose width grows a little with every block.

use gnr_nn::{
    Backend, Context, Fused, Layout, Model, PoolSpec, Result, Scope,
    layers::{BatchNorm2d, Conv2d, Linear},
};

use crate::{
    Architecture, ModelConfig, ModelError, Registered,
    residual::{ConvNorm, classify, convolution},
};

/// A pyramidal residual network of bottlenecks for small images: 3×3 stem of 16 channels with BatchNorm, three stages
/// of (depth − 2)/9 bottlenecks, BatchNorm, ReLU, global average pool, linear classifier. The planes grow by α/(3n) a
/// block from 16 on, rounded with halves to even; outputs are 4 times as wide.
///
/// Han et al. (2017) report depth 110 with α = 270 for two 3×3 convolutions a block, which other libraries build under
/// this name (28.5 M parameters). This network of that depth has bottlenecks (18.3 M). Weights of the one do not fit
/// the other.
///
/// Tensors: `conv1`, `bn1`, `layer1.0.bn1`, `layer1.0.conv1`, …, `layer1.0.bn4`, …, `bn_final`, `fc`.
#[derive(Clone, Debug)]
pub struct PyramidNet {
    layout: Layout,
    stem: ConvNorm,
    blocks: Vec<Bottleneck>,
    bn_final: BatchNorm2d,
    classifier: Linear,
}

/// Width of the stem.
const STEM: usize = 16;
const STAGES: usize = 3;

impl PyramidNet {
    /// Makes a net for images of `channels` channels, with `blocks` bottlenecks in each of three stages. The planes
    /// grow by `alpha` from start to end.
    pub fn new(channels: usize, blocks: usize, alpha: f64, classes: usize) -> Self {
        let mut layout = Layout::new();
        let mut root = layout.root();
        let stem = ConvNorm::new(&mut root, ["conv1", "bn1"], [channels, STEM], 3, 1);
        let (mut input, mut planes) = (STEM, STEM as f64);
        let mut built = Vec::new();
        for stage in 0..STAGES {
            for block in 0..blocks {
                planes += alpha / (STAGES * blocks) as f64;
                // Python's round, which the published code uses.
                let width = planes.round_ties_even() as usize;
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let mut scope = root.enter(&format!("layer{}.{block}", stage + 1));
                built.push(Bottleneck::new(&mut scope, [input, width, 4 * width], stride));
                input = 4 * width;
            }
        }
        let bn_final = BatchNorm2d::new(&mut root.enter("bn_final"), input);
        let classifier = Linear::new(&mut root.enter("fc"), input, classes);
        Self { layout, stem, blocks: built, bn_final, classifier }
    }
}

impl Model for PyramidNet {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let mut x = self.stem.forward(cx, x, Fused::default())?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        let x = self.bn_final.forward_relu(cx, &x)?;
        classify(cx, &self.classifier, &x)
    }
}

/// A bottleneck: bn1-conv1-bn2-ReLU-conv2-bn3-ReLU-conv3-bn4 plus the shortcut. No ReLU follows bn1 or the sum.
///
/// The shortcut has no parameters: 2×2 averages where the stride is 2, then zeros in new channels, which come last.
#[derive(Clone, Debug)]
struct Bottleneck {
    bn1: BatchNorm2d,
    conv1: Conv2d,
    bn2: BatchNorm2d,
    conv2: Conv2d,
    bn3: BatchNorm2d,
    conv3: Conv2d,
    bn4: BatchNorm2d,
    pool: Option<PoolSpec>,
    channels: Vec<Option<usize>>,
}

impl Bottleneck {
    fn new(scope: &mut Scope<'_>, [input, width, output]: [usize; 3], stride: usize) -> Self {
        let bn = |scope: &mut Scope<'_>, name, channels| BatchNorm2d::new(&mut scope.enter(name), channels);
        Self {
            bn1: bn(scope, "bn1", input),
            conv1: convolution(scope, "conv1", [input, width], 1, 1),
            bn2: bn(scope, "bn2", width),
            conv2: convolution(scope, "conv2", [width, width], 3, stride),
            bn3: bn(scope, "bn3", width),
            conv3: convolution(scope, "conv3", [width, output], 1, 1),
            bn4: bn(scope, "bn4", output),
            pool: (stride > 1).then_some(PoolSpec { window: stride, stride, padding: 0 }),
            channels: (0..output).map(|c| (c < input).then_some(c)).collect(),
        }
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let y = self.bn1.forward(cx, x)?;
        let y = self.conv1.forward(cx, &y)?;
        let y = self.bn2.forward_relu(cx, &y)?;
        let y = self.conv2.forward(cx, &y)?;
        let y = self.bn3.forward_relu(cx, &y)?;
        let y = self.conv3.forward(cx, &y)?;
        let shortcut = match self.pool {
            Some(pool) => cx.backend.avg_pool2d(x, pool)?,
            None => x.clone(),
        };
        let shortcut = cx.backend.gather(&shortcut, 1, &self.channels)?;
        self.bn4.forward_fused(cx, &y, Fused { residual: Some(&shortcut), activation: None })
    }
}

/// Depth and α of `pyramidnet110_a270`.
fn parse(name: &str) -> Option<(usize, usize)> {
    let (depth, alpha) = name.strip_prefix("pyramidnet")?.split_once("_a")?;
    Some((depth.parse().ok()?, alpha.parse().ok()?))
}

impl Architecture for PyramidNet {
    const OPTIONS: &'static [&'static str] = &[];
    const REGISTERED: &'static [Registered] = &[Registered {
        name: "pyramidnet110_a270",
        family: "PyramidNet",
        description: "bottlenecks (Han et al.: basic blocks), depth 110, α = 270; pyramidnetD_aA is any D = 9n + 2 and A",
        reference: "Han et al., CVPR 2017",
    }];

    fn answers_to(name: &str) -> bool {
        parse(name).is_some()
    }

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let (depth, alpha) = parse(&config.name).ok_or_else(|| config.invalid("name", "not a PyramidNet"))?;
        if !(11..=1001).contains(&depth) || !(depth - 2).is_multiple_of(9) || alpha > 10_000 {
            let problem = format!(
                "depth {depth} and α {alpha}, but the depth must be 11, 20, 29, … up to 1001, α at most 10000"
            );
            return Err(config.invalid("name", problem));
        }
        let [channels, height, width] = config.input;
        if !height.is_multiple_of(4) || !width.is_multiple_of(4) {
            let problem = format!("{height}×{width}, but it is halved twice: both must be multiples of 4");
            return Err(config.invalid("input", problem));
        }
        Ok(Self::new(channels, (depth - 2) / 9, alpha as f64, config.classes))
    }
}
