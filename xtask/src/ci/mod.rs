//! `cargo xtask ci`: the stages of continuous integration, cheapest first. `.ci/run` installs the programs that a bare
//! machine lacks, and calls this command.

mod burn;
mod python;
mod times;
mod torch;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::{cargo, root, show};
use times::Times;

/// Options of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run this stage only (repeatable).
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// Leave this stage out (repeatable).
    #[arg(long, value_name = "STAGE")]
    skip: Vec<String>,
    /// Go on after a failed stage.
    #[arg(long)]
    keep_going: bool,
    /// List the stages and their commands.
    #[arg(long)]
    list: bool,
}

struct Stage {
    name: &'static str,
    what: &'static str,
    commands: Vec<Command>,
    /// Run when `--only` names the stage, and not otherwise.
    by_name_only: bool,
}

/// The stages that run tests.
const TEST: &str = "test";
const DATA: &str = "data";

/// Number of tests that are listed with their times.
const SLOWEST: usize = 10;

/// Folder of the smoke runs: under `target`, so that nothing is left beside the sources.
const SCRATCH: &str = "target/ci";

fn stages() -> Vec<Stage> {
    let stage = |name, what, commands| Stage { name, what, commands, by_name_only: false };
    let mut doc = cargo(["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    let scratch = SCRATCH;
    vec![
        stage("fmt", "formatting", vec![cargo(["fmt", "--all", "--check"])]),
        stage("tidy", "structural rules", vec![cargo(["xtask", "tidy"])]),
        stage("deny", "sources, licences and Rust versions of the dependencies", dependencies()),
        stage(
            "features",
            "every published crate without features, and with each feature alone",
            vec![cargo(["xtask", "features"])],
        ),
        stage(
            "clippy",
            "lints, all targets",
            vec![cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])],
        ),
        stage(TEST, "unit and integration tests", vec![tests(false)]),
        stage(
            DATA,
            "tests that need data which the repository lacks; without the data they fail",
            vec![tests(true)],
        ),
        stage(
            "mpi",
            "ranks under a real mpirun; needs an MPI library (Debian: libopenmpi-dev openmpi-bin libclang-dev)",
            vec![
                cargo([
                    "clippy",
                    "-p",
                    "gnr-mpi",
                    "--all-targets",
                    "--features",
                    "mpi",
                    "--",
                    "-D",
                    "warnings",
                ]),
                cargo(["test", "-p", "gnr-mpi", "--features", "mpi"]),
                cargo(["test", "-p", "gnr-cli", "--features", "mpi", "--test", "mpi"]),
            ],
        ),
        stage("doctest", "examples in the documentation", vec![cargo(["test", "--workspace", "--doc"])]),
        stage(
            "cuda",
            "type check of the CUDA code, no CUDA needed",
            vec![cargo(["check", "-p", "gnr-dfdx", "--features", "ci-check"])],
        ),
        stage(
            "dfdx",
            "the backend \"dfdx\" of the program: the same run as on the CPU engine",
            vec![
                dfdx_cuda(),
                cargo(["test", "-p", "gnr-train", "--features", "dfdx", "--test", "it", "engine"]),
            ],
        ),
        Stage {
            by_name_only: true,
            ..stage(
                "counts",
                "what steps of the backend \"dfdx\" ask of a CUDA card; by name only: 100 MB of download, minutes to build",
                vec![cargo(["xtask", "cuda-build", "--count"])],
            )
        },
        Stage {
            by_name_only: true,
            ..stage(
                "burn",
                "the backend \"burn\" on its CPU backend, and training steps of burn models; by name only: minutes to build",
                burn::commands(),
            )
        },
        Stage {
            by_name_only: true,
            ..stage(
                "burn-wgpu",
                "the backend \"burn\" through Vulkan, a card's or in software (Debian: libvulkan1 mesa-vulkan-drivers); by name only: \
                 a quarter of an hour to build",
                burn::on_vulkan(),
            )
        },
        Stage {
            by_name_only: true,
            ..stage(
                "torch",
                "the backend \"torch\" on LibTorch's CPU; by name only: half a gigabyte of download, minutes to build",
                torch::commands(),
            )
        },
        stage("doc", "documentation without warnings", vec![doc]),
        stage("book", "the site of the documents, every link", vec![cargo(["xtask", "book"])]),
        stage(
            "publish",
            "every crate as it would be uploaded: stray files and sizes",
            vec![
                cargo(["xtask", "package"]),
                cargo(["publish", "--dry-run", "--workspace", "--allow-dirty", "--no-verify"]),
            ],
        ),
        stage(
            "python",
            "gnr-python installed by pip, with its tests; without Python it fails",
            python::commands(),
        ),
        stage(
            "train",
            "smoke run of the main job",
            vec![gnr(["train", "--set", "train.epochs=2", "--out", &format!("{scratch}/train")])],
        ),
        stage("compare", "smoke run of the first command of the README", vec![compare()]),
        stage(
            "page",
            "the pages of a run, of runs over each other and of a comparison in a browser",
            pages(),
        ),
        stage(
            "sweep",
            "smoke run of a search",
            vec![gnr([
                "sweep",
                "--grid=method.gnr.rho=0.05,0.5",
                "--grid=method.gnr.alpha=0.1,1",
                "--set=train.epochs=1",
                "--out",
                &format!("{scratch}/sweep"),
            ])],
        ),
        stage(
            "reproduce",
            "smoke run of every table and figure",
            vec![cargo([
                "xtask",
                "reproduce",
                "all",
                "--scale",
                "smoke",
                "--epochs",
                "2",
                "--seeds",
                "2",
                "--out",
                &format!("{scratch}/reproduce"),
            ])],
        ),
    ]
}

