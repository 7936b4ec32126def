//! Bad recipes, settings, flags and run folders with the program's answers, as the table docs/bad-inputs/program.md, in
//! which the wording can be judged. With `GNR_WRITE_TABLES=1` (or `GNR_REWRITE=1`) the test writes the table, else it
//! compares.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::support::{TINY, gnr, run, safetensors, write};

/// A row: its description, and the words after `gnr`. `DIR` is the folder of the files.
type Row = (&'static str, Vec<String>);

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Recipes, each a file of its own and a row.
const RECIPES: &[(&str, &str)] = &[
    ("no TOML", "epochs: 3\n"),
    ("an open bracket", "[train\nepochs = 3\n"),
    ("an open string", "[model]\nname = \"mlp\n"),
    ("a key twice", "[train]\nepochs = 3\nepochs = 4\n"),
    ("a section twice", "[train]\nepochs = 3\n[train]\nseed = 1\n"),
    ("JSON", "{\"train\": {\"epochs\": 3}}\n"),
    ("a web page", "<!DOCTYPE html><html><body>404</body></html>\n"),
    ("a section that is none", "[training]\nepochs = 3\n"),
    ("a key of another section", "[model]\nepochs = 3\n"),
    ("a key without its section", "epochs = 3\n"),
    ("a misspelt key", "[optimizer]\nlearning_rate = 0.1\n"),
    ("a misspelt key and a misspelt value", "[model]\nnmae = \"mlp\"\n[optimizer]\nname = \"sdg\"\n"),
    ("a value in place of a section", "train = 3\n"),
    ("a section in place of a value", "[train.epochs]\nn = 3\n"),
    ("a table in place of a list", "[optimizer.group]\nmatch = \"fc\"\nlr_scale = 0.1\n"),
    ("a group without its pattern", "[[optimizer.group]]\nlr_scale = 0.1\n"),
    ("a group that sets nothing", "[[optimizer.group]]\nmatch = \"fc.*\"\n"),
    ("a date", "[train]\nseed = 1979-05-27\n"),
];

/// Assignments of `--set`, each a row.
const SETTINGS: &[(&str, &str)] = &[
    ("no value", "train.epochs"),
    ("no key", "=3"),
    ("an empty part of a key", "train..epochs=3"),
    ("a key too deep", "a.b.c.d.e.f.g.h.i=1"),
    ("a section as a value", "train=3"),
    ("a text for a number", "train.epochs=many"),
    ("a fraction for a number", "train.epochs=2.5"),
    ("no epochs", "train.epochs=0"),
    ("a negative number of epochs", "train.epochs=-1"),
    ("a number beyond 64 bits", "train.seed=99999999999999999999"),
    ("an empty batch", "train.batch_size=0"),
    ("a batch larger than the set", "train.batch_size=101"),
    ("more micro-batches than images", "train.micro_batches=17"),
    ("label smoothing of everything", "train.label_smoothing=1"),
    ("a gradient clipped to nothing", "train.clip_norm=0"),
    ("an unknown precision", "train.precision=f16"),
    ("ten thousand threads", "train.threads=10000"),
    ("ten thousand workers", "train.workers=10000"),
    ("evaluation never", "train.eval_every=0"),
    ("no step between checkpoints", "train.checkpoint_every_steps=0"),
    ("an unknown average", "train.average.kind=mean"),
    ("an average without its kind", "train.average.decay=0.9"),
    ("a decay of 1", "train.average={kind=\"ema\",decay=1.0}"),
    ("a decay for SWA", "train.average={kind=\"swa\",decay=0.9}"),
    ("an average that begins too late", "train.average={kind=\"swa\",from_epoch=9}"),
    ("a learning rate of 0", "optimizer.lr=0"),
    ("a negative learning rate", "optimizer.lr=-0.1"),
    ("an infinite learning rate", "optimizer.lr=inf"),
    ("a learning rate that is no number", "optimizer.lr=nan"),
    ("a momentum of 1", "optimizer.momentum=1"),
    ("Nesterov without momentum", "optimizer={nesterov=true,momentum=0.0}"),
    ("a momentum for Adam", "optimizer={name=\"adam\",momentum=0.9}"),
    ("one beta", "optimizer={name=\"adam\",betas=[0.9]}"),
    ("a beta of 1", "optimizer={name=\"adam\",betas=[0.9,1.0]}"),
    ("betas for SGD", "optimizer.betas=[0.9,0.99]"),
    ("a negative weight decay", "optimizer.weight_decay=-1e-4"),
    ("an unknown optimiser", "optimizer.name=adamx"),
    ("an unknown exception of weight decay", "optimizer.no_decay=bias"),
    ("a group of no tensor", "optimizer.group=[{match=\"layer9.*\",lr_scale=0.1}]"),
    ("an unknown schedule", "schedule.name=lineal"),
    ("a negative warm-up", "schedule.warmup_epochs=-1"),
    ("a floor above the learning rate", "schedule.floor=1.0"),
    ("milestones of a cosine", "schedule.milestones=[1]"),
    ("a factor above 1", "schedule={name=\"step\",factor=2.0}"),
    ("drops given twice", "schedule={name=\"step\",every_epochs=1,milestones=[1]}"),
    ("SAM's radius 0", "method.sam.rho=0"),
    ("GNR's radius negative", "method.gnr.rho=-0.1"),
    ("a negative α", "method.gnr.alpha=-1"),
    ("ξ of 0", "method.gnr.xi=0"),
    ("every 0th step", "method.gnr.every=0"),
    ("no part of the batch", "method.gnr.batch_fraction=0"),
    ("more than the batch", "method.gnr.batch_fraction=1.5"),
    ("an unknown product", "method.gnr.hvp=hessian"),
    ("a step for exact products", "method.gnr.step=0.001"),
    ("GNR that begins after the end", "method.gnr.from_epoch=2"),
    ("an unknown schedule of the radius", "method.sam.rho_schedule=cosine"),
    ("a method as a text", "method.gnr=yes"),
    ("groups of no image", "method.group=0"),
    ("an unknown model", "model.name=resnet21"),
    ("a model with another spelling", "model.name=ResNet-18"),
    ("a width of 0", "model.widths=[0]"),
    ("widths as a text", "model.widths=64"),
    ("too many widths", "model={name=\"resnet8\",widths=[4,4,4,4,4]}"),
    ("a depth that the family does not have", "model={name=\"vit_tiny_patch4_32\",depth=0}"),
    ("an unknown activation", "model.activation=softmax"),
    ("an unknown normalisation of layers", "model.norm=instance"),
    ("groups without group normalisation", "model.norm_groups=4"),
    ("a dropout of everything", "model.dropout=1"),
    ("an option of weights without weights", "model.load=matching"),
    ("weights that are not there", "model.weights=DIR/absent.safetensors"),
    ("a run folder as weights", "model.weights=DIR/run"),
    ("nothing to freeze", "model.freeze=[\"layer9.*\"]"),
    ("everything frozen", "model.freeze=[\"*\"]"),
    ("an unknown data set", "data.name=cifar"),
    ("a data set without its files", "data.name=cifar10"),
    ("a folder that is not there", "data={name=\"cifar10\",dir=\"DIR/absent\"}"),
    ("a file in place of a folder", "data={name=\"folder\",dir=\"DIR/tiny.toml\"}"),
    ("an empty folder", "data={name=\"folder\",dir=\"DIR/empty\"}"),
    ("an unknown augmentation", "data.augment=cutmix"),
    ("an unknown normalisation of pixels", "data.normalization=cifar"),
    ("everything held out", "data.validation=1"),
    ("a negative part held out", "data.validation=-0.1"),
    ("a subset of no image", "data.subset={count=0}"),
    ("a subset given twice", "data.subset={count=3,per_class=1}"),
    ("a subset of nothing", "data.subset={seed=1}"),
    ("more images than there are", "data.subset={per_class=1000}"),
    ("a resize without a size", "data.resize={interpolation=\"bicubic\"}"),
    ("a resize to nothing", "data.resize={height=0}"),
    ("an unknown filter", "data.resize={height=8,interpolation=\"nearest\"}"),
    ("noise of everything", "data.label_noise.rate=1"),
    ("negative noise", "data.label_noise.rate=-0.1"),
    ("noise without a rate", "data.label_noise.kind=symmetric"),
    ("unknown noise", "data.label_noise={rate=0.2,kind=\"asymmetric\"}"),
    ("noise by a rate and a list", "data.label_noise={rate=0.2,file=\"DIR/labels.txt\"}"),
    ("a list of labels that is not there", "data.label_noise.file=DIR/absent.npy"),
    ("a list that is too short", "data.label_noise.file=DIR/labels.txt"),
    ("a list of names", "data.label_noise.file=DIR/names.txt"),
];

/// Flags and files of the other commands, each a row.
const COMMANDS: &[(&str, &str)] = &[
    ("no command of ours", "trian"),
    ("no flag of ours", "train --sett train.epochs=3"),
    ("a built-in recipe misspelt", "train digit"),
    ("a recipe that is not there", "train DIR/absent.toml"),
    ("weights as a recipe", "train DIR/w.safetensors"),
    ("a folder as a recipe", "train DIR/empty"),
    ("a file far too long for a recipe", "train DIR/long.toml"),
    ("--resume without --out", "train DIR/tiny.toml --resume"),
    ("a folder with a run in it", "train DIR/tiny.toml --out DIR/run"),
    ("a folder with other files in it", "train DIR/tiny.toml --out DIR/full"),
    ("a file in place of a folder", "train DIR/tiny.toml --out DIR/tiny.toml"),
    ("a folder below a file", "train DIR/tiny.toml --out DIR/tiny.toml/run"),
    ("a run that is not there", "resume DIR/absent"),
    ("a folder without a run", "resume DIR/full"),
    ("fewer epochs than were done", "resume DIR/run --set train.epochs=1"),
    ("another setting in the middle of a run", "resume DIR/run --set optimizer.lr=0.5"),
    ("weights without a model", "eval DIR/w.safetensors"),
    ("weights that are not there", "eval DIR/absent.pth --model mlp"),
    ("weights of another model", "eval DIR/w.safetensors --model lenet"),
    ("weights of another width", "eval DIR/w.safetensors --model mlp"),
    ("an unknown split", "eval DIR/run/checkpoints/last.safetensors --split all"),
    ("a split that was not held out", "eval DIR/run/checkpoints/last.safetensors --split validation"),
    ("an unknown normalisation", "eval DIR/run/checkpoints/last.safetensors --normalization cifar"),
    ("a class map that is not there", "eval DIR/run/checkpoints/last.safetensors --class-map DIR/absent.txt"),
    ("a class map of other classes", "eval DIR/run/checkpoints/last.safetensors --class-map imagenet"),
    (
        "a class map that names a class twice",
        "eval DIR/run/checkpoints/last.safetensors --class-map DIR/twice.txt",
    ),
    ("a class map beyond the logits", "eval DIR/run/checkpoints/last.safetensors --class-map DIR/beyond.txt"),
    ("no weights", "weights DIR/tiny.toml"),
    ("a link to weights that are not there", "weights DIR/link.pth"),
    ("a key without a model", "weights DIR/w.safetensors --key ema"),
    ("no classes", "weights DIR/w.safetensors --model mlp --classes 0"),
    ("a shape of two sides", "weights DIR/w.safetensors --model mlp --input 8,8"),
    ("a target that is there", "convert DIR/w.safetensors DIR/run/recipe.toml"),
    ("a key that is not in the file", "convert DIR/w.safetensors DIR/new.safetensors --key ema"),
    ("an unknown model", "bench --model resnet21"),
    ("no rounds", "bench --model mlp --rounds 0"),
    ("an unknown method to time", "bench --model mlp --method gnrr"),
    ("an unknown data set", "data cifar11"),
    ("a data set that cannot be fetched", "data fetch stanford-cars --data-dir DIR/empty"),
    ("nothing to verify", "data verify DIR/empty"),
    ("no folder to verify", "data verify DIR/absent"),
    ("an unknown method", "compare DIR/tiny.toml --methods base,sma"),
    ("a method twice", "compare DIR/tiny.toml --methods sam,sam"),
    ("a method that is no recipe", "compare DIR/tiny.toml --methods gnr:method.gnr.rh0=1"),
    ("no seed", "compare DIR/tiny.toml --seeds 0"),
    ("one try", "compare DIR/tiny.toml --tune 1"),
    ("a grid without tuning", "compare DIR/tiny.toml --grid method.gnr.alpha=1,2"),
    ("nothing held out for tuning", "compare DIR/tiny.toml --tune --tune-validation 0"),
    ("a part that is none", "compare DIR/tiny.toml --shard 5/4"),
    ("no job", "compare DIR/tiny.toml --jobs 0"),
    ("an axis without values", "sweep DIR/tiny.toml --grid method.gnr.rho"),
    ("an axis of an unknown key", "sweep DIR/tiny.toml --grid method.gnr.rh0=0.1"),
    ("a value that is not allowed", "sweep DIR/tiny.toml --grid method.gnr.rho=0.1,-1"),
    ("one axis twice", "sweep DIR/tiny.toml --grid train.seed=1 --grid train.seed=2"),
    ("an unknown table", "reproduce table9"),
    ("an unknown scale", "reproduce table1 --scale tiny"),
    ("a filter that fits no run", "reproduce table1 --only nothing --dry-run"),
    ("a scale without its data", "reproduce table1 --scale paper --dry-run"),
    ("a checkpoint that is not there", "spectrum DIR/absent"),
    ("no eigenvalue", "spectrum DIR/run --top 0"),
    ("two ends", "spectrum DIR/run --top 1 --bottom 1"),
    ("a folder of a run as weights", "weights DIR/run"),
    ("more eigenvalues than parameters", "spectrum DIR/run --top 1000 --out DIR/o2"),
    ("layers that are not there", "spectrum DIR/run --layers conv --out DIR/o4"),
    ("a subset that is none", "spectrum DIR/run --subset half"),
    ("more images than there are", "spectrum DIR/run --subset 10000 --out DIR/o5"),
    ("tensors that are not there", "spectrum DIR/w.safetensors --model mlp --tensors DIR/absent.safetensors"),
    ("label smoothing of everything", "trace DIR/run --label-smoothing 1 --out DIR/o6"),
    ("a confidence of 1", "trace DIR/run --confidence 1 --out DIR/o7"),
    ("a negative tolerance", "trace DIR/run --tol=-1 --out DIR/o8"),
    ("an unknown estimator", "trace DIR/run --method exact"),
    ("a width of 0", "density DIR/run --sigma 0 --out DIR/o9"),
    ("no starts", "density DIR/run --starts 0"),
    ("three directions", "landscape DIR/run --random 3"),
    ("a range that falls", "landscape DIR/run --range 1,-1"),
    ("a range of one number", "landscape DIR/run --range 1"),
    ("the same weights at both ends", "landscape DIR/run --to DIR/run --out DIR/o10"),
    (
        "eigenvectors that are not there",
        "landscape DIR/run --eigenvectors DIR/absent.safetensors --out DIR/o11",
    ),
    ("weights as eigenvectors", "landscape DIR/run --eigenvectors DIR/w.safetensors --out DIR/o12"),
    ("a trajectory that was not kept", "landscape DIR/run --trajectory --out DIR/o13"),
    ("no points", "landscape DIR/run --points 0"),
    ("a radius of 0", "minima DIR/run --radius 0 --out DIR/o14"),
    ("a negative resolution", "minima DIR/run --resolution=-1 --out DIR/o15"),
    ("a radius of 0 to search in", "sharpness DIR/run --rho 0 --out DIR/o16"),
    ("a figure that is not there", "plot DIR/absent.json"),
    ("a figure that is no JSON", "plot DIR/tiny.toml"),
    ("a figure of an unknown kind", "plot DIR/figure.json --out DIR/drawn"),
    ("an example without a place", "plot --example figure1a"),
];

/// Damage to a copy of an interrupted run, and the flag that continues it.
type Damage = (&'static str, fn(&Path), &'static str);

const RUNS: &[Damage] = &[
    ("no recipe", |run| fs::remove_file(run.join("recipe.toml")).unwrap(), "resume RUN"),
    ("a recipe that is cut", |run| cut(&run.join("recipe.toml")), "resume RUN"),
    ("another recipe", |run| edit(&run.join("recipe.toml"), "lr = 0.1", "lr = 0.2"), "resume RUN"),
    ("a checkpoint that is cut", |run| cut(&run.join(LAST)), "resume RUN"),
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
const MLP: &[(&str, &[usize], f32)] = &[
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            assert!(fs::copy(entry.path(), target).is_ok())
        }
    }
}

