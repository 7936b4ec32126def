//! Rules on dependencies between crates: direct edges from `cargo metadata`, transitive ones from `cargo tree`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Finding;
use crate::workspace::{cargo, output};

/// The crates, bottom first, with the crates of ours that each may use. Everything not listed is forbidden.
const LAYERS: &[(&str, &[&str])] = &[
    ("gnr-book", &[]),
    ("gnr-core", &[]),
    ("gnr-pickle", &[]),
    ("gnr-data", &["gnr-pickle"]),
    ("gnr-fuzz", &[]),
    ("gnr-plot", &[]),
    ("gnr-nn", &["gnr-core"]),
    ("gnr-hessian", &["gnr-core"]),
    ("gnr-python", &["gnr-core", "gnr-hessian"]),
    ("gnr-mpi", &["gnr-core"]),
    ("gnr-models", &["gnr-core", "gnr-nn", "gnr-pickle"]),
    ("gnr-kernels", &[]),
    ("gnr-macros", &[]),
    ("gnr-cpu", &["gnr-core", "gnr-nn", "gnr-kernels", "gnr-macros"]),
    ("gnr-burn", &["gnr-core", "gnr-nn"]),
    ("gnr-burn-train", &["gnr-core", "gnr-nn", "gnr-burn"]),
    ("gnr-dfdx", &["gnr-core", "gnr-nn"]),
    ("gnr-torch", &["gnr-core", "gnr-nn"]),
    (
        "gnr-train",
        &[
            "gnr-core",
            "gnr-nn",
            "gnr-models",
            "gnr-data",
            "gnr-hessian",
            "gnr-kernels",
            "gnr-cpu",
            "gnr-burn",
            "gnr-dfdx",
            "gnr-torch",
        ],
    ),
    ("gnr-study", &["gnr-data", "gnr-hessian", "gnr-plot", "gnr-train"]),
    (
        "gnr-cli",
        &[
            "gnr-core",
            "gnr-nn",
            "gnr-models",
            "gnr-data",
            "gnr-hessian",
            "gnr-mpi",
            "gnr-plot",
            "gnr-train",
            "gnr-study",
        ],
    ),
    ("xtask", &[]),
];

/// Edges allowed in tests only: a backend runs the models to compare them with golden values, and is compared with
/// another one; parsers are given damaged inputs and the commands of the documents; the documents use the libraries; a
/// crate may name itself to turn its own features on.
const IN_TESTS: &[(&str, &str)] = &[
    ("gnr-book", "gnr-core"),
    ("gnr-book", "gnr-cpu"),
    ("gnr-book", "gnr-dfdx"),
    ("gnr-book", "gnr-hessian"),
    ("gnr-book", "gnr-models"),
    ("gnr-book", "gnr-nn"),
    ("gnr-cli", "gnr-book"),
    ("xtask", "gnr-book"),
    ("gnr-cpu", "gnr-models"),
    ("gnr-burn", "gnr-cpu"),
    ("gnr-burn", "gnr-models"),
    ("gnr-burn-train", "gnr-cpu"),
    ("gnr-dfdx", "gnr-cpu"),
    ("gnr-dfdx", "gnr-models"),
    ("gnr-torch", "gnr-cpu"),
    ("gnr-torch", "gnr-models"),
    ("gnr-data", "gnr-fuzz"),
    ("gnr-models", "gnr-fuzz"),
    ("gnr-train", "gnr-fuzz"),
    ("gnr-study", "gnr-fuzz"),
];

/// Libraries that compute on tensors. Each belongs in the crates that are called after it: `gnr-LIBRARY`,
/// `gnr-LIBRARY-PART` (LibTorch's bindings are called `tch`, dfdx's of CUDA `cudarc`).
const TENSOR_LIBRARIES: [&str; 17] = [
    "dfdx",
    "dfdx-core",
    "candle-core",
    "candle-nn",
    "burn",
    "burn-autodiff",
    "burn-backend",
    "burn-core",
    "burn-dispatch",
    "burn-flex",
    "burn-optim",
    "burn-train",
    "burn-wgpu",
    "tch",
    "cudarc",
    "ort",
    "tract-core",
];

/// Crates from which a tensor library must not even be reachable, tests included.
const WITHOUT_TENSOR_LIBRARY: [&str; 8] =
    ["gnr-core", "gnr-nn", "gnr-kernels", "gnr-cpu", "gnr-hessian", "gnr-models", "gnr-data", "xtask"];

/// All that gnr-core pulls in by default.
const CORE_DEFAULT: [&str; 2] = ["num-traits", "thiserror"];

/// A package of the workspace, as `cargo metadata` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `None`: normal; else `dev` or `build`.
    kind: Option<String>,
}

/// Manifests of ours outside the workspace. Their crates need software that not everybody has, or cannot share the
/// workspace's Cargo.lock.
const OUTSIDE: [&str; 2] = ["gnr-python/Cargo.toml", "gnr-burn-train/Cargo.toml"];

/// The packages of the workspace.
pub(super) fn packages() -> Result<Vec<Package>> {
    metadata("Cargo.toml")
}

/// Our packages outside of the workspace.
pub(super) fn packages_outside() -> Result<Vec<Package>> {
    OUTSIDE.iter().try_fold(Vec::new(), |mut all, manifest| {
        all.extend(metadata(manifest)?);
        Ok(all)
    })
}

