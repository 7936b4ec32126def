//! Settings with a few named values. Programs take the names from here and need no list of their own.

use gnr_hessian::{Reorthogonalization, Scaling};
use gnr_nn::Mode;

use crate::{
    Split,
    measure::curvature::{Method, OperatorKind, TraceMethod},
};

/// A setting that is one of a few named values.
///
/// ```
/// use gnr_train::{Choice as _, Split};
///
/// assert_eq!(Split::named("test"), Some(Split::Test));
/// assert_eq!((Split::Validation.name(), Split::named("tset")), ("validation", None));
/// ```
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// All values with their names, in the order in which help should list them.
    const ALL: &'static [(&'static str, Self)];

    /// The value called `name`, if there is one.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The name of a value.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// Names the values of enums. An enum whose list lacks a variant does not compile.
macro_rules! choices {
    ($($Enum:ident { $($Variant:ident: $name:literal),+ })+) => {
        $(
        impl Choice for $Enum {
            const ALL: &'static [(&'static str, Self)] = {
                const fn complete(value: $Enum) {
                    match value { $($Enum::$Variant => (),)+ }
                }
                let _ = complete;
                &[$(($name, $Enum::$Variant)),+]
            };
        }
        )+
        #[cfg(test)]
        fn every(see: &mut dyn FnMut(&[&str], &[&str])) {
            $({
                let names: Vec<_> = $Enum::ALL.iter().map(|(name, _)| *name).collect();
                let back: Vec<_> =
                    names.iter().filter_map(|name| $Enum::named(name)).map(Choice::name).collect();
                see(&names, &back);
            })+
        }
    };
}

choices! {
    Split { Train: "train", Validation: "validation", Test: "test" }
    OperatorKind { Hessian: "hessian", Ggn: "ggn" }
    TraceMethod { Hutchinson: "hutchinson", HutchPlusPlus: "hutch-plus-plus", Xtrace: "xtrace", Diagonal: "diagonal" }
    Method { Lanczos: "lanczos", Power: "power" }
    Mode { Eval: "eval", Train: "train" }
    Reorthogonalization { Full: "full", Selective: "selective", Local: "local" }
    Scaling { Filter: "filter", Layer: "layer", Unit: "unit" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_that_of_one_value() {
        let mut seen = 0;
        every(&mut |names, back| {
            assert_eq!(names, back);
            seen += names.len();
        });
        assert!(seen > 15 && Split::named("").is_none());
    }
}
