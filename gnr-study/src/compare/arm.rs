//! The arms of a comparison: what is set over the recipe, and what tuning may change.

use std::{fmt, str::FromStr};

use gnr_train::{
    Recipe, RecipeError,
    recipe::{
        AverageKind, Settings, optimizers,
        registry::{self, Domain, Entry, Interval},
        regularizers,
    },
};

use crate::sweep::Axis;

/// One method of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// The method's name, in names of runs and in the table.
    pub name: String,
    /// `section.key=value` assignments over the recipe.
    pub assignments: Vec<String>,
    /// The meaning of a known name; `None` for a new name with assignments. Settings that the recipe itself has for a
    /// regulariser of the arm stay.
    known: Option<Known>,
}

/// The meaning of a known name: regularisers of the registry, and whether the weights are averaged.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    regularizers: Vec<&'static str>,
    /// `method.gnr.hvp`, when GNR acts.
    hvp: Option<&'static str>,
    /// Whether the weights are averaged.
    ema: bool,
    /// The optimiser, where the name is that of one.
    optimizer: Option<&'static str>,
}

/// The mark before a key that an arm removes from the recipe.
const DROP: char = '!';

/// The section of the recipe by which weights are averaged.
pub(super) const AVERAGE: &str = "train.average";

/// Known names beside those of the regularisers, with their meanings.
const OTHERS: [(&str, &str); 4] = [
    ("base", "the recipe's optimiser alone"),
    ("ema", "the optimiser, evaluated at an exponential average of its weights"),
    ("gnr-fd", "GNR by forward differences of gradients"),
    ("gnr-gn", "GNR with Gauss-Newton products"),
];

impl Known {
    /// Parses a name, or several names of methods that act together: `sam+gnr`.
    fn parse(text: &str) -> Option<Self> {
        let mut known = Self::default();
        if text == "base" {
            return Some(known);
        }
        if let Some(entry) = optimizers().iter().find(|entry| entry.name == text) {
            known.optimizer = Some(entry.name);
            return Some(known);
        }
        for word in text.split('+') {
            let (name, hvp) = match word {
                "ema" => {
                    known.ema = true;
                    continue;
                }
                "gnr" => ("gnr", Some("exact")),
                "gnr-fd" => ("gnr", Some("forward-difference")),
                "gnr-gn" => ("gnr", Some("gauss-newton")),
                other => (other, None),
            };
            let name = registry::find(regularizers(), name)?.name;
            if known.regularizers.contains(&name) {
                return None;
            }
            known.regularizers.push(name);
            known.hvp = known.hvp.or(hvp);
        }
        Some(known)
    }
}

/// Name and meaning of every method that has a name of its own. Regularisers combine: `sam+gnr`.
pub fn known_methods() -> impl Iterator<Item = (&'static str, &'static str)> {
    OTHERS.into_iter().chain(regularizers().iter().map(|entry| (entry.name, entry.doc)))
}

impl Arm {
    /// The arm of these assignments, whatever its name stands for.
    pub(super) fn of_assignments(name: &str, assignments: Vec<String>) -> Self {
        Self { name: name.to_owned(), assignments, known: None }
    }

