//! `cargo xtask package`: the files that each crate would upload. Every file must have a known place and kind, and no
//! package may have more files than expected.

use anyhow::{Result, bail};

use crate::workspace::{cargo, output, root};

/// Places in which a package may have files. Folders end with a slash.
const PLACES: [&str; 13] = [
    ".cargo_vcs_info.json",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "README.md",
    "assets/",
    "benches/",
    "build.rs",
    "examples/",
    "paper.toml",
    "recipes/",
    "src/",
    "tests/",
];

/// Endings that files may have. Tests have reference values of all kinds.
const KINDS: [&str; 9] = ["json", "lock", "md", "orig", "pt", "rs", "toml", "ttf", "txt"];

/// Largest number of files in a package. A package with more probably contains data that nobody needs.
const FILES: usize = 250;

/// Lists the files of every crate that is published, and prints their numbers.
///
/// # Errors
/// When a file is where none should be, or a package has too many.
pub(crate) fn run() -> Result<()> {
    let mut problems = Vec::new();
    for name in published()? {
        let list = output(cargo(["package", "--list", "--allow-dirty", "-p", &name]))?;
        let files: Vec<&str> = list.lines().collect();
        println!("{name}: {} files", files.len());
        problems.extend(stray(&name, &files));
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

/// The crates that are not marked as unpublished.
fn published() -> Result<Vec<String>> {
    let text = output(cargo(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    // `publish = false` is an empty list of registries.
    let is_published = |package: &&serde_json::Value| package["publish"].is_null();
    let names = packages.iter().filter(is_published).filter_map(|package| package["name"].as_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        bail!("no crate of {} is published", root().display());
    }
    Ok(names)
}

fn stray(name: &str, files: &[&str]) -> Vec<String> {
    let in_place = |file: &str| {
        PLACES.iter().any(|place| if place.ends_with('/') { file.starts_with(place) } else { file == *place })
    };
    let in_tests = |file: &str| file.starts_with("tests/") || file.starts_with("assets/");
    let of_a_kind = |file: &str| file.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind));
    let is_stray = |file: &&&str| !in_place(file) || !(of_a_kind(file) || in_tests(file));
    let mut problems: Vec<String> = (files.iter().filter(is_stray))
        .map(|file| {
            format!("{name}: {file} has no place in a package (PLACES and KINDS in xtask/src/package.rs)")
        })
        .collect();
    if files.len() > FILES {
        problems.push(format!("{name}: {} files, at most {FILES}", files.len()));
    }
    if !files.contains(&"README.md") {
        problems.push(format!("{name}: no README.md"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_place_are_found() {
        let good =
            ["Cargo.toml", ".cargo_vcs_info.json", "README.md", "src/lib.rs", "tests/it/a.safetensors"];
        assert_eq!(stray("gnr-a", &good[..]), [""; 0]);
        for bad in ["notes.md", "runs/1/metrics.jsonl", "src/old.rs.bak", "src/core.123"] {
            let files = [&good[..], &[bad]].concat();
            assert!(stray("gnr-a", &files)[0].contains(bad), "{bad}");
        }
        assert!(stray("gnr-a", &["src/lib.rs"])[0].contains("no README.md"));
        let many = [&["README.md"][..], &["src/a.rs"; FILES]].concat();
        assert_eq!(stray("gnr-a", &many).len(), 1);
    }
}
