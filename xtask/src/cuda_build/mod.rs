//! `cargo xtask cuda-build`: the program with dfdx's CUDA device, built on a machine without CUDA. With `--count`, a
//! stand-in for NVIDIA's libraries counts the requests of steps to a card.

mod count;
mod toolkit;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace::{built, output, program, release_gnr, root};
use toolkit::{DRIVER, RELEASE, Toolkit};

/// Options of `cargo xtask cuda-build`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Compute capability of the oldest cards that the program shall run on: 80 (Ampere), 86, 89, 90, … dfdx does not
    /// compile for older ones with CUDA 13.
    #[arg(long, default_value_t = 80)]
    capability: u32,
    /// Number of kernels compiled at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Count what a gradient and an exact GNR step ask of a card, and compare it with the ceilings.
    #[arg(long)]
    count: bool,
    /// Images in the batch of `--count`; ceilings are those of 128.
    #[arg(long, default_value_t = count::BATCH, requires = "count", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

/// Builds the program, or counts.
///
/// # Errors
/// A tool that this machine lacks; a failed build; a count above its ceiling.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let toolkit = Toolkit::prepare(arguments.capability, arguments.jobs)?;
    if arguments.count {
        return count::run(&toolkit, arguments.batch);
    }
    let command = toolkit.environment(release_gnr(&["--features", "dfdx-cuda"]))?;
    let release = watched(&toolkit, || built(command))?;
    let path = toolkit.folder().join("gnr");
    std::fs::copy(&release, &path).with_context(|| format!("cannot write {}", path.display()))?;
    report(&toolkit, &path, &release)
}

/// Runs a build, and tells from time to time how many kernels are compiled.
fn watched<T>(toolkit: &Toolkit, build: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = toolkit.done();
    // The file may list kernels of an earlier build.
    let _ = std::fs::remove_file(&done);
    let kernels = toolkit.kernels;
    let (ended, waits) = channel::<()>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let mut told = 0;
            while waits.recv_timeout(Duration::from_secs(5)) == Err(RecvTimeoutError::Timeout) {
                let count = std::fs::read_to_string(&done).map_or(0, |text| text.lines().count());
                if count > told {
                    println!("{count} of {kernels} CUDA sources of dfdx are compiled");
                    told = count;
                }
            }
        });
        let outcome = build();
        drop(ended);
        outcome
    })
}

/// Prints where the program lies, what it is linked with, and what it takes to run it. `release` is cargo's own copy.
fn report(toolkit: &Toolkit, path: &Path, release: &Path) -> Result<()> {
    let program = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let size = program.len();
    let needed = needed(path)?;
    println!("{}: {:.1} MB, linked with {}", path.display(), size as f64 / 1e6, needed.join(", "));
    if let Some(library) = needed.iter().find(|name| name.starts_with("libcu") || name.starts_with("libnv")) {
        bail!("linked with {library}: the program would not start without it");
    }
    println!(
        "loaded when a card is asked for: libcuda.so.1 (driver {DRIVER} or later), libcublas.so and libnvrtc.so of CUDA {RELEASE}"
    );
    let headers =
        headers(&program, release).context("the program does not name the folder of dfdx's headers")?;
    println!("read when a card is asked for: {} and {headers}", toolkit.include().display());
    println!("never run on a card; `{} devices` says what this machine has", shown(path));
    Ok(())
}

/// The folder of dfdx's headers, whose path dfdx compiles into the program.
fn headers(program: &[u8], release: &Path) -> Option<String> {
    let before = format!("{}/build/dfdx-", release.parent()?.display());
    let at = program.windows(before.len()).position(|window| window == before.as_bytes())?;
    let path = &program[at..];
    let end = path.windows(4).position(|window| window == b"/out")? + 4;
    String::from_utf8(path[..end].to_vec()).ok()
}

/// Names of the libraries that the loader needs to start a program.
fn needed(path: &Path) -> Result<Vec<String>> {
    let mut command = program("readelf", ["--dynamic", "--wide"]);
    let text = output({
        command.arg(path);
        command
    })
    .context("binutils are needed, on Debian in the package build-essential")?;
    Ok(libraries(&text))
}

/// The names in lines such as `0x0001 (NEEDED)  Shared library: [libc.so.6]`.
fn libraries(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())).collect()
}

/// A path below the root as one could type it there.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The path of an example that cargo builds in release.
fn example(toolkit: &Toolkit, mut command: Command, name: &str) -> Result<PathBuf> {
    command.args(["--release", "-p", "gnr-dfdx", "--example", name]);
    command.arg("--message-format=json-render-diagnostics");
    watched(toolkit, || count::artifact(command, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_dfdx_s_headers_is_found_in_the_program() {
        let program = b"\x7fELF/target/release/build/dfdx-0a1b/outcuda_fp16.h\0";
        let found = headers(program, Path::new("/target/release/gnr"));
        assert_eq!(found.as_deref(), Some("/target/release/build/dfdx-0a1b/out"));
        assert_eq!(headers(program, Path::new("/elsewhere/gnr")), None);
    }

    #[test]
    fn libraries_that_a_program_needs_are_read() {
        let text = "Dynamic section at offset 0x1:\n 0x01 (NEEDED)             Shared library: [libgcc_s.so.1]\n \
                    0x01 (NEEDED)             Shared library: [libc.so.6]\n 0x0c (INIT)               0x1000\n";
        assert_eq!(libraries(text), ["libgcc_s.so.1", "libc.so.6"]);
    }
}
