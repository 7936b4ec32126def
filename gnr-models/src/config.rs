//! What a user says about a model, and what can be wrong with it.

use std::{fmt, str::FromStr};

use gnr_nn::layers::{DropPath, Dropout};

/// The request for a model: a registered name, the number of classes, the shape of an image, and what the architecture
/// lets one choose.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// A name of the [`registry`](crate::registry()).
    pub name: String,
    /// Number of logits.
    pub classes: usize,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Hidden widths of an MLP, widths of the stages of a ResNet, the one width of a ViT; `None`: the architecture's own.
    pub widths: Option<Vec<usize>>,
    /// Activation of an MLP; `None`: ReLU.
    pub activation: Option<Activation>,
    /// Number of blocks of a ViT; `None`: the architecture's own.
    pub depth: Option<usize>,
    /// Attention heads of a ViT; `None`: the architecture's own.
    pub heads: Option<usize>,
    /// Side of the patches of a ViT in pixels; `None`: the architecture's own.
    pub patch: Option<usize>,
    /// Rate of dropout, in [0, 1); `None`: 0.
    pub dropout: Option<f64>,
    /// Rate of stochastic depth in the last residual block, in [0, 1), from where it falls linearly to 0 in the first; `None`: 0.
    pub drop_path: Option<f64>,
}

impl ModelConfig {
    /// The architecture as published, for this number of classes and images `[C, H, W]`.
    pub fn new(name: impl Into<String>, classes: usize, input: [usize; 3]) -> Self {
        Self {
            name: name.into(),
            classes,
            input,
            widths: None,
            activation: None,
            depth: None,
            heads: None,
            patch: None,
            dropout: None,
            drop_path: None,
        }
    }
    /// Other widths.
    pub fn with_widths(mut self, widths: impl Into<Vec<usize>>) -> Self {
        self.widths = Some(widths.into());
        self
    }
    /// Another activation.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }

    /// An error about one field of this request.
    pub(crate) fn invalid(&self, field: &'static str, problem: impl Into<String>) -> ModelError {
        ModelError::Invalid { model: self.name.clone(), field, problem: problem.into() }
    }

    /// What holds for every architecture: sizes are positive.
    pub(crate) fn check_sizes(&self) -> Result<(), ModelError> {
        if self.classes == 0 {
            return Err(self.invalid("classes", "0, but a classifier needs at least one"));
        }
        if self.input.contains(&0) {
            return Err(self.invalid("input", format!("{:?} has a zero dimension", self.input)));
        }
        if let Some(widths) = self.widths.as_ref().filter(|widths| widths.contains(&0)) {
            return Err(self.invalid("widths", format!("{widths:?} has a zero width")));
        }
        for (field, count) in [("depth", self.depth), ("heads", self.heads), ("patch", self.patch)] {
            if count == Some(0) {
                return Err(self.invalid(field, "0, but it must be at least 1"));
            }
        }
        for (field, rate) in [("dropout", self.dropout), ("drop_path", self.drop_path)] {
            if let Some(rate) = rate.filter(|rate| !(0.0..1.0).contains(rate)) {
                return Err(self.invalid(field, format!("{rate}, but a rate is at least 0 and below 1")));
            }
        }
        Ok(())
    }

    /// The widths of the stages: as asked for, or the architecture's `own`.
    pub(crate) fn stage_widths(&self, own: &[usize]) -> Result<Vec<usize>, ModelError> {
        let widths = self.widths.as_deref().unwrap_or(own);
        if widths.len() != own.len() {
            let stages = own.len();
            return Err(self.invalid("widths", format!("{widths:?}, but there are {stages} stages")));
        }
        Ok(widths.to_vec())
    }

    /// The dropout asked for.
    pub(crate) fn dropout_layer(&self) -> Result<Dropout, ModelError> {
        Dropout::new(self.dropout.unwrap_or(0.0)).map_err(|error| self.invalid("dropout", error.to_string()))
    }

    /// The stochastic depth asked for, for each of `count` residual blocks.
    pub(crate) fn drop_paths(&self, count: usize) -> Result<Vec<DropPath>, ModelError> {
        DropPath::linear(self.drop_path.unwrap_or(0.0), count)
            .map_err(|error| self.invalid("drop_path", error.to_string()))
    }

    /// Refuses the options that the architecture does not have, rather than ignoring them: all but those it `takes`.
    pub(crate) fn only(&self, takes: &[&str]) -> Result<(), ModelError> {
        let options = [
            ("widths", self.widths.is_some()),
            ("activation", self.activation.is_some()),
            ("depth", self.depth.is_some()),
            ("heads", self.heads.is_some()),
            ("patch", self.patch.is_some()),
            ("dropout", self.dropout.is_some()),
            ("drop_path", self.drop_path.is_some()),
        ];
        match options.into_iter().find(|(field, given)| *given && !takes.contains(field)) {
            Some((field, _)) => Err(self.invalid(field, "given, but this architecture has no such option")),
            None => Ok(()),
        }
    }
}

/// A pointwise nonlinearity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// tanh x: smooth, for comparisons with finite differences.
    Tanh,
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relu => "relu",
            Self::Tanh => "tanh",
        })
    }
}

impl FromStr for Activation {
    type Err = ModelError;
    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "relu" => Ok(Self::Relu),
            "tanh" => Ok(Self::Tanh),
            _ => Err(ModelError::UnknownActivation { name: name.to_owned() }),
        }
    }
}

/// Why a model cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No architecture of this name.
    #[error("there is no model `{name}`; did you mean `{nearest}`?")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The registered name closest to it.
        nearest: &'static str,
    },
    /// No activation of this name.
    #[error("there is no activation `{name}`; there are relu and tanh")]
    UnknownActivation {
        /// What was asked for.
        name: String,
    },
    /// A field of the request that the architecture cannot take.
    #[error("model `{model}`: {field}: {problem}")]
    Invalid {
        /// The architecture.
        model: String,
        /// The field of [`ModelConfig`].
        field: &'static str,
        /// What came and what would be right.
        problem: String,
    },
}
