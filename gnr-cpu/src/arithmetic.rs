//! Elementwise operations: sum, product, affine map, functions.

use std::sync::Arc;

use gnr_core::Map;
use gnr_macros::each_precision;
use gnr_nn::{AcrossRanks, Arithmetic, Dual, Result, Unary, composed};

use gnr_kernels::{
    buffer::Buf,
    elem::Elem,
    elementwise,
    unary::{self, Unary as Function},
    unary_producers::{FunctionDerivative, FunctionValue},
};

use super::{
    Cpu,
    adjoints::{Target, add_to_both},
    check_len,
    session::Extra,
    tensor::{Tensor, same_shape},
    value::Recompute,
};

/// The kernels' counterpart of a differentiable function; `None` for the step function, which has no derivative.
fn function(op: Unary) -> Option<Function> {
    match op {
        Unary::Relu => Some(Function::Relu),
        Unary::Step => None,
        Unary::Exp => Some(Function::Exp),
        Unary::Ln => Some(Function::Ln),
        Unary::Tanh => Some(Function::Tanh),
        Unary::Rsqrt => Some(Function::Rsqrt),
        Unary::Recip => Some(Function::Recip),
        Unary::Sigmoid => Some(Function::Sigmoid),
        Unary::Silu => Some(Function::Silu),
        Unary::Relu6 => Some(Function::Relu6),
        Unary::NormalCdf => Some(Function::NormalCdf),
        Unary::Gelu => Some(Function::Gelu),
    }
}

/// Adds `x ⊙ y` to the adjoint of an operand.
fn add_product<E: Elem>(target: &Target<E>, x: &[E], y: &[E]) {
    target.write(|out, accum| {
        if accum.adds() {
            elementwise::update_zip2(out, x, y, |out, x, y| out + x * y);
        } else {
            elementwise::zip(out, x, y, |x, y| x * y);
        }
    });
}

/// Computes `y = f(y)`. The match on f is outside of the loops, so that they vectorise.
pub(super) fn map_in_place<E: Elem>(y: &mut [E], f: Map) {
    match f {
        Map::Abs => elementwise::update(y, |y: E| y.abs()),
        Map::Sign => {
            let (zero, one) = (E::zero(), E::one());
            elementwise::update(y, move |y| {
                if y > zero {
                    one
                } else if y < zero {
                    -one
                } else {
                    y
                }
            });
        }
        Map::Sqrt => elementwise::update(y, |y: E| y.sqrt()),
        Map::Recip => elementwise::update(y, |y: E| y.recip()),
        Map::Square => elementwise::update(y, |y| y * y),
        Map::Power(p) => {
            let p = E::of(p);
            elementwise::update(y, move |y: E| y.powf(p));
        }
        Map::Add(a) => {
            let a = E::of(a);
            elementwise::update(y, move |y| y + a);
        }
        Map::Clamp(low, high) => {
            let (low, high) = (E::of(low), E::of(high));
            elementwise::update(y, move |y| {
                if y < low {
                    low
                } else if y > high {
                    high
                } else {
                    y
                }
            });
        }
    }
}

/// Number of elements of a row.
fn row<E: Elem>(x: &Tensor<E>) -> usize {
    x.shape.last().map_or(1, |&length| length.max(1))
}

#[each_precision]
impl Arithmetic for Cpu<E> {
    type Tensor = Tensor<E>;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Tensor<E>> {
        check_len("constant", data.len(), shape)?;
        let mut buffer = Buf::new(data.len());
        buffer.iter_mut().zip(data).for_each(|(to, from)| *to = E::of(*from));
        Ok(Tensor::new(buffer, shape))
    }

