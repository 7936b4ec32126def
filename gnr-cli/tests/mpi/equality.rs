//! Ranks train what one process trains.

use crate::support::{gnr, model, relative, succeeds, trained};

const METHODS: [(&str, &[&str]); 4] = [
    ("SGD", &["method.gnr=false"]),
    ("SAM", &["method.gnr=false", "method.sam=true"]),
    ("GNR exact", &[]),
    ("GNR differences", &["method.gnr.hvp=forward-difference"]),
];

const RESNET: [&str; 2] = ["model.name=resnet20", "model.widths=[4,6,8]"];

fn models() -> [(&'static str, Vec<&'static str>); 4] {
    let vit = ["model.name=vit_tiny_patch4_32", "model.widths=[16]", "model.depth=2", "model.heads=2"];
    [
        ("mlp", vec![]),
        ("resnet20, group norm", [&RESNET[..], &["model.norm=group", "model.norm_groups=2"]].concat()),
        ("resnet20, synced batch norm", RESNET.to_vec()),
        ("vit", vit.to_vec()),
    ]
}

/// The difference is ‖θ_ranks − θ_alone‖/‖θ_alone‖ after 20 steps in f64, running statistics included.
#[test]
fn ranks_train_as_one_process_does() {
    let whole = std::env::var_os("GNR_TABLE").is_some();
    let mut worst: f64 = 0.0;
    println!("| model | method | 2 ranks | 3 ranks | 4 ranks |\n|---|---|---|---|---|");
    for (name, sets) in models() {
        for (title, method) in METHODS {
            // The table has a line for each model, and all methods for the net whose passes exchange most.
            if !whole && title != "GNR exact" && name != "mlp" {
                continue;
            }
            let home = tempfile::tempdir().unwrap();
            let sets = [&sets[..], method].concat();
            let alone = trained(1, home.path(), "alone", &sets);
            let found = [2, 3, 4].map(|ranks| {
                if !whole && ranks == 4 {
                    return f64::NAN;
                }
                relative(&trained(ranks, home.path(), &format!("on-{ranks}"), &sets), &alone)
            });
            println!("| {name} | {title} | {:.1e} | {:.1e} | {:.1e} |", found[0], found[1], found[2]);
            // Tolerance: rounding through 20 steps; for a difference over a step of 1e-3, a thousand times as much.
            let allowed = 1e-12;
            for difference in found.into_iter().filter(|difference| !difference.is_nan()) {
                worst = worst.max(difference);
                assert!(difference < allowed, "{name}, {title}: {found:?}");
            }
        }
    }
    // Sums in another order have other bits, which shows that ranks took part.
    assert!(worst > 0.0);
}

#[test]
fn local_perturbations_are_those_of_groups() {
    for sets in [&["method.sam=true"][..], &["method.gnr.hvp=gauss-newton"]] {
        let home = tempfile::tempdir().unwrap();
        let groups = trained(1, home.path(), "groups", &[sets, &["method.group=10"]].concat());
        let local = trained(2, home.path(), "local", &[sets, &["parallel.perturbation=local"]].concat());
        let difference = relative(&local, &groups);
        println!("local on 2 ranks against method.group = 10, {}: {difference:.1e}", sets[0]);
        assert!(difference < 1e-12, "{difference:e}");
        // The method differs from that of the batch.
        let whole = trained(1, home.path(), "whole", sets);
        assert!(relative(&local, &whole) > 1e-6);
    }
}

/// Equal numbers of ranks give equal bits, with blended batches, dropout and samples; other numbers of ranks differ by
/// rounding.
#[test]
fn everything_that_looks_at_a_batch_knows_its_part() {
    let sets = [
        "data.mixup=0.4",
        "data.cutmix=1",
        "model.dropout=0.2",
        "method.gnr.batch_fraction=0.4",
        "data.label_noise.rate=0.3",
        "train.average={kind=\"ema\", decay=0.9}",
    ];
    let home = tempfile::tempdir().unwrap();
    let alone = trained(1, home.path(), "alone", &sets);
    let first = trained(3, home.path(), "first", &sets);
    let second = trained(3, home.path(), "second", &sets);
    assert_eq!(first, second);
    assert!(relative(&first, &alone) < 1e-12, "{:e}", relative(&first, &alone));
    let summary = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(home.path().join(name).join("summary.json")).unwrap()).unwrap()
    };
    let (one, three) = (summary("alone"), summary("first"));
    for key in [
        "test_accuracy",
        "train_accuracy",
        "train_accuracy_flipped",
        "gradient_evaluations",
        "products",
        "steps",
    ] {
        assert_eq!(one[key], three[key], "{key}");
    }
    assert_eq!(three["ranks"], 3);
    assert!(one.get("ranks").is_none() && one.get("exchange_share").is_none());
    // The time of exchanges is in every line of an epoch, and their share is in the summary.
    let text = std::fs::read_to_string(home.path().join("first").join("metrics.jsonl")).unwrap();
    let (mut steps, mut exchanges) = (0.0, 0.0);
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let seconds = |key: &str| line[key].as_f64().unwrap();
        let [least, mean, of] = ["exchange_seconds_least", "exchange_seconds", "train_seconds"].map(seconds);
        assert!(0.0 < least && least <= mean && mean < of, "{line}");
        (steps, exchanges) = (steps + of, exchanges + mean);
    }
    let share = three["exchange_share"].as_f64().unwrap();
    assert!((share - exchanges / steps).abs() < 1e-9, "{share}, {exchanges} of {steps} s");
}

/// BatchNorm with statistics of each rank's own is another method, and its running statistics are the means over the
/// ranks.
#[test]
fn own_statistics_train_too() {
    let sets = ["model.name=resnet8", "model.widths=[4,4,4]", "parallel.sync=false", "train.epochs=1"];
    let home = tempfile::tempdir().unwrap();
    let alone = trained(1, home.path(), "alone", &sets);
    let own = trained(2, home.path(), "own", &sets);
    let difference = relative(&own, &alone);
    assert!(difference > 1e-6 && difference < 1.0, "{difference}");
    let recipe = std::fs::read_to_string(home.path().join("own").join("recipe.toml")).unwrap();
    assert!(recipe.contains("[parallel]") && recipe.contains("sync = false"), "{recipe}");
}

/// A checkpoint of any number of ranks continues on any other number.
#[test]
fn checkpoints_know_no_ranks() {
    let home = tempfile::tempdir().unwrap();
    let stopped = |ranks: [usize; 2]| {
        let name = format!("stopped-{}-{}", ranks[0], ranks[1]);
        // With a constant rate, a run of two epochs begins like one of four.
        let constant = ["schedule.name=constant"];
        trained(ranks[0], home.path(), &name, &[&constant[..], &["train.epochs=2"]].concat());
        let out = home.path().join(&name);
        succeeds(gnr(ranks[1], &["resume", out.to_str().unwrap(), "--quiet", "--set", "train.epochs=4"]));
        model(&out)
    };
    let expected = trained(1, home.path(), "constant", &["schedule.name=constant"]);
    for ranks in [[2, 1], [1, 2], [4, 8]] {
        let difference = relative(&stopped(ranks), &expected);
        assert!(difference < 1e-12, "{ranks:?}: {difference:e}");
    }
}
