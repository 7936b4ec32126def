//! Names and order of tensors, host vectors, running statistics, and the loss.

use std::cell::RefCell;

use gnr_core::{Error as CoreError, GradOracle, Order, Pass, Vector};
use gnr_nn::{
    Arithmetic, Autodiff, Backend, Batch, BatchOracle, Buffers, Context, Conv2dSpec, CrossEntropy, Error,
    Frozen, Layout, Loss, MeasuredStatistics, Mode, Model, ParamVector, Result,
    layers::{BatchNorm2d, Conv2d, Linear},
    predict,
    testing::Reference,
};

/// The net conv-BN-ReLU-pool-linear on `[N, 1, 2, 2]`.
struct Net {
    layout: Layout,
    conv: Conv2d,
    bn: BatchNorm2d,
    fc: Linear,
}

impl Net {
    fn new(momentum: f64) -> Self {
        let mut layout = Layout::new();
        let mut root = layout.root();
        let spec = Conv2dSpec { stride: 1, padding: 0.into(), groups: 1 };
        Self {
            conv: Conv2d::new(&mut root.enter("features.0"), 1, 1, 1, spec),
            bn: BatchNorm2d::new(&mut root.enter("features.1"), 1).with_momentum(momentum),
            fc: Linear::new(&mut root.enter("fc"), 1, 2),
            layout,
        }
    }
}

impl Model for Net {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let x = self.conv.forward(cx, x)?;
        let x = self.bn.forward_relu(cx, &x)?;
        self.fc.forward(cx, &cx.backend.global_avg_pool(&x)?)
    }
}

/// A setting whose convolution is the identity, so that the input of BatchNorm is 0, 1, …, 7.
fn setting(
    b: &Reference,
    net: &Net,
) -> (Batch<Reference>, ParamVector<Reference>, RefCell<Buffers<Reference>>) {
    let images = b.constant(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], &[2, 1, 2, 2]).unwrap();
    let values = [vec![1.0], vec![1.0], vec![0.0], vec![1.0, -1.0], vec![0.0, 0.0]];
    let theta = ParamVector::from_host(b, &net.layout, &values).unwrap();
    (Batch::new(images, vec![0, 1]), theta, RefCell::new(Buffers::initial(&net.layout, b).unwrap()))
}

#[test]
fn entries_follow_pytorchs_state_dict() {
    let net = Net::new(0.1);
    let names: Vec<_> = net.layout.entries().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "features.0.weight",
            "features.1.weight",
            "features.1.bias",
            "features.1.running_mean",
            "features.1.running_var",
            "fc.weight",
            "fc.bias"
        ]
    );
    assert_eq!((net.layout.num_parameter_tensors(), net.layout.num_buffers()), (5, 2));
    assert_eq!(net.layout.num_parameters(), 1 + 1 + 1 + 2 + 2);
}

#[test]
fn host_values_must_fit_the_layout() {
    let (b, net) = (Reference::new(), Net::new(0.1));
    let (_, theta, buffers) = setting(&b, &net);
    let values = theta.to_host().unwrap();
    assert_eq!(ParamVector::from_host(&b, &net.layout, &values).unwrap().to_host().unwrap(), values);
    assert!(ParamVector::from_host(&b, &net.layout, &values[1..]).is_err());
    let mut long = values;
    long[0].push(1.0);
    assert!(matches!(ParamVector::from_host(&b, &net.layout, &long), Err(Error::InvalidShape { .. })));

    let values = buffers.borrow().to_host(&b).unwrap();
    assert_eq!(values, [[0.0], [1.0]]);
    assert!(Buffers::from_host(&b, &net.layout, &values[1..]).is_err());
}

/// The batch has mean 3.5 and unbiased variance 6; the update is running ← (1−m)·running + m·batch.
#[test]
fn running_statistics_move_in_a_commit_only() {
    for momentum in [0.1, 1.0] {
        let (b, net) = (Reference::new(), Net::new(momentum));
        let (batch, theta, buffers) = setting(&b, &net);
        let mut oracle = BatchOracle::new(&net, &b, &batch, &buffers);
        oracle.evaluate(&theta, Pass::Probe, Order::First).unwrap();
        oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
        assert_eq!(oracle.correct(), Some(1), "both samples are predicted as class 0");
        let [mean, var] = [3.5 * momentum, 1.0 - momentum + 6.0 * momentum];
        let found = buffers.borrow().to_host(&b).unwrap().concat();
        assert!((found[0] - mean).abs() < 1e-12 && (found[1] - var).abs() < 1e-12, "{found:?}");

        let before = buffers.borrow().to_host(&b).unwrap();
        let mut oracle = BatchOracle::new(&net, &b, &batch, &buffers).with_mode(Mode::Eval);
        oracle.evaluate(&theta, Pass::Commit, Order::Second).unwrap();
        assert_eq!(buffers.borrow().to_host(&b).unwrap(), before);
    }
}

