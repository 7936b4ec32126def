//! `cargo xtask features`: every published crate compiles without features and with each feature alone.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::{cargo, output, root, show};

/// Features with needs that not every machine meets, and the stage of CI that compiles each.
const ELSEWHERE: [(&str, &str, &str); 14] = [
    ("gnr-cli", "mpi", "mpi"),
    ("gnr-mpi", "mpi", "mpi"),
    ("gnr-dfdx", "cuda", "cuda"),
    ("gnr-cli", "dfdx-cuda", "dfdx"),
    ("gnr-train", "dfdx-cuda", "dfdx"),
    ("gnr-burn", "burn", "burn"),
    ("gnr-cli", "burn", "burn"),
    ("gnr-train", "burn", "burn"),
    ("gnr-burn", "wgpu", "burn-wgpu"),
    ("gnr-cli", "burn-wgpu", "burn-wgpu"),
    ("gnr-train", "burn-wgpu", "burn-wgpu"),
    ("gnr-cli", "torch", "torch"),
    ("gnr-train", "torch", "torch"),
    ("gnr-torch", "libtorch", "torch"),
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    features: std::collections::BTreeMap<String, Vec<String>>,
    /// `publish = false` is an empty list of registries.
    publish: Option<Vec<String>>,
}

/// Compiles each crate with each feature, as far as type checks go.
///
/// # Errors
/// The first crate and feature that do not compile. The compiler has printed the reason.
pub(crate) fn run() -> Result<()> {
    let text = output(cargo(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cannot read the answer of `cargo metadata`")?;
    for (package, feature) in checks(&metadata.packages) {
        let mut command = cargo(["check", "--quiet", "--locked", "-p", package, "--no-default-features"]);
        command.args(feature.map(|feature| format!("--features={feature}")));
        let shown = show(&command);
        println!("$ {shown}");
        let status =
            command.current_dir(root()).status().with_context(|| format!("cannot start `{shown}`"))?;
        if !status.success() {
            bail!("`{shown}`: {status}");
        }
    }
    for (package, feature, stage) in ELSEWHERE {
        println!("{package} with {feature}: in the stage {stage}");
    }
    Ok(())
}

/// Crates with one feature, or with none.
fn checks(packages: &[Package]) -> Vec<(&str, Option<&str>)> {
    let mut checks = Vec::new();
    for package in packages.iter().filter(|package| package.publish.is_none()) {
        let is_elsewhere = |feature: &str| {
            ELSEWHERE.iter().any(|(crate_name, other, _)| *crate_name == package.name && *other == feature)
        };
        let features = package.features.keys().map(String::as_str);
        let alone = features.filter(|feature| *feature != "default" && !is_elsewhere(feature));
        checks.push((package.name.as_str(), None));
        checks.extend(alone.map(|feature| (package.name.as_str(), Some(feature))));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_stands_alone_once() {
        let package = |name: &str, features: &[&str], published: bool| Package {
            name: name.into(),
            features: features.iter().map(|feature| ((*feature).into(), Vec::new())).collect(),
            publish: (!published).then(Vec::new),
        };
        let packages = [
            package("gnr-cli", &["default", "mpi", "watch"], true),
            package("gnr-plot", &[], true),
            package("xtask", &["x"], false),
        ];
        assert_eq!(checks(&packages), [("gnr-cli", None), ("gnr-cli", Some("watch")), ("gnr-plot", None)]);
    }

    /// A feature that was renamed would be compiled nowhere.
    #[test]
    fn what_is_left_to_other_stages_is_there() {
        for (name, feature, _) in ELSEWHERE {
            let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
            assert!(manifest.contains(&format!("\n{feature} = [")), "{name}: {feature}");
        }
    }
}
