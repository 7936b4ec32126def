//! `cargo xtask new KIND NAME`: the file, the registry line and the line in the test matrix of a new part. The result
//! compiles; the tests that fail then name what only its author knows.

mod parts;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::workspace::{cargo, output, root};

/// Options of `cargo xtask new`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to make.
    kind: Kind,
    /// Its name in recipes: lower-case letters, digits and hyphens (models: underscores), a letter first.
    name: String,
    /// Show what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A regulariser: a method that changes the direction of a step.
    Method,
    /// An optimiser of gnr-core.
    Optimizer,
    /// A schedule of the learning rate.
    Schedule,
    /// An architecture of gnr-models.
    Model,
    /// A data set.
    Dataset,
}

/// A name in its spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    /// Name in recipes: `my-method`, for models `my_net`.
    recipe: String,
    /// Name of files and modules: `my_method`.
    file: String,
    /// Name of types: `MyMethod`.
    kind: String,
}

impl Name {
    fn of(kind: Kind, text: &str) -> Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        let words: Vec<&str> = text.split(['-', '_']).collect();
        if !begins || !text.chars().all(good) || words.iter().any(|word| word.is_empty()) {
            bail!(
                "`{text}`: expected a name such as `my-part`: lower-case letters, digits and single hyphens, a letter first"
            );
        }
        let capital = |word: &&str| word[..1].to_ascii_uppercase() + &word[1..];
        let glue = if kind == Kind::Model { "_" } else { "-" };
        Ok(Self {
            recipe: words.join(glue),
            file: words.join("_"),
            kind: words.iter().map(capital).collect(),
        })
    }

    /// Fills the name into a template.
    fn fill(&self, template: &str) -> String {
        template
            .replace("{{name}}", &self.recipe)
            .replace("{{file}}", &self.file)
            .replace("{{Type}}", &self.kind)
    }
}

/// A line that is added to a list. Its place is before the first line `before` after the line that begins with `below`.
struct Line {
    path: &'static str,
    below: &'static str,
    before: &'static str,
    text: &'static str,
}

/// A kind of part: its file, the lines that name it, and the gaps that its author has to fill.
struct Part {
    path: &'static str,
    template: &'static str,
    lines: &'static [Line],
    package: &'static str,
    /// The kind in words, with an article.
    what: &'static str,
    /// Names of the tests that fail while something is missing.
    tests: &'static str,
    /// The gaps that make tests fail, in words for the author.
    truth: &'static [&'static str],
}

