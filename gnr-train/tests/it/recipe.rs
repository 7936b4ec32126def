//! Recipes: which are accepted, which are refused in which words, and the way back to TOML.

use gnr_train::{
    Recipe,
    recipe::{AverageKind, BUILTIN, Hvp, builtin},
};

fn refused(text: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::parse("r.toml", "r", text, &sets).expect_err(text).to_string()
}

#[test]
fn refusals_name_place_key_expectation_and_finding() {
    let cases: &[(&str, &str)] = &[
        ("[train]\nepoch = 3", "r.toml:2: unknown key `epoch` in [train]; did you mean `epochs` in [train]?"),
        (
            "[train]\nmomentum = 0.9",
            "r.toml:2: unknown key `momentum` in [train]; did you mean `momentum` in [optimizer]?",
        ),
        ("\n[trian]\nepochs = 3", "r.toml:2: unknown key `trian`; did you mean `train`?"),
        (
            "[optimizer]\nweight-decay = 0",
            "r.toml:2: unknown key `weight-decay` in [optimizer]; did you mean `weight_decay` in [optimizer]?",
        ),
        (
            "[method.gnr]\nrh0 = 0",
            "r.toml:2: unknown key `rh0` in [method.gnr]; did you mean `rho` in [method.gnr]?",
        ),
        ("[train]\nbatch_size = 0", "r.toml:2: `train.batch_size` = 0: must be at least 1"),
        (
            "[train]\nbatch_size = -4",
            "r.toml:2: `train.batch_size` = -4: expected a whole number, 0 or larger",
        ),
        (
            "[train]\nepochs = \"ten\"",
            "r.toml:2: `train.epochs` = \"ten\": expected a whole number, 0 or larger",
        ),
        ("[optimizer]\nmomentum = 1.5", "r.toml:2: `optimizer.momentum` = 1.5: must lie in [0, 1)"),
        ("[optimizer]\nlr = nan", "r.toml:2: `optimizer.lr` = NaN: must be positive and finite"),
        ("[method]\ngnr = { rho = -0.1 }", "r.toml:2: `method.gnr.rho` = -0.1: must be positive and finite"),
        ("[method]\ngnr = 3", "r.toml:2: `method.gnr` = 3: expected a table, true or false"),
        (
            "[method.gnr]\nhvp = \"exakt\"",
            "r.toml:2: `method.gnr.hvp` = \"exakt\": expected one of exact, gauss-newton, forward-difference, central-difference; did you mean \"exact\"?",
        ),
        (
            "[method.gnr]\nstep = 0.1",
            "r.toml:2: `method.gnr.step` = 0.1: only goes with a difference (hvp is \"exact\")",
        ),
        (
            "[train]\nepochs = 9\n[method.gnr]\nfrom_epoch = 9",
            "r.toml:4: `method.gnr.from_epoch` = 9: must be less than train.epochs = 9",
        ),
        (
            "[method]\nsam = { from_epoch = 31 }",
            "r.toml:2: `method.sam.from_epoch` = 31: must be less than train.epochs = 30",
        ),
        (
            "[method.gnr]\nhvp = \"gauss-newton\"\nstep = 0.1",
            "r.toml:3: `method.gnr.step` = 0.1: only goes with a difference (hvp is \"gauss-newton\")",
        ),
        (
            "[train.average]\ndecay = 0.9",
            "r.toml:1: `train.average.kind` = nothing: an average needs `kind`, \"ema\" or \"swa\"",
        ),
        ("[train.average]\nkind = \"emma\"", "expected one of ema, swa; did you mean \"ema\"?"),
        ("[train.average]\nkind = \"ema\"\ndecay = 1", "`train.average.decay` = 1.0: must lie in (0, 1)"),
        (
            "[train.average]\nkind = \"swa\"\ndecay = 0.9",
            "r.toml:3: `train.average.decay` only goes with kind = \"ema\"",
        ),
        (
            "[train.average]\nkind = \"swa\"\nfrom_epoch = 30",
            "r.toml:3: `train.average.from_epoch` = 30: must be less than train.epochs = 30",
        ),
        (
            "[method]\ngroup = 16\n[train]\nmicro_batches = 2",
            "r.toml:2: `method.group` = 16: not together with train.micro_batches = 2",
        ),
        ("[method]\ngroup = 0", "r.toml:2: `method.group` = 0: must be at least 1"),
        ("[data]\nvalidation = 1.2", "r.toml:2: `data.validation` = 1.2: a fraction, must lie in [0, 1)"),
        (
            "[optimizer]\nname = \"adam\"\nmomentum = 0.9",
            "r.toml:3: `optimizer.momentum` only goes with name = \"sgd\"",
        ),
        (
            "[optimizer]\nnesterov = true\nmomentum = 0",
            "r.toml:2: `optimizer.nesterov` = true: needs a momentum above 0",
        ),
        ("[optimizer]\nbetas = [0.9, 0.99]", "r.toml:2: `optimizer.betas` only goes with name = \"adam\""),
        (
            "[optimizer]\nname = \"adam\"\nbetas = [0.9, 1]",
            "r.toml:3: `optimizer.betas` = [0.9, 1.0]: both must lie in [0, 1)",
        ),
        (
            "[optimizer]\nname = \"adam\"\nbetas = 0.9",
            "r.toml:3: `optimizer.betas` = 0.9: expected two numbers",
        ),
        ("[optimizer]\nname = \"sdg\"", "r.toml:2: `optimizer.name` = \"sdg\": expected one of sgd, adam"),
        ("[schedule]\nmilestones = [3]", "r.toml:2: `schedule.milestones` only goes with name = \"step\""),
        (
            "[schedule]\nname = \"step\"\nmilestones = [3]\nevery_epochs = 2",
            "r.toml:3: `schedule.milestones` = given: `every_epochs` is given too: one of the two",
        ),
        ("[schedule]\nfloor = 0.2", "r.toml:2: `schedule.floor` = 0.2: must lie in [0, optimizer.lr]"),
        ("[model]\nname = \"resnet-20\"", "did you mean `resnet20`?"),
        ("[data]\nname = \"fashion_mnist\"", "did you mean `fashion-mnist`?"),
        (
            "[data.label_noise]\nkind = \"pairflop\"\nrate = 0.4",
            "r.toml:2: `data.label_noise.kind` = \"pairflop\": expected one of symmetric, pairflip; did you mean \"pairflip\"?",
        ),
        (
            "[data.label_noise]\nrate = 1",
            "r.toml:2: `data.label_noise.rate` = 1.0: a fraction, must lie in [0, 1)",
        ),
        (
            "[data.label_noise]\nvalidation = true",
            "r.toml:1: `data.label_noise.rate` = nothing: label noise needs `rate` or `file`",
        ),
        (
            "[data]\nlabel_noise = true",
            "r.toml:2: `data.label_noise.rate` = nothing: label noise needs `rate` or `file`",
        ),
        (
            "[data.label_noise]\nfile = \"l.txt\"\nrate = 0.4",
            "r.toml:3: `data.label_noise.rate` only goes with no `file`: one of the two",
        ),
        (
            "[data.label_noise]\nfile = \"l.txt\"\nkind = \"symmetric\"",
            "r.toml:3: `data.label_noise.kind` only goes with `rate`, not with `file`",
        ),
        (
            "[data.label_noise]\nfile = \"l.txt\"\nseed = 0",
            "r.toml:3: `data.label_noise.seed` only goes with `rate`, not with `file`",
        ),
        ("[data.label_noise]\nfile = \"\"", "r.toml:2: `data.label_noise.file` = \"\": must not be empty"),
        (
            "[data.label_noise]\nrates = 0.4\nrate = 0.4",
            "r.toml:2: unknown key `rates` in [data.label_noise]; did you mean `rate` in [data.label_noise]?",
        ),
        (
            "[data]\nsubset = {}",
            "r.toml:2: `data.subset.count` = nothing: a subset needs `count` or `per_class`",
        ),
        (
            "[train]\nmicro_batches = 65",
            "r.toml:2: `train.micro_batches` = 65: cannot cut a batch of 64 into so many parts",
        ),
        ("[data]\ncutout = 3", "r.toml:2: `data.cutout` = 3: must be positive and even"),
        (
            "[data]\ncrop_scale = [0, 1]",
            "r.toml:2: `data.crop_scale` = [0.0, 1.0]: needs 0 < low <= high <= 1",
        ),
        (
            "[data]\ncrop_scale = [0.5, 1]",
            "r.toml:2: `data.crop_scale` only goes with augment = \"random-resized-crop\"",
        ),
        (
            "[data]\nmix_probability = 1",
            "r.toml:2: `data.mix_probability` only goes with `mixup` or `cutmix`",
        ),
        ("[data]\nmixup = 0", "r.toml:2: `data.mixup` = 0.0: must lie in (0, 100]"),
        (
            "[data]\ncutout = 4\nrandom_erasing = true",
            "r.toml:2: `data.cutout` only goes with no `random_erasing`",
        ),
        (
            "[data.rand_augment]\nmagnitud = 9",
            "r.toml:2: unknown key `magnitud` in [data.rand_augment]; did you mean `magnitude` in [data.rand_augment]?",
        ),
        (
            "[data.rand_augment]\nmagnitude = 31",
            "r.toml:2: `data.rand_augment.magnitude` = 31: must lie in 0..=30",
        ),
        ("[data.color_jitter]\nhue = 0.6", "r.toml:2: `data.color_jitter.hue` = 0.6: must lie in [0, 0.5]"),
        (
            "[data]\naugment = \"flop\"",
            "expected one of none, flip, pad-crop-flip, random-resized-crop, imagenet",
        ),
        ("train = 3", "r.toml:1: `train` = 3: expected a section, [train]"),
        ("name = \"../up\"", "must be usable as the name of a folder"),
        ("[train\nepochs = 3", "r.toml:1: "),
    ];
    for (text, expected) in cases {
        let message = refused(text, &[]);
        assert!(message.contains(expected), "{text:?}\n  says     {message}\n  expected {expected}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let message = refused("[train]\nepochs = 0\nbatch = 3\n[optimizer]\nlr = -1", &[]);
    let places: Vec<_> = message.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(places, ["r.toml:3", "r.toml:5", "r.toml:2"]);
}

#[test]
fn assignments_are_checked_like_text_and_named_in_errors() {
    let cases: &[(&str, &str)] = &[
        ("train.epoch=3", "--set train.epoch=3: unknown key `epoch` in [train]; did you mean `epochs`"),
        ("train.epochs=x", "--set train.epochs=x: `train.epochs` = \"x\": expected a whole number"),
        ("train.epochs", "--set train.epochs: expected `section.key=value`"),
        (
            "optimizer.momentum=1.5",
            "--set optimizer.momentum=1.5: `optimizer.momentum` = 1.5: must lie in [0, 1)",
        ),
        (".=3", "is not a key"),
    ];
    for (set, expected) in cases {
        let message = refused("", &[set]);
        assert!(message.contains(expected), "{set:?} says {message}");
    }
}

#[test]
fn assignments_win_over_text() {
    let sets = ["optimizer.name=adamw", "method.sam.rho=0.2", "method.gnr=false", "model.widths=[4,8,16]"];
    let recipe =
        Recipe::parse("r.toml", "r", "[method]\nsam = true\ngnr = { rho = 1 }", &sets.map(String::from))
            .unwrap();
    assert_eq!(recipe.optimizer.name, "adamw");
    assert_eq!(recipe.method.get("sam").map(|sam| sam.number("rho").unwrap()), Some(0.2));
    assert_eq!(recipe.method.gnr(), None);
    assert_eq!(recipe.model.widths, Some(vec![4, 8, 16]));
}

/// Names are compared by their beginning: comparing a megabyte (of `--set`; recipes are shorter) with every known key
/// took two seconds.
#[test]
fn names_are_compared_by_their_beginning() {
    let rest = "y".repeat(200 << 10);
    let told = |text: &str| Recipe::parse("r.toml", "r", text, &[]).unwrap_err().to_string();
    assert!(!told(&format!("[train]\nx{rest} = 3")).contains("did you mean"));
    let beginning = format!("weight_decay{}", "_".repeat(88));
    assert!(
        told(&format!("[optimizer]\n{beginning}{rest} = 3"))
            .ends_with("did you mean `weight_decay` in [optimizer]?")
    );
}

#[test]
fn the_empty_recipe_is_the_digits_run() {
    assert_eq!(Recipe::parse("r.toml", "digits", "", &[]).unwrap(), Recipe::default());
    assert_eq!(builtin("digits", &[]).unwrap(), Recipe::default());
}

/// Assignments that together use every kind of key.
const VARIANTS: &[&[&str]] = &[
    &[],
    &["method.gnr=false", "method.sam=true"],
    &[
        "method.gnr.hvp=central-difference",
        "method.gnr.rho_schedule=proportional-to-lr",
        "method.gnr.every=7",
        "method.gnr.batch_fraction=0.25",
    ],
    &["method.gnr.hvp=gauss-newton", "method.gnr.every=2"],
    &["train.average={kind=\"ema\", decay=0.99}"],
    &["train.average.kind=swa", "train.epochs=1"],
    &["method.group=16", "method.sam=true", "method.gnr=false"],
    &["method.gnr.from_epoch=20", "method.sam.from_epoch=29"],
    &["optimizer.name=adam", "optimizer.betas=[0.8, 0.99]", "schedule.name=constant"],
    &["schedule.name=step", "schedule.milestones=[10, 20]", "train.clip_norm=5"],
    &["schedule.name=step", "schedule.every_epochs=7", "schedule.warmup_epochs=1.5"],
    &["data.name=folder", "data.dir=pictures", "data.resize.height=32", "data.subset.count=100"],
    &[
        "data.name=imagenet",
        "data.resize.height=224",
        "data.resize.interpolation=bicubic",
        "data.crop_scale=[0.2, 1]",
    ],
    &[
        "data.augment=imagenet",
        "data.crop_ratio=[0.5, 2]",
        "data.rand_augment=true",
        "data.mixup=0.8",
        "data.cutmix=1",
    ],
    &[
        "data.augment=flip",
        "data.rand_augment.magnitude=7",
        "data.random_erasing.probability=0.25",
        "data.mixup=0.2",
    ],
    &["data.label_noise.rate=0.4"],
    &["data.label_noise.rate=0", "data.label_noise.kind=pairflip", "data.label_noise.validation=true"],
    &["data.label_noise.file=labels.npy"],
    &["data.cutout=16", "data.color_jitter.hue=0.1", "data.cutmix=1", "data.mix_probability=0.5"],
    &["model.weights=w.safetensors", "model.load=matching", "train.log_every_steps=3"],
    &["model.weights=w.pth", "model.weights_key=ema", "model.load=new-head", "model.freeze=backbone"],
    &["model.freeze=[\"conv1\", \"layer1.*\"]", "optimizer.no_decay=norm-and-bias"],
    &["optimizer.name=adamw", "optimizer.no_decay=norm-bias-and-position"],
    &["optimizer.group=[{match=\"fc\", lr_scale=10}, {match=\"*.bias\", weight_decay=0}]"],
    &["optimizer.name=adam", "optimizer.eps=1e-6", "optimizer.weight_decay=0.001"],
    &["optimizer.nesterov=true", "optimizer.lr=0.05", "schedule.name=inverse-sqrt"],
    &["schedule.floor=0.01", "schedule.warmup_epochs=2"],
    &["schedule.name=step", "schedule.factor=0.5"],
];

#[test]
fn a_written_recipe_is_the_same_recipe() {
    for sets in VARIANTS {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let recipe = Recipe::parse("r.toml", "r", "", &sets).unwrap();
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::parse("again.toml", "x", &text, &[]).unwrap(), recipe, "{text}");
    }
}

/// The text of a recipe is the address of its run. `recipes.txt` has the FNV-1a hash of each text. When this test
/// fails, finished runs would be repeated.
#[test]
fn the_text_of_known_recipes_stays() {
    let fnv1a = |text: &str| {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
    };
    let mut texts: Vec<(String, String)> = Vec::new();
    for known in BUILTIN {
        texts.push((known.name.into(), builtin(known.name, &[]).unwrap().to_toml().unwrap()));
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    for folder in ["paper", "small"] {
        let mut paths: Vec<_> =
            std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = format!("{folder}/{}", path.file_stem().unwrap().to_string_lossy());
            texts.push((name, Recipe::load(&path, &[]).unwrap().to_toml().unwrap()));
        }
    }
    for sets in VARIANTS {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let recipe = Recipe::parse("r.toml", "r", "", &sets).unwrap();
        texts.push((sets.join(" "), recipe.to_toml().unwrap()));
    }
    let expected: Vec<_> = include_str!("recipes.txt").lines().collect();
    for (index, (name, text)) in texts.iter().enumerate() {
        let found = format!("{:016x} {name}", fnv1a(text));
        assert_eq!(expected.get(index).copied(), Some(found.as_str()), "the text is now\n{text}");
    }
    assert_eq!(expected.len(), texts.len(), "recipes.txt has other recipes too");
}

/// Runs are addressed by their recipe's text, which must not contain a key that the recipe does not use.
#[test]
fn keys_that_are_not_used_are_not_written() {
    for known in BUILTIN {
        let text = builtin(known.name, &["method.sam=true".into()]).unwrap().to_toml().unwrap();
        for key in ["from_epoch", "average", "group", "strict"] {
            assert!(!text.contains(key), "{}: {key} in\n{text}", known.name);
        }
    }
    let sets = ["method.gnr.from_epoch=0".to_owned(), "method.sam.from_epoch=0".to_owned()];
    assert!(!builtin("digits", &sets).unwrap().to_toml().unwrap().contains("from_epoch"));
    // Strictness decides nothing about the results.
    let strict = builtin("digits", &["data.strict=true".to_owned()]).unwrap();
    assert!(strict.data.strict && strict.to_toml().unwrap().contains("strict = true"));
    assert!(!strict.deciding().data.strict);
    // A regulariser that is off has no phase.
    let off = ["method.gnr=false".to_owned()];
    let text = "[method.sam]\nfrom_epoch = 2\n[train]\nepochs = 3";
    assert_eq!(
        Recipe::parse("r.toml", "r", text, &off)
            .unwrap()
            .method
            .get("sam")
            .map(|sam| sam.integer("from_epoch").unwrap()),
        Some(2)
    );
}

#[test]
fn averages_have_defaults_by_kind() {
    let average = |sets: &[&str]| {
        let average = super::support::tiny(sets).train.average.unwrap();
        (average.kind, average.decay, average.from_epoch)
    };
    assert_eq!(average(&["train.average.kind=ema"]), (AverageKind::Ema, Some(0.999), 0));
    for (epochs, from) in [(1, 0), (3, 2), (4, 3), (30, 22), (200, 150)] {
        let epochs = format!("train.epochs={epochs}");
        assert_eq!(average(&["train.average.kind=swa", &epochs]), (AverageKind::Swa, None, from));
    }
}

#[test]
fn every_built_in_recipe_is_valid_and_says_what_it_is() {
    for known in BUILTIN {
        let recipe = builtin(known.name, &[]).unwrap();
        assert_eq!(recipe.name, known.name);
        assert!(known.summary().len() > 20, "{}", known.name);
    }
    let message = builtin("cifar10-resnet20-sdg", &[]).unwrap_err().to_string();
    assert!(message.contains("did you mean `cifar10-resnet20-sgd`?"), "{message}");
}

#[test]
fn methods_are_named_exactly() {
    let name = |sets: &[&str]| super::support::tiny(sets).method_name();
    assert_eq!(name(&["method.gnr=false"]), "SGD");
    assert_eq!(name(&["method.sam=true"]), "SGD + SAM + GNR (exact)");
    assert_eq!(name(&["method.gnr.hvp=forward-difference"]), "SGD + GNR (forward difference)");
    assert_eq!(name(&["method.gnr=false", "method.sam=true", "method.group=32"]), "SGD + SAM, groups of 32");
    assert_eq!(name(&["method.gnr.hvp=gauss-newton"]), "SGD + GNR (Gauss-Newton)");
    assert_eq!(super::support::tiny(&[]).method.gnr().map(|gnr| gnr.hvp), Some(Hvp::Exact));
}

#[test]
fn groups_are_read_and_their_errors_are_placed() {
    let text = "[[optimizer.group]]\nmatch = \"fc.*\"\nlr_scale = 10\n\n[[optimizer.group]]\nmatch = \"bn\"\nweight_decay = 0\n";
    let recipe = Recipe::parse("r.toml", "r", text, &[]).unwrap();
    let groups: Vec<_> = (recipe.optimizer.groups.iter())
        .map(|group| (group.pattern.as_str(), group.lr_scale, group.weight_decay))
        .collect();
    assert_eq!(groups, [("fc.*", 10.0, None), ("bn", 1.0, Some(0.0))]);
    let error = |text: &str| Recipe::parse("r.toml", "r", text, &[]).unwrap_err().to_string();
    let message = error("[[optimizer.group]]\nmatch = \"fc\"\nlr_scal = 10\n");
    assert!(message.starts_with("r.toml:3: unknown key `lr_scal` in [optimizer.group.0]"), "{message}");
    assert!(message.contains("did you mean `lr_scale`"), "{message}");
    let message = error("[[optimizer.group]]\nlr_scale = -1\n");
    assert!(message.contains("needs a tensor, a module or a pattern"), "{message}");
    assert!(message.contains("r.toml:2: `optimizer.group.0.lr_scale` = -1.0"), "{message}");
    assert!(error("[[optimizer.group]]\nmatch = \"fc\"\n").contains("needs `lr_scale` or `weight_decay`"));
    assert!(error("[optimizer]\ngroup = 3\n").contains("[[optimizer.group]]"));
    let message = error("[model]\nload = \"new-head\"\nfreeze = \"head\"\n");
    assert!(message.contains("`model.load` only goes with `model.weights`"), "{message}");
    assert!(message.contains("\"backbone\" or a list of patterns"), "{message}");
}

#[test]
fn every_recipe_of_the_papers_tables_is_read() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let mut read = 0;
    for folder in ["paper", "small"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            read += 1;
            let table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let recipe = Recipe::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(recipe.name, path.file_stem().unwrap().to_string_lossy());
            // The files that the plan writes must be read as they were written.
            assert_eq!(recipe.train.epochs as i64, table["train"]["epochs"].as_integer().unwrap());
            assert_eq!(recipe.model.name, table["model"]["name"].as_str().unwrap());
        }
    }
    assert!(read >= 48, "{read}");
}

#[test]
fn evaluation_takes_fewer_large_images_at_a_time() {
    let train = |text| Recipe::parse("r.toml", "r", text, &[]).unwrap().train;
    let default = train("");
    for (shape, images) in [([1, 8, 8], 256), ([3, 32, 32], 256), ([3, 224, 224], 41), ([3, 2048, 2048], 1)] {
        assert_eq!(default.eval_batch(shape), images, "{shape:?}");
    }
    assert_eq!(train("[train]\neval_batch_size = 7").eval_batch([3, 224, 224]), 7);
}
