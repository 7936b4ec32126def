//! The programs of the check: `gnr` and the backend's tests, with LibTorch or burn, and Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::clock::Clock;
use crate::libtorch::{self, with_libtorch};
use crate::workspace::{built, cargo, output, release_gnr};

/// The library that computes ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    /// LibTorch, on CUDA cards and the CPU.
    Torch,
    /// burn, on Vulkan devices.
    Burn,
}

impl Library {
    /// The library of a device.
    pub(super) fn of(device: &str) -> Self {
        if device.starts_with("vulkan") { Self::Burn } else { Self::Torch }
    }
    /// Name of the library in `train.backend`.
    pub(super) fn backend(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Burn => "burn",
        }
    }
    /// The variable that tells the backend's tests where to compute, and its value.
    fn variable(self, device: &str) -> (&'static str, &str) {
        match self {
            Self::Torch => ("GNR_TORCH_DEVICE", device),
            Self::Burn => ("GNR_BURN_VULKAN", device.strip_prefix("vulkan:").unwrap_or("0")),
        }
    }
    /// The stages of tests: a name, and filters of the tests' names.
    pub(super) fn tests(self, small: bool) -> Vec<(&'static str, &'static [&'static str])> {
        match self {
            Self::Torch => {
                let nets: &[&str] = if small { &["golden::resnet20", "golden::smooth"] } else { &["golden"] };
                vec![
                    ("conformance, f32", &["conformance::f32"]),
                    ("conformance, f64", &["conformance::f64"]),
                    ("the oracle's promises", &["conformance::oracles"]),
                    ("PyTorch's numbers and gnr-cpu's of small nets", &["fixtures", "agreement"]),
                    ("rounding of bf16", &["precision::what", "precision::tensors"]),
                    ("golden nets, f32 and f64", nets),
                ]
            }
            Self::Burn => {
                let nets: &[&str] = if small {
                    &["vulkan::golden_resnet20", "vulkan::golden_smooth"]
                } else {
                    &["vulkan::golden"]
                };
                vec![
                    ("conformance, f32", &["vulkan::conformance_f32"]),
                    ("the oracle's promises", &["vulkan::oracles_f32"]),
                    (
                        "gradients, products and steps beside gnr-cpu's",
                        &["vulkan::gradients", "vulkan::steps"],
                    ),
                    ("refusals, memory and a lost device", &["vulkan::double", "vulkan::adapters", "lost::"]),
                    ("golden nets, f32", nets),
                ]
            }
        }
    }
}

/// The programs that were built.
pub(super) struct Programs {
    pub(super) library: Library,
    gnr: PathBuf,
    tests: PathBuf,
}

impl Programs {
    /// Builds the programs for this device; `gnr` only if it is not given.
    ///
    /// # Errors
    /// A LibTorch without CUDA for a card; a failed build; a missing program.
    pub(super) fn build(library: Library, device: &str, gnr: Option<&Path>) -> Result<Self> {
        if library == Library::Torch {
            let folder = libtorch::folder();
            if device == "cpu" {
                libtorch::run()?;
            } else if !folder.join("lib/libtorch_cuda.so").is_file() {
                bail!(
                    "{}: no lib/libtorch_cuda.so there; a card needs a whole PyTorch, whose folder LIBTORCH names (docs/devices.md)",
                    folder.display()
                );
            }
        }
        let (program, package, feature) = match library {
            Library::Torch => ("torch", "gnr-torch", "libtorch"),
            Library::Burn => ("burn-wgpu", "gnr-burn", "wgpu"),
        };
        println!("building gnr and the tests of {package}");
        let gnr = match gnr {
            Some(path) => std::fs::canonicalize(path).with_context(|| format!("--gnr {}", path.display()))?,
            None => built(finds(library, release_gnr(&["--features", program])))?,
        };
        let mut tests = cargo(["test", "-p", package, "--features", feature, "--test", "it", "--no-run"]);
        tests.arg("--message-format=json-render-diagnostics");
        Ok(Self { library, gnr, tests: built(finds(library, tests))? })
    }
    /// Makes commands of `gnr` that find the library.
    pub(super) fn gnr(&self) -> impl Fn() -> Command {
        let (path, library) = (self.gnr.clone(), self.library);
        move || finds(library, Command::new(&path))
    }
}

/// Lets a command find the library, if that is a shared one.
fn finds(library: Library, command: Command) -> Command {
    match library {
        Library::Torch => with_libtorch(command),
        Library::Burn => command,
    }
}