/// Writes the files that the rows name.
fn prepare(home: &Path) {
    write(home, "tiny.toml", TINY);
    write(home, "w.safetensors", safetensors(MLP));
    write(home, "full/notes.txt", "mine");
    write(home, "labels.txt", "0\n1\n");
    write(home, "names.txt", "zero\none\n");
    write(home, "twice.txt", "0 0\n1 1\n0 2\n");
    write(home, "beyond.txt", "0 0\n1 10\n");
    write(home, "long.toml", "# a comment\n".repeat(30_000));
    write(home, "figure.json", "{\"title\": \"t\", \"panels\": [{\"title\": \"p\", \"kind\": \"pie\"}]}");
    fs::create_dir(home.join("empty")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(home.join("away.pth"), home.join("link.pth")).unwrap();
    let recipe = home.join("tiny.toml");
    let run_folder = home.join("run");
    let (code, _, stderr) = run(&["train", recipe.to_str().unwrap(), "--out", run_folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    // A copy of the run after its first epoch.
    copy(&run_folder, &home.join("half"));
    fs::remove_file(home.join("half/summary.json")).unwrap();
}

/// The program's answer in a line, without the reminder of the usage.
fn said(home: &Path, words: &[String]) -> String {
    let dir = home.display().to_string();
    let words: Vec<String> = words.iter().map(|word| word.replace("DIR", &dir)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = gnr(&words).current_dir(home).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    assert!(
        matches!(code, Some(1 | 2)),
        "gnr {}: {code:?} {stderr}{}",
        words.join(" "),
        String::from_utf8_lossy(&output.stdout)
    );
    let error = stderr.find("error: ").unwrap_or_else(|| panic!("gnr {}: {stderr}", words.join(" ")));
    let text = stderr[error + "error: ".len()..].replace(&dir, "DIR");
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn section(table: &mut String, home: &Path, title: &str, rows: Vec<Row>) {
    write!(table, "\n## {title}\n\n| input | command | what is said |\n|---|---|---|\n").unwrap();
    for (what, words) in rows {
        let said = said(home, &words);
        let command = words.join(" ").replace('|', "\\|");
        writeln!(table, "| {what} | `{command}` | {said} |").unwrap();
    }
}

#[test]
fn every_bad_input_is_told_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    prepare(home);
    let mut table = String::from(
        "# Bad recipes, settings, flags and run folders, and what is said of them\n\nWritten by `GNR_WRITE_TABLES=1 cargo test -p gnr-cli \
         bad_table`; the test compares it. `DIR` is the folder of the files; `tiny.toml` is a small recipe, `run` a run of it.\n",
    );
    let mut recipes: Vec<Row> = Vec::new();
    for (what, text) in RECIPES {
        let name = format!("{}.toml", what.replace(' ', "-"));
        write(home, &name, text);
        recipes.push((what, words(&format!("train DIR/{name} --dry-run"))));
    }
    section(&mut table, home, "Recipes", recipes);
    let setting = |&(what, set): &(&'static str, &str)| {
        (
            what,
            ["train".into(), "DIR/tiny.toml".into(), "--dry-run".into(), "--set".into(), set.to_owned()]
                .to_vec(),
        )
    };
    section(&mut table, home, "Settings", SETTINGS.iter().map(setting).collect());
    let command = |&(what, text): &(&'static str, &str)| (what, words(text));
    section(&mut table, home, "Commands and flags", COMMANDS.iter().map(command).collect());
    let mut runs: Vec<Row> = Vec::new();
    for (number, (what, damage, command)) in RUNS.iter().enumerate() {
        let copied = home.join(format!("run-{number}"));
        copy(&home.join("half"), &copied);
        damage(&copied);
        runs.push((what, words(&command.replace("RUN", &format!("DIR/run-{number}")))));
    }
    section(&mut table, home, "Run folders that were changed", runs);
    compare(&table);
}

fn compare(table: &str) {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "docs", "bad-inputs", "program.md"].iter().collect();
    if ["GNR_WRITE_TABLES", "GNR_REWRITE"].iter().any(|name| std::env::var_os(name).is_some()) {
        fs::write(&path, table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    for (written, now) in written.lines().zip(table.lines()) {
        assert_eq!(now, written, "GNR_WRITE_TABLES=1 writes the table anew");
    }
    assert_eq!(written.lines().count(), table.lines().count(), "GNR_WRITE_TABLES=1 writes the table anew");
    // Nobody could tell two different inputs with equal answers apart.
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| input")).collect();
    let distinct: BTreeSet<&str> = rows.iter().filter_map(|row| row.split(" | ").nth(2)).collect();
    assert!(distinct.len() * 100 >= rows.len() * 95, "{} messages for {} inputs", distinct.len(), rows.len());
}
