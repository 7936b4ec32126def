//! Mean cross-entropy with label smoothing and its replay; computed in f64 whatever the element type.

use std::sync::Arc;

use gnr_macros::each_precision;
use gnr_nn::{Dual, Duals, Error, Loss, Result, composed};

use gnr_kernels::{buffer::Buf, elem::Elem, softmax::CrossEntropy};

use super::{Cpu, session::Extra, tensor::Tensor};

#[each_precision]
impl Loss for Cpu<E> {
    fn cross_entropy(&self, logits: &Tensor<E>, labels: &[usize], smoothing: f64) -> Result<Tensor<E>> {
        let (_, classes) = composed::check_labels(&logits.shape, labels)?;
        let point = CrossEntropy::new(logits.data(), classes, labels, smoothing)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let y = Buf::from(vec![E::of(point.loss)]);
        let (to_logits, point) = (logits.target(), Arc::new(point));
        let recorded = Arc::clone(&point);
        let extra = move || Extra::CrossEntropy(recorded);
        self.nonlinear_op("cross_entropy", Tensor::new(y, &[1, 1]), &[logits], extra, move |_, g, _| {
            to_logits.write(|out, accum| point.gradient(g[0].wide(), out, accum));
            Some(g.into())
        })
    }

    fn cross_entropy_dual(
        &self,
        logits: &Dual<Tensor<E>>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<Dual<Tensor<E>>> {
        composed::check_labels(&logits.primal.shape, labels)?;
        let Some(replayed) = self.replayed("cross_entropy", &[1, 1], &[logits.as_ref()])? else {
            return composed::cross_entropy(&Duals(self.clone()), logits, labels, smoothing);
        };
        let logits = logits.as_ref();
        let Extra::CrossEntropy(point) = replayed.extra() else { return Err(replayed.corrupt()) };
        let point = Arc::clone(point);
        if point.probabilities.len() != logits.primal.len() {
            return Err(replayed.corrupt());
        }
        let tangent = logits.tangent.map(|t| Buf::from(vec![E::of(point.tangent(t.data()))]));
        let (to_logits, t) = (logits.primal.target(), logits.tangent.cloned());
        replayed.finish(tangent, move |second, first| {
            let b = second.map_or(0.0, |b| b[0].wide());
            to_logits.write(|out, accum| match (&t, first) {
                (Some(t), Some(a)) => point.second_gradient(t.data(), a[0].wide(), b, out, accum),
                _ => point.gradient(b, out, accum),
            });
        })
    }
}
