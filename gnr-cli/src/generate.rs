//! `gnr generate`, a command that help does not show: manual pages and completions for packages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

/// Write manual pages and shell completions
///
/// man/man1/*.1 and completions/*, one for each shell. For packagers.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder to write them into
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn generate(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let [pages, completions] = ["man/man1", "completions"].map(|name| arguments.folder.join(name));
    let mut command = crate::args::Arguments::command();
    for folder in [&pages, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut command, "gnr", &completions)
            .with_context(|| format!("cannot write into {}", completions.display()))?;
    }
    clap_mangen::generate_to(command, &pages)
        .with_context(|| format!("cannot write into {}", pages.display()))?;
    Ok(ExitCode::SUCCESS)
}
