//! Every name builds, knows its size, and refuses what it cannot take.

use gnr_models::{AnyModel, ModelConfig, ModelError, registry};
use gnr_nn::Model;

fn build(name: &str, classes: usize, input: [usize; 3]) -> AnyModel {
    AnyModel::build(&ModelConfig::new(name, classes, input)).unwrap()
}

#[test]
fn every_registered_name_builds_for_digits_and_for_cifar() {
    for known in registry() {
        for (classes, input) in [(10, [1, 8, 8]), (10, [1, 28, 28]), (100, [3, 32, 32])] {
            // Their patches are larger than a digit.
            if known.name.ends_with("patch16_224") && input[1] < 32 {
                continue;
            }
            let model = build(known.name, classes, input);
            let last = model.layout().entries().last().unwrap();
            assert_eq!(last.shape, [classes], "{}: the last tensor is the classifier's bias", known.name);
        }
    }
}

#[test]
fn names_are_unique_and_described() {
    let names: std::collections::BTreeSet<_> = registry().iter().map(|known| known.name).collect();
    assert_eq!(names.len(), registry().len());
    for known in registry() {
        assert!(!known.description.is_empty(), "{}: a description, which `gnr models` shows", known.name);
        assert!(!known.reference.is_empty(), "{}: a reference, authors and year", known.name);
    }
}

/// Published sizes: He et al., Table 6, say 0.27, 0.46, 0.66, 0.85 M; the digits are those of the PyTorch code.
#[test]
fn parameter_counts() {
    let cases = [
        ("resnet20", 10, [3, 32, 32], 269_722),
        ("resnet20", 100, [3, 32, 32], 275_572),
        ("resnet32", 10, [3, 32, 32], 464_154),
        ("resnet44", 10, [3, 32, 32], 658_586),
        ("resnet56", 10, [3, 32, 32], 853_018),
        ("resnet18", 10, [3, 32, 32], 11_173_962),
        ("resnet18", 100, [3, 32, 32], 11_220_132),
        ("resnet20_projection", 10, [3, 32, 32], 272_474),
        // torchvision's documented counts (models of 1000 classes).
        ("resnet18", 1000, [3, 224, 224], 11_689_512),
        ("resnet34", 1000, [3, 224, 224], 21_797_672),
        ("resnet50", 1000, [3, 224, 224], 25_557_032),
        ("resnet101_imagenet", 1000, [3, 32, 32], 44_549_160),
        ("resnet152", 1000, [3, 224, 224], 60_192_808),
        // Zagoruyko and Komodakis, Table 3: 36.5 M; their 40-4 has 8.9 M.
        ("wrn28_10", 10, [3, 32, 32], 36_479_194),
        ("wrn40_4", 10, [3, 32, 32], 8_949_210),
        ("resnext29_32x4d", 10, [3, 32, 32], 4_775_754),
        ("pyramidnet110_a270", 10, [3, 32, 32], 18_323_787),
        ("efficientnet_b0", 1000, [3, 224, 224], 5_288_548),
        ("efficientnet_lite0", 1000, [3, 224, 224], 4_652_008),
        // timm's counts.
        ("vit_tiny_patch16_224", 1000, [3, 224, 224], 5_717_416),
        ("vit_small_patch16_224", 1000, [3, 224, 224], 22_050_664),
        ("swin_t", 1000, [3, 224, 224], 28_288_354),
        ("lenet", 10, [1, 28, 28], 61_706),
        ("mlp", 10, [1, 28, 28], 235_146),
    ];
    for (name, classes, input, expected) in cases {
        assert_eq!(build(name, classes, input).layout().num_parameters(), expected, "{name}");
    }
}

