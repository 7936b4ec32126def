//! The CUDA compiler and headers from PyPI, and the other files that dfdx's build expects.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::{cargo, output, program, root, show};

/// The release of CUDA; its PTX needs a driver of the same release.
pub(super) const RELEASE: &str = "13.0";
/// The oldest driver that supports this release of CUDA.
pub(super) const DRIVER: u32 = 580;
/// The oldest compute capability for which dfdx 0.13 compiles with this CUDA.
const OLDEST: u32 = 80;
/// Wheels: nvcc and ptxas; cicc and libdevice; the compiler's headers; `cuda.h` and `cuda_fp16.h`; `nv/target`.
const WHEELS: [&str; 5] =
    ["nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt", "nvidia-cuda-runtime", "nvidia-cuda-cccl"];
/// Everything of ours, relative to the root.
const FOLDER: &str = "target/cuda";
/// File that is written last and shows that every wheel was unpacked.
const MARK: &str = "unpacked";

/// Unpacks the wheels of a folder (first argument) into another (second argument). Wheels know which files are
/// programs; Python's zipfile forgets it.
const UNPACK: &str = r"
import glob, os, sys, zipfile
for wheel in glob.glob(sys.argv[1] + '/*.whl'):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = archive.extract(member, sys.argv[2])
            if member.external_attr >> 16 & 0o100 and not member.is_dir():
                os.chmod(path, 0o755)
";

/// Template of the functions that replace those of NVIDIA's libraries.
const FORWARD: &str = include_str!("forward.c");
/// Template of the program that dfdx's build finds in place of nvcc.
const NVCC: &str = include_str!("nvcc.sh");

/// The files that a build with dfdx's CUDA device needs.
pub(super) struct Toolkit {
    folder: PathBuf,
    capability: u32,
    /// Number of kernels that dfdx's build compiles.
    pub(super) kernels: usize,
}

