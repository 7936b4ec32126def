//! A backend on plain host vectors in f64: slow, short, and the oracle of all others.

mod autodiff;
mod index;
mod kinks;
mod tape;

use std::rc::Rc;

use crate::{Arithmetic, Attention, Convolution, Error, Linear, Loss, Normalisation, Pooling, Result, Unary};
use index::{Axes, axes_of};
use kinks::Kinks;
use tape::{Pullback, Tape};

/// A handle on the tape of a session. Only the primitives are implemented; everything else is the composition.
///
/// A tensor that was made in one session is a constant to every other one.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    tape: Tape,
    kinks: Kinks,
}

/// Shape, row-major data and, where it depends on a leaf, its place on the tape.
#[derive(Clone, Debug)]
pub struct ReferenceTensor {
    shape: Rc<[usize]>,
    data: Rc<Vec<f64>>,
    node: Option<tape::Node>,
}

impl Reference {
    /// A backend with an empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// The smallest distance to a kink of any operand in this backend or its sessions; infinite where no such operation
    /// ran. For ReLU and the step function it is |x|, for ReLU6 also |x − 6|. For a pooling window it is the distance
    /// of another element from the maximum.
    ///
    /// Derivatives of a kinked function in another precision, or by differences, are only meaningful where this
    /// distance is larger than the rounding or the step. An operand that is exactly 0 does not count: it is a constant
    /// or the output of another ReLU, which no rounding moves.
    pub fn kink_distance(&self) -> f64 {
        self.kinks.distance()
    }

    /// The result of an operation, recorded if one of its operands was. A pullback gives d loss / d operand from d loss
    /// / d result.
    fn result<const N: usize>(
        &self,
        shape: &[usize],
        data: Vec<f64>,
        operands: [(&ReferenceTensor, Pullback); N],
    ) -> ReferenceTensor {
        let edges = operands
            .into_iter()
            .filter_map(|(x, pullback)| Some((self.tape.place(x.node.as_ref()?)?, pullback)));
        let node = self.tape.push(data.len(), edges.collect());
        ReferenceTensor { shape: shape.into(), data: Rc::new(data), node }
    }

    /// Picks elements: element i of the result is element `source[i]` of `x`, or 0. Broadcast, permute and gather are
    /// all picks, and a sum is the transpose of one.
    fn pick(&self, x: &ReferenceTensor, shape: &[usize], source: Vec<Option<u32>>) -> ReferenceTensor {
        let data = source.iter().map(|&j| j.map_or(0.0, |j| x.data[j as usize])).collect();
        let len = x.data.len();
        self.result(shape, data, [(x, Box::new(move |g| scatter(g, &source, len)))])
    }

    fn same_shape(op: &'static str, a: &ReferenceTensor, b: &ReferenceTensor) -> Result<()> {
        if a.shape == b.shape {
            return Ok(());
        }
        Err(Error::ShapeMismatch { op, lhs: a.shape.to_vec(), rhs: b.shape.to_vec() })
    }
}

/// The transpose of [`pick`](Reference::pick).
fn scatter(g: &[f64], source: &[Option<u32>], len: usize) -> Vec<f64> {
    let mut x = vec![0.0; len];
    for (g, &j) in g.iter().zip(source) {
        if let Some(j) = j {
            x[j as usize] += g;
        }
    }
    x
}

/// The `batch` products `[m, k]·[k, n]`, one after the other in memory.
fn product(a: &[f64], b: &[f64], [batch, m, k, n]: [usize; 4]) -> Vec<f64> {
    let mut y = vec![0.0; batch * m * n];
    for i in 0..batch * m {
        let (row, b) = (&mut y[i * n..(i + 1) * n], &b[i / m * k * n..]);
        for (j, &a) in a[i * k..(i + 1) * k].iter().enumerate() {
            for (y, b) in row.iter_mut().zip(&b[j * n..(j + 1) * n]) {
                *y += a * b;
            }
        }
    }
    y
}

