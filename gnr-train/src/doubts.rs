//! Settings that are allowed but hardly intended. A run reports their consequences before its first step.

use std::fmt::Display;

use gnr_core::{registry::Registered as _, regularizer::Saf};
use gnr_data::{Dataset, class_counts};

use crate::{
    error::Result,
    recipe::{Hvp, Recipe, Settings},
};

/// Doubts about the recipe alone, in words.
pub(crate) fn of_settings(recipe: &Recipe) -> Vec<String> {
    let (schedule, lr, epochs) = (&recipe.schedule.settings.0, recipe.optimizer.lr, recipe.train.epochs);
    let warm_up = schedule.number("warmup_epochs").unwrap_or(0.0);
    let mut told = Vec::new();
    if warm_up >= epochs as f64 {
        told.push(format!(
            "schedule.warmup_epochs = {warm_up} is not less than train.epochs = {epochs}: the learning rate rises to the end and never \
             reaches optimizer.lr = {lr}. Expected a warm-up of a few epochs"
        ));
    }
    let milestones = schedule.integers("milestones").unwrap_or_default();
    let of = |test: &dyn Fn(u64) -> bool| {
        let found = milestones.iter().filter(|epoch| test(**epoch));
        found.map(u64::to_string).collect::<Vec<_>>().join(", ")
    };
    let (early, late) = (of(&|epoch| epoch as f64 <= warm_up), of(&|epoch| epoch >= epochs));
    if !early.is_empty() {
        told.push(format!(
            "schedule.milestones has {early}, not after the warm-up of {warm_up} epochs: the learning rate starts lower by that drop and \
             never reaches optimizer.lr = {lr}. Expected epochs after the warm-up"
        ));
    }
    if !late.is_empty() {
        told.push(format!(
            "schedule.milestones has {late}, and the run ends after train.epochs = {epochs}: the learning rate does not drop there. \
             Expected epochs before the end"
        ));
    }
    if let Ok(every) = schedule.integer("every_epochs") {
        if every >= epochs {
            told.push(format!(
                "schedule.every_epochs = {every} is not less than train.epochs = {epochs}: the learning rate never drops. Expected a \
                 smaller number, or schedule.name = \"constant\""
            ));
        } else if every as f64 <= warm_up {
            told.push(format!(
                "schedule.every_epochs = {every} is not more than the warm-up of {warm_up} epochs: the learning rate starts lower by that \
                 drop and never reaches optimizer.lr = {lr}. Expected drops after the warm-up"
            ));
        }
    }
    if schedule.get("milestones").is_some() && milestones.is_empty() {
        told.push(
            "schedule.milestones is empty: the learning rate never drops. Expected epochs, or schedule.name = \"constant\"".into(),
        );
    }
    let optimizer = recipe.optimizer.name;
    if recipe.optimizer.is_schedule_free() && schedule.of() != "constant" {
        told.push(format!(
            "schedule.name = \"{}\" with optimizer.name = \"{optimizer}\", which is made for a learning rate that stays. Expected \
             schedule.name = \"constant\"",
            schedule.of()
        ));
    }
    if let Some(group) = recipe.method.group.filter(|group| *group >= recipe.train.batch_size) {
        told.push(format!(
            "method.group = {group} is not less than train.batch_size = {}: the batch is one group. Expected a smaller group",
            recipe.train.batch_size
        ));
    }
    if recipe.data.label_noise.as_ref().is_some_and(|noise| noise.validation) && recipe.data.validation == 0.0
    {
        told.push(
            "data.label_noise.validation = true, and data.validation = 0: no images are held out whose labels could be wrong".into(),
        );
    }
    // The kind of products holds for the optimiser's estimates of the Hessian, too, so that GNR then changes steps.
    let exact = recipe.method.gnr().is_some_and(|gnr| gnr.hvp == Hvp::Exact);
    let estimates = recipe.optimizer.settings.0.get("hessian_every").is_some();
    if estimates && !exact && recipe.method.gnr().is_some() {
        told.push(format!(
            "method.gnr.hvp is not \"exact\": {optimizer} estimates the Hessian's diagonal by such products, too"
        ));
    }
    if (exact || !estimates) && recipe.method.gnr().is_some_and(|gnr| gnr.alpha == 0.0) {
        told.push(
            "method.gnr.alpha = 0: GNR costs its gradients and products and changes no step. Expected a positive alpha, or method.gnr = \
             false"
                .into(),
        );
    }
    told
}

