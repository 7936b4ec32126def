//! `cargo xtask dependencies`: the rules for dependencies. Each must come from crates.io, be under licences that
//! deny.toml allows, not be forbidden there, and build with the Rust version that we declare. cargo-deny checks more,
//! but is not installed everywhere.
//!
//! Cargo.lock also has packages that no feature of ours builds. Only packages that `cargo tree` lists are checked.

mod licence;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::{cargo, output, root};

/// Manifests whose dependencies are checked, each with a Cargo.lock of its own.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "gnr-python/Cargo.toml", "gnr-burn-train/Cargo.toml"];

/// The only source from which a dependency may come.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

/// A package and what it depends on, by their ids.
#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    rust_version: Option<String>,
    /// The registry; `None` for a crate of ours, which has a path.
    source: Option<String>,
}

impl Package {
    /// Name and version.
    fn shown(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// The part of deny.toml that is read here.
#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Debug, Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// Licences that are allowed of one package.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

impl Licenses {
    /// The licences that a package may be under.
    fn of(&self, package: &Package) -> Vec<String> {
        let exceptions = self.exceptions.iter().filter(|exception| exception.name == package.name);
        exceptions.flat_map(|exception| &exception.allow).chain(&self.allow).cloned().collect()
    }
}

/// Checks the dependencies of every crate with every feature.
///
/// # Errors
/// Names each dependency that breaks a rule, with the rule.
pub(crate) fn run() -> Result<()> {
    let path = root().join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let deny: Deny = toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let mut problems = Vec::new();
    for manifest in MANIFESTS {
        let command =
            ["metadata", "--format-version", "1", "--locked", "--all-features", "--manifest-path", manifest];
        let metadata: Metadata = serde_json::from_str(&output(cargo(command))?)
            .context("cannot read the answer of `cargo metadata`")?;
        let (built, promises) =
            (built(manifest)?, promises(&metadata).with_context(|| format!("in {manifest}"))?);
        let dependencies: Vec<&Package> = metadata
            .packages
            .iter()
            .filter(|package| package.source.is_some() && built.contains(&package.shown()))
            .collect();
        println!("{manifest}: {} dependencies", dependencies.len());
        for package in dependencies {
            // A package that no crate of ours reaches may need any version of Rust.
            let oldest = promises.get(package.id.as_str()).copied().unwrap_or([u64::MAX; 3]);
            let found = broken(package, oldest, &deny);
            problems.extend(found.map(|what| format!("{manifest}: {what}")));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

/// The packages that some feature of ours builds on some platform, as `name version`.
fn built(manifest: &str) -> Result<BTreeSet<String>> {
    let tree = output(cargo([
        "tree",
        "--locked",
        "--workspace",
        "--all-features",
        "--edges=normal,build,dev",
        "--target=all",
        "--prefix=none",
        "--format={p}",
        "--manifest-path",
        manifest,
    ]))?;
    Ok(of_tree(&tree))
}

/// The `name version` of each line `name vVERSION …`.
fn of_tree(tree: &str) -> BTreeSet<String> {
    let package = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split_whitespace().next()?))
    };
    tree.lines().filter_map(package).collect()
}

/// The oldest Rust with which each package must build, by its id: the oldest version that is promised by a crate
/// of ours which reaches the package. Paths through a crate of ours that needs a newer Rust do not count.
fn promises(metadata: &Metadata) -> Result<BTreeMap<&str, [u64; 3]>> {
    let mut ours = BTreeMap::new();
    for package in metadata.packages.iter().filter(|package| package.source.is_none()) {
        let text = package.rust_version.as_deref();
        let text = text.with_context(|| format!("{} declares no `rust-version`", package.name))?;
        ours.insert(package.id.as_str(), numbers(text)?);
    }
    if ours.is_empty() {
        bail!("expected a crate of ours, found none");
    }
    let edges: BTreeMap<&str, &[String]> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), &node.dependencies[..])).collect();
    let mut promises: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for (&start, &version) in &ours {
        let mut left = vec![start];
        while let Some(id) = left.pop() {
            let known = promises.entry(id).or_insert([u64::MAX; 3]);
            let promises_less = ours.get(id).is_some_and(|own| *own > version);
            if *known > version && !promises_less {
                *known = version;
                left.extend(edges.get(id).copied().unwrap_or_default().iter().map(String::as_str));
            }
        }
    }
    Ok(promises)
}

/// Parses a version into three numbers. `1.89` and `1.89.0` are equal.
fn numbers(version: &str) -> Result<[u64; 3]> {
    let mut parts = [0; 3];
    let words: Vec<&str> = version.split('.').collect();
    if words.len() > parts.len() {
        bail!("`{version}`: expected a Rust version such as 1.89");
    }
    for (part, word) in parts.iter_mut().zip(words) {
        *part = word.parse().with_context(|| format!("`{version}`: expected a Rust version such as 1.89"))?;
    }
    Ok(parts)
}

