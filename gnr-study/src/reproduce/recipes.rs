//! The files under `recipes/paper` and `recipes/small`, one for each row of Tables 1 to 3, written from the same plan
//! that [`ReproduceRequest`](super::ReproduceRequest) trains.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gnr_train::write_atomically;

use super::data;
use super::plan::{Case, METHODS, Method, Net, Plan, Product, Scale, Start, Table};
use super::recipe::{self, Placement};
use crate::error::{Result, StudyError, io};

/// The scales with their folders, which hold nothing else.
const FOLDERS: [(Scale, &str); 2] = [(Scale::Paper, "paper"), (Scale::Small, "small")];

/// Writes the recipes below `root` and removes other files. Returns the numbers of all recipes and of changed files.
///
/// # Errors
/// Files that cannot be read, written or removed.
pub fn write_recipes(root: &Path) -> Result<(usize, usize)> {
    let expected = expected()?;
    let wrong = differing(root, &expected)?;
    for path in &wrong {
        let full = root.join(path);
        match expected.get(path) {
            Some(text) => {
                let parent = full.parent().unwrap_or(root);
                std::fs::create_dir_all(parent).map_err(io(parent, "create"))?;
                write_atomically(&full, text.as_bytes())?;
            }
            None => std::fs::remove_file(&full).map_err(io(&full, "remove"))?,
        }
    }
    Ok((expected.len(), wrong.len()))
}

/// Checks that the recipes below `root` are those of the plan. Returns their number.
///
/// # Errors
/// Files that lack, differ, or should not be there.
pub fn check_recipes(root: &Path) -> Result<usize> {
    let expected = expected()?;
    let wrong = differing(root, &expected)?;
    if wrong.is_empty() {
        return Ok(expected.len());
    }
    let shown: Vec<String> = wrong.iter().map(|path| path.display().to_string()).collect();
    Err(StudyError::Request(format!(
        "{}: not what the plan says; run `cargo xtask recipes`",
        shown.join(", ")
    )))
}

/// Files that lack, differ, or should not be there.
fn differing(root: &Path, expected: &BTreeMap<PathBuf, String>) -> Result<Vec<PathBuf>> {
    let mut wrong: Vec<PathBuf> = expected
        .iter()
        .filter(|(path, text)| std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(*text))
        .map(|(path, _)| path.clone())
        .collect();
    for (_, folder) in FOLDERS {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let name = entry.map_err(io(root, "list"))?.file_name();
            let path = Path::new(folder).join(name);
            if !expected.contains_key(&path) {
                wrong.push(path);
            }
        }
    }
    Ok(wrong)
}

/// The text of each recipe, by its path below `recipes/`.
fn expected() -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for (scale, folder) in FOLDERS {
        for table in [Table::One, Table::Two, Table::Three] {
            for net in Plan::table(table, scale, 1).nets {
                let path = Path::new(folder).join(format!("{}.toml", stem(table, &net)));
                if files.insert(path.clone(), text(table, scale, &net)?).is_some() {
                    return Err(StudyError::Request(format!("two rows are called {}", path.display())));
                }
            }
        }
    }
    Ok(files)
}

fn stem(table: Table, net: &Net) -> String {
    format!("{}-{}", table.slug(), net.slug().replace('/', "-"))
}

/// The method of the files as they are: the paper's.
const OWN: Method = METHODS[1];

