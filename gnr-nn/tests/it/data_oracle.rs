//! The loss over a data set is the mean over its samples, however they are batched. Its blocks are blocks of the whole
//! Hessian.

use std::cell::RefCell;

use gnr_core::{
    Error, GradOracle, HvpOracle, Order, Pass, Use, Vector,
    testing::conformance::{Tolerances, check_oracle},
};
use gnr_nn::{
    Arithmetic, Backend, Batch, BatchOracle, Buffers, Context, CrossEntropy, Curvature, DataOracle, Layout,
    Mode, Model, ParamVector, Result, Unary,
    layers::{BatchNorm2d, Conv2d, Linear},
    predict,
    testing::{Reference, noise as noise_at},
};

/// A smooth net with running statistics: convolution, BatchNorm, tanh, linear.
struct Net {
    layout: Layout,
    conv: Conv2d,
    bn: BatchNorm2d,
    fc: Linear,
}

impl Net {
    fn new() -> Self {
        let mut layout = Layout::new();
        let spec = gnr_nn::Conv2dSpec { stride: 1, padding: gnr_nn::Padding::Each(1), groups: 1 };
        let conv = Conv2d::new(&mut layout.root().enter("conv"), 1, 2, 3, spec);
        let bn = BatchNorm2d::new(&mut layout.root().enter("bn"), 2);
        let fc = Linear::new(&mut layout.root().enter("fc"), 2, 3);
        Self { layout, conv, bn, fc }
    }
}

impl Model for Net {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        let x = self.conv.forward(cx, x)?;
        let x = cx.backend.unary(Unary::Tanh, &self.bn.forward(cx, &x)?)?;
        self.fc.forward(cx, &cx.backend.global_avg_pool(&x)?)
    }
}

const SAMPLES: usize = 6;

fn noise(stream: u64, len: usize) -> Vec<f64> {
    (0..len as u64).map(|i| noise_at(stream, i)).collect()
}

struct Setting {
    backend: Reference,
    net: Net,
    pixels: Vec<f64>,
    buffers: Buffers<Reference>,
    theta: ParamVector<Reference>,
}

impl Setting {
    fn new() -> Self {
        let (backend, net) = (Reference::new(), Net::new());
        let values: Vec<_> =
            net.layout.parameters().enumerate().map(|(k, entry)| noise(k as u64, entry.len())).collect();
        let theta = ParamVector::from_host(&backend, &net.layout, &values).unwrap();
        let statistics = [vec![0.1, -0.2], vec![0.5, 2.0]];
        let buffers = Buffers::from_host(&backend, &net.layout, &statistics).unwrap();
        Self { backend, net, pixels: noise(50, SAMPLES * 16), buffers, theta }
    }
    fn batch(&self, range: std::ops::Range<usize>) -> Batch<Reference> {
        let pixels = &self.pixels[range.start * 16..range.end * 16];
        let images = self.backend.constant(pixels, &[range.len(), 1, 4, 4]).unwrap();
        Batch::new(images, range.map(|i| i % 3).collect())
    }
    fn oracle(&self, cuts: &[usize]) -> DataOracle<'_, Net, Reference, Vec<Batch<Reference>>> {
        let batches = cuts.windows(2).map(|cut| self.batch(cut[0]..cut[1])).collect::<Vec<_>>();
        DataOracle::new(&self.net, &self.backend, batches, self.buffers.clone())
            .with_loss(CrossEntropy { label_smoothing: 0.1 })
    }
    fn tangent(&self, stream: u64) -> ParamVector<Reference> {
        let entries = self.net.layout.parameters().enumerate();
        let values: Vec<_> = entries.map(|(k, entry)| noise(stream + k as u64, entry.len())).collect();
        ParamVector::from_host(&self.backend, &self.net.layout, &values).unwrap()
    }
}

fn flat(v: &ParamVector<Reference>) -> Vec<f64> {
    v.to_host().unwrap().concat()
}

fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * scale, "{what}: {found} instead of {expected}");
    }
}

/// Loss, gradient, Hessian and Gauss–Newton products.
fn answers(
    mut oracle: DataOracle<'_, Net, Reference, Vec<Batch<Reference>>>,
    theta: &ParamVector<Reference>,
    v: &ParamVector<Reference>,
) -> [Vec<f64>; 4] {
    let here = oracle.evaluate(theta, Pass::Probe, Order::Second).unwrap();
    let h = oracle.hvp(&here, v, Use::Again).unwrap();
    let g = oracle.with_curvature(Curvature::GaussNewton).hvp(&here, v, Use::Again).unwrap();
    [vec![here.loss], flat(&here.grad), flat(&h), flat(&g)]
}

