//! The loss of a blended batch is the cross-entropy of its soft targets, with exact products.

use std::cell::RefCell;

use gnr_core::{
    Error, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Pass, Point, Sample, SampledOracle,
    Use,
    testing::conformance::{Coupling, Tolerances, check_examples, check_oracle},
};
use gnr_nn::{
    Arithmetic, Backend, Batch, BatchOracle, Buffers, Context, CrossEntropy, Curvature, Frozen, Layout,
    MixedLabels, Model, ParamVector, Result,
    layers::Linear,
    predict,
    testing::{Reference, noise},
};

/// A net whose logits are linear in the parameters.
struct Net {
    layout: Layout,
    fc: Linear,
}

impl Net {
    fn new() -> Self {
        let mut layout = Layout::new();
        let fc = Linear::new(&mut layout.root().enter("fc"), 4, 3);
        Self { layout, fc }
    }
}

impl Model for Net {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        self.fc.forward(cx, x)
    }
}

struct Setting {
    backend: Reference,
    net: Net,
    batch: Batch<Reference>,
    buffers: RefCell<Buffers<Reference>>,
    theta: ParamVector<Reference>,
}

const CLASSES: usize = 3;

impl Setting {
    fn new() -> Self {
        let (backend, net) = (Reference::new(), Net::new());
        let theta = Self::vector(&backend, &net, 1);
        let pixels: Vec<f64> = (0..20).map(|i| noise(9, i)).collect();
        let batch = Batch::new(backend.constant(&pixels, &[5, 4]).unwrap(), vec![0, 2, 1, 1, 0]);
        let buffers = RefCell::new(Buffers::initial(&net.layout, &backend).unwrap());
        Self { backend, net, batch, buffers, theta }
    }
    fn vector(backend: &Reference, net: &Net, stream: u64) -> ParamVector<Reference> {
        let entries = net.layout.parameters().enumerate();
        let values: Vec<Vec<f64>> = entries
            .map(|(k, entry)| (0..entry.len() as u64).map(|i| noise(stream + k as u64, i)).collect())
            .collect();
        ParamVector::from_host(backend, &net.layout, &values).unwrap()
    }
}

fn mixed(weight: f64) -> MixedLabels {
    MixedLabels { labels: vec![0, 0, 2, 1, 1], weight }
}

/// The cross-entropy −(1/N) Σ t·log p with t = (1 − s)(λ·onehot + (1 − λ)·onehot') + s/K, straight from the definition.
#[test]
fn is_the_cross_entropy_of_the_soft_targets() {
    let Setting { backend, net, batch, buffers, theta } = Setting::new();
    let logits = predict(&net, &backend, &theta, &buffers.borrow(), &batch.images).unwrap();
    for (weight, smoothing) in [(0.3, 0.0), (0.8, 0.1), (1.0, 0.0), (0.0, 0.2)] {
        let mixed = mixed(weight);
        let mut expected = 0.0;
        for (i, row) in logits.chunks(CLASSES).enumerate() {
            let total: f64 = row.iter().map(|z| z.exp()).sum();
            for (k, z) in row.iter().enumerate() {
                let own = f64::from(u8::from(batch.labels[i] == k));
                let partner = f64::from(u8::from(mixed.labels[i] == k));
                let target = (1.0 - smoothing) * (weight * own + (1.0 - weight) * partner)
                    + smoothing / CLASSES as f64;
                expected -= target * (z - total.ln()) / 5.0;
            }
        }
        let batch = batch.clone().with_mixed(mixed);
        let mut oracle = BatchOracle::new(&net, &backend, &batch, &buffers)
            .with_loss(CrossEntropy { label_smoothing: smoothing });
        let found = oracle.evaluate(&theta, Pass::Probe, Order::First).unwrap().loss;
        assert!((found - expected).abs() < 1e-14, "{weight}, {smoothing}: {found} instead of {expected}");
    }
}

#[test]
fn passes_the_oracle_suite() {
    let setting = Setting::new();
    let Setting { backend, net, batch, theta, .. } = &setting;
    let tangents = [Setting::vector(backend, net, 70), Setting::vector(backend, net, 90)];
    let short = ParamVector::new(backend.clone(), theta.tensors()[1..].to_vec());
    let batch = batch.clone().with_mixed(mixed(0.3));
    let make = || BatchOracle::new(net, backend, &batch, &setting.buffers);
    check_oracle(make, theta, &tangents, Some(&short), Tolerances::F64);
}

