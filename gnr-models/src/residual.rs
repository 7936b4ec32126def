//! What residual networks are built of: a convolution with its BatchNorm, the basic block, the bottleneck, shortcuts.

use gnr_nn::{
    Backend, Context, Conv2dSpec, Fused, Padding, Result, Scope, Unary,
    layers::{BatchNorm2d, Conv2d, Linear},
};

/// A square convolution without bias that keeps the map's size up to its stride.
pub(crate) fn convolution(
    scope: &mut Scope<'_>,
    name: &str,
    [input, output]: [usize; 2],
    window: usize,
    stride: usize,
) -> Conv2d {
    let spec = Conv2dSpec { stride, padding: Padding::Each(window / 2), groups: 1 };
    Conv2d::new(&mut scope.enter(name), input, output, window, spec)
}

/// A convolution without bias and its BatchNorm.
#[derive(Clone, Debug)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl ConvNorm {
    /// Declares `names` = the convolution's and the norm's.
    pub(crate) fn new(
        scope: &mut Scope<'_>,
        names: [&str; 2],
        channels: [usize; 2],
        window: usize,
        stride: usize,
    ) -> Self {
        Self::grouped(scope, names, channels, window, stride, 1)
    }
    /// The same in groups of channels.
    pub(crate) fn grouped(
        scope: &mut Scope<'_>,
        [conv, bn]: [&str; 2],
        [input, output]: [usize; 2],
        window: usize,
        stride: usize,
        groups: usize,
    ) -> Self {
        let spec = Conv2dSpec { stride, padding: Padding::Each(window / 2), groups };
        Self::with_spec(scope, [conv, bn], [input, output], window, spec)
    }
    /// With any stride, padding and groups.
    pub(crate) fn with_spec(
        scope: &mut Scope<'_>,
        [conv, bn]: [&str; 2],
        [input, output]: [usize; 2],
        window: usize,
        spec: Conv2dSpec,
    ) -> Self {
        Self {
            conv: Conv2d::new(&mut scope.enter(conv), input, output, window, spec),
            bn: BatchNorm2d::new(&mut scope.enter(bn), output),
        }
    }
    /// Another ε of the norm.
    pub(crate) fn with_eps(mut self, eps: f64) -> Self {
        self.bn = self.bn.with_eps(eps);
        self
    }
    /// Runs both; a fused backend adds the residual and applies the activation in the same pass.
    pub(crate) fn forward<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        fused: Fused<'_, B::Tensor>,
    ) -> Result<B::Tensor> {
        let y = self.conv.forward(cx, x)?;
        self.bn.forward_fused(cx, &y, fused)
    }
    /// Runs both, then ReLU.
    pub(crate) fn forward_relu<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
    ) -> Result<B::Tensor> {
        self.forward(cx, x, Fused { residual: None, activation: Some(Unary::Relu) })
    }
}

/// What is added to the residual function.
#[derive(Clone, Debug)]
pub(crate) enum Shortcut {
    /// x itself.
    Identity,
    /// Rows and columns 0, stride, 2·stride, …; channels as listed, `None` being zero: a linear map without parameters.
    Pad { stride: usize, channels: Vec<Option<usize>> },
    /// 1×1 convolution and BatchNorm.
    Projection(ConvNorm),
}

impl Shortcut {
    /// The identity where shapes agree, else a projection called `names`.
    pub(crate) fn projection(
        scope: &mut Scope<'_>,
        names: [&str; 2],
        [input, output]: [usize; 2],
        stride: usize,
    ) -> Self {
        if stride == 1 && input == output {
            Self::Identity
        } else {
            Self::Projection(ConvNorm::new(scope, names, [input, output], 1, stride))
        }
    }
    /// He et al.'s option A: new channels are zero, half of them before the old ones and half after.
    pub(crate) fn option_a([input, output]: [usize; 2], stride: usize) -> Self {
        if stride == 1 && input == output {
            return Self::Identity;
        }
        let before = output.saturating_sub(input) / 2;
        let channels = (0..output).map(|c| c.checked_sub(before).filter(|&old| old < input)).collect();
        Self::Pad { stride, channels }
    }

    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Pad { stride, channels } => {
                let b = cx.backend;
                let mut x = x.clone();
                // Space first: it leaves a quarter of the pixels for the second step.
                if *stride > 1 {
                    for axis in [2, 3] {
                        let kept: Vec<_> = (0..b.shape(&x)[axis]).step_by(*stride).map(Some).collect();
                        x = b.gather(&x, axis, &kept)?;
                    }
                }
                b.gather(&x, 1, channels)
            }
            Self::Projection(projection) => projection.forward(cx, x, Fused::default()),
        }
    }
}

/// A residual block: the last BatchNorm also adds the shortcut and applies the ReLU.
///
/// Two convolutions 3×3 (basic), or 1×1, 3×3 with the stride (torchvision's v1.5) and 1×1 (bottleneck).
#[derive(Clone, Debug)]
pub(crate) struct Block {
    convolutions: Vec<ConvNorm>,
    shortcut: Shortcut,
}

impl Block {
    /// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)); `shortcut` is declared last.
    pub(crate) fn basic(
        scope: &mut Scope<'_>,
        [input, output]: [usize; 2],
        stride: usize,
        shortcut: impl FnOnce(&mut Scope<'_>) -> Shortcut,
    ) -> Self {
        let convolutions = vec![
            ConvNorm::new(scope, ["conv1", "bn1"], [input, output], 3, stride),
            ConvNorm::new(scope, ["conv2", "bn2"], [output, output], 3, 1),
        ];
        Self { convolutions, shortcut: shortcut(scope) }
    }
    /// relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))) + shortcut(x)), `width` channels in `groups` groups inside.
    pub(crate) fn bottleneck(
        scope: &mut Scope<'_>,
        [input, width, output]: [usize; 3],
        stride: usize,
        groups: usize,
        shortcut: impl FnOnce(&mut Scope<'_>) -> Shortcut,
    ) -> Self {
        let convolutions = vec![
            ConvNorm::new(scope, ["conv1", "bn1"], [input, width], 1, 1),
            ConvNorm::grouped(scope, ["conv2", "bn2"], [width, width], 3, stride, groups),
            ConvNorm::new(scope, ["conv3", "bn3"], [width, output], 1, 1),
        ];
        Self { convolutions, shortcut: shortcut(scope) }
    }

    /// Runs the block.
    pub(crate) fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let Some((last, inner)) = self.convolutions.split_last() else { return Ok(x.clone()) };
        let mut y = x.clone();
        for convolution in inner {
            y = convolution.forward_relu(cx, &y)?;
        }
        let shortcut = self.shortcut.forward(cx, x)?;
        last.forward(cx, &y, Fused { residual: Some(&shortcut), activation: Some(Unary::Relu) })
    }
}

/// Global average pool and linear classifier.
pub(crate) fn classify<B: Backend>(cx: &Context<'_, B>, head: &Linear, x: &B::Tensor) -> Result<B::Tensor> {
    head.forward(cx, &cx.backend.global_avg_pool(x)?)
}
