//! `cargo xtask book`: the documents as a site, made by [mdBook](https://rust-lang.github.io/mdBook), with every link
//! checked.
//!
//! The documents stay where they are read in the repository. They are copied, with the same paths, into a folder under
//! `target`, so that a link that works in the repository works in the site; the list of chapters is
//! `docs/book/SUMMARY.md`.

mod links;
mod summary;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::workspace::{cargo, root};

/// The version of mdBook that makes the site.
const MDBOOK: &str = "0.5.4";

/// Folder of the site, its sources and the tool.
const FOLDER: &str = "target/book";

/// Documents that are no chapters: the pages that a forge shows for folders, the list of chapters itself, and tables
/// for judging the wording of messages.
const NO_CHAPTERS: [&str; 4] =
    ["docs/README.md", "docs/images/README.md", "docs/book/SUMMARY.md", "docs/bad-inputs/"];

/// Options of `cargo xtask book`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only put the sources of the site together and compare them with the list of chapters; needs no mdBook.
    #[arg(long)]
    sources_only: bool,
}

/// Builds the site and checks it.
///
/// # Errors
/// A document that is not in the list, a chapter that is missing, a link that leads nowhere; when mdBook cannot be
/// installed or fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = root().join(FOLDER);
    let sources = folder.join("src");
    if sources.exists() {
        fs::remove_dir_all(&sources).with_context(|| format!("cannot remove {}", sources.display()))?;
    }
    let copied = copy(&root(), &sources)?;
    let list = root().join("docs/book/SUMMARY.md");
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let summary = summary::rebased(&text, "docs/book");
    let is_a_chapter = |path: &str| {
        path.starts_with("docs/")
            && path.ends_with(".md")
            && !NO_CHAPTERS.iter().any(|no| path.starts_with(no))
    };
    let missing: Vec<&str> = copied
        .iter()
        .map(String::as_str)
        .filter(|path| is_a_chapter(path) && !summary.contains(&format!("({path})")))
        .collect();
    if !missing.is_empty() {
        bail!("not in docs/book/SUMMARY.md, so nobody finds them in the site: {}", missing.join(", "));
    }
    write(&sources.join("SUMMARY.md"), &summary)?;
    for file in ["book.toml", "book.css"] {
        fs::copy(root().join("docs/book").join(file), folder.join(file))
            .with_context(|| format!("cannot copy docs/book/{file}"))?;
    }
    if arguments.sources_only {
        println!("sources of the site: {}", sources.display());
        return Ok(());
    }

    let mut build = Command::new(mdbook(&folder)?);
    build.arg("build").arg(&folder).env_remove("RUST_LOG");
    let output = build.output().context("cannot start mdbook")?;
    let told = String::from_utf8_lossy(&output.stderr);
    // mdBook goes on after an include that it does not find.
    if !output.status.success() || told.contains("ERROR") || told.contains("WARN") {
        bail!("mdbook build ({}):\n{told}", output.status);
    }
    let site = folder.join("site");
    let report = links::check(&site)?;
    if !report.broken.is_empty() {
        bail!("links that lead nowhere:\n{}", report.broken.join("\n"));
    }
    println!(
        "{} pages, {} links within the site, all of which lead somewhere: {}",
        report.pages,
        report.links,
        site.join("index.html").display()
    );
    Ok(())
}

/// The program: the one of the right version on the search path, else one under `target`, which is installed from
/// crates.io when it is missing.
fn mdbook(folder: &Path) -> Result<PathBuf> {
    let tools = folder.join("tools");
    let ours = tools.join("bin/mdbook");
    for program in [Path::new("mdbook"), &ours] {
        let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
        if version
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("mdbook v{MDBOOK}"))
        {
            return Ok(program.to_path_buf());
        }
    }
    println!("installing mdBook {MDBOOK} under {} (about a minute, once)", tools.display());
    // Without optimisation: it builds in half the time, and the site takes a second.
    let mut install = cargo([
        "install",
        "mdbook",
        "--locked",
        "--debug",
        "--no-default-features",
        "--features",
        "search",
        "--force",
    ]);
    install
        .arg(format!("--version={MDBOOK}"))
        .arg("--root")
        .arg(&tools)
        .arg("--target-dir")
        .arg(folder.join("build"));
    let status = install.status().context("cannot start cargo install")?;
    if !status.success() {
        bail!("cargo install mdbook --version={MDBOOK}: {status}");
    }
    Ok(ours)
}

/// Copies the documents of the site and returns their paths, relative to the root.
fn copy(root: &Path, to: &Path) -> Result<Vec<String>> {
    let mut copied = Vec::new();
    let list = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let markdown = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let mut files: Vec<PathBuf> = list(root)?.into_iter().filter(markdown).collect();
    let crates: Vec<PathBuf> =
        list(root)?.into_iter().filter(|path| path.join("Cargo.toml").is_file()).collect();
    files.extend(crates.iter().map(|path| path.join("README.md")).filter(|path| path.is_file()));
    let mut folders = vec![root.join("docs"), root.join("recipes")];
    folders.extend(crates.iter().map(|path| path.join("examples")).filter(|path| path.is_dir()));
    while let Some(folder) = folders.pop() {
        for path in list(&folder)? {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for file in files {
        let path = file.strip_prefix(root).unwrap_or(&file);
        let target = to.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        if markdown(&file) {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            write(&target, &as_pages(&text))?;
        } else {
            fs::copy(&file, &target).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        copied.push(path.to_string_lossy().replace('\\', "/"));
    }
    Ok(copied)
}

/// A document as mdBook needs it: a folder's README is the folder's index page, and figures of a table are not torn.
fn as_pages(text: &str) -> String {
    let linked = text.replace("README.md)", "index.md)").replace("README.md#", "index.md#");
    let line = |line: &str| if line.starts_with('|') { unbroken(line) } else { line.to_owned() };
    linked.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A row of a table with spaces that break no line in `94.7 ± 0.4` and `[-1.02, +0.57]`.
fn unbroken(row: &str) -> String {
    const SPACE: &str = "\u{a0}";
    let row = row.replace(" ± ", &format!("{SPACE}±{SPACE}"));
    let is_of_numbers = |text: &str| text.chars().all(|c| c.is_ascii_digit() || ".,+-− ".contains(c));
    let pieces = row.split_inclusive('[').map(|piece| match piece.split_once(']') {
        Some((inside, rest)) if is_of_numbers(inside) => format!("{}]{rest}", inside.replace(' ', SPACE)),
        _ => piece.to_owned(),
    });
    pieces.collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{as_pages, unbroken};

    #[test]
    fn links_to_a_readme_lead_to_the_index_page_of_its_folder() {
        let text = "[a](README.md) [b](x/README.md#c) `README.md` [d](README.mdx)";
        assert_eq!(as_pages(text), "[a](index.md) [b](x/index.md#c) `README.md` [d](README.mdx)");
    }

    #[test]
    fn figures_of_a_table_are_not_torn() {
        assert_eq!(
            unbroken("| a b | 1.0 ± 2.0 | [-1.0, +2] |"),
            "| a b | 1.0\u{a0}±\u{a0}2.0 | [-1.0,\u{a0}+2] |"
        );
        // Neither the words of a link nor text outside of a table.
        assert_eq!(unbroken("| [a b](c) [1, x] 2, 3] |"), "| [a b](c) [1, x] 2, 3] |");
        assert_eq!(as_pages("1 ± 2\n| 1 ± 2 |\n"), "1 ± 2\n| 1\u{a0}±\u{a0}2 |\n");
    }
}
