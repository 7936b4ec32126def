//! Pooling over square windows, and over whole maps.

use std::sync::Arc;

use gnr_macros::each_precision;
use gnr_nn::{Dual, Duals, Error, PoolSpec, Pooling, Result, composed};

use gnr_kernels::{
    buffer::Buf,
    elem::Elem,
    norm::Maps,
    pool::{self, Window},
};

use super::{
    Cpu,
    session::Extra,
    tensor::{Tensor, image},
};

/// The window and the output's shape.
fn window<E: Elem>(op: &'static str, x: &Tensor<E>, spec: PoolSpec) -> Result<(Window, [usize; 4])> {
    let [n, c, h, w] = image(op, x)?;
    let window = Window::new(h, w, spec.window, spec.stride, spec.padding)
        .map_err(|error| Error::Invalid(format!("{op}: {error}")))?;
    let [oh, ow] = window.output();
    Ok((window, [n, c, oh, ow]))
}

#[each_precision]
impl Pooling for Cpu<E> {
    fn max_pool2d(&self, x: &Tensor<E>, spec: PoolSpec) -> Result<Tensor<E>> {
        let (window, shape) = window("max_pool2d", x, spec)?;
        let len = shape.iter().product();
        let (mut y, mut at) = (Buf::new(len), Buf::<u32>::new(len));
        pool::max(window, x.data(), &mut y, &mut at);
        let (to_x, at) = (x.target(), Arc::new(at));
        let recorded = Arc::clone(&at);
        let extra = move || Extra::Argmax(recorded);
        self.nonlinear_op("max_pool2d", Tensor::new(y, &shape), &[x], extra, move |_, g, _| {
            to_x.write(|out, accum| pool::max_backward(window, &g, &at, out, accum));
            // Piecewise linear: there is no second term, so the adjoint need not be retained.
            None
        })
    }

    fn max_pool2d_dual(&self, x: &Dual<Tensor<E>>, spec: PoolSpec) -> Result<Dual<Tensor<E>>> {
        let (window, shape) = window("max_pool2d", &x.primal, spec)?;
        let Some(replayed) = self.replayed("max_pool2d", &shape, &[x.as_ref()])? else {
            return composed::max_pool2d(&Duals(self.clone()), x, spec);
        };
        let Extra::Argmax(at) = replayed.extra() else { return Err(replayed.corrupt()) };
        let at = Arc::clone(at);
        let tangent = x.tangent.as_ref().map(|t| {
            let mut out = Buf::new(at.len());
            pool::max_tangent(window, t.data(), &at, &mut out);
            out
        });
        let to_x = x.primal.target();
        replayed.finish(tangent, move |second, _| {
            if let Some(g) = second {
                to_x.write(|out, accum| pool::max_backward(window, &g, &at, out, accum));
            }
        })
    }

    fn avg_pool2d(&self, x: &Tensor<E>, spec: PoolSpec) -> Result<Tensor<E>> {
        let (window, shape) = window("avg_pool2d", x, spec)?;
        let output = || {
            let mut y = Buf::new(shape.iter().product());
            pool::average(window, x.data(), &mut y);
            y
        };
        let to_x = x.target();
        self.linear_op("avg_pool2d", &shape, &[x], output, move |g| {
            to_x.write(|out, accum| pool::average_backward(window, &g, out, accum));
        })
    }

    fn global_avg_pool(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        let op = "global_avg_pool";
        let [n, c, h, w] = image(op, x)?;
        if x.is_empty() {
            let expected = "at least one element".into();
            return Err(Error::InvalidShape { op, expected, found: x.shape.to_vec() });
        }
        let maps = Maps { n, c, hw: h * w };
        let output = || {
            let mut y = Buf::new(n * c);
            pool::global_average(maps, x.data(), &mut y);
            y
        };
        let to_x = x.target();
        self.linear_op(op, &[n, c], &[x], output, move |g| {
            to_x.write(|out, accum| pool::global_average_backward(maps, &g, out, accum));
        })
    }
}
