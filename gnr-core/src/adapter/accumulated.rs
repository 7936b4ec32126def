//! A mini-batch that does not fit in memory, as the mean of micro-batches that do.

use crate::{
    Error, Evaluation, GgnOracle, GradOracle, HvpOracle, Order, Pass, Quantity, Result, Sample, Vector,
    error::finite, random::SplitMix64, vector::same_dim,
};

/// One mini-batch made of micro-batches: L̂ = Σᵢ (nᵢ/n)·L̂ᵢ, and so are its gradient and its products.
///
/// Methods see one batch: SAM and GNR perturb once, along the whole batch's gradient, and every micro-batch is evaluated at
/// that same point. A [`Pass::Commit`] reaches each micro-batch exactly once. (Where L̂ᵢ depends on its micro-batch as a
/// whole, as with BatchNorm, the mean is that of the micro-batches' own losses.)
///
/// # Cost
/// Memory of one micro-batch: no record outlives its micro-batch. So an exact product evaluates each micro-batch again,
/// with [`Order::Second`], multiplies, and drops the record: one gradient more a product. For products by differences wrap
/// the accumulation, `ForwardDiff::new(Accumulated::new(..)?)`: they need no record and cost nothing extra.
#[derive(Clone, Debug)]
pub struct Accumulated<O> {
    /// Micro-batches and their weights nᵢ/n.
    parts: Vec<(O, f64)>,
}

impl<O> Accumulated<O> {
    /// The mean of micro-batches, each with its number of examples nᵢ.
    ///
    /// # Errors
    /// [`Error::Oracle`] when there is no micro-batch or one is empty.
    pub fn new(parts: impl IntoIterator<Item = (O, usize)>) -> Result<Self> {
        let parts: Vec<_> = parts.into_iter().collect();
        if parts.is_empty() {
            return Err(Error::Oracle("an accumulation needs at least one micro-batch".into()));
        }
        if let Some(empty) = parts.iter().position(|(_, n)| *n == 0) {
            return Err(Error::Oracle(format!("micro-batch {empty} has no examples")));
        }
        let n: usize = parts.iter().map(|(_, n)| n).sum();
        Ok(Self { parts: parts.into_iter().map(|(part, n_i)| (part, n_i as f64 / n as f64)).collect() })
    }

    /// The number of micro-batches.
    pub fn num_parts(&self) -> usize {
        self.parts.len()
    }
}

impl<O: GradOracle> GradOracle for Accumulated<O> {
    type Vector = O::Vector;
    /// Nothing is kept between micro-batches.
    type Record = ();

    fn evaluate<'a>(
        &mut self,
        at: &'a O::Vector,
        pass: Pass,
        _: Order,
    ) -> Result<Evaluation<'a, O::Vector, ()>> {
        let mut loss = 0.0;
        let mut mean: Option<O::Vector> = None;
        for (part, weight) in &mut self.parts {
            let evaluation = part.evaluate(at, pass, Order::First)?;
            loss += *weight * evaluation.loss;
            match &mut mean {
                Some(mean) => mean.axpy(*weight, &evaluation.grad)?,
                none => none.insert(evaluation.grad).scale(*weight)?,
            }
        }
        let grad =
            mean.ok_or_else(|| Error::Oracle("an accumulation needs at least one micro-batch".into()))?;
        Evaluation::new(at, loss, grad, ())
    }

    fn loss(&mut self, at: &O::Vector) -> Result<f64> {
        let mut loss = 0.0;
        for (part, weight) in &mut self.parts {
            loss += *weight * part.loss(at)?;
        }
        finite(Quantity::Loss, loss)
    }

    /// Every micro-batch gives its share of the sample; the weights stay.
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        for (i, (part, _)) in self.parts.iter_mut().enumerate() {
            let seed = |sample: Sample| SplitMix64::new(sample.seed ^ i as u64).next_u64();
            part.restrict(sample.map(|sample| Sample { seed: seed(sample), ..sample }))?;
        }
        Ok(())
    }
}

impl<O: GradOracle> Accumulated<O> {
    /// The mean of the micro-batches' products with several vectors. Each micro-batch is evaluated once for all of them.
    fn products(
        &mut self,
        at: &O::Vector,
        vs: &[O::Vector],
        outs: &mut [O::Vector],
        order: impl Fn(&O) -> Order,
        product: Product<O>,
    ) -> Result<()> {
        let Some(first) = vs.first() else { return Ok(()) };
        for (v, out) in vs.iter().zip(&mut *outs) {
            same_dim("hvp", at.dim(), v.dim())?;
            out.copy_from(v)?;
            out.scale(0.0)?;
        }
        let mut part_product = first.clone();
        for (part, weight) in &mut self.parts {
            let again = part.evaluate(at, Pass::Probe, order(part))?;
            for (v, out) in vs.iter().zip(&mut *outs) {
                product(part, &again, v, &mut part_product)?;
                out.axpy(*weight, &part_product)?;
            }
        }
        Ok(())
    }
}

/// [`HvpOracle::hvp`] or [`GgnOracle::ggn`].
type Product<O> = fn(
    &mut O,
    &Evaluation<'_, <O as GradOracle>::Vector, <O as GradOracle>::Record>,
    &<O as GradOracle>::Vector,
    &mut <O as GradOracle>::Vector,
) -> Result<()>;

impl<O: HvpOracle> HvpOracle for Accumulated<O> {
    fn hvp(
        &mut self,
        here: &Evaluation<'_, O::Vector, ()>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.hvp_block(here, std::slice::from_ref(v), std::slice::from_mut(out))
    }

    /// Each micro-batch is evaluated once for all vectors.
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, ()>,
        vs: &[O::Vector],
        outs: &mut [O::Vector],
    ) -> Result<()> {
        same_dim("hvp_block", vs.len(), outs.len())?;
        self.products(&here.at, vs, outs, O::order_for_products, O::hvp)
    }

    /// The mean of one-sided differences of one step is that of the mean.
    fn forward_difference_step(&self) -> Option<f64> {
        let mut steps = self.parts.iter().map(|(part, _)| part.forward_difference_step());
        let first = steps.next()??;
        steps.all(|step| step == Some(first)).then_some(first)
    }

    /// Records do not outlive their micro-batch, so none is asked for.
    fn order_for_products(&self) -> Order {
        Order::First
    }
}

impl<O: GgnOracle> GgnOracle for Accumulated<O> {
    fn ggn(
        &mut self,
        here: &Evaluation<'_, O::Vector, ()>,
        v: &O::Vector,
        out: &mut O::Vector,
    ) -> Result<()> {
        self.ggn_block(here, std::slice::from_ref(v), std::slice::from_mut(out))
    }

    /// Each micro-batch is evaluated once for all vectors.
    fn ggn_block(
        &mut self,
        here: &Evaluation<'_, O::Vector, ()>,
        vs: &[O::Vector],
        outs: &mut [O::Vector],
    ) -> Result<()> {
        same_dim("ggn_block", vs.len(), outs.len())?;
        self.products(&here.at, vs, outs, |_| Order::Second, O::ggn)
    }
}
