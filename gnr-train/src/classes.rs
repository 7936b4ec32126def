//! The logits of a data set's classes in models that have more classes than the data.

use std::{collections::HashMap, fs, path::Path, str::FromStr};

use crate::error::{Result, TrainError, io};

/// The way to find the classes of a data set among a model's logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassMap {
    /// Classes are named by WordNet ids (`n01440764`), as the folders of ImageNet are.
    ImageNet,
    /// Classes are named by the index of their logit (`243`).
    Index,
    /// A text file with a line for each logit, in order, with the class's name; or with lines `NAME INDEX`, separated
    /// by a tab or a space. With spaces, lines that are names of the data's classes as they are (`Audi S4 2012`) are
    /// names without an index.
    File(String),
}

impl FromStr for ClassMap {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "imagenet" => Self::ImageNet,
            "index" => Self::Index,
            file => Self::File(file.to_owned()),
        })
    }
}

impl ClassMap {
    /// The index of each class's logit.
    ///
    /// # Errors
    /// A class that is not in the map, or whose logit the model does not have; two classes with one logit; a file that
    /// cannot be read or is not a map.
    pub fn resolve(&self, classes: &[String], logits: usize) -> Result<Vec<usize>> {
        let refuse = |problem: String| TrainError::ClassMap { map: self.name().to_owned(), problem };
        let known: HashMap<String, usize> = match self {
            Self::ImageNet => gnr_data::imagenet_wnids().map(str::to_owned).zip(0..).collect(),
            Self::Index => HashMap::new(),
            Self::File(path) => {
                let text = fs::read_to_string(path).map_err(io(Path::new(path), "read"))?;
                parse(&text, classes).map_err(refuse)?
            }
        };
        let mut taken: HashMap<usize, &str> = HashMap::new();
        let mut map = Vec::with_capacity(classes.len());
        for class in classes {
            let index = match self {
                Self::Index => class.parse().ok(),
                _ => known.get(class).copied(),
            };
            let index =
                index.ok_or_else(|| refuse(format!("class `{class}` of the data is not in the map")))?;
            if index >= logits {
                return Err(refuse(format!("class `{class}` is logit {index}, but the model has {logits}")));
            }
            if let Some(other) = taken.insert(index, class) {
                return Err(refuse(format!("classes `{other}` and `{class}` are both logit {index}")));
            }
            map.push(index);
        }
        Ok(map)
    }

    fn name(&self) -> &str {
        match self {
            Self::ImageNet => "imagenet",
            Self::Index => "index",
            Self::File(path) => path,
        }
    }
}

/// The first place at which two lists of classes differ, with both names in words; `None` if the lists are equal.
/// `first` and `second` begin with the owner of the list.
pub(crate) fn difference(first: (&str, &[String]), second: (&str, &[String])) -> Option<String> {
    let length = first.1.len().max(second.1.len());
    let place = (0..length).find(|&place| first.1.get(place) != second.1.get(place))?;
    let named = |(owner, classes): (&str, &[String])| match classes.get(place) {
        Some(class) => format!("`{class}` in {owner}"),
        None => format!("absent in {owner} ({} classes)", classes.len()),
    };
    Some(format!("class {place} is {}, but {}", named(first), named(second)))
}

