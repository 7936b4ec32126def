//! The parts of residual networks: a convolution with its normalisation, the basic block, the bottleneck, shortcuts.

use gnr_nn::{
    Backend, Context, Conv2dSpec, Fused, Padding, Result, Scope, Unary,
    layers::{Conv2d, Linear},
};

use crate::nonlinearity::{MapNorm, Nonlinearity, Norm};

/// Stride, padding and groups of a square convolution whose stride alone changes the map's size.
fn keeping_size(window: usize, stride: usize, groups: usize) -> Conv2dSpec {
    Conv2dSpec { stride, padding: Padding::Each(window / 2), groups }
}

/// A square convolution without bias, whose stride alone changes the map's size.
pub(crate) fn convolution(
    scope: &mut Scope<'_>,
    name: &str,
    [input, output]: [usize; 2],
    window: usize,
    stride: usize,
) -> Conv2d {
    Conv2d::new(&mut scope.enter(name), input, output, window, keeping_size(window, stride, 1))
}

/// Nonlinearity and initialisation, which the layers of a residual network share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    nonlinearity: Nonlinearity,
    /// Factor on the He-normal start of a residual function's last convolution.
    last_gain: f64,
}

impl Family {
    /// Makes the settings of a net of `blocks` residual blocks.
    pub(crate) fn new(nonlinearity: Nonlinearity, blocks: usize) -> Self {
        let last_gain = match nonlinearity.norm {
            Norm::None => (blocks.max(1) as f64).sqrt().recip(),
            _ => 1.0,
        };
        Self { nonlinearity, last_gain }
    }
    /// A square convolution, whose stride alone changes the map's size. With [`Norm::None`] it has a bias.
    pub(crate) fn convolution(
        &self,
        scope: &mut Scope<'_>,
        name: &str,
        ends: [usize; 2],
        window: usize,
        stride: usize,
    ) -> Conv2d {
        self.conv(&mut scope.enter(name), ends, window, keeping_size(window, stride, 1), 1.0)
    }
    /// The last [`convolution`](Self::convolution) of a residual function.
    pub(crate) fn last_convolution(
        &self,
        scope: &mut Scope<'_>,
        name: &str,
        ends: [usize; 2],
        window: usize,
        stride: usize,
    ) -> Conv2d {
        self.conv(&mut scope.enter(name), ends, window, keeping_size(window, stride, 1), self.last_gain)
    }
    fn conv(
        &self,
        scope: &mut Scope<'_>,
        [input, output]: [usize; 2],
        window: usize,
        spec: Conv2dSpec,
        gain: f64,
    ) -> Conv2d {
        match self.nonlinearity.norm {
            Norm::None => Conv2d::unnormalised(scope, input, output, window, spec, gain),
            _ => Conv2d::new(scope, input, output, window, spec),
        }
    }
    /// Declares a normalisation named `name`.
    pub(crate) fn norm(&self, scope: &mut Scope<'_>, name: &str, channels: usize) -> MapNorm {
        self.nonlinearity.norm(scope, name, channels)
    }
    /// A convolution and its normalisation, named `names`.
    pub(crate) fn conv_norm(
        &self,
        scope: &mut Scope<'_>,
        names: [&str; 2],
        ends: [usize; 2],
        window: usize,
        stride: usize,
    ) -> ConvNorm {
        self.grouped(scope, names, ends, window, stride, 1)
    }
    /// A [`conv_norm`](Self::conv_norm) in groups of channels.
    fn grouped(
        &self,
        scope: &mut Scope<'_>,
        [conv, norm]: [&str; 2],
        ends: [usize; 2],
        window: usize,
        stride: usize,
        groups: usize,
    ) -> ConvNorm {
        let conv = self.conv(&mut scope.enter(conv), ends, window, keeping_size(window, stride, groups), 1.0);
        ConvNorm { conv, norm: self.norm(scope, norm, ends[1]) }
    }
    /// The last [`conv_norm`](Self::conv_norm) of a residual function, with stride 1.
    fn last(
        &self,
        scope: &mut Scope<'_>,
        [conv, norm]: [&str; 2],
        ends: [usize; 2],
        window: usize,
    ) -> ConvNorm {
        let conv = self.last_convolution(scope, conv, ends, window, 1);
        ConvNorm { conv, norm: self.norm(scope, norm, ends[1]) }
    }
}

/// A convolution and its normalisation.
#[derive(Clone, Debug)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    norm: MapNorm,
}

