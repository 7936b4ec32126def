//! Swin transformers: attention in windows that shift by half from block to block, as torchvision names their tensors.

use gnr_nn::{
    Backend, Context, Init, Layout, Model, ParamId, Result, Scope,
    composed::{self, Windows},
    layers::{DropPath, Dropout, LayerNorm, Linear},
};

use crate::{
    Architecture, ModelConfig, ModelError, Registered,
    registry::Naming,
    transformer::{FeedForward, SelfAttention, by_rows},
};

/// A Swin transformer: 4×4 patches, then stages of blocks with attention in 7×7 windows and biases by relative
/// position. Windows of every second block are shifted by 3. Between stages 2×2 tokens become one. Tensors:
/// `features.0.0`, `features.0.2`, `features.1.0.norm1`, `.attn.relative_position_bias_table`, `.attn.qkv`,
/// `.attn.proj`, `.norm2`, `.mlp.0`, `.mlp.3`, …, `features.2.reduction`, `features.2.norm`, …, `norm`, `head`.
///
/// Images may have any size: the token grid is padded with zeros where windows or pairs do not divide it.
///
/// # References
/// Liu et al., ICCV 2021.
#[derive(Clone, Debug)]
pub struct SwinTransformer {
    layout: Layout,
    patch: usize,
    width: usize,
    embed_weight: ParamId,
    embed_bias: ParamId,
    embed_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
    head: Linear,
}

/// The sizes of a Swin transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Design<'d> {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Side of a window in tokens.
    pub window: usize,
    /// Width of the first stage; each later one is twice as wide.
    pub width: usize,
    /// Blocks of each stage.
    pub depths: &'d [usize],
    /// Attention heads of each stage.
    pub heads: &'d [usize],
}

/// The design of Swin-T.
pub const TINY: Design<'static> =
    Design { patch: 4, window: 7, width: 96, depths: &[2, 2, 6, 2], heads: &[3, 6, 12, 24] };

const EPS: f64 = 1e-5;

#[derive(Clone, Debug)]
struct Stage {
    /// The merging of tokens that halves the grid before the stage.
    merge: Option<PatchMerging>,
    blocks: Vec<Block>,
}

impl SwinTransformer {
    /// Makes a transformer for images of `channels` channels.
    ///
    /// # Deviation
    /// Normals are not cut off at ±2.
    pub fn new(design: &Design<'_>, channels: usize, classes: usize) -> Self {
        let mut layout = Layout::new();
        let mut root = layout.root();
        let Design { patch, width: first, .. } = *design;
        let mut width = first;
        let mut embed = root.enter("features.0.0");
        let bound = ((channels * patch * patch) as f64).sqrt().recip();
        let shape = [width, channels, patch, patch];
        let embed_weight = embed.parameter("weight", &shape, Init::KaimingUniformDefault);
        let embed_bias = embed.parameter("bias", &[width], Init::Uniform { bound });
        let embed_norm = LayerNorm::new(&mut root.enter("features.0.2"), width, EPS);
        let mut stages = Vec::new();
        for (stage, (&depth, &heads)) in design.depths.iter().zip(design.heads).enumerate() {
            let merge = (stage > 0).then(|| {
                let merging = PatchMerging::new(&mut root.enter(&format!("features.{}", 2 * stage)), width);
                width *= 2;
                merging
            });
            let blocks = (0..depth)
                .map(|i| {
                    let mut scope = root.enter(&format!("features.{}.{i}", 2 * stage + 1));
                    let shift = if i % 2 == 0 { 0 } else { design.window / 2 };
                    Block::new(&mut scope, width, heads, design.window, shift)
                })
                .collect();
            stages.push(Stage { merge, blocks });
        }
        let norm = LayerNorm::new(&mut root.enter("norm"), width, EPS);
        let head = Linear::normal(&mut root.enter("head"), width, classes);
        Self { layout, patch, width: first, embed_weight, embed_bias, embed_norm, stages, norm, head }
    }
    /// Adds dropout after each linear layer of the blocks but qkv, and stochastic depth, one rate a block, of both
    /// halves of the blocks. [`new`](Self::new) has neither; published nets have 0 and 0.2.
    pub fn with_noise(mut self, dropout: Dropout, drop_paths: &[DropPath]) -> Self {
        let mut rates = drop_paths.iter();
        for block in self.stages.iter_mut().flat_map(|stage| &mut stage.blocks) {
            block.attention.dropout = dropout;
            block.mlp.dropout = dropout;
            block.drop_path = rates.next().copied().unwrap_or_default();
        }
        self
    }
    fn num_blocks(&self) -> usize {
        self.stages.iter().map(|stage| stage.blocks.len()).sum()
    }