/// Parses lines `NAME` (in the order of the logits) or `NAME INDEX`; empty lines and `#` comments are skipped.
///
/// Lines are `NAME INDEX` if all of them end in a number. They are names, however, if one of them is a name in
/// `classes` as it is, unless all of them have a tab before the number.
pub(crate) fn parse(text: &str, classes: &[String]) -> std::result::Result<HashMap<String, usize>, String> {
    let text = text.trim_start_matches('\u{feff}'); // an editor's byte-order mark
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let lines: Vec<_> = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
    let explicit = |line: &str| {
        let (name, index) = line.rsplit_once(char::is_whitespace)?;
        Some((name.trim().to_owned(), index.parse::<usize>().ok()?))
    };
    let tabbed = |line: &str| {
        line.rsplit_once(char::is_whitespace).is_some_and(|(name, _)| line[name.len()..].starts_with('\t'))
    };
    let whole = lines.iter().any(|(_, line)| classes.iter().any(|class| class == line));
    let all_explicit = lines.iter().all(|(_, line)| explicit(line).is_some() && (!whole || tabbed(line)));
    let mut map = HashMap::new();
    for (position, (number, line)) in lines.into_iter().enumerate() {
        let (name, index) = match explicit(line) {
            Some(entry) if all_explicit => entry,
            _ => (line.to_owned(), position),
        };
        if map.insert(name.clone(), index).is_some() {
            return Err(format!("line {number}: `{name}` is there twice"));
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn imagenet_is_the_sorted_list_of_a_thousand() {
        let ids: Vec<_> = gnr_data::imagenet_wnids().collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 9 && id.starts_with('n')));
        // Known indices: tench, English springer, parachute.
        let found = ClassMap::ImageNet.resolve(&names(&["n01440764", "n02102040", "n03888257"]), 1000);
        assert_eq!(found.unwrap(), [0, 217, 701]);
    }

    #[test]
    fn indices_and_files() {
        assert_eq!(ClassMap::Index.resolve(&names(&["243", "7"]), 1000).unwrap(), [243, 7]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.txt");
        let map = ClassMap::File(path.display().to_string());
        fs::write(&path, "# in the order of logits\ncat\ndog\ngreat white shark\n").unwrap();
        assert_eq!(map.resolve(&names(&["great white shark", "cat"]), 3).unwrap(), [2, 0]);
        fs::write(&path, "cat 5\n\ngreat white shark 2\n").unwrap();
        assert_eq!(map.resolve(&names(&["great white shark", "cat"]), 6).unwrap(), [2, 5]);
    }

    #[test]
    fn names_may_end_in_a_number() {
        let cars = names(&["Audi S4 2007", "Audi S4 2012", "BMW M3 2012"]);
        let order = parse("BMW M3 2012\nAudi S4 2012\nAudi S4 2007\nRam 2009\n", &cars).unwrap();
        assert_eq!(cars.iter().map(|car| order[car]).collect::<Vec<_>>(), [2, 1, 0]);
        let indices = parse("BMW M3 2012\t9\nAudi S4 2012\t4\nAudi S4 2007\t7\n", &cars).unwrap();
        assert_eq!(cars.iter().map(|car| indices[car]).collect::<Vec<_>>(), [7, 4, 9]);
        // Without a name of the data among the lines, a space separates name and index.
        let indices = parse("BMW M3 2012 9\nAudi S4 2012 4\nAudi S4 2007 7\n", &cars).unwrap();
        assert_eq!(cars.iter().map(|car| indices[car]).collect::<Vec<_>>(), [7, 4, 9]);
    }

    #[test]
    fn the_first_difference_of_two_lists_is_named() {
        let told = |a: &[&str], b: &[&str]| difference(("the run", &names(a)), ("the data", &names(b)));
        assert_eq!(told(&["cat", "dog"], &["cat", "dog"]), None);
        let text = told(&["cat", "dog"], &["cat", "emu"]).unwrap();
        assert_eq!(text, "class 1 is `dog` in the run, but `emu` in the data");
        let text = told(&["cat", "dog"], &["cat"]).unwrap();
        assert_eq!(text, "class 1 is `dog` in the run, but absent in the data (1 classes)");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |map: &ClassMap, classes: &[&str], logits| {
            map.resolve(&names(classes), logits).unwrap_err().to_string()
        };
        let text = error(&ClassMap::ImageNet, &["tench"], 1000);
        assert_eq!(text, "class map `imagenet`: class `tench` of the data is not in the map");
        let text = error(&ClassMap::Index, &["12"], 10);
        assert!(text.contains("logit 12, but the model has 10"), "{text}");
        let text = error(&ClassMap::Index, &["1", "01"], 10);
        assert!(text.contains("`1` and `01` are both logit 1"), "{text}");
        assert!(error(&ClassMap::File("absent.txt".into()), &["1"], 10).contains("absent.txt"));
    }
}
