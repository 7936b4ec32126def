//! Matrix products, fully connected layers, biases.

use gnr_kernels::Accum;
use std::{rc::Rc, sync::Arc};

use gnr_macros::each_precision;
use gnr_nn::{Arithmetic, Dual, Duals, Error, Linear, Result, composed};

use gnr_kernels::{
    buffer::Buf,
    dense::Layer,
    elem::Elem,
    elementwise,
    gemm::{Mat, Onto, batched},
    operand::Operand,
    reduce,
};

use super::{
    Cpu,
    adjoints::Target,
    session::Extra,
    tensor::Tensor,
    value::{Recompute, Resolved, Value},
};

/// A batch of products `[M, K]·[K, N]`, both row-major.
#[derive(Clone, Copy)]
struct Product {
    m: usize,
    k: usize,
    n: usize,
}

impl Product {
    fn new<E: Elem>(a: &Tensor<E>, b: &Tensor<E>) -> Result<(Self, Vec<usize>)> {
        match (&a.shape[..], &b.shape[..]) {
            (&[m, k], &[k2, n]) if k == k2 => Ok((Self { m, k, n }, vec![m, n])),
            (&[batch, m, k], &[batch2, k2, n]) if k == k2 && batch == batch2 => {
                Ok((Self { m, k, n }, vec![batch, m, n]))
            }
            (lhs, rhs) => Err(Error::ShapeMismatch { op: "matmul", lhs: lhs.to_vec(), rhs: rhs.to_vec() }),
        }
    }
    /// Computes `y = a·b`, or adds it to y.
    fn forward<E: Elem>(self, a: &[E], b: &[E], y: &mut [E], accum: Accum) {
        let Self { m, k, n } = self;
        batched([m, k, n], Mat::rows(a, k), Mat::rows(b, n), y, accum);
    }
    /// Computes `ā = g·bᵀ`, or adds it to out.
    fn to_left<E: Elem>(self, g: &[E], b: &[E], out: &mut [E], accum: Accum) {
        let Self { m, k, n } = self;
        batched([m, n, k], Mat::rows(g, n), Mat::rows(b, n).t(), out, accum);
    }
    /// Computes `b̄ = aᵀ·g`, or adds it to out.
    fn to_right<E: Elem>(self, a: &[E], g: &[E], out: &mut [E], accum: Accum) {
        let Self { m, k, n } = self;
        batched([k, m, n], Mat::rows(a, k).t(), Mat::rows(g, n), out, accum);
    }
}

/// The shape of `x·Wᵀ + b` with x `[N, I]`, w `[O, I]`, b `[O]`.
fn layer<E: Elem>(x: &Tensor<E>, w: &Tensor<E>, b: Option<&Tensor<E>>) -> Result<Layer> {
    let mismatch =
        |rhs: &[usize]| Error::ShapeMismatch { op: "linear", lhs: x.shape.to_vec(), rhs: rhs.to_vec() };
    match (&x.shape[..], &w.shape[..]) {
        (&[rows, inputs], &[outputs, inputs2]) if inputs == inputs2 => match b {
            Some(b) if b.shape[..] != [outputs] => Err(mismatch(&b.shape)),
            _ => Ok(Layer { rows, inputs, outputs }),
        },
        (_, w) => Err(mismatch(w)),
    }
}

fn bias_adjoint<E: Elem>(layer: Layer, g: &[E]) -> Buf<E> {
    let mut out = Buf::new(layer.outputs);
    reduce::sum_axes(g, &[layer.rows, layer.outputs], &[0], &mut out);
    out
}

/// Computes a tangent that is the sum of up to two products; `None` if there are none.
fn tangent_sum<E: Elem>(
    len: usize,
    terms: [Option<(&Tensor<E>, &Tensor<E>)>; 2],
    forward: impl Fn(&[E], &[E], &mut [E], Accum),
) -> Option<Buf<E>> {
    let mut out: Option<Buf<E>> = None;
    for (x, y) in terms.into_iter().flatten() {
        let accum = Accum::from(out.is_some());
        forward(x.data(), y.data(), out.get_or_insert_with(|| Buf::new(len)), accum);
    }
    out
}

