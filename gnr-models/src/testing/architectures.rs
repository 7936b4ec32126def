//! The architectures whose numbers every backend is checked against: one line for each.

/// Calls the macro `$each` with every architecture, after the tokens in the parentheses, if there are any.
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
    ($each:ident $(($($before:tt)+))?) => {
        $crate::golden_architectures! { [$each] $($($before)+)? }
    };
    ([$($each:tt)+] $($before:tt)*) => {
        $($each)+! {
            $($before)*
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

/// Makes the tests of a backend against PyTorch's numbers: every architecture, the smooth nets and Swin, in both
/// precisions.
///
/// `f64` and `f32` are expressions of the backend in each precision. `images` says which values of an architecture to
/// compare: `whole`, or `small` for backends whose convolution keeps a gathered operand. `release` is a function that
/// gives idle memory back after a test, for backends that keep some.
///
/// ```text
/// gnr_models::golden_tests! {
///     f64: gnr_cpu::Cpu::<f64>::new(),
///     f32: gnr_cpu::Cpu::<f32>::new(),
///     images: whole,
///     release: || (),
/// }
/// ```
#[macro_export]
macro_rules! golden_tests {
    (f64: $double:expr, f32: $single:expr, images: $images:ident, release: $release:expr $(,)?) => {
        /// The memory of a test, given back when it ends.
        fn reserve(megabytes: usize) -> $crate::testing::Reserved {
            $crate::testing::reserve(megabytes, $release)
        }

        $crate::golden_architectures! { [$crate::golden_tests] @each [$double] [$single] $images }
        $crate::golden_tests! { @test smooth_f64, 100, check_smooth, $double, F64 }
        $crate::golden_tests! { @test smooth_f32, 100, check_smooth, $single, F32 }
        $crate::golden_tests! { @test swin_values_f64, 2600, check_swin, $double, F64 }
        $crate::golden_tests! { @test swin_values_f32, 2600, check_swin, $single, F32 }
    };
    (@each [$double:expr] [$single:expr] $images:ident $($name:ident: $file:literal, $small:literal, $megabytes:literal;)+) => {
        $($crate::golden_tests! { @architecture $name $megabytes [$double] [$single] $images $file $small })+
    };
    (@architecture $name:ident $megabytes:literal [$double:expr] [$single:expr] whole $file:literal $small:literal) => {
        $crate::golden_tests! { @file $name $megabytes [$double] [$single] $file }
    };
    (@architecture $name:ident $megabytes:literal [$double:expr] [$single:expr] small $file:literal $small:literal) => {
        $crate::golden_tests! { @file $name $megabytes [$double] [$single] $small }
    };
    (@file $name:ident $megabytes:literal [$double:expr] [$single:expr] $file:literal) => {
        mod $name {
            use super::*;

            $crate::golden_tests! { @test f64, $megabytes, check_golden, $double, F64, $file }
            $crate::golden_tests! { @test f32, $megabytes, check_golden, $single, F32, $file }
        }
    };
    (@test $name:ident, $megabytes:literal, $check:ident, $backend:expr, $precision:ident $(, $file:literal)?) => {
        #[test]
        fn $name() {
            let _memory = reserve($megabytes);
            $crate::testing::$check(&$backend, $($file,)? $crate::testing::Precision::$precision);
        }
    };
}
