//! Values that are made again instead of being held: the same kernel on the same operands gives the same bits.
//!
//! A record holds the inputs of normalisations and activations anyway, so their outputs, and adjoints that follow from others that
//! are held, cost a pass over memory instead of memory.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use super::{buffer::Buf, kernels::elem::Elem};

/// Makes values that are cheaper to compute than to hold, the same bits each time.
pub(super) struct Again<E: Elem> {
    make: Rc<dyn Fn() -> Buf<E>>,
    passes: usize,
}

impl<E: Elem> Again<E> {
    /// Values that are made of others which must themselves be made again take as many passes as these and one more; beyond this
    /// they are better held.
    const MOST_PASSES: usize = 3;

    /// By one pass over what is held.
    pub(super) fn new(make: impl Fn() -> Buf<E> + 'static) -> Self {
        Self { make: Rc::new(make), passes: 1 }
    }
    /// By one pass after `first` has been made; `None` when these are too many passes.
    pub(super) fn after(first: Self, make: impl Fn(Buf<E>) -> Buf<E> + 'static) -> Option<Self> {
        let passes = first.passes + 1;
        (passes <= Self::MOST_PASSES).then(|| Self { make: Rc::new(move || make(first.make())), passes })
    }
    /// The values.
    pub(super) fn make(&self) -> Buf<E> {
        (self.make)()
    }
}

impl<E: Elem> Clone for Again<E> {
    fn clone(&self) -> Self {
        Self { make: Rc::clone(&self.make), passes: self.passes }
    }
}

/// Values that a step of the reverse pass needs: held, or made when it runs.
#[derive(Clone)]
pub(super) enum Held<E: Elem> {
    /// In memory.
    Data(Arc<Buf<E>>),
    /// Made at each use.
    Again(Again<E>),
}

impl<E: Elem> Held<E> {
    /// The values.
    pub(super) fn get(&self) -> Arc<Buf<E>> {
        match self {
            Self::Data(data) => Arc::clone(data),
            Self::Again(again) => Arc::new(again.make()),
        }
    }
    /// How they are made, if they are not held.
    pub(super) fn again(&self) -> Option<Again<E>> {
        match self {
            Self::Data(_) => None,
            Self::Again(again) => Some(again.clone()),
        }
    }
}

/// What is known of an adjoint beside its values.
#[derive(Clone)]
pub(super) enum Known<E: Elem> {
    Nothing,
    /// How to make it again.
    Again(Again<E>),
    /// That other operands of a sum have the same: the first operation that keeps it puts it here for those that would, too.
    Shared(Rc<RefCell<Option<Arc<Buf<E>>>>>),
}

impl<E: Elem> Known<E> {
    /// How to hold the adjoint, of which `kept` are the values.
    pub(super) fn hold(self, kept: Arc<Buf<E>>) -> Held<E> {
        match self {
            Self::Nothing => Held::Data(kept),
            Self::Again(again) => Held::Again(again),
            Self::Shared(first) => Held::Data(Arc::clone(first.borrow_mut().get_or_insert(kept))),
        }
    }
    /// How to make the sum again that `add` makes of it in place, if that is known.
    pub(super) fn then(self, add: impl Fn(&mut [E]) + 'static) -> Option<Again<E>> {
        match self {
            Self::Nothing => None,
            Self::Again(first) => Again::after(first, move |mut sum| {
                add(&mut sum);
                sum
            }),
            // Only if it is kept anyway.
            Self::Shared(first) => first.borrow().clone().map(|kept| {
                let make = move || {
                    let mut sum = Buf::copy_of(&kept);
                    add(&mut sum);
                    sum
                };
                Again { make: Rc::new(make), passes: 2 }
            }),
        }
    }
}
