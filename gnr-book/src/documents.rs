//! The documents of the repository, and the code in them.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A Markdown file that people read to use the project.
#[derive(Clone, Debug)]
pub struct Document {
    /// Path relative to the root of the repository, with `/` between folders.
    pub path: String,
    /// The Markdown text of the document.
    pub text: String,
}

/// A fenced block of a Markdown text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// All of the text behind the opening fence, such as `sh` or `rust,ignore`.
    pub language: String,
    /// The text between the fences.
    pub text: String,
    /// Line of the opening fence, from 1.
    pub line: usize,
}

/// The documents of the repository around this crate, sorted by path: the Markdown files in its root, those below
/// `docs`, and each crate's README. Dated reports (`docs/results`) are left out, because they keep the commands of
/// their day.
///
/// # Errors
/// A file or folder that cannot be read.
pub fn documents() -> io::Result<Vec<Document>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = markdown(&root)?;
    for entry in fs::read_dir(&root)? {
        let readme = entry?.path().join("README.md");
        if readme.is_file() && readme.with_file_name("Cargo.toml").is_file() {
            paths.push(readme);
        }
    }
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        paths.extend(markdown(&folder)?);
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && path != root.join("docs/results") {
                folders.push(path);
            }
        }
    }
    paths.sort();
    let document = |path: PathBuf| {
        let text = fs::read_to_string(&path)?;
        let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        Ok(Document { path, text })
    };
    paths.into_iter().map(document).collect()
}

/// The Markdown files of one folder.
fn markdown(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<_>> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    Ok(paths?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")).collect())
}

fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter()
}

fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The fenced blocks of a Markdown text, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for (event, at) in events(text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                inside = true;
                found.push(Block {
                    language: language.to_string(),
                    text: String::new(),
                    line: line(text, at.start),
                });
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(more) if inside => {
                found.iter_mut().next_back().into_iter().for_each(|block| block.text += &more)
            }
            _ => {}
        }
    }
    found
}

/// The inline code (text between backticks) of running text and tables, with its line in the document, from 1.
pub(crate) fn inline_code(text: &str) -> Vec<(String, usize)> {
    events(text)
        .filter_map(|(event, at)| match event {
            Event::Code(code) => Some((code.to_string(), line(text, at.start))),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_language_text_and_line() {
        let text = "# A\n\n```rust,ignore\nfn f() {}\n```\n\n- item\n\n  ~~~toml\n  a = 1\n  b = 2\n  ~~~\n\n    indented\n";
        let expect = [("rust,ignore", "fn f() {}\n", 3), ("toml", "a = 1\nb = 2\n", 9)];
        let found = blocks(text);
        assert_eq!(found.len(), 2);
        for (block, (language, text, line)) in found.iter().zip(expect) {
            assert_eq!((&block.language[..], &block.text[..], block.line), (language, text, line));
        }
    }

    #[test]
    fn inline_code_is_found_in_tables_and_not_in_blocks() {
        let text = "Say `gnr models`.\n\n| a | b |\n|---|---|\n| `gnr data` | c |\n\n```sh\n`gnr no`\n```\n";
        let expect = [("gnr models".to_owned(), 1), ("gnr data".to_owned(), 5)];
        assert_eq!(inline_code(text), expect);
    }

    #[test]
    fn the_readme_is_a_document_and_dated_reports_are_not() {
        let documents = documents().unwrap();
        let has = |path: &str| documents.iter().any(|document| document.path == path);
        assert!(has("README.md") && has("docs/methods.md") && has("docs/book/getting-started.md"));
        assert!(has("gnr-python/README.md"));
        assert!(!documents.iter().any(|document| document.path.starts_with("docs/results")));
    }
}
