//! What an algorithm may ask about ONE frozen mini-batch.

use std::borrow::Cow;

use crate::{Error, Quantity, Result, Vector, error::finite, random::SplitMix64, vector::same_dim};

/// Whether an evaluation is the step's own, or a look at another point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// At θ_t, exactly once a step: BatchNorm running statistics move.
    Commit,
    /// Anywhere, any number of times: nothing but the answer changes.
    Probe,
}

/// How much of the evaluation will be used. `First < Second`: the larger of two serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Loss and gradient only.
    First,
    /// Hessian-vector products at this point will follow: keep what makes them cheap.
    Second,
}

/// L̂ and ∇L̂ at one point, and what the oracle keeps of it.
#[derive(Debug)]
pub struct Evaluation<'a, V: Clone, R> {
    /// The point: the caller's, or the evaluation's own ([`Evaluation::owning`]).
    pub at: Cow<'a, V>,
    /// L̂, the mean loss of the batch, without weight decay. Finite.
    pub loss: f64,
    /// ∇L̂(at).
    pub grad: V,
    /// ‖∇L̂(at)‖. Finite.
    pub grad_norm: f64,
    /// Activations and adjoints of the point (`()` where there are none).
    pub record: R,
}

impl<'a, V: Vector, R> Evaluation<'a, V, R> {
    /// Checks that loss and gradient are finite and computes the gradient's norm.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite), naming the loss or the gradient norm.
    pub fn new(at: &'a V, loss: f64, grad: V, record: R) -> Result<Self> {
        let grad_norm = finite_gradient(loss, &grad)?;
        Ok(Self { at: Cow::Borrowed(at), loss, grad, grad_norm, record })
    }
}

impl<'a, V: Vector + 'a, R> Evaluation<'a, V, R> {
    /// [`evaluate`](GradOracle::evaluate) at a point that nobody needs afterwards, a [`Pass::Probe`]: the evaluation owns it, so the
    /// last product there ([`HvpOracle::hvp_of_gradient`]) may free it piece by piece.
    ///
    /// # Errors
    /// As [`evaluate`](GradOracle::evaluate).
    pub fn owning<O>(oracle: &mut O, at: V, order: Order) -> Result<Self>
    where
        O: GradOracle<Vector = V, Record = R> + ?Sized,
    {
        let Evaluation { loss, grad, grad_norm, record, .. } = oracle.evaluate(&at, Pass::Probe, order)?;
        Ok(Self { at: Cow::Owned(at), loss, grad, grad_norm, record })
    }
}

/// ‖∇L̂‖, when it and L̂ are finite: what an [`Evaluation`] is checked for.
///
/// # Errors
/// [`Error::NonFinite`](crate::Error::NonFinite), naming the loss or the gradient norm.
pub fn finite_gradient<V: Vector>(loss: f64, grad: &V) -> Result<f64> {
    finite(Quantity::Loss, loss)?;
    finite(Quantity::GradientNorm, grad.dot(grad)?.sqrt())
}

/// A seeded sample of a mini-batch, drawn without replacement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The fraction of the examples, in (0, 1].
    pub fraction: f64,
    /// The same seed draws the same examples.
    pub seed: u64,
}

impl Sample {
    /// The examples drawn out of `n`, in ascending order: `fraction`·n of them, rounded, and at least one.
    ///
    /// ```
    /// let sample = gnr_core::Sample { fraction: 0.25, seed: 7 };
    /// let rows = sample.rows(128);
    /// assert_eq!(rows.len(), 32);
    /// assert!(rows.is_sorted() && rows.iter().all(|&row| row < 128));
    /// assert_eq!(rows, sample.rows(128));
    /// ```
    pub fn rows(&self, n: usize) -> Vec<usize> {
        let count = ((self.fraction * n as f64).round() as usize).clamp(n.min(1), n);
        let mut random = SplitMix64::new(self.seed);
        let mut rows: Vec<usize> = (0..n).collect();
        for i in 0..count {
            let j = i + (random.uniform() * (n - i) as f64) as usize;
            rows.swap(i, j.min(n - 1));
        }
        rows.truncate(count);
        rows.sort_unstable();
        rows
    }
}

/// One frozen mini-batch (and dropout seed) that answers first-order questions at any point.
///
/// Points are arguments: no implementation may perturb parameters in place, so a failing step leaves θ untouched.
pub trait GradOracle {
    /// Points and tangents.
    type Vector: Vector;
    /// What an evaluation keeps so that products at its point are cheap.
    type Record;

    /// L̂ and ∇L̂ at a point.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) for a loss or gradient that is not; a failure of the backend.
    ///
    /// # Cost
    /// One gradient; with [`Order::Second`] also the memory of the record.
    fn evaluate<'a>(
        &mut self,
        at: &'a Self::Vector,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, Self::Vector, Self::Record>>;

    /// ∇L̂ at a point of which nothing else is wanted, a [`Pass::Probe`]: the point may be freed piece by piece while the gradient
    /// takes its place.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    ///
    /// # Cost
    /// One gradient.
    fn gradient_at(&mut self, at: Self::Vector) -> Result<Self::Vector> {
        Ok(self.evaluate(&at, Pass::Probe, Order::First)?.grad)
    }

