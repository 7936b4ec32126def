//! Sections that name a registered method, whose keys are read and checked by the method's entry.

use gnr_core::{
    Error, Result, optimizer,
    registry::{Domain, Entry, Key, Value, Values, find},
    regularizer, schedule,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::reader::Section;

/// A kind of method: the section of a recipe that names one, and all methods of the kind.
pub struct Kind {
    /// Name of the section.
    pub section: &'static str,
    /// Title of the kind in listings.
    pub title: &'static str,
    /// The entries of the methods, in the order of listings.
    pub entries: &'static [&'static Entry],
}

impl Kind {
    /// The lines by which a recipe names a method of this kind. Each regulariser has a table of its own, because there
    /// may be several.
    pub fn in_recipe(&self, entry: &Entry) -> Vec<String> {
        match self.section {
            "method" => vec![format!("[method.{}]", entry.name)],
            section => vec![format!("[{section}]"), format!("name = {:?}", entry.name)],
        }
    }
}

/// Every kind of method that a recipe can name.
pub fn kinds() -> Vec<Kind> {
    vec![
        Kind { section: "method", title: "regularisers", entries: regularizer::entries() },
        Kind { section: "optimizer", title: "optimisers", entries: optimizer::entries() },
        Kind { section: "schedule", title: "schedules", entries: schedule::entries() },
    ]
}

/// The settings of a method, which are written as the keys of its section.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings(pub Values);

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.iter() {
            match value {
                Value::Number(x) => map.serialize_entry(key, x)?,
                Value::Integer(n) => map.serialize_entry(key, n)?,
                Value::Flag(yes) => map.serialize_entry(key, yes)?,
                Value::Choice(name) => map.serialize_entry(key, name)?,
                Value::Numbers(list) => map.serialize_entry(key, list)?,
                Value::Integers(list) => map.serialize_entry(key, list)?,
            }
        }
        map.end()
    }
}

/// The entry that `name` chooses.
pub(super) fn name(
    section: &mut Section<'_, '_>,
    entries: &[&'static Entry],
    default: &str,
) -> &'static Entry {
    let choices: Vec<(&str, &'static Entry)> = entries.iter().map(|entry| (entry.name, *entry)).collect();
    // A registry has at least its default method.
    section.choice("name", &choices).or_else(|| find(entries, default)).unwrap_or(entries[0])
}

/// Reads the settings of `entry` from its section. Keys of other entries are known; they are refused with the names of
/// the methods that have them.
pub(super) fn values(
    section: &mut Section<'_, '_>,
    entries: &[&'static Entry],
    entry: &'static Entry,
) -> Values {
    let mut given = Vec::new();
    for (index, owner) in entries.iter().enumerate() {
        for key in owner.keys {
            // A key of several methods is read once, with the domain that the chosen method has for it.
            if entries[..index].iter().any(|before| before.key(key.name).is_some()) {
                continue;
            }
            let own = entry.key(key.name);
            let value = value(section, own.unwrap_or(key));
            if own.is_some() {
                given.extend(value.map(|value| (key.name, value)));
            } else {
                section.only_for(key.name, &value, false, &owners(entries, key.name));
            }
        }
    }
    let values = entry.values(given);
    check(section, values.as_ref());
    values.or_else(|_| entry.values([])).unwrap_or_else(|_| Values::empty(entry))
}

/// Reports the error of building a method at the key that caused it.
pub(super) fn check<T>(section: &mut Section<'_, '_>, built: Result<T, impl std::borrow::Borrow<Error>>) {
    let Err(error) = built else { return };
    match error.borrow() {
        Error::Setting { key, found, requirement, .. } => section.refuse(key, found, requirement),
        Error::InvalidHyperparameter { name, value, requirement } => {
            section.refuse(name, &format!("{value:?}"), requirement);
        }
        other => section.refuse("name", "given", &other.to_string()),
    }
}

/// The value of a key, if it is there and lies in the key's domain.
fn value(section: &mut Section<'_, '_>, key: &Key) -> Option<Value> {
    let value = match key.domain {
        Domain::Number(_) => section.optional::<f64>(key.name).map(Value::Number),
        Domain::Numbers(2, _) => section.optional::<[f64; 2]>(key.name).map(Value::from),
        Domain::Numbers(..) => section.optional::<Vec<f64>>(key.name).map(Value::from),
        Domain::Integer(_) => section.optional::<u64>(key.name).map(Value::Integer),
        Domain::Integers => section.optional::<Vec<u64>>(key.name).map(Value::from),
        Domain::Flag => section.optional::<bool>(key.name).map(Value::Flag),
        Domain::Choice(names) => {
            let choices: Vec<(&str, &'static str)> = names.iter().map(|name| (*name, *name)).collect();
            return section.choice(key.name, &choices).map(Value::from);
        }
    }?;
    match key.domain.check(&value) {
        Ok(()) => Some(value),
        Err(requirement) => {
            section.refuse(key.name, &value.to_string(), &requirement);
            None
        }
    }
}

/// The methods that have a key, as in `name = "adam" or "adamw"`.
fn owners(entries: &[&'static Entry], key: &str) -> String {
    let having = entries.iter().filter(|entry| entry.key(key).is_some());
    let names: Vec<String> = having.map(|entry| format!("{:?}", entry.name)).collect();
    match names.split_last() {
        Some((last, [])) => format!("name = {last}"),
        Some((last, before)) => format!("name = {} or {last}", before.join(", ")),
        None => "no method".into(),
    }
}
