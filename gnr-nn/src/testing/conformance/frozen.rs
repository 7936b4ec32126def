//! The conformance suite for a network with a frozen part.

use std::cell::Cell;

use gnr_core::{GradOracle, HvpOracle, Order, Pass, Result as CoreResult, Use, Vector};

use super::{
    super::Reference,
    assert_clear, assert_close, must,
    network::{Cut, Net, Setting},
};
use crate::{Autodiff, BatchOracle, CrossEntropy, Frozen, MaskSeed, Mode, Model, ParamVector, Result};

/// Tells by a parameter's name whether it is frozen.
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

/// The answers of an oracle with frozen parameters in a mode, and the running statistics after a commit.
fn answers<B: Autodiff>(backend: &B, rule: Rule, mode: Mode) -> CoreResult<Vec<(&'static str, Vec<f64>)>> {
    let setting = Setting::new(backend, false)?;
    let mask = mask(&setting.net, rule);
    let frozen = Frozen::new(backend, setting.net.layout(), &setting.theta.to_host()?, &mask)?;
    let theta = learned(backend, &frozen, &setting.theta);
    let v = learned(backend, &frozen, &setting.tangents[0]);
    let buffers = setting.buffers()?;
    let initial = setting.statistics(&buffers)?;
    let mut oracle = setting.oracle(&buffers).with_mode(mode).with_frozen(&frozen);
    let here = oracle.evaluate(&theta, Pass::Commit, Order::Second)?;
    let product = oracle.hvp(&here, &v, Use::Again)?;
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
    // The statistics of a layer must move exactly when the mode is train mode and the layer's weight is learned.
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

/// The answers of an oracle without frozen parameters: the learned part of the gradient, and of H·v with a v that is
/// zero elsewhere. Only eval mode can be compared: in train mode a frozen normalisation is another function.
fn restricted<B: Autodiff>(backend: &B, rule: Rule) -> CoreResult<Vec<(&'static str, Vec<f64>)>> {
    let setting = Setting::new(backend, false)?;
    let mask = mask(&setting.net, rule);
    let frozen = Frozen::new(backend, setting.net.layout(), &setting.theta.to_host()?, &mask)?;
    let values: Vec<_> = (setting.tangents[0].to_host()?.into_iter().zip(&mask))
        .map(|(values, frozen)| if *frozen { vec![0.0; values.len()] } else { values })
        .collect();
    let v = ParamVector::from_host(backend, setting.net.layout(), &values)?;
    let buffers = setting.buffers()?;
    let mut oracle = setting.oracle(&buffers).with_mode(Mode::Eval);
    let here = oracle.evaluate(&setting.theta, Pass::Probe, Order::Second)?;
    let product = oracle.hvp(&here, &v, Use::Again)?;
    let part = |x: &ParamVector<B>| host(&learned(backend, &frozen, x));
    Ok(vec![
        ("the loss", vec![here.loss]),
        ("the gradient", part(&here.grad)?),
        ("a product", part(&product)?),
    ])
}

/// A frozen part that runs once for all questions about a batch gives equal answers, bit for bit.
fn cut<B: Autodiff>(backend: &B) -> CoreResult<()> {
    let setting = Setting::new(backend, false)?;
    for (what, rule) in RULES {
        let mask = mask(&setting.net, rule);
        let frozen = Frozen::new(backend, setting.net.layout(), &setting.theta.to_host()?, &mask)?;
        let theta = learned(backend, &frozen, &setting.theta);
        let v = learned(backend, &frozen, &setting.tangents[0]);
        let net = Cut(&setting.net, Cell::new(0));
        let buffers = [setting.buffers()?, setting.buffers()?];
        let masks = MaskSeed::new(1, 2, 3);
        let mut whole = setting.oracle(&buffers[0]).with_loss(CrossEntropy::default()).with_frozen(&frozen);
        let mut head = BatchOracle::new(&net, backend, &setting.batch, &buffers[1])
            .with_masks(masks)
            .with_frozen(&frozen);
        let expected = everything(&mut whole, &theta, &v)?;
        assert_eq!(everything(&mut head, &theta, &v)?, expected, "{what} frozen, cut or not");
        assert_eq!(head.correct(), whole.correct());
        let runs = usize::from(what == "all but the classifier");
        assert_eq!(net.1.get(), runs, "{what} frozen: how often the body is run alone");
    }
    Ok(())
}

/// Loss, gradient and product of a committed evaluation.
fn everything<O, B: Autodiff>(
    oracle: &mut O,
    theta: &ParamVector<B>,
    v: &ParamVector<B>,
) -> CoreResult<[Vec<f64>; 3]>
where
    O: HvpOracle<Vector = ParamVector<B>>,
{
    let here = oracle.evaluate(theta, Pass::Commit, Order::Second)?;
    let product = oracle.hvp(&here, v, Use::Again)?;
    Ok([vec![here.loss], host(&here.grad)?, host(&product)?])
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
