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

/// The keys whose values differ, each with its values in the two recipes.
pub(crate) fn there_and_here(there: &Recipe, here: &Recipe) -> Vec<(String, [String; 2])> {
    let (there, here) = (values(there).unwrap_or_default(), values(here).unwrap_or_default());
    let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let differ = keys.into_iter().filter(|&key| there.get(key) != here.get(key));
    let value = |value: Option<&String>| value.cloned().unwrap_or_else(|| "not set".into());
    differ.map(|key| (key.clone(), [value(there.get(key)), value(here.get(key))])).collect()
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
        let found = there_and_here(&there, &here);
        for (key, values) in [("train.epochs", ["3", "4"]), ("data.label_noise.rate", ["not set", "0.5"])] {
            assert!(found.contains(&(key.into(), values.map(String::from))), "{key}: {found:?}");
        }
    }
}
