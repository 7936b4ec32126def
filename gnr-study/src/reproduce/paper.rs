//! The paper's own numbers (`gnr-study/paper.toml`), each with the words from which it is taken.

use serde::Deserialize;

use super::plan::{Method, Net};
use crate::error::{Result, StudyError};

/// The contents of the checked-in file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paper {
    value: Vec<Value>,
    claim: Vec<Claim>,
}

/// A row of a table: accuracies in per cent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    table: String,
    dataset: String,
    model: String,
    methods: Vec<String>,
    means: Vec<f64>,
    #[serde(default)]
    stds: Vec<f64>,
    quote: String,
}

/// A sentence of the paper about a table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    table: String,
    quote: String,
}

impl Paper {
    /// Reads the checked-in file.
    ///
    /// # Errors
    /// A checked-in file that is not of this form.
    pub(super) fn read() -> Result<Self> {
        toml::from_str(include_str!("../../paper.toml")).map_err(|error| StudyError::File {
            path: "gnr-study/paper.toml".into(),
            problem: error.to_string(),
        })
    }

    fn row(&self, table: &str, net: &Net) -> Option<&Value> {
        self.value.iter().find(|value| {
            (value.table.as_str(), value.dataset.as_str(), value.model.as_str())
                == (table, net.dataset.slug(), net.model)
        })
    }

    /// The words of the paper's text from which a row is taken.
    pub(super) fn quote(&self, table: &str, net: &Net) -> Option<&str> {
        Some(self.row(table, net)?.quote.as_str())
    }

    /// The accuracy of a cell, as in `76.05 ± 0.12`; `None` where the paper's text lacks the cell.
    pub(super) fn accuracy(&self, table: &str, net: &Net, method: Method) -> Option<String> {
        let slug = method.slug(net.optimizer.title());
        let value = self.row(table, net)?;
        let index = value.methods.iter().position(|method| *method == slug)?;
        let mean = value.means.get(index)?;
        Some(match value.stds.get(index) {
            Some(std) => format!("{mean:.2} ± {std:.2}"),
            None => format!("{mean:.2}"),
        })
    }

    /// The claims of the paper's text about a table.
    pub(super) fn claims(&self, table: &str) -> Vec<&str> {
        let of = self.claim.iter().filter(|claim| claim.table == table);
        of.map(|claim| claim.quote.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::plan::{METHODS, Plan, Scale, Table};
    use super::*;

    #[test]
    fn every_number_is_in_its_quote() {
        let paper = Paper::read().unwrap();
        for value in &paper.value {
            assert_eq!(value.methods.len(), value.means.len());
            assert!(value.stds.is_empty() || value.stds.len() == value.means.len());
            for number in value.means.iter().chain(&value.stds) {
                assert!(value.quote.contains(&format!("{number:.2}")), "{number} of {value:?}");
            }
        }
    }

    /// The paper lies in a folder `shared` beside the repository, or where `GNR_SHARED` points.
    #[test]
    #[ignore = "needs ../shared/paper.md"]
    fn every_quote_is_in_the_paper() {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
        let shared = std::env::var_os("GNR_SHARED").map_or_else(beside, PathBuf::from);
        let text = std::fs::read_to_string(shared.join("paper.md")).unwrap();
        let paper = Paper::read().unwrap();
        let quotes = paper.value.iter().map(|v| &v.quote).chain(paper.claim.iter().map(|c| &c.quote));
        for quote in quotes {
            assert!(text.contains(quote.as_str()), "{quote}");
        }
    }

    #[test]
    fn every_row_of_tables_2_and_3_has_its_numbers() {
        let paper = Paper::read().unwrap();
        for table in [Table::Two, Table::Three] {
            for net in Plan::table(table, Scale::Paper, 1).nets {
                let of = |method| paper.accuracy(table.slug(), &net, method);
                assert!(of(METHODS[0]).is_some() && of(METHODS[4]).is_some(), "{}", net.heading());
                assert_eq!(of(METHODS[2]), None, "the paper has no finite differences");
            }
        }
        let small = &Plan::table(Table::Two, Scale::Small, 1).nets[0];
        assert_eq!(paper.accuracy("table2", small, METHODS[0]), None, "another net on other data");
    }
}