/// In eval mode neither the batching nor the number of kept records changes anything.
#[test]
fn is_the_mean_over_samples_however_they_are_batched() {
    let (setting, v) = (Setting::new(), Setting::new().tangent(70));
    let buffers = RefCell::new(setting.buffers.clone());
    let whole = setting.batch(0..SAMPLES);
    let mut one = BatchOracle::new(&setting.net, &setting.backend, &whole, &buffers)
        .with_loss(CrossEntropy { label_smoothing: 0.1 })
        .with_mode(Mode::Eval);
    let here = one.evaluate(&setting.theta, Pass::Probe, Order::Second).unwrap();
    let h = one.hvp(&here, &v, Use::Again).unwrap();
    let g = one.with_curvature(Curvature::GaussNewton).hvp(&here, &v, Use::Again).unwrap();
    let expected = [vec![here.loss], flat(&here.grad), flat(&h), flat(&g)];
    for cuts in [&[0, SAMPLES][..], &[0, 4, 6], &[0, 1, 2, 6]] {
        for keep in [0, 1, 9] {
            let found = answers(setting.oracle(cuts).keeping(keep), &setting.theta, &v);
            for (found, expected) in found.iter().zip(&expected) {
                assert_close("an answer", found, expected, 1e-13);
            }
        }
    }
}

/// In train mode each batch has its own statistics, and the loss is the mean of the batches' losses, weighted by
/// samples.
#[test]
fn in_train_mode_it_is_the_weighted_mean_of_batches() {
    let (setting, v) = (Setting::new(), Setting::new().tangent(70));
    let found = answers(setting.oracle(&[0, 4, 6]).with_mode(Mode::Train), &setting.theta, &v);
    let parts = [setting.oracle(&[0, 4]), setting.oracle(&[4, 6])]
        .map(|oracle| answers(oracle.with_mode(Mode::Train), &setting.theta, &v));
    for (k, found) in found.iter().enumerate() {
        let mean: Vec<_> =
            parts[0][k].iter().zip(&parts[1][k]).map(|(a, b)| (4.0 * a + 2.0 * b) / 6.0).collect();
        assert_close("an answer", found, &mean, 1e-13);
    }
}

#[test]
fn passes_the_oracle_suite() {
    let setting = Setting::new();
    let tangents = [setting.tangent(70), setting.tangent(90)];
    let short = ParamVector::new(setting.backend.clone(), setting.theta.tensors()[1..].to_vec());
    let make = || setting.oracle(&[0, 2, 6]).keeping(1);
    check_oracle(make, &setting.theta, &tangents, Some(&short), Tolerances::F64);
}

/// A block of products equals the products one by one, bit for bit.
#[test]
fn a_block_of_products_is_the_products() {
    let setting = Setting::new();
    let mut oracle = setting.oracle(&[0, 2, 6]);
    let here = oracle.evaluate(&setting.theta, Pass::Probe, Order::Second).unwrap();
    let vs = [setting.tangent(70), setting.tangent(90), setting.tangent(110)];
    let products = oracle.hvp_block(&here, &vs).unwrap();
    assert_eq!(products.len(), vs.len());
    for (v, product) in vs.iter().zip(&products) {
        assert_eq!(flat(&oracle.hvp(&here, v, Use::Again).unwrap()), flat(product));
    }
    assert!(oracle.hvp_block(&here, &[]).unwrap().is_empty());
}

/// With some tensors frozen the gradient and the products are the free rows and columns of the whole ones.
#[test]
fn free_tensors_are_a_diagonal_block() {
    let setting = Setting::new();
    let layout = &setting.net.layout;
    let chosen: Vec<_> = layout.parameters().map(|entry| entry.name.starts_with("bn")).collect();
    let v = setting.tangent(70);
    // The tangent extended by zeros outside the block.
    let zeroed: Vec<_> = (v.to_host().unwrap().into_iter().zip(&chosen))
        .map(|(values, free)| values.into_iter().map(|x| if *free { x } else { 0.0 }).collect())
        .collect();
    let embedded = ParamVector::from_host(&setting.backend, layout, &zeroed).unwrap();
    let whole = answers(setting.oracle(&[0, 2, 6]), &setting.theta, &embedded);
    let free_of = |flat: &[f64]| {
        let mut rest = flat;
        let mut parts = Vec::new();
        for (entry, free) in layout.parameters().zip(&chosen) {
            let (part, after) = rest.split_at(entry.len());
            rest = after;
            if *free {
                parts.extend_from_slice(part);
            }
        }
        parts
    };
    for keep in [0, 2] {
        let oracle = setting.oracle(&[0, 2, 6]).keeping(keep).free(&setting.theta, &chosen).unwrap();
        let (theta, v) = (oracle.free_part(&setting.theta).unwrap(), oracle.free_part(&v).unwrap());
        assert_eq!(v.dim(), 4);
        let block = answers(oracle, &theta, &v);
        assert_eq!(block[0], whole[0]);
        for k in 1..4 {
            assert_close("an answer", &block[k], &free_of(&whole[k]), 1e-13);
        }
    }
    let nothing = setting.oracle(&[0, 6]).free(&setting.theta, &vec![false; chosen.len()]);
    assert!(matches!(nothing, Err(Error::Oracle(_))));
    assert!(setting.oracle(&[0, 6]).free(&setting.theta, &[true]).is_err());
}

