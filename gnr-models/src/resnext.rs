//! ResNeXt on small images: bottlenecks with grouped convolutions.

use gnr_nn::{Backend, Context, Layout, Model, Result};

use crate::{
    Architecture, ModelConfig, ModelError, Nonlinearity, Registered,
    resnet::{Design, ResNet, Stem, Style, Unit},
};

/// A ResNeXt of depth 9n + 2 for small images: [`ResNet`]'s CIFAR stem and three stages of n bottlenecks with grouped
/// 3×3 convolutions. Widths are 64, 128 and 256, outputs 256, 512 and 1024. Tensors are named as in torchvision.
#[derive(Clone, Debug)]
pub struct ResNeXt(ResNet);

impl ResNeXt {
    /// Makes a net of `blocks` bottlenecks in each stage, with `groups` groups of `base` channels in a stage of width
    /// 64 ("32×4d": 32 and 4).
    pub fn new(
        channels: usize,
        blocks: usize,
        widths: &[usize],
        [groups, base]: [usize; 2],
        classes: usize,
    ) -> Self {
        Self::with_nonlinearity(Nonlinearity::default(), channels, blocks, widths, [groups, base], classes)
    }

    /// Makes the net of [`new`](Self::new) with other normalisations or another activation, as in
    /// [`ResNet::with_nonlinearity`].
    pub fn with_nonlinearity(
        nonlinearity: Nonlinearity,
        channels: usize,
        blocks: usize,
        widths: &[usize],
        [groups, base]: [usize; 2],
        classes: usize,
    ) -> Self {
        let blocks = vec![blocks; widths.len()];
        let design = Design {
            style: Style::Torchvision,
            stem: Stem::Cifar,
            unit: Unit::Bottleneck { groups, base },
            blocks: &blocks,
            widths,
        };
        Self(ResNet::with_nonlinearity(&design, nonlinearity, channels, classes))
    }
}

impl Model for ResNeXt {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        self.0.forward(cx, x)
    }
}

/// Depth, groups and base width of `resnext29_32x4d`.
fn parse(name: &str) -> Option<[usize; 3]> {
    let (depth, groups) = name.strip_prefix("resnext")?.split_once('_')?;
    let (groups, base) = groups.strip_suffix('d')?.split_once('x')?;
    Some([depth.parse().ok()?, groups.parse().ok()?, base.parse().ok()?])
}

impl Architecture for ResNeXt {
    const OPTIONS: &'static [&'static str] = &["widths", "activation", "norm", "norm_groups"];
    const REGISTERED: &'static [Registered] = &[Registered {
        name: "resnext29_32x4d",
        family: "ResNeXt",
        description: "depth 29, 32 groups of 4 channels, CIFAR stem; resnextD_GxWd is any depth D = 9n + 2",
        reference: "Xie et al., CVPR 2017",
    }];

    fn answers_to(name: &str) -> bool {
        parse(name).is_some()
    }

    fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.only_options_of::<Self>()?;
        let [depth, groups, base] =
            parse(&config.name).ok_or_else(|| config.invalid("name", "not a ResNeXt"))?;
        let fits = (11..=1001).contains(&depth) && (depth - 2).is_multiple_of(9);
        if !fits || ![groups, base].iter().all(|n| (1..=256).contains(n)) {
            let problem = format!(
                "depth {depth} with {groups} groups of {base}, but the depth must be 11, 20, 29, … up to 1001, the others 1 to 256"
            );
            return Err(config.invalid("name", problem));
        }
        let widths = config.stage_widths(&[64, 128, 256])?;
        if let Some(width) = widths.iter().find(|width| (*width * base) < 64) {
            return Err(
                config.invalid("widths", format!("{width} leaves no channel in a group of {base}·width/64"))
            );
        }
        let (nonlinearity, [channels, ..]) = (config.nonlinearity()?, config.input);
        let (blocks, groups) = ((depth - 2) / 9, [groups, base]);
        let net = Self::with_nonlinearity(nonlinearity, channels, blocks, &widths, groups, config.classes);
        config.check_norm_groups(net.layout())?;
        Ok(net)
    }
}
