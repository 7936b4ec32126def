//! Optimisers against PyTorch's formulas, worked out step by step in Python.

use crate::assert_close;
use gnr_core::{Adam, AdamW, Error, Optimizer, Sgd};

type Vf = Vec<f64>;

/// θ₀ = (1, −1), lr = 0.1, gradients (1, −2), (0.5, 1), (−0.25, 3) whatever θ is.
fn check(mut optimizer: impl Optimizer<Vf>, expected: [[f64; 2]; 3]) {
    let mut theta = vec![1.0, -1.0];
    for (gradient, expected) in [[1.0, -2.0], [0.5, 1.0], [-0.25, 3.0]].into_iter().zip(expected) {
        optimizer.step(&mut theta, &gradient.to_vec(), 0.1).unwrap();
        // The same formulas in another order of operations: a few ulps a step.
        assert_close(&theta, &expected, 1e-14);
    }
}

// Expected values: the loops of torch/optim/{sgd,adam,adamw}.py (single tensor), transcribed to Python floats:
//   SGD:   d = g + wd·θ; buf = d at first, then mu·buf + d; d = d + mu·buf if nesterov else buf; θ -= lr·d
//   Adam:  d = g + wd·θ;  AdamW: θ *= 1 − lr·wd, d = g;
//          m.lerp_(d, 1 − b1); v = b2·v + (1 − b2)·d²; θ -= lr/(1 − b1**t) · m/(sqrt(v)/sqrt(1 − b2**t) + eps)

#[test]
fn sgd() {
    let decayed = Sgd::new().with_weight_decay(0.1).unwrap();
    check(decayed, [[0.89, -0.79], [0.8311, -0.8821], [0.847789, -1.173279]]);
}

#[test]
#[expect(clippy::approx_constant, reason = "0.6931 is no ln 2")]
fn sgd_with_momentum() {
    let momentum = Sgd::new().with_momentum(0.9).unwrap();
    check(momentum.clone(), [[0.9, -0.8], [0.76, -0.72], [0.659, -0.948]]);
    let decayed = momentum.with_weight_decay(0.1).unwrap();
    check(decayed, [[0.89, -0.79], [0.7321, -0.6931], [0.607669, -0.898959]]);
}

#[test]
fn sgd_with_nesterov_momentum() {
    let nesterov = Sgd::new().with_nesterov_momentum(0.9).unwrap().with_weight_decay(0.1).unwrap();
    check(nesterov, [[0.791, -0.601], [0.591871, -0.609481], [0.501028351, -1.090942761]]);
}

#[test]
fn adam() {
    check(
        Adam::new(),
        [
            [0.900000001, -0.9000000005],
            [0.8067820382981611, -0.8733662967024315],
            [0.7504159014963296, -0.9123052755013414],
        ],
    );
    check(
        Adam::new().with_weight_decay(0.1).unwrap(),
        [
            [0.9000000009090909, -0.9000000004761904],
            [0.8057717968921709, -0.8681231891743804],
            [0.7421953937747058, -0.9031599879114369],
        ],
    );
}

#[test]
fn adam_w() {
    check(
        AdamW::new().with_weight_decay(0.1).unwrap(),
        [
            [0.890000001, -0.8900000005],
            [0.7878820382881611, -0.8544662966974315],
            [0.723637081103448, -0.8848606125293671],
        ],
    );
    let mut plain = AdamW::new().with_weight_decay(0.0).unwrap();
    let (mut a, mut b) = (vec![1.0, -1.0], vec![1.0, -1.0]);
    plain.step(&mut a, &vec![0.3, 0.1], 0.1).unwrap();
    Adam::new().step(&mut b, &vec![0.3, 0.1], 0.1).unwrap();
    assert_eq!(a, b, "without decay AdamW is Adam");
}

/// A parameter without gradient must not become 0/0.
#[test]
fn adam_leaves_a_parameter_without_gradient_alone() {
    let mut theta = vec![1.0_f32, 2.0];
    Adam::new().step(&mut theta, &vec![0.0, 1.0], 0.1).unwrap();
    assert_eq!(theta[0], 1.0);
}

/// The learning rate belongs to the step, not to the state: the buffer holds gradients.
#[test]
fn momentum_does_not_contain_the_learning_rate() {
    let (mut sgd, mut theta) = (Sgd::new().with_momentum(0.5).unwrap(), vec![0.0]);
    sgd.step(&mut theta, &vec![1.0], 0.0).unwrap();
    assert_eq!(theta, [0.0]);
    sgd.step(&mut theta, &vec![1.0], 1.0).unwrap();
    assert_eq!(theta, [-1.5]);
}

#[test]
fn hyperparameters_out_of_range_are_named() {
    let refused = |error: Option<Error>, expected: &str| match error {
        Some(Error::InvalidHyperparameter { name, .. }) => assert_eq!(name, expected),
        other => panic!("expected a refused {expected}, got {other:?}"),
    };
    refused(Sgd::<Vf>::new().with_momentum(1.0).err(), "momentum");
    refused(Sgd::<Vf>::new().with_nesterov_momentum(0.0).err(), "momentum");
    refused(Sgd::<Vf>::new().with_weight_decay(f64::NAN).err(), "weight_decay");
    refused(Adam::<Vf>::new().with_betas(0.9, 1.0).err(), "beta2");
    refused(Adam::<Vf>::new().with_eps(0.0).err(), "eps");
    refused(AdamW::<Vf>::new().with_weight_decay(-0.1).err(), "weight_decay");
}
