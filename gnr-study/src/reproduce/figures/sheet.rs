//! The report of a figure: pictures, tables and where they come from, as Markdown beside the pictures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::plan::Scale;
use crate::workspace;

pub(super) struct Sheet<'a> {
    out: &'a Path,
    slug: &'static str,
    gnr: &'a Path,
    body: String,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(out: &'a Path, slug: &'static str, gnr: &'a Path) -> Self {
        Self { out, slug, gnr, body: String::new() }
    }

    /// Path without an extension of the picture called `part`.
    fn prefix(&self, part: &str) -> PathBuf {
        self.out.join(format!("{}{part}", self.slug))
    }

    /// Draws a figure of `gnr plot`: `SLUGpart.svg`, `.png`, `.csv` and `.figure.json`.
    pub(super) fn draw(&mut self, part: &str, figure: &Value, alt: &str) -> Result<()> {
        let prefix = self.prefix(part);
        let description = prefix.with_extension("figure.json");
        std::fs::write(&description, serde_json::to_string_pretty(figure)? + "\n")
            .with_context(|| format!("cannot write {}", description.display()))?;
        self.plot(&[description.as_os_str()], &prefix)?;
        self.picture(part, alt);
        Ok(())
    }

    /// Lets `gnr plot` draw an example of its own; what it told.
    pub(super) fn example(&mut self, part: &str, example: &str, alt: &str) -> Result<String> {
        let prefix = self.prefix(part);
        let told = self.plot(&["--example".as_ref(), example.as_ref()], &prefix)?;
        self.picture(part, alt);
        Ok(told)
    }

    fn plot(&self, what: &[&std::ffi::OsStr], prefix: &Path) -> Result<String> {
        let mut command = Command::new(self.gnr);
        command.arg("plot").args(what).arg("--out").arg(prefix);
        let told = workspace::output(command)?;
        println!("written: {}.svg, .png, .csv", prefix.display());
        Ok(told)
    }

    fn picture(&mut self, part: &str, alt: &str) {
        let name = format!("{}{part}", self.slug);
        self.text(&format!("![{alt}]({name}.png)\n\n[SVG]({name}.svg), [data]({name}.csv)"));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.body += text;
        self.body += "\n\n";
    }

    pub(super) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        let mut line = |cells: &[String]| {
            // Writing to a string cannot fail.
            let _ = writeln!(self.body, "| {} |", cells.join(" | "));
        };
        line(&header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        line(&vec!["---".to_owned(); header.len()]);
        rows.iter().for_each(|row| line(row));
        self.body.push('\n');
    }

    /// Writes `SLUG.md`.
    pub(super) fn write(
        &self,
        title: &str,
        scale: Scale,
        provenance: &[(&'static str, String)],
    ) -> Result<PathBuf> {
        let mut text =
            format!("# {title}, {scale} scale\n\n{}\n\n{}## Origin\n\n", scale.caveat(), self.body);
        for (name, value) in provenance {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let path = self.out.join(format!("{}.md", self.slug));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
