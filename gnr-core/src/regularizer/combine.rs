//! Combinations of regularisers are regularisers: none, tuples, options, boxes, lists. Their gradients add up.

use super::{Ending, Needs, Regularizer, StepContext};
use crate::{
    GradOracle, Result, StateSink, StateSource,
    checkpoint::{PrefixedSink, PrefixedSource},
};

/// Plain training, which adds nothing to the direction.
impl<O: GradOracle> Regularizer<O> for () {
    fn needs(&self, _: u64, _: &O) -> Needs {
        Needs::NONE
    }
    fn add_gradient(&mut self, _: &mut StepContext<'_, O>) -> Result<()> {
        Ok(())
    }
}

/// A tuple is the sum of its members, which share the evaluations of the step. The state of member i is saved under
/// `i.`.
macro_rules! tuple {
    ($($name:ident $index:tt),+) => {
        impl<O: GradOracle, $($name: Regularizer<O>),+> Regularizer<O> for ($($name,)+) {
            fn needs(&self, t: u64, oracle: &O) -> Needs {
                Needs::NONE$(.and(self.$index.needs(t, oracle)))+
            }
            fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
                $(self.$index.add_gradient(cx)?;)+
                Ok(())
            }
            fn end_step(&mut self, ending: Ending) {
                $(self.$index.end_step(ending);)+
            }
            fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
                $(self.$index.save(&mut PrefixedSink::new($index, sink))?;)+
                Ok(())
            }
            fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
                $(self.$index.load(&mut PrefixedSource::new($index, source))?;)+
                Ok(())
            }
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

/// Implements the sum of the members of a list or an option.
macro_rules! collection {
    ($($of:ident),+) => {$(
        impl<O: GradOracle, R: Regularizer<O>> Regularizer<O> for $of<R> {
            fn needs(&self, t: u64, oracle: &O) -> Needs {
                self.iter().fold(Needs::NONE, |needs, member| needs.and(member.needs(t, oracle)))
            }
            fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
                self.iter_mut().try_for_each(|member| member.add_gradient(cx))
            }
            fn end_step(&mut self, ending: Ending) {
                self.iter_mut().for_each(|member| member.end_step(ending));
            }
            fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
                (0..).zip(self).try_for_each(|(i, member)| member.save(&mut PrefixedSink::new(i, sink)))
            }
            fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
                (0..).zip(self).try_for_each(|(i, member)| member.load(&mut PrefixedSource::new(i, source)))
            }
        }
    )+};
}
collection!(Vec, Option);

/// A regulariser that is chosen at run time.
impl<O: GradOracle, R: Regularizer<O> + ?Sized> Regularizer<O> for Box<R> {
    fn needs(&self, t: u64, oracle: &O) -> Needs {
        (**self).needs(t, oracle)
    }
    fn add_gradient(&mut self, cx: &mut StepContext<'_, O>) -> Result<()> {
        (**self).add_gradient(cx)
    }
    fn end_step(&mut self, ending: Ending) {
        (**self).end_step(ending);
    }
    fn save(&self, sink: &mut dyn StateSink<O::Vector>) -> Result<()> {
        (**self).save(sink)
    }
    fn load(&mut self, source: &mut dyn StateSource<O::Vector>) -> Result<()> {
        (**self).load(source)
    }
}