    fn shape<'t>(&self, x: &'t Tensor<E>) -> &'t [usize] {
        x.shape()
    }

    fn detach(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        Ok(x.detached())
    }

    fn add(&self, a: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        same_shape("add", a, b)?;
        let output = || {
            let mut y = Buf::new(a.len());
            elementwise::zip(&mut y, a.data(), b.data(), |a, b| a + b);
            y
        };
        let (to_a, to_b) = (a.target(), b.target());
        self.linear_op_holding("add", &a.shape, &[a, b], &[], output, move |adjoint| {
            add_to_both([&to_a, &to_b], adjoint);
        })
    }

    fn affine(&self, x: &Tensor<E>, a: f64, b: f64) -> Result<Tensor<E>> {
        let (a, b) = (E::of(a), E::of(b));
        let output = || {
            let mut y = Buf::new(x.len());
            elementwise::map(&mut y, x.data(), move |x| a * x + b);
            y
        };
        let to_x = x.target();
        self.linear_op("affine", &x.shape, &[x], output, move |mut g| {
            elementwise::update(&mut g, move |g| a * g);
            to_x.add(g);
        })
    }

    fn mul(&self, a: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        same_shape("mul", a, b)?;
        let mut y = Buf::new(a.len());
        elementwise::zip(&mut y, a.data(), b.data(), |a, b| a * b);
        let (a_, b_) = (a.clone(), b.clone());
        self.nonlinear_op(
            "mul",
            Tensor::new(y, &a.shape),
            &[a, b],
            || Extra::Nothing,
            move |_, g, _| {
                add_product(&a_.target(), &g, b_.data());
                add_product(&b_.target(), &g, a_.data());
                Some(g.into())
            },
        )
    }

    fn mul_dual(&self, a: &Dual<Tensor<E>>, b: &Dual<Tensor<E>>) -> Result<Dual<Tensor<E>>> {
        same_shape("mul", &a.primal, &b.primal)?;
        let Some(replayed) = self.replayed("mul", &a.primal.shape, &[a.as_ref(), b.as_ref()])? else {
            return composed::mul_dual(self, a, b);
        };
        let (a, b) = (a.as_ref(), b.as_ref());
        let len = a.primal.len();
        let tangent = match (a.tangent, b.tangent) {
            (None, None) => None,
            (Some(at), None) => Some((at, b.primal, None)),
            (None, Some(bt)) => Some((bt, a.primal, None)),
            (Some(at), Some(bt)) => Some((at, b.primal, Some((a.primal, bt)))),
        };
        let tangent = tangent.map(|(x, y, more)| {
            let mut out = Buf::new(len);
            elementwise::zip(&mut out, x.data(), y.data(), |x, y| x * y);
            if let Some((x, y)) = more {
                elementwise::update_zip2(&mut out, x.data(), y.data(), |out, x, y| out + x * y);
            }
            out
        });
        // a·b: ā += b̂ b + â ḃ, with b̂ the incoming second-order adjoint and â the recorded one; b̄ likewise.
        let (a, b) = (a.cloned(), b.cloned());
        replayed.finish(tangent, move |second, first| {
            for (to, other) in [(a.primal.target(), &b), (b.primal.target(), &a)] {
                if let Some(g) = &second {
                    add_product(&to, g, other.primal.data());
                }
                if let (Some(g), Some(tangent)) = (first, &other.tangent) {
                    add_product(&to, g, tangent.data());
                }
            }
        })
    }

    fn unary(&self, op: Unary, x: &Tensor<E>) -> Result<Tensor<E>> {
        let Some(f) = function(op) else {
            let mut y = Buf::new(x.len());
            elementwise::map(&mut y, x.data(), |x| E::of(f64::from(x > E::of(0.0))));
            return Ok(Tensor::new(y, &x.shape));
        };
        let row = row(x);
        // If the derivatives need x alone, a pass over x recomputes y, and a layer that reads y produces it row by row.
        let recompute = f.reads_input_only().then(|| Arc::clone(x.data()));
        let recompute =
            recompute.and_then(|x| Recompute::streamed(row, None, |_| FunctionValue { f, x, row }));
        let y = match recompute {
            Some(recompute) => Tensor::lazy(recompute, &x.shape),
            None => {
                let mut y = Buf::new(x.len());
                unary::unary(f, &mut y, x.data());
                Tensor::new(y, &x.shape)
            }
        };
        let x_ = x.clone();
        self.nonlinear_op(
            "unary",
            y,
            &[x],
            || Extra::Nothing,
            move |y, mut g, saved| {
                let y = if f.reads_input_only() { Arc::clone(x_.data()) } else { y.get() };
                let to_x = x_.target();
                // Without a second term nobody will need the adjoint.
                if saved.is_none() || f.is_piecewise_linear() {
                    unary::unary_first_in_place(f, &mut g, x_.data(), &y);
                    to_x.add(g);
                    return None;
                }
                // The record retains this adjoint. That of x follows from it, so the operation that computed x need not
                // hold its own.
                let g = Arc::new(g);
                let (g_, x, y_) = (Arc::clone(&g), Arc::clone(x_.data()), Arc::clone(&y));
                let id = saved.map(|saved| &saved.id);
                let recompute = move || {
                    Recompute::streamed(row, None, |_| FunctionDerivative { f, g: g_, x, y: y_, row })
                };
                to_x.write_recomputable(id, recompute, |out, accum| {
                    unary::unary_first(f, out, &g, x_.data(), &y, accum);
                });
                Some(g)
            },
        )
    }

    fn unary_dual(&self, op: Unary, x: &Dual<Tensor<E>>) -> Result<Dual<Tensor<E>>> {
        let Some(f) = function(op) else { return Ok(Dual::constant(self.unary(op, &x.primal)?)) };
        let Some(replayed) = self.replayed("unary", &x.primal.shape, &[x.as_ref()])? else {
            return composed::unary_dual(self, op, x);
        };
        let x = x.as_ref();
        let y = if f.reads_input_only() { Arc::clone(x.primal.data()) } else { replayed.output() };
        // ẏ = f′(x) ẋ: a pass over values that are held anyway recomputes it.
        let row = row(x.primal);
        let tangent = x.tangent.and_then(|t| {
            let (g, x, y) = (Arc::clone(t.data()), Arc::clone(x.primal.data()), Arc::clone(&y));
            Recompute::streamed(row, None, |_| FunctionDerivative { f, g, x, y, row })
        });
        // y = f(x): x̄ += f′(x) b + f″(x) ẋ a.
        let (x, id) = (x.cloned(), replayed.id());
        replayed.finish_recomputable(tangent, move |second, first| {
            let to_x = x.primal.target();
            match (first, &x.tangent, second) {
                (Some(a), Some(t), b) => {
                    let mut by_product = to_x.by_product_buffer(&id);
                    to_x.write(|out, accum| {
                        let (b, x) = (b.as_deref(), x.primal.data());
                        let by_product = by_product.as_deref_mut();
                        unary::unary_second(f, out, accum, b, [a, t.data()], [x, &y], by_product);
                    });
                    to_x.give_by_product(by_product);
                }
                (_, _, Some(b)) => to_x.write(|out, accum| {
                    unary::unary_first(f, out, &b, x.primal.data(), &y, accum);
                }),
                (_, _, None) => (),
            }
        })
    }

    fn matmul(&self, a: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        self.matmul_op(a, b)
    }

    fn matmul_dual(&self, a: &Dual<Tensor<E>>, b: &Dual<Tensor<E>>) -> Result<Dual<Tensor<E>>> {
        self.matmul_dual_op(a, b)
    }

    fn sum(&self, x: &Tensor<E>, axes: &[usize]) -> Result<Tensor<E>> {
        self.sum_op(x, axes)
    }

    fn broadcast(&self, x: &Tensor<E>, shape: &[usize]) -> Result<Tensor<E>> {
        self.broadcast_op(x, shape)
    }

    fn reshape(&self, x: &Tensor<E>, shape: &[usize]) -> Result<Tensor<E>> {
        self.reshape_op(x, shape)
    }

    fn permute(&self, x: &Tensor<E>, axes: &[usize]) -> Result<Tensor<E>> {
        self.permute_op(x, axes)
    }

    fn gather(&self, x: &Tensor<E>, axis: usize, indices: &[Option<usize>]) -> Result<Tensor<E>> {
        self.gather_op(x, axis, indices)
    }

    fn max_last(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        self.max_last_op(x)
    }

    fn mean_over_ranks(&self, x: &Tensor<E>, across: &AcrossRanks) -> Result<Tensor<E>> {
        self.mean_over_ranks_op(x, across)
    }
}
