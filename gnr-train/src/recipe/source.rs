//! The source of a recipe's values: a TOML text with line numbers, and assignments `section.key=value` over it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::reader::RecipeError;

/// Longest recipe in bytes; a longer file is no recipe. Parsing takes memory in proportion, at worst a few hundred
/// bytes for each byte.
const LONGEST: u64 = 256 << 10;
/// Largest number of parts of a key; recipes have three.
const DEEPEST: usize = 8;

/// The keys of files and folders, whose leading `~` is the user's home folder.
const PATHS: [&str; 3] = ["data.dir", "model.weights", "data.label_noise.file"];

/// Refuses a file that is too long for a recipe.
pub(super) fn check_length(origin: &str, length: u64) -> Result<(), RecipeError> {
    if length <= LONGEST {
        return Ok(());
    }
    let problem = format!("expected a recipe, {LONGEST} bytes at most; found {length} bytes");
    Err(RecipeError::Syntax { place: origin.to_owned(), problem })
}

/// The error of a file that is no text, such as weights.
pub(super) fn no_text(origin: &str) -> RecipeError {
    let problem = "expected a recipe, a text in TOML; found a file that is no text".to_owned();
    RecipeError::Syntax { place: origin.to_owned(), problem }
}

/// A tree of values, with the place where each dotted path was written.
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
        check_length(origin, text.len() as u64)?;
        if text.contains('\0') {
            return Err(no_text(origin));
        }
        let lines = Lines::of(text);
        let syntax = |error: toml::de::Error| {
            let line = error.span().map_or(1, |span| lines.number(span.start));
            let found: String =
                text.lines().nth(line - 1).unwrap_or_default().trim().chars().take(60).collect();
            let found = if found.is_empty() { String::new() } else { format!("; the line is `{found}`") };
            let problem = format!("{}{found}", error.message());
            RecipeError::Syntax { place: format!("{origin}:{line}"), problem }
        };
        let root: Table = text.parse().map_err(syntax)?;
        let mut source = Self { root, ..Self::empty(name) };
        let spans = DeTable::parse(text).map_err(syntax)?;
        source.note(origin, &lines, "", spans.get_ref());
        for assignment in overrides {
            source.assign(assignment)?;
        }
        source.expand(std::env::home_dir)?;
        Ok(source)
    }

    /// Replaces a leading `~` of paths by the folder that `home` finds. No shell sees these values.
    fn expand(&mut self, home: impl Fn() -> Option<PathBuf>) -> Result<(), RecipeError> {
        for key in PATHS {
            let Some(Value::String(path)) = self.get(key) else { continue };
            let Some(rest) = path.strip_prefix('~') else { continue };
            let refuse = |problem: &str| {
                let problem = format!("`{key}` = {path:?}: {problem}");
                RecipeError::Syntax { place: self.place(key), problem }
            };
            if !(rest.is_empty() || rest.starts_with('/')) {
                return Err(refuse(
                    "only your own home folder is known, `~/…`: write the whole path (`./~…` for a name that begins so)",
                ));
            }
            let home = home().filter(|home| !home.as_os_str().is_empty());
            let Some(home) = home.as_deref().and_then(Path::to_str) else {
                return Err(refuse("your home folder is not known ($HOME is not set): write the whole path"));
            };
            let expanded = format!("{}{rest}", home.trim_end_matches('/'));
            let keys: Vec<&str> = key.split('.').collect();
            insert(&mut self.root, &keys, Value::String(expanded));
        }
        Ok(())
    }

    /// The place where the value at `path`, or the section around it, was written.
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

    fn note(&mut self, origin: &str, lines: &Lines, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            let path = join(prefix, key.get_ref());
            let line = lines.number(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => self.note(origin, lines, &path, inner),
                DeValue::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            let path = join(&path, &index.to_string());
                            let line = lines.number(item.span().start);
                            self.note(origin, lines, &path, inner);
                            self.places.insert(path, format!("{origin}:{line}"));
                        }
                    }
                }
                _ => {}
            }
            self.places.insert(path, format!("{origin}:{line}"));
        }
    }

    /// Applies an assignment `section.key=value`, whose value is TOML or a bare string. `!section.key` removes a key,
    /// if it is there.
    fn assign(&mut self, assignment: &str) -> Result<(), RecipeError> {
        let place = format!("--set {assignment}");
        if let Some(path) = assignment.strip_prefix('!').filter(|path| !path.contains('=')) {
            let keys: Vec<&str> = path.split('.').map(str::trim).collect();
            remove(&mut self.root, &keys);
            self.places.retain(|known, _| known != path && !known.starts_with(&format!("{path}.")));
            return Ok(());
        }
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
        if keys.len() > DEEPEST {
            let problem = format!("expected `section.key`, found a key of {} parts", keys.len());
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

/// Sets a value deep in a tree. Values on the way that are no tables (`sam = true`) become tables.
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

/// Removes a value deep in a tree.
fn remove(table: &mut Table, keys: &[&str]) {
    match keys {
        [] => {}
        [key] => drop(table.remove(*key)),
        [key, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(*key) {
                remove(inner, rest);
            }
        }
    }
}

pub(super) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// The offsets at which the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect())
    }

    /// The number, from 1, of the line with the byte at `offset`.
    fn number(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str, set: &[&str], home: Option<&str>) -> Result<Source, RecipeError> {
        let mut source = Source::new("r.toml", "r", text, &[])?;
        set.iter().try_for_each(|set| source.assign(set))?;
        source.expand(|| home.map(PathBuf::from)).map(|()| source)
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        let sets = ["data.dir=~/data", "data.label_noise.file=~", "model.weights=\"~/w~.pth\""];
        let source = expanded("", &sets, Some("/homes/ada/")).unwrap();
        let text = |key| source.get(key).and_then(Value::as_str).unwrap();
        assert_eq!(PATHS.map(text), ["/homes/ada/data", "/homes/ada/w~.pth", "/homes/ada"]);
        // Other paths and keys stay as they are.
        let source = expanded("name = \"~/x\"", &["data.dir=a/~/b"], None).unwrap();
        assert_eq!(source.get("name").and_then(Value::as_str), Some("~/x"));
        assert_eq!(source.get("data.dir").and_then(Value::as_str), Some("a/~/b"));
    }

    #[test]
    fn a_tilde_that_cannot_be_expanded_is_refused() {
        let told = |set: &str, home| expanded("", &[set], home).err().unwrap().to_string();
        let text = told("data.dir=~/data", None);
        assert_eq!(
            text,
            "--set data.dir=~/data: `data.dir` = \"~/data\": your home folder is not known ($HOME is not set): write the whole path"
        );
        assert!(
            told("data.dir=~bob/data", Some("/homes/ada")).contains("only your own home folder is known")
        );
        let file =
            Source::new("r.toml", "r", "[model]\nweights = \"~bob/w.pth\"", &[]).err().unwrap().to_string();
        assert!(file.starts_with("r.toml:2: `model.weights` = \"~bob/w.pth\": only your own"), "{file}");
    }
}
