//! The stage `python`: gnr-python in a virtual environment under `target`, installed by pip as a user would, with its
//! tests.
//!
//! The interpreter is `python3`, or what `GNR_PYTHON` names. The environment sees the packages of that interpreter, so
//! that a machine which has PyTorch is not given another one. Where it has none, pip takes PyTorch from PyPI: on Linux
//! gigabytes, since that index has no build for CPUs alone. `.ci/run` takes Debian's instead.

use std::process::Command;

use crate::workspace::{cargo, program, root};

/// Folder of the environment, relative to the root.
const ENVIRONMENT: &str = "target/python";
/// Build artefacts of the crate: nothing is left beside the sources.
const BUILD: &str = "target/python-build";
const MANIFEST: &str = "gnr-python/Cargo.toml";

/// Formatting and lints (the workspace's stages do not see an excluded crate), installation, tests.
pub(super) fn commands() -> Vec<Command> {
    let interpreter = std::env::var_os("GNR_PYTHON").unwrap_or_else(|| "python3".into());
    let folder = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    let python = root().join(ENVIRONMENT).join(folder);

    let format = cargo(["fmt", "--manifest-path", MANIFEST, "--check"]);
    let mut lints =
        cargo(["clippy", "--manifest-path", MANIFEST, "--locked", "--all-targets", "--", "-D", "warnings"]);
    lints.env("CARGO_TARGET_DIR", root().join(BUILD));
    let environment = program(interpreter, ["-m", "venv", "--clear", "--system-site-packages", ENVIRONMENT]);
    let mut install = program(
        &python,
        ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "./gnr-python[test]"],
    );
    install.env("CARGO_TARGET_DIR", root().join(BUILD)).env("MATURIN_PEP517_ARGS", "--locked");
    let mut tests = program(&python, ["-m", "pytest", "-p", "no:cacheprovider", "gnr-python"]);
    tests.env("PYTHONDONTWRITEBYTECODE", "1");
    vec![format, lints, environment, install, tests]
}
