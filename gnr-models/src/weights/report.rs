//! What a load found, tensor by tensor, and how it is told.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// What a load found, tensor by tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// Its format in words.
    pub format: String,
    /// What stood before the names of the model's tensors in the file (`state_dict.module.`).
    pub prefix: String,
    /// Whose names were translated, when they were not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed: Option<&'static str>,
    /// What was taken off inside their names, with the number of tensors: wrappers of `torch.compile`, of checkpointing, of
    /// parallel training.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unwrapped: BTreeMap<String, usize>,
    /// Tensors that were taken from the file, in layout order; those of the next two lists too.
    pub matched: Vec<String>,
    /// Tensors taken with axes of length 1 added or removed.
    pub reshaped: Vec<Mismatch>,
    /// Position embeddings that were interpolated.
    pub resampled: Vec<Mismatch>,
    /// Tensors of a new head, which keep their initial values.
    pub new_head: Vec<String>,
    /// Tensors of the model that the file lacks.
    pub missing: Vec<String>,
    /// Tensors whose shapes differ.
    pub mismatched: Vec<Mismatch>,
    /// Tensors of the file that the model does not have, sorted (PyTorch's bookkeeping is not mentioned).
    pub unexpected: Vec<String>,
    /// Number of tensors outside the subtree that was read: an optimiser's state, a moving average.
    pub elsewhere: usize,
    /// `path: class` of the Python objects in the file that were neither read nor called, and `path: why` of tensors that could
    /// not be read.
    pub foreign: Vec<String>,
}

/// One tensor whose shape in the file is not the model's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The tensor.
    pub name: String,
    /// Its shape in the model.
    pub expected: Vec<usize>,
    /// Its shape in the file.
    pub found: Vec<usize>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} from {:?}", self.name, self.expected, self.found)
    }
}

/// How many names a line of the report shows.
const SHOWN: usize = 4;

impl Report {
    /// Tensors that the model has.
    pub fn total(&self) -> usize {
        self.matched.len() + self.new_head.len() + self.missing.len() + self.mismatched.len()
    }

    /// The report in lines: what was taken, then a line for everything that was not simply taken.
    pub fn lines(&self) -> Vec<String> {
        let mut first =
            format!("{} ({}): {} of {} tensors", self.file, self.format, self.matched.len(), self.total());
        if !self.prefix.is_empty() {
            first.push_str(&format!(", found under `{}`", self.prefix.trim_end_matches('.')));
        }
        if let Some(publisher) = self.renamed {
            first.push_str(&format!(", names translated ({publisher})"));
        }
        for (wrapper, count) in &self.unwrapped {
            first.push_str(&format!(", `{wrapper}` taken off {count} names"));
        }
        let mut lines = vec![first];
        let mut line = |what: &str, names: Vec<String>| {
            if !names.is_empty() {
                let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
                let more = names.len().saturating_sub(SHOWN);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                lines.push(format!("{what} ({}): {shown}{more}", names.len()));
            }
        };
        let words = |list: &[Mismatch]| list.iter().map(Mismatch::to_string).collect::<Vec<_>>();
        line("reshaped", words(&self.reshaped));
        line("interpolated", words(&self.resampled));
        line("new head, freshly initialised", self.new_head.clone());
        line("missing, freshly initialised", self.missing.clone());
        line("of another shape, freshly initialised", words(&self.mismatched));
        line("not in the model, ignored", self.unexpected.clone());
        line("Python objects, not read", self.foreign.clone());
        if self.elsewhere > 0 {
            lines.push(format!("elsewhere in the file, ignored: {} tensors", self.elsewhere));
        }
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n  "))
    }
}