    /// The arms that a comparison has by default: the optimiser, SAM, GNR, and GNR over the SAM loss.
    pub fn defaults() -> Vec<Self> {
        ["base", "sam", "gnr", "sam+gnr"].iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The arms of the built-in demonstration on noisy digits. Their ρ and α were useful in a first look at one seed.
    pub fn demonstration() -> Vec<Self> {
        let strengths: [&[&str]; 4] = [
            &[],
            &["method.sam.rho=0.3"],
            &["method.gnr.rho=0.1", "method.gnr.alpha=5.0"],
            &["method.sam.rho=0.1", "method.gnr.rho=0.1", "method.gnr.alpha=2.0"],
        ];
        let mut arms = Self::defaults();
        for (arm, strength) in arms.iter_mut().zip(strengths) {
            arm.assignments = strength.iter().map(|&text| text.to_owned()).collect();
        }
        arms
    }

    /// The assignments that turn the recipe into this arm's: those of its known name, then its own. If these name
    /// another optimiser, `!optimizer.KEY` removes each key that only the recipe's optimiser has. Keys of both
    /// optimisers stay. `!train.average` removes the recipe's averaging from a known method, unless the method is `ema`
    /// or sets a key of the averaging itself.
    pub fn over(&self, recipe: &Recipe) -> Vec<String> {
        let mut all = Vec::new();
        let mut say = |text: &str| all.push(text.to_owned());
        if let Some(known) = &self.known {
            for entry in regularizers() {
                let name = entry.name;
                match (known.regularizers.contains(&name), recipe.method.get(name).is_some()) {
                    (true, false) => say(&format!("method.{name}=true")),
                    (false, true) => say(&format!("method.{name}=false")),
                    _ => {}
                }
            }
            if let Some(hvp) = known.hvp {
                say(&format!("method.gnr.hvp={hvp}"));
            }
            if known.ema {
                say("train.average.kind=ema");
            } else if recipe.train.average.is_some()
                && !self.assignments.iter().any(|word| word.starts_with(AVERAGE))
            {
                say(&format!("{DROP}{AVERAGE}"));
            }
        }
        let own = registry::find(optimizers(), recipe.optimizer.name);
        let mut named = self.assignments.iter().filter_map(|word| word.strip_prefix("optimizer.name="));
        let word = self.known.as_ref().and_then(|known| known.optimizer);
        let word = word.filter(|name| *name != recipe.optimizer.name);
        let given = named.next_back();
        if let (None, Some(name)) = (given, word) {
            say(&format!("optimizer.name={name}"));
        }
        if let (Some(own), Some(new)) =
            (own, given.or(word).and_then(|name| registry::find(optimizers(), name)))
        {
            let lacks = own.keys.iter().filter(|key| new.key(key.name).is_none());
            all.extend(lacks.map(|key| format!("{DROP}optimizer.{}", key.name)));
        }
        all.extend(self.assignments.iter().cloned());
        all
    }

    /// The assignments of [`over`](Self::over) for a search on a grid, which keeps the recipe's averaging if the grid
    /// varies it.
    pub fn over_grid(&self, recipe: &Recipe, grid: &[Axis]) -> Vec<String> {
        let mut words = self.over(recipe);
        if grid.iter().any(|axis| axis.key.starts_with(AVERAGE)) {
            words.retain(|word| word.strip_prefix(DROP) != Some(AVERAGE));
        }
        words
    }

    /// The assignments of [`over`](Self::over) without removals of keys that the recipe does not set, and the removed
    /// keys.
    pub(super) fn fitted(
        &self,
        recipe: &Recipe,
        load: impl Fn(&[String]) -> Result<Recipe, RecipeError>,
    ) -> (Vec<String>, Vec<String>) {
        let mut words = self.over(recipe);
        let mut dropped = Vec::new();
        for index in (0..words.len()).rev() {
            let Some(key) = words[index].strip_prefix(DROP).map(str::to_owned) else { continue };
            let drops = words.remove(index);
            // Without its removal, a key that the recipe sets is refused with the new optimiser. Averaging would act.
            if key == AVERAGE || load(&words).is_err() {
                words.insert(index, drops);
                dropped.insert(0, key);
            }
        }
        (words, dropped)
    }

    /// The arm's title in a table, with the optimiser of its recipe.
    pub fn title(&self, recipe: &Recipe) -> String {
        match (&self.known, recipe.train.average.as_ref().map(|average| average.kind)) {
            (None, _) => self.name.clone(),
            (Some(_), None) => recipe.method_name(),
            (Some(_), Some(AverageKind::Ema)) => format!("{} + EMA", recipe.method_name()),
            (Some(_), Some(AverageKind::Swa)) => format!("{} + SWA", recipe.method_name()),
        }
    }

    /// The method's own keys that tuning searches, for a resolved recipe of this arm. Their values lie around those
    /// that are known to help: with α·ρ of 1 and more, training collapses.
    pub fn axes(recipe: &Recipe) -> Vec<Axis> {
        let mut axes = Vec::new();
        let mut axis = |key: &str, values: &[f64]| axes.push(Axis::numbers(key, values));
        for Settings(values) in &recipe.method.regularizers {
            let entry = registry::find(regularizers(), values.of());
            match (values.of(), entry.and_then(strength)) {
                ("sam", _) => axis("method.sam.rho", &[0.05, 0.1, 0.2, 0.3, 0.5]),
                ("gnr", _) => {
                    axis("method.gnr.rho", &[0.05, 0.1, 0.2]);
                    axis("method.gnr.alpha", &[0.3, 1.0, 2.0, 3.0, 5.0]);
                }
                (name, Some((key, default, interval))) => {
                    let mut values = times(default, &[0.5, 1.0, 2.0, 4.0, 8.0]);
                    values.retain(|&value| interval.contains(value));
                    axis(&format!("method.{name}.{key}"), &values);
                }
                (_, None) => {}
            }
        }
        if recipe.train.average.as_ref().is_some_and(|average| average.kind == AverageKind::Ema) {
            axis("train.average.decay", &[0.9, 0.95, 0.98, 0.99, 0.995]);
        }
        axes
    }

    /// The keys of the optimiser that tuning searches, the same for every arm: multiples of the recipe's learning rate
    /// and weight decay.
    pub fn optimizer_axes(recipe: &Recipe) -> Vec<Axis> {
        let (lr, decay) = (recipe.optimizer.lr, recipe.optimizer.weight_decay);
        let decay = if decay > 0.0 { decay } else { 5e-4 };
        vec![
            Axis::numbers("optimizer.lr", &times(lr, &[0.25, 0.5, 1.0, 2.0, 4.0])),
            Axis::numbers("optimizer.weight_decay", &times(decay, &[0.0, 1.0, 4.0, 16.0, 64.0])),
        ]
    }
}

/// The titles of a comparison's methods, for the resolved recipe of each. Where several would have one title, their
/// names in brackets tell them apart.
pub(super) fn titles(arms: &[Arm], recipes: &[Recipe]) -> Vec<String> {
    let bare: Vec<String> = arms.iter().zip(recipes).map(|(arm, recipe)| arm.title(recipe)).collect();
    let one = |(arm, title): (&Arm, &String)| match bare.iter().filter(|other| *other == title).count() {
        1 => title.clone(),
        _ => format!("{title} ({})", arm.name),
    };
    arms.iter().zip(&bare).map(one).collect()
}

/// The key that says how strongly a regulariser acts: the first one that is a number, in most ρ. With its default and
/// its domain.
fn strength(entry: &'static Entry) -> Option<(&'static str, f64, Interval)> {
    entry.keys.iter().find_map(|key| match key.domain {
        Domain::Number(interval) => Some((key.name, entry.number(key.name)?, interval)),
        _ => None,
    })
}

/// Multiples of `base`, rounded to four significant digits, because 0.1 · 0.3 is 0.030000000000000002.
fn times(base: f64, factors: &[f64]) -> Vec<f64> {
    factors.iter().map(|factor| format!("{:.3e}", base * factor).parse().unwrap_or(base)).collect()
}

/// Parses a known name (`sam`), a known name with assignments (`sam method.sam.rho=0.3`), or a new name with
/// assignments (`mine: method.sam=true method.gnr.every=5`).
impl FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name.trim(), rest),
            None => text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), "")),
        };
        let assignments: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        if let Some(wrong) = assignments.iter().find(|word| !word.contains('=')) {
            return Err(format!("`{wrong}` in method `{name}`: expected section.key=value"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("{text:?}: a method's name has letters, digits, +, -, _ and . only"));
        }
        let known = Known::parse(name);
        if known.is_none() && assignments.is_empty() {
            let names: Vec<&str> = known_methods().map(|(name, _)| name).collect();
            return Err(format!(
                "no method is called `{name}`; known are {}, and several with + between them; another one is written `NAME: \
                 section.key=value ...`",
                names.join(", ")
            ));
        }
        Ok(Self { name: name.to_owned(), assignments, known })
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.assignments.is_empty() {
            write!(f, ": {}", self.assignments.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(text: &str) -> Arm {
        text.parse().unwrap()
    }

    fn load(assignments: &[String]) -> Recipe {
        Recipe::parse("test", "test", "", assignments).unwrap()
    }

    fn resolved(text: &str, base: &[&str]) -> Recipe {
        let base: Vec<String> = base.iter().map(|&text| text.to_owned()).collect();
        let recipe = load(&base);
        load(&[base, arm(text).over(&recipe)].concat())
    }

    #[test]
    fn a_known_name_switches_and_keeps_the_recipes_own_strength() {
        let strong = ["method.sam.rho=0.3", "method.gnr.alpha=3.0"];
        let sam = resolved("sam", &strong);
        let number = |recipe: &Recipe, name: &str, key: &str| {
            recipe.method.get(name).map(|values| values.number(key).unwrap())
        };
        assert_eq!((number(&sam, "sam", "rho"), sam.method.gnr()), (Some(0.3), None));
        let both = resolved("sam+gnr", &strong);
        assert_eq!((number(&both, "sam", "rho"), number(&both, "gnr", "alpha")), (Some(0.3), Some(3.0)));
        assert!(resolved("sgd", &strong).method.regularizers.is_empty());
        let set = resolved("sam method.sam.rho=0.2", &[]);
        assert_eq!(number(&set, "sam", "rho"), Some(0.2));
        let all = resolved("vasso+gnr-fd+ema", &[]);
        assert_eq!(arm("vasso+gnr-fd+ema").title(&all), "SGD + VaSSO + GNR (forward difference) + EMA");
        assert!("sam+sam".parse::<Arm>().is_err());
    }

    #[test]
    fn an_optimiser_is_a_method_with_its_own_defaults() {
        let lion = resolved("lion", &[]);
        assert_eq!((lion.optimizer.name, lion.optimizer.lr), ("lion", 1e-4));
        assert!(lion.method.regularizers.is_empty());
        assert_eq!(arm("lion").title(&lion), "Lion");
        let set = resolved("lion optimizer.lr=0.001", &[]);
        assert_eq!((set.optimizer.name, set.optimizer.lr), ("lion", 0.001));
        // A word is the recipe's own optimiser only if the recipe has it.
        let adam = resolved("adam", &[]);
        assert_eq!((adam.optimizer.name, arm("adam").title(&adam)), ("adam", "Adam".into()));
        assert_eq!(arm("sgd").over(&load(&[])), arm("base").over(&load(&[])));
        let own = ["optimizer.name=adamw", "optimizer.lr=0.002"];
        assert_eq!(resolved("adamw", &own).optimizer, resolved("base", &own).optimizer);
        assert_eq!(resolved("sgd", &own).optimizer.name, "sgd");
        assert_eq!(resolved("adam optimizer.name=lion", &[]).optimizer.name, "lion");
    }

    #[test]
    fn methods_of_one_title_are_told_apart_by_their_names() {
        let arms = ["base", "sam", "sgd optimizer.lr=0.2"].map(arm);
        let recipes = ["base", "sam", "sgd optimizer.lr=0.2"].map(|text| resolved(text, &[]));
        assert_eq!(titles(&arms, &recipes), ["SGD (base)", "SGD + SAM", "SGD (sgd)"]);
    }

    /// What only the recipe's own optimiser has is dropped and told; what both have stays.
    #[test]
    fn another_optimiser_drops_the_keys_that_it_lacks() {
        let given = ["optimizer.momentum=0.8", "optimizer.weight_decay=0.001", "optimizer.lr=0.02"];
        let lion = resolved("lion", &given).optimizer;
        assert_eq!((lion.name, lion.lr, lion.weight_decay), ("lion", 0.02, 0.001));
        let base: Vec<String> = given.iter().map(|&text| text.to_owned()).collect();
        let over = |words: &[String]| Recipe::parse("test", "test", "", &[&base[..], words].concat());
        let fitted = |text: &str| arm(text).fitted(&over(&[]).unwrap(), over);
        let dropped = |text: &str| fitted(text).1;
        assert_eq!(dropped("lion"), ["optimizer.momentum"]);
        assert_eq!(dropped("mine: optimizer.name=adamw"), ["optimizer.momentum"]);
        assert_eq!(dropped("rmsprop"), Vec::<String>::new(), "rmsprop has a momentum");
        assert_eq!(resolved("rmsprop", &given).optimizer.settings.0.number("momentum").unwrap(), 0.8);
        assert_eq!(dropped("sam"), Vec::<String>::new());
        // Nothing is dropped that the recipe does not set.
        let (words, _) = fitted("lion");
        assert!(words.contains(&"!optimizer.momentum".to_owned()), "{words:?}");
        assert!(!words.contains(&"!optimizer.nesterov".to_owned()), "{words:?}");
    }

    #[test]
    fn only_the_method_ema_keeps_the_recipes_averaging() {
        let average = ["train.average.kind=ema", "train.average.decay=0.9"];
        let plain = resolved("sam", &average);
        assert_eq!((plain.train.average.as_ref(), &*arm("sam").title(&plain)), (None, "SGD + SAM"));
        let averaged = resolved("sam+ema", &average);
        assert_eq!(averaged.train.average, load(&average.map(str::to_owned)).train.average);
        assert_eq!(arm("sam+ema").title(&averaged), "SGD + SAM + EMA");
        let own = resolved("sam train.average.decay=0.8", &average);
        assert_eq!(arm("sam train.average.decay=0.8").title(&own), "SGD + SAM + EMA");
        assert!(resolved("mine: method.sam=true", &average).train.average.is_some());
        let base = average.map(str::to_owned);
        let over = |words: &[String]| Recipe::parse("test", "test", "", &[&base[..], words].concat());
        assert_eq!(arm("sam").fitted(&over(&[]).unwrap(), over).1, [AVERAGE]);
    }

    #[test]
    fn a_method_of_ones_own_is_what_it_says() {
        let mine = resolved("rare: method.gnr.every=5 method.gnr.alpha=2.0", &[]).method;
        let gnr = mine.get("gnr").unwrap();
        assert_eq!((gnr.integer("every").unwrap(), gnr.number("alpha").unwrap()), (5, 2.0));
        assert_eq!(arm("rare: method.gnr.every=5").to_string(), "rare: method.gnr.every=5");
    }

    #[test]
    fn wrong_words_say_what_is_expected() {
        for (text, words) in [
            ("sma", "known are base, ema, gnr-fd"),
            ("sam rho", "expected section.key=value"),
            ("a/b: train.seed=1", "letters, digits"),
        ] {
            let error = text.parse::<Arm>().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn tuning_searches_what_the_arm_has() {
        let keys = |text: &str| -> Vec<String> {
            Arm::axes(&resolved(text, &[])).into_iter().map(|axis| axis.key).collect()
        };
        assert_eq!(keys("base"), Vec::<String>::new());
        assert_eq!(keys("sam+gnr"), ["method.sam.rho", "method.gnr.rho", "method.gnr.alpha"]);
        assert_eq!(keys("mesa"), ["method.mesa.lambda"]);
        for entry in regularizers() {
            let axes = Arm::axes(&resolved(entry.name, &[]));
            assert!(!axes.is_empty(), "nothing of {} is tuned", entry.name);
            for axis in axes {
                let within = |value| resolved(&format!("{} {}={value}", entry.name, axis.key), &[]);
                axis.values.iter().for_each(|value| drop(within(value)));
            }
        }
        let axes = Arm::optimizer_axes(&load(&[]));
        assert_eq!(axes[0].to_string(), "optimizer.lr: 0.025, 0.05, 0.1, 0.2, 0.4");
        assert_eq!(axes[1].to_string(), "optimizer.weight_decay: 0, 0.0005, 0.002, 0.008, 0.032");
    }
}