impl ConvNorm {
    /// Declares a convolution and a BatchNorm named `names`, in this order.
    pub(crate) fn new(
        scope: &mut Scope<'_>,
        names: [&str; 2],
        channels: [usize; 2],
        window: usize,
        stride: usize,
    ) -> Self {
        Self::with_spec(scope, names, channels, window, keeping_size(window, stride, 1))
    }
    /// Declares the pair with any stride, padding and groups.
    pub(crate) fn with_spec(
        scope: &mut Scope<'_>,
        [conv, norm]: [&str; 2],
        [input, output]: [usize; 2],
        window: usize,
        spec: Conv2dSpec,
    ) -> Self {
        Self {
            conv: Conv2d::new(&mut scope.enter(conv), input, output, window, spec),
            norm: Nonlinearity::default().norm(scope, norm, output),
        }
    }
    /// Replaces ε of the normalisation.
    pub(crate) fn with_eps(mut self, eps: f64) -> Self {
        self.norm = self.norm.with_eps(eps);
        self
    }
    /// Runs convolution and normalisation; a fused backend adds the residual and the activation in the same pass.
    pub(crate) fn forward<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        fused: Fused<'_, B::Tensor>,
    ) -> Result<B::Tensor> {
        let y = self.conv.forward(cx, x)?;
        self.norm.forward(cx, &y, fused)
    }
}

/// The shortcut, which is added to the residual function.
#[derive(Clone, Debug)]
pub(crate) enum Shortcut {
    /// The input x itself.
    Identity,
    /// Takes rows and columns 0, stride, 2·stride, … and the listed channels, zeros for `None`. No parameters.
    Pad { stride: usize, channels: Vec<Option<usize>> },
    /// 1×1 convolution and BatchNorm.
    Projection(ConvNorm),
}

impl Shortcut {
    /// The identity where shapes agree, else a projection called `names`.
    pub(crate) fn projection(
        family: Family,
        scope: &mut Scope<'_>,
        names: [&str; 2],
        [input, output]: [usize; 2],
        stride: usize,
    ) -> Self {
        if stride == 1 && input == output {
            Self::Identity
        } else {
            Self::Projection(family.conv_norm(scope, names, [input, output], 1, stride))
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
                // Space first: with stride 2 that leaves a quarter of the pixels for the second step.
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

/// A residual block. The last normalisation also adds the shortcut and applies the activation (a below).
///
/// Two convolutions 3×3 (basic), or 1×1, 3×3 with the stride (torchvision's v1.5) and 1×1 (bottleneck).
#[derive(Clone, Debug)]
pub(crate) struct Block {
    convolutions: Vec<ConvNorm>,
    shortcut: Shortcut,
    activation: Unary,
}

impl Block {
    /// Declares a(bn2(conv2(a(bn1(conv1(x))))) + shortcut(x)); `shortcut` is declared last.
    pub(crate) fn basic(
        family: Family,
        scope: &mut Scope<'_>,
        [input, output]: [usize; 2],
        stride: usize,
        shortcut: impl FnOnce(&mut Scope<'_>) -> Shortcut,
    ) -> Self {
        let convolutions = vec![
            family.conv_norm(scope, ["conv1", "bn1"], [input, output], 3, stride),
            family.last(scope, ["conv2", "bn2"], [output, output], 3),
        ];
        let activation = family.nonlinearity.activation.unary();
        Self { convolutions, shortcut: shortcut(scope), activation }
    }
    /// Declares a(bn3(conv3(a(bn2(conv2(a(bn1(conv1(x)))))))) + shortcut(x)); inside are `width` channels in `groups`
    /// groups.
    pub(crate) fn bottleneck(
        family: Family,
        scope: &mut Scope<'_>,
        [input, width, output]: [usize; 3],
        stride: usize,
        groups: usize,
        shortcut: impl FnOnce(&mut Scope<'_>) -> Shortcut,
    ) -> Self {
        let convolutions = vec![
            family.conv_norm(scope, ["conv1", "bn1"], [input, width], 1, 1),
            family.grouped(scope, ["conv2", "bn2"], [width, width], 3, stride, groups),
            family.last(scope, ["conv3", "bn3"], [width, output], 1),
        ];
        let activation = family.nonlinearity.activation.unary();
        Self { convolutions, shortcut: shortcut(scope), activation }
    }

    /// Runs the block.
    pub(crate) fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let Some((last, inner)) = self.convolutions.split_last() else { return Ok(x.clone()) };
        let mut y = x.clone();
        for convolution in inner {
            y = convolution.forward(cx, &y, Fused { residual: None, activation: Some(self.activation) })?;
        }
        let shortcut = self.shortcut.forward(cx, x)?;
        last.forward(cx, &y, Fused { residual: Some(&shortcut), activation: Some(self.activation) })
    }
}

/// Global average pool and linear classifier.
pub(crate) fn classify<B: Backend>(cx: &Context<'_, B>, head: &Linear, x: &B::Tensor) -> Result<B::Tensor> {
    head.forward(cx, &cx.backend.global_avg_pool(x)?)
}
