//! LeNet-5 with max-pooling, for small grey or colour images.

use gnr_nn::{
    Backend, Context, Conv2dSpec, Layout, Model, Padding, PoolSpec, Result,
    layers::{Conv2d, Linear},
};

use crate::{Activation, Architecture, ModelConfig, ModelError, Registered};

const POOL: PoolSpec = PoolSpec { window: 2, stride: 2, padding: 0 };

/// LeNet-5: conv5×5(6)-a-pool, conv5×5(16)-a-pool, linear 120-a-84-a-classes. The activation a is ReLU by default.
/// Max-pooling gives the net kinks, whatever a is. Tensors: `conv1`, `conv2`, `fc1`, `fc2`, `fc3`.
///
/// The first convolution pads by 2. The second does not, except on maps too small for a 5×5 window and a pool (8×8
/// images).
#[derive(Clone, Debug)]
pub struct LeNet {
    layout: Layout,
    convolutions: [Conv2d; 2],
    linear: [Linear; 3],
    activation: Activation,
}

impl Architecture for LeNet {
    const OPTIONS: &'static [&'static str] = &["activation"];
    const REGISTERED: &'static [Registered] = &[Registered {
        name: "lenet",
        family: "LeNet",
        description: "LeNet-5 with ReLU and max-pooling; images of 4×4 and larger",
        reference: "LeCun et al., Proc. IEEE 1998",
    }];

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let [channels, height, width] = config.input;
        if height.min(width) < 4 {
            return Err(
                config.invalid("input", format!("{height}×{width}, but two pools by 2 need at least 4×4"))
            );
        }
        // Without padding a 5×5 window shortens a map by 4, and at least 2 must be left for the pool.
        let padding = if (height / 2).min(width / 2) < 6 { 2 } else { 0 };
        let pooled = |length: usize| (length / 2 + 2 * padding - 4) / 2;
        let features = 16 * pooled(height) * pooled(width);

        let spec = |padding| Conv2dSpec { stride: 1, padding: Padding::Each(padding), groups: 1 };
        let mut layout = Layout::new();
        let mut root = layout.root();
        let convolutions = [
            Conv2d::with_bias(&mut root.enter("conv1"), channels, 6, 5, spec(2)),
            Conv2d::with_bias(&mut root.enter("conv2"), 6, 16, 5, spec(padding)),
        ];
        let linear = [
            Linear::new(&mut root.enter("fc1"), features, 120),
            Linear::new(&mut root.enter("fc2"), 120, 84),
            Linear::new(&mut root.enter("fc3"), 84, config.classes),
        ];
        Ok(Self { layout, convolutions, linear, activation: config.activation.unwrap_or_default() })
    }
}

impl Model for LeNet {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let activation = self.activation.unary();
        let mut x = x.clone();
        for convolution in &self.convolutions {
            x = cx.backend.unary(activation, &convolution.forward(cx, &x)?)?;
            x = cx.backend.max_pool2d(&x, POOL)?;
        }
        let shape = cx.backend.shape(&x);
        let (samples, features) = (shape[0], shape[1..].iter().product());
        let mut x = cx.backend.reshape(&x, &[samples, features])?;
        for (i, linear) in self.linear.iter().enumerate() {
            if i > 0 {
                x = cx.backend.unary(activation, &x)?;
            }
            x = linear.forward(cx, &x)?;
        }
        Ok(x)
    }
}
