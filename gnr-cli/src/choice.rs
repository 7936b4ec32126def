//! Arguments whose values are a library's enums, by the names that the library gives them.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gnr_train::Choice;

/// Parses a value by its name; help and completions list all names.
pub(crate) fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    of(T::ALL.iter())
}

/// Parses like [`choice`], without one value that makes no sense here.
pub(crate) fn choice_but<T: Choice>(unfit: T) -> impl TypedValueParser<Value = T> {
    of(T::ALL.iter().filter(move |(_, value)| *value != unfit))
}

fn of<T: Choice>(
    values: impl Iterator<Item = &'static (&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(values.map(|(name, _)| *name))
        .try_map(|name| T::named(&name).ok_or("a name without a value"))
}
