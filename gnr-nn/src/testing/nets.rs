//! Small networks, and a generic way to compute gradients and products with which backends are compared.

use std::cell::RefCell;

use super::noise;
use crate::{
    Autodiff, Backend, Batch, BatchOracle, Buffers, Context, Layout, Model, ParamVector, Result, Unary,
    composed, layers::Linear,
};
use gnr_core::{GradOracle, HvpOracle, Order, Pass, Result as CoreResult, Use};

/// A network with two hidden layers of tanh.
pub struct TanhMlp {
    layout: Layout,
    layers: [Linear; 3],
}

impl TanhMlp {
    /// Numbers of inputs, units of both hidden layers, and outputs.
    pub const SIZES: [usize; 4] = [3, 5, 4, 3];

    /// Makes the net, which has no settings.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut layout = Layout::new();
        let [a, b, c, d] = Self::SIZES;
        let layers = [("0.0", a, b), ("1.0", b, c), ("2", c, d)]
            .map(|(name, input, output)| Linear::new(&mut layout.root().enter(name), input, output));
        Self { layout, layers }
    }
}

impl Model for TanhMlp {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let x = cx.backend.unary(Unary::Tanh, &self.layers[0].forward(cx, x)?)?;
        let x = cx.backend.unary(Unary::Tanh, &self.layers[1].forward(cx, &x)?)?;
        self.layers[2].forward(cx, &x)
    }
}

/// A network for sums and their shared adjoints. Its operands are used alone, in other sums, twice in one sum, and
/// elsewhere before and after the sum.
///
/// Activations have an operand with no other use, with one before, one after, and with another activation: a product
/// computes some of their adjoints on the way.
pub struct Sums {
    layout: Layout,
    /// A layer whose output moves, so that the adjoints that later layers keep are read.
    stem: Linear,
    layers: [Linear; 5],
    gated: [Linear; 4],
    head: Linear,
}

impl Sums {
    /// Makes the net, which has no settings.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut layout = Layout::new();
        let layers = ["a", "b", "c", "d", "e"].map(|name| Linear::new(&mut layout.root().enter(name), 4, 4));
        let gated = ["f", "g", "h", "i"].map(|name| Linear::new(&mut layout.root().enter(name), 4, 4));
        let stem = Linear::new(&mut layout.root().enter("stem"), 3, 4);
        let head = Linear::new(&mut layout.root().enter("head"), 4, 3);
        Self { layout, stem, layers, gated, head }
    }
}

impl Model for Sums {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let b = cx.backend;
        let x = b.unary(Unary::Tanh, &self.stem.forward(cx, x)?)?;
        let layer = |i: usize| self.layers[i].forward(cx, &x);
        let (first, second) = (layer(0)?, layer(1)?);
        // The reverse pass goes through the sum, then this product, which adds to the adjoint of `first` only, then
        // both layers.
        let before = b.mul(&first, &first)?;
        let sum = b.add(&first, &second)?;
        // These two have no other use.
        let alone = b.add(&layer(2)?, &layer(3)?)?;
        let all = b.add(&sum, &alone)?;
        let twice = b.add(&all, &all)?;
        // The reverse pass goes through this layer, then the sum.
        let third = layer(4)?;
        let late = b.add(&b.unary(Unary::Tanh, &twice)?, &third)?;
        let after = b.unary(Unary::Tanh, &third)?;
        let mixed = b.add(&late, &b.mul(&before, &after)?)?;
        let gelu = |x: &B::Tensor| b.unary(Unary::Gelu, x);
        let gated = |i: usize| self.gated[i].forward(cx, &x);
        let (alone, early, late, twice) = (gated(0)?, gated(1)?, gated(2)?, gated(3)?);
        let before = b.mul(&early, &early)?;
        let activations = b.add(&gelu(&alone)?, &b.mul(&before, &gelu(&early)?)?)?;
        let after = b.mul(&gelu(&late)?, &late)?;
        let both = b.mul(&gelu(&twice)?, &gelu(&twice)?)?;
        let mixed = b.add(&mixed, &b.add(&activations, &b.add(&after, &both)?)?)?;
        self.head.forward(cx, &mixed)
    }
}

/// A network of every elementwise operation and most others, made of primitives only.
pub struct Mixed {
    layout: Layout,
    first: Linear,
    second: Linear,
}

impl Mixed {
    /// Makes the net, which has no settings.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut layout = Layout::new();
        let first = Linear::new(&mut layout.root().enter("first"), 3, 4);
        let second = Linear::new(&mut layout.root().enter("second"), 4, 3);
        Self { layout, first, second }
    }
}

