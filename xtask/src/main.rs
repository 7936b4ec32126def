//! `cargo xtask`: the automation of the workspace. Structural rules (`tidy`), the commands that CI runs (`ci`), the
//! site of the documents (`book`), timings beside PyTorch (`bench`), and the paper's tables (`reproduce`).
//!
//! xtask depends on no crate of this workspace: it starts `cargo` and the `gnr` program as a user would.
// A command-line tool prints.
#![allow(clippy::print_stdout)]

mod bench;
mod book;
mod ci;
mod cuda_build;
mod dependencies;
mod dist;
#[cfg(test)]
mod documents;
mod features;
mod gpu_check;
mod hook;
mod libtorch;
mod machine;
mod median;
mod new;
mod package;
mod page;
mod reproduce;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation of the GNR workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the structural rules: who may depend on whom, headers, `unsafe`, marks of unfinished work, documents.
    Tidy,
    /// Build the site of the documents and check its links.
    Book(book::Arguments),
    /// Run everything that CI runs, cheapest first.
    Ci(ci::Arguments),
    /// Check the dependencies: sources, licences, forbidden ones, the Rust version that each needs.
    Dependencies,
    /// Compile every published crate without features, and with each feature alone.
    Features,
    /// List what each crate would upload, and find files that have no place in a package.
    Package,
    /// Train what a table or figure of the paper needs, and report it: `gnr reproduce`, built from this workspace.
    Reproduce(Box<reproduce::Arguments>),
    /// Write the recipes of the paper's tables from the plan that `reproduce` trains, or check them.
    Recipes(reproduce::Recipes),
    /// Make a new method, optimiser, schedule, model or data set: its file, its line in the registry and in the test
    /// matrix.
    New(new::Arguments),
    /// Fetch LibTorch, which the backend `torch` is built with, and say what to export.
    Libtorch,
    /// Build the program with dfdx's CUDA device, without CUDA on this machine; or count what steps ask of a card.
    CudaBuild(cuda_build::Arguments),
    /// Install the git hook that checks formatting and structural rules before each commit.
    Hook(hook::Arguments),
    /// Make the archive that others download: program, manual, completions, licences, checksum; the same bytes
    /// everywhere.
    Dist(dist::Arguments),
    /// Look at HTML pages in a headless Chromium: errors, sizes, screenshots.
    Page(page::Arguments),
    /// Time one step of each method, beside PyTorch where a Python with torch is given.
    Bench(Box<bench::Arguments>),
    /// Run everything that only a CUDA card can show, and report it: tests on the device, steps beside PyTorch, an
    /// epoch.
    GpuCheck(gpu_check::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Tidy => tidy::run(),
        Task::Book(arguments) => book::run(&arguments),
        Task::Ci(arguments) => ci::run(&arguments),
        Task::Dependencies => dependencies::run(),
        Task::Features => features::run(),
        Task::Package => package::run(),
        Task::Reproduce(arguments) => reproduce::run(&arguments),
        Task::Recipes(arguments) => reproduce::recipes(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::New(arguments) => new::run(&arguments),
        Task::Libtorch => libtorch::run(),
        Task::CudaBuild(arguments) => cuda_build::run(&arguments),
        Task::Hook(arguments) => hook::run(&arguments),
        Task::Page(arguments) => page::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::GpuCheck(arguments) => gpu_check::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