impl<E: Elem> Cpu<E>
where
    Self: Arithmetic<Tensor = Tensor<E>>,
{
    pub(super) fn matmul_op(&self, a: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        let (product, shape) = Product::new(a, b)?;
        let mut y = Buf::new(shape.iter().product());
        product.forward(a.data(), b.data(), &mut y, Accum::Replace);
        let (a_, b_) = (a.clone(), b.clone());
        self.nonlinear_op(
            "matmul",
            Tensor::new(y, &shape),
            &[a, b],
            || Extra::Nothing,
            move |_, g, _| {
                a_.target().write(|out, accum| product.to_left(&g, b_.data(), out, accum));
                b_.target().write(|out, accum| product.to_right(a_.data(), &g, out, accum));
                Some(g.into())
            },
        )
    }

    pub(super) fn matmul_dual_op(&self, a: &Dual<Tensor<E>>, b: &Dual<Tensor<E>>) -> Result<Dual<Tensor<E>>> {
        let (product, shape) = Product::new(&a.primal, &b.primal)?;
        let Some(replayed) = self.replayed("matmul", &shape, &[a.as_ref(), b.as_ref()])? else {
            return composed::matmul_dual(self, a, b);
        };
        let (a, b) = (a.as_ref(), b.as_ref());
        let terms = [a.tangent.map(|t| (t, b.primal)), b.tangent.map(|t| (a.primal, t))];
        let tangent =
            tangent_sum(shape.iter().product(), terms, |a, b, y, accum| product.forward(a, b, y, accum));
        let (a, b) = (a.cloned(), b.cloned());
        replayed.finish(tangent, move |second, first| {
            let step = |g: &[E], a_: Option<&Tensor<E>>, b_: Option<&Tensor<E>>| {
                if let Some(b_) = b_ {
                    let to_a = a.primal.target();
                    to_a.write(|out, accum| product.to_left(g, b_.data(), out, accum));
                }
                if let Some(a_) = a_ {
                    let to_b = b.primal.target();
                    to_b.write(|out, accum| product.to_right(a_.data(), g, out, accum));
                }
            };
            if let Some(g) = &second {
                step(g, Some(&a.primal), Some(&b.primal));
            }
            if let Some(g) = first {
                step(g, a.tangent.as_ref(), b.tangent.as_ref());
            }
        })
    }
}

/// Whether the kernels of a layer read rows piece by piece.
fn streamed<E: Elem>(layer: Layer) -> bool {
    layer.streams(E::as_f32(&[]).is_some())
}

#[each_precision]
impl Linear for Cpu<E> {
    fn linear(&self, x: &Tensor<E>, w: &Tensor<E>, b: Option<&Tensor<E>>) -> Result<Tensor<E>> {
        let layer = layer(x, w, b)?;
        let shape = [layer.rows, layer.outputs];
        let mut y = Buf::new(layer.rows * layer.outputs);
        let onto = b.map_or(Onto::Nothing, |b| Onto::Row(b.data()));
        let streams = streamed::<E>(layer);
        layer.forward(&[(x.operand(streams), w.as_slice())], &mut y, onto);
        let operands: Vec<_> = [x, w].into_iter().chain(b).collect();
        let values = x.hold();
        let (to_x, to_w, to_b) = (x.target(), w.target(), b.map(Tensor::target));
        // If x has no adjoint, nobody reads w after this: its memory is free when the reverse pass begins.
        let w_ = to_x.is_tracked().then(|| w.clone());
        let recompute = || {
            let (x, w, b) = (x.hold(), Arc::clone(w.data()), b.map(|b| Arc::clone(b.data())));
            Recompute::whole(move || {
                let mut y = Buf::new(layer.rows * layer.outputs);
                let onto = b.as_ref().map_or(Onto::Nothing, |b| Onto::Row(b));
                layer.forward(&[(x.resolve(streams).operand(), &w)], &mut y, onto);
                y
            })
        };
        self.product_op("linear", Tensor::new(y, &shape), &operands, recompute, move |g| {
            to_w.write(|out, accum| {
                layer.to_weight(&[((&g).into(), values.resolve(streams).operand())], out, accum);
            });
            drop(values);
            if let Some(w) = w_ {
                to_x.write(|out, accum| {
                    layer.to_input(&[((&g).into(), w.as_slice())], out, accum);
                });
            }
            if let Some(to_b) = to_b.filter(Target::is_tracked) {
                to_b.add(bias_adjoint(layer, &g));
            }
            g.into()
        })
    }

