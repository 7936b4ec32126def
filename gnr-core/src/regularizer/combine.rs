//! Combinations of regularisers are regularisers: none, tuples, options, boxes, lists. Their gradients add up.

use super::{Needs, Penalty, Regularizer, StepContext};
use crate::{GradOracle, Order, Result};

/// Plain training.
impl<O: GradOracle> Regularizer<O> for () {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::of(Order::First)
    }
    fn add_gradient(
        &mut self,
        _: &mut StepContext<'_, O>,
        _: &mut O::Vector,
        _: &mut Vec<(&'static str, Penalty)>,
    ) -> Result<()> {
        Ok(())
    }
}

/// The sum of its members, which share the evaluations of the step.
macro_rules! tuple {
    ($($name:ident $index:tt),+) => {
        impl<O: GradOracle, $($name: Regularizer<O>),+> Regularizer<O> for ($($name,)+) {
            fn needs(&self, t: u64, oracle: &O) -> Needs {
                Needs::of(Order::First)$(.and(self.$index.needs(t, oracle)))+
            }
            fn add_gradient(
                &mut self,
                cx: &mut StepContext<'_, O>,
                direction: &mut O::Vector,
                log: &mut Vec<(&'static str, Penalty)>,
            ) -> Result<()> {
                $(self.$index.add_gradient(cx, direction, log)?;)+
                Ok(())
            }
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

/// A list or an option: the sum of what is there.
macro_rules! collection {
    ($($of:ident),+) => {$(
        impl<O: GradOracle, R: Regularizer<O>> Regularizer<O> for $of<R> {
            fn needs(&self, t: u64, oracle: &O) -> Needs {
                self.iter().fold(Needs::of(Order::First), |needs, member| needs.and(member.needs(t, oracle)))
            }
            fn add_gradient(
                &mut self,
                cx: &mut StepContext<'_, O>,
                direction: &mut O::Vector,
                log: &mut Vec<(&'static str, Penalty)>,
            ) -> Result<()> {
                self.iter_mut().try_for_each(|member| member.add_gradient(cx, direction, log))
            }
        }
    )+};
}
collection!(Vec, Option);

/// A method chosen at run time.
impl<O: GradOracle, R: Regularizer<O> + ?Sized> Regularizer<O> for Box<R> {
    fn needs(&self, t: u64, oracle: &O) -> Needs {
        (**self).needs(t, oracle)
    }
    fn add_gradient(
        &mut self,
        cx: &mut StepContext<'_, O>,
        direction: &mut O::Vector,
        log: &mut Vec<(&'static str, Penalty)>,
    ) -> Result<()> {
        (**self).add_gradient(cx, direction, log)
    }
}
