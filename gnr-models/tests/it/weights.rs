//! Weight files: what is saved comes back, and what is wrong is named.

use std::{collections::BTreeMap, fs};

use gnr_models::{
    AnyModel, ModelConfig,
    weights::{self, NonFinite, Options, Policy, Precision, WeightFile, WeightsError},
};
use gnr_nn::{Layout, Model};

fn layout(classes: usize) -> Layout {
    AnyModel::build(&ModelConfig::new("resnet8", classes, [1, 8, 8])).unwrap().layout().clone()
}

fn notes() -> BTreeMap<String, String> {
    ["zeta", "alpha", "model", "epoch"].map(|key| (key.to_owned(), format!("{key}'s \"value\""))).into()
}

fn file(classes: usize) -> Vec<u8> {
    let layout = layout(classes);
    weights::to_bytes(&layout, &layout.initialise(1), Precision::F64, &notes()).unwrap()
}

#[test]
fn what_is_saved_comes_back() {
    let (layout, directory) = (layout(10), tempfile::tempdir().unwrap());
    let path = directory.path().join("weights.safetensors");
    let values = layout.initialise(7);
    weights::save(&path, &layout, &values, Precision::F64, &notes()).unwrap();
    let loaded = weights::load(&path, &layout, NonFinite::Reject).unwrap();
    assert_eq!(loaded.values, values);
    assert_eq!(loaded.metadata, notes());
    assert_eq!(loaded.report.matched.len(), layout.entries().len());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn single_precision_rounds_to_nearest() {
    let layout = layout(10);
    let values = layout.initialise(7);
    let bytes = weights::to_bytes(&layout, &values, Precision::F32, &BTreeMap::new()).unwrap();
    let loaded = weights::from_bytes("memory", &bytes, &layout, NonFinite::Reject).unwrap();
    for (found, expected) in loaded.values.iter().flatten().zip(values.iter().flatten()) {
        assert_eq!(*found, f64::from(*expected as f32));
    }
}

#[test]
fn the_same_values_give_the_same_bytes() {
    assert_eq!(file(10), file(10));
}

#[test]
fn parameters_and_running_statistics_part_and_join() {
    let layout = layout(10);
    let values = layout.initialise(3);
    let (parameters, buffers) = weights::split(&layout, values.clone());
    assert_eq!((parameters.len(), buffers.len()), (layout.num_parameter_tensors(), layout.num_buffers()));
    assert_eq!(weights::join(&layout, parameters.clone(), buffers).unwrap(), values);
    assert!(matches!(weights::join(&layout, parameters, vec![]), Err(WeightsError::Count { .. })));
}

#[test]
fn another_number_of_classes_is_an_error_unless_partial() {
    let (layout, directory) = (layout(4), tempfile::tempdir().unwrap());
    let path = directory.path().join("ten.safetensors");
    std::fs::write(&path, file(10)).unwrap();
    let error = weights::load(&path, &layout, NonFinite::Reject).unwrap_err().to_string();
    assert!(error.contains("ten.safetensors") && error.contains("`linear.weight`"), "{error}");
    assert!(error.contains("[10, 32]") && error.contains("[4, 32]"), "{error}");

    let initial = layout.initialise(2);
    let options = Options { policy: Policy::Matching, ..Options::default() };
    let loaded = weights::fit(&WeightFile::open(&path).unwrap(), &layout, initial.clone(), &options).unwrap();
    let kept: Vec<_> = loaded.report.mismatched.iter().map(|mismatch| mismatch.name.as_str()).collect();
    assert_eq!(kept, ["linear.weight", "linear.bias"]);
    let n = initial.len();
    assert_eq!(loaded.values[n - 2..], initial[n - 2..]);
    assert_ne!(loaded.values[0], initial[0]);
}

#[test]
fn missing_and_unexpected_tensors() {
    let config = ModelConfig::new("mlp", 10, [1, 8, 8]);
    let mlp = AnyModel::build(&config).unwrap();
    let error = weights::from_bytes("r.safetensors", &file(10), mlp.layout(), NonFinite::Reject).unwrap_err();
    assert!(matches!(error, WeightsError::NothingFits { .. }), "{error}");

    let deeper =
        AnyModel::build(&ModelConfig::new("resnet20", 10, [1, 8, 8]).with_widths([8, 16, 32])).unwrap();
    let error =
        weights::from_bytes("r.safetensors", &file(10), deeper.layout(), NonFinite::Reject).unwrap_err();
    assert_eq!(error.to_string(), "r.safetensors: tensor `layer1.1.conv1.weight` is missing (and 59 more)");

    // A deeper net's file has what the shallower net needs, and more.
    let deep = AnyModel::build(&config.clone().with_widths([256, 128, 10])).unwrap();
    let bytes =
        weights::to_bytes(deep.layout(), &deep.layout().initialise(0), Precision::F32, &notes()).unwrap();
    let loaded = weights::from_bytes("deep", &bytes, mlp.layout(), NonFinite::Reject).unwrap();
    assert_eq!(loaded.report.unexpected, ["6.bias", "6.weight"]);
}

/// A handwritten file: one F16 tensor, PyTorch's counter beside it.
#[test]
fn counters_are_ignored_and_other_number_formats_named() {
    let mut layout = Layout::new();
    layout.root().parameter("w", &[2], gnr_nn::Init::Constant(0.0));
    let header = |dtype: &str, bytes: usize| {
        let json = format!(
            r#"{{"w":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{bytes}]}},"bn.num_batches_tracked":{{"dtype":"I64","shape":[],"data_offsets":[{bytes},{}]}}}}"#,
            bytes + 8
        );
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0u8; bytes + 8]].concat()
    };
    let loaded = weights::from_bytes("half", &header("F16", 4), &layout, NonFinite::Reject).unwrap();
    assert_eq!(loaded.values, [[0.0, 0.0]]);
    assert!(loaded.report.unexpected.is_empty());
    let error = weights::from_bytes("ints", &header("I32", 8), &layout, NonFinite::Reject).unwrap_err();
    assert_eq!(error.to_string(), "ints: tensor `w` holds I32, expected F64, F32, F16 or BF16");
}

