//! The report of a load, tensor by tensor, and its words.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::Serialize;

/// The results of a load, tensor by tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the file.
    pub file: String,
    /// Format of the file in words.
    pub format: String,
    /// The prefix of the names of the model's tensors in the file (`state_dict.module.`).
    pub prefix: String,
    /// The publisher whose names were translated, if they were not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed: Option<&'static str>,
    /// The wrappers that were taken off inside names, with the number of tensors: those of `torch.compile`, of
    /// checkpointing, of parallel training.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unwrapped: BTreeMap<String, usize>,
    /// Tensors that were taken from the file, in layout order; includes `reshaped` and `resampled`.
    pub matched: Vec<String>,
    /// Tensors taken with axes of length 1 added or removed.
    pub reshaped: Vec<Mismatch>,
    /// Position embeddings that were interpolated.
    pub resampled: Vec<Mismatch>,
    /// Position embeddings that were taken as the model's grid of patches, although as many patches could be a square.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
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
    /// The objects that were not read: `path: class` of Python objects, which were not called either, and `path: why`
    /// of tensors that could not be read.
    pub foreign: Vec<String>,
}

/// One tensor whose shape in the file is not the model's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Name of the tensor.
    pub name: String,
    /// Shape of the tensor in the model.
    pub expected: Vec<usize>,
    /// Shape of the tensor in the file.
    pub found: Vec<usize>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} from {:?}", self.name, self.expected, self.found)
    }
}

/// Largest number of classes that [`objects`] lists, and of characters in each of a line's two parts.
const LINES: usize = 20;
const WIDTH: usize = 100;

/// [`WeightFile::foreign`](super::WeightFile::foreign) in a few lines, with objects of one class on one line.
pub fn objects(foreign: &[String]) -> Vec<String> {
    let mut classes: Vec<(&str, &str, usize)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for line in foreign {
        let (path, class) = line.split_once(": ").unwrap_or((line, ""));
        let place = *places.entry(class).or_insert(classes.len());
        match classes.get_mut(place) {
            Some((_, _, count)) => *count += 1,
            None => classes.push((path, class, 1)),
        }
    }
    let mut lines: Vec<_> = (classes.iter().take(LINES))
        .map(|(path, class, count)| {
            let more = if *count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            let colon = if class.is_empty() { "" } else { ": " };
            format!("{}{more}{colon}{}", middle_out(path, WIDTH), middle_out(class, WIDTH))
        })
        .collect();
    if let Some(rest) = classes.get(LINES..).filter(|rest| !rest.is_empty()) {
        let objects: usize = rest.iter().map(|(_, _, count)| count).sum();
        lines.push(format!("and {objects} more of {} other classes", rest.len()));
    }
    lines
}

/// A text with its middle left out, if it is longer than `width` characters.
fn middle_out(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let half = (width - 1) / 2;
    let end: String = text.chars().skip(length - half).collect();
    text.chars().take(half).chain(['…']).chain(end.chars()).collect()
}

/// Number of names that a line of the report shows.
const SHOWN: usize = 4;

impl Report {
    /// Number of tensors of the model.
    pub fn total(&self) -> usize {
        self.matched.len() + self.new_head.len() + self.missing.len() + self.mismatched.len()
    }

    /// The report in lines: the number of tensors taken, then a line for each group that needed treatment or was left
    /// out.
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
        line(
            "assumed, for the file does not tell; resample_pos_embed interpolates from the square",
            self.assumed.clone(),
        );
        line("new head, freshly initialised", self.new_head.clone());
        line("missing, freshly initialised", self.missing.clone());
        line("of another shape, freshly initialised", words(&self.mismatched));
        line("not in the model, ignored", self.unexpected.clone());
        if !self.foreign.is_empty() {
            let classes = objects(&self.foreign);
            let shown = classes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            let more = if classes.len() > SHOWN { "; and more" } else { "" };
            lines.push(format!("Python objects, not read ({}): {shown}{more}", self.foreign.len()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_one_class_share_a_line() {
        let many: Vec<_> = (0..1000).map(|i| format!("history.{i}: numpy.float64")).collect();
        let foreign = [vec!["args: argparse.Namespace".to_owned()], many].concat();
        assert_eq!(
            objects(&foreign),
            ["args: argparse.Namespace", "history.0 (and 999 more): numpy.float64"]
        );
        let classes: Vec<_> = (0..50).map(|i| format!("x{i}: C{i}")).collect();
        let lines = objects(&classes);
        assert_eq!((lines.len(), lines[20].as_str()), (21, "and 30 more of 30 other classes"));
        let long = format!("{}: C", "é".repeat(5000));
        assert_eq!(objects(&[long])[0].chars().count(), 49 + 1 + 49 + 3);
        assert_eq!(objects(&["and 7 more objects".to_owned()]), ["and 7 more objects"]);
    }
}