/// The matrix is G = (1/N) Σ Jᵀ(diag p − ppᵀ)J, with J from central differences of the logits, whose error at h = 1e-4
/// is some 1e-9.
#[test]
fn gauss_newton_products_are_those_of_the_dense_matrix() {
    let setting = Setting::new();
    let (v, whole) = (setting.tangent(70), setting.batch(0..SAMPLES));
    let logits = |theta: &ParamVector<Reference>| {
        predict(&setting.net, &setting.backend, theta, &setting.buffers, &whole.images).unwrap()
    };
    let (layout, theta) = (&setting.net.layout, setting.theta.to_host().unwrap());
    let shifted = |tensor: usize, element: usize, h: f64| {
        let mut values = theta.clone();
        values[tensor][element] += h;
        logits(&ParamVector::from_host(&setting.backend, layout, &values).unwrap())
    };
    let h = 1e-4;
    let mut jacobian = Vec::new(); // a column a parameter
    for (tensor, entry) in layout.parameters().enumerate() {
        for element in 0..entry.len() {
            let (up, down) = (shifted(tensor, element, h), shifted(tensor, element, -h));
            jacobian.push(up.iter().zip(&down).map(|(a, b)| (a - b) / (2.0 * h)).collect::<Vec<_>>());
        }
    }
    let z = logits(&setting.theta);
    let mut along = vec![0.0; z.len()];
    for (column, v) in jacobian.iter().zip(flat(&v)) {
        along.iter_mut().zip(column).for_each(|(sum, j)| *sum += j * v);
    }
    let mut weighted = Vec::new();
    for (z, t) in z.chunks(3).zip(along.chunks(3)) {
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        let p: Vec<_> = z.iter().map(|z| z.exp() / total).collect();
        let mean: f64 = p.iter().zip(t).map(|(p, t)| p * t).sum();
        weighted.extend(p.iter().zip(t).map(|(p, t)| p * (t - mean) / SAMPLES as f64));
    }
    let expected: Vec<f64> =
        jacobian.iter().map(|column| column.iter().zip(&weighted).map(|(j, u)| j * u).sum()).collect();
    let found = answers(setting.oracle(&[0, 2, 6]), &setting.theta, &v);
    assert_close("a Gauss–Newton product", &found[3], &expected, 1e-7);
    // The products are not those of the Hessian: the net is not linear in its parameters.
    let difference: f64 = found[2].iter().zip(&found[3]).map(|(h, g)| (h - g).abs()).sum();
    assert!(difference > 1e-3);
}

/// A commit is refused if statistics should move: leaving them unchanged would be a silent error.
#[test]
fn commits_that_would_move_statistics_are_refused() {
    let setting = Setting::new();
    let mut oracle = setting.oracle(&[0, 6]).with_mode(Mode::Train);
    let result = oracle.evaluate(&setting.theta, Pass::Commit, Order::First);
    assert!(matches!(result, Err(Error::Oracle(_))));
    let empty = Vec::<Batch<Reference>>::new();
    let mut oracle = DataOracle::new(&setting.net, &setting.backend, empty, setting.buffers.clone());
    assert!(oracle.evaluate(&setting.theta, Pass::Probe, Order::First).is_err(), "no samples");
}

/// Where outputs are linear in the parameters, the Gauss–Newton matrix is the Hessian.
#[test]
fn gauss_newton_is_the_hessian_of_a_linear_model() {
    let setting = Setting::new();
    let layout = &setting.net.layout;
    let chosen: Vec<_> = layout.parameters().map(|entry| entry.name.starts_with("fc")).collect();
    let oracle = setting.oracle(&[0, 2, 6]).free(&setting.theta, &chosen).unwrap();
    let (theta, v) =
        (oracle.free_part(&setting.theta).unwrap(), oracle.free_part(&setting.tangent(70)).unwrap());
    let [_, _, h, g] = answers(oracle, &theta, &v);
    assert_close("a Gauss–Newton product", &g, &h, 1e-13);
}