    fn linear_dual(
        &self,
        x: &Dual<Tensor<E>>,
        w: &Dual<Tensor<E>>,
        b: Option<&Dual<Tensor<E>>>,
    ) -> Result<Dual<Tensor<E>>> {
        let layer = layer(&x.primal, &w.primal, b.map(|b| &b.primal))?;
        let shape = [layer.rows, layer.outputs];
        let operands: Vec<_> = [x, w].into_iter().chain(b).map(Dual::as_ref).collect();
        let Some(replayed) = self.replayed("linear", &shape, &operands)? else {
            return composed::linear(&Duals(self.clone()), x, w, b);
        };
        let (x, w, b) = (x.as_ref(), w.as_ref(), b.map(Dual::as_ref));
        let streams = streamed::<E>(layer);
        // ẏ = ẋ·Wᵀ + x·Ẇᵀ + ḃ
        let terms = [x.tangent.map(|t| (t, w.primal)), w.tangent.map(|t| (x.primal, t))];
        let pairs: Vec<_> =
            terms.into_iter().flatten().map(|(x, w)| (x.operand(streams), w.as_slice())).collect();
        let bias = b.and_then(|b| b.tangent);
        let tangent = (!pairs.is_empty() || bias.is_some()).then(|| {
            let mut y = Buf::new(layer.rows * layer.outputs);
            match (&pairs[..], bias) {
                // The bias may be the only operand with a tangent.
                ([], Some(bias)) => {
                    y.chunks_mut(layer.outputs.max(1)).for_each(|row| row.copy_from_slice(bias.data()));
                }
                (pairs, bias) => {
                    layer.forward(pairs, &mut y, bias.map_or(Onto::Nothing, |bias| Onto::Row(bias.data())));
                }
            }
            y
        });
        let [to_x, to_w] = [x, w].map(|operand| operand.primal.target());
        let to_b = b.map(|b| b.primal.target());
        let hold = |of: Dual<&Tensor<E>>| [Some(of.primal.hold()), of.tangent.map(Tensor::hold)];
        let (x, w) = (hold(x), hold(w));
        let tangent = tangent.map(|tangent| Tensor::new(tangent, &shape));
        replayed.finish_with(tangent, move |second, first| {
            let first = first.map(|a| a.resolve(streams));
            // The pairs (b, operand) and (a, tangent of the operand).
            let terms = |with: [Option<Value<E>>; 2]| {
                let of_y = [second.as_ref().map(Operand::from), first.as_ref().map(Resolved::operand)];
                of_y.into_iter().zip(with).filter_map(|(g, with)| g.zip(with)).collect::<Vec<_>>()
            };
            let values: Vec<_> = terms(w).into_iter().map(|(g, w)| (g, w.get())).collect();
            if to_x.is_tracked() && !values.is_empty() {
                let pairs: Vec<_> = values.iter().map(|(g, w)| (*g, &w[..])).collect();
                to_x.write(|out, accum| layer.to_input(&pairs, out, accum));
            }
            drop(values);
            if to_w.is_tracked() {
                let values: Vec<_> = terms(x).into_iter().map(|(g, x)| (g, x.resolve(streams))).collect();
                if !values.is_empty() {
                    let pairs: Vec<_> = values.iter().map(|(g, x)| (*g, x.operand())).collect();
                    to_w.write(|out, accum| layer.to_weight(&pairs, out, accum));
                }
            }
            if let (Some(g), Some(to_b)) = (&second, to_b.filter(Target::is_tracked)) {
                to_b.add(bias_adjoint(layer, g));
            }
        })
    }

    fn bias_add(&self, x: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        if x.shape.len() < 2 || b.shape[..] != [x.shape[1]] {
            return Err(Error::ShapeMismatch {
                op: "bias_add",
                lhs: x.shape.to_vec(),
                rhs: b.shape.to_vec(),
            });
        }
        let (channels, plane) = (x.shape[1], x.shape[2..].iter().product::<usize>());
        let output = || {
            let mut y = Buf::copy_of(x.data());
            if plane == 1 {
                for row in y.chunks_mut(channels.max(1)) {
                    elementwise::add_assign(row, b.data());
                }
            } else {
                for (i, map) in y.chunks_mut(plane.max(1)).enumerate() {
                    let bias = b.data()[i % channels];
                    map.iter_mut().for_each(|y| *y += bias);
                }
            }
            y
        };
        let (to_x, to_b, shape) = (x.target(), b.target(), Rc::clone(&x.shape));
        self.linear_op("bias_add", &x.shape, &[x, b], output, move |g| {
            if to_b.is_tracked() {
                let axes: Vec<usize> = (0..shape.len()).filter(|&axis| axis != 1).collect();
                let mut out = Buf::new(shape[1]);
                reduce::sum_axes(&g, &shape, &axes, &mut out);
                to_b.add(out);
            }
            to_x.add(g);
        })
    }

    fn scale_channels(&self, x: &Tensor<E>, s: &Tensor<E>) -> Result<Tensor<E>> {
        self.scale_channels_op(x, s)
    }

    fn scale_channels_dual(&self, x: &Dual<Tensor<E>>, s: &Dual<Tensor<E>>) -> Result<Dual<Tensor<E>>> {
        self.scale_channels_dual_op(x, s)
    }
}
