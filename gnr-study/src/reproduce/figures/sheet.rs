//! The report of a figure: pictures, tables and where they come from, as Markdown beside the pictures.

use std::path::{Path, PathBuf};

use gnr_plot::Figure;
use gnr_train::write_atomically;

use super::super::plan::Scale;
use crate::{
    error::{Result, StudyError},
    report::{Block, Document, write_figure},
};

pub(super) struct Sheet<'a> {
    out: &'a Path,
    slug: &'static str,
    blocks: Vec<Block>,
    written: Vec<PathBuf>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(out: &'a Path, slug: &'static str) -> Self {
        Self { out, slug, blocks: Vec::new(), written: Vec::new() }
    }

    /// Draws a figure as `SLUGpart.svg`, `.png`, `.csv` and `.figure.json`.
    pub(super) fn draw(&mut self, part: &str, figure: &Figure, alt: &str) -> Result<()> {
        let name = format!("{}{part}", self.slug);
        self.written.extend(write_figure(figure, &self.out.join(&name), true)?);
        self.text(&format!("![{alt}]({name}.png)\n\n[SVG]({name}.svg), [data]({name}.csv)"));
        Ok(())
    }

    /// Draws a part from a description in JSON.
    pub(super) fn describe(&mut self, part: &str, figure: serde_json::Value, alt: &str) -> Result<()> {
        let wrong = |error: serde_json::Error| StudyError::Request(format!("{}{part}: {error}", self.slug));
        let figure: Figure = serde_json::from_value(figure).map_err(wrong)?;
        self.draw(part, &figure, alt)
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.blocks.push(Block::Heading(text.into()));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.blocks.push(Block::Paragraph(text.into()));
    }

    pub(super) fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) {
        let header = header.iter().map(|cell| (*cell).to_owned()).collect();
        self.blocks.push(Block::Table { header, rows });
    }

    /// Writes `SLUG.md`. Returns the paths of all files of the figure.
    pub(super) fn write(
        mut self,
        title: &str,
        scale: Scale,
        provenance: Vec<(String, String)>,
    ) -> Result<Vec<PathBuf>> {
        self.blocks.insert(0, Block::Caveat(scale.caveat().into()));
        self.heading("Origin");
        self.blocks.push(Block::Facts(provenance));
        let document = Document { title: format!("{title}, {scale} scale"), blocks: self.blocks };
        let path = self.out.join(format!("{}.md", self.slug));
        write_atomically(&path, document.markdown().as_bytes())?;
        self.written.push(path);
        Ok(self.written)
    }
}
