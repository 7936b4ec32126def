//! Rules on the language of comments: first words, length of a line, comments that say nothing.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Finding;

/// First words of a doc comment whose subject is not the item: a reader would have to look for it elsewhere.
const NOT_THE_ITEM: [&str; 6] = ["The same", "As above", "It", "Those", "They", "That of"];

/// Longest line of a comment, in characters.
const COLUMNS: usize = 120;

/// Smallest number of words of a doc comment. Fewer say nothing about an item.
const LEAST_WORDS: usize = 3;

/// Checks a Rust file by all rules of this module. A file that is not Rust is reported elsewhere.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let Ok(tokens) = text.parse::<TokenStream>() else { return Vec::new() };
    let mut found = Lines::default();
    found.walk(tokens);
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();

    let mut findings = Vec::new();
    for comment in doc_comments(&lines, &found.doc) {
        findings.extend(first_words(path, &comment));
        findings.extend(too_short(path, &comment));
    }
    findings.extend(long_lines(path, text, &found.literal));
    findings
}

/// Numbers of the lines that hold doc comments, and of those that continue a literal of several lines.
#[derive(Default)]
struct Lines {
    doc: BTreeSet<usize>,
    literal: BTreeSet<usize>,
}

impl Lines {
    fn walk(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Bracket && is_doc(&group.stream()) {
                        self.doc.insert(group.span().start().line);
                    }
                    self.walk(group.stream());
                }
                TokenTree::Literal(literal) => {
                    self.literal.extend(literal.span().start().line + 1..=literal.span().end().line);
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

/// Whether the content of an attribute is that of a doc comment.
fn is_doc(attribute: &TokenStream) -> bool {
    matches!(attribute.clone().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc")
}

/// One doc comment: the number of its first line, and its lines without their marks.
struct DocComment<'t> {
    line: usize,
    text: Vec<&'t str>,
}

/// The doc comments of a file: neighbouring lines with one kind of mark are one comment. `#[doc = "…"]` is none.
fn doc_comments<'t>(lines: &[&'t str], doc: &BTreeSet<usize>) -> Vec<DocComment<'t>> {
    let mut comments: Vec<DocComment<'t>> = Vec::new();
    let mut before = (0, "");
    for &number in doc {
        let line = lines.get(number - 1).copied().unwrap_or_default();
        let Some(mark) = ["///", "//!"].into_iter().find(|mark| line.starts_with(mark)) else { continue };
        let text = line[mark.len()..].trim();
        match comments.last_mut() {
            Some(comment) if before == (number - 1, mark) => comment.text.push(text),
            _ => comments.push(DocComment { line: number, text: vec![text] }),
        }
        before = (number, mark);
    }
    comments
}

/// Checks the first words of a comment and of each of its sections, whose subject must be the item.
fn first_words(path: &str, comment: &DocComment<'_>) -> Vec<Finding> {
    let mut begins = true;
    let mut findings = Vec::new();
    for (i, line) in comment.text.iter().enumerate() {
        let words = NOT_THE_ITEM.iter().find(|words| {
            let rest = line.strip_prefix(**words);
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
        });
        if let Some(words) = words.filter(|_| begins) {
            let at = format!("{path}:{}", comment.line + i);
            findings.push(Finding::error(at, format!("a doc comment begins with `{words}`: name the item")));
        }
        begins = line.starts_with("# ") || (begins && line.is_empty());
    }
    findings
}

/// Finds a doc comment of one or two words, which repeats the item's name at best.
fn too_short(path: &str, comment: &DocComment<'_>) -> Option<Finding> {
    let words = comment.text.iter().flat_map(|line| line.split_whitespace()).count();
    (words < LEAST_WORDS).then(|| {
        let message =
            format!("a doc comment of {words} word(s): say what the caller gets, in {LEAST_WORDS} or more");
        Finding::error(format!("{path}:{}", comment.line), message)
    })
}

