//! Oracles behind pointers are oracles: `&mut dyn HvpOracle<..>`, `Box<dyn HvpOracle<..>>`.

use super::{
    Evaluation, ExampleOracle, GradOracle, HvpOracle, Order, OutputOracle, Outputs, Pass, Point, Products,
    Sample, SampledOracle, Use,
};
use crate::Result;

macro_rules! pointer {
    ($($pointer:ty),*) => {$(
        impl<O: GradOracle + ?Sized> GradOracle for $pointer {
            type Vector = O::Vector;
            type Record = O::Record;
            fn evaluate<'a>(
                &mut self,
                at: &'a O::Vector,
                pass: Pass,
                order: Order,
            ) -> Result<Evaluation<'a, O::Vector, O::Record>> {
                (**self).evaluate(at, pass, order)
            }
            fn gradient(&mut self, at: O::Vector) -> Result<O::Vector> {
                (**self).gradient(at)
            }
            fn loss(&mut self, at: &O::Vector) -> Result<f64> {
                (**self).loss(at)
            }
        }

        impl<O: SampledOracle + ?Sized> SampledOracle for $pointer {
            fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
                (**self).restrict(sample)
            }
        }

        impl<O: ExampleOracle + ?Sized> ExampleOracle for $pointer {
            fn losses(&mut self, at: Point<'_, O::Vector>) -> Result<Vec<f64>> {
                (**self).losses(at)
            }
            fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
                (**self).select(rows)
            }
        }

        impl<O: OutputOracle + ?Sized> OutputOracle for $pointer {
            fn outputs(&mut self, at: Point<'_, O::Vector>) -> Result<Outputs> {
                (**self).outputs(at)
            }
            fn pull_back(&mut self, at: &O::Vector, u: &Outputs) -> Result<O::Vector> {
                (**self).pull_back(at, u)
            }
            fn examples(&self) -> Result<Vec<u64>> {
                (**self).examples()
            }
        }

        impl<O: HvpOracle + ?Sized> HvpOracle for $pointer {
            fn products(&self) -> Products {
                (**self).products()
            }
            fn hvp(
                &mut self,
                here: &Evaluation<'_, O::Vector, O::Record>,
                v: &O::Vector,
                record: Use,
            ) -> Result<O::Vector> {
                (**self).hvp(here, v, record)
            }
            fn hvp_block(
                &mut self,
                here: &Evaluation<'_, O::Vector, O::Record>,
                vs: &[O::Vector],
            ) -> Result<Vec<O::Vector>> {
                (**self).hvp_block(here, vs)
            }
            fn hvp_of_gradient(&mut self, here: Evaluation<'_, O::Vector, O::Record>) -> Result<O::Vector> {
                (**self).hvp_of_gradient(here)
            }
        }
    )*};
}
pointer!(&mut O, Box<O>);
