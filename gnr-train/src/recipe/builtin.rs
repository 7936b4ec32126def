//! The recipes that are part of the program: the files of `recipes/` at the root of the repository.

use super::{Recipe, RecipeError, beginning};

/// A recipe that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name of the recipe.
    pub name: &'static str,
    /// The TOML text.
    pub text: &'static str,
}

macro_rules! builtins {
    ($($name:literal),+ $(,)?) => {
        /// Every built-in recipe, in the order of listings; the demonstration on noisy digits is the first.
        pub const BUILTIN: &[Builtin] = &[
            $(Builtin { name: $name, text: include_str!(concat!("../../recipes/", $name, ".toml")) }),+
        ];
    };
}

builtins![
    "digits-noisy",
    "digits",
    "fashion-mnist-lenet",
    "cifar10-resnet20-sgd",
    "cifar10-resnet20-sgd-gnr",
    "cifar10-resnet20-sam",
    "cifar10-resnet20-sam-gnr",
    "cifar10-resnet18",
    "cifar100-resnet18",
];

impl Builtin {
    /// The first comment of the text, as a summary in one line.
    pub fn summary(&self) -> &'static str {
        self.text.lines().next().map_or("", |line| line.trim_start_matches(['#', ' ']))
    }
}

/// The built-in recipe called `name`, with assignments over it.
///
/// # Errors
/// [`RecipeError::UnknownBuiltin`], which names the nearest name; the errors of [`Recipe::parse`].
pub fn builtin(name: &str, overrides: &[String]) -> Result<Recipe, RecipeError> {
    match BUILTIN.iter().find(|known| known.name == name) {
        Some(known) => Recipe::parse(&format!("recipes/{name}.toml"), name, known.text, overrides),
        None => {
            let names = || BUILTIN.iter().map(|known| known.name);
            let start = beginning(name);
            Err(RecipeError::UnknownBuiltin {
                name: name.to_owned(),
                nearest: names()
                    .min_by_key(|known| strsim::damerau_levenshtein(known, &start))
                    .unwrap_or("digits"),
                known: names().collect::<Vec<_>>().join(", "),
            })
        }
    }
}
