//! The report for the terminal.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{Block, Document};

impl Document {
    /// The report as text with drawn tables, without its figures.
    pub fn terminal(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for block in &self.blocks {
            match block {
                Block::Heading(heading) => text += &format!("\n{heading}\n"),
                Block::Caveat(words) | Block::Paragraph(words) => text += &format!("{words}\n"),
                Block::Table { header, rows } => {
                    let mut table = Table::new();
                    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
                    table.set_content_arrangement(ContentArrangement::Dynamic);
                    table.add_rows(rows);
                    text += &format!("{table}\n");
                }
                Block::Key(_) | Block::Figure { .. } => {}
                Block::Facts(facts) => {
                    for (name, value) in facts {
                        text += &format!("{name}: {value}\n");
                    }
                }
                Block::Log { title, text: words } => text += &format!("{title}\n{words}\n"),
            }
        }
        text
    }
}
