//! The tuning of the methods in the report: the choices, the effort, and the caveats.

use std::collections::BTreeSet;

use crate::{
    compare::{choices::TunedIn, outcome::Comparison, tune::in_words},
    report::Block,
};

impl Comparison {
    /// Tries and choices as a table, and how much the choices can be relied on.
    pub(super) fn tuning_blocks(&self) -> Vec<Block> {
        if self.tuning.is_empty() {
            return Vec::new();
        }
        let settings = |index: usize| self.tuned_in.as_ref()?.settings.get(index);
        let rows = self.tuning.iter().enumerate().map(|(index, tuned)| {
            let best = tuned.tries.get(tuned.best);
            vec![
                tuned.arm.clone(),
                tuned.tries.len().to_string(),
                match settings(index) {
                    Some(settings) => in_words(settings),
                    None if tuned.failure.is_some() => "–".into(),
                    None => tuned.in_words(),
                },
                best.and_then(|best| best.mean())
                    .map_or_else(|| "–".into(), |mean| format!("{:.1}", 100.0 * mean)),
                tuned.tries.iter().filter(|one| one.collapsed).count().to_string(),
                tuned.tries.iter().filter(|one| one.val_accuracies.is_empty()).count().to_string(),
            ]
        });
        let header = ["method", "tries", "chosen", "validation %", "collapsed", "failed"];
        let mut blocks = vec![
            Block::Heading("Tuning".into()),
            Block::Table { header: header.map(String::from).to_vec(), rows: rows.collect() },
            Block::Paragraph(format!(
                "{}, on held-out training images, labels of held-out images noisy where those of the training images are. Seeds of \
                 tries are none of the comparison's, which trains on {}.",
                self.tries_in_words(),
                if self.holds_out() {
                    "the images that the recipe does not hold out (data.validation)"
                } else {
                    "all training images"
                }
            )),
        ];
        blocks.extend(self.finalists_in_words().map(Block::Paragraph));
        blocks.extend(self.tuned_in.iter().flat_map(TunedIn::blocks));
        let edges = self.tuning.iter().filter(|tuned| !tuned.at_edge.is_empty());
        let edges: Vec<String> =
            edges.map(|tuned| format!("{} ({})", tuned.arm, tuned.at_edge.join(", "))).collect();
        if !edges.is_empty() {
            blocks.push(Block::Caveat(format!(
                "Chosen at the edge of its grid, so that a wider one{} may find better: {}.",
                if self.tuned_in.is_some() { "" } else { " (--grid)" },
                edges.join("; ")
            )));
        }
        blocks
    }

    /// Whether the recipe itself holds training images out, so that the compared runs do not train on them either.
    fn holds_out(&self) -> bool {
        let recipe: toml::Table = self.recipe.parse().unwrap_or_default();
        let validation = recipe.get("data").and_then(|data| data.get("validation"));
        validation.and_then(toml::Value::as_float).is_some_and(|fraction| fraction > 0.0)
    }

    /// Whether the methods were tuned with the same effort: a small grid may have fewer points than tries were asked
    /// for.
    fn tries_in_words(&self) -> String {
        let counts: BTreeSet<usize> = self.tuning.iter().map(|tuned| tuned.tries.len()).collect();
        match (counts.first(), counts.last()) {
            (Some(least), Some(most)) if least != most => {
                format!("Methods had {least} to {most} tries, as many as their grids allow")
            }
            _ => "Every method had the same number of tries".into(),
        }
    }

    /// A paragraph about the best tries that were trained with more seeds; `None` if there are none.
    fn finalists_in_words(&self) -> Option<String> {
        let mut told = Vec::new();
        for tuned in self.tuning.iter().filter(|tuned| !tuned.finalists.is_empty()) {
            let seeds = |index: &usize| tuned.tries[*index].val_accuracies.len();
            let whole = tuned.finalists.iter().filter(|index| seeds(index) > 0).count();
            let most = tuned.finalists.iter().map(seeds).max().unwrap_or_default();
            let failed = match tuned.finalists.len() - whole {
                0 => String::new(),
                n => format!(", {n} more failed"),
            };
            let tries = if whole == 1 { "try" } else { "tries" };
            told.push(format!("{}: {whole} {tries} with {most} seeds{failed}", tuned.arm));
        }
        (!told.is_empty()).then(|| {
            format!(
                "The best tries were trained with more seeds, and the choice among them is by the mean over all their seeds ({}).",
                told.join("; ")
            )
        })
    }
}

impl TunedIn {
    /// The origin of the choices, and the differences to that comparison.
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Paragraph(format!(
            "Nothing was tuned for this comparison: tries and choices are those of `{}` ({}, {}). Every method has the learning rate, \
             the weight decay and the strengths that it had there.",
            self.command, self.program, self.path
        ))];
        if !self.differences.is_empty() {
            blocks.push(Block::Caveat(format!(
                "The methods were tuned elsewhere, so that other settings may be better here. That comparison differs in {}.",
                self.differences.join("; ")
            )));
        }
        blocks
    }
}
