//! Arguments that are one of a library's values, by the names that the library gives them.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gnr_train::Choice;

/// Parses the name of a value; help and completions list all of them.
pub(crate) fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|(name, _)| *name))
        .try_map(|name| T::named(&name).ok_or("a name without a value"))
}
