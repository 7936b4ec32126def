//! One operation on one set of operands, differentiated twice on two backends and compared.

use std::fmt;

use super::{super::Reference, assert_clear, assert_close, must};
use crate::{
    Autodiff, Backend, BatchStats, Conv2dSpec, Dual, Duals, Fused, PoolSpec, Result, Unary,
    composed::{self, Windows},
};

/// An operation; its operands come as a list.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Affine(f64, f64),
    Unary(Unary),
    Relu,
    Detach,
    MaxLast,
    Matmul,
    Sum(Vec<usize>),
    Broadcast(Vec<usize>),
    Reshape(Vec<usize>),
    Permute(Vec<usize>),
    Gather(usize, Vec<Option<usize>>),
    Linear,
    Conv2d(Conv2dSpec),
    BiasAdd,
    /// Batch normalisation with operands x, scale, shift and, where there are four, the residual.
    BatchNorm(Option<Unary>),
    /// Batch normalisation with fixed statistics and these operands.
    BatchNormEval(Option<Unary>),
    MaxPool(PoolSpec),
    AvgPool(PoolSpec),
    GlobalAvgPool,
    ScaleChannels,
    LayerNorm,
    /// Group normalisation in this many groups, with the operands of `BatchNorm`.
    GroupNorm(usize, Option<Unary>),
    Softmax,
    /// Attention with this many heads; operands are qkv and, where there are two, the bias.
    Attention(usize),
    /// Patches of this many pixels a side.
    Patches(usize),
    /// Windows and back: grid, window, shift.
    Windows([usize; 2], usize, usize),
    /// Windows of a padded and shifted grid.
    IntoWindows([usize; 2], usize, usize),
    /// Biases, from the table, of windows of this side.
    RelativeBias(usize),
    CrossEntropy(Vec<usize>, f64),
}

/// An operation and its operands.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) op: Op,
    /// Shape and values of each operand.
    pub(super) operands: Vec<(Vec<usize>, Vec<f64>)>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<_> = self.operands.iter().map(|(shape, _)| shape).collect();
        write!(f, "{:?} of {shapes:?}", self.op)
    }
}

/// The way in which an operand enters the derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// A leaf with a tangent.
    Active,
    /// A leaf whose tangent is missing: the direction is zero there, but the product is not.
    Still,
    /// No leaf and no tangent, as for images.
    Constant,
}

impl Op {
    pub(super) fn run<B: Backend>(&self, b: &B, x: &[B::Tensor]) -> Result<B::Tensor> {
        match self {
            Self::Add => b.add(&x[0], &x[1]),
            Self::Sub => b.sub(&x[0], &x[1]),
            Self::Mul => b.mul(&x[0], &x[1]),
            Self::Affine(a, c) => b.affine(&x[0], *a, *c),
            Self::Unary(op) => b.unary(*op, &x[0]),
            Self::Relu => b.relu(&x[0]),
            Self::Detach => b.mul(&b.detach(&x[0])?, &x[0]),
            Self::MaxLast => b.mul(&b.broadcast(&b.max_last(&x[0])?, b.shape(&x[0]))?, &x[0]),
            Self::Matmul => b.matmul(&x[0], &x[1]),
            Self::Sum(axes) => b.sum(&x[0], axes),
            Self::Broadcast(shape) => b.broadcast(&x[0], shape),
            Self::Reshape(shape) => b.reshape(&x[0], shape),
            Self::Permute(axes) => b.permute(&x[0], axes),
            Self::Gather(axis, indices) => b.gather(&x[0], *axis, indices),
            Self::Linear => b.linear(&x[0], &x[1], x.get(2)),
            Self::Conv2d(spec) => b.conv2d(&x[0], &x[1], *spec),
            Self::BiasAdd => b.bias_add(&x[0], &x[1]),
            Self::BatchNorm(activation) => {
                let fused = Fused { residual: x.get(3), activation: *activation };
                Ok(b.batch_norm(&x[0], &x[1], &x[2], 1e-5, fused)?.0)
            }
            Self::BatchNormEval(activation) => {
                let channels = b.shape(&x[0])[1];
                let fill = |value: f64| {
                    let values: Vec<_> = (0..channels).map(|c| value + 0.125 * c as f64).collect();
                    b.constant(&values, &[channels])
                };
                let stats = BatchStats { mean: fill(-0.25)?, var: fill(0.5)? };
                let fused = Fused { residual: x.get(3), activation: *activation };
                b.batch_norm_eval(&x[0], &x[1], &x[2], &stats, 1e-5, fused)
            }
            Self::MaxPool(spec) => b.max_pool2d(&x[0], *spec),
            Self::AvgPool(spec) => b.avg_pool2d(&x[0], *spec),
            Self::GlobalAvgPool => b.global_avg_pool(&x[0]),
            Self::ScaleChannels => b.scale_channels(&x[0], &x[1]),
            Self::LayerNorm => b.layer_norm(&x[0], &x[1], &x[2], 1e-5),
            Self::GroupNorm(groups, activation) => {
                let fused = Fused { residual: x.get(3), activation: *activation };
                b.group_norm(&x[0], *groups, &x[1], &x[2], 1e-5, fused)
            }
            Self::Softmax => composed::softmax(b, &x[0]),
            Self::Attention(heads) => b.attention(&x[0], *heads, x.get(1)),
            Self::Patches(side) => composed::patches(b, &x[0], *side),
            Self::Windows(grid, window, shift) => {
                let windows = Windows::new(*grid, *window, *shift)?;
                windows.merge(b, &windows.partition(b, &x[0])?)
            }
            Self::IntoWindows(grid, window, shift) => {
                Windows::new(*grid, *window, *shift)?.partition(b, &x[0])
            }
            Self::RelativeBias(window) => composed::relative_bias(b, &x[0], *window),
            Self::CrossEntropy(labels, smoothing) => b.cross_entropy(&x[0], labels, *smoothing),
        }
    }

