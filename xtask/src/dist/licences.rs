//! The licences of everything inside the binary: the crates, the licences of each, and every text once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Origin;
use crate::workspace::{cargo, output};

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<PathBuf>,
    repository: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// `None`: normal; else `dev` or `build`.
    kind: Option<String>,
}

/// Licences of embedded parts that are no crates.
const EMBEDDED: &str = "Rust's standard library is under MIT or Apache-2.0 (https://www.rust-lang.org).\n\
                        The digits are E. Alpaydin's and C. Kaynak's (UCI Machine Learning Repository), CC BY 4.0.\n\
                        The letters of figures are DejaVu Sans (Bitstream Vera licence; see the crate dejavu).\n";

/// The notice that the GNU C library's licence requires in copies of a program that contains it.
const GLIBC: &str = "gnr contains the GNU C Library and parts of GCC's runtime library, linked statically.\n\
                     The GNU C Library is free software under the GNU Lesser General Public License, version 2.1 or\n\
                     later; its text is below, its sources are at https://www.gnu.org/software/libc/. All sources of gnr\n\
                     are public under MIT or Apache-2.0: with another version of the library, `cargo xtask dist` in the\n\
                     commit that `gnr --version` tells links the program again. GCC's runtime library is under the GNU\n\
                     General Public License, version 3, with the GCC Runtime Library Exception, version 3.1.\n";

/// The list of crates, followed by the texts.
pub(super) fn of(checkout: &Path, origin: &Origin) -> Result<String> {
    let mut command = cargo(["metadata", "--format-version", "1", "--locked"]);
    command.args(["--filter-platform", &origin.target]).current_dir(checkout);
    let metadata: Metadata =
        serde_json::from_str(&output(command)?).context("cannot read the answer of `cargo metadata`")?;
    let inside = reachable(&metadata.resolve, |id| {
        metadata.packages.iter().any(|package| package.id == id && package.name == "gnr-cli")
    });
    let mut packages: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| inside.contains(package.id.as_str()) && package.source.is_some())
        .collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in &packages {
        for text in texts_of(package)? {
            texts.entry(text).or_default().push(format!("{} {}", package.name, package.version));
        }
    }
    let mut list = written(&packages, &texts);
    if origin.contains_glibc() {
        let rule = "=".repeat(80);
        list += &format!("\n{rule}\n{GLIBC}\n{}", include_str!("LGPL-2.1.txt"));
    }
    Ok(list)
}

/// The packages compiled into those for which `is_root` holds: normal dependencies, and theirs.
fn reachable(resolve: &Resolve, is_root: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> =
        resolve.nodes.iter().map(|node| node.id.as_str()).filter(|id| is_root(id)).collect();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == id);
        let normal = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
        open.extend(
            node.into_iter().flat_map(|node| &node.deps).filter(normal).map(|edge| edge.pkg.as_str()),
        );
    }
    found
}

/// The licence files of a package, in the order of their names.
fn texts_of(package: &Package) -> Result<Vec<String>> {
    let Some(folder) = package.manifest_path.parent() else { return Ok(Vec::new()) };
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let legal = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
        if path.is_file() && legal.iter().any(|begin| name.starts_with(begin)) {
            files.insert(path);
        }
    }
    files.extend(package.license_file.iter().map(|file| folder.join(file)).filter(|path| path.is_file()));
    let mut texts = Vec::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        texts.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n").trim().to_owned());
    }
    Ok(texts)
}

fn written(packages: &[&Package], texts: &BTreeMap<String, Vec<String>>) -> String {
    let mut list = format!("gnr contains the following. {EMBEDDED}\n");
    for package in packages {
        let licence = package.license.as_deref().unwrap_or("see its text below");
        let home = package.repository.as_deref().unwrap_or("https://crates.io");
        list += &format!("{} {}: {licence}, {home}\n", package.name, package.version);
    }
    let without: Vec<String> = packages
        .iter()
        .map(|package| format!("{} {}", package.name, package.version))
        .filter(|name| !texts.values().flatten().any(|of| of == name))
        .collect();
    if !without.is_empty() {
        list += &format!("\nPublished without a licence file: {}.\n", without.join(", "));
    }
    // By the first crate of each text, so that the order does not depend on the texts.
    let mut texts: Vec<(&Vec<String>, &String)> = texts.iter().map(|(text, of)| (of, text)).collect();
    texts.sort();
    for (of, text) in texts {
        list += &format!("\n{}\n{}\n\n{text}\n", "=".repeat(80), of.join(", "));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_builds_and_tests_are_not_inside() {
        let text = r#"{"nodes":[
            {"id":"cli","deps":[{"pkg":"a","dep_kinds":[{"kind":null}]},{"pkg":"t","dep_kinds":[{"kind":"dev"}]},
                                {"pkg":"b","dep_kinds":[{"kind":"build"}]}]},
            {"id":"a","deps":[{"pkg":"c","dep_kinds":[{"kind":"build"},{"kind":null}]},{"pkg":"cli","dep_kinds":[{"kind":null}]}]},
            {"id":"b","deps":[]},{"id":"c","deps":[]},{"id":"t","deps":[]},{"id":"other","deps":[]}]}"#;
        let resolve: Resolve = serde_json::from_str(text).unwrap();
        assert_eq!(reachable(&resolve, |id| id == "cli"), BTreeSet::from(["cli", "a", "c"]));
    }

    #[test]
    fn a_text_stands_once_with_everybody_it_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let package = |name: &str, text: &str| {
            let at = folder.path().join(name);
            fs::create_dir_all(&at).unwrap();
            if !text.is_empty() {
                fs::write(at.join("LICENSE-MIT"), text).unwrap();
            }
            Package {
                id: name.into(),
                name: name.into(),
                version: "1.0.0".into(),
                license: Some("MIT".into()),
                license_file: None,
                repository: None,
                source: Some("registry".into()),
                manifest_path: at.join("Cargo.toml"),
            }
        };
        let packages = [package("a", "Be kind.\r\n"), package("b", "Be kind."), package("c", "")];
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for package in &packages {
            for text in texts_of(package).unwrap() {
                texts.entry(text).or_default().push(format!("{} {}", package.name, package.version));
            }
        }
        let list = written(&packages.iter().collect::<Vec<_>>(), &texts);
        assert_eq!(list.matches("Be kind.").count(), 1, "{list}");
        assert!(list.contains("a 1.0.0, b 1.0.0\n\nBe kind."), "{list}");
        assert!(list.contains("without a licence file: c 1.0.0"), "{list}");
        assert!(list.contains("a 1.0.0: MIT, https://crates.io"), "{list}");
    }
}
