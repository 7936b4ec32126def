//! Vision transformers, as timm names their tensors.

use gnr_nn::{
    Backend, Context, Init, Layout, Model, ParamId, Result, composed,
    layers::{DropPath, Dropout, LayerNorm, Linear},
};

use crate::{
    Architecture, ModelConfig, ModelError, Registered,
    transformer::{FeedForward, SelfAttention, by_rows},
};

/// A vision transformer: linearly embedded patches behind a class token, learned positions, pre-norm blocks, and a
/// classifier of the normed class token. Tensors: `cls_token`, `pos_embed`, `patch_embed.proj`, `blocks.0.norm1`,
/// `.attn.qkv`, `.attn.proj`, `.norm2`, `.mlp.fc1`, `.mlp.fc2`, …, `norm`, `head`.
///
/// # References
/// Dosovitskiy et al., ICLR 2021; the Tiny and Small sizes are Touvron et al.'s (DeiT, ICML 2021).
#[derive(Clone, Debug)]
pub struct VisionTransformer {
    layout: Layout,
    design: Design,
    class_token: ParamId,
    positions: ParamId,
    embed_weight: ParamId,
    embed_bias: ParamId,
    dropout: Dropout,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

/// The sizes of a vision transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Design {
    /// Side of a patch in pixels; divides the sides of the image.
    pub patch: usize,
    /// Width D of a token; a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Number of attention heads.
    pub heads: usize,
}

const EPS: f64 = 1e-6;

impl VisionTransformer {
    /// Makes a transformer for images `[C, H, W]`. The perceptrons are 4·D wide.
    ///
    /// # Deviation
    /// The class token starts at N(0, 1e-12), positions and linear weights at N(0, 0.02²), the patch embedding as
    /// PyTorch's convolutions. These are timm's defaults, except that normals are not cut off at ±2.
    pub fn new(design: Design, [channels, height, width]: [usize; 3], classes: usize) -> Self {
        let Design { patch, width: d, depth, heads } = design;
        let grid = [height / patch, width / patch];
        let tokens = grid[0] * grid[1] + 1;
        let mut layout = Layout::new();
        layout.set_grid(grid);
        let mut root = layout.root();
        let class_token = root.parameter("cls_token", &[1, 1, d], Init::Normal { std: 1e-6 });
        let positions = root.parameter("pos_embed", &[1, tokens, d], Init::Normal { std: 0.02 });
        let mut embed = root.enter("patch_embed.proj");
        let shape = [d, channels, patch, patch];
        let bound = ((channels * patch * patch) as f64).sqrt().recip();
        let embed_weight = embed.parameter("weight", &shape, Init::KaimingUniformDefault);
        let embed_bias = embed.parameter("bias", &[d], Init::Uniform { bound });
        let blocks = (0..depth)
            .map(|i| {
                let mut scope = root.enter(&format!("blocks.{i}"));
                Block {
                    norm1: LayerNorm::new(&mut scope.enter("norm1"), d, EPS),
                    attention: SelfAttention::new(&mut scope.enter("attn"), d, heads),
                    norm2: LayerNorm::new(&mut scope.enter("norm2"), d, EPS),
                    mlp: FeedForward::new(&mut scope.enter("mlp"), ["fc1", "fc2"], d, 4 * d),
                    drop_path: DropPath::default(),
                }
            })
            .collect();
        let norm = LayerNorm::new(&mut root.enter("norm"), d, EPS);
        let head = Linear::normal(&mut root.enter("head"), d, classes);
        let dropout = Dropout::default();
        Self { layout, design, class_token, positions, embed_weight, embed_bias, dropout, blocks, norm, head }
    }
    /// Adds dropout after the positions and after every linear layer but qkv (Dosovitskiy et al., appendix B.1), and
    /// stochastic depth, one rate a block, of both halves of the blocks. [`new`](Self::new) has neither.
    pub fn with_noise(mut self, dropout: Dropout, drop_paths: &[DropPath]) -> Self {
        self.dropout = dropout;
        for block in &mut self.blocks {
            block.attention.dropout = dropout;
            block.mlp.dropout = dropout;
        }
        for (block, drop_path) in self.blocks.iter_mut().zip(drop_paths) {
            block.drop_path = *drop_path;
        }
        self
    }

    /// Embeds patches and adds class token and positions: `[N, C, H, W]` → `[N, T, D]`.
    fn embed_tokens<B: Backend>(&self, cx: &Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let (b, d) = (cx.backend, self.design.width);
        let patches = composed::patches(b, x, self.design.patch)?;
        let (samples, count) = (b.shape(&patches)[0], b.shape(&patches)[1]);
        let weight = cx.param(self.embed_weight);
        let inputs = b.shape(weight)[1..].iter().product();
        let weight = b.reshape(weight, &[d, inputs])?;
        let embedded = by_rows(b, &patches, |rows| b.linear(rows, &weight, Some(cx.param(self.embed_bias))))?;
        // Zeros stand in the class token's place. Class token and positions do not depend on the image and are added at
        // once.
        let places: Vec<_> = std::iter::once(None).chain((0..count).map(Some)).collect();
        let embedded = b.gather(&embedded, 1, &places)?;
        let first: Vec<_> = (0..=count).map(|place| (place == 0).then_some(0)).collect();
        let class = b.gather(cx.param(self.class_token), 1, &first)?;
        let constant = b.add(cx.param(self.positions), &class)?;
        b.add(&embedded, &b.broadcast(&constant, &[samples, count + 1, d])?)
    }