    /// The classifier's input, which is the mean over the tokens, `[N, D]`.
    fn features<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let (b, patch) = (cx.backend, self.patch);
        let &[n, channels, height, width] = b.shape(x) else {
            let (op, expected) = ("swin", "images [N, C, H, W]".into());
            return Err(gnr_nn::Error::InvalidShape { op, expected, found: b.shape(x).to_vec() });
        };
        // A rest at the bottom and the right is ignored, as a convolution of stride `patch` would.
        let (mut grid, mut x) = ([height / patch, width / patch], x.clone());
        for (axis, length) in [(2, grid[0] * patch), (3, grid[1] * patch)] {
            if b.shape(&x)[axis] != length {
                x = b.gather(&x, axis, &(0..length).map(Some).collect::<Vec<_>>())?;
            }
        }
        let patches = composed::patches(b, &x, patch)?;
        let weight = b.reshape(cx.param(self.embed_weight), &[self.width, channels * patch * patch])?;
        let x = by_rows(b, &patches, |rows| b.linear(rows, &weight, Some(cx.param(self.embed_bias))))?;
        let mut x = self.embed_norm.forward(cx, &x)?;
        for stage in &self.stages {
            if let Some(merge) = &stage.merge {
                (x, grid) = merge.forward(cx, &x, grid)?;
            }
            for block in &stage.blocks {
                x = block.forward(cx, &x, grid)?;
            }
        }
        let x = self.norm.forward(cx, &x)?;
        let width = b.shape(&x)[2];
        b.reshape(&composed::mean(b, &x, &[1])?, &[n, width])
    }
}

impl Model for SwinTransformer {
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
        self.head.forward(cx, features)
    }
}

/// x + attention in windows of norm1(x), then x + mlp(norm2(x)).
#[derive(Clone, Debug)]
struct Block {
    norm1: LayerNorm,
    bias_table: ParamId,
    attention: SelfAttention,
    norm2: LayerNorm,
    mlp: FeedForward,
    drop_path: DropPath,
    window: usize,
    shift: usize,
}

impl Block {
    fn new(scope: &mut Scope<'_>, width: usize, heads: usize, window: usize, shift: usize) -> Self {
        let positions = (2 * window - 1) * (2 * window - 1);
        let norm1 = LayerNorm::new(&mut scope.enter("norm1"), width, EPS);
        let mut attn = scope.enter("attn");
        let init = Init::Normal { std: 0.02 };
        let bias_table = attn.parameter("relative_position_bias_table", &[positions, heads], init);
        let attention = SelfAttention::new(&mut attn, width, heads);
        let norm2 = LayerNorm::new(&mut scope.enter("norm2"), width, EPS);
        let mlp = FeedForward::new(&mut scope.enter("mlp"), ["0", "3"], width, 4 * width);
        Self { norm1, bias_table, attention, norm2, mlp, drop_path: DropPath::default(), window, shift }
    }

    /// Runs the block on x `[N, H·W, D]`, a grid `[H, W]` of tokens.
    fn forward<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        grid: [usize; 2],
    ) -> Result<B::Tensor> {
        let b = cx.backend;
        let windows = Windows::new(grid, self.window, self.shift)?;
        let y = windows.partition(b, &self.norm1.forward(cx, x)?)?;
        let bias = self.bias(cx, &windows)?;
        let y = windows.merge(b, &self.attention.forward(cx, &y, Some(&bias))?)?;
        let x = b.add(x, &self.drop_path.forward(cx, &y)?)?;
        let y = self.norm2.forward(cx, &x)?;
        let y = self.mlp.forward(cx, &y)?;
        b.add(&x, &self.drop_path.forward(cx, &y)?)
    }

    /// The biases by relative position, `[G, heads, T, T]`. G is 1 for all windows, or the number of windows, each with
    /// its mask, when they are shifted.
    fn bias<B: Backend>(&self, cx: &Context<'_, B>, windows: &Windows) -> Result<B::Tensor> {
        let b = cx.backend;
        let bias = composed::relative_bias(b, cx.param(self.bias_table), self.window)?;
        let Some(mask) = windows.mask() else { return Ok(bias) };
        let (count, tokens, heads) = (windows.count(), windows.tokens(), b.shape(&bias)[1]);
        let whole = [count, heads, tokens, tokens];
        let mask = b.broadcast(&b.constant(&mask, &[count, 1, tokens, tokens])?, &whole)?;
        b.add(&b.broadcast(&bias, &whole)?, &mask)
    }
}

/// Merging of four neighbours: concatenates them, normalises, and projects from 4·D to 2·D.
#[derive(Clone, Debug)]
struct PatchMerging {
    reduction: Linear,
    norm: LayerNorm,
}