    /// The scalar Σ (w ⊙ y + y ⊙ y/2) of the output y, and y. Its gradient differs in every element, and its Hessian
    /// does not vanish where the operation is linear.
    fn scalar<B: Backend>(&self, b: &B, x: &[B::Tensor]) -> Result<(B::Tensor, B::Tensor)> {
        let y = self.run(b, x)?;
        let shape = b.shape(&y).to_vec();
        let weights = b.constant(&super::noise(99, shape.iter().product()), &shape)?;
        let inner = b.add(&b.affine(&y, 0.5, 0.0)?, &weights)?;
        let axes: Vec<_> = (0..shape.len()).collect();
        Ok((b.sum(&b.mul(&inner, &y)?, &axes)?, y))
    }
}

/// A backend's results: the value, and the gradient and product for each leaf.
struct Answer {
    value: Vec<f64>,
    gradient: Vec<f64>,
    product: Vec<f64>,
    product_again: Vec<f64>,
}

fn answer<B: Autodiff>(backend: &B, case: &Case, parts: &[Part]) -> Result<Answer> {
    let operands: Vec<_> =
        case.operands.iter().map(|(shape, values)| backend.constant(values, shape)).collect::<Result<_>>()?;
    let enter = |session: &B| -> Result<Vec<B::Tensor>> {
        let part = |(x, part): (&B::Tensor, &Part)| {
            if *part == Part::Constant { Ok(x.clone()) } else { session.variable(x) }
        };
        operands.iter().zip(parts).map(part).collect()
    };
    let leaves = |x: &[B::Tensor]| -> Vec<B::Tensor> {
        x.iter().zip(parts).filter(|(_, part)| **part != Part::Constant).map(|(x, _)| x.clone()).collect()
    };
    let download = |tensors: Vec<B::Tensor>| -> Result<Vec<f64>> {
        Ok(tensors.iter().map(|x| backend.to_host(x)).collect::<Result<Vec<_>>>()?.concat())
    };

    let session = backend.gradient_session(true);
    let x = enter(&session)?;
    let (scalar, y) = case.op.scalar(&session, &x)?;
    let value = session.to_host(&session.detach(&y)?)?;
    drop(y);
    let gradient = download(session.backward(&scalar, leaves(&x))?)?;
    let record = session.take_record()?;
    drop((session, x, scalar));

    let product = || -> Result<Vec<f64>> {
        let session = backend.replay_session(&record)?;
        let x = enter(&session)?;
        let mut duals = Vec::new();
        for (k, (x, part)) in x.iter().zip(parts).enumerate() {
            let shape = backend.shape(x);
            let tangent = super::noise(50 + k as u64, shape.iter().product());
            let tangent = (*part == Part::Active).then(|| backend.constant(&tangent, shape)).transpose()?;
            duals.push(Dual { primal: x.clone(), tangent });
        }
        let (scalar, _) = case.op.scalar(&Duals(session.clone()), &duals)?;
        session.finish_replay()?;
        match &scalar.tangent {
            Some(tangent) => download(session.backward(tangent, leaves(&x))?),
            None => Ok(Vec::new()),
        }
    };
    let (product, product_again) = (product()?, product()?);
    Ok(Answer { value, gradient, product, product_again })
}

