//! 2-D convolution and its replay.

use gnr_nn::{Conv2dSpec, Dual, Error, Result, composed};

use super::{
    Cpu,
    buffer::Buf,
    kernels::{
        conv::{Geometry, Pair, backward_input, backward_weight, forward},
        elem::Elem,
    },
    session::Extra,
    tensor::{Tensor, image},
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

impl<E: Elem> Cpu<E> {
    pub(super) fn conv2d_op(&self, x: &Tensor<E>, w: &Tensor<E>, spec: Conv2dSpec) -> Result<Tensor<E>> {
        let geometry = geometry(x, w, spec)?;
        let shape = geometry.output();
        let mut y = Buf::new(shape.iter().product());
        forward(&geometry, &[(&x.data, &w.data)], &mut y);
        let (x_, w_) = (x.clone(), w.clone());
        self.nonlinear_op(
            "conv2d",
            y,
            &shape,
            &[x, w],
            || Extra::Nothing,
            move |_, g, _, adjoints| {
                adjoints.write(&w_.target(), |out, more| {
                    backward_weight(&geometry, &[(&g, &x_.data)], out, more)
                })?;
                adjoints.write(&x_.target(), |out, more| {
                    backward_input(&geometry, &[(&g, &w_.data)], out, more)
                })?;
                Ok(Some(g))
            },
        )
    }

    pub(super) fn conv2d_dual_op(
        &self,
        x: Dual<&Tensor<E>>,
        w: Dual<&Tensor<E>>,
        spec: Conv2dSpec,
    ) -> Result<Dual<Tensor<E>>> {
        let geometry = geometry(x.primal, w.primal, spec)?;
        let shape = geometry.output();
        let Some(replayed) = self.replayed("conv2d", &shape, &[x, w])? else {
            return composed::conv2d_dual(self, x, w, spec);
        };
        // ẏ = ẋ∗w + x∗ẇ in one sweep.
        let terms = [x.tangent.map(|t| (t, w.primal)), w.tangent.map(|t| (x.primal, t))];
        let pairs: Vec<Pair<'_, E>> =
            terms.into_iter().flatten().map(|(x, w)| (x.as_slice(), w.as_slice())).collect();
        let tangent = (!pairs.is_empty()).then(|| {
            let mut y = Buf::new(shape.iter().product());
            forward(&geometry, &pairs, &mut y);
            y
        });
        let (x, w) = (x.cloned(), w.cloned());
        replayed.finish(tangent, move |second, first, adjoints| {
            let b = second.as_deref();
            let a = first.map(|a| &a[..]);
            let sum = |primal: &Tensor<E>, tangent: &Option<Tensor<E>>, f: &mut dyn FnMut(&[Pair<'_, E>])| {
                let second = b.map(|b| (b, primal.as_slice()));
                let first = a.zip(tangent.as_ref().map(Tensor::as_slice));
                let pairs: Vec<Pair<'_, E>> = second.into_iter().chain(first).collect();
                if !pairs.is_empty() {
                    f(&pairs);
                }
            };
            let mut outcome = Ok(());
            sum(&x.primal, &x.tangent, &mut |pairs| {
                outcome = adjoints
                    .write(&w.primal.target(), |out, more| backward_weight(&geometry, pairs, out, more));
            });
            outcome?;
            let mut outcome = Ok(());
            sum(&w.primal, &w.tangent, &mut |pairs| {
                outcome = adjoints
                    .write(&x.primal.target(), |out, more| backward_input(&geometry, pairs, out, more));
            });
            outcome
        })
    }
}