fn text(table: Table, scale: Scale, net: &Net) -> Result<String> {
    let base = net.optimizer.title();
    let of = net.stands_for.map_or(String::new(), |row| format!(", standing in for {row}"));
    let mut text = format!(
        "# {}, {scale} scale: {}{of}, {}.\n# The other methods: add\n",
        table.title(),
        net.heading(),
        OWN.title(base)
    );
    for method in METHODS.into_iter().filter(|method| *method != OWN) {
        let sets: Vec<String> =
            assignments(method).iter().map(|(key, value)| format!("--set {key}={value}")).collect();
        text += &format!("#   {:<24} {}\n", method.title(base), sets.join(" "));
    }
    let file = |net: &Net| match net.start {
        Start::Weights(file) => Some(Path::new("data/weights").join(file)),
        Start::Random | Start::OwnPretraining => None,
    };
    let (dir, weights) = (data::folder(net.dataset).map(|folder| Path::new("data").join(folder)), file(net));
    let place = Placement { data: dir.as_deref(), weights: weights.as_deref() };
    let mut recipe = recipe::table(net, &Case { net: 0, method: OWN, seed: 0 }, place);
    recipe.insert("name".into(), stem(table, net).into());
    Ok(text + "\n" + &recipe::written(&recipe)?)
}

/// The assignments for `gnr train --set` that turn the file's method into another one.
fn assignments(method: Method) -> Vec<(&'static str, &'static str)> {
    let mut sets = Vec::new();
    if method.sam {
        sets.push(("method.sam.rho", "0.05"));
    }
    match method.gnr.map(|gnr| gnr.product) {
        None => sets.push(("method.gnr", "false")),
        Some(Product::Exact) => {}
        Some(Product::FiniteDifference) => {
            sets.extend([("method.gnr.hvp", "\"forward-difference\""), ("method.gnr.step", "0.001")]);
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_what_the_plan_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
        assert_eq!(check_recipes(&root).unwrap(), expected().unwrap().len());
    }

    #[test]
    fn what_differs_is_named_and_mended() {
        let root = tempfile::tempdir().unwrap();
        let (all, written) = write_recipes(root.path()).unwrap();
        assert!(all > 20 && written == all, "{written} of {all}");
        assert_eq!(write_recipes(root.path()).unwrap(), (all, 0));
        std::fs::write(root.path().join("small/mine.toml"), "").unwrap();
        let error = check_recipes(root.path()).unwrap_err().to_string();
        assert!(error.starts_with("small/mine.toml: not what the plan says"), "{error}");
        assert_eq!(write_recipes(root.path()).unwrap(), (all, 1));
        assert_eq!(check_recipes(root.path()).unwrap(), all);
    }

    /// `section.key=value` on a table, as `gnr` does it.
    fn set(table: &mut toml::Table, path: &str, value: &str) {
        let value = format!("v = {value}").parse::<toml::Table>().unwrap().remove("v").unwrap();
        let keys: Vec<&str> = path.split('.').collect();
        let mut at = table;
        for key in &keys[..keys.len() - 1] {
            let entry = at.entry(*key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if !entry.is_table() {
                *entry = toml::Value::Table(toml::Table::new());
            }
            at = entry.as_table_mut().unwrap();
        }
        at.insert(keys[keys.len() - 1].to_owned(), value);
    }

    #[test]
    fn with_their_assignments_they_are_every_method_of_the_plan() {
        for (scale, _) in FOLDERS {
            for table in [Table::One, Table::Two, Table::Three] {
                for net in Plan::table(table, scale, 1).nets {
                    let written: toml::Table = text(table, scale, &net).unwrap().parse().unwrap();
                    for method in METHODS {
                        let mut file = written.clone();
                        for (key, value) in assignments(method) {
                            set(&mut file, key, value);
                        }
                        let case = Case { net: 0, method, seed: 0 };
                        let planned = recipe::toml(&net, &case, Placement::default()).unwrap();
                        let mut planned: toml::Table = planned.parse().unwrap();
                        // Name and places are no part of what is trained.
                        for table in [&mut file, &mut planned] {
                            table.remove("name");
                            table["data"].as_table_mut().unwrap().remove("dir");
                            let model = table["model"].as_table_mut().unwrap();
                            model.remove("weights");
                            model.remove("load");
                        }
                        assert_eq!(file, planned, "{} {method:?}", net.heading());
                    }
                }
            }
        }
    }
}