/// Losses, selections and logits of a batch with two smoothed labels and a frozen body, whose logits are linear.
#[test]
fn passes_the_examples_suite() {
    let setting = Setting::new();
    let Setting { backend, net, batch, theta, .. } = &setting;
    let v = Setting::vector(backend, net, 70);
    for (weight, label_smoothing) in [(None, 0.0), (None, 0.1), (Some(0.3), 0.0), (Some(0.8), 0.2)] {
        let batch = batch.clone().with_mixed(weight.map(mixed)).with_examples(vec![3, 0, 9, 4, 8]);
        let oracle = BatchOracle::new(net, backend, &batch, &setting.buffers);
        let mut oracle = oracle.with_loss(CrossEntropy { label_smoothing });
        check_examples(&mut oracle, theta, &v, Coupling::Apart, Tolerances::F64);
        let known = oracle.examples();
        assert_eq!(known.is_ok(), weight.is_none(), "rows of two samples have no number: {known:?}");
    }
    let mut unknown = BatchOracle::new(net, backend, batch, &setting.buffers);
    assert!(unknown.examples().unwrap_err().to_string().contains("with_examples"));
    let numbered = batch.clone().with_examples(vec![3, 0, 9, 4, 8]);
    let mut selected = BatchOracle::new(net, backend, &numbered, &setting.buffers);
    selected.select(Some(&[1, 4])).unwrap();
    assert_eq!(selected.examples().unwrap(), [0, 8]);
    // Only the bias of the head is learned.
    let frozen = Frozen::new(backend, &net.layout, &theta.to_host().unwrap(), &[true, false]).unwrap();
    let [bias, v] = [theta, &v].map(|x| ParamVector::new(backend.clone(), x.tensors()[1..].to_vec()));
    let mut frozen = BatchOracle::new(net, backend, batch, &setting.buffers).with_frozen(Some(&frozen));
    check_examples(&mut frozen, &bias, &v, Coupling::Apart, Tolerances::F64);
    assert!(unknown.losses(Point::At(&bias)).is_err(), "a point of another space");
}

/// The Hessian of the loss in the logits does not depend on the targets. With linear logits, neither do the products.
#[test]
fn products_of_a_linear_model_are_those_of_any_labels() {
    let Setting { backend, net, batch, buffers, theta } = Setting::new();
    let v = Setting::vector(&backend, &net, 70);
    let products = |mixed: Option<MixedLabels>| {
        let batch = batch.clone().with_mixed(mixed);
        [Curvature::Hessian, Curvature::GaussNewton].map(|curvature| {
            let oracle = BatchOracle::new(&net, &backend, &batch, &buffers);
            let mut oracle = oracle.with_curvature(curvature);
            let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
            oracle.hvp(&here, &v, Use::Last).unwrap().to_host().unwrap().concat()
        })
    };
    let (plain, blended) = (products(None), products(Some(mixed(0.3))));
    for (a, b) in plain.iter().chain([&plain[0]]).flatten().zip(blended.iter().chain([&blended[1]]).flatten())
    {
        assert!((a - b).abs() < 1e-14, "{a} and {b}");
    }
}

#[test]
fn a_prediction_counts_for_the_heavier_label() {
    let Setting { backend, net, batch, buffers, theta } = Setting::new();
    let logits = predict(&net, &backend, &theta, &buffers.borrow(), &batch.images).unwrap();
    let top = |row: &[f64]| (0..CLASSES).fold(0, |best, k| if row[k] > row[best] { k } else { best });
    let correct = |labels: &[usize]| -> Vec<bool> {
        logits.chunks(CLASSES).zip(labels).map(|(row, k)| top(row) == *k).collect()
    };
    let mut mixture = false;
    for weight in [0.7, 0.3] {
        let mixed = mixed(weight);
        let expected = correct(if weight < 0.5 { &mixed.labels } else { &batch.labels });
        let batch = batch.clone().with_mixed(mixed);
        let mut oracle = BatchOracle::new(&net, &backend, &batch, &buffers);
        assert_eq!(oracle.correct_rows(), None, "nothing was committed yet");
        oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
        assert_eq!(oracle.correct_rows(), Some(&expected[..]));
        assert_eq!(oracle.correct(), Some(expected.iter().filter(|correct| **correct).count()));
        mixture |= expected.contains(&true) && expected.contains(&false);
        // The products on a sample are those of its rows.
        let sample = Sample::new(0.6, 1);
        oracle.restrict(Some(sample)).unwrap();
        oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
        let sampled: Vec<bool> = sample.rows(5).into_iter().map(|row| expected[row]).collect();
        assert_eq!(oracle.correct_rows(), Some(&sampled[..]));
    }
    assert!(mixture, "some predictions are correct and some are not");
}

#[test]
fn second_labels_that_do_not_fit_are_refused() {
    let Setting { backend, net, batch, buffers, theta } = Setting::new();
    for labels in [vec![0; 4], vec![0, 0, 3, 0, 0]] {
        let mixed = MixedLabels { labels, weight: 0.5 };
        let batch = batch.clone().with_mixed(mixed);
        let mut oracle = BatchOracle::new(&net, &backend, &batch, &buffers);
        let result = oracle.evaluate(&theta, Pass::Probe, Order::First);
        assert!(matches!(result, Err(Error::Backend(_))), "{result:?}");
    }
}