/// One batch gives its mean and unbiased variance, whatever the statistics were; several give the mean of theirs; a
/// frozen layer keeps its own.
#[test]
fn measured_statistics_are_the_mean_over_batches() {
    let (b, net) = (Reference::new(), Net::new(0.1));
    let (batch, theta, _) = setting(&b, &net);
    let start = || Buffers { tensors: [40.0, 0.5].map(|x| b.constant(&[x], &[1]).unwrap()).to_vec() };
    let found =
        |measured: MeasuredStatistics<Reference>| measured.into_buffers().to_host(&b).unwrap().concat();
    let mut one = MeasuredStatistics::new(start());
    one.add(&net, &b, &theta, None, &batch.images, None).unwrap();
    assert_eq!(found(one), [3.5, 6.0]);

    // The first has mean 1.5 and variance 5/3, the second mean 2 and variance 16/3.
    let images = [[0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 4.0, 4.0]].map(|x| b.constant(&x, &[1, 1, 2, 2]).unwrap());
    let mut three = MeasuredStatistics::new(start());
    for images in [&images[0], &images[1], &batch.images] {
        three.add(&net, &b, &theta, None, images, None).unwrap();
    }
    let expected = [(1.5 + 2.0 + 3.5) / 3.0, (5.0 / 3.0 + 16.0 / 3.0 + 6.0) / 3.0];
    let found_three = found(three.clone());
    assert!((found_three[0] - expected[0]).abs() < 1e-14 && (found_three[1] - expected[1]).abs() < 1e-14);

    let values = theta.to_host().unwrap();
    let mask = [false, true, true, false, false];
    let frozen = Frozen::new(&b, &net.layout, &values, &mask).unwrap();
    let learned = ParamVector::new(b.clone(), frozen.learned(theta.tensors().iter().cloned()).collect());
    let mut still = MeasuredStatistics::new(start());
    still.add(&net, &b, &learned, Some(&frozen), &batch.images, None).unwrap();
    assert_eq!(found(still), [40.0, 0.5]);

    let refused = three.add(&net, &b, &learned, None, &batch.images, None);
    assert!(matches!(refused, Err(CoreError::DimensionMismatch { .. })));
    let mut other = MeasuredStatistics::new(Buffers { tensors: Vec::new() });
    assert!(other.add(&net, &b, &theta, None, &batch.images, None).is_err());
}

/// In train mode a single value a channel is an error with the layer's name: its normalised value would always be 0.
#[test]
fn a_single_value_is_not_normalised() {
    let (b, net) = (Reference::new(), Net::new(0.1));
    let (_, theta, buffers) = setting(&b, &net);
    let batch = Batch::new(b.constant(&[3.0], &[1, 1, 1, 1]).unwrap(), vec![0]);
    let mut oracle = BatchOracle::new(&net, &b, &batch, &buffers);
    let error = oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap_err().to_string();
    assert!(error.contains("`features.1`") && error.contains("[1, 1, 1, 1]"), "{error}");
    let mut oracle = BatchOracle::new(&net, &b, &batch, &buffers).with_mode(Mode::Eval);
    oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
    // Two values are enough, from two samples or from a larger map.
    for shape in [[2, 1, 1, 1], [1, 1, 1, 2]] {
        let batch = Batch::new(b.constant(&[3.0, 4.0], &shape).unwrap(), vec![0; shape[0]]);
        let mut oracle = BatchOracle::new(&net, &b, &batch, &buffers);
        oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
    }
}

/// With two equal logits every target distribution costs ln 2. Otherwise targets are (1−s)·onehot + s/K.
#[test]
fn label_smoothing() {
    let b = Reference::new();
    let loss = |logits: &[f64], smoothing: f64| {
        let logits = b.constant(logits, &[1, logits.len()]).unwrap();
        b.item(&b.cross_entropy(&logits, &[0], smoothing).unwrap()).unwrap()
    };
    for smoothing in [0.0, 0.1, 0.5] {
        assert!((loss(&[3.0, 3.0], smoothing) - 2f64.ln()).abs() < 1e-15);
        let log_partition = (1f64.exp() + 2.0).ln();
        let on_target = 1.0 - smoothing + smoothing / 3.0;
        assert!((loss(&[1.0, 0.0, 0.0], smoothing) - (log_partition - on_target)).abs() < 1e-15);
    }
    let (net, expected) = (Net::new(0.1), [0.0, 0.3]);
    let (batch, theta, buffers) = setting(&b, &net);
    let [plain, smooth] = expected.map(|label_smoothing| {
        let mut oracle =
            BatchOracle::new(&net, &b, &batch, &buffers).with_loss(CrossEntropy { label_smoothing });
        oracle.evaluate(&theta, Pass::Probe, Order::First).unwrap().loss
    });
    assert!(plain != smooth, "the oracle passes the smoothing on");
}

#[test]
fn labels_and_points_of_another_model_are_refused() {
    let (b, net) = (Reference::new(), Net::new(0.1));
    let (mut batch, theta, buffers) = setting(&b, &net);
    let mut oracle = BatchOracle::new(&net, &b, &batch, &buffers);
    let short = ParamVector::new(b.clone(), theta.tensors()[1..].to_vec());
    match oracle.evaluate(&short, Pass::Commit, Order::First) {
        Err(CoreError::DimensionMismatch { expected: 7, found: 6, .. }) => (),
        other => panic!("{:?}", other.map(|here| here.loss)),
    }
    let none = &RefCell::new(Buffers { tensors: Vec::new() });
    assert!(BatchOracle::new(&net, &b, &batch, none).evaluate(&theta, Pass::Commit, Order::First).is_err());
    assert!(predict(&net, &b, &short, &buffers.borrow(), &batch.images).is_err());
    assert!(predict(&net, &b, &theta, &none.borrow(), &batch.images).is_err());
    batch.labels[1] = 2;
    let mut oracle = BatchOracle::new(&net, &b, &batch, &buffers);
    let error = oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap_err().to_string();
    assert_eq!(error, "label 2 of sample 1 is not below the number of classes, 2");
    assert!(theta.dot(&short).is_err());
}
