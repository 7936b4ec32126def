//! A batch that is spread over ranks, as one oracle.

mod examples;

use crate::{
    Error, Evaluation, GradOracle, HvpOracle, Order, Pass, Products, Quantity, Result, Sample, SampledOracle,
    Use,
    collective::{Pack, Shares, agree},
    error::finite,
};

/// One batch made of the parts that the ranks have: L̂ = Σᵣ (nᵣ/n)·L̂ᵣ. Gradients and products are means with
/// these weights, too.
///
/// Every rank asks the same questions in the same order and gets the same answers, bit for bit. Methods see one batch:
/// SAM and GNR perturb once, along the whole batch's gradient. Where L̂ is a mean over examples, R ranks get the
/// answers of one process on the whole batch, to rounding. Where L̂ depends on the batch as a whole, as with BatchNorm,
/// the oracle of a part must know of the others.
///
/// An error on one rank is returned on all of them, before anything is reduced.
///
/// Exact and Gauss–Newton products of the parts are taken at the ranks' common evaluation, and depend on its point
/// and record alone. For differences wrap this oracle, `ForwardDiff::new(DataParallel::new(..))`. Differences inside of
/// it start at the part's own gradient, which each product has to evaluate again.
///
/// # Cost
/// One reduction of a vector for each gradient and each product, preceded by a reduction of a few scalars. A loss takes
/// the scalars alone.
#[derive(Clone, Debug)]
pub struct DataParallel<O> {
    inner: O,
    shares: Shares,
    /// The weight of each rank, in the whole batch or in the present sample or selection.
    weights: Vec<f64>,
    /// The number of examples of each rank, of the whole batch or of the present sample or selection.
    rows: Vec<usize>,
}

impl<O> DataParallel<O> {
    /// Makes the batch's oracle of `inner`, which answers for this rank's share alone.
    pub fn new(inner: O, shares: Shares) -> Self {
        let (weights, rows) = (shares.weights(), shares.examples().to_vec());
        Self { inner, shares, weights, rows }
    }

    /// The wrapped oracle.
    pub fn into_inner(self) -> O {
        self.inner
    }

    /// Whether this rank has the whole batch. Nothing is exchanged then, and nothing costs more.
    fn alone(&self) -> bool {
        self.shares.ranks().size() == 1
    }

    /// Exchanges one number a rank. Returns them in rank order, or on all ranks the error of the lowest rank that
    /// failed.
    fn agree(&self, own: Result<f64>) -> Result<Vec<f64>> {
        agree(self.shares.ranks().as_ref(), own)
    }

    /// The weighted mean of one number a rank.
    fn mean_of(&self, numbers: &[f64]) -> f64 {
        if let [only] = numbers {
            return *only;
        }
        let shares = self.weights.iter().zip(numbers).filter(|(weight, _)| **weight != 0.0);
        shares.map(|(weight, number)| weight * number).sum()
    }

    /// The weighted mean of a vector, once every rank has one.
    fn reduce<V: Pack>(&self, own: Result<V>) -> Result<V> {
        let (own, status) = match own {
            Ok(own) => (Some(own), Ok(0.0)),
            Err(error) => (None, Err(error)),
        };
        self.agree(status)?;
        let Some(own) = own else { return Err(Error::Oracle("ranks agreed on an error as success".into())) };
        self.sum(own)
    }

    fn sum<V: Pack>(&self, own: V) -> Result<V> {
        if self.alone() {
            return Ok(own);
        }
        let mean = self.shares.ranks().mean(own.pack()?, &self.weights)?;
        own.unpack(mean)
    }
}