/// Doubts about when regularisers act, in words. A run has `steps` steps, `steps_per_epoch` of them in an epoch.
pub(crate) fn of_steps(recipe: &Recipe, steps_per_epoch: u64) -> Vec<String> {
    let steps = recipe.train.epochs.saturating_mul(steps_per_epoch);
    let mut told = Vec::new();
    for Settings(values) in &recipe.method.regularizers {
        let of =
            |key: &str, default| values.get(key).map_or(default, |_| values.integer(key).unwrap_or(default));
        let (name, every, from) = (values.of(), of("every", 1).max(1), of("from_epoch", 0));
        // SAF compares with outputs of so many epochs ago.
        let ago = if name == Saf::ENTRY.name { of("epochs", 0) } else { 0 };
        let first = from.max(ago);
        let start = first.saturating_mul(steps_per_epoch).checked_next_multiple_of(every);
        if start.is_none_or(|start| start >= steps) {
            let keys = [("from_epoch", from, 0), ("epochs", ago, 0), ("every", every, 1)];
            let keys: Vec<String> = (keys.iter().filter(|(_, value, usual)| value != usual))
                .map(|(key, value, _)| format!("{key} = {value}"))
                .collect();
            told.push(format!(
                "method.{name} acts on no step: it has {}, and the run has {} epochs of {steps_per_epoch} steps. Expected smaller values",
                keys.join(" and "),
                recipe.train.epochs
            ));
        }
    }
    told
}

/// Doubts about the training images and those that are held out, in words.
///
/// # Errors
/// Labels that cannot be read.
pub(crate) fn of_images(
    recipe: &Recipe,
    train: &dyn Dataset,
    validation: Option<&dyn Dataset>,
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let fraction = recipe.data.validation;
    if let Some(classes) = without_images(train)? {
        told.push(format!(
            "there is no training image of {classes}: nothing of it can be learned. Expected images of every class; look at data.subset \
             and the files"
        ));
    }
    match validation {
        Some(held) => {
            if let Some(classes) = without_images(held)? {
                told.push(format!(
                    "data.validation = {fraction} holds out {} images, none of {classes}: validation accuracy says nothing about it. \
                     Expected images of every class; hold out more",
                    held.len()
                ));
            }
        }
        None if fraction > 0.0 => told.push(format!(
            "data.validation = {fraction} of {} images is none: nothing is held out. Expected at least one image; hold out more, or say 0",
            train.len()
        )),
        None => {}
    }
    Ok(told)
}

