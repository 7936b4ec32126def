//! Rules on the documents: the map stays short and every crate is on it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;

/// Largest number of lines of ARCHITECTURE.md, which holds lasting facts, not details.
const MAP_LINES: usize = 240;

const REQUIRED: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// All rules of this file.
pub(super) fn check(root: &Path, crates: &BTreeSet<&str>) -> Result<Vec<Finding>> {
    let missing = |name: &&&str| !root.join(name).is_file();
    let mut findings: Vec<Finding> =
        REQUIRED.iter().filter(missing).map(|name| Finding::error(*name, "is missing")).collect();
    let name = "ARCHITECTURE.md";
    let path = root.join(name);
    if path.is_file() {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        findings.extend(has_rows(name, &text, crates));
        findings.extend(is_short(name, &text));
    }
    Ok(findings)
}

/// Every crate has a table row or a heading of its own.
fn has_rows(name: &str, text: &str, crates: &BTreeSet<&str>) -> Vec<Finding> {
    let row_of = |line: &str, package: &str| {
        let first = match line.trim_start() {
            row if row.starts_with('|') => row.split('|').nth(1).unwrap_or_default(),
            heading if heading.starts_with('#') => heading,
            _ => "",
        };
        first.contains(&format!("`{package}`"))
    };
    crates
        .iter()
        .filter(|package| !text.lines().any(|line| row_of(line, package)))
        .map(|package| Finding::error(name, format!("has no row or heading for `{package}`")))
        .collect()
}

fn is_short(name: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > MAP_LINES).then(|| Finding::error(name, format!("{lines} lines, at most {MAP_LINES}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_a_row_is_found() {
        let crates = BTreeSet::from(["gnr-core", "gnr-nn", "xtask"]);
        let text = "| `gnr-core` | algorithms |\n### `xtask`\nwords about `gnr-nn`\n| x | `gnr-nn` |\n";
        let findings = has_rows("ARCHITECTURE.md", text, &crates);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().contains("no row or heading for `gnr-nn`"));
    }

    #[test]
    fn a_long_map_is_found() {
        assert!(is_short("A", &"x\n".repeat(MAP_LINES + 1)).is_some());
        assert_eq!(is_short("A", &"x\n".repeat(200)), None);
    }
}
