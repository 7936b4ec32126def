//! The section `[model]` of a recipe: the architecture and its initial weights.

use gnr_models::{Activation, Norm};
use serde::{Serialize, Serializer};

use super::{
    domain::{AT_LEAST_ONE, in_unit},
    reader::Reader,
};

/// The section `[model]`: the architecture and its initial weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// The architecture, a name that `gnr models` lists. Default `resnet8`.
    pub name: String,
    /// Hidden widths of an MLP, widths of the stages of a ResNet, or the one width of a ViT. Default: the
    /// architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<Vec<usize>>,
    /// Activation of an MLP, a LeNet, a ResNet, ResNeXt or wide ResNet: `relu`, `gelu`, `silu` or `tanh`. Default:
    /// `relu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Normalisation of a ResNet, ResNeXt or wide ResNet: `batch`, `group`, `layer` (one group) or `none`. Default:
    /// `batch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<String>,
    /// Number of groups of `norm = "group"`, which must divide the channels of every layer. Default: 32, or as many of
    /// at least 4 channels as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_groups: Option<usize>,
    /// Number of blocks of a ViT. Default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Attention heads of a ViT. Default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Side of the patches of a ViT in pixels. Default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<usize>,
    /// Rate of dropout, in [0, 1). Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Rate of stochastic depth in the last residual block, in [0, 1); it falls linearly to 0 in the first one. Default
    /// 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
    /// The file of the initial weights, safetensors or a PyTorch checkpoint; a leading `~` is the user's home folder.
    /// Default: random initialisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The part of that file to read, as in `state_dict_ema`. Default: the part with most of the model's tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// The differences that are allowed between that file and the model. Default `all`: the file must have
    /// exactly the model's tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Whether position embeddings of another image size are interpolated. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resample_pos_embed: Option<bool>,
    /// The parameters that are frozen: `"backbone"` (everything but the classifier), or a list of patterns as in
    /// `[[optimizer.group]]`. BatchNorm layers among them use their running statistics. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
}

/// The differences that are allowed between a weight file and the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// No difference: all tensors must be there.
    All,
    /// The file may have additional tensors.
    IgnoreUnexpected,
    /// The file may have additional tensors, and the classifier is initialised randomly.
    NewHead,
    /// Tensors that fit are loaded; the others are initialised randomly.
    Matching,
}

/// The parameters that are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// All parameters but the classifier's.
    Backbone,
    /// The parameters whose names match one of these patterns.
    Matching(Vec<String>),
}

impl Serialize for Freeze {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Backbone => serializer.serialize_str("backbone"),
            Self::Matching(patterns) => patterns.serialize(serializer),
        }
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>) -> Model {
    let mut model = reader.section("model");
    let name = model.value("name", "resnet8".to_owned());
    if let Err(error) = known_model(&name) {
        model.refuse("name", &format!("{name:?}"), &error);
    }
    let activation = model.choice("activation", &Activation::ALL.map(|known| (known.name(), known)));
    let norm = model.choice("norm", &Norm::ALL.map(|known| (known.name(), known)));
    let widths = model.optional_in(
        "widths",
        |widths: &Vec<usize>| !widths.contains(&0),
        "every width must be at least 1",
    );
    let mut count = |key: &str| model.optional_in(key, |n: &usize| *n > 0, AT_LEAST_ONE);
    let (depth, heads, patch) = (count("depth"), count("heads"), count("patch"));
    let norm_groups = count("norm_groups");
    let mut rate = |key: &str| model.optional_in(key, in_unit, "a rate is at least 0 and below 1");
    let (dropout, drop_path) = (rate("dropout"), rate("drop_path"));
    let weights = model.optional::<String>("weights");
    let loads = [
        ("all", Load::All),
        ("ignore-unexpected", Load::IgnoreUnexpected),
        ("new-head", Load::NewHead),
        ("matching", Load::Matching),
    ];
    let load = model.choice("load", &loads);
    let weights_key = model.optional::<String>("weights_key");
    let resample_pos_embed = model.optional::<bool>("resample_pos_embed");
    let freeze = model.optional::<Freeze>("freeze");
    model.only_for("norm_groups", &norm_groups, norm == Some(Norm::Group), "`model.norm` = \"group\"");
    let loads_weights = weights.is_some();
    model.only_for("load", &load, loads_weights, "`model.weights`");
    model.only_for("weights_key", &weights_key, loads_weights, "`model.weights`");
    model.only_for("resample_pos_embed", &resample_pos_embed, loads_weights, "`model.weights`");
    Model {
        name,
        widths,
        activation: activation.map(|known| known.name().to_owned()),
        norm: norm.map(|known| known.name().to_owned()),
        norm_groups,
        depth,
        heads,
        patch,
        dropout,
        drop_path,
        load: loads_weights.then(|| load.unwrap_or(Load::All)),
        resample_pos_embed: loads_weights.then(|| resample_pos_embed.unwrap_or(false)),
        weights,
        weights_key,
        freeze,
    }
}

fn known_model(name: &str) -> Result<(), String> {
    if gnr_models::registry().iter().any(|known| known.name == name) {
        return Ok(());
    }
    // The error message is the registry's own; it does not depend on the classes and the shape given here.
    match gnr_models::AnyModel::build(&gnr_models::ModelConfig::new(name, 10, [3, 32, 32])) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
