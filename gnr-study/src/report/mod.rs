//! A report as data. The files beside this one write it down for the terminal, as Markdown and as a page.

pub mod curves;
mod html;
mod markdown;
mod terminal;

pub(crate) use html::escaped;

use std::path::{Path, PathBuf};

use gnr_plot::Figure;

use gnr_train::write_atomically;

use crate::error::Result;

/// A number of things in words, with the plural in `s`: `1 seed`, `2 seeds`.
pub fn several(number: u64, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

/// A part of a report.
#[derive(Clone, Debug)]
pub enum Block {
    /// A heading below the title.
    Heading(String),
    /// A caveat that must be read first.
    Caveat(String),
    /// A paragraph of prose.
    Paragraph(String),
    /// A table of texts. Every row is as long as the header.
    Table {
        /// Names of the columns.
        header: Vec<String>,
        /// Rows from top to bottom.
        rows: Vec<Vec<String>>,
    },
    /// A legend: red, green and blue of each curve, and its name.
    Key(Vec<((u8, u8, u8), String)>),
    /// A drawing. Only the page shows it.
    Figure {
        /// The caption above the drawing.
        caption: String,
        /// An `svg` element.
        svg: String,
    },
    /// Names with their values.
    Facts(Vec<(String, String)>),
    /// A text that is shown as it is, such as a recipe or an error.
    Log {
        /// The title of the text.
        title: String,
        /// The text, line by line.
        text: String,
    },
}

/// A report: a title and what follows.
#[derive(Clone, Debug)]
pub struct Document {
    /// Title of the report.
    pub title: String,
    /// The parts of the report, in order.
    pub blocks: Vec<Block>,
}

impl Document {
    /// Writes `NAME.md` and `NAME.html` into a folder and returns their names.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<[String; 2]> {
        let names = [format!("{name}.md"), format!("{name}.html")];
        for (name, text) in names.iter().zip([self.markdown(), self.html()]) {
            write_atomically(&folder.join(name), text.as_bytes())?;
        }
        Ok(names)
    }
}

/// Writes `PREFIX.svg`, `.png`, `.figure.json` and, if asked, `.csv`. Returns their paths.
///
/// # Errors
/// A figure that cannot be drawn, files that cannot be written.
pub fn write_figure(figure: &Figure, prefix: &Path, csv: bool) -> Result<Vec<PathBuf>> {
    let drawn = gnr_plot::render(figure)?;
    let mut files = vec![("svg", drawn.svg.into_bytes()), ("png", drawn.png)];
    if csv {
        files.push(("csv", drawn.csv.into_bytes()));
    }
    files.push(("figure.json", (drawn.json + "\n").into_bytes()));
    let mut paths = Vec::new();
    for (extension, bytes) in files {
        let mut path = prefix.as_os_str().to_owned();
        path.push(format!(".{extension}"));
        let path = PathBuf::from(path);
        write_atomically(&path, &bytes)?;
        paths.push(path);
    }
    Ok(paths)
}