/// Checks of dependencies: our own, and where it is installed also cargo-deny's, which knows every rule of deny.toml.
fn dependencies() -> Vec<Command> {
    let mut commands = vec![cargo(["xtask", "dependencies"])];
    if is_installed("deny") {
        let of = |manifest| {
            cargo(["deny", "--locked", "--config", "deny.toml", "--manifest-path", manifest, "check"])
        };
        for mut command in [of("Cargo.toml"), of("gnr-python/Cargo.toml"), of("gnr-burn-train/Cargo.toml")] {
            command.args(["bans", "licenses", "sources"]);
            commands.push(command);
        }
    }
    commands
}

/// Lints of the program with dfdx's CUDA device, no CUDA needed.
fn dfdx_cuda() -> Command {
    cargo([
        "clippy",
        "-p",
        "gnr-dfdx",
        "-p",
        "gnr-train",
        "-p",
        "gnr-cli",
        "--features",
        "gnr-cli/dfdx-cuda,gnr-dfdx/ci-check",
        "--no-deps",
        "--",
        "-D",
        "warnings",
    ])
}

/// A small comparison. If its runs are finished, the command only reports them again.
fn compare() -> Command {
    gnr(["compare", "--set", "train.epochs=2", "--seeds=2", "--out", &format!("{SCRATCH}/compare")])
}

/// Pages of all commands that write some, with measurements in them, and their check in a browser. Runs are trained
/// here, unless earlier stages have trained them.
fn pages() -> Vec<Command> {
    let (run, study) = (format!("{SCRATCH}/page"), format!("{SCRATCH}/compare"));
    let several = format!("{SCRATCH}/page/several.html");
    vec![
        gnr([
            "train",
            "--set=train.epochs=3",
            "--set=train.log_every_steps=2",
            "--set=data.validation=0.1",
            "--out",
            &run,
        ]),
        gnr(["spectrum", &run, "--top=3", "--subset=64"]),
        gnr(["trace", &run, "--samples=4", "--subset=64"]),
        gnr(["density", &run, "--starts=1", "--steps=20", "--subset=64"]),
        gnr(["landscape", &run, "--points=5", "--subset=32"]),
        gnr(["report", &run]),
        compare(),
        gnr(["report", &study, "--out", &several]),
        cargo(["xtask", "page", "--figures=6", &format!("{run}/report.html"), &several]),
        cargo(["xtask", "page", &format!("{study}/compare.html")]),
    ]
}

