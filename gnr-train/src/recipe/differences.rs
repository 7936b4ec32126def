//! Differences between two recipes.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// The dotted keys whose values differ between two recipes, or that only one of them has.
pub(crate) fn different_keys(mine: &Table, theirs: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    collect("", mine, theirs, &mut keys);
    keys
}

fn collect(section: &str, mine: &Table, theirs: &Table, keys: &mut Vec<String>) {
    let all: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
    for key in all {
        let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        match (mine.get(key), theirs.get(key)) {
            (Some(Value::Table(mine)), Some(Value::Table(theirs))) => collect(&path, mine, theirs, keys),
            (mine, theirs) if mine != theirs => keys.push(path),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_or_are_missing_are_named_with_their_sections() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let mine = table("a = 1\nb = 2\n[s]\nx = 1\ny = [1, 2]\n[s.t]\nz = 1\n");
        assert!(different_keys(&mine, &mine).is_empty());
        let theirs = table("a = 1\nc = 2\n[s]\nx = 1.0\ny = [1, 2]\nt = 3\n");
        assert_eq!(different_keys(&mine, &theirs), ["b", "c", "s.t", "s.x"]);
    }
}