/// The rules that a dependency breaks.
fn broken(package: &Package, oldest: [u64; 3], deny: &Deny) -> impl Iterator<Item = String> {
    let name = package.shown();
    let is_banned = deny.bans.deny.iter().any(|banned| banned.name == package.name);
    let banned = is_banned.then(|| format!("{name} is forbidden in deny.toml"));
    let source = package.source.as_deref().filter(|source| *source != SOURCE).map(|source| {
        format!("{name} comes from {source}; expected crates.io, whose versions stay what they were")
    });
    let allowed = deny.licenses.of(package);
    let licence = match package.license.as_deref().map(|text| licence::is_allowed(text, &allowed)) {
        Some(Ok(true)) => None,
        Some(Ok(false)) => Some(format!(
            "{name} is under `{}`, which the list in deny.toml does not allow",
            package.license.as_deref().unwrap_or_default()
        )),
        Some(Err(error)) => Some(format!("{name}: {error:#}")),
        None => Some(format!("{name} declares no licence")),
    };
    let newer = match package.rust_version.as_deref().map(numbers) {
        Some(Ok(needs)) if needs > oldest => Some(format!(
            "{name} needs Rust {}, newer than the `rust-version` we declare: take an older version of it, or raise ours",
            package.rust_version.as_deref().unwrap_or_default()
        )),
        Some(Err(error)) => Some(format!("{name}: {error:#}")),
        _ => None,
    };
    [source, banned, licence, newer].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(license: Option<&str>, rust_version: Option<&str>, source: Option<&str>) -> Package {
        Package {
            id: "a".into(),
            name: "a".into(),
            version: "1.0.0".into(),
            license: license.map(Into::into),
            rust_version: rust_version.map(Into::into),
            source: source.map(Into::into),
        }
    }

    #[test]
    fn each_rule_names_who_breaks_it() {
        let exception = "exceptions = [{ crate = \"b\", allow = [\"MPL-2.0\"] }]";
        let text = format!(
            "[licenses]\nallow = [\"MIT\"]\n{exception}\n[bans]\ndeny = [{{ crate = \"openssl-sys\" }}]"
        );
        let deny: Deny = toml::from_str(&text).unwrap();
        let check = |package: &Package| broken(package, [1, 89, 0], &deny).collect::<Vec<_>>();
        for good in [Some("1.89"), Some("1.89.0"), Some("1.9"), None] {
            assert_eq!(check(&package(Some("MIT OR GPL-3.0"), good, Some(SOURCE))), [""; 0], "{good:?}");
        }
        for (bad, word) in [
            (package(Some("GPL-3.0"), None, Some(SOURCE)), "a 1.0.0 is under `GPL-3.0`"),
            (package(None, None, Some(SOURCE)), "a 1.0.0 declares no licence"),
            (package(Some("MIT OR"), None, Some(SOURCE)), "a 1.0.0: `MIT OR`"),
            (package(Some("MIT"), Some("1.89.1"), Some(SOURCE)), "a 1.0.0 needs Rust 1.89.1"),
            (package(Some("MIT"), Some("1.90"), Some(SOURCE)), "a 1.0.0 needs Rust 1.90"),
            (package(Some("MIT"), Some("new"), Some(SOURCE)), "expected a Rust version"),
            (package(Some("MIT"), None, Some("git+https://example.org/a")), "comes from git+https"),
            (
                Package { name: "openssl-sys".into(), ..package(Some("MIT"), None, Some(SOURCE)) },
                "openssl-sys 1.0.0 is forbidden",
            ),
        ] {
            let found = check(&bad);
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        }
    }

    #[test]
    fn an_exception_is_for_one_package() {
        let text = "[licenses]\nallow = []\nexceptions = [{ crate = \"b\", allow = [\"MPL-2.0\"] }]\n[bans]\ndeny = []";
        let deny: Deny = toml::from_str(text).unwrap();
        let of = |name: &str| Package { name: name.into(), ..package(Some("MPL-2.0"), None, Some(SOURCE)) };
        assert_eq!(broken(&of("b"), [1, 89, 0], &deny).collect::<Vec<_>>(), [""; 0]);
        assert_eq!(broken(&of("c"), [1, 89, 0], &deny).count(), 1);
    }

    #[test]
    fn what_is_built_is_read_from_the_tree() {
        let tree = "a v0.1.0 (/path)\nb v1.2.3 (proc-macro)\nb v1.2.3 (proc-macro) (*)\n\n";
        assert_eq!(of_tree(tree).into_iter().collect::<Vec<_>>(), ["a 0.1.0", "b 1.2.3"]);
    }

    /// `old` reaches `deep` directly, and `new` and its `shallow` through an optional feature; `new` promises less.
    #[test]
    fn the_oldest_promise_that_reaches_a_package_counts() {
        let all = |id: &str, version, source| Package { id: id.into(), ..package(None, version, source) };
        let packages = vec![
            all("old", Some("1.89"), None),
            all("new", Some("1.95"), None),
            all("deep", None, Some(SOURCE)),
            all("shallow", None, Some(SOURCE)),
        ];
        let node = |id: &str, on: &[&str]| Node {
            id: id.into(),
            dependencies: on.iter().map(|id| (*id).to_owned()).collect(),
        };
        let nodes = vec![node("old", &["new", "deep"]), node("new", &["shallow", "deep"]), node("deep", &[])];
        let metadata = Metadata { packages, resolve: Resolve { nodes } };
        let found = promises(&metadata).unwrap();
        assert_eq!((found["deep"], found["shallow"]), ([1, 89, 0], [1, 95, 0]));
        let none = |packages| Metadata { packages, resolve: Resolve { nodes: Vec::new() } };
        let error = promises(&none(vec![all("a", None, None)])).unwrap_err();
        assert!(error.to_string().contains("declares no `rust-version`"));
        assert!(promises(&none(Vec::new())).is_err() && numbers("1.2.3.4").is_err());
    }
}
