//! Why some operations are composed although burn has its own: the smallest input on which burn's differs.

use burn_backend::{
    AutodiffBackend as _, BackendTypes, TensorData,
    ops::{ActivationOps as _, FloatTensorOps as _, ModuleOps as _},
};
use gnr_burn::{Flex, Precision};
use gnr_core::Map;
use gnr_nn::{Arithmetic, Autodiff, Unary};

use crate::flex;

type Inner = burn_flex::Flex;
type Tracked = <Flex as BackendTypes>::FloatTensorPrimitive;

fn host(tensor: <Inner as BackendTypes>::FloatTensorPrimitive) -> Vec<f64> {
    burn_backend::read_sync(Inner::float_into_data(tensor)).unwrap().iter::<f64>().collect()
}

/// d Σf/dx by burn.
fn slope(x: f64, f: impl Fn(Tracked) -> Tracked) -> f64 {
    let x = Inner::float_from_data(TensorData::from([x]), &Default::default());
    let x = Flex::float_set_require_grad(Flex::from_inner(x), true);
    let gradients = Flex::backward(Flex::float_sum(f(x.clone())));
    host(Flex::grad(&x, &gradients).unwrap())[0]
}

/// d f/dx by the backend.
fn ours(x: f64, op: Unary) -> f64 {
    let b = flex(Precision::F64).gradient_session(false);
    let x = b.variable(&b.constant(&[x], &[1]).unwrap()).unwrap();
    let gradient = b.backward(&b.unary(op, &x).unwrap(), vec![x]).unwrap();
    b.item(&gradient[0]).unwrap()
}

#[test]
fn burns_clamp_has_slope_1_at_its_ends_and_relu6_has_0() {
    assert_eq!(slope(6.0, |x| Flex::float_clamp(x, 0.0.into(), 6.0.into())), 1.0);
    assert_eq!([ours(6.0, Unary::Relu6), ours(5.0, Unary::Relu6)], [0.0, 1.0]);
}

#[test]
fn burns_sign_of_nan_is_0_and_ours_is_nan() {
    let nan = Inner::float_from_data(TensorData::from([f64::NAN]), &Default::default());
    assert_eq!(host(Inner::float_sign(nan)), [0.0]);
    let b = flex(Precision::F64);
    let mut x = b.constant(&[f64::NAN, -2.0], &[2]).unwrap();
    b.map(&mut x, Map::Sign).unwrap();
    let found = b.to_host(&x).unwrap();
    assert!(found[0].is_nan() && found[1] == -1.0, "{found:?}");
}

/// Flex has an exact GELU of its own; the composition is the same function there, and on other backends.
#[test]
fn the_composed_gelu_is_that_of_flex() {
    for x in [-3.0, -0.5, 0.0, 1.25] {
        let (burn, own) = (slope(x, Flex::gelu), ours(x, Unary::Gelu));
        assert!((burn - own).abs() < 1e-14, "{x}: {burn} and {own}");
    }
}

/// d²f/dx² by a second reverse mode around the first one.
fn curvature(
    f: impl Fn(<Twice as BackendTypes>::FloatTensorPrimitive) -> <Twice as BackendTypes>::FloatTensorPrimitive,
) -> f64 {
    let x = Inner::float_from_data(TensorData::new(vec![0.5, -1.0], [2, 1]), &Default::default());
    let inner = Flex::float_set_require_grad(Flex::from_inner(x), true);
    let x = Twice::float_set_require_grad(Twice::from_inner(inner), true);
    let gradients = Twice::backward(Twice::float_sum(f(x.clone())));
    // The gradient as a tensor of the inner reverse mode is differentiated again.
    let second = Flex::backward(Flex::float_sum(Twice::grad(&x, &gradients).unwrap()));
    host(Flex::grad(&Twice::inner(x), &second).unwrap())[0]
}

type Twice = burn_autodiff::Autodiff<Flex>;

/// Why products run on dual numbers: a reverse mode of burn's reverse mode goes through arithmetic, not through layers.
#[test]
fn a_reverse_mode_of_a_reverse_mode_panics_in_layers() {
    // (x³)″ = 6x.
    assert_eq!(curvature(|x| Twice::float_mul(Twice::float_mul(x.clone(), x.clone()), x)), 3.0);
    let normalised = || {
        curvature(|x| {
            let ones = || {
                let ones = Inner::float_from_data(TensorData::from([1.0]), &Default::default());
                Twice::from_inner(Flex::from_inner(ones))
            };
            let y = Twice::batch_norm_train(x, ones(), ones(), 1e-5).output;
            Twice::float_mul(y.clone(), y)
        })
    };
    assert!(
        std::panic::catch_unwind(normalised).is_err(),
        "burn differentiates layers twice now: make use of it"
    );
}