/// Compares a backend with the reference on a case, for every way in which its operands can enter the derivatives.
pub(super) fn check<B: Autodiff>(backend: &B, case: &Case, tolerance: f64) {
    let all = vec![Part::Active; case.operands.len()];
    let mut ways = vec![all.clone()];
    if all.len() > 1 {
        for i in 0..all.len() {
            for part in [Part::Constant, Part::Still] {
                let mut parts = all.clone();
                parts[i] = part;
                ways.push(parts);
            }
        }
    }
    for parts in ways {
        let what = |quantity: &str| format!("{quantity} of {case}, operands {parts:?}");
        let found = must(&what("the answer"), answer(backend, case, &parts));
        let reference = Reference::new();
        let expected = must(&what("the reference's answer"), answer(&reference, case, &parts));
        assert_clear(&what("the answer"), &reference);
        assert_close(&what("value"), &found.value, &expected.value, tolerance);
        assert_close(&what("gradient"), &found.gradient, &expected.gradient, tolerance);
        assert_close(&what("Hessian-vector product"), &found.product, &expected.product, tolerance);
        assert_eq!(found.product, found.product_again, "{}", what("second replay"));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{cases, noise},
        *,
    };
    use crate::Arithmetic;

    /// The reference is the oracle of the others, so it is checked against differences of its own values. Along a
    /// direction the gradient is the slope of the scalar, and the product is the slope of the gradient.
    #[test]
    fn the_reference_agrees_with_finite_differences() {
        let mut checked = 0;
        for case in cases::all().iter().filter(|case| is_function(case)) {
            let shifted = |h: f64| {
                let mut case = case.clone();
                for (k, (_, values)) in case.operands.iter_mut().enumerate() {
                    let v = noise(50 + k as u64, values.len());
                    values.iter_mut().zip(v).for_each(|(x, v)| *x += h * v);
                }
                case
            };
            let parts = vec![Part::Active; case.operands.len()];
            let b = Reference::new();
            let at = |h: f64| answer(&b, &shifted(h), &parts).unwrap();
            let scalar = |h: f64| {
                let operands = shifted(h).operands;
                let x: Vec<_> =
                    operands.iter().map(|(shape, values)| b.constant(values, shape).unwrap()).collect();
                b.item(&case.op.scalar(&b, &x).unwrap().0).unwrap()
            };
            let v: Vec<f64> = case
                .operands
                .iter()
                .enumerate()
                .flat_map(|(k, (_, values))| noise(50 + k as u64, values.len()))
                .collect();
            // Error of a central difference: h² ≈ 1e-10 times a third derivative, and rounding over h ≈ 1e-11.
            let h = 1e-5;
            let slope = (scalar(h) - scalar(-h)) / (2.0 * h);
            let here = at(0.0);
            let expected: f64 = here.gradient.iter().zip(&v).map(|(g, v)| g * v).sum();
            assert!((slope - expected).abs() < 1e-7 * (1.0 + expected.abs()), "{case}: {slope} {expected}");
            if !here.product.is_empty() {
                let slopes: Vec<_> =
                    at(h).gradient.iter().zip(at(-h).gradient).map(|(p, m)| (p - m) / (2.0 * h)).collect();
                assert_close(&format!("slope of the gradient of {case}"), &slopes, &here.product, 1e-6);
            }
            // Operands move by at most h, normalised values by a few h.
            assert!(b.kink_distance() > 5.0 * h, "{case}: {:e} from a kink", b.kink_distance());
            checked += 1;
        }
        assert!(checked > 50, "only {checked} cases were checked");
    }

    /// Whether the value determines the derivative, which it does not where something is detached or a maximum has
    /// ties.
    fn is_function(case: &Case) -> bool {
        match case.op {
            Op::Detach | Op::MaxLast => false,
            Op::MaxPool(_) => {
                let mut values = case.operands[0].1.clone();
                values.sort_by(f64::total_cmp);
                values.windows(2).all(|pair| pair[1] - pair[0] > 1e-4)
            }
            _ => true,
        }
    }
}
