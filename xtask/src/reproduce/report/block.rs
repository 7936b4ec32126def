//! A report as data: what [`terminal`](super::terminal), [`markdown`](super::markdown) and [`html`](super::html) write down.

/// A part of a report.
#[derive(Clone, Debug)]
pub(in crate::reproduce) enum Block {
    Heading(String),
    /// What must be read first.
    Caveat(String),
    Paragraph(String),
    Table {
        header: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// What the colours of the figures mean.
    Key(Vec<((u8, u8, u8), String)>),
    /// A drawing; only the page shows it.
    Figure {
        caption: String,
        svg: String,
    },
    /// Names and what belongs to them.
    Facts(Vec<(String, String)>),
    /// A program's words.
    Log {
        title: String,
        text: String,
    },
}

/// A report: a title and what follows.
#[derive(Clone, Debug)]
pub(in crate::reproduce) struct Document {
    pub(in crate::reproduce) title: String,
    pub(in crate::reproduce) blocks: Vec<Block>,
}
