//! The settings of one method: checked values by key.

use super::{Entry, Key, Unset, Value};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Settings of one method, each within its domain. [`Entry::values`](super::Entry::values) makes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    of: &'static str,
    keys: &'static [Key],
    set: BTreeMap<&'static str, Value>,
}

impl Values {
    /// The settings of a method with no key set, not even to its default.
    pub fn empty(entry: &Entry) -> Self {
        Self { of: entry.name, keys: entry.keys, set: BTreeMap::new() }
    }

    /// The name of the method that the settings belong to.
    pub fn of(&self) -> &'static str {
        self.of
    }

    /// The value of a key, unless it was left out and has no default.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.set.get(key)
    }

    /// All values that are set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.set.iter().map(|(name, value)| (*name, value))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`Error::Setting`] for a key that the method does not have and for a value outside its domain. The settings are
    /// then unchanged.
    pub fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let Some(key) = self.keys.iter().find(|key| key.name == name) else {
            let known: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
            return Err(self.refusal(name, &value.to_string(), format!("its keys are {}", known.join(", "))));
        };
        key.domain
            .check(&value)
            .map_err(|requirement| self.refusal(name, &value.to_string(), requirement))?;
        self.set.insert(key.name, value);
        Ok(())
    }

    /// Removes a key and returns its value, if it was set.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.set.remove(name)
    }

    /// The error of a key whose value `found` does not meet the requirement.
    pub fn refusal(&self, key: &str, found: &str, requirement: impl Into<String>) -> Error {
        Error::Setting {
            method: self.of,
            key: key.to_owned(),
            found: found.to_owned(),
            requirement: requirement.into(),
        }
    }

    /// Gives its default to every key that is not set.
    pub(super) fn fill(&mut self) -> Result<()> {
        for key in self.keys {
            match &key.unset {
                _ if self.set.contains_key(key.name) => {}
                Unset::Absent => {}
                Unset::Value(default) => {
                    self.set.insert(key.name, default.clone());
                }
                Unset::Refused => {
                    let requirement = format!("needed, {}", key.domain.expected());
                    return Err(self.refusal(key.name, "nothing", requirement));
                }
            }
        }
        Ok(())
    }

    /// The value of a key for a number.
    ///
    /// # Errors
    /// [`Error::Setting`] when the key has no value of this type.
    pub fn number(&self, key: &str) -> Result<f64> {
        self.typed(key, "a number", |value| if let Value::Number(x) = value { Some(*x) } else { None })
    }

    /// The value of a key for two numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] when the key has no value of this type.
    pub fn pair(&self, key: &str) -> Result<[f64; 2]> {
        self.typed(key, "two numbers", |value| match value {
            Value::Numbers(list) => (**list).try_into().ok(),
            _ => None,
        })
    }

    /// The value of a key for a whole number.
    ///
    /// # Errors
    /// [`Error::Setting`] when the key has no value of this type.
    pub fn integer(&self, key: &str) -> Result<u64> {
        self.typed(key, "a whole number", |value| if let Value::Integer(n) = value { Some(*n) } else { None })
    }

    /// The value of a key for a list of whole numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] when the key has no value of this type.
    pub fn integers(&self, key: &str) -> Result<Vec<u64>> {
        self.typed(key, "a list of whole numbers", |value| match value {
            Value::Integers(list) => Some(list.to_vec()),
            _ => None,
        })
    }

    /// The value of a key for `true` or `false`.
    ///
    /// # Errors
    /// [`Error::Setting`] when the key has no value of this type.
    pub fn flag(&self, key: &str) -> Result<bool> {
        self.typed(key, "true or false", |value| if let Value::Flag(yes) = value { Some(*yes) } else { None })
    }

    /// The value of a key for one of several names.
    ///
    /// # Errors
    /// [`Error::Setting`] when the key has no value of this type.
    pub fn choice(&self, key: &str) -> Result<&str> {
        match self.get(key) {
            Some(Value::Choice(name)) => Ok(name),
            other => Err(self.refusal(key, &found(other), "expected a name")),
        }
    }

    fn typed<T>(&self, key: &str, expected: &str, take: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let value = self.get(key);
        value.and_then(take).ok_or_else(|| self.refusal(key, &found(value), format!("expected {expected}")))
    }
}

fn found(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".into(), Value::to_string)
}
