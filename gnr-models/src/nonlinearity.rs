//! The nonlinear layers that a user may choose: normalisation and activation, by name and as layers of maps.

use std::{fmt, str::FromStr};

use gnr_nn::{
    Backend, Context, Fused, Layout, Result, Scope, Unary, composed,
    layers::{BatchNorm2d, GroupNorm},
};

use crate::{ModelConfig, ModelError};

/// A pointwise nonlinearity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// ReLU, max(x, 0).
    #[default]
    Relu,
    /// x·Φ(x), the exact GELU: smooth (Hendrycks and Gimpel, arXiv:1606.08415).
    Gelu,
    /// x/(1 + e⁻ˣ), also called swish: smooth (Elfwing et al., Neural Networks 2018).
    Silu,
    /// tanh x: smooth.
    Tanh,
}

impl Activation {
    /// All activations, in the order of listings.
    pub const ALL: [Self; 4] = [Self::Relu, Self::Gelu, Self::Silu, Self::Tanh];

    /// Name of the activation in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
        }
    }
    /// The backend's function of this activation.
    pub const fn unary(self) -> Unary {
        match self {
            Self::Relu => Unary::Relu,
            Self::Gelu => Unary::Gelu,
            Self::Silu => Unary::Silu,
            Self::Tanh => Unary::Tanh,
        }
    }
}

/// Normalisation of the maps of a convolutional network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norm {
    /// Batch normalisation: statistics of a channel over the batch, running ones in eval mode.
    #[default]
    Batch,
    /// Group normalisation: statistics of a group of channels of one sample.
    Group,
    /// Group normalisation with one group, which is Wu & He's layer normalisation of images: one mean and variance a
    /// sample, scale and shift a channel. (`torch.nn.LayerNorm` over channels alone is another function.)
    Layer,
    /// No normalisation: the convolutions have a bias instead, which starts at 0. The last convolution of each of L
    /// residual functions starts 1/√L times as large. This bounds the activations of deep nets at the start (Hayou et
    /// al., Stable ResNet, AISTATS 2021).
    None,
}

impl Norm {
    /// All normalisations, in the order of listings.
    pub const ALL: [Self; 4] = [Self::Batch, Self::Group, Self::Layer, Self::None];

    /// Name of the normalisation in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Group => "group",
            Self::Layer => "layer",
            Self::None => "none",
        }
    }
}

/// The choice called `name`, or an error that lists all and names the nearest.
fn choose<T: Copy>(
    kind: &'static str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
    name: &str,
) -> Result<T, ModelError> {
    all.iter().copied().find(|choice| name_of(*choice) == name).ok_or_else(|| {
        let choices: Vec<_> = all.iter().map(|choice| name_of(*choice)).collect();
        let start = crate::registry::beginning(name).to_lowercase();
        let distance = |known: &&&str| strsim::damerau_levenshtein(known, &start);
        let nearest = choices.iter().min_by_key(distance).copied().unwrap_or_default();
        ModelError::UnknownChoice { kind, name: name.to_owned(), choices, nearest }
    })
}

macro_rules! spelled {
    ($type:ty, $kind:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = ModelError;
            fn from_str(name: &str) -> Result<Self, ModelError> {
                choose($kind, &Self::ALL, Self::name, name)
            }
        }
    };
}

spelled!(Activation, "activation");
spelled!(Norm, "norm");

/// The nonlinear layers of a convolutional network. By default batch normalisation and ReLU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nonlinearity {
    /// The kind of normalisation.
    pub norm: Norm,
    /// Number of groups of [`Norm::Group`], which must divide the channels of every layer. `None`:
    /// [`GroupNorm::default_groups`].
    pub groups: Option<usize>,
    /// The activation, which follows each normalisation.
    pub activation: Activation,
}

impl Nonlinearity {
    /// Declares the normalisation of `channels` channels under `name`, the published net's name of the BatchNorm
    /// (`bn1.weight`). Only batch normalisation has running statistics, and [`Norm::None`] has no tensor.
    pub(crate) fn norm(&self, scope: &mut Scope<'_>, name: &str, channels: usize) -> MapNorm {
        let group = |scope: &mut Scope<'_>, groups| {
            MapNorm::Group(GroupNorm::new(&mut scope.enter(name), groups, channels))
        };
        match self.norm {
            Norm::Batch => MapNorm::Batch(BatchNorm2d::new(&mut scope.enter(name), channels)),
            Norm::Group => group(scope, self.groups.unwrap_or_else(|| GroupNorm::default_groups(channels))),
            Norm::Layer => group(scope, 1),
            Norm::None => MapNorm::None,
        }
    }
    /// The activation after a normalisation.
    pub(crate) fn activate<'t, T>(&self) -> Fused<'t, T> {
        Fused { residual: None, activation: Some(self.activation.unary()) }
    }
}

impl ModelConfig {
    /// The nonlinear layers asked for.
    pub(crate) fn nonlinearity(&self) -> Result<Nonlinearity, ModelError> {
        let (norm, groups) = (self.norm.unwrap_or_default(), self.norm_groups);
        if groups.is_some() && norm != Norm::Group {
            return Err(
                self.invalid("norm_groups", format!("given, but norm is {norm}: only `group` has it"))
            );
        }
        Ok(Nonlinearity { norm, groups, activation: self.activation.unwrap_or_default() })
    }

    /// Checks that the number of groups asked for divides the channels of every normalisation. In a net of
    /// [`nonlinearity`](Self::nonlinearity), these are the weights of one dimension.
    pub(crate) fn check_norm_groups(&self, layout: &Layout) -> Result<(), ModelError> {
        let Some(groups) = self.norm_groups else { return Ok(()) };
        let mut norms = (layout.parameters())
            .filter(|entry| entry.shape.len() == 1 && entry.name.ends_with("weight"))
            .map(|entry| (entry.name.trim_end_matches(".weight"), entry.len()));
        match norms.find(|(_, channels)| !channels.is_multiple_of(groups)) {
            Some((name, channels)) => Err(self.invalid(
                "norm_groups",
                format!("{groups}, but `{name}` has {channels} channels, which {groups} does not divide"),
            )),
            None => Ok(()),
        }
    }
}

/// A normalisation of `[N, C, H, W]`.
#[derive(Clone, Debug)]
pub(crate) enum MapNorm {
    /// By the batch.
    Batch(BatchNorm2d),
    /// By groups of channels.
    Group(GroupNorm),
    /// The map stays unnormalised.
    None,
}

impl MapNorm {
    /// Replaces the constant ε.
    pub(crate) fn with_eps(self, eps: f64) -> Self {
        match self {
            Self::Batch(norm) => Self::Batch(norm.with_eps(eps)),
            Self::Group(norm) => Self::Group(norm.with_eps(eps)),
            Self::None => Self::None,
        }
    }
    /// Normalises, adds a residual if there is one, applies an activation if asked for.
    pub(crate) fn forward<B: Backend>(
        &self,
        cx: &mut Context<'_, B>,
        x: &B::Tensor,
        fused: Fused<'_, B::Tensor>,
    ) -> Result<B::Tensor> {
        match self {
            Self::Batch(norm) => norm.forward_fused(cx, x, fused),
            Self::Group(norm) => norm.forward_fused(cx, x, fused),
            Self::None => composed::finish(cx.backend, x.clone(), fused),
        }
    }
}
