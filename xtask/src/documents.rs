//! Tests that the program accepts every `cargo xtask` command of the documents.

use clap::{Parser, error::ErrorKind};
use gnr_book::{commands, documents, mentions};

use crate::Arguments;

fn refusal(words: &[String]) -> Option<String> {
    let [cargo, xtask, arguments @ ..] = words else { return None };
    if (&cargo[..], &xtask[..]) != ("cargo", "xtask") || arguments.is_empty() {
        return None;
    }
    let words = std::iter::once("cargo xtask").chain(arguments.iter().map(String::as_str));
    let error = Arguments::try_parse_from(words).err()?;
    (error.kind() != ErrorKind::DisplayHelp).then(|| error.to_string())
}

#[test]
fn every_task_of_the_documents_is_one_of_xtask() {
    let (mut tasks, mut refused) = (0, Vec::new());
    for document in documents().unwrap() {
        for command in commands(&document.text).into_iter().chain(mentions(&document.text)) {
            tasks += usize::from(command.words.starts_with(&["cargo".to_owned(), "xtask".to_owned()]));
            let at = format!("{}:{}: {}", document.path, command.line, command.words.join(" "));
            refused.extend(refusal(&command.words).map(|why| format!("{at}\n{why}")));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(tasks > 10, "only {tasks} tasks were found: is the search for them right?");
}

#[test]
fn an_option_that_does_not_exist_is_refused() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert!(refusal(&words("cargo xtask ci --onyl fmt")).is_some());
    assert_eq!(refusal(&words("cargo xtask ci --only fmt")), None);
    assert_eq!(refusal(&words("cargo test --workspace")), None);
}