/// Version of Python's torch, and of its CUDA.
///
/// # Errors
/// A Python that cannot be started, has no torch, or does not see the card.
pub(super) fn pytorch(python: &Path, device: &str) -> Result<String> {
    let mut command = Command::new(python);
    let ask = "import sys, torch; d = torch.device(sys.argv[1]); torch.zeros(1, device=d); \
               print(torch.__version__, f'(CUDA {torch.version.cuda})' if d.type == 'cuda' else '(CPU)')";
    command.args(["-c", ask, device]);
    let said = output(command)
        .with_context(|| format!("--python needs a Python whose torch computes on the device {device}"))?;
    Ok(said.trim().to_owned())
}

/// The output of `gnr devices --json`.
///
/// # Errors
/// When the library does not compute on this device.
pub(super) fn devices(programs: &Programs, device: &str, clock: &Clock) -> Result<Value> {
    let mut command = programs.gnr()();
    command.args(["devices", "--json"]);
    let found: Value =
        serde_json::from_str(clock.output(command)?.trim()).context("gnr devices printed no JSON")?;
    offers(&found, programs.library, device)?;
    Ok(found)
}

/// Checks that the library's backend has the device.
fn offers(found: &Value, library: Library, device: &str) -> Result<()> {
    let wanted = match device {
        "cuda" | "vulkan" => format!("{device}:0"),
        device => device.to_owned(),
    };
    let backends = found["backends"].as_array().map_or(&[][..], Vec::as_slice);
    let ours = backends.iter().find(|backend| backend["name"] == library.backend());
    let devices = ours.and_then(|ours| ours["devices"].as_array()).map_or(&[][..], Vec::as_slice);
    if devices.iter().any(|name| *name == *wanted) {
        return Ok(());
    }
    let reason = if library == Library::Torch { "no_cuda" } else { "no_vulkan" };
    let why = found[reason].as_str().unwrap_or("gnr devices lists others");
    bail!("the backend {} does not compute on {wanted}: {why}", library.backend())
}

/// Runs those of the backend's tests whose names contain one of the filters, on this device.
///
/// # Errors
/// A test that fails; filters that no test has.
pub(super) fn test(programs: &Programs, device: &str, filters: &[&str], clock: &Clock) -> Result<()> {
    let mut command = finds(programs.library, Command::new(&programs.tests));
    // Golden files are found by the crate's folder at compile time; nothing depends on where this runs.
    let (variable, value) = programs.library.variable(device);
    command.args(filters).env(variable, value);
    let said = clock.output(command)?;
    match passed(&said) {
        Some(0) | None => bail!("no test of the backend is called {}: {said}", filters.join(" or ")),
        Some(_) => Ok(()),
    }
}

/// Number of tests that passed, from a line `test result: ok. 12 passed; …`.
fn passed(said: &str) -> Option<usize> {
    let line = said.lines().find(|line| line.starts_with("test result:"))?;
    let before = line.split(" passed").next()?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests_of_words {
    use super::*;

    #[test]
    fn results_of_tests_are_counted() {
        let said = "\nrunning 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out\n";
        assert_eq!(passed(said), Some(2));
        assert_eq!(passed("test result: ok. 0 passed; 0 failed"), Some(0));
        assert_eq!(passed("error"), None);
    }

    #[test]
    fn a_device_that_gnr_does_not_offer_is_refused_with_its_reason() {
        let found = serde_json::json!({
            "backends": [
                {"name": "cpu", "devices": ["cpu"]},
                {"name": "burn", "devices": ["cpu", "vulkan:0"]},
                {"name": "torch", "devices": ["cpu"]},
            ],
            "no_cuda": "no NVIDIA driver",
        });
        assert!(offers(&found, Library::Torch, "cpu").is_ok());
        let error = offers(&found, Library::Torch, "cuda").unwrap_err().to_string();
        assert_eq!(error, "the backend torch does not compute on cuda:0: no NVIDIA driver");
        assert!(offers(&found, Library::Burn, "vulkan").is_ok());
        let error = offers(&found, Library::Burn, "vulkan:1").unwrap_err().to_string();
        assert_eq!(error, "the backend burn does not compute on vulkan:1: gnr devices lists others");
    }

    #[test]
    fn a_device_chooses_the_library_and_what_its_tests_are_told() {
        assert_eq!([Library::of("cuda:1"), Library::of("vulkan:1")], [Library::Torch, Library::Burn]);
        assert_eq!(Library::Burn.variable("vulkan"), ("GNR_BURN_VULKAN", "0"));
        assert_eq!(Library::Burn.variable("vulkan:2"), ("GNR_BURN_VULKAN", "2"));
        assert_eq!(Library::Torch.variable("cuda"), ("GNR_TORCH_DEVICE", "cuda"));
    }
}