    /// L̂ at a point, a [`Pass::Probe`]; what landscapes are made of.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), but a gradient that is not finite may go unnoticed.
    ///
    /// # Cost
    /// One gradient, unless the implementation knows how to do without (a forward pass: a third of it).
    fn loss(&mut self, at: &Self::Vector) -> Result<f64> {
        Ok(self.evaluate(at, Pass::Probe, Order::First)?.loss)
    }

    /// From now on L̂ is the mean loss over a sample of the batch, or over all of it again (`None`). An evaluation belongs to the
    /// L̂ it was made of: products at its point need the same sample. [`OnSample`](crate::OnSample) asks for it.
    ///
    /// # Errors
    /// [`Error::Oracle`](crate::Error::Oracle) where the batch cannot be sampled, which is the default.
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        match sample {
            None => Ok(()),
            Some(_) => Err(Error::Oracle("this oracle cannot answer for a part of its batch".into())),
        }
    }
}

/// A [`GradOracle`] that also multiplies with the Hessian of L̂.
pub trait HvpOracle: GradOracle {
    /// `out ← ∇²L̂(here.at)·v`, any number of times for one evaluation. Never moves running statistics.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend.
    ///
    /// # Cost
    /// About two gradients when `here` was evaluated with [`Order::Second`]; an implementation may have to evaluate
    /// once more when it was not.
    fn hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()>;

    /// `outs[i] ← ∇²L̂(here.at)·vs[i]` for several vectors at once.
    ///
    /// # Errors
    /// As [`hvp`](Self::hvp); [`Error::DimensionMismatch`](crate::Error::DimensionMismatch) when there are not as many `outs`
    /// as `vs`.
    ///
    /// # Cost
    /// As many products. An oracle that must evaluate again for every product does so once for all of them.
    fn hvp_block(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        vs: &[Self::Vector],
        outs: &mut [Self::Vector],
    ) -> Result<()> {
        same_dim("hvp_block", vs.len(), outs.len())?;
        vs.iter().zip(outs).try_for_each(|(v, out)| self.hvp(here, v, out))
    }

    /// `Some(ε)` when products are one-sided differences of gradients, (∇L̂(θ + ε v/‖v‖) − ∇L̂(θ))·‖v‖/ε.
    ///
    /// Lets a regulariser share the gradient at θ + ε ĝ with others that look at the same point (see
    /// [`StepContext::ahead`](crate::StepContext::ahead)).
    fn forward_difference_step(&self) -> Option<f64> {
        None
    }

