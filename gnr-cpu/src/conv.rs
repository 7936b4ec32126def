//! 2-D convolution and its replay.

use std::sync::Arc;

use gnr_macros::each_precision;
use gnr_nn::{Conv2dSpec, Convolution, Dual, Error, Result, composed};

use gnr_kernels::{
    buffer::Buf,
    conv::{Geometry, MapPair, Pair, backward_input, backward_weight, forward, streams},
    elem::Elem,
    operand::Operand,
};

use super::{
    Cpu,
    tensor::{Tensor, image},
    value::{Recompute, Value},
};

fn geometry<E: Elem>(x: &Tensor<E>, w: &Tensor<E>, spec: Conv2dSpec) -> Result<Geometry> {
    let (xs, ws) = (image("conv2d", x)?, image("conv2d weight", w)?);
    if ws[2] != ws[3] {
        return Err(Error::InvalidShape {
            op: "conv2d weight",
            expected: "a square window".into(),
            found: ws.to_vec(),
        });
    }
    if xs.iter().chain(&ws).any(|&length| length == 0) {
        return Err(Error::InvalidShape {
            op: "conv2d",
            expected: "at least one element".into(),
            found: xs.to_vec(),
        });
    }
    let Conv2dSpec { stride, padding, groups } = spec;
    let padding = [xs[2], xs[3]].map(|length| padding.around(length, ws[2], stride));
    Geometry::padded(xs, ws, stride, padding, groups).map_err(|error| Error::Invalid(error.to_string()))
}

/// Whether the kernels of a convolution read maps piece by piece.
fn streamed<E: Elem>(geometry: &Geometry) -> bool {
    streams(geometry, E::as_f32(&[]).is_some())
}

#[each_precision]
impl Convolution for Cpu<E> {
    fn conv2d(&self, x: &Tensor<E>, w: &Tensor<E>, spec: Conv2dSpec) -> Result<Tensor<E>> {
        let geometry = geometry(x, w, spec)?;
        let shape = geometry.output();
        let streams = streamed::<E>(&geometry);
        let mut y = Buf::new(shape.iter().product());
        forward(&geometry, &[(x.operand(streams), w.data())], &mut y);
        // If the kernels do not stream, the forward kernel has just computed x whole. A session that does not record
        // keeps it for the reverse step, which saves recomputing it.
        let values = if streams || self.records() { x.hold() } else { Value::Memory(Arc::clone(x.data())) };
        let (to_x, to_w) = (x.target(), w.target());
        // If x has no adjoint, nobody reads w after this: its memory is free when the reverse pass begins.
        let w_ = to_x.is_tracked().then(|| w.clone());
        let recompute = || {
            let (x, w) = (x.hold(), Arc::clone(w.data()));
            Recompute::whole(move || {
                let mut y = Buf::new(shape.iter().product());
                forward(&geometry, &[(x.resolve(streams).operand(), &w)], &mut y);
                y
            })
        };
        self.product_op("conv2d", Tensor::new(y, &shape), &[x, w], recompute, move |g| {
            to_w.write(|out, accum| {
                let x = values.resolve(streams);
                backward_weight(&geometry, &[((&g).into(), x.operand())], out, accum);
            });
            if let Some(w) = w_ {
                to_x.write(|out, accum| {
                    backward_input(&geometry, &[((&g).into(), w.data())], out, accum);
                });
            }
            g.into()
        })
    }

    fn conv2d_dual(
        &self,
        x: &Dual<Tensor<E>>,
        w: &Dual<Tensor<E>>,
        spec: Conv2dSpec,
    ) -> Result<Dual<Tensor<E>>> {
        let geometry = geometry(&x.primal, &w.primal, spec)?;
        let shape = geometry.output();
        let Some(replayed) = self.replayed("conv2d", &shape, &[x.as_ref(), w.as_ref()])? else {
            return composed::conv2d_dual(self, x, w, spec);
        };
        let (x, w) = (x.as_ref(), w.as_ref());
        let streams = streamed::<E>(&geometry);
        // ẏ = ẋ∗w + x∗ẇ, by one call.
        let terms = [x.tangent.map(|t| (t, w.primal)), w.tangent.map(|t| (x.primal, t))];
        let pairs: Vec<Pair<'_, E>> =
            terms.into_iter().flatten().map(|(x, w)| (x.operand(streams), w.as_slice())).collect();
        let tangent = (!pairs.is_empty()).then(|| {
            let mut y = Buf::new(shape.iter().product());
            forward(&geometry, &pairs, &mut y);
            y
        });
        let (to_x, to_w) = (x.primal.target(), w.primal.target());
        let hold = |of: Dual<&Tensor<E>>| (of.primal.hold(), of.tangent.map(Tensor::hold));
        let (x, w) = (hold(x), hold(w));
        // Two kernels read a, which is recomputed once for both.
        replayed.finish(tangent, move |second, first| {
            // The pairs (b, other operand) and (a, tangent of the other operand).
            let terms = |(primal, tangent): &(Value<E>, Option<Value<E>>)| {
                let b = second.as_ref().map(|b| (Operand::from(b), primal.clone()));
                let a = first.map(|a| Operand::Whole(a)).zip(tangent.clone());
                b.into_iter().chain(a).collect::<Vec<_>>()
            };
            let values: Vec<_> = terms(&w).into_iter().map(|(g, w)| (g, w.get())).collect();
            if to_x.is_tracked() && !values.is_empty() {
                let pairs: Vec<Pair<'_, E>> = values.iter().map(|(g, w)| (*g, &w[..])).collect();
                to_x.write(|out, accum| backward_input(&geometry, &pairs, out, accum));
            }
            // This may be the last use of the tangent of w: its memory is free for the adjoint of w.
            drop(values);
            drop(w);
            if !to_w.is_tracked() {
                return;
            }
            let values: Vec<_> = terms(&x).into_iter().map(|(g, x)| (g, x.resolve(streams))).collect();
            if !values.is_empty() {
                let pairs: Vec<MapPair<'_, E>> = values.iter().map(|(g, x)| (*g, x.operand())).collect();
                to_w.write(|out, accum| backward_weight(&geometry, &pairs, out, accum));
            }
        })
    }
}
