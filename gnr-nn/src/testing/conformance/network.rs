//! A whole network through [`BatchOracle`], compared with the reference.

use std::cell::{Cell, RefCell};

use gnr_core::{
    GradOracle, HvpOracle, Order, Pass, Result as CoreResult, Use, Vector,
    testing::conformance::{Tolerances, check_oracle},
};

use super::{super::Reference, assert_clear, assert_close, must, noise};
use crate::{
    Autodiff, Backend, Batch, BatchOracle, Buffers, Context, Conv2dSpec, CrossEntropy, Curvature, Fused,
    Layout, MaskSeed, Mode, Model, Padding, ParamVector, PoolSpec, Result, Unary,
    layers::{BatchNorm2d, Conv2d, DropPath, Dropout, Linear},
    predict,
};

/// A small residual network with every operation that a backend may fuse.
#[derive(Clone, Debug)]
pub(super) struct Net {
    layout: Layout,
    conv: [Conv2d; 3],
    bn: [BatchNorm2d; 3],
    dropout: Dropout,
    drop_path: DropPath,
    fc: Linear,
    /// Whether tanh and an average replace ReLU and a maximum, which have kinks.
    smooth: bool,
    /// The difference between the first forward pass and later ones, and the number of passes; `None` if there is no
    /// difference.
    fickle: Option<(Fickle, Cell<usize>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fickle {
    /// One operation is replaced by another.
    Other,
    /// One operation is added.
    More,
    /// One operation is left out.
    Less,
}

impl Net {
    fn new(smooth: bool) -> Result<Self> {
        let mut layout = Layout::new();
        let mut root = layout.root();
        let spec = |stride, padding| Conv2dSpec { stride, padding: Padding::Each(padding), groups: 1 };
        let conv = [
            Conv2d::new(&mut root.enter("conv1"), 2, 4, 3, spec(1, 1)),
            Conv2d::with_bias(&mut root.enter("conv2"), 4, 6, 3, spec(2, 1)),
            Conv2d::new(&mut root.enter("shortcut"), 4, 6, 1, spec(2, 0)),
        ];
        let bn = [("bn1", 4), ("bn2", 6), ("bn3", 6)]
            .map(|(name, channels)| BatchNorm2d::new(&mut root.enter(name), channels));
        let fc = Linear::new(&mut root.enter("fc"), 6, 3);
        let (dropout, drop_path) = (Dropout::new(0.25)?, DropPath::new(0.5)?);
        Ok(Self { layout, conv, bn, dropout, drop_path, fc, smooth, fickle: None })
    }
}

impl Model for Net {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let features = self.features(cx, x)?;
        self.classifier(cx, &features)
    }
}

impl Net {
    /// The logits. Part of the masks belongs to the classifier, part to what is before it.
    fn classifier<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
        let y = self.drop_path.forward(cx, features)?;
        self.fc.forward(cx, &y)
    }
    /// The input of the classifier.
    fn features<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let mut change = None;
        if let Some((fickle, passes)) = &self.fickle {
            passes.set(passes.get() + 1);
            change = (passes.get() > 1).then_some(*fickle);
        }
        let activation = (!self.smooth).then_some(Unary::Relu);
        let pool = PoolSpec { window: 2, stride: 2, padding: 0 };
        let y = self.conv[0].forward(cx, x)?;
        let mut y = self.bn[0].forward_fused(cx, &y, Fused { residual: None, activation })?;
        if self.smooth {
            y = cx.backend.avg_pool2d(&cx.backend.unary(Unary::Tanh, &y)?, pool)?;
        } else {
            y = cx.backend.max_pool2d(&y, pool)?;
        }
        let shortcut = self.conv[2].forward(cx, &y)?;
        let shortcut = match change {
            Some(Fickle::Other) => cx.backend.mul(&shortcut, &shortcut)?,
            Some(Fickle::Less) => shortcut,
            _ => {
                // BatchNorm of what is no convolution: its input's tangent depends on θ in another way.
                let shortcut = match self.smooth {
                    true => cx.backend.unary(Unary::Tanh, &shortcut)?,
                    false => shortcut,
                };
                self.bn[2].forward(cx, &shortcut)?
            }
        };
        let y = self.conv[1].forward(cx, &y)?;
        let mut y = self.bn[1].forward_fused(cx, &y, Fused { residual: Some(&shortcut), activation })?;
        if self.smooth || change == Some(Fickle::More) {
            y = cx.backend.unary(Unary::Tanh, &y)?;
        }
        self.dropout.forward(cx, &cx.backend.global_avg_pool(&y)?)
    }
}

