//! PyTorch checkpoints: every container and number format, what training scripts wrap around weights, and files that
//! lie.
//!
//! The files of `tests/fixtures` are written by `make.py` there.

use std::path::{Path, PathBuf};

use gnr_models::weights::{self, Format, NonFinite, Options, Policy, WeightFile, WeightsError};
use gnr_nn::{Init, Layout};
use proptest::prelude::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures").join(name)
}

fn open(name: &str) -> WeightFile {
    WeightFile::open(&fixture(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// fc [2, 2] + bias and the statistics of a BatchNorm, as in `nested_*.pth`.
fn layout() -> Layout {
    let mut layout = Layout::new();
    let mut root = layout.root();
    let mut fc = root.enter("fc");
    fc.parameter("weight", &[2, 2], Init::Constant(0.0));
    fc.parameter("bias", &[2], Init::Constant(0.0));
    let mut bn = root.enter("bn");
    bn.parameter("weight", &[2], Init::Constant(0.0));
    bn.parameter("bias", &[2], Init::Constant(7.0));
    bn.buffer("running_mean", &[2], 7.0);
    bn.buffer("running_var", &[2], 7.0);
    layout
}

#[test]
fn every_container_gives_the_same_tensors() {
    for (name, format) in [
        ("kinds_zip.pth", Format::TorchZip),
        ("kinds_legacy.pth", Format::TorchLegacy),
        ("kinds_protocol4.pth", Format::TorchZip),
    ] {
        let file = open(name);
        assert_eq!(file.format(), format, "{name}");
        assert!(file.foreign().is_empty(), "{name}: {:?}", file.foreign());
        let floats: [(&str, &[usize], &[f64]); 9] = [
            ("a", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            ("transposed", &[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
            ("tail", &[3], &[2.0, 3.0, 4.0]),
            ("every_other", &[5], &[1.0, 3.0, 5.0, 7.0, 9.0]),
            ("f16", &[3], &[1.5, -2.0, 65504.0]),
            ("f64", &[2], &[0.1, 1e300]),
            ("scalar", &[], &[2.5]),
            ("empty", &[0, 3], &[]),
            ("parameter", &[2], &[1.0, -1.0]),
        ];
        let stored = |name: &str| file.stored().iter().find(|stored| stored.name == name).unwrap();
        for (tensor, shape, values) in floats {
            assert_eq!(stored(tensor).shape, shape, "{name}: {tensor}");
            assert_eq!(file.values(stored(tensor)).unwrap(), values, "{name}: {tensor}");
        }
        // 3e38 to 8 bits of significand.
        let bf16 = file.values(stored("bf16")).unwrap();
        assert!(bf16[..2] == [1.5, -2.0] && (bf16[2] / 3e38 - 1.0).abs() < 2f64.powi(-8), "{bf16:?}");
        let whole = [("i64", -1.0 + 2f64.powi(40)), ("i32", 0.0), ("u8", 255.0), ("flag", 1.0)];
        for (tensor, sum) in whole {
            assert_eq!(file.fingerprint(stored(tensor)).unwrap().0, Some(sum), "{name}: {tensor}");
            assert!(matches!(file.values(stored(tensor)), Err(WeightsError::NumberFormat { .. })));
        }
        assert_eq!(file.stored().len(), floats.len() + 1 + whole.len());
    }
}

/// `{"state_dict": {"module.fc.weight": …}, "optimizer": …, "args": Namespace}`.
#[test]
fn weights_are_found_in_what_training_scripts_save() {
    for name in ["nested_zip.pth", "nested_legacy.pth"] {
        let loaded = weights::load(&fixture(name), &layout(), NonFinite::Reject).unwrap();
        assert_eq!(loaded.values[0], [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(loaded.values[1], [5.0, 6.0]);
        assert_eq!(loaded.values[2..], [[1.0; 2], [0.0; 2], [0.0; 2], [1.0; 2]]);
        let report = loaded.report;
        assert_eq!((report.prefix.as_str(), report.matched.len()), ("state_dict.module.", 6));
        assert!(report.unexpected.is_empty(), "{:?}", report.unexpected);
        assert_eq!(report.elsewhere, 1, "the momentum");
        assert_eq!(report.foreign, ["args: argparse.Namespace"]);
        assert!(report.to_string().contains("found under `state_dict.module`"), "{report}");
    }
}

#[test]
fn a_key_chooses_the_part_of_a_file() {
    let options = |key: &str| Options { key: Some(key.into()), ..Options::default() };
    let file = open("nested_zip.pth");
    let layout = layout();
    let initial = layout.initialise(0);
    assert!(weights::fit(&file, &layout, initial.clone(), &options("state_dict")).is_ok());
    let error = weights::fit(&file, &layout, initial, &options("model")).unwrap_err().to_string();
    assert!(error.contains("no tensor under `model`") && error.contains("`state_dict`"), "{error}");
}

/// Python's loader would run `os.system("touch executed")`.
#[test]
fn code_in_a_checkpoint_is_named_and_not_run() {
    let file = open("payload.pth");
    assert_eq!(file.stored().len(), 1);
    // `os.system` is known to Python by the module that defines it.
    assert_eq!(file.foreign(), ["payload: posix.system"]);
    for place in [PathBuf::from("executed"), fixture("executed")] {
        assert!(!place.exists(), "{} exists: the payload ran", place.display());
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let refused = |name: &str, words: &[&str]| {
        let error = match WeightFile::open(&fixture(name)) {
            Err(error) => error.to_string(),
            Ok(file) => file.bytes(&file.stored()[0].name).unwrap_err().to_string(),
        };
        assert!(words.iter().all(|word| error.contains(word)), "{name}: {error}");
    };
    refused("expanded.pth", &["expanded.pth", "`huge`", "4294967296 bytes"]);
    refused("make.py", &["make.py", "a text that begins"]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("opcode.pth");
    // PROTO 2, then a byte that is no operation.
    std::fs::write(&path, b"\x80\x02\x9fabcdefgh.").unwrap();
    let error = WeightFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("opcode.pth") && error.contains("0x9f"), "{error}");
}

#[test]
fn a_converted_file_has_the_same_numbers_under_plain_names() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("out.safetensors");
    let file = open("nested_zip.pth");
    let converted = weights::convert(&file, None, None, &to).unwrap();
    assert_eq!((converted.tensors, converted.prefix.as_str()), (7, "state_dict.module."));
    assert_eq!(converted.left_out, ["optimizer.state.0.momentum_buffer"]);
    let loaded = weights::load(&to, &layout(), NonFinite::Reject).unwrap();
    assert_eq!(
        loaded.values,
        weights::load(&fixture("nested_zip.pth"), &layout(), NonFinite::Reject).unwrap().values
    );
    let first = std::fs::read(&to).unwrap();
    weights::convert(&file, None, None, &to).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), first, "the same file gives the same bytes");

    let kinds = open("kinds_legacy.pth");
    weights::convert(&kinds, None, None, &to).unwrap();
    let back = WeightFile::open(&to).unwrap();
    for tensor in kinds.stored() {
        assert_eq!(back.bytes(&tensor.name).unwrap(), kinds.bytes(&tensor.name).unwrap(), "{}", tensor.name);
    }
    assert_eq!(back.stored(), kinds.stored());

    // With a model: its tensors only, under its names.
    let converted = weights::convert(&file, None, Some(&layout()), &to).unwrap();
    assert_eq!(converted.tensors, 6);
    let error = weights::convert(&file, Some("ema"), None, &to).unwrap_err().to_string();
    assert!(error.contains("no tensor under `ema`"), "{error}");
}

#[test]
fn a_head_of_its_own_and_whatever_fits() {
    let mut layout = Layout::new();
    let mut root = layout.root();
    root.enter("bn").parameter("bias", &[2, 1], Init::Constant(9.0));
    let mut fc = root.enter("fc");
    fc.parameter("weight", &[3, 2], Init::Constant(1.5));
    fc.parameter("bias", &[3], Init::Constant(1.5));
    let file = open("nested_zip.pth");
    let fit = |policy| {
        weights::fit(&file, &layout, layout.initialise(0), &Options { policy, ..Options::default() })
    };
    let loaded = fit(Policy::NewHead).unwrap();
    assert_eq!(loaded.values, [vec![0.0; 2], vec![1.5; 6], vec![1.5; 3]]);
    assert_eq!(loaded.report.new_head, ["fc.weight", "fc.bias"]);
    // [2] and [2, 1] are the same numbers in the same order.
    assert_eq!(loaded.report.reshaped[0].to_string(), "bn.bias [2, 1] from [2]");
    assert_eq!(loaded.report.unexpected, ["bn.running_mean", "bn.running_var", "bn.weight"]);
    let error = fit(Policy::All).unwrap_err().to_string();
    assert!(error.contains("`fc.weight` has shape [2, 2], the model's has [3, 2]"), "{error}");
    let matching = fit(Policy::Matching).unwrap();
    assert_eq!(matching.report.mismatched.len(), 2);
    assert_eq!(matching.report.total(), 3);
    assert!(fit(Policy::IgnoreUnexpected).is_err());
}

#[test]
fn unexpected_tensors_are_refused_unless_ignored() {
    let mut layout = Layout::new();
    layout.root().enter("fc").parameter("weight", &[2, 2], Init::Constant(0.0));
    let file = open("nested_zip.pth");
    let fit = |policy| {
        weights::fit(&file, &layout, layout.initialise(0), &Options { policy, ..Options::default() })
    };
    let error = fit(Policy::All).unwrap_err().to_string();
    assert!(error.contains("the model has no tensor `bn.bias` (and 4 more)"), "{error}");
    assert_eq!(fit(Policy::IgnoreUnexpected).unwrap().report.unexpected.len(), 5);
}

#[test]
fn a_file_of_another_model_is_refused_with_names_of_both() {
    let mut layout = Layout::new();
    layout.root().parameter("w", &[1], Init::Constant(0.0));
    let options = Options { policy: Policy::Matching, ..Options::default() };
    let error = weights::fit(&open("kinds_zip.pth"), &layout, layout.initialise(0), &options).unwrap_err();
    assert_eq!(
        error.to_string().split(": ").last().unwrap(),
        "it has `a` [2, 3], `bf16` [3], `empty` [0, 3], the model `w` [1]"
    );
}

/// Opens and reads everything. Whatever the file says, it must neither panic nor reserve more than files this small
/// justify.
fn read_all(path: &Path) {
    if let Ok(file) = WeightFile::open(path) {
        for tensor in file.stored() {
            if let Ok(bytes) = file.bytes(&tensor.name) {
                assert!(bytes.len() as u64 <= std::fs::metadata(path).unwrap().len());
            }
        }
    }
}

/// Largest address space this process has had, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmPeak:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_checkpoints_do_no_harm(
        which in 0..4usize,
        cut in prop::option::of(0.0..1.0f64),
        changes in prop::collection::vec((0.0..1.0f64, any::<u8>()), 1..12),
    ) {
        let name = ["kinds_zip.pth", "kinds_legacy.pth", "nested_zip.pth", "nested_legacy.pth"][which];
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for (place, value) in changes {
            let place = (place * bytes.len() as f64) as usize;
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate((cut * bytes.len() as f64) as usize);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let before = peak_bytes();
        read_all(file.path());
        if let (Some(before), Some(after)) = (before, peak_bytes()) {
            // The fuzzer counts exactly; here, other tests run beside. Anything near a claimed length would be
            // gigabytes.
            prop_assert!(after - before < 256 << 20, "{} MiB reserved", (after - before) >> 20);
        }
    }

    /// Opcodes in any order behind the start of a pickle or of a legacy file.
    #[test]
    fn arbitrary_pickles_do_no_harm(
        legacy in any::<bool>(),
        body in prop::collection::vec(
            prop_oneof![
                prop::sample::select(b"(.0129NIJKLMTUXVcbdlt)]}easuqrhjQRgpGBC\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x93\x94\x95\x96".to_vec()),
                any::<u8>(),
            ],
            0..200,
        ),
    ) {
        let mut bytes = b"\x80\x02".to_vec();
        if legacy {
            // Magic number and protocol version.
            bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
        }
        bytes.extend(body);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let before = peak_bytes();
        read_all(file.path());
        if let (Some(before), Some(after)) = (before, peak_bytes()) {
            prop_assert!(after - before < 256 << 20, "{} MiB reserved", (after - before) >> 20);
        }
    }
}
