//! Selection of images and of a network's tensors.

use std::{str::FromStr, sync::Arc};

use gnr_data::{Dataset, Subset};
use gnr_nn::Layout;

use crate::{
    data::of_key,
    error::{Result, TrainError},
    select::matches,
};

/// A part of a data set, given as text. `2000` is a stratified sample with seed 0. `200-per-class` is the first 200 of
/// each class in the data set's order, which in image folders is that of file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// So many images, drawn with seed 0, each class in proportion.
    Count(usize),
    /// The first so many images of each class.
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
    /// The part of `whole`.
    ///
    /// # Errors
    /// A data set, or a class, with too few images.
    pub fn of(self, whole: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        let part = match self {
            Self::Count(count) => Subset::sample(whole, count, 0),
            Self::FirstPerClass(count) => Subset::first_per_class(whole, count),
        };
        Ok(Arc::new(part.map_err(|error| of_key("a subset", error.into()))?))
    }
}

/// Marks the parameter tensors whose names match one of the patterns, in layout order. Patterns are those of
/// `model.freeze`: `layer3` is everything in that module, and `*` stands for any characters.
///
/// # Errors
/// A pattern that matches nothing; the error lists the names.
pub fn choose(layout: &Layout, patterns: &[String]) -> Result<Vec<bool>> {
    let names: Vec<&str> = layout.parameters().map(|entry| entry.name.as_str()).collect();
    for pattern in patterns {
        if !names.iter().any(|name| matches(pattern, name)) {
            return Err(TrainError::Layers { pattern: pattern.clone(), names: names.join(", ") });
        }
    }
    Ok(names.iter().map(|name| patterns.iter().any(|pattern| matches(pattern, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        assert_eq!("2000".parse(), Ok(Sample::Count(2000)));
        assert_eq!("200-per-class".parse(), Ok(Sample::FirstPerClass(200)));
        for wrong in ["", "0", "x", "-per-class", "0-per-class", "200-per-clas"] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