/// A [`Net`] that can be cut before its classifier, and counts the runs of its body alone.
pub(super) struct Cut<'n>(pub(super) &'n Net, pub(super) Cell<usize>);

impl Model for Cut<'_> {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        self.0.forward(cx, x)
    }
    fn embed<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<Option<B::Tensor>> {
        self.1.set(self.1.get() + 1);
        self.0.features(cx, x).map(Some)
    }
    fn classify<B: Backend>(&self, cx: &mut Context<'_, B>, features: &B::Tensor) -> Result<B::Tensor> {
        self.0.classifier(cx, features)
    }
}

const SAMPLES: usize = 4;
const LABELS: [usize; SAMPLES] = [0, 2, 1, 2];

/// The network of a backend, with its batch.
pub(super) struct Setting<'b, B: Autodiff> {
    backend: &'b B,
    pub(super) net: Net,
    pub(super) batch: Batch<B>,
    pub(super) theta: ParamVector<B>,
    /// Two directions with which products are computed.
    pub(super) tangents: [ParamVector<B>; 2],
}

impl<'b, B: Autodiff> Setting<'b, B> {
    pub(super) fn new(backend: &'b B, smooth: bool) -> Result<Self> {
        let net = Net::new(smooth)?;
        let vector = |stream: u64, scale: f64| {
            let entries = net.layout.parameters().enumerate();
            let values: Vec<_> = entries
                .map(|(k, entry)| {
                    // BatchNorm's weights are around 1.
                    let centre =
                        if stream == 0 && entry.name.starts_with("bn") && entry.name.ends_with("weight") {
                            1.0
                        } else {
                            0.0
                        };
                    noise(stream + k as u64, entry.len())
                        .iter()
                        .map(|r| centre + f64::from((scale * r) as f32))
                        .collect()
                })
                .collect();
            ParamVector::from_host(backend, &net.layout, &values)
        };
        let (theta, tangents) = (vector(0, 0.5)?, [vector(100, 1.0)?, vector(200, 1.0)?]);
        let shape = [SAMPLES, 2, 8, 8];
        let images = backend.constant(&noise(300, shape.iter().product()), &shape)?;
        let batch = Batch::new(images, LABELS.to_vec());
        Ok(Self { backend, net, batch, theta, tangents })
    }
    pub(super) fn oracle<'a>(&'a self, buffers: &'a RefCell<Buffers<B>>) -> BatchOracle<'a, Net, B> {
        let oracle = BatchOracle::new(&self.net, self.backend, &self.batch, buffers);
        let oracle = oracle.with_loss(CrossEntropy { label_smoothing: 0.1 });
        oracle.with_masks(MaskSeed::new(1, 2, 3))
    }
    pub(super) fn buffers(&self) -> Result<RefCell<Buffers<B>>> {
        Buffers::initial(&self.net.layout, self.backend).map(RefCell::new)
    }
    pub(super) fn statistics(&self, buffers: &RefCell<Buffers<B>>) -> Result<Vec<f64>> {
        (buffers.borrow().tensors)
            .iter()
            .map(|x| self.backend.to_host(x))
            .collect::<Result<Vec<_>>>()
            .map(|all| all.concat())
    }
}

