//! Batch statistics and sums of a normalisation whose batch several ranks share.
//!
//! Each rank's kernels sum over its own maps. What the formulas need over the whole batch are means of these sums over
//! the ranks, weighted as the losses are: wᵣ = nᵣ/n. So one exchange of a few numbers a channel joins the ranks in each
//! pass. With the loss L = Σ wᵣ Lᵣ, rank r's tape holds derivatives of Lᵣ, which are those of L divided by wᵣ. The mean
//! of the adjoint over the batch, in these units, is Σ wᵣ (Σ a)ᵣ divided by the number of rank r's own elements.

use gnr_core::collective::Packed;
use gnr_kernels::{
    norm::{Source, Stats, Sums},
    norm_replay::{SecondSums, TangentStats},
};
use gnr_nn::{AcrossRanks, Error, Result};

/// Numbers of this rank's maps and, where ranks share the batch, their means over the ranks.
pub(super) struct Pooled<T> {
    pub(super) own: T,
    of_batch: Option<T>,
}

impl<T> Pooled<T> {
    /// The numbers over the whole batch, on which the derivatives of x depend.
    pub(super) fn of_batch(&self) -> &T {
        self.of_batch.as_ref().unwrap_or(&self.own)
    }
}

/// The ranks that share the batch of a normalisation; `None` in a process by itself.
#[derive(Clone, Default)]
pub(super) struct Peers(Option<AcrossRanks>);

impl Peers {
    pub(super) fn new(across: &AcrossRanks) -> Self {
        Self(Some(across.clone()))
    }

    /// Statistics of the batch from mean and biased variance of this rank's maps.
    ///
    /// # Errors
    /// The errors of the exchange.
    pub(super) fn statistics(&self, (mean, var): (Vec<f64>, Vec<f64>), eps: f64) -> Result<Stats> {
        let Some(across) = &self.0 else { return Ok(Stats::new(mean, var, eps, Source::Batch)) };
        let c = mean.len();
        let all = across.all(&[mean, var].concat()).map_err(|error| Error::Ranks(Box::new(error)))?;
        // A rank of weight 0 answers for images that do not count.
        let over = |f: &dyn Fn(&[f64]) -> f64| -> f64 {
            all.iter().filter(|(weight, _)| *weight != 0.0).map(|(weight, x)| weight * f(x)).sum()
        };
        let mean: Vec<f64> = (0..c).map(|ch| over(&|x| x[ch])).collect();
        let var = (0..c).map(|ch| over(&|x| x[c + ch] + (x[ch] - mean[ch]).powi(2))).collect();
        Ok(Stats::new(mean, var, eps, Source::Batch))
    }

    /// The means over the ranks of vectors of one length; `None` in a process by itself.
    fn means<const N: usize>(&self, own: [&[f64]; N]) -> Result<Option<[Vec<f64>; N]>> {
        let Some(across) = &self.0 else { return Ok(None) };
        let means = across.mean(Packed::Double(own.concat())).and_then(Packed::doubles);
        let means = means.map_err(|error| Error::Ranks(Box::new(error)))?;
        let c = own.first().map_or(0, |first| first.len());
        Ok(Some(std::array::from_fn(|k| means[k * c..(k + 1) * c].to_vec())))
    }

    /// Calls [`means`](Self::means) in a reverse pass, which cannot return errors. If the exchange fails, the means are
    /// NaN. After a failure every exchange fails, so the next one outside of the tape reports the error.
    fn means_in_reverse<const N: usize>(&self, own: [&[f64]; N]) -> Option<[Vec<f64>; N]> {
        let unknown = || Some(own.map(|own| vec![f64::NAN; own.len()]));
        self.means(own).unwrap_or_else(|_| unknown())
    }

    /// The derivative of the batch's statistics from that of this rank's part of them.
    ///
    /// # Errors
    /// The errors of the exchange.
    pub(super) fn tangent(&self, own: TangentStats) -> Result<TangentStats> {
        Ok(match self.means([&own.mean, &own.q])? {
            Some([mean, q]) => TangentStats { mean, q },
            None => own,
        })
    }

    pub(super) fn sums(&self, own: Sums) -> Pooled<Sums> {
        let of_batch =
            self.means_in_reverse([&own.beta, &own.gamma]).map(|[beta, gamma]| Sums { beta, gamma });
        Pooled { own, of_batch }
    }

    pub(super) fn second_sums(&self, own: SecondSums) -> Pooled<SecondSums> {
        let means = self.means_in_reverse([&own.moved, &own.b, &own.bx]);
        let of_batch = means.map(|[moved, b, bx]| SecondSums { moved, b, bx });
        Pooled { own, of_batch }
    }
}
