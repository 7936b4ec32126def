//! Every Rust block of the documents is compiled: as a doctest of this crate or of the crate whose README it is in, or
//! as an example of another.
// A test's helpers fail by panicking, as its assertions do.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use gnr_book::{blocks, documents};

/// Whether a block only includes an example, which is compiled as a target of its crate.
fn is_an_example(text: &str) -> bool {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    first.starts_with("{{#include ../../gnr-") && first.contains("/examples/") && lines.next().is_none()
}

/// Whether the document is the README of a crate that compiles its Rust blocks as doctests.
fn is_tested_by_its_crate(path: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let library = root.join(path).with_file_name("src").join("lib.rs");
    path != "README.md"
        && fs::read_to_string(library).is_ok_and(|text| text.contains("include_str!(\"../README.md\")"))
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
        let listed =
            is_tested_by_its_crate(&document.path) || tested.contains(&format!("\"{}\"", document.path));
        let needed = rust.iter().any(|block| !is_an_example(&block.text));
        assert!(listed || !needed, "{} has Rust code: add it to gnr-book/src/chapters.rs", document.path);
    }
}
