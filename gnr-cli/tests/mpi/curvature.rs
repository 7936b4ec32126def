//! Curvature of images that are spread over ranks equals that of one process.

use std::path::Path;

use serde_json::Value;

use crate::support::{gnr, succeeds, trained};

fn measured(ranks: usize, run: &Path, command: &[&str], out: &Path) -> Value {
    let arguments = [command, &[run.to_str().unwrap(), "--json", "--out", out.to_str().unwrap()]].concat();
    succeeds(gnr(ranks, &arguments));
    let file = out.join(format!("{}.json", command[0]));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn spectrum_trace_and_density_are_those_of_one_process() {
    let home = tempfile::tempdir().unwrap();
    let sets = ["model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=1", "method.gnr=false"];
    trained(1, home.path(), "run", &sets);
    let run = home.path().join("run");
    let close = |a: &Value, b: &Value, what: &str| {
        let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
        // Lanczos amplifies rounding up to its tolerance.
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1e-3), "{what}: {a} on ranks, {b} alone");
    };
    for (k, bn) in ["eval", "train"].iter().enumerate() {
        let common = ["--batch-size", "30", "--bn", bn];
        let both = |command: &[&str]| {
            [1, 3].map(|ranks| {
                let out = home.path().join(format!("{}-{k}-{ranks}", command[0]));
                measured(ranks, &run, &[command, &common].concat(), &out)
            })
        };
        let [alone, ranks] = both(&["spectrum", "--top", "2"]);
        for pair in 0..2 {
            close(&ranks["pairs"][pair]["eigenvalue"], &alone["pairs"][pair]["eigenvalue"], "eigenvalue");
        }
        let [alone, ranks] = both(&["trace", "--samples", "5"]);
        close(&ranks["trace"], &alone["trace"], "trace");
        let [alone, ranks] = both(&["density", "--starts", "2", "--steps", "5"]);
        close(&ranks["trace"], &alone["trace"], "density's trace");
    }
}
