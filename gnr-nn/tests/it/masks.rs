//! Dropout's masks in a part of a batch, in a model that is cut, and after settings change.

use std::cell::RefCell;

use gnr_core::{
    DataParallel, ExampleOracle, GradOracle, Order, Pass, Point, Sample, SampledOracle, Shares,
    testing::{
        Threads,
        conformance::{Coupling, Tolerances, check_examples},
    },
};
use gnr_nn::{
    Arithmetic, Backend, Batch, BatchOracle, Buffers, Context, Frozen, Layout, MaskSeed, Mode, Model,
    ParamVector, Result, Statistics,
    layers::{Dropout, Linear},
    testing::{Reference, noise},
};

/// A net whose body and head both drop units.
struct Net {
    layout: Layout,
    body: Linear,
    dropout: Dropout,
    fc: Linear,
}

impl Net {
    fn new() -> Self {
        let mut layout = Layout::new();
        let body = Linear::new(&mut layout.root().enter("body"), 4, 6);
        let fc = Linear::new(&mut layout.root().enter("fc"), 6, 3);
        Self { layout, body, dropout: Dropout::new(0.5).unwrap(), fc }
    }
    fn body<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let y = self.body.forward(cx, x)?;
        self.dropout.forward(cx, &y)
    }
    fn head<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let y = self.dropout.forward(cx, x)?;
        self.fc.forward(cx, &y)
    }
}

impl Model for Net {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let y = self.body(cx, x)?;
        self.head(cx, &y)
    }
    fn embed<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<Option<B::Tensor>> {
        self.body(cx, x).map(Some)
    }
    fn classify<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
        self.head(cx, features)
    }
}

const EXAMPLES: usize = 7;

struct Setting {
    backend: Reference,
    net: Net,
    theta: ParamVector<Reference>,
    buffers: RefCell<Buffers<Reference>>,
}

impl Setting {
    fn new() -> Self {
        let (backend, net) = (Reference::new(), Net::new());
        let theta = vector(&backend, &net, 1);
        let buffers = RefCell::new(Buffers::initial(&net.layout, &backend).unwrap());
        Self { backend, net, theta, buffers }
    }
    fn batch(&self, rows: std::ops::Range<usize>) -> Batch<Reference> {
        let pixels: Vec<f64> = (4 * rows.start..4 * rows.end).map(|i| noise(9, i as u64)).collect();
        let images = self.backend.constant(&pixels, &[rows.len(), 4]).unwrap();
        Batch::new(images, rows.map(|row| row % 3).collect())
    }
    fn oracle<'a>(&'a self, batch: &'a Batch<Reference>) -> BatchOracle<'a, Net, Reference> {
        BatchOracle::new(&self.net, &self.backend, batch, &self.buffers).with_masks(MaskSeed::new(1, 2, 3))
    }
    /// All but the head's parameters as constants, and the head's.
    fn frozen(&self) -> (Frozen<Reference>, ParamVector<Reference>) {
        let mask: Vec<bool> =
            self.net.layout.parameters().map(|entry| entry.name.starts_with("body")).collect();
        let values = self.theta.to_host().unwrap();
        let frozen = Frozen::new(&self.backend, &self.net.layout, &values, &mask).unwrap();
        let learned = self.theta.tensors().iter().zip(&mask).filter(|(_, frozen)| !**frozen);
        let theta = learned.map(|(tensor, _)| tensor.clone()).collect();
        (frozen, ParamVector::new(self.backend.clone(), theta))
    }
}

fn vector(backend: &Reference, net: &Net, stream: u64) -> ParamVector<Reference> {
    let entries = net.layout.parameters().enumerate();
    let values: Vec<Vec<f64>> = entries
        .map(|(k, entry)| (0..entry.len() as u64).map(|i| noise(stream + k as u64, i)).collect())
        .collect();
    ParamVector::from_host(backend, &net.layout, &values).unwrap()
}

/// The loss of an example is one function, whether it is asked about with others or alone.
#[test]
fn an_example_has_one_mask_in_every_part_of_the_batch() {
    let setting = Setting::new();
    let batch = setting.batch(0..EXAMPLES);
    let v = vector(&setting.backend, &setting.net, 20);
    check_examples(&mut setting.oracle(&batch), &setting.theta, &v, Coupling::Apart, Tolerances::F64);
    let mut oracle = setting.oracle(&batch);
    let losses = oracle.losses(Point::At(&setting.theta)).unwrap();
    for seed in 0..4 {
        let sample = Sample::new(0.4, seed);
        let rows = sample.rows(EXAMPLES);
        oracle.restrict(Some(sample)).unwrap();
        let found = oracle.loss(&setting.theta).unwrap();
        let expected = rows.iter().map(|row| losses[*row]).sum::<f64>() / rows.len() as f64;
        assert!((found - expected).abs() < 1e-14, "sample {rows:?}: {found}, expected {expected}");
    }
}

/// What is kept of a frozen body belongs to the settings it was computed with.
#[test]
fn features_are_those_of_the_present_settings() {
    let setting = Setting::new();
    let batch = setting.batch(0..EXAMPLES);
    let (frozen, theta) = setting.frozen();
    let fresh = || setting.oracle(&batch).with_frozen(&frozen);
    let loss = |oracle: &mut BatchOracle<'_, Net, Reference>| oracle.loss(&theta).unwrap();
    let mut oracle = fresh();
    let trained = loss(&mut oracle);
    let mut oracle = oracle.with_mode(Mode::Eval);
    assert_eq!(loss(&mut oracle), loss(&mut fresh().with_mode(Mode::Eval)));
    let mut oracle = oracle.with_mode(Mode::Train).with_masks(MaskSeed::new(1, 2, 4));
    let other = loss(&mut oracle);
    assert_ne!(other, trained);
    assert_eq!(other, loss(&mut fresh().with_masks(MaskSeed::new(1, 2, 4))));
    assert_eq!(loss(&mut oracle.with_masks(MaskSeed::new(1, 2, 3))), trained);
}

/// Ranks that learn the head alone drop the units that one process drops, in the body and in the head.
#[test]
fn a_frozen_body_on_ranks_has_the_masks_of_the_batch() {
    let answers = |shares: &Shares| {
        let setting = Setting::new();
        let part = shares.part();
        let batch = setting.batch(part.start..part.start + part.len);
        let (frozen, theta) = setting.frozen();
        let oracle = setting.oracle(&batch).with_frozen(&frozen).with_ranks(shares, Statistics::Own);
        let mut oracle = DataParallel::new(oracle, shares.clone());
        let here = oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
        [vec![here.loss], here.grad.to_host().unwrap().concat()].concat()
    };
    let run = |examples: &[usize]| {
        Threads::run(examples.len(), |ranks| answers(&Shares::new(ranks, examples.to_vec()).unwrap()))
    };
    let alone = run(&[EXAMPLES]).remove(0);
    for found in run(&[3, 4]).into_iter().chain(run(&[2, 1, 4])) {
        for (found, expected) in found.iter().zip(&alone) {
            assert!((found - expected).abs() < 1e-14, "{found}, expected {expected}");
        }
    }
}