/// Names up to three of the classes without an image; `None` if every class has one.
fn without_images(dataset: &dyn Dataset) -> Result<Option<String>> {
    let counts = class_counts(dataset)?;
    let missing: Vec<&str> = (dataset.classes().iter().zip(counts))
        .filter(|(_, count)| *count == 0)
        .map(|(name, _)| name.as_str())
        .collect();
    Ok(match &missing[..] {
        [] => None,
        [only] => Some(format!("class `{only}`")),
        some => {
            let named = some.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let more: &dyn Display =
                if some.len() > 3 { &format!(" and {} more", some.len() - 3) } else { &"" };
            Some(format!("the classes {named}{more}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use gnr_data::InMemory;

    use super::*;
    use crate::recipe::{BUILTIN, builtin};

    fn recipe(sets: &[&str]) -> Recipe {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Recipe::parse("r.toml", "r", "train.epochs = 10", &sets).unwrap()
    }

    #[test]
    fn every_doubtful_setting_has_its_words() {
        for (sets, words) in [
            (&["schedule.warmup_epochs=10"][..], &["schedule.warmup_epochs = 10", "never reaches"][..]),
            (
                &["schedule.name=step", "schedule.milestones=[5,10,12]"],
                &["milestones has 10, 12", "does not"],
            ),
            (
                &["schedule.name=step", "schedule.milestones=[2,5]", "schedule.warmup_epochs=2"],
                &["milestones has 2, not after the warm-up of 2 epochs"],
            ),
            (&["schedule.name=step", "schedule.milestones=[0]"], &["milestones has 0, not after"]),
            (&["schedule.name=step"], &["every_epochs = 30", "never drops"]),
            (
                &["schedule.name=step", "schedule.every_epochs=2", "schedule.warmup_epochs=2.5"],
                &["every_epochs = 2", "the warm-up of 2.5 epochs"],
            ),
            (&["method.gnr.alpha=0"], &["alpha = 0", "changes no step"]),
            (&["schedule.name=step", "schedule.milestones=[]"], &["milestones is empty", "never drops"]),
            (&["optimizer.name=schedule-free-sgd"], &["\"cosine\"", "a learning rate that stays"]),
            (&["method.group=64"], &["method.group = 64", "the batch is one group"]),
            (&["data.label_noise.rate=0.1", "data.label_noise.validation=true"], &["no images are held out"]),
            (
                &["optimizer.name=sophia-h", "method.gnr.hvp=forward-difference", "method.gnr.alpha=0"],
                &["sophia-h estimates", "by such products"],
            ),
        ] {
            let told = of_settings(&recipe(sets));
            assert_eq!(told.len(), 1, "{sets:?}: {told:?}");
            assert!(words.iter().all(|words| told[0].contains(words)), "{told:?}");
        }
    }

    #[test]
    fn what_is_usual_raises_no_doubt() {
        for sets in [
            &["schedule.warmup_epochs=9.5"][..],
            &["schedule.name=step", "schedule.milestones=[1,9]", "schedule.warmup_epochs=0.5"],
            &["schedule.name=step", "schedule.every_epochs=9"],
            &["method.gnr=false"],
        ] {
            assert_eq!(of_settings(&recipe(sets)), [""; 0], "{sets:?}");
        }
        for known in BUILTIN {
            assert_eq!(of_settings(&builtin(known.name, &[]).unwrap()), [""; 0], "{}", known.name);
        }
    }

    #[test]
    fn regularisers_that_never_act_are_named() {
        for (sets, words) in [
            (
                &["method.sam.every=7", "method.sam.from_epoch=9"][..],
                "method.sam acts on no step: it has from_epoch = 9 and every = 7, and",
            ),
            (&["method.saf.epochs=12"], "method.saf acts on no step: it has from_epoch = 6 and epochs = 12"),
        ] {
            let told = of_steps(&recipe(&[sets, &["method.gnr=false"]].concat()), 4);
            assert!(matches!(&told[..], [only] if only.contains(words)), "{told:?}");
        }
        // Of 40 steps the last is 39, the last multiple of 9 is 36.
        assert_eq!(of_steps(&recipe(&["method.sam.every=9", "method.sam.from_epoch=8"]), 4), [""; 0]);
    }

    #[test]
    fn classes_without_images_are_named() {
        let names: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec();
        let set = |labels: &[usize]| {
            let pixels = vec![7; labels.len()];
            InMemory::new("set", [1, 1, 1], names.clone(), pixels, labels.to_vec()).unwrap()
        };
        let all = set(&[0, 1, 2, 3, 4, 5]);
        let recipe = recipe(&["data.validation=0.1"]);
        let told = |train: &InMemory, validation: Option<&InMemory>| {
            of_images(&recipe, train, validation.map(|set| set as &dyn Dataset)).unwrap().join("\n")
        };
        assert_eq!(told(&all, Some(&all)), "");
        let text = told(&set(&[0, 1, 2, 3, 4]), Some(&set(&[1, 3])));
        assert!(text.contains("no training image of class `f`"), "{text}");
        assert!(text.contains("holds out 2 images, none of the classes `a`, `c`, `e` and 1 more"), "{text}");
        assert!(told(&all, None).contains("data.validation = 0.1 of 6 images is none"), "{text}");
    }
}
