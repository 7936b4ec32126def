//! Every bad input and what the program says of it, as the table docs/bad-inputs/weights.md: to judge the wording.
//!
//! With `GNR_WRITE_TABLES=1` the table is written, else compared.

mod cases;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use gnr_models::weights::{self, Options, WeightFile, WeightsError};
use gnr_nn::{Init, Layout};

use cases::{Case, Wrong, broken, in_part, misfit, no_weights, refused};

/// What the program says, without the folder.
fn said(folder: &Path, wrong: Wrong, name: &str, bytes: Option<&[u8]>) -> String {
    let path = folder.join(name);
    match bytes {
        Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        None => std::fs::create_dir(&path).unwrap(),
    }
    let text = match WeightFile::open(&path) {
        Err(error) => {
            let kind = match &error {
                WeightsError::NotWeights { .. } => Wrong::NoWeights,
                WeightsError::Incomplete { .. } => Wrong::Broken,
                WeightsError::Unsupported { .. } | WeightsError::TooManyObjects { .. } => Wrong::Refused,
                _ => panic!("{name}: {error}"),
            };
            assert!(kind == wrong, "{name}: {error}");
            error.to_string()
        }
        Ok(file) if wrong == Wrong::Misfit => {
            let mut layout = Layout::new();
            let mut root = layout.root();
            root.enter("fc").parameter("weight", &[2, 2], Init::Constant(0.0));
            root.enter("fc").parameter("bias", &[2], Init::Constant(0.0));
            weights::fit(&file, &layout, layout.initialise(0), &Options::default()).unwrap_err().to_string()
        }
        Ok(file) => {
            assert!(wrong == Wrong::InPart, "{name} was opened: {:?}", file.foreign());
            let read: Result<Vec<_>, _> =
                file.stored().iter().map(|tensor| file.bytes(&tensor.name)).collect();
            let mut text = match read {
                Ok(tensors) => format!("{} ({}): tensors: {}", path.display(), file.format(), tensors.len()),
                Err(error) => error.to_string(),
            };
            for line in weights::objects(file.foreign()) {
                write!(text, "<br>not read: {line}").unwrap();
            }
            text
        }
    };
    match bytes {
        Some(_) => std::fs::remove_file(&path).unwrap(),
        None => std::fs::remove_dir(&path).unwrap(),
    }
    text.replace(&format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR), "")
}

#[test]
fn every_bad_input_is_told_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = String::from(
        "# Bad weight files, and what is said of them\n\nWritten by `GNR_WRITE_TABLES=1 cargo test -p gnr-models bad_inputs`; the test \
         compares it.\n",
    );
    let cases: Vec<Case> =
        [no_weights(), broken(), refused(), in_part(), misfit()].into_iter().flatten().collect();
    for wrong in [Wrong::NoWeights, Wrong::Broken, Wrong::Refused, Wrong::InPart, Wrong::Misfit] {
        write!(table, "\n## {}\n\n| input | what is said |\n|---|---|\n", wrong.title()).unwrap();
        for (_, what, name, bytes) in cases.iter().filter(|case| case.0 == wrong) {
            let said = said(directory.path(), wrong, name, bytes.as_deref());
            assert!(said.contains(name), "{what}: the file is named: {said}");
            // Nothing is called damaged that is whole.
            assert!(
                wrong == Wrong::Broken || wrong == Wrong::InPart || !said.contains("not a whole"),
                "{said}"
            );
            let said = said.replace('|', "\\|").replace('\n', " ");
            writeln!(table, "| {what} | {said} |").unwrap();
        }
    }
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "docs", "bad-inputs", "weights.md"].iter().collect();
    if std::env::var_os("GNR_WRITE_TABLES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &table).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (written, now) in written.lines().zip(table.lines()) {
        assert_eq!(now, written, "GNR_WRITE_TABLES=1 writes the table anew");
    }
    assert_eq!(written.lines().count(), table.lines().count(), "GNR_WRITE_TABLES=1 writes the table anew");
}

#[cfg(unix)]
#[test]
fn a_device_is_no_empty_file() {
    let error = WeightFile::open(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(error.starts_with("/dev/null: not a weight file but a pipe or a device"), "{error}");
}
