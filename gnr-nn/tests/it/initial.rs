//! Initialisers draw from their distributions, and draw equal numbers on every run.

use gnr_nn::{Init, Layout};

fn draw(init: Init, shape: &[usize]) -> Vec<f64> {
    let mut layout = Layout::new();
    layout.root().parameter("w", shape, init);
    layout.initialise(5).concat()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// Mean and deviation of 64·32·9 = 18,432 draws, within 5 of their standard errors, std/136 and std/192 (normal).
#[test]
fn mean_and_standard_deviation() {
    let shape = [64, 32, 3, 3];
    let cases = [
        (Init::Normal { std: 0.02 }, 0.02),
        (Init::KaimingNormalFanIn, (2.0 / (32.0 * 9.0f64)).sqrt()),
        (Init::KaimingNormalFanOut, (2.0 / (64.0 * 9.0f64)).sqrt()),
        // A uniform distribution on ±b has standard deviation b/√3.
        (Init::Uniform { bound: 0.5 }, 0.5 / 3f64.sqrt()),
        (Init::KaimingUniformDefault, (32.0 * 9.0f64).sqrt().recip() / 3f64.sqrt()),
    ];
    for (init, std) in cases {
        let (mean, found) = moments(&draw(init, &shape));
        assert!(mean.abs() < 5.0 * std / 136.0, "{init:?}: mean {mean}");
        assert!((found / std - 1.0).abs() < 5.0 / 192.0, "{init:?}: deviation {found}, expected {std}");
    }
}

#[test]
fn uniform_draws_stay_within_their_bound() {
    assert!(draw(Init::Uniform { bound: 0.5 }, &[1000]).iter().all(|x| x.abs() <= 0.5));
    assert!(draw(Init::KaimingUniformDefault, &[10, 4]).iter().all(|x| x.abs() <= 0.5));
    assert_eq!(draw(Init::Constant(1.0), &[3]), [1.0; 3]);
}

/// Every tensor has a stream of its own: a layer added at the end changes no other tensor.
#[test]
fn a_seed_fixes_every_tensor() {
    let layout = |tensors: usize| {
        let mut layout = Layout::new();
        for k in 0..tensors {
            layout.root().parameter(&k.to_string(), &[4], Init::Normal { std: 1.0 });
        }
        layout
    };
    let (three, four) = (layout(3).initialise(1), layout(4).initialise(1));
    assert_eq!(three, four[..3]);
    assert_ne!(four[0], four[1]);
    assert_ne!(three, layout(3).initialise(2));
}

/// A layout and a seed give these numbers, whatever the machine or the version of a library.
#[test]
fn known_draw() {
    let expected = [-0.5975005933043928, 0.4303610796467636, 0.63307814742226];
    assert_eq!(draw(Init::Uniform { bound: 1.0 }, &[3]), expected);
}
