//! Tests that the program accepts every command and recipe of the documents.

use clap::{Parser, error::ErrorKind};
use gnr_book::{blocks, commands, documents, mentions};
use gnr_train::Recipe;

use crate::args::Arguments;

/// The arguments of `gnr` in a command of a document, if it is a `gnr` command.
fn arguments(words: &[String]) -> Option<&[String]> {
    match words {
        [program, arguments @ ..] if program == "gnr" => Some(arguments),
        [cargo, run, release, dashes, arguments @ ..]
            if [cargo, run, release, dashes] == ["cargo", "run", "--release", "--"] =>
        {
            Some(arguments)
        }
        _ => None,
    }
}

/// The reason why the program would refuse these arguments. A command that is only mentioned in a sentence may lack
/// some.
fn refusal(arguments: &[String], mentioned: bool) -> Option<String> {
    let words = std::iter::once("gnr").chain(arguments.iter().map(String::as_str));
    let error = Arguments::try_parse_from(words).err()?;
    let fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => mentioned,
        _ => false,
    };
    (!fine).then(|| error.to_string())
}

#[test]
fn every_command_of_the_documents_is_one_of_the_program() {
    let (mut read, mut refused) = (0, Vec::new());
    for document in documents().unwrap() {
        let shown = commands(&document.text).into_iter().map(|command| (command, false));
        let mentioned = mentions(&document.text).into_iter().map(|command| (command, true));
        for (command, mentioned) in shown.chain(mentioned) {
            let Some(arguments) = arguments(&command.words) else { continue };
            read += 1;
            let at = format!("{}:{}: {}", document.path, command.line, command.words.join(" "));
            refused.extend(refusal(arguments, mentioned).map(|why| format!("{at}\n{why}")));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(read > 50, "only {read} commands were found: is the search for them right?");
}

#[test]
fn a_flag_that_does_not_exist_is_refused_and_a_missing_argument_only_where_it_is_shown() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert!(refusal(&words("train --epoch 3"), true).is_some());
    assert!(refusal(&words("spectrum"), false).is_some());
    assert_eq!(refusal(&words("spectrum"), true), None);
    assert_eq!(arguments(&words("cargo run --release -- compare")), Some(&words("compare")[..]));
    assert_eq!(arguments(&words("cargo test")), None);
}

#[test]
fn every_toml_block_of_the_documents_is_a_recipe() {
    let mut read = 0;
    for document in documents().unwrap() {
        for block in blocks(&document.text).iter().filter(|block| block.language == "toml") {
            read += 1;
            let at = format!("{}:{}", document.path, block.line);
            let recipe = Recipe::parse(&at, "book", &block.text, &[]);
            assert!(recipe.is_ok(), "{at}: {}", recipe.unwrap_err());
        }
    }
    assert!(read >= 2, "only {read} recipes were found: is the search for them right?");
}
