//! The keys of a recipe with their values, for reports that say in what recipes differ.

use std::collections::{BTreeMap, BTreeSet};

use gnr_train::Recipe;
use toml::{Table, Value};

/// Every key of a recipe as a dotted path, with its value as TOML writes it. None for a recipe that TOML cannot hold.
pub(crate) fn values(recipe: &Recipe) -> Option<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    flatten("", &Value::Table(Table::try_from(recipe).ok()?), &mut keys);
    Some(keys)
}

/// The keys whose values differ, each with the value there and the one here: `train.epochs: 20 there, 40 here`.
pub(crate) fn there_and_here(there: &Recipe, here: &Recipe) -> Vec<String> {
    let (there, here) = (values(there).unwrap_or_default(), values(here).unwrap_or_default());
    let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let differ = keys.into_iter().filter(|&key| there.get(key) != here.get(key));
    let value = |value: Option<&String>| value.cloned().unwrap_or_else(|| "not set".into());
    differ
        .map(|key| format!("{key}: {} there, {} here", value(there.get(key)), value(here.get(key))))
        .collect()
}

fn flatten(path: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, keys);
            }
        }
        value => {
            keys.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_are_told_with_both_values() {
        let of = |text: &str| Recipe::parse("test", "test", text, &[]).unwrap();
        let (there, here) = (of("train.epochs = 3"), of("train.epochs = 4\ndata.label_noise.rate = 0.5"));
        assert!(there_and_here(&there, &there).is_empty());
        let lines = there_and_here(&there, &here);
        assert!(lines.contains(&"train.epochs: 3 there, 4 here".to_owned()), "{lines:?}");
        assert!(lines.contains(&"data.label_noise.rate: not set there, 0.5 here".to_owned()), "{lines:?}");
    }
}
