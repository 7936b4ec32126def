//! Multilayer perceptrons, named as PyTorch's `nn.Sequential` of linear layers and activations.

use gnr_nn::{
    Backend, Context, Layout, Model, Result,
    layers::{Dropout, Linear},
};

use crate::{Activation, Architecture, ModelConfig, ModelError, Registered};

/// Linear layers with an activation between them. Tensors: `0.weight`, `0.bias`, `2.weight`, … (activations sit at the
/// odd indices).
#[derive(Clone, Debug)]
pub struct Mlp {
    layout: Layout,
    layers: Vec<Linear>,
    activation: Activation,
    dropout: Dropout,
}

impl Mlp {
    /// Makes a perceptron of these sizes, input and output included: `[784, 256, 128, 10]` has three linear layers.
    pub fn new(sizes: &[usize], activation: Activation) -> Self {
        let mut layout = Layout::new();
        let mut root = layout.root();
        let layers = (sizes.windows(2).enumerate())
            .map(|(i, pair)| Linear::new(&mut root.enter(&(2 * i).to_string()), pair[0], pair[1]))
            .collect();
        Self { layout, layers, activation, dropout: Dropout::default() }
    }
    /// Adds dropout after each activation.
    pub fn with_dropout(mut self, dropout: Dropout) -> Self {
        self.dropout = dropout;
        self
    }
}

impl Architecture for Mlp {
    const OPTIONS: &'static [&'static str] = &["widths", "activation", "dropout"];
    const REGISTERED: &'static [Registered] = &[Registered {
        name: "mlp",
        family: "MLP",
        description: "multilayer perceptron on flattened images; hidden widths 256, 128 unless `widths` says otherwise",
        reference: "Rumelhart et al., Nature 1986",
    }];

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let mut sizes = vec![config.input.iter().product()];
        sizes.extend_from_slice(config.widths.as_deref().unwrap_or(&[256, 128]));
        sizes.push(config.classes);
        Ok(Self::new(&sizes, config.activation.unwrap_or_default()).with_dropout(config.dropout_layer()?))
    }
}

impl Model for Mlp {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    /// Takes `[N, C, H, W]` or `[N, D]`.
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let shape = cx.backend.shape(x);
        let samples = shape.first().copied().unwrap_or(1);
        let features = shape.iter().skip(1).product();
        let mut x = cx.backend.reshape(x, &[samples, features])?;
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = cx.backend.unary(self.activation.unary(), &x)?;
                x = self.dropout.forward(cx, &x)?;
            }
            x = layer.forward(cx, &x)?;
        }
        Ok(x)
    }
}
