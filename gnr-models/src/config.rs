//! What a user says about a model, and what can be wrong with it.

use std::{fmt, str::FromStr};

/// The request for a model: a registered name, the number of classes, the shape of an image, and what the architecture
/// lets one choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// A name of the [`registry`](crate::registry()).
    pub name: String,
    /// Number of logits.
    pub classes: usize,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Hidden widths of an MLP, widths of the stages of a ResNet; `None`: the architecture's own.
    pub widths: Option<Vec<usize>>,
    /// Activation of an MLP; `None`: ReLU.
    pub activation: Option<Activation>,
}

impl ModelConfig {
    /// The architecture as published, for this number of classes and images `[C, H, W]`.
    pub fn new(name: impl Into<String>, classes: usize, input: [usize; 3]) -> Self {
        Self { name: name.into(), classes, input, widths: None, activation: None }
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
        match &self.widths {
            Some(widths) if widths.contains(&0) => {
                Err(self.invalid("widths", format!("{widths:?} has a zero width")))
            }
            _ => Ok(()),
        }
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

    /// Refuses an option that the architecture does not have, rather than ignoring it.
    pub(crate) fn refuse<T>(&self, field: &'static str, option: &Option<T>) -> Result<(), ModelError> {
        match option {
            Some(_) => Err(self.invalid(field, "given, but this architecture has no such option")),
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
