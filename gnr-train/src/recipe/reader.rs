//! Reads typed, checked values out of a recipe's tree. Every key that is asked for is recorded, so that any other key
//! in the tree can be reported with the nearest known one. Problems are collected: one reading reports them all.

use std::fmt;

use toml::{Table, Value};

use super::{
    Freeze,
    source::{Source, join},
};

/// The reason why a recipe was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("{file}: cannot read the recipe: {source}")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// The reason that the system gives.
        source: std::io::Error,
    },
    /// Text that is no recipe in TOML, or an assignment that is not of the form `section.key=value`.
    #[error("{place}: {problem}")]
    Syntax {
        /// File and line, or the assignment itself.
        place: String,
        /// The problem, in words.
        problem: String,
    },
    /// Keys or values that a recipe cannot have, in the order of the sections.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// A recipe that TOML cannot hold.
    #[error("the recipe cannot be written as TOML: {0}")]
    Unwritable(String),
    /// No built-in recipe has this name.
    #[error(
        "there is no file and no built-in recipe `{name}`; did you mean `{nearest}`? (built in: {known})"
    )]
    UnknownBuiltin {
        /// The name that was asked for.
        name: String,
        /// The most similar name.
        nearest: &'static str,
        /// The names of all built-in recipes.
        known: String,
    },
}

/// A problem of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or the assignment itself.
    pub place: String,
    /// The dotted key that has the problem.
    pub key: String,
    /// The value that was expected, and what was found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// A type that a key may have.
pub(super) trait FromToml: Sized {
    const EXPECTED: &'static str;
    fn from_toml(value: &Value) -> Option<Self>;
}

macro_rules! from_toml {
    ($($type:ty, $expected:literal, |$value:ident| $body:expr;)+) => {$(
        impl FromToml for $type {
            const EXPECTED: &'static str = $expected;
            fn from_toml($value: &Value) -> Option<Self> {
                $body
            }
        }
    )+};
}

from_toml! {
    bool, "true or false", |value| value.as_bool();
    u64, "a whole number, 0 or larger", |value| value.as_integer().and_then(|i| i.try_into().ok());
    usize, "a whole number, 0 or larger", |value| value.as_integer().and_then(|i| i.try_into().ok());
    // Writers of TOML often drop the point of 1.0.
    f64, "a number", |value| value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
    String, "a string", |value| value.as_str().map(str::to_owned);
    [f64; 2], "two numbers", |value| Vec::<f64>::from_toml(value)?.try_into().ok();
}

impl FromToml for Freeze {
    const EXPECTED: &'static str = "\"backbone\" or a list of patterns";
    fn from_toml(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("backbone") => Some(Self::Backbone),
            Some(_) => None,
            None => Vec::from_toml(value).filter(|patterns| !patterns.is_empty()).map(Self::Matching),
        }
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    const EXPECTED: &'static str = "a list";
    fn from_toml(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::from_toml).collect()
    }
}