impl<O: GradOracle> GradOracle for DataParallel<O>
where
    O::Vector: Pack,
{
    type Vector = O::Vector;
    type Record = O::Record;

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, O::Vector, O::Record>> {
        if self.alone() {
            return self.inner.evaluate(at, pass, order);
        }
        let (own, loss) = match self.inner.evaluate(at, pass, order) {
            Ok(own) => (Ok(own.loss), Some(own)),
            Err(error) => (Err(error), None),
        };
        let losses = self.agree(own)?;
        let Some(Evaluation { grad, record, .. }) = loss else {
            return Err(Error::Oracle("ranks agreed on an error as success".into()));
        };
        Evaluation::new(at, self.mean_of(&losses), self.sum(grad)?, record)
    }

    fn gradient(&mut self, at: O::Vector) -> Result<O::Vector> {
        let own = self.inner.gradient(at);
        self.reduce(own)
    }

    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        let own = self.inner.loss(at);
        finite(Quantity::Loss, self.mean_of(&self.agree(own)?))
    }
}

impl<O: SampledOracle> SampledOracle for DataParallel<O>
where
    O::Vector: Pack,
{
    /// Restricts to a sample of the whole batch: each rank answers for the examples of the sample that it has. A rank
    /// that has none of them answers for one example, with weight 0.
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        if self.alone() {
            return self.inner.restrict(sample);
        }
        let Some(sample) = sample else {
            let restricted = self.inner.restrict(None);
            self.agree(restricted.map(|()| 0.0))?;
            (self.weights, self.rows) = (self.shares.weights(), self.shares.examples().to_vec());
            return Ok(());
        };
        if sample.part.is_some() {
            return Err(Error::Oracle(
                "a batch is spread over ranks within ranks: its samples are not defined".into(),
            ));
        }
        let restricted = self.inner.restrict(Some(sample.of_part(self.shares.part())));
        self.agree(restricted.map(|()| 0.0))?;
        self.weights = self.shares.weights_in(sample);
        self.rows = (0..self.rows.len()).map(|rank| sample.count_in(self.shares.part_of(rank))).collect();
        Ok(())
    }
}

impl<O: HvpOracle> HvpOracle for DataParallel<O>
where
    O::Vector: Pack,
{
    /// The kind of products that the parts have.
    fn products(&self) -> Products {
        self.inner.products()
    }

    fn hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        v: &O::Vector,
        record: Use,
    ) -> Result<O::Vector> {
        let own = if self.at_own_gradient() {
            differences(&mut self.inner, here, |inner, own| inner.hvp(own, v, record))
        } else {
            self.inner.hvp(here, v, record)
        };
        self.reduce(own)
    }

    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, O::Record>,
        vs: &[O::Vector],
    ) -> Result<Vec<O::Vector>> {
        let own = if self.at_own_gradient() {
            differences(&mut self.inner, here, |inner, own| inner.hvp_block(own, vs))
        } else {
            self.inner.hvp_block(here, vs)
        };
        let (own, status) = match own {
            Ok(own) => (own, Ok(0.0)),
            Err(error) => (Vec::new(), Err(error)),
        };
        self.agree(status)?;
        own.into_iter().map(|own| self.sum(own)).collect()
    }

    fn hvp_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
        let own = if self.at_own_gradient() {
            differences(&mut self.inner, &here, |inner, own| inner.hvp(own, &here.grad, Use::Last))
        } else {
            self.inner.hvp_of_gradient(here)
        };
        self.reduce(own)
    }
}

impl<O: HvpOracle> DataParallel<O> {
    /// Whether products of a part are differences from the part's own gradient, which is not the common one.
    fn at_own_gradient(&self) -> bool {
        let differences = matches!(
            self.inner.products(),
            Products::ForwardDifference { .. } | Products::CentralDifference { .. }
        );
        differences && !self.alone()
    }
}

/// Evaluates the point again and multiplies there, for products by differences: they start at the part's own gradient,
/// which the common evaluation does not have.
fn differences<O: HvpOracle, T>(
    inner: &mut O,
    here: &Evaluation<'_, O::Vector, O::Record>,
    product: impl FnOnce(&mut O, &Evaluation<'_, O::Vector, O::Record>) -> Result<T>,
) -> Result<T> {
    let own = inner.evaluate(&here.at, Pass::Probe, Order::First)?;
    product(inner, &own)
}
