//! `cargo xtask dependencies`: what CI holds the dependencies to. Each comes from crates.io, is under licences that
//! deny.toml allows and not forbidden there, and builds with the Rust version that we declare. cargo-deny tells more
//! and is not everywhere.

mod licence;

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::{cargo, output, root};

/// Manifests whose dependencies are checked, each with a Cargo.lock of its own.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "gnr-python/Cargo.toml", "gnr-burn-train/Cargo.toml"];

/// Where a dependency may come from.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    rust_version: Option<String>,
    /// `None`: a path, so a crate of ours.
    source: Option<String>,
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
        let oldest = declared(&metadata.packages).with_context(|| format!("in {manifest}"))?;
        let dependencies: Vec<&Package> =
            metadata.packages.iter().filter(|package| package.source.is_some()).collect();
        let shown = oldest.map(|part| part.to_string()).join(".");
        println!("{manifest}: {} dependencies, for Rust {shown}", dependencies.len());
        for package in dependencies {
            let found = broken(package, oldest, &deny);
            problems.extend(found.map(|what| format!("{manifest}: {what}")));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

/// The oldest Rust that a crate of ours promises to build with.
fn declared(packages: &[Package]) -> Result<[u64; 3]> {
    let ours = packages.iter().filter(|package| package.source.is_none());
    let versions: Result<Vec<[u64; 3]>> = ours
        .map(|package| {
            let text = package.rust_version.as_deref();
            numbers(text.with_context(|| format!("{} declares no `rust-version`", package.name))?)
        })
        .collect();
    versions?.into_iter().min().context("expected a crate of ours, found none")
}

/// `1.89` and `1.89.0` are one version.
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
    let name = format!("{} {}", package.name, package.version);
    let is_banned = deny.bans.deny.iter().any(|banned| banned.name == package.name);
    let banned = is_banned.then(|| format!("{name} is forbidden in deny.toml"));
    let source = package.source.as_deref().filter(|source| *source != SOURCE).map(|source| {
        format!("{name} comes from {source}; expected crates.io, whose versions stay what they were")
    });
    let licence = match package.license.as_deref().map(|text| licence::is_allowed(text, &deny.licenses.allow))
    {
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
            name: "a".into(),
            version: "1.0.0".into(),
            license: license.map(Into::into),
            rust_version: rust_version.map(Into::into),
            source: source.map(Into::into),
        }
    }

    #[test]
    fn each_rule_names_who_breaks_it() {
        let text = "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"openssl-sys\" }]";
        let deny: Deny = toml::from_str(text).unwrap();
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
    fn the_oldest_of_our_promises_counts() {
        let ours = |version| package(None, version, None);
        let packages = [ours(Some("1.90")), ours(Some("1.89")), package(None, Some("1.50"), Some(SOURCE))];
        assert_eq!(declared(&packages).unwrap(), [1, 89, 0]);
        assert!(declared(&[ours(None)]).unwrap_err().to_string().contains("declares no `rust-version`"));
        assert!(declared(&[]).is_err() && numbers("1.2.3.4").is_err());
    }
}