pub(super) struct Reader<'a> {
    source: &'a Source,
    /// Every dotted key and section that was asked for.
    known: Vec<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self { source, known: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn name(&self) -> String {
        self.source.name.clone()
    }

    /// A section, present or not, whose keys are known from now on. `path` is empty for the top level.
    pub(super) fn section(&mut self, path: &str) -> Section<'_, 'a> {
        if !path.is_empty() {
            self.known.push(path.to_owned());
            if let Some(value) = self.source.get(path)
                && !value.is_table()
            {
                self.problem(path, format!("`{path}` = {value}: expected a section, [{path}]"));
            }
        }
        Section { path: path.to_owned(), reader: self }
    }

    /// The number of sections in a list, `[[path]]`. Section i of it is `path.i`.
    pub(super) fn list(&mut self, path: &str) -> usize {
        self.known.push(path.to_owned());
        match self.source.get(path) {
            None => 0,
            Some(Value::Array(items)) if items.iter().all(Value::is_table) => items.len(),
            Some(value) => {
                self.problem(path, format!("`{path}` = {value}: expected a list of sections, [[{path}]]"));
                0
            }
        }
    }

    /// Whether an optional section is switched on: by a table or `true`, not by `false`, and by `default` without the
    /// key.
    pub(super) fn enabled(&mut self, path: &str, default: bool) -> bool {
        self.known.push(path.to_owned());
        match self.source.get(path) {
            None => default,
            Some(Value::Boolean(enabled)) => *enabled,
            Some(Value::Table(_)) => true,
            Some(value) => {
                self.problem(path, format!("`{path}` = {value}: expected a table, true or false"));
                default
            }
        }
    }

    /// The keys of a section that is known already, by [`section`](Self::section) or [`enabled`](Self::enabled).
    pub(super) fn keys_of(&mut self, path: &str) -> Section<'_, 'a> {
        Section { path: path.to_owned(), reader: self }
    }

    pub(super) fn problem(&mut self, path: &str, message: String) {
        self.problems.push(Problem { place: self.source.place(path), key: path.to_owned(), message });
    }

    /// Returns all problems, unknown keys first.
    pub(super) fn finish(self) -> Result<(), RecipeError> {
        let mut problems = Vec::new();
        self.unknown("", &self.source.root, &mut problems);
        for problem in self.problems {
            // A section may be read in several places, so problems may repeat.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(RecipeError::Invalid(problems)) }
    }

    fn unknown(&self, prefix: &str, table: &Table, problems: &mut Vec<Problem>) {
        for (key, value) in table {
            let path = join(prefix, key);
            if self.known.contains(&path) {
                match value {
                    Value::Table(inner) => self.unknown(&path, inner, problems),
                    Value::Array(items) => {
                        for (index, item) in items.iter().enumerate() {
                            if let Value::Table(inner) = item {
                                self.unknown(&join(&path, &index.to_string()), inner, problems);
                            }
                        }
                    }
                    _ => {}
                }
                continue;
            }
            let nearest = self
                .nearest(&path)
                .map_or_else(String::new, |known| format!("; did you mean {}?", quoted(known)));
            let message = format!("unknown key {}{nearest}", quoted(&path));
            problems.push(Problem { place: self.source.place(&path), key: path, message });
        }
    }

    /// The most similar key. Keys of the same section are preferred, then those that are not within another key.
    fn nearest(&self, path: &str) -> Option<&str> {
        let path = &beginning(path);
        let (section, key) = split(path);
        let score = |known: &str| {
            let (known_section, known_key) = split(known);
            let same = if known_section == section { 0.1 } else { 0.0 };
            let outer = if known_section.contains('.') { 0.0 } else { 0.01 };
            // For example `lr` for `learning_rate`.
            let short = if known_key.len() > 1 && initials(key) == known_key { 0.95 } else { 0.0 };
            let alike = strsim::jaro_winkler(known_key, key).max(strsim::jaro_winkler(known, path) - 0.1);
            alike.max(short) + same + outer
        };
        let scored = self.known.iter().map(|known| (known.as_str(), score(known)));
        let (best, score) = scored.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        // Keys less similar than this have little more than a letter in common.
        (score > 0.6).then_some(best)
    }
}

/// Number of characters of a name that are compared with known names. Comparing a megabyte with all of them would take
/// seconds.
const COMPARED: usize = 100;

/// The beginning of a name that is compared with known names.
pub(crate) fn beginning(name: &str) -> String {
    name.chars().take(COMPARED).collect()
}

/// The first letters of a key's words.
fn initials(key: &str) -> String {
    key.split(['_', '-']).filter_map(|word| word.chars().next()).collect()
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn quoted(path: &str) -> String {
    match split(path) {
        ("", key) => format!("`{key}`"),
        (section, key) => format!("`{key}` in [{section}]"),
    }
}

pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    path: String,
}

impl Section<'_, '_> {
    /// The value of a key, if it is there and has this type.
    pub(super) fn optional<T: FromToml>(&mut self, key: &str) -> Option<T> {
        let path = join(&self.path, key);
        let value = self.reader.source.get(&path);
        self.reader.known.push(path.clone());
        let value = value?;
        let typed = T::from_toml(value);
        if typed.is_none() {
            self.reader.problem(&path, format!("`{path}` = {value}: expected {}", T::EXPECTED));
        }
        typed
    }

    /// The value of a key, if it is there, has this type and lies in the domain.
    pub(super) fn optional_in<T: FromToml + fmt::Debug>(
        &mut self,
        key: &str,
        valid: impl Fn(&T) -> bool,
        requirement: &str,
    ) -> Option<T> {
        let value = self.optional::<T>(key)?;
        if valid(&value) {
            return Some(value);
        }
        self.refuse(key, &format!("{value:?}"), requirement);
        None
    }

    /// The value of a key, or the default.
    pub(super) fn value<T: FromToml>(&mut self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The value of a key within a domain, or the default.
    pub(super) fn value_in<T: FromToml + fmt::Debug>(
        &mut self,
        key: &str,
        default: T,
        valid: impl Fn(&T) -> bool,
        requirement: &str,
    ) -> T {
        self.optional_in(key, valid, requirement).unwrap_or(default)
    }

    /// The value of a key that is one of several names.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let name = self.optional::<String>(key)?;
        let found = choices.iter().find(|(known, _)| *known == name).map(|(_, choice)| *choice);
        if found.is_none() {
            let known: Vec<_> = choices.iter().map(|(known, _)| *known).collect();
            let start = beginning(&name);
            let score = |known: &&&str| (strsim::jaro_winkler(known, &start) * 1e6) as u64;
            let nearest = known.iter().max_by_key(score).filter(|known| score(known) > 700_000);
            let hint = nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"));
            self.refuse(key, &format!("{name:?}"), &format!("expected one of {}{hint}", known.join(", ")));
        }
        found
    }

    /// Reports that `key`, if it is there, does not go with the rest of the section.
    pub(super) fn only_for<T>(&mut self, key: &str, value: &Option<T>, applies: bool, owner: &str) {
        if value.is_some() && !applies {
            let path = join(&self.path, key);
            self.reader.problem(&path, format!("`{path}` only goes with {owner}"));
        }
    }

    pub(super) fn refuse(&mut self, key: &str, found: &str, requirement: &str) {
        let path = join(&self.path, key);
        self.reader.problem(&path, format!("`{path}` = {found}: {requirement}"));
    }

    /// Whether the key is there, whatever its value is.
    pub(super) fn has(&self, key: &str) -> bool {
        self.reader.source.get(&join(&self.path, key)).is_some()
    }

    pub(super) fn present(&self) -> bool {
        self.reader.source.get(&self.path).is_some()
    }
}
