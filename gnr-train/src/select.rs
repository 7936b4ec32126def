//! Selection of parameters by pattern: which are frozen, and to which group of the optimiser each belongs.

use gnr_nn::{Entry, Layout};

use crate::recipe::{Freeze, NoDecay, Optimizer, Problem, Recipe, RecipeError, beginning};

/// Whether a pattern matches a parameter. `fc.weight` is the parameter itself, `fc` everything in that module, and `*`
/// stands for any characters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return name == pattern || Layout::is_within(name, pattern);
    }
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return false };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether each parameter of the layout is frozen; `None` when all are learned.
///
/// # Errors
/// A pattern that matches nothing, with the nearest names; patterns that match every parameter.
pub(crate) fn frozen(recipe: &Recipe, layout: &Layout) -> Result<Option<Vec<bool>>, RecipeError> {
    let mask: Vec<bool> = match &recipe.model.freeze {
        None => return Ok(None),
        Some(Freeze::Backbone) => {
            layout.parameters().map(|entry| !Layout::is_within(&entry.name, layout.head())).collect()
        }
        Some(Freeze::Matching(patterns)) => {
            for pattern in patterns {
                expect_a_match("model.freeze", pattern, recipe, layout.parameters().collect())?;
            }
            let frozen = |entry: &Entry| patterns.iter().any(|pattern| matches(pattern, &entry.name));
            layout.parameters().map(frozen).collect()
        }
    };
    if mask.iter().all(|frozen| *frozen) {
        let problem = "every parameter would be frozen: nothing is left to learn".to_owned();
        return Err(invalid("model.freeze", recipe, problem));
    }
    Ok(mask.contains(&true).then_some(mask))
}

/// The settings of one of several optimisers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) lr_scale: f64,
    pub(crate) weight_decay: f64,
}

/// The settings of a run's optimisers, and the optimiser of each learned parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Groups {
    pub(crate) settings: Vec<Setting>,
    pub(crate) of: Vec<usize>,
    /// Whether each learned parameter belongs to a normalisation layer.
    pub(crate) normalisation: Vec<bool>,
}

/// The groups of the learned parameters. Parameters with equal settings share a group.
///
/// # Errors
/// A pattern that matches no learned parameter, with the nearest names; a pattern all of whose parameters belong to
/// earlier groups.
pub(crate) fn groups(
    recipe: &Recipe,
    layout: &Layout,
    frozen: Option<&[bool]>,
) -> Result<Groups, RecipeError> {
    let optimizer = &recipe.optimizer;
    let learned: Vec<&Entry> = (layout.parameters().enumerate())
        .filter(|(i, _)| !frozen.is_some_and(|mask| mask[*i]))
        .map(|(_, entry)| entry)
        .collect();
    for (index, group) in optimizer.groups.iter().enumerate() {
        let key = format!("optimizer.group.{index}.match");
        expect_a_match(&key, &group.pattern, recipe, learned.clone())?;
    }
    for (index, group) in optimizer.groups.iter().enumerate() {
        let taken = |entry: &&&Entry| {
            optimizer.groups[..index].iter().find(|earlier| matches(&earlier.pattern, &entry.name))
        };
        let mut own = learned.iter().filter(|entry| matches(&group.pattern, &entry.name));
        if let Some(earlier) = own.clone().find_map(|entry| taken(&entry))
            && own.all(|entry| taken(&entry).is_some())
        {
            let key = format!("optimizer.group.{index}.match");
            let problem = format!(
                "\"{}\" matches only parameters of earlier groups, such as \"{}\": the first group that matches counts; put the narrower \
                 pattern first",
                group.pattern, earlier.pattern
            );
            return Err(invalid(&key, recipe, problem));
        }
    }
    let normalisation = learned.iter().map(|entry| is_of_normalisation(layout, entry)).collect();
    let mut found = Groups { settings: Vec::new(), of: Vec::new(), normalisation };
    for entry in learned {
        let setting = setting(optimizer, entry);
        let known = found.settings.iter().position(|known| *known == setting);
        found.of.push(known.unwrap_or_else(|| {
            found.settings.push(setting);
            found.settings.len() - 1
        }));
    }
    Ok(found)
}

/// Whether a parameter scales or shifts normalised values, which it does if the weight of its module has one axis.
pub(crate) fn is_of_normalisation(layout: &Layout, entry: &Entry) -> bool {
    let Some((module, "weight" | "bias")) = entry.name.rsplit_once('.') else { return false };
    layout.parameters().any(|weight| {
        weight.shape.len() == 1 && weight.name.strip_prefix(module).is_some_and(|rest| rest == ".weight")
    })
}