#[test]
fn damaged_files_are_named_at_every_cut() {
    let (layout, bytes) = (layout(10), file(10));
    for length in [7, 8, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        let error =
            weights::from_bytes("cut.safetensors", &bytes[..length], &layout, NonFinite::Reject).unwrap_err();
        let whole = matches!(error, WeightsError::Incomplete { length: found, .. } if found == length as u64);
        assert!(whole, "{error}");
    }
    let error = weights::from_bytes("cut", &[], &layout, NonFinite::Reject).unwrap_err();
    assert!(error.to_string().starts_with("cut: not a weight file but an empty file"), "{error}");
    let mut altered = bytes.clone();
    altered[12] = 0xff;
    let error = weights::from_bytes("altered", &altered, &layout, NonFinite::Reject).unwrap_err();
    assert!(error.to_string().starts_with("altered: not a whole safetensors file"), "{error}");
    let longer = [&bytes[..], b"tail"].concat();
    assert!(weights::from_bytes("longer", &longer, &layout, NonFinite::Reject).is_err());
}

#[test]
fn weights_that_are_not_finite_are_refused_unless_asked_for() {
    let layout = layout(10);
    let mut values = layout.initialise(1);
    values[5][3] = f64::NAN;
    let bytes = weights::to_bytes(&layout, &values, Precision::F32, &notes()).unwrap();
    match weights::from_bytes("nan", &bytes, &layout, NonFinite::Reject) {
        Err(WeightsError::NonFinite { tensor, index, .. }) => {
            assert_eq!((tensor.as_str(), index), (layout.entries()[5].name.as_str(), 3));
        }
        other => panic!("{other:?}"),
    }
    assert!(weights::from_bytes("nan", &bytes, &layout, NonFinite::Keep).unwrap().values[5][3].is_nan());
}

#[cfg(unix)]
#[test]
fn a_file_behind_a_link_is_written_and_a_device_stays() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let home = tempfile::tempdir().unwrap();
    let (layout, link, device) = (layout(10), home.path().join("link"), home.path().join("device"));
    symlink("file", &link).unwrap();
    symlink("/dev/null", &device).unwrap();
    for path in [&link, &device] {
        weights::save(path, &layout, &layout.initialise(0), Precision::F32, &notes()).unwrap();
        assert!(path.is_symlink());
    }
    assert!(WeightFile::open(&home.path().join("file")).is_ok());
    assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_named() {
    let (layout, directory) = (layout(10), tempfile::tempdir().unwrap());
    let absent = directory.path().join("absent").join("w.safetensors");
    let error = weights::load(&absent, &layout, NonFinite::Reject).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
    let error = weights::save(&absent, &layout, &layout.initialise(0), Precision::F32, &notes()).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }), "{error}");
    // Renaming a file over a directory fails after the write: nothing may be left behind.
    let error = weights::save(directory.path(), &layout, &layout.initialise(0), Precision::F32, &notes())
        .unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }), "{error}");
    let mut partial = directory.path().as_os_str().to_owned();
    partial.push(".partial");
    assert!(!std::path::Path::new(&partial).exists());
}