fn metadata(manifest: &str) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text =
        output(cargo(["metadata", "--format-version", "1", "--no-deps", "--manifest-path", manifest]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cannot read the answer of `cargo metadata`")?;
    Ok(metadata.packages)
}

/// All rules of this file.
pub(super) fn check(packages: &[Package]) -> Result<Vec<Finding>> {
    let mut findings = layering(packages);
    findings.extend(tensor_libraries(packages));
    for name in WITHOUT_TENSOR_LIBRARY {
        let tree = output(cargo(["tree", "-p", name, "--all-features", "-e", "all", "--prefix", "none"]))?;
        findings.extend(reaches_no_tensor_library(name, &tree));
    }
    let tree = output(cargo(["tree", "-p", "gnr-core", "-e", "normal", "--depth", "1", "--prefix", "none"]))?;
    findings.extend(core_is_small(&tree));
    Ok(findings)
}

fn layering(packages: &[Package]) -> Vec<Finding> {
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(Finding::error(
                &package.name,
                "has no place in the layers: add it to LAYERS in xtask/src/tidy",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let for_tests = dependency.kind.as_deref() == Some("dev")
                && (name == package.name || IN_TESTS.contains(&(package.name.as_str(), name)));
            if ours.contains(name) && !allowed.contains(&name) && !for_tests {
                let may =
                    if allowed.is_empty() { "no crate of ours".to_string() } else { allowed.join(", ") };
                findings.push(Finding::error(
                    &package.name,
                    format!("must not depend on {name}; it may use {may}"),
                ));
            }
        }
    }
    findings
}

fn tensor_libraries(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let library = package.name.strip_prefix("gnr-").and_then(|name| name.split('-').next());
            let backend = library.is_some_and(|library| name.starts_with(library))
                || [("gnr-torch", "tch"), ("gnr-dfdx", "cudarc")].contains(&(&package.name[..], name));
            if TENSOR_LIBRARIES.contains(&name) && !backend {
                let message = format!("depends on the tensor library {name}; only its backend crate may");
                findings.push(Finding::error(&package.name, message));
            }
        }
    }
    findings
}

/// Package names of `cargo tree --prefix none`.
fn names(tree: &str) -> BTreeSet<&str> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !name.starts_with('['))
        .collect()
}

fn reaches_no_tensor_library(package: &str, tree: &str) -> Vec<Finding> {
    let backends = ["gnr-burn", "gnr-dfdx", "gnr-torch"];
    let forbidden = |name: &&str| TENSOR_LIBRARIES.contains(name) || backends.contains(name);
    names(tree)
        .into_iter()
        .filter(forbidden)
        .map(|name| {
            Finding::error(package, format!("reaches {name}; see `cargo tree -p {package} -i {name}`"))
        })
        .collect()
}

fn core_is_small(tree: &str) -> Vec<Finding> {
    names(tree)
        .into_iter()
        .filter(|name| *name != "gnr-core" && !CORE_DEFAULT.contains(name))
        .map(|name| {
            let message = format!("pulls in {name} by default; only {} may be", CORE_DEFAULT.join(" and "));
            Finding::error("gnr-core", message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(Into::into) })
            .collect();
        Package { name: name.into(), dependencies }
    }

    fn told(findings: &[Finding]) -> String {
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn edges_upward_are_found() {
        let packages = [
            package("gnr-core", &[("gnr-nn", None)]),
            package("gnr-nn", &[("gnr-core", None)]),
            package("gnr-data", &[("gnr-core", Some("dev"))]),
            package("gnr-surprise", &[]),
        ];
        let told = told(&layering(&packages));
        assert!(told.contains("error: gnr-core: must not depend on gnr-nn"), "{told}");
        assert!(told.contains("error: gnr-data: must not depend on gnr-core"), "{told}");
        assert!(told.contains("error: gnr-surprise: has no place"), "{told}");
        assert_eq!(told.lines().count(), 3, "{told}");
    }

    #[test]
    fn tests_may_run_models_on_a_backend_and_name_their_own_crate() {
        let packages = [
            package("gnr-core", &[("gnr-core", Some("dev"))]),
            package("gnr-models", &[]),
            package("gnr-dfdx", &[("gnr-models", Some("dev"))]),
        ];
        assert_eq!(layering(&packages), []);
        assert_eq!(
            layering(&[package("gnr-models", &[]), package("gnr-dfdx", &[("gnr-models", None)])]).len(),
            1
        );
    }

    #[test]
    fn a_tensor_library_outside_its_backend_is_found() {
        let packages = [
            package("gnr-dfdx", &[("dfdx", None)]),
            package("gnr-burn-train", &[("burn-core", None)]),
            package("gnr-train", &[("dfdx", None), ("serde", None)]),
        ];
        assert_eq!(told(&tensor_libraries(&packages)).lines().count(), 1);
        assert!(told(&tensor_libraries(&packages)).starts_with("error: gnr-train"));
    }

    #[test]
    fn trees_are_read() {
        let tree =
            "gnr-models v0.1.0 (path)\n[dev-dependencies]\ngnr-dfdx v0.1.0\ndfdx v0.13.0\nserde v1.0.0 (*)\n";
        assert_eq!(reaches_no_tensor_library("gnr-models", tree).len(), 2);
        assert_eq!(reaches_no_tensor_library("gnr-models", "gnr-models v0.1.0\nndarray v0.17.0"), []);
        let core = "gnr-core v0.1.0 (path)\nndarray v0.17.0\nnum-traits v0.2.19\nthiserror v2.0.0\n";
        assert!(told(&core_is_small(core)).contains("pulls in ndarray"));
        assert_eq!(core_is_small("gnr-core v0.1.0\nnum-traits v0.2.19\nthiserror v2.0.0\n"), []);
    }
}
