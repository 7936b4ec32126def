//! Arguments whose values are a library's enums, by the names that the library gives them.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gnr_train::Choice;

/// Parses a value by its name; help and completions list all names.
pub(crate) fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|(name, _)| *name))
        .try_map(|name| T::named(&name).ok_or("a name without a value"))
}