impl Model for Mixed {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let b = cx.backend;
        let h = b.unary(Unary::Tanh, &self.first.forward(cx, x)?)?;
        // Positive values, so that every function is defined: 1 + eʰ, its logarithm, root and reciprocal.
        let positive = b.affine(&b.unary(Unary::Exp, &h)?, 1.0, 1.0)?;
        let gated = b.mul(&b.unary(Unary::Ln, &positive)?, &b.unary(Unary::Rsqrt, &positive)?)?;
        let gated = b.add(&gated, &b.unary(Unary::Recip, &positive)?)?;
        // A cyclic shift by a gather, weights from a table that drops one entry, an outer product by matmul.
        let shifted = b.gather(&gated, 1, &[Some(1), Some(2), Some(3), Some(0)])?;
        let dropped = b.gather(&gated, 1, &[Some(0), None, Some(2), Some(2)])?;
        let gram = b.matmul(&b.permute(&shifted, &[1, 0])?, &dropped)?;
        let mixed = b.matmul(&gated, &gram)?;
        let mean = composed::mean(b, &mixed, &[1])?;
        let centred = b.sub(&mixed, &b.broadcast(&mean, b.shape(&mixed))?)?;
        let scaled = b.mul(&centred, &gated)?;
        self.second.forward(cx, &b.mul(&scaled, &scaled)?)
    }
}

/// A network with a batch of noise, at a point.
pub struct Setting<'m, M, B: Autodiff> {
    /// The network under test.
    pub model: &'m M,
    /// The backend on which it runs.
    pub backend: B,
    /// Images and labels of noise.
    pub batch: Batch<B>,
    /// The point at which it is evaluated.
    pub theta: ParamVector<B>,
}

impl<'m, M: Model, B: Autodiff> Setting<'m, M, B> {
    /// A batch of images of this shape, at the initial parameters of seed 7.
    ///
    /// # Errors
    /// The errors of the backend.
    pub fn new(model: &'m M, backend: B, images: &[usize], classes: usize) -> Result<Self> {
        let values: Vec<f64> = (0..images.iter().product::<usize>() as u64).map(|i| noise(900, i)).collect();
        let labels = (0..images[0]).map(|i| (3 * i + 1) % classes).collect();
        let batch = Batch::new(backend.constant(&values, images)?, labels);
        let theta = ParamVector::initial(&backend, model.layout(), 7)?;
        Ok(Self { model, backend, batch, theta })
    }

    /// Moves to a point with entries of order 1, where no gradient is small by cancellation.
    ///
    /// # Errors
    /// The errors of the backend.
    pub fn at_noise(mut self) -> Result<Self> {
        self.theta = self.direction(40)?;
        Ok(self)
    }

    /// A direction with entries uniform on [−1, 1).
    ///
    /// # Errors
    /// The errors of the backend.
    pub fn direction(&self, seed: u64) -> Result<ParamVector<B>> {
        let entries = self.model.layout().parameters();
        let values: Vec<Vec<f64>> = (0..)
            .zip(entries)
            .map(|(k, entry)| (0..entry.len() as u64).map(|i| noise(seed * 1000 + k, i)).collect())
            .collect();
        ParamVector::from_host(&self.backend, self.model.layout(), &values)
    }

    /// The gradient and the products with each direction, flattened.
    ///
    /// # Errors
    /// The errors of the oracle.
    pub fn ask(&self, directions: &[ParamVector<B>]) -> CoreResult<(Vec<f64>, Vec<Vec<f64>>)> {
        let buffers = RefCell::new(Buffers::initial(self.model.layout(), &self.backend)?);
        let mut oracle = BatchOracle::new(self.model, &self.backend, &self.batch, &buffers);
        let here = oracle.evaluate(&self.theta, Pass::Probe, Order::Second)?;
        let mut products = Vec::new();
        for v in directions {
            let product = oracle.hvp(&here, v, Use::Again)?;
            products.push(product.to_host()?.concat());
        }
        Ok((here.grad.to_host()?.concat(), products))
    }
}

/// The largest difference, relative to the largest element of `expected`.
///
/// # Panics
/// When the lengths differ.
pub fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-300, |max: f64, x| max.max(x.abs()));
    found.iter().zip(expected).fold(0.0, |max: f64, (a, b)| max.max((a - b).abs())) / scale
}

/// Checks that two exact backends in double precision agree on nets of every operation: gradients and exact products
/// within 1e-12 of the largest entry, because only the order of additions differs.
///
/// # Panics
/// Where they differ, and with the errors of the backends.
#[allow(clippy::unwrap_used, reason = "a check panics where it fails")]
pub fn check_agreement<B: Autodiff, R: Autodiff>(backend: &B, reference: &R) {
    fn agree<M: Model, B: Autodiff, R: Autodiff>(model: &M, backend: &B, reference: &R) {
        let shape = [6, 3];
        let found = Setting::new(model, backend.clone(), &shape, 3).unwrap().at_noise().unwrap();
        let sought = Setting::new(model, reference.clone(), &shape, 3).unwrap().at_noise().unwrap();
        let (gradient, products) = found.ask(&[found.direction(1).unwrap()]).unwrap();
        let (expected, expected_products) = sought.ask(&[sought.direction(1).unwrap()]).unwrap();
        let errors = [difference(&gradient, &expected), difference(&products[0], &expected_products[0])];
        assert!(errors[0] < 1e-12 && errors[1] < 1e-12, "gradient and product differ by {errors:?}");
    }
    agree(&TanhMlp::new(), backend, reference);
    agree(&Mixed::new(), backend, reference);
    agree(&Sums::new(), backend, reference);
}