/// Finds comment lines that are too long. Rows of tables and addresses are exempt, because they cannot be broken.
fn long_lines(path: &str, text: &str, literal: &BTreeSet<usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(comment) = line.trim_start().strip_prefix("//").filter(|_| !literal.contains(&number))
        else {
            continue;
        };
        let unbreakable =
            comment.trim_start_matches(['/', '!', ' ']).starts_with('|') || comment.contains("://");
        let columns = line.chars().count();
        if columns > COLUMNS && !unbreakable {
            let message = format!("a comment of {columns} columns, at most {COLUMNS}");
            findings.push(Finding::error(format!("{path}:{number}"), message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn first_words_that_are_not_the_item_are_found() {
        for words in NOT_THE_ITEM {
            let text =
                format!("//! A file of tests.\n\n/// {words} for rows of several lengths.\nfn f() {{}}\n");
            let message = format!("error: a/src/a.rs:3: a doc comment begins with `{words}`: name the item");
            assert_eq!(told("a/src/a.rs", &text), [message]);
        }
        for words in ["Items", "Italic words", "Thoseness", "That office", "The samedi"] {
            let text =
                format!("//! A file of tests.\n/// {words} for rows of several lengths.\nfn f() {{}}\n");
            assert_eq!(told("gnr-cpu/src/a.rs", &text), [""; 0], "{words}");
        }
    }

    #[test]
    fn first_words_count_at_the_start_of_a_comment_and_of_its_sections() {
        let text = "//! It begins a file.\n/// Adds rows.\n/// It may.\n///\n/// # Safety\n/// That of `g`.\nfn f() {}\n";
        let told = told("gnr-train/src/a.rs", text);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("a.rs:1: a doc comment begins with `It`"), "{told:?}");
        assert!(told[1].contains("a.rs:6: a doc comment begins with `That of`"), "{told:?}");
        assert_eq!(
            super::tests::told("a/src/a.rs", "//! A file of tests.\n// It is no doc comment.\nfn f() {}\n"),
            [""; 0]
        );
    }

    #[test]
    fn short_doc_comments_are_found() {
        let text =
            "//! A file of tests.\n/// The file.\nfn f() {}\n/// The\n/// long path.\nfn g() {}\n//! short\n";
        let expect =
            "error: gnr-cpu/src/a.rs:2: a doc comment of 2 word(s): say what the caller gets, in 3 or more";
        assert_eq!(told("gnr-cpu/src/a.rs", &text[..text.len() - "//! short\n".len()]), [expect]);
    }

    #[test]
    fn long_lines_are_found() {
        let words = |columns: usize| "word ".repeat(30)[..columns].to_string();
        for (mark, free) in [("// ", 117), ("/// ", 116), ("//! ", 116), ("    // ", 113)] {
            let text =
                |columns: usize| format!("//! A file of tests.\n{mark}{}\n{}", words(columns), "fn f() {}\n");
            let text = |columns| {
                if mark == "//! " { text(columns).replacen('\n', "\n//!\n", 1) } else { text(columns) }
            };
            assert_eq!(told("xtask/src/a.rs", &text(free)), [""; 0], "{mark}");
            let found = told("xtask/src/a.rs", &text(free + 1));
            assert!(
                found.len() == 1 && found[0].contains("a comment of 121 columns, at most 120"),
                "{mark} {found:?}"
            );
        }
    }

    #[test]
    fn tables_addresses_code_and_strings_may_be_long() {
        let long = "word ".repeat(30);
        for line in [
            format!("//! | {long} |"),
            format!("// https://{}", "a".repeat(130)),
            format!("const A: &str = \"{long}\";"),
            format!("const A: &str = \"\n// {long}\n/// It\n\";"),
        ] {
            assert_eq!(told("xtask/src/a.rs", &format!("//! A file of tests.\n{line}\n")), [""; 0], "{line}");
        }
    }
}
