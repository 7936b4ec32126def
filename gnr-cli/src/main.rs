//! The `gnr` program: parses the command line, calls gnr-train, draws progress.

mod args;
mod bench;
mod compare;
mod curvature;
#[cfg(feature = "watch")]
mod dashboard;
mod data;
mod eval;
mod generate;
mod geometry;
mod listing;
mod methods;
mod progress;
mod report;
mod reproduce;
mod signal;
mod sweep;
mod train;
mod watch;
mod weights;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(commit) = option_env!("GNR_COMMIT") {
        gnr_train::set_commit(commit);
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("GNR_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let result = match arguments.command {
        Command::Compare(arguments) => compare::compare(arguments),
        Command::Train(arguments) => train::train(arguments),
        Command::Resume(arguments) => train::resume(&arguments),
        Command::Sweep(arguments) => sweep::sweep(arguments),
        Command::Reproduce(arguments) => reproduce::reproduce(arguments),
        #[cfg(feature = "watch")]
        Command::Watch(arguments) => dashboard::watch(arguments),
        Command::Report(arguments) => report::report(&arguments),
        Command::Eval(arguments) => eval::eval(arguments),
        Command::Weights(arguments) => weights::weights(&arguments),
        Command::Convert(arguments) => weights::convert(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Spectrum(arguments) => curvature::spectrum(arguments),
        Command::Trace(arguments) => curvature::trace(arguments),
        Command::Density(arguments) => curvature::density(arguments),
        Command::Landscape(arguments) => geometry::landscape(arguments),
        Command::Minima(arguments) => geometry::minima(arguments),
        Command::Sharpness(arguments) => geometry::sharpness(arguments),
        Command::Plot(arguments) => geometry::plot(arguments),
        Command::Models => listing::models(),
        Command::Generate(arguments) => generate::generate(&arguments),
        Command::Methods(arguments) => methods::methods(&arguments),
        Command::Data(arguments) => data::data(arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", chain(&error));
        ExitCode::FAILURE
    })
}

/// `what: why: why that`, without repeating a cause that its parent quotes already.
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
