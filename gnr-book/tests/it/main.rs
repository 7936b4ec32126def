//! Every Rust block of the documents is compiled: as a doctest of this crate, or as an example of another.
// A test's helpers fail by panicking, as its assertions do.
#![allow(clippy::unwrap_used)]

use gnr_book::{blocks, documents};

/// Whether a block only includes an example, which is compiled as a target of its crate.
fn is_an_example(text: &str) -> bool {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    first.starts_with("{{#include ../../gnr-") && first.contains("/examples/") && lines.next().is_none()
}

#[test]
fn every_chapter_with_rust_code_is_a_doctest() {
    let tested = include_str!("../../src/chapters.rs");
    for document in documents().unwrap() {
        let rust: Vec<_> =
            blocks(&document.text).into_iter().filter(|block| block.language.starts_with("rust")).collect();
        for block in &rust {
            let skipped = ["ignore", "no_run"].iter().any(|word| block.language.contains(word));
            let at = format!("{}:{}", document.path, block.line);
            assert!(!skipped || is_an_example(&block.text), "{at}: a Rust block that is not run");
        }
        let listed = tested.contains(&format!("\"{}\"", document.path));
        let needed = rust.iter().any(|block| !is_an_example(&block.text));
        assert!(listed || !needed, "{} has Rust code: add it to gnr-book/src/chapters.rs", document.path);
    }
}
