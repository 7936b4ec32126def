//! The list of architectures: one line each.

use gnr_nn::{Backend, Context, Layout, Model, Result};

use crate::{
    ModelConfig, ModelError, efficientnet::EfficientNet, lenet::LeNet, mlp::Mlp, pyramidnet::PyramidNet,
    resnet::ResNet, resnext::ResNeXt, swin::SwinTransformer, vit::VisionTransformer, wide_resnet::WideResNet,
};

/// An entry of the registry: a model's name and its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The name in recipes and on the command line.
    pub name: &'static str,
    /// Family of the model, as in the paper's Table 1.
    pub family: &'static str,
    /// Description in one line.
    pub description: &'static str,
    /// The publication of the model.
    pub reference: &'static str,
}

/// What a file of weights has that does not go with the model, and advice.
pub type Refusal = (&'static str, &'static str);

/// A translation of tensor names, by which all publishers' names of one tensor become equal. Names outside the family
/// give `None`.
pub type Canonical = Box<dyn Fn(&str) -> Option<String>>;

/// A vocabulary in which two publishers' names of one tensor are equal.
#[derive(Clone, Copy)]
pub struct Naming {
    /// The name of the other publishers' files in reports.
    pub name: &'static str,
    /// The translation for a file with these names.
    pub for_file: fn(&[&str]) -> Canonical,
    /// Whether the net of a file computes otherwise than the model although the tensors correspond, which two names of
    /// one tensor tell: the model's and the file's. The first is `None` for a tensor that the model does not have. The
    /// result says what the file has, and gives advice.
    pub unfit: fn(Option<&str>, &str) -> Option<Refusal>,
}

/// A family of models that can be built by name.
pub trait Architecture: Model + Sized {
    /// The registered names of the family.
    const REGISTERED: &'static [Registered];
    /// The optional fields of [`ModelConfig`] that the family takes; any other is refused.
    const OPTIONS: &'static [&'static str];
    /// Translations of other publishers' tensor names. Default: none.
    const NAMINGS: &'static [Naming] = &[];
    /// Whether `name` belongs to the family: a registered name, or one of the family's pattern (`wrn40_4`).
    fn answers_to(name: &str) -> bool {
        Self::REGISTERED.iter().any(|known| known.name == name)
    }
    /// Builds the member called `config.name`.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] naming the field that does not fit.
    fn build(config: &ModelConfig) -> Result<Self, ModelError>;
}

macro_rules! architectures {
    ($($(#[$doc:meta])* $variant:ident($model:ty)),+ $(,)?) => {
        /// A model of any registered architecture.
        #[derive(Clone, Debug)]
        pub enum AnyModel {
            $($(#[$doc])* $variant($model),)+
        }

        /// Every name that [`AnyModel::build`] knows.
        pub fn registry() -> Vec<Registered> {
            [$(<$model as Architecture>::REGISTERED),+].concat()
        }

        /// The other publishers' names of all families.
        pub(crate) fn namings() -> Vec<Naming> {
            [$(<$model as Architecture>::NAMINGS),+].concat()
        }

        /// The families that take an optional field of [`ModelConfig`].
        pub(crate) fn families_with(option: &str) -> Vec<&'static str> {
            let all = [$((<$model as Architecture>::OPTIONS, <$model as Architecture>::REGISTERED)),+];
            let having = all.into_iter().filter(|(options, _)| options.contains(&option));
            having.filter_map(|(_, registered)| registered.first().map(|known| known.family)).collect()
        }

        impl AnyModel {
            fn build_known(config: &ModelConfig) -> Option<Result<Self, ModelError>> {
                $(if <$model as Architecture>::answers_to(&config.name) {
                    return Some(<$model as Architecture>::build(config).map(Self::$variant));
                })+
                None
            }
        }

        impl Model for AnyModel {
            fn layout(&self) -> &Layout {
                match self {
                    $(Self::$variant(model) => model.layout(),)+
                }
            }
            fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
                match self {
                    $(Self::$variant(model) => model.forward(cx, x),)+
                }
            }
            fn embed<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<Option<B::Tensor>> {
                match self {
                    $(Self::$variant(model) => model.embed(cx, x),)+
                }
            }
            fn classify<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
                match self {
                    $(Self::$variant(model) => model.classify(cx, features),)+
                }
            }
        }
    };
}

architectures! {
    /// The multilayer perceptrons.
    Mlp(Mlp),
    /// LeCun's network LeNet-5.
    LeNet(LeNet),
    /// The residual networks.
    ResNet(ResNet),
    /// Wide residual networks.
    WideResNet(WideResNet),
    /// Residual networks of grouped convolutions.
    ResNeXt(ResNeXt),
    /// Pyramidal residual networks.
    PyramidNet(PyramidNet),
    /// The EfficientNet family.
    EfficientNet(EfficientNet),
    /// The vision transformers.
    VisionTransformer(VisionTransformer),
    /// The Swin transformers.
    SwinTransformer(SwinTransformer),
}

impl AnyModel {
    /// Builds a model by name.
    ///
    /// # Errors
    /// [`ModelError::UnknownModel`] with the nearest name; [`ModelError::Invalid`] naming the field that does not fit.
    pub fn build(config: &ModelConfig) -> Result<Self, ModelError> {
        config.check_sizes()?;
        Self::build_known(config).unwrap_or_else(|| {
            let name = beginning(&config.name);
            let distance = |known: &Registered| strsim::damerau_levenshtein(known.name, &name);
            let nearest = registry().into_iter().min_by_key(distance).map_or("mlp", |known| known.name);
            Err(ModelError::UnknownModel { name: config.name.clone(), nearest })
        })
    }
}

/// The beginning of a name, to compare with known names. The distance to a long name would take memory in proportion to
/// the product of both lengths.
pub(crate) fn beginning(name: &str) -> String {
    name.chars().take(60).collect()
}