fn gnr<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    cargo(["run", "--release", "-p", "gnr-cli", "--"].into_iter().chain(arguments))
}

/// Whether cargo has this subcommand.
fn is_installed(subcommand: &str) -> bool {
    let mut probe = cargo([subcommand, "--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The tests that are not ignored, or those that are: with nextest where it is installed, else with `cargo test`.
fn tests(ignored: bool) -> Command {
    if is_installed("nextest") {
        let mut command = cargo(["nextest", "run", "--workspace", "--profile", "ci", "--no-tests", "fail"]);
        if ignored {
            command.args(["--run-ignored", "only"]);
        }
        command
    } else {
        let mut command = cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--examples"]);
        if ignored {
            command.args(["--", "--ignored"]);
        }
        command
    }
}

/// Runs the stages.
///
/// # Errors
/// When a stage fails, or `--only` or `--skip` names none.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut stages = stages();
    let mut named = arguments.only.iter().chain(&arguments.skip);
    if let Some(unknown) = named.find(|name| !stages.iter().any(|stage| stage.name == **name)) {
        let names: Vec<&str> = stages.iter().map(|stage| stage.name).collect();
        bail!("no stage is called `{unknown}`; there are {}", names.join(", "));
    }
    if arguments.only.is_empty() {
        stages.retain(|stage| !stage.by_name_only || arguments.list);
    } else {
        stages.retain(|stage| arguments.only.iter().any(|only| only == stage.name));
    }
    stages.retain(|stage| !arguments.skip.iter().any(|skip| skip == stage.name));
    if arguments.list {
        for stage in &stages {
            let commands: Vec<String> = stage.commands.iter().map(show).collect();
            println!("{:<9} {}\n          {}", stage.name, stage.what, commands.join("\n          "));
        }
        return Ok(());
    }

    // Runs of an earlier call would be taken as finished, and nothing would be tested.
    let scratch = root().join(SCRATCH);
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    }
    let count = stages.len();
    let mut results: Vec<(&str, Result<Duration>)> = Vec::new();
    let (last, mut kept, mut timed) = (Times::read(), Times::read(), Vec::new());
    let reported = is_installed("nextest");
    for (i, stage) in stages.iter_mut().enumerate() {
        println!("\n== [{}/{count}] {}: {}", i + 1, stage.name, stage.what);
        let started = Instant::now();
        let outcome = stage.commands.iter_mut().try_for_each(execute).map(|()| started.elapsed());
        match &outcome {
            Ok(time) => {
                println!("== {} passed in {}", stage.name, seconds(*time));
                kept.keep(stage.name, *time)?;
            }
            Err(error) => {
                println!("== {} FAILED after {}: {error:#}", stage.name, seconds(started.elapsed()))
            }
        }
        if reported && [TEST, DATA].contains(&stage.name) {
            match times::tests(&times::report()) {
                Ok(tests) => timed.extend(tests),
                Err(error) => println!("no times of single tests: {error:#}"),
            }
        }
        let failed = outcome.is_err();
        results.push((stage.name, outcome));
        if failed && !arguments.keep_going {
            break;
        }
    }

    println!("\n== summary");
    for (name, outcome) in &results {
        match outcome {
            Ok(time) => {
                let before = last.of(name).map(|time| format!(" (before: {})", seconds(time)));
                println!("{name:<9} passed {:>9}{}", seconds(*time), before.unwrap_or_default());
            }
            Err(_) => println!("{name:<9} FAILED"),
        }
    }
    for stage in stages.iter().skip(results.len()) {
        println!("{:<9} not run", stage.name);
    }
    println!("times are kept in {}", Times::FILE);
    if !timed.is_empty() {
        println!("\n== the slowest of {} tests\n{}", timed.len(), times::slowest(&timed, SLOWEST).join("\n"));
    }
    let failed: Vec<&str> =
        results.iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| *name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn execute(command: &mut Command) -> Result<()> {
    let shown = show(command);
    println!("$ {shown}");
    let status = command.current_dir(root()).status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}`: {status}");
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
