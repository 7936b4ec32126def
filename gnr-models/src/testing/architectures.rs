//! The architectures whose numbers every backend is checked against: one line for each.

/// Calls the macro `$each` with every architecture.
///
/// A line has the architecture's name, the file of its values (`tests/golden/*.json`), a file of values for smaller
/// images, and the memory in MB that the most expensive check of the two takes. The smaller file serves backends whose
/// convolution keeps a gathered operand, which takes gigabytes at the size of the first.
///
/// ```
/// macro_rules! names {
///     ($($name:ident: $file:literal, $small:literal, $megabytes:literal;)+) => { [$(stringify!($name)),+] };
/// }
/// let names = gnr_models::golden_architectures!(names);
/// assert!(names.contains(&"resnet20"));
/// ```
#[macro_export]
macro_rules! golden_architectures {
    ($each:ident) => {
        $each! {
            resnet20: "resnet20", "resnet20", 1000;
            resnet18: "resnet18", "resnet18_16x16", 1500;
            resnet18_c100: "resnet18_c100", "resnet18_c100_16x16", 1500;
            resnet50: "resnet50", "resnet50_imagenet_48x48", 2500;
            resnet101: "resnet101", "resnet101", 100;
            resnet101_c100: "resnet101_c100", "resnet101_c100", 100;
            wrn28_2: "wrn28_2", "wrn28_2_16x16", 700;
            wrn28_10: "wrn28_10", "wrn28_10", 100;
            resnext29_32x4d: "resnext29_32x4d", "resnext29_32x4d_20x20", 2000;
            pyramidnet110_a270: "pyramidnet110_a270", "pyramidnet110_a270", 100;
            efficientnet_lite0: "efficientnet_lite0", "efficientnet_lite0", 100;
            efficientnet_b0: "efficientnet_b0", "efficientnet_b0_64x64", 1500;
            vit_tiny_patch4_32: "vit_tiny_patch4_32", "vit_tiny_patch4_32", 1700;
            vit_tiny_patch16_224: "vit_tiny_patch16_224", "vit_tiny_patch16_224_96x96", 800;
            vit_small_patch4_32: "vit_small_patch4_32", "vit_small_patch4_32", 100;
            vit_small_patch16_224: "vit_small_patch16_224", "vit_small_patch16_224", 100;
            swin_t: "swin_t", "swin_t", 100;
        }
    };
}
