//! The report for the terminal.

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use super::Report;

fn table(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table.add_rows(rows);
    table.to_string()
}

impl Report<'_> {
    pub(in crate::reproduce) fn terminal(&self) -> String {
        let (header, rows) = self.accuracies();
        let (time_header, time_rows) = self.times();
        let mut text = format!(
            "{}\n{}\n\n{}\n\n{}\n{}\n\n{}\n{}\n{}\n",
            self.title(),
            self.plan.scale.caveat(),
            table(header, rows),
            table(Self::difference_header(), self.difference_rows()),
            self.conclusion(),
            table(time_header, time_rows),
            Self::time_caveat(),
            Self::product_caveat(),
        );
        for failure in self.failures {
            text += &format!("failed: {}: {}\n", failure.name, failure.reason);
        }
        text + Self::other_scales()
    }
}
