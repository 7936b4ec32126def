//! Damage to run folders, a row each.

use std::{fs, path::Path};

use crate::support::safetensors;

/// Damage to a copy of an interrupted run, and the flag that continues it.
pub(super) type Damage = (&'static str, fn(&Path), &'static str);

pub(super) const RUNS: &[Damage] = &[
    ("no recipe", |run| fs::remove_file(run.join("recipe.toml")).unwrap(), "resume RUN"),
    ("a recipe that is cut", |run| cut(&run.join("recipe.toml")), "resume RUN"),
    ("another recipe", |run| edit(&run.join("recipe.toml"), "lr = 0.1", "lr = 0.2"), "resume RUN"),
    (
        "a checkpoint that is cut",
        |run| {
            // The header's own length depends on whether the program knows its commit.
            let bytes = fs::read(run.join(LAST)).unwrap();
            fs::write(run.join(LAST), [&1800_u64.to_le_bytes(), &bytes[8..1544]].concat()).unwrap();
        },
        "resume RUN",
    ),
    ("an empty checkpoint", |run| fs::write(run.join(LAST), "").unwrap(), "resume RUN"),
    (
        "published weights as the checkpoint",
        |run| fs::write(run.join(LAST), safetensors(MLP)).unwrap(),
        "resume RUN",
    ),
    (
        "a checkpoint of a later program",
        |run| edit(&run.join(LAST), "\\\"format\\\":1", "\\\"format\\\":2"),
        "resume RUN",
    ),
    (
        "a checkpoint with a number too large",
        |run| edit(&run.join(LAST), "\\\"step\\\":", "\\\"step\\\":9007199254740993"),
        "resume RUN",
    ),
    ("a record of the images that is cut", |run| cut(&run.join("data.json")), "resume RUN"),
    ("other images", |run| edit(&run.join("data.json"), "\"images\": 100", "\"images\": 120"), "resume RUN"),
    (
        "a folder in place of the log",
        |run| {
            fs::remove_file(run.join("metrics.jsonl")).unwrap();
            fs::create_dir(run.join("metrics.jsonl")).unwrap();
        },
        "resume RUN",
    ),
    ("a line before the log", |run| prepend(&run.join("metrics.jsonl"), "# my run\n"), "resume RUN"),
    (
        "a log without its last line",
        |run| {
            let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
            let first = text.split_inclusive('\n').next().unwrap();
            fs::write(run.join("metrics.jsonl"), first).unwrap();
        },
        "resume RUN",
    ),
    (
        "a log behind itself",
        |run| {
            let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
            prepend(&run.join("metrics.jsonl"), &log);
        },
        "resume RUN",
    ),
    (
        "a loss in the log that is no number",
        |run| edit(&run.join("metrics.jsonl"), "\"train_loss\":", "\"train_loss\":\"low\",\"loss\":"),
        "resume RUN",
    ),
    (
        "an epoch in the log that is none",
        |run| edit(&run.join("metrics.jsonl"), "\"epoch\":1", "\"epoch\":NaN"),
        "resume RUN",
    ),
    ("no log", |run| fs::remove_file(run.join("metrics.jsonl")).unwrap(), "resume RUN"),
    ("other labels", |run| edit(&run.join("data.json"), "\"labels\": \"", "\"labels\": \"0"), "resume RUN"),
    ("other pixels", |run| edit(&run.join("data.json"), "\"pixels\": \"", "\"pixels\": \"0"), "resume RUN"),
    ("an empty record of the images", |run| fs::write(run.join("data.json"), "").unwrap(), "resume RUN"),
    (
        "a list as the record of the images",
        |run| fs::write(run.join("data.json"), "[1, 2]").unwrap(),
        "resume RUN",
    ),
    ("a checkpoint of another recipe", |run| edit(&run.join(LAST), "seed = 0", "seed = 1"), "resume RUN"),
    (
        "a checkpoint that is a folder",
        |run| {
            fs::remove_file(run.join(LAST)).unwrap();
            fs::create_dir(run.join(LAST)).unwrap();
        },
        "resume RUN",
    ),
    (
        "a checkpoint that a pull did not bring",
        |run| {
            let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3088\n";
            fs::write(run.join(LAST), pointer).unwrap();
        },
        "resume RUN",
    ),
    (
        "a recipe in UTF-16",
        |run| {
            let text = fs::read_to_string(run.join("recipe.toml")).unwrap();
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            fs::write(run.join("recipe.toml"), [&[0xff, 0xfe][..], &wide].concat()).unwrap();
        },
        "resume RUN",
    ),
    ("an empty recipe", |run| fs::write(run.join("recipe.toml"), "").unwrap(), "resume RUN"),
    (
        "a folder in place of the lock",
        |run| {
            let _ = fs::remove_file(run.join("run.lock"));
            fs::create_dir(run.join("run.lock")).unwrap();
        },
        "resume RUN",
    ),
    ("the folder of its checkpoints", |_| {}, "resume RUN/checkpoints"),
    ("a checkpoint in place of the run", |_| {}, "resume RUN/checkpoints/last.safetensors"),
    ("another seed in the middle of a run", |_| {}, "resume RUN --set train.seed=9"),
    ("another model in the middle of a run", |_| {}, "resume RUN --set model.widths=[3]"),
    ("no checkpoint", |run| fs::remove_dir_all(run.join("checkpoints")).unwrap(), "eval RUN"),
];

const LAST: &str = "checkpoints/last.safetensors";

/// The tensors of an MLP with one hidden layer of two units.
pub(super) const MLP: &[(&str, &[usize], f32)] = &[
    ("0.weight", &[2, 64], 0.0),
    ("0.bias", &[2], 0.0),
    ("2.weight", &[10, 2], 0.0),
    ("2.bias", &[10], 0.0),
];

fn prepend(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{text}{before}")).unwrap();
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Replaces a text in a file. In a safetensors header the length changes, too.
fn edit(path: &Path, from: &str, to: &str) {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no {from} in {}", path.display()));
    let mut edited = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let length = u64::from_le_bytes(edited[..8].try_into().unwrap());
        let longer = length + (to.len() - from.len()) as u64;
        edited[..8].copy_from_slice(&longer.to_le_bytes());
    }
    fs::write(path, edited).unwrap();
}
