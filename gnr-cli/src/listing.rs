//! `gnr models`.

use std::{io::Write, process::ExitCode};

pub(crate) fn models() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    for model in gnr_models::registry() {
        writeln!(out, "{:20} {:8} {} ({})", model.name, model.family, model.description, model.reference)?;
    }
    Ok(ExitCode::SUCCESS)
}
