//! The `gnr` program: parses the command line, calls gnr-train, draws progress.

mod args;
mod bench;
mod choice;
mod compare;
mod curvature;
#[cfg(feature = "watch")]
mod dashboard;
mod data;
mod device;
#[cfg(test)]
mod documents;
mod eval;
mod generate;
mod geometry;
mod listing;
mod methods;
mod output;
mod progress;
mod report;
mod reproduce;
mod signal;
mod slurm;
mod sweep;
mod train;
mod watch;
mod weights;

use std::{io::Write as _, process::ExitCode, sync::Arc};

use clap::Parser as _;
use gnr_train::{Team, TrainError};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use args::{Arguments, Command};

/// The text of `--version`: the version, and the commit where it is known. `-V` prints the version alone.
const VERSION: &str = match option_env!("GNR_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(commit) = option_env!("GNR_COMMIT") {
        gnr_train::set_commit(commit);
    }
    if let Err(error) = log() {
        output::tell(&format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    let job = match ranks(&arguments.command) {
        Ok(job) => job,
        Err(error) => {
            output::tell(&format!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let team = Team::new(Arc::clone(&job.ranks), job.neighbours);
    let result = match arguments.command {
        Command::Compare(arguments) => compare::compare(arguments),
        Command::Train(arguments) => train::train(arguments, &team),
        Command::Resume(arguments) => train::resume(&arguments, &team),
        Command::Sweep(arguments) => sweep::sweep(arguments),
        Command::Reproduce(arguments) => reproduce::reproduce(arguments),
        #[cfg(feature = "watch")]
        Command::Watch(arguments) => dashboard::watch(arguments),
        Command::Report(arguments) => report::report(&arguments),
        Command::Eval(arguments) => eval::eval(arguments, &team),
        Command::Weights(arguments) => weights::weights(&arguments),
        Command::Convert(arguments) => weights::convert(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Spectrum(arguments) => curvature::spectrum(arguments, &team),
        Command::Trace(arguments) => curvature::trace(arguments, &team),
        Command::Density(arguments) => curvature::density(arguments, &team),
        Command::Landscape(arguments) => geometry::landscape(arguments),
        Command::Minima(arguments) => geometry::minima(arguments),
        Command::Sharpness(arguments) => geometry::sharpness(arguments),
        Command::Plot(arguments) => geometry::plot(arguments),
        Command::Models => listing::models(),
        Command::Devices(arguments) => device::devices(&arguments),
        Command::Generate(arguments) => generate::generate(&arguments),
        Command::Methods(arguments) => methods::methods(&arguments),
        Command::Data(arguments) => data::data(arguments),
    };
    let code = result.unwrap_or_else(|error| {
        let (words, agreed) = (chain(&error), matches!(error.downcast_ref(), Some(TrainError::Rank { .. })));
        if !agreed && team.size() > 1 {
            // The other ranks do not know of the error and may be waiting for this one. This call ends all of them with
            // the error.
            let _ = team.ends::<()>(Err(TrainError::Request(words)));
        } else if team.leads() {
            // Standard error may be gone, with the terminal.
            let _ = writeln!(std::io::stderr(), "error: {words}");
        }
        ExitCode::FAILURE
    });
    drop(team);
    job.finish();
    code
}

/// Starts logging to standard error at the levels in `GNR_LOG`, such as `debug` or `gnr_data=debug`. Default: errors.
fn log() -> Result<(), String> {
    let levels = match std::env::var("GNR_LOG") {
        Ok(text) if !text.is_empty() => text.parse().map_err(|error| {
            format!("GNR_LOG = {text:?}: expected levels such as `debug` or `gnr_data=debug,warn`: {error}")
        })?,
        _ => Targets::new().with_default(LevelFilter::ERROR),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(levels).init();
    Ok(())
}

/// The ranks to which this process belongs, for commands that share work. Any other command fails in one of several
/// processes, because each of them would do all of the work and write equal files.
fn ranks(command: &Command) -> Result<gnr_mpi::Job, String> {
    match command {
        Command::Train(_)
        | Command::Resume(_)
        | Command::Eval(_)
        | Command::Spectrum(_)
        | Command::Trace(_)
        | Command::Density(_) => gnr_mpi::join(),
        _ if gnr_mpi::launched() > 1 => {
            let parts = match command {
                Command::Compare(_) | Command::Sweep(_) | Command::Reproduce(_) => {
                    ", or its parts with --shard or --slurm"
                }
                _ => "",
            };
            Err(format!(
                "this process is one of {} that were started together, and each would do all of this command's work: expected `mpirun` or \
                 `srun` with train, resume, eval, spectrum, trace or density; start this command once{parts}",
                gnr_mpi::launched()
            ))
        }
        _ => Ok(gnr_mpi::Job::solo()),
    }
}

/// The error and its causes, separated by colons. A cause that the text before it already quotes is left out.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_long_version_tells_the_commit() {
        let told = Arguments::command().render_long_version();
        let begins = format!("gnr {}", env!("CARGO_PKG_VERSION"));
        match option_env!("GNR_COMMIT") {
            Some(commit) => assert_eq!(told.trim(), format!("{begins}, commit {commit}")),
            None => assert_eq!(told.trim(), begins),
        }
        assert_eq!(Arguments::command().render_version().trim(), begins);
    }
}
