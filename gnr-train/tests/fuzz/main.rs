//! Damaged recipes, and damaged files that a run leaves and reads again: no file may cause a panic, take long, or take
//! more memory than its size justifies. Event files are never read. This is a binary of its own, because its allocator
//! counts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use gnr_fuzz::Campaign;
use gnr_train::{Existing, Recipe, recipe::BUILTIN, testing, train};
use peak_alloc::PeakAlloc;
use safetensors::{Dtype, tensor::TensorView};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Words of TOML and of recipes.
const TOML: &[&[u8]] = &[
    b"[",
    b"]",
    b"[[",
    b"]]",
    b"{",
    b"}",
    b"a.",
    b"=",
    b"\n",
    b"\"",
    b"'",
    b"\"\"\"",
    b"#",
    b"0x",
    b"1e9",
    b"-",
    b"nan",
    b"inf",
    b"true",
    b"[train]\n",
    b"[method.gnr]\n",
    b"[[optimizer.group]]\n",
    b"rho = 0.1\n",
    b"lr = 1e30\n",
    b"x = [",
    b"1979-05-27",
    b"\\u0000",
    b"\xef\xbb\xbf",
];
/// Words of JSON and of what runs record.
const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"null",
    b"true",
    b"0,",
    b"1e999",
    b"-1",
    b"[[",
    b"{\"a\":",
    b"\"\",",
    b"[\"\",0],",
    b"\n",
    b"\\ud800",
    b"\"epoch\"",
    b"\"step\"",
    b"\"F32\"",
    b"\"dtype\"",
    b"\xff",
];

/// Runs the campaign of a reader. A value of JSON or TOML takes 32 bytes and more, a list of values twice that while it
/// grows, an object of one key ten times its text. Hence more than 8 bytes are allowed for each byte of text. Recipes
/// are bounded, the other files are a run's own.
fn campaign(name: &'static str, seeds: Vec<Vec<u8>>, pieces: &'static [&'static [u8]], per_byte: usize) {
    let corpora: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fuzz", "corpus"].iter().collect();
    let mut campaign = Campaign::new(name, &corpora, seeds, pieces);
    campaign.per_byte = per_byte;
    let (_, read) = testing::READERS.iter().find(|(reader, _)| *reader == name).unwrap();
    // An assignment is its own place, which the message names.
    let place = |bytes: &[u8]| format!("--set {}", String::from_utf8_lossy(bytes));
    campaign.run(&MEMORY, |bytes| match read(bytes) {
        // A name may contain any mark.
        Err(error) if name == "class-map" && error.to_string().ends_with("is there twice") => {
            Err("a name twice".into())
        }
        Err(error) if name == "assignment" => Err(error.to_string().replacen(&place(bytes), "SET", 1)),
        other => other.map_err(|error| error.to_string()),
    });
}

#[test]
fn recipes() {
    let mut seeds: Vec<Vec<u8>> = BUILTIN.iter().map(|known| known.text.as_bytes().to_vec()).collect();
    let whole = Recipe::parse(
        "r.toml",
        "r",
        "[method]\nsam = true\ngnr = true\n[train]\naverage = { kind = \"swa\" }\n",
        &[],
    );
    seeds.push(whole.unwrap().to_toml().unwrap().into_bytes());
    campaign("recipe", seeds, TOML, 512);
}

#[test]
fn assignments() {
    let seeds =
        ["train.epochs=3", "method.gnr={rho=0.1}", "model.widths=[8, 8]", "name=x", "method.sam = true"];
    campaign("assignment", seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(), TOML, 512);
}

#[test]
fn class_maps() {
    let seeds = ["cat\ndog\n", "# two\ncat 5\n\ngreat white shark 2\n"];
    const WORDS: &[&[u8]] = &[b"\n", b" ", b"\t", b"# ", b"7", b"cat", b"\xef\xbb\xbf", b"\xff"];
    campaign("class-map", seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(), WORDS, 128);
}

/// A folder of a run with this recipe.
fn run_folder() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let recipe = Recipe::parse("r.toml", "run", testing::RECIPE, &[]).unwrap();
    train(recipe, &home.path().join("run"), Existing::Refuse, &mut (), &AtomicBool::new(false)).unwrap();
    home
}

#[test]
fn checkpoints() {
    let home = run_folder();
    let last = std::fs::read(home.path().join("run/checkpoints/last.safetensors")).unwrap();
    campaign("checkpoint", vec![last], JSON, 16);
}

#[test]
fn records_of_images() {
    let home = run_folder();
    let record = std::fs::read(home.path().join("run/data.json")).unwrap();
    campaign("images-record", vec![record], JSON, 32);
}

#[test]
fn logs_of_metrics() {
    let home = run_folder();
    let log = std::fs::read(home.path().join("run/metrics.jsonl")).unwrap();
    let step = b"{\"kind\":\"step\",\"step\":2,\"loss\":0.5}\n{\"kind\":\"epoch\",\"epoch\":1,\"step\":2}\n"
        .to_vec();
    campaign("metrics", vec![log, step], JSON, 64);
}

#[test]
fn points() {
    let lines = format!(
        "{}\n{{\"key\":\"0 1\",\"value\":0.5}}\n{{\"key\":\"a\",\"value\":[1,2]}}\n",
        testing::request()
    );
    campaign("points", vec![lines.into_bytes()], JSON, 160);
}

#[test]
fn states_of_lanczos() {
    let header = serde_json::json!({
        "format": 1, "request": testing::request(), "rest": {},
        "runs": [{ "basis": 2, "next": 1, "kept": 1, "good": [[1.0, 0.1]], "num_matvecs": 3, "restarts": 0, "draws": 1,
                   "progress": [[1.0, 0.5]], "converged": 0 }],
    });
    let number: Vec<u8> = 0.5f64.to_le_bytes().repeat(4);
    let tensor =
        |len: usize, shape: Vec<usize>| TensorView::new(Dtype::F64, shape, &number[..8 * len]).unwrap();
    let vector = || tensor(3, vec![3]);
    let tensors = [
        ("0.basis.0", vector()),
        ("0.basis.1", vector()),
        ("0.next.0", vector()),
        ("0.good.0", vector()),
        ("0.projected", tensor(4, vec![2, 2])),
        ("0.coupling", tensor(2, vec![1, 2])),
    ];
    let metadata = [("gnr-curvature".to_owned(), header.to_string())].into();
    let state = safetensors::serialize(tensors, Some(metadata)).unwrap();
    campaign("state", vec![state], JSON, 160);
}
