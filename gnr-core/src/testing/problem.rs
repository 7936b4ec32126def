//! Problems in closed form, and the oracle of a problem.

use crate::{
    Error, Evaluation, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point,
    Products, Real, Result, Sample, SampledOracle, Use, checked_share, nothing_committed, vector::same_dim,
};
use std::marker::PhantomData;

/// A twice differentiable function in closed form, computed in f64. Slices have length [`dim`](Self::dim).
pub trait Problem {
    /// The number d of variables.
    fn dim(&self) -> usize;
    /// The value and the gradient at θ.
    fn value_and_gradient(&self, theta: &[f64]) -> (f64, Vec<f64>);
    /// The Hessian at θ times v.
    fn hvp(&self, theta: &[f64], v: &[f64]) -> Vec<f64>;

    /// The dense Hessian, row by row, from [`hvp`](Self::hvp).
    fn hessian(&self, theta: &[f64]) -> Vec<Vec<f64>> {
        (0..self.dim())
            .map(|i| {
                let mut unit = vec![0.0; self.dim()];
                unit[i] = 1.0;
                self.hvp(theta, &unit)
            })
            .collect()
    }
}

/// A mean of losses of a model's outputs, with a known generalised Gauss–Newton matrix.
pub trait GgnProblem: Problem {
    /// The product G·v with G = mean over the examples of Jᵀ·∇²ℓ·J.
    fn ggn(&self, theta: &[f64], v: &[f64]) -> Vec<f64>;
}

/// A mean of losses over examples; any part of the examples makes a problem, too.
pub trait MeanProblem: Problem + Sized {
    /// The number of examples.
    fn examples(&self) -> usize;
    /// The mean over the examples with these indices, in this order.
    fn part(&self, rows: &[usize]) -> Self;
}

/// A mean of losses of a model's outputs that also gives the outputs.
pub trait OutputProblem: Problem {
    /// The outputs at θ, one row an example.
    fn outputs(&self, theta: &[f64]) -> Outputs;
    /// The product Jᵀ·u with the Jacobian J of the outputs; u has their shape.
    fn pull_back(&self, theta: &[f64], u: &Outputs) -> Vec<f64>;
}

impl<P: GgnProblem + ?Sized> GgnProblem for &P {
    fn ggn(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        (**self).ggn(theta, v)
    }
}

impl<P: Problem + ?Sized> Problem for &P {
    fn dim(&self) -> usize {
        (**self).dim()
    }
    fn value_and_gradient(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        (**self).value_and_gradient(theta)
    }
    fn hvp(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        (**self).hvp(theta, v)
    }
}

/// The oracle of a problem, over points stored as `Vec<T>`. Answers are computed in f64 and rounded to `T` once.
#[derive(Clone, Debug)]
pub struct ProblemOracle<P, T = f64> {
    problem: P,
    /// The part of the problem that the oracle answers for at present; `None` for the whole.
    part: Option<P>,
    products: Products,
    product: fn(&P, &[f64], &[f64]) -> Vec<f64>,
    /// The point of the last committed evaluation.
    committed: Option<Vec<f64>>,
    /// The indices, in a larger set, of the problem's examples.
    examples: Option<Vec<u64>>,
    precision: PhantomData<T>,
}

impl<P: Problem, T: Real> ProblemOracle<P, T> {
    /// An oracle that always answers for `problem`, with exact products.
    pub fn new(problem: P) -> Self {
        Self {
            problem,
            part: None,
            products: Products::Exact,
            product: P::hvp,
            committed: None,
            examples: None,
            precision: PhantomData,
        }
    }

    /// Sets the indices, in a larger set, of the problem's examples.
    pub fn with_examples(mut self, examples: Vec<u64>) -> Self {
        self.examples = Some(examples);
        self
    }

    /// The problem, or the part of it, that the oracle answers for at present.
    fn present(&self) -> &P {
        self.part.as_ref().unwrap_or(&self.problem)
    }

    /// An oracle of `problem` with Gauss–Newton products in place of Hessian-vector products.
    pub fn gauss_newton(problem: P) -> Self
    where
        P: GgnProblem,
    {
        Self { products: Products::GaussNewton, product: P::ggn, ..Self::new(problem) }
    }
}

impl<P: Problem, T: Real> GradOracle for ProblemOracle<P, T> {
    type Vector = Vec<T>;
    /// The order with which the point was evaluated.
    type Record = Order;

    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<T>,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, Vec<T>, Order>> {
        same_dim("evaluate", self.problem.dim(), at.len())?;
        let wide = widen(at);
        let (loss, grad) = self.present().value_and_gradient(&wide);
        if pass == Pass::Commit {
            self.committed = Some(wide);
        }
        Evaluation::new(at, loss, narrow(&grad), order)
    }
}

impl<P: MeanProblem, T: Real> SampledOracle for ProblemOracle<P, T> {
    fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
        self.part = sample.map(|sample| self.problem.part(&sample.rows(self.problem.examples())));
        Ok(())
    }
}

impl<P: Problem, T: Real> ProblemOracle<P, T> {
    fn point(&self, at: Point<'_, Vec<T>>) -> Result<Vec<f64>> {
        match at {
            Point::Committed => self.committed.clone().ok_or_else(nothing_committed),
            Point::At(at) => {
                same_dim("outputs", self.problem.dim(), at.len())?;
                Ok(widen(at))
            }
        }
    }
}

impl<P: MeanProblem, T: Real> ExampleOracle for ProblemOracle<P, T> {
    fn losses(&mut self, at: Point<'_, Vec<T>>) -> Result<Vec<f64>> {
        let (at, present) = (self.point(at)?, self.present());
        Ok((0..present.examples()).map(|row| present.part(&[row]).value_and_gradient(&at).0).collect())
    }
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        let share = checked_share(rows, self.problem.examples())?;
        self.part = rows.map(|rows| self.problem.part(rows));
        Ok(share)
    }
}

impl<P: OutputProblem, T: Real> OutputOracle for ProblemOracle<P, T> {
    fn outputs(&mut self, at: Point<'_, Vec<T>>) -> Result<Outputs> {
        Ok(self.present().outputs(&self.point(at)?))
    }
    fn pull_back(&mut self, at: &Vec<T>, u: &Outputs) -> Result<Vec<T>> {
        let at = self.point(Point::At(at))?;
        let (expected, found) = (self.present().outputs(&at).values().len(), u.values().len());
        if expected != found {
            return Err(Error::Oracle(format!("{found} factors for {expected} outputs")));
        }
        Ok(narrow(&self.present().pull_back(&at, u)))
    }
    fn examples(&self) -> Result<Vec<u64>> {
        self.examples.clone().ok_or_else(|| Error::Oracle("the problem's examples have no numbers".into()))
    }
}

impl<P: Problem, T: Real> HvpOracle for ProblemOracle<P, T> {
    fn products(&self) -> Products {
        self.products
    }

    /// Multiplies, as strictly as a real network would: a point evaluated to first order has no record and is refused.
    fn hvp(&mut self, here: &Evaluation<'_, Vec<T>, Order>, v: &Vec<T>, _: Use) -> Result<Vec<T>> {
        if here.record == Order::First {
            return Err(Error::Oracle("a product at a point that was evaluated with Order::First".into()));
        }
        same_dim("hvp", self.problem.dim(), v.len())?;
        Ok(narrow(&(self.product)(self.present(), &widen(&here.at), &widen(v))))
    }
}

fn widen<T: Real>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.as_()).collect()
}

fn narrow<T: Real>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::of(x)).collect()
}