/// Transposes each of `batch` matrices `[rows, columns]`.
fn transposed(x: &[f64], [batch, rows, columns]: [usize; 3]) -> Vec<f64> {
    let mut y = Vec::with_capacity(x.len());
    for matrix in 0..batch {
        for column in 0..columns {
            y.extend((0..rows).map(|row| x[(matrix * rows + row) * columns + column]));
        }
    }
    y
}

impl Arithmetic for Reference {
    type Tensor = ReferenceTensor;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<ReferenceTensor> {
        if shape.iter().product::<usize>() != data.len() {
            let expected = format!("a product of {}", data.len());
            return Err(Error::InvalidShape { op: "constant", expected, found: shape.to_vec() });
        }
        Ok(ReferenceTensor { shape: shape.into(), data: Rc::new(data.to_vec()), node: None })
    }

    fn shape<'t>(&self, x: &'t ReferenceTensor) -> &'t [usize] {
        &x.shape
    }

    fn detach(&self, x: &ReferenceTensor) -> Result<ReferenceTensor> {
        Ok(ReferenceTensor { node: None, ..x.clone() })
    }

    fn add(&self, a: &ReferenceTensor, b: &ReferenceTensor) -> Result<ReferenceTensor> {
        Self::same_shape("add", a, b)?;
        let data = a.data.iter().zip(&*b.data).map(|(a, b)| a + b).collect();
        Ok(self.result(&a.shape, data, [(a, Box::new(<[f64]>::to_vec)), (b, Box::new(<[f64]>::to_vec))]))
    }

    fn mul(&self, a: &ReferenceTensor, b: &ReferenceTensor) -> Result<ReferenceTensor> {
        Self::same_shape("mul", a, b)?;
        let times = |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
        let (at, bt) = (Rc::clone(&a.data), Rc::clone(&b.data));
        let da = Box::new(move |g: &[f64]| times(g, &bt));
        let db = Box::new(move |g: &[f64]| times(g, &at));
        Ok(self.result(&a.shape, times(&a.data, &b.data), [(a, da), (b, db)]))
    }

    fn affine(&self, x: &ReferenceTensor, a: f64, b: f64) -> Result<ReferenceTensor> {
        let data = x.data.iter().map(|x| a * x + b).collect();
        Ok(self.result(&x.shape, data, [(x, Box::new(move |g| g.iter().map(|g| a * g).collect()))]))
    }

    fn unary(&self, op: Unary, x: &ReferenceTensor) -> Result<ReferenceTensor> {
        self.kinks.see(op, &x.data);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let normal_cdf = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let f = move |x: f64| match op {
            // `f64::max` would turn a NaN into 0 and hide it from every check that follows.
            Unary::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Unary::Step => f64::from(x > 0.0),
            Unary::Exp => x.exp(),
            Unary::Ln => x.ln(),
            Unary::Tanh => x.tanh(),
            Unary::Rsqrt => x.sqrt().recip(),
            Unary::Recip => x.recip(),
            Unary::Sigmoid => sigmoid(x),
            Unary::Silu => x * sigmoid(x),
            Unary::Relu6 if x < 0.0 => 0.0,
            Unary::Relu6 if x > 6.0 => 6.0,
            Unary::Relu6 => x,
            Unary::NormalCdf => normal_cdf(x),
            Unary::Gelu => x * normal_cdf(x),
        };
        let derivative = move |x: f64| match op {
            Unary::Relu => f64::from(x > 0.0),
            Unary::Step => 0.0,
            Unary::Exp => x.exp(),
            Unary::Ln => x.recip(),
            Unary::Tanh => 1.0 - x.tanh().powi(2),
            Unary::Rsqrt => -0.5 * x.powf(-1.5),
            Unary::Recip => -x.powi(-2),
            Unary::Sigmoid => sigmoid(x) * sigmoid(-x),
            Unary::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
            Unary::Relu6 => f64::from(x > 0.0 && x < 6.0),
            Unary::NormalCdf => density(x),
            Unary::Gelu => normal_cdf(x) + x * density(x),
        };
        let at = Rc::clone(&x.data);
        let pullback =
            Box::new(move |g: &[f64]| g.iter().zip(&*at).map(|(g, &x)| g * derivative(x)).collect());
        Ok(self.result(&x.shape, x.data.iter().copied().map(f).collect(), [(x, pullback)]))
    }

    fn matmul(&self, a: &ReferenceTensor, b: &ReferenceTensor) -> Result<ReferenceTensor> {
        let sizes = match (&*a.shape, &*b.shape) {
            (&[m, k], &[k2, n]) if k == k2 => Some(([1, m, k, n], vec![m, n])),
            (&[batch, m, k], &[batch2, k2, n]) if k == k2 && batch == batch2 => {
                Some(([batch, m, k, n], vec![batch, m, n]))
            }
            _ => None,
        };
        let Some(([batch, m, k, n], shape)) = sizes else {
            return Err(Error::ShapeMismatch { op: "matmul", lhs: a.shape.to_vec(), rhs: b.shape.to_vec() });
        };
        let (at, bt) = (Rc::clone(&a.data), Rc::clone(&b.data));
        let da = Box::new(move |g: &[f64]| product(g, &transposed(&bt, [batch, k, n]), [batch, m, n, k]));
        let db = Box::new(move |g: &[f64]| product(&transposed(&at, [batch, m, k]), g, [batch, k, m, n]));
        Ok(self.result(&shape, product(&a.data, &b.data, [batch, m, k, n]), [(a, da), (b, db)]))
    }

    fn sum(&self, x: &ReferenceTensor, axes: &[usize]) -> Result<ReferenceTensor> {
        let mut shape = x.shape.to_vec();
        for &axis in axes {
            let Some(length) = shape.get_mut(axis) else {
                return Err(Error::InvalidShape {
                    op: "sum",
                    expected: format!("an axis {axis}"),
                    found: shape,
                });
            };
            *length = 1;
        }
        let target = index::broadcast("sum", &shape, &x.shape)?;
        let data = scatter(&x.data, &target, shape.iter().product());
        let pullback = move |g: &[f64]| target.iter().map(|&j| j.map_or(0.0, |j| g[j as usize])).collect();
        Ok(self.result(&shape, data, [(x, Box::new(pullback))]))
    }

    fn broadcast(&self, x: &ReferenceTensor, shape: &[usize]) -> Result<ReferenceTensor> {
        Ok(self.pick(x, shape, index::broadcast("broadcast", &x.shape, shape)?))
    }

    fn reshape(&self, x: &ReferenceTensor, shape: &[usize]) -> Result<ReferenceTensor> {
        if shape.iter().product::<usize>() != x.data.len() {
            let (lhs, rhs) = (x.shape.to_vec(), shape.to_vec());
            return Err(Error::ShapeMismatch { op: "reshape", lhs, rhs });
        }
        Ok(ReferenceTensor { shape: shape.into(), ..x.clone() })
    }

    fn permute(&self, x: &ReferenceTensor, axes: &[usize]) -> Result<ReferenceTensor> {
        let (shape, source) = index::permute(&x.shape, axes)?;
        Ok(self.pick(x, &shape, source))
    }

    fn gather(&self, x: &ReferenceTensor, axis: usize, indices: &[Option<usize>]) -> Result<ReferenceTensor> {
        let (shape, source) = index::gather(&x.shape, axis, indices)?;
        Ok(self.pick(x, &shape, source))
    }

    fn max_last(&self, x: &ReferenceTensor) -> Result<ReferenceTensor> {
        let Axes { outer, length, .. } = match x.shape.len().checked_sub(1) {
            Some(last) if x.shape[last] > 0 => axes_of(&x.shape, last),
            _ => {
                let expected = "a last axis that is not empty".into();
                return Err(Error::InvalidShape { op: "max_last", expected, found: x.shape.to_vec() });
            }
        };
        let mut shape = x.shape.to_vec();
        shape[x.shape.len() - 1] = 1;
        let row = |i: usize| &x.data[i * length..(i + 1) * length];
        let data = (0..outer).map(|i| row(i).iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
        Ok(ReferenceTensor { shape: shape.into(), data: Rc::new(data), node: None })
    }
}

impl Linear for Reference {}
impl Convolution for Reference {}
impl Pooling for Reference {}
impl Normalisation for Reference {}
impl Attention for Reference {}
impl Loss for Reference {}