fn setting(optimizer: &Optimizer, entry: &Entry) -> Setting {
    let group = optimizer.groups.iter().find(|group| matches(&group.pattern, &entry.name));
    let norm_or_bias = entry.shape.len() <= 1 || entry.name.ends_with("bias");
    let position = ["cls_token", "pos_embed", "relative_position_bias_table"];
    let spared = match optimizer.no_decay {
        None => false,
        Some(NoDecay::NormAndBias) => norm_or_bias,
        Some(NoDecay::NormBiasAndPosition) => {
            norm_or_bias || position.iter().any(|name| entry.name.ends_with(name))
        }
    };
    let own = group.and_then(|group| group.weight_decay).unwrap_or(optimizer.weight_decay);
    let weight_decay = if spared { 0.0 } else { own };
    Setting { lr_scale: group.map_or(1.0, |group| group.lr_scale), weight_decay }
}

fn expect_a_match(
    key: &str,
    pattern: &str,
    recipe: &Recipe,
    entries: Vec<&Entry>,
) -> Result<(), RecipeError> {
    if entries.iter().any(|entry| matches(pattern, &entry.name)) {
        return Ok(());
    }
    let start = beginning(pattern.trim_matches('*'));
    let score = |entry: &&Entry| strsim::jaro_winkler(&start, &entry.name);
    let mut nearest = entries;
    nearest.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let nearest: Vec<_> = nearest.iter().take(3).map(|entry| format!("`{}`", entry.name)).collect();
    let frozen = if recipe.model.freeze.is_some() { "learned " } else { "" };
    let problem = format!(
        "\"{pattern}\" matches no {frozen}parameter of {}; the nearest are {}",
        recipe.model.name,
        nearest.join(", ")
    );
    Err(invalid(key, recipe, problem))
}

fn invalid(key: &str, recipe: &Recipe, problem: String) -> RecipeError {
    let message = format!("`{key}`: {problem}");
    RecipeError::Invalid(vec![Problem { place: recipe.name.clone(), key: key.to_owned(), message }])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters without decay by each setting, in a ViT and in a Swin transformer.
    #[test]
    fn transformers_decay_by_name() {
        use gnr_models::{AnyModel, ModelConfig};
        use gnr_nn::Model as _;

        let decayed = |model: &str, sets: &[&str]| -> Vec<String> {
            let common = ["optimizer.name=adamw", "optimizer.weight_decay=0.05"];
            let sets = common.iter().chain(sets).map(|set| (*set).to_owned());
            let sets: Vec<_> = std::iter::once(format!("model.name={model}")).chain(sets).collect();
            let recipe = Recipe::parse("r.toml", "r", "", &sets).unwrap();
            let net = AnyModel::build(&ModelConfig::new(model, 10, [3, 32, 32])).unwrap();
            let groups = groups(&recipe, net.layout(), None).unwrap();
            let entries = net.layout().parameters().zip(groups.of);
            let decayed = entries.filter(|(_, group)| groups.settings[*group].weight_decay > 0.0);
            decayed.map(|(entry, _)| entry.name.clone()).collect()
        };
        for model in ["vit_tiny_patch4_32", "swin_t"] {
            let all = decayed(model, &[]);
            let weights = decayed(model, &["optimizer.no_decay=norm-bias-and-position"]);
            let is_weight = |name: &&String| {
                name.ends_with(".weight") && !name.contains("norm") && *name != "features.0.2.weight"
            };
            let expected: Vec<_> = all.iter().filter(is_weight).cloned().collect();
            assert!(weights == expected && weights.len() > 40, "{weights:?}");
            let positions = decayed(model, &["optimizer.no_decay=norm-and-bias"]).len() - weights.len();
            assert_eq!(positions, if model == "swin_t" { 12 } else { 2 });
        }
        let named =
            decayed("vit_tiny_patch4_32", &["optimizer.group=[{match=\"pos_embed\",weight_decay=0}]"]);
        assert!(!named.contains(&"pos_embed".into()) && named.contains(&"cls_token".into()));
    }

    #[test]
    fn patterns() {
        let name = "layer4.1.bn2.weight";
        for pattern in
            ["layer4", "layer4.1", name, "*", "layer4.*", "*.weight", "layer*bn*", "*bn2.weight", "l*4*.*t"]
        {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in [
            "layer",
            "layer4.10",
            "bn2",
            "*.bias",
            "layer4.*.conv*",
            "weight",
            "**x",
            "",
            "*layer4.1.bn2.weigh",
        ] {
            assert!(!matches(pattern, name), "{pattern}");
        }
        // A part of the name that one piece has matched is not matched again.
        assert!(!matches("ab*b", "ab") && matches("ab*b", "abb"));
    }
}
