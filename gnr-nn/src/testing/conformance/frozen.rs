//! A network of which a part is frozen.

use gnr_core::{GradOracle, HvpOracle, Order, Pass, Result as CoreResult, Vector};

use super::{
    super::Reference,
    assert_clear, assert_close, must,
    network::{Cut, Net, Setting},
};
use crate::{Autodiff, BatchOracle, Frozen, MaskSeed, Mode, Model, ParamVector, Result};

/// Which parameters are frozen, by name.
type Rule = fn(&str) -> bool;

const RULES: [(&str, Rule); 5] = [
    ("all but the classifier", |name| !name.starts_with("fc")),
    ("the stem", |name| name.starts_with("conv1") || name.starts_with("bn1")),
    ("normalisations in the middle", |name| name.starts_with("bn2") || name.starts_with("bn3")),
    ("the classifier", |name| name.starts_with("fc")),
    ("biases", |name| name.ends_with("bias")),
];

/// A point or tangent without its frozen tensors.
fn learned<B: Autodiff>(backend: &B, frozen: &Frozen<B>, all: &ParamVector<B>) -> ParamVector<B> {
    ParamVector::new(backend.clone(), frozen.learned(all.tensors().iter().cloned()).collect())
}

fn mask(net: &Net, rule: Rule) -> Vec<bool> {
    net.layout().parameters().map(|entry| rule(&entry.name)).collect()
}

fn host<B: Autodiff>(x: &ParamVector<B>) -> Result<Vec<f64>> {
    Ok(x.to_host()?.concat())
}

/// What an oracle with frozen parameters says in a mode, and the running statistics after a commit.
fn answers<B: Autodiff>(backend: &B, rule: Rule, mode: Mode) -> CoreResult<Vec<(&'static str, Vec<f64>)>> {
    let setting = Setting::new(backend, false)?;
    let mask = mask(&setting.net, rule);
    let frozen = Frozen::new(backend, setting.net.layout(), &setting.theta.to_host()?, &mask)?;
    let theta = learned(backend, &frozen, &setting.theta);
    let v = learned(backend, &frozen, &setting.tangents[0]);
    let mut buffers = setting.buffers()?;
    let initial = setting.statistics(&buffers)?;
    let mut oracle = setting.oracle(&mut buffers).with_mode(mode).with_frozen(&frozen);
    let here = oracle.evaluate(&theta, Pass::Commit, Order::Second)?;
    let mut product = v.clone();
    oracle.hvp(&here, &v, &mut product)?;
    assert_eq!(here.grad.dim(), theta.dim(), "the gradient is of the learned parameters alone");
    let said = vec![
        ("the loss", vec![here.loss]),
        ("the gradient", host(&here.grad)?),
        ("a product", host(&product)?),
    ];
    drop(here);
    let refused = oracle.evaluate(&setting.theta, Pass::Probe, Order::First).is_err();
    assert!(refused || theta.dim() == setting.theta.dim(), "a point with the frozen parameters");
    let after = setting.statistics(&buffers)?;
    // Four statistics a channel pair: those of a layer move exactly when it is in train mode and its weight is learned.
    let mut at = 0;
    for entry in setting.net.layout().buffers() {
        let range = at..at + entry.len();
        at += entry.len();
        let weight = format!("{}.weight", entry.name.rsplit_once('.').map_or("", |(module, _)| module));
        let moves = mode == Mode::Train && !rule(&weight);
        assert_eq!(after[range.clone()] != initial[range], moves, "{} moves", entry.name);
    }
    Ok([said, vec![("running statistics", after)]].concat())
}