impl PatchMerging {
    fn new(scope: &mut Scope<'_>, width: usize) -> Self {
        let reduction = Linear::normal_without_bias(&mut scope.enter("reduction"), 4 * width, 2 * width);
        Self { reduction, norm: LayerNorm::new(&mut scope.enter("norm"), 4 * width, EPS) }
    }
    /// Merges `[N, H·W, D]` to `[N, ⌈H/2⌉·⌈W/2⌉, 2·D]`; also returns the new grid.
    fn forward<B: Backend>(
        &self,
        cx: &Context<'_, B>,
        x: &B::Tensor,
        [h, w]: [usize; 2],
    ) -> Result<(B::Tensor, [usize; 2])> {
        let b = cx.backend;
        let grid = [h.div_ceil(2), w.div_ceil(2)];
        let (samples, width) = (b.shape(x)[0], b.shape(x)[2]);
        // The published weights expect the neighbours in this order, down before right.
        let source = |i: usize| {
            let (token, part) = (i / 4, i % 4);
            let (row, column) = (2 * (token / grid[1]) + part % 2, 2 * (token % grid[1]) + part / 2);
            (row < h && column < w).then_some(row * w + column)
        };
        let tokens = grid[0] * grid[1];
        let indices: Vec<_> = (0..4 * tokens).map(source).collect();
        let merged = b.reshape(&b.gather(x, 1, &indices)?, &[samples, tokens, 4 * width])?;
        let merged = self.norm.forward(cx, &merged)?;
        Ok((by_rows(b, &merged, |rows| self.reduction.forward(cx, rows))?, grid))
    }
}

impl Architecture for SwinTransformer {
    const NAMINGS: &'static [Naming] = &[Naming {
        name: "Swin Transformer of another publisher",
        for_file: |names| {
            let merging_ends_stage = names.iter().any(|name| name.contains("layers.0.downsample."));
            Box::new(move |name| canonical(name, merging_ends_stage))
        },
        unfit: |_, _| None,
    }];
    const OPTIONS: &'static [&'static str] = &["dropout", "drop_path"];
    const REGISTERED: &'static [Registered] = &[Registered {
        name: "swin_t",
        family: "Swin",
        description: "Swin-T: 7×7 windows, widths 96 to 768, 12 blocks; published for 224×224",
        reference: "Liu et al., ICCV 2021",
    }];

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let [channels, height, width] = config.input;
        if height < TINY.patch || width < TINY.patch {
            let problem = format!("{height}×{width} is smaller than a patch of {0}×{0}", TINY.patch);
            return Err(config.invalid("input", problem));
        }
        let net = Self::new(&TINY, channels, config.classes);
        let drop_paths = config.drop_paths(net.num_blocks())?;
        Ok(net.with_noise(config.dropout_layer()?, &drop_paths))
    }
}

/// Translates a name in Swin to one that all publishers share (`stage 0 block 0 mlp.fc2.weight`): torchvision
/// (`features.1.0.mlp.3.weight`), Microsoft and timm (`layers.0.blocks.0.mlp.fc2.weight`). `None` for other names.
///
/// `merging_ends_stage`: patch merging is numbered with the stage before it (Microsoft, timm before 0.9), not after it.
fn canonical(name: &str, merging_ends_stage: bool) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok();
    Some(match parts[..] {
        // torchvision
        ["features", "0", "0", leaf] => format!("embed.{leaf}"),
        ["features", "0", "2", leaf] => format!("embed norm.{leaf}"),
        ["features", position, layer @ ("reduction" | "norm"), leaf] => {
            format!("merge {} {layer}.{leaf}", number(position)?.checked_sub(2)? / 2)
        }
        ["features", position, block, ref rest @ ..] => {
            let rest = match rest {
                ["mlp", "0", leaf] => format!("mlp.fc1.{leaf}"),
                ["mlp", "3", leaf] => format!("mlp.fc2.{leaf}"),
                rest => rest.join("."),
            };
            format!("stage {} block {block} {rest}", number(position)?.checked_sub(1)? / 2)
        }
        // Microsoft, timm
        ["patch_embed", "proj", leaf] => format!("embed.{leaf}"),
        ["patch_embed", "norm", leaf] => format!("embed norm.{leaf}"),
        ["layers", stage, "downsample", layer, leaf] => {
            let after = if merging_ends_stage { number(stage)? } else { number(stage)?.checked_sub(1)? };
            format!("merge {after} {layer}.{leaf}")
        }
        ["layers", stage, "blocks", block, ref rest @ ..] => {
            format!("stage {stage} block {block} {}", rest.join("."))
        }
        // both
        ["norm", leaf] => format!("norm.{leaf}"),
        ["head", leaf] | ["head", "fc", leaf] => format!("head.{leaf}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_names_of_one_tensor_are_equal() {
        let translated = |name| canonical(name, false).unwrap();
        for (torchvision, timm) in [
            ("features.0.2.weight", "patch_embed.norm.weight"),
            (
                "features.3.1.attn.relative_position_bias_table",
                "layers.1.blocks.1.attn.relative_position_bias_table",
            ),
            ("features.5.0.mlp.3.bias", "layers.2.blocks.0.mlp.fc2.bias"),
            ("features.2.reduction.weight", "layers.1.downsample.reduction.weight"),
            ("head.bias", "head.fc.bias"),
        ] {
            assert_eq!(translated(torchvision), translated(timm));
        }
        let older = |name| canonical(name, true).unwrap();
        assert_eq!(older("layers.0.downsample.norm.bias"), older("features.2.norm.bias"));
    }
}
