//! Values of tensors and adjoints: in memory, recomputed, or held elsewhere.
//!
//! A record must hold the inputs of normalisations and activations. Their outputs follow from these inputs, and many
//! adjoints follow from held values. Recomputing them takes the time of a pass over memory, and saves their memory. If
//! the kernel that reads them streams its operand ([`Operand`]), they do not even cost the pass. Recomputing a value
//! changes no result, because the same kernel on the same operands gives the same bits.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Weak},
};

use gnr_kernels::{
    buffer::Buf,
    elem::Elem,
    operand::{Operand, Producer, materialise},
};

/// The values of a tensor or of an adjoint.
#[derive(Clone)]
pub(super) enum Value<E: Elem> {
    /// Values in memory.
    Memory(Arc<Buf<E>>),
    /// Values that are recomputed at each use.
    Recompute(Recompute<E>),
    /// Values in memory while another holder has them, recomputed afterwards.
    Elsewhere(Weak<Buf<E>>, Recompute<E>),
}

impl<E: Elem> Value<E> {
    /// The values in memory, recomputed if they are not.
    pub(super) fn get(&self) -> Arc<Buf<E>> {
        match self {
            Self::Memory(data) => Arc::clone(data),
            Self::Recompute(recompute) => Arc::new(recompute.run()),
            Self::Elsewhere(data, recompute) => data.upgrade().unwrap_or_else(|| Arc::new(recompute.run())),
        }
    }
    /// Prepares the values for the kernels of one step. They are streamed if a producer computes them and the kernel
    /// streams its operand (`streams`).
    pub(super) fn resolve(&self, streams: bool) -> Resolved<E> {
        match self {
            Self::Recompute(Recompute { how: How::Streamed(producer), .. }) if streams => {
                Resolved::Streamed(Arc::clone(producer))
            }
            other => Resolved::Memory(other.get()),
        }
    }
    /// How the values are recomputed, unless they are held.
    pub(super) fn recompute(&self) -> Option<&Recompute<E>> {
        match self {
            Self::Memory(_) | Self::Elsewhere(..) => None,
            Self::Recompute(recompute) => Some(recompute),
        }
    }
}

/// An operand that one step of a pass owns while its kernels read it.
pub(super) enum Resolved<E: Elem> {
    Memory(Arc<Buf<E>>),
    Streamed(Arc<dyn Producer<E>>),
}

impl<E: Elem> Resolved<E> {
    /// The operand for a kernel.
    pub(super) fn operand(&self) -> Operand<'_, E> {
        match self {
            Self::Memory(data) => Operand::Whole(data),
            Self::Streamed(producer) => Operand::Streamed(&**producer),
        }
    }
}

/// The identity of a recorded operation. A recomputable adjoint names the operation that wrote it: that operation's
/// replay can compute the adjoint as a by-product, which costs less than recomputing it.
#[derive(Clone, Default)]
pub(super) struct OpId(Rc<()>);

impl PartialEq for OpId {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// Computes values from others that are held, with the same bits each time.
#[derive(Clone)]
pub(super) struct Recompute<E: Elem> {
    how: How<E>,
    /// Passes over memory that this takes, including those of values it depends on.
    passes: usize,
    /// The operation whose replay computes the values as a by-product, if there is one.
    by_product_of: Option<OpId>,
}

enum How<E: Elem> {
    /// Computes all values at once.
    Whole(Rc<dyn Fn() -> Buf<E>>),
    /// Computes the values piece by piece, where they are read.
    Streamed(Arc<dyn Producer<E>>),
}

impl<E: Elem> Clone for How<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(run) => Self::Whole(Rc::clone(run)),
            Self::Streamed(producer) => Self::Streamed(Arc::clone(producer)),
        }
    }
}

impl<E: Elem> Recompute<E> {
    /// Most passes of a recompute; beyond, holding the values is cheaper. Values that depend on recomputed ones take
    /// one pass more than those.
    const MOST_PASSES: usize = 3;

    /// Computes all values at once, by one pass over what is held.
    pub(super) fn whole(run: impl Fn() -> Buf<E> + 'static) -> Self {
        Self { how: How::Whole(Rc::new(run)), passes: 1, by_product_of: None }
    }
    /// Computes maps of `pixels` elements piece by piece: one pass over what is held, and over the values of `before`
    /// if there are some. `None` if these are too many passes, or if `before` cannot be produced in pieces of such
    /// maps.
    pub(super) fn streamed<M: Producer<E> + 'static>(
        pixels: usize,
        before: Option<Self>,
        producer: impl FnOnce(Option<Arc<dyn Producer<E>>>) -> M,
    ) -> Option<Self> {
        let passes = before.as_ref().map_or(0, |before| before.passes) + 1;
        if passes > Self::MOST_PASSES {
            return None;
        }
        let before = match before.map(|before| before.how) {
            Some(How::Streamed(before)) if before.pixels() == pixels => Some(before),
            Some(How::Whole(_) | How::Streamed(_)) => return None,
            None => None,
        };
        Some(Self { how: How::Streamed(Arc::new(producer(before))), passes, by_product_of: None })
    }
    /// Declares the operation whose replay computes the values as a by-product.
    pub(super) fn by_product_of(self, operation: Option<OpId>) -> Self {
        Self { by_product_of: operation, ..self }
    }
    /// The operation whose replay computes the values as a by-product, if there is one.
    pub(super) fn operation(&self) -> Option<&OpId> {
        self.by_product_of.as_ref()
    }
    /// Computes the values.
    pub(super) fn run(&self) -> Buf<E> {
        match &self.how {
            How::Whole(run) => run(),
            How::Streamed(producer) => materialise(&**producer),
        }
    }
    /// Whether one pass produces the values piece by piece. Producing them wherever they are read then costs next to
    /// nothing.
    pub(super) fn is_light(&self) -> bool {
        self.passes == 1 && self.producer().is_some()
    }
    /// The producer of the values, if they can be produced piece by piece.
    pub(super) fn producer(&self) -> Option<&dyn Producer<E>> {
        match &self.how {
            How::Streamed(producer) => Some(&**producer),
            How::Whole(_) => None,
        }
    }
}

/// How a record retains an adjoint.
#[derive(Clone)]
pub(super) enum Retention<E: Elem> {
    /// The record must hold the values.
    Values,
    /// The values follow from others that are held.
    Recompute(Recompute<E>),
    /// Other operands of a sum have an equal adjoint. The first operation that retains it stores it here for the
    /// others.
    Shared(Rc<RefCell<Option<Arc<Buf<E>>>>>),
}

impl<E: Elem> Retention<E> {
    /// The value that the record holds for an adjoint with these `values`.
    pub(super) fn retain(self, values: Arc<Buf<E>>) -> Value<E> {
        match self {
            Self::Values => Value::Memory(values),
            Self::Recompute(recompute) => Value::Recompute(recompute),
            Self::Shared(first) => Value::Memory(Arc::clone(first.borrow_mut().get_or_insert(values))),
        }
    }
}