/// All answers of an oracle, as one list for each quantity.
fn answers<B: Autodiff>(backend: &B) -> CoreResult<Vec<(&'static str, Vec<f64>)>> {
    let setting = Setting::new(backend, false)?;
    let buffers = setting.buffers()?;
    let initial = setting.statistics(&buffers)?;
    let host = |x: &ParamVector<B>| x.to_host().map(|all| all.concat());
    let mut said = Vec::new();

    let mut oracle = setting.oracle(&buffers);
    let here = oracle.evaluate(&setting.theta, Pass::Probe, Order::Second)?;
    let mut products = Vec::new();
    for v in [&setting.tangents[0], &setting.tangents[1], &setting.tangents[0]] {
        products.push(host(&oracle.hvp(&here, v, Use::Again)?)?);
    }
    assert_eq!(products[0], products[2], "a product repeats bit for bit from one record");
    let first = oracle.evaluate(&setting.theta, Pass::Probe, Order::First)?;
    assert_eq!(host(&first.grad)?, host(&here.grad)?, "recording must not change the gradient");
    let product = oracle.hvp(&first, &setting.tangents[0], Use::Again)?;
    assert_eq!(host(&product)?, products[0], "a product without a record is the same");
    // Gauss–Newton products use records of the same kind.
    let mut oracle = oracle.with_curvature(Curvature::GaussNewton);
    let mut ggn = Vec::new();
    for here in [&here, &first] {
        ggn.push(host(&oracle.hvp(here, &setting.tangents[0], Use::Again)?)?);
    }
    assert_eq!(ggn[0], ggn[1], "a Gauss–Newton product without a record is the same");
    for order in [Order::Second, Order::First] {
        let used_up = oracle.evaluate(&setting.theta, Pass::Probe, order)?;
        for record in [Use::Last, Use::Again] {
            let product = oracle.hvp(&used_up, &setting.tangents[0], record)?;
            assert_eq!(host(&product)?, ggn[0], "a Gauss–Newton product ({record:?}) is the same");
        }
        let here = oracle.evaluate(&setting.theta, Pass::Probe, order)?;
        let product = oracle.hvp(&here, &here.grad, Use::Again)?;
        let own = oracle.hvp_of_gradient(here)?;
        assert_eq!(host(&own)?, host(&product)?, "the gradient's own Gauss–Newton product is the same");
    }
    said.push(("a Gauss–Newton product", ggn.swap_remove(0)));
    assert_eq!(oracle.correct(), None, "nothing was committed yet");
    let (loss, grad) = (here.loss, host(&here.grad)?);
    drop((here, first));
    assert_eq!(
        setting.statistics(&buffers)?,
        initial,
        "probes and products must not move running statistics"
    );

    said.extend([("the loss", vec![loss]), ("the gradient", grad)]);
    products.truncate(2);
    said.extend(["a product", "another product"].into_iter().zip(products));

    let mut oracle = setting.oracle(&buffers);
    oracle.evaluate(&setting.theta, Pass::Commit, Order::Second)?;
    oracle.evaluate(&setting.theta, Pass::Commit, Order::First)?;
    said.push(("correct predictions", vec![oracle.correct().map_or(-1.0, |correct| correct as f64)]));
    let moved = setting.statistics(&buffers)?;

    let mut oracle = setting.oracle(&buffers).with_mode(Mode::Eval);
    let here = oracle.evaluate(&setting.theta, Pass::Commit, Order::Second)?;
    let product = oracle.hvp(&here, &setting.tangents[0], Use::Again)?;
    said.push(("the loss in eval mode", vec![here.loss]));
    said.push(("the gradient in eval mode", host(&here.grad)?));
    said.push(("a product in eval mode", host(&product)?));
    let mut oracle = oracle.with_curvature(Curvature::GaussNewton);
    let product = oracle.hvp(&here, &setting.tangents[0], Use::Again)?;
    said.push(("a Gauss–Newton product in eval mode", host(&product)?));
    drop(here);
    assert_eq!(setting.statistics(&buffers)?, moved, "eval mode must not move running statistics");
    said.push(("running statistics after two commits", moved));
    let logits = predict(&setting.net, backend, &setting.theta, &buffers.borrow(), &setting.batch.images)?;
    said.push(("predicted logits", logits));
    Ok(said)
}