    /// [`hvp`](Self::hvp), after which no more products will be asked for at this point: what the record holds may be freed while
    /// the product goes through it. A product that is asked for all the same must still be right, at the cost of another evaluation.
    ///
    /// [`Gnr`](crate::Gnr) asks for its first product this way, and for its second by [`hvp_of_gradient`](Self::hvp_of_gradient), so
    /// that one record is alive at a time, and not for long.
    ///
    /// # Errors
    /// As [`hvp`](Self::hvp).
    fn last_hvp(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()> {
        let done = self.hvp(here, v, out);
        self.release(here);
        done
    }

    /// ∇²L̂·∇L̂ at a point of which nothing else is wanted any more: record, gradient and, where the evaluation owns it, the point
    /// may be freed piece by piece while the product takes their place.
    ///
    /// # Errors
    /// As [`hvp`](Self::hvp).
    fn hvp_of_gradient(&mut self, here: Evaluation<'_, Self::Vector, Self::Record>) -> Result<Self::Vector> {
        // Overwritten; a backend with shared tensors does not copy them.
        let mut out = here.grad.clone();
        self.last_hvp(&here, &here.grad, &mut out)?;
        Ok(out)
    }

    /// No more products will be asked for at this point: what its record holds may be freed. A product that is asked for
    /// all the same must still be right, at the cost of another evaluation.
    fn release(&mut self, here: &Evaluation<'_, Self::Vector, Self::Record>) {
        let _ = here;
    }

    /// The order in which a point must be evaluated for cheap products: [`Order::Second`] for exact ones, [`Order::First`]
    /// where products are differences of gradients and a record would be wasted.
    fn order_for_products(&self) -> Order {
        if self.forward_difference_step().is_some() { Order::First } else { Order::Second }
    }
}

/// A [`GradOracle`] that also multiplies with the generalised Gauss–Newton matrix of L̂.
///
/// G = mean over the batch of Jᵀ·∇²ℓ·J, J the Jacobian of the model's outputs and ∇²ℓ the Hessian of the loss in them:
/// positive semi-definite where ℓ is convex. For softmax with cross-entropy G is the Fisher information matrix (labels drawn
/// from the model, not the empirical one).
///
/// # References
/// Schraudolph, "Fast curvature matrix-vector products", Neural Computation 2002; Martens, JMLR 2020, Section 8.
pub trait GgnOracle: GradOracle {
    /// `out ← G(here.at)·v`, any number of times for one evaluation.
    ///
    /// # Errors
    /// A dimension mismatch or a failure of the backend.
    ///
    /// # Cost
    /// Less than a Hessian-vector product: one tangent pass and one plain backward pass.
    fn ggn(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()>;

    /// `outs[i] ← G(here.at)·vs[i]` for several vectors at once; see [`HvpOracle::hvp_block`].
    ///
    /// # Errors
    /// As [`HvpOracle::hvp_block`].
    fn ggn_block(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        vs: &[Self::Vector],
        outs: &mut [Self::Vector],
    ) -> Result<()> {
        same_dim("ggn_block", vs.len(), outs.len())?;
        vs.iter().zip(outs).try_for_each(|(v, out)| self.ggn(here, v, out))
    }

    /// [`ggn`](Self::ggn), after which no more products of either kind will be asked for at this point: see
    /// [`HvpOracle::last_hvp`].
    ///
    /// # Errors
    /// As [`ggn`](Self::ggn).
    fn last_ggn(
        &mut self,
        here: &Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        out: &mut Self::Vector,
    ) -> Result<()> {
        self.ggn(here, v, out)
    }

    /// G·∇L̂ at a point of which nothing else is wanted any more: see [`HvpOracle::hvp_of_gradient`].
    ///
    /// # Errors
    /// As [`ggn`](Self::ggn).
    fn ggn_of_gradient(&mut self, here: Evaluation<'_, Self::Vector, Self::Record>) -> Result<Self::Vector> {
        // Overwritten; a backend with shared tensors does not copy them.
        let mut out = here.grad.clone();
        self.last_ggn(&here, &here.grad, &mut out)?;
        Ok(out)
    }
}

/// Pointers to an oracle are oracles: `&mut dyn HvpOracle<..>`, `Box<dyn HvpOracle<..>>`.
macro_rules! forward_oracle {
    ($($pointer:ty),*) => {$(
        impl<O: GradOracle + ?Sized> GradOracle for $pointer {
            type Vector = O::Vector;
            type Record = O::Record;
            fn evaluate<'a>(
                &mut self,
                at: &'a Self::Vector,
                pass: Pass,
                order: Order,
            ) -> Result<Evaluation<'a, Self::Vector, Self::Record>> {
                (**self).evaluate(at, pass, order)
            }
            fn gradient_at(&mut self, at: Self::Vector) -> Result<Self::Vector> {
                (**self).gradient_at(at)
            }
            fn loss(&mut self, at: &Self::Vector) -> Result<f64> {
                (**self).loss(at)
            }
            fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
                (**self).restrict(sample)
            }
        }

        impl<O: HvpOracle + ?Sized> HvpOracle for $pointer {
            fn hvp(
                &mut self,
                here: &Evaluation<'_, Self::Vector, Self::Record>,
                v: &Self::Vector,
                out: &mut Self::Vector,
            ) -> Result<()> {
                (**self).hvp(here, v, out)
            }
            fn hvp_block(
                &mut self,
                here: &Evaluation<'_, Self::Vector, Self::Record>,
                vs: &[Self::Vector],
                outs: &mut [Self::Vector],
            ) -> Result<()> {
                (**self).hvp_block(here, vs, outs)
            }
            fn last_hvp(
                &mut self,
                here: &Evaluation<'_, Self::Vector, Self::Record>,
                v: &Self::Vector,
                out: &mut Self::Vector,
            ) -> Result<()> {
                (**self).last_hvp(here, v, out)
            }
            fn hvp_of_gradient(
                &mut self,
                here: Evaluation<'_, Self::Vector, Self::Record>,
            ) -> Result<Self::Vector> {
                (**self).hvp_of_gradient(here)
            }
            fn release(&mut self, here: &Evaluation<'_, Self::Vector, Self::Record>) {
                (**self).release(here);
            }
            fn forward_difference_step(&self) -> Option<f64> {
                (**self).forward_difference_step()
            }
            fn order_for_products(&self) -> Order {
                (**self).order_for_products()
            }
        }

        impl<O: GgnOracle + ?Sized> GgnOracle for $pointer {
            fn ggn(
                &mut self,
                here: &Evaluation<'_, Self::Vector, Self::Record>,
                v: &Self::Vector,
                out: &mut Self::Vector,
            ) -> Result<()> {
                (**self).ggn(here, v, out)
            }
            fn ggn_block(
                &mut self,
                here: &Evaluation<'_, Self::Vector, Self::Record>,
                vs: &[Self::Vector],
                outs: &mut [Self::Vector],
            ) -> Result<()> {
                (**self).ggn_block(here, vs, outs)
            }
            fn last_ggn(
                &mut self,
                here: &Evaluation<'_, Self::Vector, Self::Record>,
                v: &Self::Vector,
                out: &mut Self::Vector,
            ) -> Result<()> {
                (**self).last_ggn(here, v, out)
            }
            fn ggn_of_gradient(
                &mut self,
                here: Evaluation<'_, Self::Vector, Self::Record>,
            ) -> Result<Self::Vector> {
                (**self).ggn_of_gradient(here)
            }
        }
    )*};
}
forward_oracle!(&mut O, Box<O>);
