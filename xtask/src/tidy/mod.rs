//! Checks of the workspace's structural rules. A promise of ARCHITECTURE.md that stops being true fails here.
//!
//! Each rule is a function from text to findings, so that a test can show it bad input and see it fail.

mod dependencies;
mod documents;
mod language;
mod modules;
mod sources;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A broken rule, or (as a warning) something worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    weight: Weight,
    /// File and line, or crate.
    at: String,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Error,
    Warning,
}

impl Finding {
    fn error(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { weight: Weight::Error, at: at.into(), message: message.into() }
    }

    fn warning(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, at: at.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
        };
        write!(f, "{weight}: {}: {}", self.at, self.message)
    }
}

/// A text file of the workspace.
struct File {
    /// Path relative to the root, with `/` between folders.
    path: String,
    text: String,
}

/// Checks everything and prints what it found.
///
/// # Errors
/// When a rule is broken.
pub(crate) fn run() -> Result<()> {
    let findings = check()?;
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
    if errors > 0 {
        bail!("tidy: {errors} rule(s) broken");
    }
    println!("tidy: all rules hold ({} warning(s))", findings.len());
    Ok(())
}

fn check() -> Result<Vec<Finding>> {
    let root = workspace::root();
    let files = files(&root)?;
    let mut packages = dependencies::packages()?;
    packages.extend(dependencies::packages_outside()?);
    let crates: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();

    let mut findings = dependencies::check(&packages)?;
    for file in &files {
        if file.path.ends_with(".rs") {
            findings.extend(sources::check(&file.path, &file.text));
            findings.extend(language::check(&file.path, &file.text));
        }
        findings.extend(sources::no_machine_paths(&file.path, &file.text));
    }
    let sources = files.iter().filter(|file| file.path.ends_with(".rs"));
    findings.extend(modules::check(sources.map(|file| (&file.path[..], &file.text[..]))));
    findings.extend(documents::check(&root, &crates)?);
    findings.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(findings)
}

/// Text files that the project writes: sources, manifests, documents, scripts.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                let ours = [".ci", ".config", ".cargo"].contains(&name.as_str()) || !name.starts_with('.');
                if ours && !["target", "runs"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if [".rs", ".toml", ".md", ".py", ".sh", ".yml", ".json"]
                .iter()
                .any(|end| name.ends_with(end))
                || path.parent().is_some_and(|folder| folder == root.join(".ci"))
            {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