#[test]
fn tensors_are_named_as_in_pytorch() {
    let names = |model: &AnyModel| {
        model.layout().entries().iter().map(|entry| entry.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&build("mlp", 10, [1, 8, 8])),
        ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]
    );
    let projection = names(&build("resnet20_projection", 10, [3, 32, 32]));
    for name in ["layers.0.conv1.weight", "layers.3.shortcut.0.weight", "layers.3.shortcut.1.running_var"] {
        assert!(projection.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn the_stem_follows_the_image_unless_the_name_says() {
    let first = |name, size| build(name, 10, [3, size, size]).layout().entries()[0].shape.clone();
    for (name, size, window) in [
        ("resnet18", 32, 3),
        ("resnet18", 63, 3),
        ("resnet50", 64, 7),
        ("resnet50", 224, 7),
        ("resnet50_cifar", 224, 3),
        ("resnet50_imagenet", 32, 7),
        ("resnet20", 224, 3),
    ] {
        assert_eq!(first(name, size)[2], window, "{name} for {size}×{size}");
    }
}

#[test]
fn unknown_names_name_the_nearest() {
    for (asked, expected) in
        [("resnet-18", "resnet18"), ("LeNet", "lenet"), ("resnet65", "resnet56"), ("", "mlp")]
    {
        match AnyModel::build(&ModelConfig::new(asked, 10, [3, 32, 32])) {
            Err(ModelError::UnknownModel { name, nearest }) => {
                assert_eq!((name.as_str(), nearest), (asked, expected));
            }
            other => panic!("{asked}: {other:?}"),
        }
    }
}

#[test]
fn requests_that_make_no_sense_name_the_field() {
    let digits = |name| ModelConfig::new(name, 10, [1, 8, 8]);
    let cases = [
        (ModelConfig::new("mlp", 0, [1, 8, 8]), "classes"),
        (ModelConfig::new("mlp", 10, [1, 0, 8]), "input"),
        (ModelConfig::new("lenet", 10, [1, 3, 8]), "input"),
        (digits("mlp").with_widths([16, 0]), "widths"),
        (digits("lenet").with_widths([16]), "widths"),
        (digits("resnet8").with_widths([8, 16]), "widths"),
        (digits("resnet8").with_widths([8, 16, 12]), "widths"),
        (digits("resnet50").with_widths([8, 16]), "widths"),
        (ModelConfig { dropout: Some(1.0), ..digits("mlp") }, "dropout"),
        (ModelConfig { dropout: Some(-0.1), ..digits("mlp") }, "dropout"),
        (ModelConfig { dropout: Some(0.1), ..digits("lenet") }, "dropout"),
        (ModelConfig { drop_path: Some(0.1), ..digits("mlp") }, "drop_path"),
        (ModelConfig { depth: Some(0), ..digits("mlp") }, "depth"),
        (ModelConfig { depth: Some(2), ..digits("resnet8") }, "depth"),
        (ModelConfig { heads: Some(5), ..digits("vit_tiny_patch4_32") }, "heads"),
        (ModelConfig { patch: Some(3), ..digits("vit_tiny_patch4_32") }, "patch"),
        (digits("vit_tiny_patch16_224"), "patch"),
        (digits("vit_tiny_patch4_32").with_widths([192, 192]), "widths"),
        (digits("swin_t").with_widths([96]), "widths"),
        (ModelConfig { heads: Some(3), ..digits("swin_t") }, "heads"),
        (ModelConfig::new("swin_t", 10, [3, 32, 3]), "input"),
        (digits("wrn27_2"), "name"),
        (digits("wrn4_2"), "name"),
        (digits("wrn28_0"), "name"),
        (digits("wrn28_18446744073709551615"), "name"),
        (digits("resnext28_32x4d"), "name"),
        (digits("resnext29_0x4d"), "name"),
        (digits("resnext29_32x4d").with_widths([8, 16, 32]), "widths"),
        (digits("pyramidnet111_a270"), "name"),
        (digits("pyramidnet110_a270").with_widths([8, 16, 32]), "widths"),
        (ModelConfig::new("pyramidnet110_a270", 10, [1, 10, 8]), "input"),
    ];
    for (config, expected) in cases {
        match AnyModel::build(&config) {
            Err(ModelError::Invalid { field, .. }) => assert_eq!(field, expected, "{config:?}"),
            other => panic!("{config:?}: {other:?}"),
        }
    }
}

#[test]
fn a_transformer_takes_other_sizes() {
    let config = ModelConfig { depth: Some(6), ..ModelConfig::new("vit_tiny_patch4_32", 10, [3, 32, 32]) };
    assert_eq!(AnyModel::build(&config).unwrap().layout().num_parameters(), 2_693_578);
    let other = ModelConfig { heads: Some(2), patch: Some(8), ..config }.with_widths([64]);
    let model = AnyModel::build(&other).unwrap();
    let shape = |name: &str| {
        let entry = model.layout().entries().iter().find(|entry| entry.name == name).unwrap();
        entry.shape.clone()
    };
    assert_eq!(shape("pos_embed"), [1, 17, 64]);
    assert_eq!(shape("patch_embed.proj.weight"), [64, 3, 8, 8]);
    assert_eq!(shape("blocks.5.mlp.fc1.weight"), [256, 64]);
}
