//! The contents of the documents in a form that can be tested: the fenced blocks of a Markdown file, the commands in
//! them, and (as doctests) their Rust code.
//!
//! The tests of `gnr` and of `cargo xtask` find their [`commands`](commands()) in the documents and give them to their
//! parsers. The tests of `gnr` also read every TOML block as a recipe. A flag or a key that changes therefore breaks a
//! test before it misleads a reader.
//!
//! ```
//! let page = "Train:\n\n```sh\ngnr train digits \\\n    --set train.epochs=2   # short\n```\n";
//! let commands = gnr_book::commands(page);
//! assert_eq!(commands[0].words, ["gnr", "train", "digits", "--set", "train.epochs=2"]);
//! assert_eq!(commands[0].line, 4);
//! ```

mod chapters;
mod commands;
mod documents;

pub use commands::{Command, commands, mentions};
pub use documents::{Block, Document, blocks, documents};
