//! Where a recipe's values come from: a TOML text with line numbers, and `section.key=value` assignments over it.

use std::collections::BTreeMap;

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::reader::RecipeError;

/// A tree of values, and for each dotted path the place it was written at.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) root: Table,
    places: BTreeMap<String, String>,
}

impl Source {
    pub(super) fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), root: Table::new(), places: BTreeMap::new() }
    }

    pub(super) fn new(
        origin: &str,
        name: &str,
        text: &str,
        overrides: &[String],
    ) -> Result<Self, RecipeError> {
        let syntax = |error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            RecipeError::Syntax { place: format!("{origin}:{line}"), problem: error.message().to_owned() }
        };
        let root: Table = text.parse().map_err(syntax)?;
        let mut source = Self { root, ..Self::empty(name) };
        let spans = DeTable::parse(text).map_err(syntax)?;
        source.note(origin, text, "", spans.get_ref());
        for assignment in overrides {
            source.assign(assignment)?;
        }
        Ok(source)
    }

    /// Where the value at `path`, or the section around it, was written.
    pub(super) fn place(&self, path: &str) -> String {
        let ancestors = std::iter::successors(Some(path), |path| Some(path.rsplit_once('.')?.0));
        let place = ancestors.into_iter().find_map(|path| self.places.get(path));
        place.cloned().unwrap_or_else(|| self.name.clone())
    }

    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let mut value = self.root.get(first)?;
        for key in rest.into_iter().flat_map(|rest| rest.split('.')) {
            value = match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
                value => value.as_table()?.get(key)?,
            };
        }
        Some(value)
    }

    fn note(&mut self, origin: &str, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            let path = join(prefix, key.get_ref());
            let line = line_of(text, key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => self.note(origin, text, &path, inner),
                DeValue::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            let path = join(&path, &index.to_string());
                            let line = line_of(text, item.span().start);
                            self.note(origin, text, &path, inner);
                            self.places.insert(path, format!("{origin}:{line}"));
                        }
                    }
                }
                _ => {}
            }
            self.places.insert(path, format!("{origin}:{line}"));
        }
    }

    /// `section.key=value`: TOML syntax, or a bare string.
    fn assign(&mut self, assignment: &str) -> Result<(), RecipeError> {
        let place = format!("--set {assignment}");
        let Some((path, value)) = assignment.split_once('=') else {
            let problem = "expected `section.key=value`".to_owned();
            return Err(RecipeError::Syntax { place, problem });
        };
        let (path, value) = (path.trim(), value.trim());
        let keys: Vec<&str> = path.split('.').map(str::trim).collect();
        if keys.iter().any(|key| key.is_empty()) {
            let problem = format!("`{path}` is not a key: expected `section.key`");
            return Err(RecipeError::Syntax { place, problem });
        }
        let value = match format!("value = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("value"))
        {
            Some(value) => value,
            None => Value::String(value.to_owned()),
        };
        insert(&mut self.root, &keys, value);
        self.places.retain(|known, _| !known.starts_with(&format!("{path}.")));
        self.places.insert(keys.join("."), place);
        Ok(())
    }
}

/// Sets a value deep in a tree. What is no table on the way (`sam = true`) becomes one.
fn insert(table: &mut Table, keys: &[&str], value: Value) {
    match keys {
        [] => {}
        [key] => {
            table.insert((*key).to_owned(), value);
        }
        [key, rest @ ..] => {
            let entry = table.entry((*key).to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            if let Value::Table(inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

pub(super) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
