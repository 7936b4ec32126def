//! The command `gnr models`: lists the models.

use std::{io::Write, process::ExitCode};

pub(crate) fn models() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let models = gnr_models::registry();
    let longest = |names: &mut dyn Iterator<Item = &str>| names.map(str::len).max().unwrap_or(0);
    let names = longest(&mut models.iter().map(|model| model.name));
    let families = longest(&mut models.iter().map(|model| model.family));
    for model in &models {
        let (name, family) = (model.name, model.family);
        writeln!(out, "{name:names$}  {family:families$}  {} ({})", model.description, model.reference)?;
    }
    Ok(ExitCode::SUCCESS)
}