    /// The normed class token, `[N, D]`.
    fn class_of<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let x = self.embed_tokens(cx, x)?;
        let mut x = self.dropout.forward(cx, &x)?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        let b = cx.backend;
        let class = b.gather(&x, 1, &[Some(0)])?;
        let class = b.reshape(&class, &[b.shape(&x)[0], self.design.width])?;
        self.norm.forward(cx, &class)
    }
}

impl Model for VisionTransformer {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let features = self.class_of(cx, x)?;
        self.classify(cx, &features)
    }
    fn embed<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<Option<B::Tensor>> {
        self.class_of(cx, x).map(Some)
    }
    fn classify<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
        self.head.forward(cx, features)
    }
}

/// x + attention(norm1(x)), then x + mlp(norm2(x)).
#[derive(Clone, Debug)]
struct Block {
    norm1: LayerNorm,
    attention: SelfAttention,
    norm2: LayerNorm,
    mlp: FeedForward,
    drop_path: DropPath,
}

impl Block {
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let y = self.norm1.forward(cx, x)?;
        let y = self.attention.forward(cx, &y, None)?;
        let y = self.drop_path.forward(cx, &y)?;
        let x = cx.backend.add(x, &y)?;
        let y = self.norm2.forward(cx, &x)?;
        let y = self.mlp.forward(cx, &y)?;
        let y = self.drop_path.forward(cx, &y)?;
        cx.backend.add(&x, &y)
    }
}

struct Member {
    name: &'static str,
    design: Design,
}

const fn member(name: &'static str, patch: usize, width: usize, heads: usize) -> Member {
    Member { name, design: Design { patch, width, depth: 12, heads } }
}

const MEMBERS: &[Member] = &[
    member("vit_tiny_patch4_32", 4, 192, 3),
    member("vit_small_patch4_32", 4, 384, 6),
    member("vit_tiny_patch16_224", 16, 192, 3),
    member("vit_small_patch16_224", 16, 384, 6),
];

const fn registered(name: &'static str, description: &'static str) -> Registered {
    let reference = "Dosovitskiy et al., ICLR 2021; sizes of Touvron et al., ICML 2021";
    Registered { name, family: "ViT", description, reference }
}

impl Architecture for VisionTransformer {
    const OPTIONS: &'static [&'static str] = &["widths", "depth", "heads", "patch", "dropout", "drop_path"];
    const REGISTERED: &'static [Registered] = &[
        registered(
            "vit_tiny_patch4_32",
            "ViT-Tiny in 4×4 patches, for images of 32×32: width 192, 12 blocks, 3 heads",
        ),
        registered(
            "vit_small_patch4_32",
            "ViT-Small in 4×4 patches, for images of 32×32: width 384, 12 blocks, 6 heads",
        ),
        registered(
            "vit_tiny_patch16_224",
            "ViT-Tiny in 16×16 patches, published for 224×224: width 192, 12 blocks, 3 heads",
        ),
        registered(
            "vit_small_patch16_224",
            "ViT-Small in 16×16 patches, published for 224×224: width 384, 12 blocks, 6 heads",
        ),
    ];

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let own = MEMBERS.iter().find(|member| member.name == config.name);
        let own = own.map_or(MEMBERS[0].design, |member| member.design);
        let widths = config.widths.as_deref().unwrap_or(std::slice::from_ref(&own.width));
        let &[width] = widths else {
            return Err(config.invalid("widths", format!("{widths:?}, but a ViT has one width")));
        };
        let design = Design {
            patch: config.patch.unwrap_or(own.patch),
            width,
            depth: config.depth.unwrap_or(own.depth),
            heads: config.heads.unwrap_or(own.heads),
        };
        if width % design.heads != 0 {
            let problem = format!("{}, but the width {width} must be a multiple of it", design.heads);
            return Err(config.invalid("heads", problem));
        }
        let [_, height, width] = config.input;
        if height % design.patch != 0 || width % design.patch != 0 {
            let problem = format!("{}, which does not divide images of {height}×{width}", design.patch);
            return Err(config.invalid("patch", problem));
        }
        let net = Self::new(design, config.input, config.classes);
        let drop_paths = config.drop_paths(design.depth)?;
        Ok(net.with_noise(config.dropout_layer()?, &drop_paths))
    }
}