/// Makes the part.
///
/// # Errors
/// A name that is none or is taken, files of another shape than this command knows.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let name = Name::of(arguments.kind, &arguments.name)?;
    let part = parts::of(arguments.kind);
    let root = root();
    let read = |path: &str| {
        let path = root.join(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let files = plan(part, &name, &read, &|path| root.join(path).exists())?;
    for (path, text) in &files {
        println!("{}  {}", if arguments.dry_run { "would write" } else { "writes" }, path.display());
        if !arguments.dry_run {
            fs::write(root.join(path), text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if !arguments.dry_run {
        // Formatting sorts the modules and the imports.
        output(cargo(["fmt", "-p", part.package]))?;
    }
    println!("\nIt compiles, and is {} in name only. What is left to its author:", part.what);
    for truth in part.truth {
        println!("- {}", name.fill(truth));
    }
    println!(
        "Until then this fails and says what is missing: cargo test -p {} --test it -- {}",
        part.package, part.tests
    );
    println!("To undo it: {}", undo(&name.fill(part.path), files.keys()));
    Ok(())
}

/// The commands that take a part away again, before it is committed.
fn undo<'a>(new: &str, files: impl Iterator<Item = &'a PathBuf>) -> String {
    let changed: Vec<String> =
        files.map(|path| path.display().to_string()).filter(|path| path != new).collect();
    format!("rm {new} && git checkout -- {}", changed.join(" "))
}

/// The files of a new part, whole, by their paths.
fn plan(
    part: &Part,
    name: &Name,
    read: &dyn Fn(&str) -> Result<String>,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<BTreeMap<PathBuf, String>> {
    let path = PathBuf::from(name.fill(part.path));
    if exists(&path) {
        bail!("{} exists already: choose another name", path.display());
    }
    let mut files = BTreeMap::from([(path, name.fill(part.template))]);
    for line in part.lines {
        let path = PathBuf::from(line.path);
        let text = match files.get(&path) {
            Some(text) => text.clone(),
            None => read(line.path)?,
        };
        let joined = join(&text, line, name).with_context(|| format!("in {}", line.path))?;
        files.insert(path, joined);
    }
    Ok(files)
}

fn join(text: &str, line: &Line, name: &Name) -> Result<String> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = lines.iter().position(|other| other.starts_with(line.below));
    let begins =
        begins.with_context(|| format!("expected a line that begins with `{}`, found none", line.below))?;
    let after = &lines[begins + 1..];
    let end = after.iter().position(|other| other.trim_start() == line.before);
    let end =
        end.with_context(|| format!("expected a line `{}` below `{}`, found none", line.before, line.below))?;
    let new = name.fill(line.text);
    if lines.iter().any(|other| other.trim() == new.trim()) {
        bail!("`{}` is there already: choose another name", new.trim());
    }
    let end = begins + 1 + end;
    let joined = [&lines[..end], &new.lines().collect::<Vec<_>>(), &lines[end..]].concat().join("\n");
    Ok(parts::counted(joined + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(path: &str) -> Result<String> {
        Ok(fs::read_to_string(root().join(path))?)
    }

    #[test]
    fn names_have_three_spellings() {
        let name = Name::of(Kind::Method, "my-2nd-method").unwrap();
        assert_eq!(
            (&*name.recipe, &*name.file, &*name.kind),
            ("my-2nd-method", "my_2nd_method", "My2ndMethod")
        );
        assert_eq!(Name::of(Kind::Model, "my-net").unwrap().recipe, "my_net");
        for bad in ["", "2nd", "My", "a--b", "a-", "a b", "ä"] {
            assert!(
                Name::of(Kind::Method, bad).unwrap_err().to_string().contains("expected a name"),
                "{bad}"
            );
        }
    }

    /// Every kind fits the files as they are: whole, Rust, with one new line each.
    #[test]
    fn every_kind_joins_the_lists_as_they_are() {
        for kind in Kind::value_variants() {
            let (part, name) = (parts::of(*kind), Name::of(*kind, "zz-toy").unwrap());
            let files = plan(part, &name, &real, &|path| root().join(path).exists()).unwrap();
            assert_eq!(
                files.len(),
                1 + part.lines.iter().map(|line| line.path).collect::<std::collections::BTreeSet<_>>().len()
            );
            for (path, text) in &files {
                assert!(text.parse::<proc_macro2::TokenStream>().is_ok(), "{kind:?}: {}", path.display());
                assert!(
                    !["{{name}}", "{{file}}", "{{Type}}"].iter().any(|gap| text.contains(gap)),
                    "{kind:?}: {} has a gap",
                    path.display()
                );
                if let Ok(before) = real(&path.to_string_lossy()) {
                    let of_before =
                        before.lines().filter(|line| text.lines().any(|new| new == *line)).count();
                    // All but the line that counts the data sets.
                    assert!(
                        of_before + 1 >= before.lines().count(),
                        "{kind:?}: {} lost a line",
                        path.display()
                    );
                    assert!(text.contains("zz_toy") || text.contains("zz-toy") || text.contains("ZzToy"));
                }
            }
        }
    }

    #[test]
    fn undoing_leaves_the_lists_as_they_were() {
        let files = ["gnr-models/src/lib.rs", "gnr-models/src/zz_toy.rs"].map(PathBuf::from);
        let told = undo("gnr-models/src/zz_toy.rs", files.iter());
        assert_eq!(told, "rm gnr-models/src/zz_toy.rs && git checkout -- gnr-models/src/lib.rs");
    }

    #[test]
    fn what_is_taken_or_of_another_shape_is_refused() {
        let name = Name::of(Kind::Optimizer, "lion").unwrap();
        let taken = plan(parts::of(Kind::Optimizer), &name, &real, &|path| root().join(path).exists());
        assert!(taken.unwrap_err().to_string().contains("lion.rs exists already"));
        let other = plan(parts::of(Kind::Optimizer), &name, &|_| Ok("fn main() {}\n".into()), &|_| false);
        assert!(format!("{:#}", other.unwrap_err()).contains("expected a line that begins with"));
    }
}
