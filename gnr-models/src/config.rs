//! The request for a model, and the errors of building it.

use gnr_nn::layers::{DropPath, Dropout};

use crate::{Activation, Architecture, Norm, registry::families_with};

/// The request for a model: a registered name, the number of classes, the shape of an image, and the options of the
/// architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// A name of the [`registry`](crate::registry()).
    pub name: String,
    /// Number of logits.
    pub classes: usize,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Hidden widths of an MLP, widths of the stages of a ResNet, or the one width of a ViT. `None`: the architecture's
    /// own.
    pub widths: Option<Vec<usize>>,
    /// Activation of an MLP, a LeNet, a ResNet, ResNeXt or wide ResNet; `None`: ReLU. Max-pooling, as in LeNet and
    /// after the ImageNet stem, is not replaced: nets with it keep kinks.
    pub activation: Option<Activation>,
    /// Normalisation of a ResNet, ResNeXt or wide ResNet; `None`: batch normalisation.
    pub norm: Option<Norm>,
    /// Number of groups of [`Norm::Group`]; `None`: 32, or fewer where a group would have less than 4 channels.
    pub norm_groups: Option<usize>,
    /// Number of blocks of a ViT; `None`: the architecture's own.
    pub depth: Option<usize>,
    /// Attention heads of a ViT; `None`: the architecture's own.
    pub heads: Option<usize>,
    /// Side of the patches of a ViT in pixels; `None`: the architecture's own.
    pub patch: Option<usize>,
    /// Rate of dropout, in [0, 1); `None`: 0.
    pub dropout: Option<f64>,
    /// Rate of stochastic depth in the last residual block, in [0, 1); `None`: 0. The rate grows linearly from 0 in the
    /// first block.
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
            norm: None,
            norm_groups: None,
            depth: None,
            heads: None,
            patch: None,
            dropout: None,
            drop_path: None,
        }
    }
    /// Replaces the widths.
    pub fn with_widths(mut self, widths: impl Into<Vec<usize>>) -> Self {
        self.widths = Some(widths.into());
        self
    }
    /// Replaces the activation of all layers.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }

    /// Replaces the normalisation of all layers.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = Some(norm);
        self
    }

    /// An error about one field of this request.
    pub(crate) fn invalid(&self, field: &'static str, problem: impl Into<String>) -> ModelError {
        ModelError::Invalid { model: self.name.clone(), field, problem: problem.into() }
    }

    /// Checks the conditions of every architecture: positive sizes, and rates in [0, 1).
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
        let counts = [
            ("depth", self.depth),
            ("heads", self.heads),
            ("patch", self.patch),
            ("norm_groups", self.norm_groups),
        ];
        for (field, count) in counts {
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

    /// Refuses the options that the architecture does not have, rather than ignoring them.
    pub(crate) fn only_options_of<A: Architecture>(&self) -> Result<(), ModelError> {
        let options = [
            ("widths", self.widths.is_some()),
            ("activation", self.activation.is_some()),
            ("norm", self.norm.is_some()),
            ("norm_groups", self.norm_groups.is_some()),
            ("depth", self.depth.is_some()),
            ("heads", self.heads.is_some()),
            ("patch", self.patch.is_some()),
            ("dropout", self.dropout.is_some()),
            ("drop_path", self.drop_path.is_some()),
        ];
        match options.into_iter().find(|(field, given)| *given && !A::OPTIONS.contains(field)) {
            Some((field, _)) => {
                let families = families_with(field).join(", ");
                let problem = format!(
                    "given, but this architecture has no such option; families that have it: {families}"
                );
                Err(self.invalid(field, problem))
            }
            None => Ok(()),
        }
    }
}

/// The reasons why a model cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No architecture has this name.
    #[error("there is no model `{name}`; did you mean `{nearest}`?")]
    UnknownModel {
        /// The name that was asked for.
        name: String,
        /// The registered name closest to it.
        nearest: &'static str,
    },
    /// No activation or norm has this name.
    #[error("there is no {kind} `{name}`; there are {}; did you mean `{nearest}`?", choices.join(", "))]
    UnknownChoice {
        /// The kind of choice: `activation` or `norm`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// The known names.
        choices: Vec<&'static str>,
        /// The known name that is closest to this one.
        nearest: &'static str,
    },
    /// A field of the request does not fit the architecture.
    #[error("model `{model}`: {field}: {problem}")]
    Invalid {
        /// Name of the architecture.
        model: String,
        /// The field of [`ModelConfig`].
        field: &'static str,
        /// The value that was given and the values that are allowed.
        problem: String,
    },
}
