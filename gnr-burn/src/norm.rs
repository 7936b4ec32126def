//! Batch normalisation by burn; its dual and the other normalisations are composed.

use burn_backend::backend::AutodiffBackend;
use gnr_nn::{BatchStats, Error, Fused, Normalisation, Result, composed};

use crate::{
    ops,
    tensor::{Burn, BurnTensor, invalid, mismatch},
};

impl<B: AutodiffBackend> Normalisation for Burn<B> {
    fn batch_norm(
        &self,
        x: &BurnTensor<B>,
        scale: &BurnTensor<B>,
        shift: &BurnTensor<B>,
        eps: f64,
        fused: Fused<'_, BurnTensor<B>>,
    ) -> Result<(BurnTensor<B>, BatchStats<BurnTensor<B>>)> {
        let op = "batch_norm";
        let &[_, channels, _, _] = x.shape() else { return invalid(op, "[N, C, H, W]", x.shape()) };
        if let Some(vector) = [scale, shift].into_iter().find(|vector| vector.shape() != [channels]) {
            return mismatch(op, x, vector);
        }
        if x.len() == 0 {
            return Err(Error::Invalid(format!("{op}: statistics of no element, {:?}", x.shape())));
        }
        let (y, mean, var) = if [x, scale, shift].iter().any(|operand| operand.is_tracked()) {
            let (y, mean, var) = ops::batch_norm::<B>(x.lifted(), scale.lifted(), shift.lifted(), eps);
            (BurnTensor::tracked(y), B::inner(mean), B::inner(var))
        } else {
            let (y, mean, var) =
                ops::batch_norm::<B::InnerBackend>(x.values(), scale.values(), shift.values(), eps);
            (BurnTensor::plain(y), mean, var)
        };
        let stats = BatchStats { mean: BurnTensor::plain(mean), var: BurnTensor::plain(var) };
        Ok((composed::finish(self, y, fused)?, stats))
    }
}
