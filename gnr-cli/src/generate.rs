//! The command `gnr generate`, which help does not show: manual pages and completions for packages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _, ValueEnum as _};
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
    clap_mangen::generate_to(without_help(crate::args::Arguments::command()), &pages)
        .with_context(|| format!("cannot write into {}", pages.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A command without its subcommand `help`, at any depth: pages about `help` would say nothing.
fn without_help(command: Command) -> Command {
    let command = command.disable_help_subcommand(true);
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_is_about_help() {
        fn names(command: &Command) -> Vec<String> {
            let below = command.get_subcommands();
            below.flat_map(|below| [vec![below.get_name().to_owned()], names(below)].concat()).collect()
        }
        let has_help = |mut command: Command| {
            command.build();
            names(&command).contains(&"help".to_owned())
        };
        assert!(has_help(crate::args::Arguments::command()));
        assert!(!has_help(without_help(crate::args::Arguments::command())));
    }
}