impl Toolkit {
    /// Fetches and writes the files that are missing.
    ///
    /// # Errors
    /// Another system than Linux on x86-64; when Python, pip, PyPI or a C compiler is missing.
    pub(super) fn prepare(capability: u32, jobs: usize) -> Result<Self> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            bail!(
                "cuda-build is written for Linux on x86-64; on a machine with CUDA: `cargo build --release --features dfdx-cuda`"
            );
        }
        let folder = root().join(FOLDER);
        let sources = Sources::find()?;
        let kernels = count_files(&sources.dfdx.join("src"), "cu")?;
        let toolkit = Self { folder, capability, kernels };
        toolkit.fetch().with_context(|| {
            format!(
                "the compiler of CUDA {RELEASE} could not be fetched. It needs python3 with pip (GNR_PYTHON names another) and PyPI: \
                 the wheels {} of version {RELEASE}.*",
                WHEELS.join(", ")
            )
        })?;
        toolkit.compiles_for(capability)?;
        toolkit.stand_ins(jobs)?;
        toolkit.libraries(&sources.cudarc)?;
        Ok(toolkit)
    }

    /// The folder of a CUDA installation, with `bin`, `include` and `lib`.
    fn cuda(&self) -> PathBuf {
        self.folder.join("site/nvidia").join(format!("cu{}", RELEASE.split('.').next().unwrap_or(RELEASE)))
    }

    /// The folder that `CUDA_PATH` names for builds.
    pub(super) fn include(&self) -> PathBuf {
        self.cuda().join("include")
    }

    /// A folder for results.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with one line for each kernel that was compiled.
    pub(super) fn done(&self) -> PathBuf {
        self.folder.join("stand-ins/nvcc.done")
    }

    /// Lets a cargo command build with dfdx's CUDA device.
    pub(super) fn environment(&self, mut command: Command) -> Result<Command> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.folder.join("stand-ins"), self.cuda().join("bin")];
        let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&before)))
            .context("the folder of the workspace has a colon in its name, which PATH cannot hold")?;
        command.env("PATH", path).env("CUDA_PATH", self.cuda());
        command.env("CUDA_COMPUTE_CAP", self.capability.to_string());
        Ok(command)
    }

    fn fetch(&self) -> Result<()> {
        let (site, wheels) = (self.folder.join("site"), self.folder.join("wheels"));
        if std::fs::read_to_string(site.join(MARK)).is_ok_and(|release| release == RELEASE) {
            return Ok(());
        }
        for folder in [&site, &wheels] {
            if folder.exists() {
                std::fs::remove_dir_all(folder)
                    .with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
        println!("fetching the compiler of CUDA {RELEASE} from PyPI, some 100 MB");
        let python = std::env::var_os("GNR_PYTHON").unwrap_or_else(|| "python3".into());
        let mut download =
            program(&python, ["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]);
        download.arg("--dest").arg(&wheels).args(WHEELS.map(|wheel| format!("{wheel}=={RELEASE}.*")));
        execute(download)?;
        let mut unpack = program(&python, ["-c", UNPACK]);
        unpack.arg(&wheels).arg(&site);
        execute(unpack)?;
        let nvcc = self.cuda().join("bin/nvcc");
        if !nvcc.is_file() {
            bail!("{}: not in the wheels, which may have changed", nvcc.display());
        }
        write(&site.join(MARK), RELEASE)?;
        std::fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove {}", wheels.display()))
    }

    /// Checks that nvcc knows this capability.
    fn compiles_for(&self, capability: u32) -> Result<()> {
        let known = output(program(self.cuda().join("bin/nvcc"), ["--list-gpu-code"]))?;
        let known = capabilities(&known);
        if !known.contains(&capability) {
            let known: Vec<String> = known.iter().map(u32::to_string).collect();
            bail!("--capability {capability}: CUDA {RELEASE} compiles for {}", known.join(", "));
        }
        Ok(())
    }

    /// Writes the programs that dfdx's build starts in place of nvcc and nvidia-smi. The build asks nvidia-smi for the
    /// card's capability even if the capability was given.
    fn stand_ins(&self, jobs: usize) -> Result<()> {
        let nvcc = self.cuda().join("bin/nvcc");
        let nvcc = NVCC.replace("NVCC", &nvcc.to_string_lossy()).replace("JOBS", &jobs.max(1).to_string());
        let capability = format!("{}.{}", self.capability / 10, self.capability % 10);
        let smi = format!(
            "#!/bin/sh\n# Stands in for NVIDIA's program while dfdx is built.\necho compute_cap\necho {capability}\n"
        );
        for (name, text) in [("nvcc", nvcc), ("nvidia-smi", smi)] {
            let path = self.folder.join("stand-ins").join(name);
            write(&path, &text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot make {} a program", path.display()))?;
        }
        Ok(())
    }

    /// Compiles the functions that find NVIDIA's libraries at run time, into the folder where cudarc's build looks for
    /// those libraries. One archive has all functions; the others that cudarc names are empty.
    fn libraries(&self, cudarc: &Path) -> Result<()> {
        let text = forwards(&functions(cudarc)?);
        let (source, folder) = (self.folder.join("forward.c"), self.cuda().join("lib"));
        let archive = folder.join("libcuda.a");
        if archive.is_file() && std::fs::read_to_string(&source).is_ok_and(|before| before == text) {
            return Ok(());
        }
        write(&source, &text)?;
        for name in ["cublas", "cublasLt", "nvrtc"] {
            write(&folder.join(format!("lib{name}.a")), "!<arch>\n")?;
        }
        let object = self.folder.join("forward.o");
        let mut compile = program("cc", ["-c", "-O2", "-fPIC", "-Wall", "-o"]);
        compile.arg(&object).arg(&source);
        execute(compile).context("a C compiler is needed, on Debian in the package build-essential")?;
        // An archive is extended, not replaced.
        let _ = std::fs::remove_file(&archive);
        let mut pack = program("ar", ["rcs"]);
        pack.arg(&archive).arg(&object);
        execute(pack).context("binutils are needed, on Debian in the package build-essential")
    }
}

/// Folders of the sources that a build uses.
struct Sources {
    dfdx: PathBuf,
    cudarc: PathBuf,
}

impl Sources {
    fn find() -> Result<Self> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
        }
        #[derive(Deserialize)]
        struct Package {
            name: String,
            version: String,
            manifest_path: PathBuf,
        }
        let text = output(cargo(["metadata", "--format-version", "1", "--locked"]))?;
        let found: Metadata =
            serde_json::from_str(&text).context("cannot read the answer of `cargo metadata`")?;
        let folder = |name: &str, version: &str| {
            let mut packages = found.packages.iter();
            let package =
                packages.find(|package| package.name == name && package.version.starts_with(version));
            package.and_then(|package| Some(package.manifest_path.parent()?.to_path_buf())).with_context(
                || format!("Cargo.lock has no {name} {version}, which cuda-build is written for"),
            )
        };
        Ok(Self { dfdx: folder("dfdx", "0.13.")?, cudarc: folder("cudarc", "0.9.")? })
    }
}

/// The functions that cudarc declares, by name, and the library of each as `forward.c` calls it.
fn functions(cudarc: &Path) -> Result<Vec<(String, &'static str)>> {
    let mut all = Vec::new();
    for (module, prefix, library) in
        [("driver", "cu", "DRIVER"), ("cublas", "cublas", "BLAS"), ("nvrtc", "nvrtc", "COMPILER")]
    {
        let path = cudarc.join("src").join(module).join("sys.rs");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let before = all.len();
        all.extend(declared(&text, prefix).map(|name| (name.to_owned(), library)));
        if all.len() == before {
            bail!("{}: declares no function called {prefix}…", path.display());
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Names of declared functions with this prefix and a capital after it.
fn declared<'t>(text: &'t str, prefix: &'static str) -> impl Iterator<Item = &'t str> {
    text.split("pub fn ").skip(1).filter_map(move |rest| {
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
        let follows = name.strip_prefix(prefix)?.chars().next()?;
        follows.is_ascii_uppercase().then_some(name)
    })
}

/// The capabilities in lines such as `sm_90`, from the oldest that dfdx compiles for.
fn capabilities(text: &str) -> Vec<u32> {
    let numbers = text.lines().filter_map(|line| line.trim().strip_prefix("sm_")?.parse().ok());
    numbers.filter(|capability| *capability >= OLDEST).collect()
}

/// The C source with these functions.
fn forwards(functions: &[(String, &str)]) -> String {
    let (mut symbols, mut forwards) = (String::new(), String::new());
    for (index, (name, library)) in functions.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(symbols, "    {{\"{name}\", {library}}},");
        let _ = writeln!(forwards, "FORWARD({index}, {name})");
    }
    FORWARD.replace("\nSYMBOLS\n", &format!("\n{symbols}")).replace("\nFORWARDS\n", &format!("\n{forwards}"))
}

/// Number of files below a folder with this ending.
fn count_files(folder: &Path, ending: &str) -> Result<usize> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut count = 0;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        count += if path.is_dir() {
            count_files(&path, ending)?
        } else {
            usize::from(path.extension().is_some_and(|found| found == ending))
        };
    }
    Ok(count)
}

/// Writes a file unless it has this text already. Its time then stays older than that of files made from it.
fn write(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn execute(mut command: Command) -> Result<()> {
    let shown: String = show(&command).chars().take(80).collect();
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}`: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_functions_are_found_and_methods_are_not() {
        let text = "impl X { pub fn new() {} pub fn cublas() {} }\nextern \"C\" {\n    pub fn cuInit(Flags: u32) -> CUresult;\n    \
                    pub fn cuMemAlloc_v2(p: *mut u64);\n    pub fn cublasSgemm_v2();\n}";
        assert_eq!(declared(text, "cu").collect::<Vec<_>>(), ["cuInit", "cuMemAlloc_v2"]);
        assert_eq!(declared(text, "cublas").collect::<Vec<_>>(), ["cublasSgemm_v2"]);
    }

    #[test]
    fn capabilities_that_dfdx_compiles_for_are_read() {
        assert_eq!(capabilities("sm_75\nsm_80\nsm_90\nsm_90a\nsm_120\n"), [80, 90, 120]);
    }

    #[test]
    fn every_function_has_a_name_and_a_jump_of_one_number() {
        let text = forwards(&[("cuInit".into(), "DRIVER"), ("nvrtcGetPTX".into(), "COMPILER")]);
        assert!(
            text.contains("symbols[] = {\n    {\"cuInit\", DRIVER},\n    {\"nvrtcGetPTX\", COMPILER},\n};"),
            "{text}"
        );
        assert!(text.ends_with("\nFORWARD(0, cuInit)\nFORWARD(1, nvrtcGetPTX)\n"), "{text}");
    }
}
