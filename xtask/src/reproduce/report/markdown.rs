//! The report as Markdown.

use super::Report;

fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    line(header) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

impl Report<'_> {
    pub(in crate::reproduce) fn markdown(&self) -> String {
        let (header, rows) = self.accuracies();
        let (time_header, time_rows) = self.times();
        let mut text = format!(
            "# {}\n\n**{}**\n\n{}\nMean ± sample standard deviation over seeds. {}\n\n## Differences to the base method, same \
             seeds\n\n{}\n{}\n\n## Time\n\n{}\n{}\n\n## Origin\n\n",
            self.title(),
            self.plan.scale.caveat(),
            table(&header, &rows),
            Self::product_caveat(),
            table(&Self::difference_header(), &self.difference_rows()),
            self.conclusion(),
            table(&time_header, &time_rows),
            Self::time_caveat(),
        );
        for (name, value) in self.provenance() {
            text += &format!("- {name}: {value}\n");
        }
        for failure in self.failures {
            text += &format!("\nFailed: {}\n\n```text\n{}\n```\n", failure.name, failure.reason);
        }
        text + &format!("\n{}\n", Self::other_scales())
    }
}
