//! `cargo xtask libtorch`: LibTorch for the backend `torch`, out of PyTorch's wheel on PyPI, under `target`.
//!
//! Only the parts of the wheel that a program on the CPU needs are unpacked: headers, two libraries, and two of CUDA
//! with which the CPU's library is linked on Linux. A machine with a card takes a whole PyTorch; see docs/devices.md.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{program, root, show};

/// The LibTorch that the workspace's version of tch is written for.
const VERSION: &str = "2.13.0";
/// Folder of the packages, relative to the root.
const SITE: &str = "target/libtorch/site";
/// Folder of the downloads, which is removed after unpacking.
const WHEELS: &str = "target/libtorch/wheels";
/// File that is written last and shows that everything was unpacked.
const MARK: &str = "target/libtorch/site/torch/build-version";

/// Unpacks the members that matter of the wheels in a folder (first argument) into another (second argument).
const UNPACK: &str = r"
import glob, re, sys, zipfile
wanted = re.compile(r'torch/include/|torch/lib/(lib)?(torch|torch_cpu|c10)\.(so|dylib)$|torch/lib/lib(i?gomp|omp)'
                    r'|.*/lib(cudart|cupti)\.so\.\d+$|torch-.*/(LICENSE|NOTICE)')
for wheel in glob.glob(sys.argv[1] + '/*.whl'):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(sys.argv[2], [name for name in archive.namelist() if wanted.match(name)])
";

/// The folder of LibTorch: that in the variable `LIBTORCH`, else ours.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("LIBTORCH").map_or_else(|| root().join(SITE).join("torch"), PathBuf::from)
}

/// Lets a command build and run programs with LibTorch.
pub(crate) fn with_libtorch(mut command: Command) -> Command {
    let folder = folder();
    let libraries = folder.join("lib");
    let name = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    let before = std::env::var_os(name).unwrap_or_default();
    let all = std::iter::once(libraries)
        .chain(std::env::split_paths(&before).filter(|p| !p.as_os_str().is_empty()));
    if let Ok(all) = std::env::join_paths(all) {
        command.env(name, all);
    }
    command.env("LIBTORCH", folder);
    command
}

/// Fetches LibTorch unless it is there, and says what to export.
///
/// # Errors
/// When Python, pip or the index are missing; the error says what to install by hand.
pub(crate) fn run() -> Result<()> {
    if std::env::var_os("LIBTORCH").is_none() && !root().join(MARK).is_file() {
        fetch().with_context(|| {
            format!(
                "LibTorch {VERSION} could not be fetched. It needs python3 with pip (GNR_PYTHON names another) and PyPI; by hand: \
                 `pip install torch=={VERSION}`, and LIBTORCH names the folder `torch` of its site-packages"
            )
        })?;
    }
    let folder = folder();
    let library = if cfg!(target_os = "macos") { "libtorch_cpu.dylib" } else { "libtorch_cpu.so" };
    if !folder.join("lib").join(library).is_file() {
        bail!(
            "{}: no lib/{library} there; LIBTORCH must name a folder with LibTorch's include and lib",
            folder.display()
        );
    }
    println!("LibTorch is in {}. To build with it and to run what was built:", folder.display());
    println!("export LIBTORCH={0} LD_LIBRARY_PATH={0}/lib:$LD_LIBRARY_PATH", folder.display());
    Ok(())
}

fn fetch() -> Result<()> {
    let python = std::env::var_os("GNR_PYTHON").unwrap_or_else(|| "python3".into());
    for folder in [SITE, WHEELS] {
        let path = root().join(folder);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let torch = format!("torch=={VERSION}");
    let mut download =
        vec!["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--dest", WHEELS, &torch];
    if cfg!(target_os = "linux") {
        download.extend(["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"]);
    }
    println!("PyTorch's wheel is half a gigabyte");
    execute(program(&python, download))?;
    execute(program(&python, ["-c", UNPACK, WHEELS, SITE]))?;
    std::fs::write(root().join(MARK), VERSION).with_context(|| format!("cannot write {MARK}"))?;
    std::fs::remove_dir_all(root().join(WHEELS)).with_context(|| format!("cannot remove {WHEELS}"))
}

fn execute(mut command: Command) -> Result<()> {
    let shown = show(&command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{}`: {status}", shown.chars().take(80).collect::<String>());
    }
    Ok(())
}
