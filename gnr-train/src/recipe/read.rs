//! The keys of a recipe: their types, defaults and domains, section by section.

use gnr_core::{
    optimizer,
    registry::{Value, find},
    regularizer,
    schedule::{self, Span},
};
use gnr_models::{Activation, Norm};

use super::{
    Augment, Average, AverageKind, Data, Freeze, Group, Interpolation, Load, Method, Model, NoDecay,
    Optimizer, Recipe, Resize, Schedule, Settings, Subset, Train, device, reader::Reader, registered,
};

const POSITIVE: &str = "must be positive and finite";
const NOT_NEGATIVE: &str = "must be 0 or larger, and finite";
const AT_LEAST_ONE: &str = "must be at least 1";

fn positive(x: &f64) -> bool {
    x.is_finite() && *x > 0.0
}

fn not_negative(x: &f64) -> bool {
    x.is_finite() && *x >= 0.0
}

fn in_unit(x: &f64) -> bool {
    (0.0..1.0).contains(x)
}

pub(super) fn recipe(reader: &mut Reader<'_>) -> Recipe {
    let default_name = reader.name();
    let name = reader.section("").value_in(
        "name",
        default_name,
        |name: &String| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']),
        "must be usable as the name of a folder",
    );
    let optimizer = optimizer(reader);
    let recipe = Recipe {
        name,
        data: data(reader),
        model: model(reader),
        method: method(reader),
        schedule: schedule(reader, optimizer.lr),
        optimizer,
        train: train(reader),
        parallel: super::parallel::read(reader),
    };
    phases(reader, &recipe);
    blends(reader, &recipe);
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

fn data(reader: &mut Reader<'_>) -> Data {
    let subset = subset(reader);
    let label_noise = super::label_noise::read(reader);
    let resize = resize(reader);
    let mut data = reader.section("data");
    let name = data.value("name", "digits".to_owned());
    let known = match gnr_data::find(&name) {
        Ok(known) => Some(known),
        Err(error) => {
            data.refuse("name", &format!("{name:?}"), &error.to_string());
            None
        }
    };
    let usual = match known.map(|known| known.augmentation) {
        None | Some(gnr_data::Augmentation::NONE) => Augment::None,
        Some(augmentation) if augmentation.crop.is_some() => Augment::RandomResizedCrop,
        Some(_) => Augment::PadCropFlip,
    };
    let augments = [
        ("none", Augment::None),
        ("flip", Augment::Flip),
        ("pad-crop-flip", Augment::PadCropFlip),
        ("random-resized-crop", Augment::RandomResizedCrop),
        // The name that refers to the data set for which it is usual.
        ("imagenet", Augment::RandomResizedCrop),
    ];
    let augment = data.choice("augment", &augments).unwrap_or(usual);
    let usual_preset = known.map_or("unit", |known| known.preset);
    let normalization = data.optional::<String>("normalization");
    if let Some(Err(error)) = normalization.as_deref().map(gnr_data::Normalization::preset) {
        data.refuse(
            "normalization",
            &format!("{:?}", normalization.as_deref().unwrap_or_default()),
            &match error {
                gnr_data::DataError::Config { reason, .. } => reason,
                other => other.to_string(),
            },
        );
    }
    let dir = data.optional::<String>("dir");
    let strict = data.value("strict", false);
    let validation = data.value_in("validation", 0.0, in_unit, "a fraction, must lie in [0, 1)");
    let validation_seed = data.value("validation_seed", 0);
    let variation = super::augment::read(reader, augment);
    Data {
        dir,
        strict,
        validation,
        validation_seed,
        augment,
        variation,
        normalization: normalization.unwrap_or_else(|| usual_preset.to_owned()),
        subset,
        label_noise,
        resize,
        name,
    }
}

fn subset(reader: &mut Reader<'_>) -> Option<Subset> {
    let mut section = reader.section("data.subset");
    let count = section.optional_in("count", |n: &usize| *n > 0, AT_LEAST_ONE);
    let per_class = section.optional_in("per_class", |n: &usize| *n > 0, AT_LEAST_ONE);
    let seed = section.value("seed", 0);
    if count.is_some() && per_class.is_some() {
        section.refuse("per_class", "given", "`count` is given too: one of the two");
    } else if section.present() && !section.has("count") && !section.has("per_class") {
        section.refuse("count", "nothing", "a subset needs `count` or `per_class`");
    }
    (count.is_some() || per_class.is_some()).then_some(Subset { count, per_class, seed })
}

fn resize(reader: &mut Reader<'_>) -> Option<Resize> {
    let mut section = reader.section("data.resize");
    let present = section.present();
    let mut side = |key: &str| section.optional_in(key, |n: &usize| *n > 0, AT_LEAST_ONE);
    let (shorter, height, width) = (side("shorter"), side("height"), side("width"));
    let filters = [("bilinear", Interpolation::Bilinear), ("bicubic", Interpolation::Bicubic)];
    let interpolation = section.choice("interpolation", &filters).unwrap_or(Interpolation::Bilinear);
    let Some(height) = height else {
        if present && !section.has("height") {
            section.refuse(
                "height",
                "nothing",
                "a resize needs `height` (and `width`, `shorter`: by default the same)",
            );
        }
        return None;
    };
    let width = width.unwrap_or(height);
    Some(Resize { shorter: shorter.unwrap_or(height.max(width)), height, width, interpolation })
}

fn model(reader: &mut Reader<'_>) -> Model {
    let mut model = reader.section("model");
    let name = model.value("name", "resnet8".to_owned());
    if let Err(error) = known_model(&name) {
        model.refuse("name", &format!("{name:?}"), &error);
    }
    let activation = model.choice("activation", &Activation::ALL.map(|known| (known.name(), known)));
    let norm = model.choice("norm", &Norm::ALL.map(|known| (known.name(), known)));
    let widths = model.optional_in(
        "widths",
        |widths: &Vec<usize>| !widths.contains(&0),
        "every width must be at least 1",
    );
    let mut count = |key: &str| model.optional_in(key, |n: &usize| *n > 0, AT_LEAST_ONE);
    let (depth, heads, patch) = (count("depth"), count("heads"), count("patch"));
    let norm_groups = count("norm_groups");
    let mut rate = |key: &str| {
        model.optional_in(key, |rate: &f64| (0.0..1.0).contains(rate), "a rate is at least 0 and below 1")
    };
    let (dropout, drop_path) = (rate("dropout"), rate("drop_path"));
    let weights = model.optional::<String>("weights");
    let loads = [
        ("all", Load::All),
        ("ignore-unexpected", Load::IgnoreUnexpected),
        ("new-head", Load::NewHead),
        ("matching", Load::Matching),
    ];
    let load = model.choice("load", &loads);
    let weights_key = model.optional::<String>("weights_key");
    let resample_pos_embed = model.optional::<bool>("resample_pos_embed");
    let freeze = model.optional::<Freeze>("freeze");
    model.only_for("norm_groups", &norm_groups, norm == Some(Norm::Group), "`model.norm` = \"group\"");
    let loads_weights = weights.is_some();
    model.only_for("load", &load, loads_weights, "`model.weights`");
    model.only_for("weights_key", &weights_key, loads_weights, "`model.weights`");
    model.only_for("resample_pos_embed", &resample_pos_embed, loads_weights, "`model.weights`");
    Model {
        name,
        widths,
        activation: activation.map(|known| known.name().to_owned()),
        norm: norm.map(|known| known.name().to_owned()),
        norm_groups,
        depth,
        heads,
        patch,
        dropout,
        drop_path,
        load: loads_weights.then(|| load.unwrap_or(Load::All)),
        resample_pos_embed: loads_weights.then(|| resample_pos_embed.unwrap_or(false)),
        weights,
        weights_key,
        freeze,
    }
}

fn known_model(name: &str) -> Result<(), String> {
    if gnr_models::registry().iter().any(|known| known.name == name) {
        return Ok(());
    }
    // The registry's own error message, whatever the images are.
    match gnr_models::AnyModel::build(&gnr_models::ModelConfig::new(name, 10, [3, 32, 32])) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn method(reader: &mut Reader<'_>) -> Method {
    let group = reader.section("method").optional_in("group", |n: &usize| *n > 0, AT_LEAST_ONE);
    let mut regularizers = Vec::new();
    for entry in regularizer::entries() {
        let path = format!("method.{}", entry.name);
        let on = reader.enabled(&path, entry.name == "gnr");
        let values = registered::values(&mut reader.keys_of(&path), &[entry], entry);
        if on {
            regularizers.push(Settings(values));
        }
    }
    Method { regularizers, group }
}

fn optimizer(reader: &mut Reader<'_>) -> Optimizer {
    let mut section = reader.section("optimizer");
    let entry = registered::name(&mut section, optimizer::entries(), "sgd");
    let mut values = registered::values(&mut section, optimizer::entries(), entry);
    registered::check(&mut section, optimizer::build::<Vec<f64>>(&values));
    // Groups have their own weight decay, and the schedule makes the learning rate of each step.
    let mut own = |key: &str| match values.remove(key) {
        Some(Value::Number(x)) => x,
        _ => entry.number(key).unwrap_or(0.0),
    };
    let (lr, weight_decay) = (own("lr"), own("weight_decay"));
    let no_decay = section.choice(
        "no_decay",
        &[("norm-and-bias", NoDecay::NormAndBias), ("norm-bias-and-position", NoDecay::NormBiasAndPosition)],
    );
    let groups = groups(reader);
    Optimizer { name: entry.name, lr, weight_decay, settings: Settings(values), no_decay, groups }
}

fn groups(reader: &mut Reader<'_>) -> Vec<Group> {
    (0..reader.list("optimizer.group"))
        .map(|index| {
            let mut group = reader.section(&format!("optimizer.group.{index}"));
            let pattern = group.optional_in("match", |text: &String| !text.is_empty(), "must not be empty");
            if pattern.is_none() && !group.has("match") {
                group.refuse(
                    "match",
                    "nothing",
                    "a group needs a tensor, a module or a pattern such as \"fc.*\"",
                );
            }
            let lr_scale = group.optional_in("lr_scale", not_negative, NOT_NEGATIVE);
            let weight_decay = group.optional_in("weight_decay", not_negative, NOT_NEGATIVE);
            if lr_scale.is_none()
                && weight_decay.is_none()
                && !group.has("lr_scale")
                && !group.has("weight_decay")
            {
                group.refuse("lr_scale", "nothing", "a group needs `lr_scale` or `weight_decay`");
            }
            Group { pattern: pattern.unwrap_or_default(), lr_scale: lr_scale.unwrap_or(1.0), weight_decay }
        })
        .collect()
}

fn schedule(reader: &mut Reader<'_>, lr: f64) -> Schedule {
    let mut section = reader.section("schedule");
    let entry = registered::name(&mut section, schedule::entries(), "cosine");
    let values = registered::values(&mut section, schedule::entries(), entry);
    // Any run will do: only the settings beside the learning rate are checked.
    registered::check(&mut section, schedule::build(&values, Span::new(lr, 1, 1)));
    Schedule { name: entry.name, settings: Settings(values) }
}

fn train(reader: &mut Reader<'_>) -> Train {
    let mut train = reader.section("train");
    let batch_size = train.value_in("batch_size", 64, |n| *n > 0, AT_LEAST_ONE);
    let micro_batches = train.value_in("micro_batches", 1, |n| *n > 0, AT_LEAST_ONE);
    if micro_batches > batch_size {
        train.refuse(
            "micro_batches",
            &micro_batches.to_string(),
            &format!("cannot cut a batch of {batch_size} into so many parts"),
        );
    }
    let epochs = train.value_in("epochs", 30, |n| *n > 0, AT_LEAST_ONE);
    let average = average(reader, epochs);
    let mut train = reader.section("train");
    let (backend, device) = device::read(&mut train);
    let precision = device::precision(&mut train, backend, device);
    let channels_last = device::channels_last(&mut train, backend);
    Train {
        epochs,
        batch_size,
        micro_batches,
        label_smoothing: train.value_in("label_smoothing", 0.0, in_unit, "must lie in [0, 1)"),
        clip_norm: train.optional_in("clip_norm", positive, POSITIVE),
        seed: train.value("seed", 0),
        backend,
        device,
        precision,
        channels_last,
        threads: train.value_in("threads", 0, |n| *n <= 1024, "must be at most 1024"),
        workers: train.value_in("workers", 2, |n| *n <= 1024, "must be at most 1024"),
        checkpoint_every_epochs: train.value("checkpoint_every_epochs", 1),
        checkpoint_every_steps: train.optional_in("checkpoint_every_steps", |n| *n > 0, AT_LEAST_ONE),
        keep_every_epochs: train.optional_in("keep_every_epochs", |n| *n > 0, AT_LEAST_ONE),
        eval_every: train.value_in("eval_every", 1, |n| *n > 0, AT_LEAST_ONE),
        eval_batch_size: train.optional_in("eval_batch_size", |n| *n > 0, AT_LEAST_ONE),
        log_every_steps: train.optional_in("log_every_steps", |n| *n > 0, AT_LEAST_ONE),
        average,
    }
}

fn average(reader: &mut Reader<'_>, epochs: u64) -> Option<Average> {
    let mut section = reader.section("train.average");
    let kind = section.choice("kind", &[("ema", AverageKind::Ema), ("swa", AverageKind::Swa)]);
    let decay =
        section.optional_in("decay", |decay: &f64| *decay > 0.0 && *decay < 1.0, "must lie in (0, 1)");
    let from_epoch = section.optional("from_epoch");
    if section.present() && kind.is_none() && !section.has("kind") {
        section.refuse("kind", "nothing", "an average needs `kind`, \"ema\" or \"swa\"");
    }
    let kind = kind?;
    let ema = kind == AverageKind::Ema;
    section.only_for("decay", &decay, ema, "kind = \"ema\"");
    // Three quarters of the epochs, without overflow.
    let late = epochs / 4 * 3 + epochs % 4 * 3 / 4;
    Some(Average {
        kind,
        decay: ema.then(|| decay.unwrap_or(0.999)),
        from_epoch: from_epoch.unwrap_or(if ema { 0 } else { late }),
    })
}
