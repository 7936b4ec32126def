//! `gnr models` and `gnr data`.

use std::{io::Write, process::ExitCode};

use gnr_data::{OpenOptions, Part, available_without_dir, find};

use crate::args;

pub(crate) fn models() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    for model in gnr_models::registry() {
        writeln!(out, "{:20} {:8} {} ({})", model.name, model.family, model.description, model.reference)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn data(arguments: &args::Data) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let Some(name) = &arguments.name else {
        for info in gnr_data::registry() {
            let ready = if available_without_dir(info.name)? { "ready" } else { "needs data.dir" };
            writeln!(out, "{:14} {:15} {}", info.name, ready, info.summary)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let info = find(name)?;
    writeln!(out, "{}: {}", info.name, info.summary)?;
    writeln!(out, "licence: {}", info.licence)?;
    writeln!(out, "how to get it: {}", info.fetch_hint)?;
    if arguments.data_dir.is_some() || available_without_dir(info.name)? {
        let options = OpenOptions { dir: arguments.data_dir.clone(), ..OpenOptions::default() };
        for part in [Part::Train, Part::Test] {
            writeln!(out, "{part}: {}", info.open(part, &options)?.describe())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
