//! Which images, and which tensors of a network.

use std::{str::FromStr, sync::Arc};

use gnr_data::{Dataset, Subset};
use gnr_nn::Layout;

use crate::error::{Result, TrainError};

/// A part of a data set, as text: `2000` (a stratified sample, seed 0) or `200-per-class` (the first 200 of each class, in the
/// data set's order, which is that of file names in image folders).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// So many images, each class in proportion, drawn with seed 0.
    Count(usize),
    /// The first so many of each class.
    FirstPerClass(usize),
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, per_class) = match text.strip_suffix("-per-class") {
            Some(number) => (number, true),
            None => (text, false),
        };
        match number.parse() {
            Ok(count) if count > 0 && per_class => Ok(Self::FirstPerClass(count)),
            Ok(count) if count > 0 => Ok(Self::Count(count)),
            _ => Err("expected a number of images, as in 2000 or 200-per-class".into()),
        }
    }
}

impl Sample {
    /// The part.
    ///
    /// # Errors
    /// A data set, or a class, with fewer images.
    pub fn of(self, whole: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(match self {
            Self::Count(count) => Subset::sample(whole, count, 0)?,
            Self::FirstPerClass(count) => Subset::first_per_class(whole, count)?,
        }))
    }
}

/// The parameter tensors whose name fits one of the patterns, in layout order. `*` stands for any text: `layer3.*`,
/// `*.weight`; a pattern also fits everything below the module it names, so `layer3` is `layer3.*`.
///
/// # Errors
/// A pattern that fits nothing, with the names there are.
pub fn choose(layout: &Layout, patterns: &[String]) -> Result<Vec<bool>> {
    let names: Vec<&str> = layout.parameters().map(|entry| entry.name.as_str()).collect();
    let matches = |pattern: &str, name: &str| fits(pattern, name) || fits(&format!("{pattern}.*"), name);
    for pattern in patterns {
        if !names.iter().any(|name| matches(pattern, name)) {
            return Err(TrainError::Layers { pattern: pattern.clone(), names: names.join(", ") });
        }
    }
    Ok(names.iter().map(|name| patterns.iter().any(|pattern| matches(pattern, name))).collect())
}

/// Whether `text` is the pattern with every `*` replaced by some text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The first place leaves the most for what follows.
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("fc.weight", "fc.weight", true),
            ("fc", "fc.weight", false),
            ("fc*", "fc.weight", true),
            ("*.weight", "layer1.0.conv1.weight", true),
            ("layer1.*.conv1.*", "layer1.0.conv1.weight", true),
            ("layer1.*.conv2.*", "layer1.0.conv1.weight", false),
            ("*a*a", "ba", false),
            ("*", "", true),
            ("a*", "ba", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn samples() {
        assert_eq!("2000".parse(), Ok(Sample::Count(2000)));
        assert_eq!("200-per-class".parse(), Ok(Sample::FirstPerClass(200)));
        for wrong in ["", "0", "x", "-per-class", "0-per-class", "200-per-clas"] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
