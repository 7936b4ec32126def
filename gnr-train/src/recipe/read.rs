//! A whole recipe from its keys: every section reads its own, and what two sections decide together is checked here.

use gnr_core::{
    registry::{Value, find},
    regularizer,
};

use super::{
    AverageKind, Recipe, Settings, data, method, model, optimizer, parallel, reader::Reader, schedule, train,
};

pub(super) fn recipe(reader: &mut Reader<'_>) -> Recipe {
    let default_name = reader.name();
    let name = reader.section("").value_in(
        "name",
        default_name,
        |name: &String| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']),
        "must be usable as the name of a folder",
    );
    let optimizer = optimizer::read(reader);
    let recipe = Recipe {
        name,
        data: data::read(reader),
        model: model::read(reader),
        method: method::read(reader),
        schedule: schedule::read(reader, optimizer.lr),
        optimizer,
        train: train::read(reader),
        parallel: parallel::read(reader),
    };
    phases(reader, &recipe);
    blends(reader, &recipe);
    averages(reader, &recipe);
    let parts = recipe.train.micro_batches;
    if let Some(group) = recipe.method.group.filter(|_| parts > 1) {
        let requirement = format!(
            "not together with train.micro_batches = {parts}: a group takes the memory of its own images alone, as a \
             micro-batch does"
        );
        reader.section("method").refuse("group", &group.to_string(), &requirement);
    }
    recipe
}

/// Checks that everything with a late start begins within the run.
fn phases(reader: &mut Reader<'_>, recipe: &Recipe) {
    let epochs = recipe.train.epochs;
    let regularizers = recipe.method.each("from_epoch").filter_map(|(name, start)| match start {
        Value::Integer(start) => Some((format!("method.{name}"), *start)),
        _ => None,
    });
    let average = recipe.train.average.map(|average| ("train.average".to_owned(), average.from_epoch));
    for (section, start) in regularizers.chain(average) {
        if start > 0 && start >= epochs {
            let requirement = format!("must be less than train.epochs = {epochs}");
            reader.keys_of(&section).refuse("from_epoch", &start.to_string(), &requirement);
        }
    }
}

/// Checks that the weights are averaged once. A schedule-free optimiser evaluates an average of its own.
fn averages(reader: &mut Reader<'_>, recipe: &Recipe) {
    let name = recipe.optimizer.name;
    if let Some(average) = recipe.train.average.filter(|_| recipe.optimizer.is_schedule_free()) {
        let kind = match average.kind {
            AverageKind::Ema => "ema",
            AverageKind::Swa => "swa",
        };
        let requirement = format!(
            "not together with optimizer.name = \"{name}\", whose own average of the weights is evaluated and written; leave the \
             section out (--set '!train.average')"
        );
        reader.keys_of("train.average").refuse("kind", kind, &requirement);
    }
}

/// Checks that regularisers which record outputs of images do not get blended images.
fn blends(reader: &mut Reader<'_>, recipe: &Recipe) {
    let variation = &recipe.data.variation;
    let blended = [("mixup", variation.mixup), ("cutmix", variation.cutmix)];
    let Some((key, _)) = blended.into_iter().find(|(_, alpha)| alpha.is_some()) else { return };
    for Settings(values) in &recipe.method.regularizers {
        if find(regularizer::entries(), values.of()).is_some_and(|entry| entry.cost.outputs) {
            let requirement = format!(
                "not together with data.{key}: it compares the outputs of an image with earlier ones, and a blend is of two images"
            );
            reader.keys_of("method").refuse(values.of(), "given", &requirement);
        }
    }
}