/// A class token and a square grid of patches.
#[test]
fn position_embeddings_of_another_grid_are_interpolated_on_request() {
    let layout = |side: usize| {
        let mut layout = Layout::new();
        let mut root = layout.root();
        root.parameter("cls_token", &[1, 1, 2], gnr_nn::Init::Constant(0.0));
        root.parameter("pos_embed", &[1, 1 + side * side, 2], gnr_nn::Init::Constant(0.0));
        layout
    };
    // The token has a place of its own; the grid's first channel is constant, its second rises from left to right.
    let grid: Vec<f64> = (0..16).flat_map(|i| [5.0, f64::from(i % 4)]).collect();
    let values = vec![vec![1.0, 2.0], [&[7.0, 8.0], &grid[..]].concat()];
    let bytes = weights::to_bytes(&layout(4), &values, Precision::F64, &BTreeMap::new()).unwrap();
    let file = WeightFile::from_bytes("vit", bytes).unwrap();
    let fit = |side, resample_pos_embed| {
        let options = Options { resample_pos_embed, ..Options::default() };
        weights::fit(&file, &layout(side), layout(side).initialise(0), &options)
    };
    assert!(matches!(fit(8, false), Err(WeightsError::Shape { .. })));
    let loaded = fit(8, true).unwrap();
    assert_eq!(loaded.report.resampled[0].to_string(), "pos_embed [1, 65, 2] from [1, 17, 2]");
    let found = &loaded.values[1];
    assert_eq!(found[..2], [7.0, 8.0]);
    for (i, place) in found[2..].chunks(2).enumerate() {
        assert!((place[0] - 5.0).abs() < 1e-14);
        // Away from the borders a cubic kernel reproduces a straight line: column c of 8 lies at (c + ½)/2 − ½ of 4.
        let column = i % 8;
        if (3..5).contains(&column) {
            let expected = (column as f64 + 0.5) / 2.0 - 0.5;
            assert!((place[1] - expected).abs() < 1e-14, "{column}: {}", place[1]);
        }
    }
    assert_eq!(fit(4, true).unwrap().values, values, "the same grid is left alone");
}

/// A file of 64 positions may be a square grid, or the grid of a model for wide images.
#[test]
fn grids_that_are_no_squares() {
    let model = |height, width| {
        let config = ModelConfig::new("vit_tiny_patch4_32", 2, [3, height, width]);
        let config = ModelConfig { widths: Some(vec![2]), depth: Some(1), heads: Some(1), ..config };
        AnyModel::build(&config).unwrap().layout().clone()
    };
    let file = |layout: &Layout, notes: &BTreeMap<String, String>| {
        let bytes = weights::to_bytes(layout, &layout.initialise(0), Precision::F64, notes).unwrap();
        WeightFile::from_bytes("vit", bytes).unwrap()
    };
    let fit = |file: &WeightFile, layout: &Layout, resample_pos_embed| {
        let options = Options { resample_pos_embed, ..Options::default() };
        weights::fit(file, layout, layout.initialise(1), &options)
    };
    let (square, wide, small) = (model(32, 32), model(16, 64), model(24, 24));
    assert_eq!((square.grid(), wide.grid()), (Some([8, 8]), Some([4, 16])));
    let names =
        |layout: &Layout| layout.entries().iter().position(|entry| entry.name == "pos_embed").unwrap();
    let positions = names(&wide);

    // Nothing is interpolated without the request, and the report tells the assumption.
    let published = file(&square, &BTreeMap::new());
    let loaded = fit(&published, &wide, false).unwrap();
    assert_eq!(loaded.report.assumed, ["pos_embed as 4x16 patches, not 8x8"]);
    let told =
        loaded.report.lines().into_iter().any(|line| line.contains("assumed") && line.contains("4x16"));
    assert!(told && fit(&published, &square, false).unwrap().report.assumed.is_empty());
    // On request, equal numbers of patches are interpolated, too: 8 rows become 4, 8 columns 16.
    let loaded = fit(&published, &wide, true).unwrap();
    assert_eq!(loaded.report.resampled.len(), 1);
    assert_ne!(loaded.values[positions], square.initialise(0)[positions]);
    assert_eq!(fit(&file(&small, &BTreeMap::new()), &wide, true).unwrap().report.resampled.len(), 1);

    // The checkpoint of a run tells the size of its images.
    let run = |height: u32, width: u32| {
        BTreeMap::from([("gnr".to_owned(), format!("{{\"input\":[3,{height},{width}]}}"))])
    };
    let own = file(&wide, &run(16, 64));
    for resample in [false, true] {
        let report = fit(&own, &wide, resample).unwrap().report;
        assert!(report.assumed.is_empty() && report.resampled.is_empty());
    }
    let error = fit(&own, &square, false).unwrap_err().to_string();
    assert!(
        error.contains("its patches make another grid: to interpolate, set resample_pos_embed"),
        "{error}"
    );
    assert_eq!(fit(&own, &square, true).unwrap().report.resampled.len(), 1);
}

