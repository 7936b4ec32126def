//! The report as Markdown.

use super::{Block, Document};

fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        // A line break would end the row.
        let cell = |cell: &String| cell.trim().replace('|', "\\|").lines().collect::<Vec<_>>().join("<br>");
        let cells: Vec<String> = cells.iter().map(cell).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    line(header) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

impl Document {
    /// The report as Markdown, without its figures.
    pub fn markdown(&self) -> String {
        let mut parts = vec![format!("# {}\n", self.title)];
        for block in &self.blocks {
            match block {
                Block::Heading(heading) => parts.push(format!("## {heading}\n")),
                Block::Caveat(words) => parts.push(format!("**{words}**\n")),
                Block::Paragraph(words) => parts.push(format!("{words}\n")),
                Block::Table { header, rows } => parts.push(table(header, rows)),
                Block::Key(_) | Block::Figure { .. } => {}
                Block::Facts(facts) => {
                    parts.push(facts.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect())
                }
                Block::Log { title, text } => parts.push(format!("{title}\n\n```text\n{text}\n```\n")),
            }
        }
        parts.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_two_lines_is_one_row() {
        let text = table(&["run".into(), "reason".into()], &[vec!["a|b".into(), "one\ntwo\n".into()]]);
        assert_eq!(text, "| run | reason |\n|---|---|\n| a\\|b | one<br>two |\n");
    }
}