/// The same from an oracle that knows nothing of freezing: the learned part of the gradient, and of H·v with a v that is zero
/// elsewhere. In eval mode only: in train mode a frozen normalisation is another function.
fn restricted<B: Autodiff>(backend: &B, rule: Rule) -> CoreResult<Vec<(&'static str, Vec<f64>)>> {
    let setting = Setting::new(backend, false)?;
    let mask = mask(&setting.net, rule);
    let frozen = Frozen::new(backend, setting.net.layout(), &setting.theta.to_host()?, &mask)?;
    let values: Vec<_> = (setting.tangents[0].to_host()?.into_iter().zip(&mask))
        .map(|(values, frozen)| if *frozen { vec![0.0; values.len()] } else { values })
        .collect();
    let v = ParamVector::from_host(backend, setting.net.layout(), &values)?;
    let mut buffers = setting.buffers()?;
    let mut oracle = setting.oracle(&mut buffers).with_mode(Mode::Eval);
    let here = oracle.evaluate(&setting.theta, Pass::Probe, Order::Second)?;
    let mut product = v.clone();
    oracle.hvp(&here, &v, &mut product)?;
    let part = |x: &ParamVector<B>| host(&learned(backend, &frozen, x));
    Ok(vec![
        ("the loss", vec![here.loss]),
        ("the gradient", part(&here.grad)?),
        ("a product", part(&product)?),
    ])
}

/// A frozen part that is run once for all questions about a batch: the same answers, bit for bit.
fn cut<B: Autodiff>(backend: &B) -> CoreResult<()> {
    let setting = Setting::new(backend, false)?;
    let net = Cut(&setting.net);
    for (what, rule) in RULES {
        let mask = mask(&setting.net, rule);
        let frozen = Frozen::new(backend, setting.net.layout(), &setting.theta.to_host()?, &mask)?;
        let theta = learned(backend, &frozen, &setting.theta);
        let v = learned(backend, &frozen, &setting.tangents[0]);
        let mut buffers = setting.buffers()?;
        let masks = MaskSeed::new(1, 2, 3);
        let oracle = BatchOracle::new(&net, backend, &setting.batch, &mut buffers)
            .with_masks(masks)
            .with_frozen(&frozen);
        let features = oracle.features()?;
        assert_eq!(features.is_some(), what == "all but the classifier", "{what} frozen: features");
        let Some(features) = features else { continue };
        let mut said = Vec::new();
        for features in [None, Some(&features)] {
            let mut buffers = setting.buffers()?;
            let mut oracle = BatchOracle::new(&net, backend, &setting.batch, &mut buffers)
                .with_masks(masks)
                .with_frozen(&frozen);
            if let Some(features) = features {
                oracle = oracle.with_features(features);
            }
            let here = oracle.evaluate(&theta, Pass::Commit, Order::Second)?;
            let mut product = v.clone();
            oracle.hvp(&here, &v, &mut product)?;
            said.push((here.loss, host(&here.grad)?, host(&product)?, oracle.correct()));
        }
        assert_eq!(said[0], said[1], "with and without the features of the frozen part");
    }
    Ok(())
}

pub(super) fn check<B: Autodiff>(backend: &B, tolerance: f64) {
    must("a network that is cut before its classifier", cut(backend));
    for (what, rule) in RULES {
        let compare = |mode: &str, found: &[(&str, Vec<f64>)], expected: &[(&str, Vec<f64>)]| {
            for ((quantity, found), (_, expected)) in found.iter().zip(expected) {
                assert_close(&format!("{quantity} with {what} frozen, {mode}"), found, expected, tolerance);
            }
        };
        let eval = must(what, answers(backend, rule, Mode::Eval));
        compare("eval mode", &eval, &must(what, restricted(backend, rule)));
        let train = must(what, answers(backend, rule, Mode::Train));
        let reference = Reference::new();
        compare("train mode", &train, &must(what, answers(&reference, rule, Mode::Train)));
        must(what, answers(&reference, rule, Mode::Eval));
        assert_clear(what, &reference);
    }
    let setting = must("a network", Setting::new(backend, false));
    let values = must("a network", setting.theta.to_host());
    let all = vec![true; values.len()];
    assert!(Frozen::new(backend, setting.net.layout(), &values, &all).is_err(), "nothing left to learn");
    assert!(Frozen::new(backend, setting.net.layout(), &values, &all[1..]).is_err(), "a mark too few");
}