pub(super) fn check<B: Autodiff>(backend: &B, tolerance: f64) {
    let found = must("a network", answers(backend));
    let reference = Reference::new();
    let expected = must("the reference's network", answers(&reference));
    assert_clear("the network", &reference);
    for ((what, found), (_, expected)) in found.iter().zip(&expected) {
        assert_close(&format!("{what} of a network"), found, expected, tolerance);
    }
    must("a network on bad input", refusals(backend));
}

fn refusals<B: Autodiff>(backend: &B) -> CoreResult<()> {
    let mut setting = Setting::new(backend, false)?;
    let buffers = setting.buffers()?;

    let short = ParamVector::new(backend.clone(), setting.theta.tensors()[1..].to_vec());
    let mut oracle = setting.oracle(&buffers);
    assert!(oracle.evaluate(&short, Pass::Probe, Order::First).is_err(), "θ without its first tensor");
    let here = oracle.evaluate(&setting.theta, Pass::Probe, Order::Second)?;
    assert!(oracle.hvp(&here, &short, Use::Again).is_err(), "v without its first tensor");
    drop(here);

    // ReLU and pooling must let NaN through, so that the loss is an error instead of a plausible number.
    let mut poisoned = setting.theta.clone();
    poisoned.axpy(f64::NAN, &setting.tangents[0])?;
    let result = oracle.evaluate(&poisoned, Pass::Commit, Order::First);
    assert!(
        matches!(result, Err(gnr_core::Error::NonFinite { .. })),
        "NaN parameters must be Error::NonFinite, got a loss of {:?}",
        result.map(|here| here.loss)
    );
    let initial = setting.statistics(&setting.buffers()?)?;
    assert_eq!(setting.statistics(&buffers)?, initial, "a failed step must not move running statistics");

    let mut oracle = setting.oracle(&buffers).with_masks(None);
    let result = oracle.evaluate(&setting.theta, Pass::Probe, Order::First);
    assert!(result.is_err(), "masks without a seed");
    let mut oracle = oracle.with_mode(Mode::Eval);
    must("eval mode without masks", oracle.evaluate(&setting.theta, Pass::Probe, Order::First));

    // A backend without records runs the model afresh and cannot detect the change.
    if size_of::<B::Record>() > 0 {
        for fickle in [Fickle::Other, Fickle::More, Fickle::Less] {
            setting.net.fickle = Some((fickle, Cell::new(0)));
            let mut oracle = setting.oracle(&buffers);
            let here = oracle.evaluate(&setting.theta, Pass::Probe, Order::Second)?;
            let result = oracle.hvp(&here, &setting.tangents[0], Use::Again);
            assert!(
                result.is_err(),
                "a model that runs differently in the replay ({fickle:?}) must be refused"
            );
        }
    }
    Ok(())
}

/// Runs gnr-core's oracle suite on a smooth convolutional network. Gradients must be slopes of the loss, and products
/// slopes of the gradient, linear, symmetric and repeatable.
///
/// # Panics
/// When the oracle does not conform.
pub fn check_network<B: Autodiff>(backend: &B, tolerances: Tolerances) {
    let setting = must("a network", Setting::new(backend, true));
    // Commits move the statistics; train mode does not read them.
    let buffers = must("running statistics", setting.buffers());
    let make = || setting.oracle(&buffers);
    let short = ParamVector::new(backend.clone(), setting.theta.tensors()[1..].to_vec());
    check_oracle(make, &setting.theta, &setting.tangents, Some(&short), tolerances);
}