/// The net behind lukemelas' names computes otherwise than torchvision's.
#[test]
fn names_of_another_net_are_refused() {
    let mut layout = Layout::new();
    layout.root().parameter("_conv_stem.weight", &[32, 3, 3, 3], gnr_nn::Init::Constant(0.0));
    let bytes = weights::to_bytes(&layout, &layout.initialise(0), Precision::F32, &BTreeMap::new()).unwrap();
    let file = WeightFile::from_bytes("b0.pth", bytes).unwrap();
    let model =
        |name: &str| AnyModel::build(&ModelConfig::new(name, 2, [3, 32, 32])).unwrap().layout().clone();
    let options = Options { policy: Policy::Matching, ..Options::default() };
    let fit = |layout: &Layout| weights::fit(&file, layout, layout.initialise(0), &options);
    let error = fit(&model("efficientnet_b0")).unwrap_err().to_string();
    assert!(
        error.starts_with("b0.pth: weights of lukemelas' EfficientNet") && error.contains("pads"),
        "{error}"
    );
    let to = tempfile::tempdir().unwrap().path().join("b0.safetensors");
    assert!(weights::convert(&file, None, Some(&model("efficientnet_b0")), &to).is_err());
    assert_eq!(fit(&model("efficientnet_lite0")).unwrap().report.matched, ["_conv_stem.weight"]);

    // Lite0 has the tensors of B0 without those of squeeze-and-excitation, whoever published it.
    let torchvision = model("efficientnet_b0");
    let names = |of: fn(&str) -> Option<&'static str>| {
        let mut layout = Layout::new();
        for entry in torchvision.entries() {
            if let Some(name) = of(&entry.name) {
                layout.root().parameter(name, &entry.shape, gnr_nn::Init::Constant(0.0));
            }
        }
        layout
    };
    let timm = names(|name| match name {
        "features.1.0.block.0.0.weight" => Some("blocks.0.0.conv_dw.weight"),
        "features.1.0.block.1.fc1.weight" => Some("blocks.0.0.se.conv_reduce.weight"),
        _ => None,
    });
    let lukemelas = names(|name| match name {
        "features.1.0.block.0.0.weight" => Some("_blocks.0._depthwise_conv.weight"),
        "features.1.0.block.1.fc1.weight" => Some("_blocks.0._se_reduce.weight"),
        _ => None,
    });
    for theirs in [&torchvision, &timm, &lukemelas] {
        let bytes =
            weights::to_bytes(theirs, &theirs.initialise(0), Precision::F32, &BTreeMap::new()).unwrap();
        let file = WeightFile::from_bytes("b0.pth", bytes).unwrap();
        let lite = model("efficientnet_lite0");
        for policy in [Policy::Matching, Policy::NewHead, Policy::IgnoreUnexpected] {
            let options = Options { policy, ..Options::default() };
            let error = weights::fit(&file, &lite, lite.initialise(0), &options).unwrap_err().to_string();
            assert!(error.contains("with squeeze-and-excitation, which this model does not have"), "{error}");
        }
    }
    let own = weights::to_bytes(&torchvision, &torchvision.initialise(0), Precision::F32, &BTreeMap::new());
    let own = WeightFile::from_bytes("b0.pth", own.unwrap()).unwrap();
    assert!(weights::fit(&own, &torchvision, torchvision.initialise(0), &options).is_ok());
}
