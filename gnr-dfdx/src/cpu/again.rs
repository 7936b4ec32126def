//! Values that are made again instead of being held: the same kernel on the same operands gives the same bits.
//!
//! A record holds the inputs of normalisations and activations anyway, so their outputs, and adjoints that follow from others that
//! are held, cost a pass over memory instead of memory; where the kernel that reads them takes maps piece by piece
//! ([`Values`]), not even that.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Weak},
};

use super::{
    buffer::Buf,
    kernels::{
        elem::Elem,
        made::{self, MakeMaps, Values},
    },
};

/// Makes values that are cheaper to compute than to hold, the same bits each time.
pub(super) struct Again<E: Elem> {
    how: How<E>,
    passes: usize,
    maker: Option<Maker>,
}

/// An operation whose replay can make an adjoint of its operand, that of the gradient pass, along the way: cheaper than making it again.
#[derive(Clone, Default)]
pub(super) struct Maker(Rc<()>);

impl PartialEq for Maker {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

enum How<E: Elem> {
    /// All at once.
    Whole(Rc<dyn Fn() -> Buf<E>>),
    /// Maps, each piece where it is read.
    Maps(Arc<dyn MakeMaps<E>>),
}

impl<E: Elem> Again<E> {
    /// Values that are made of others which must themselves be made again take as many passes as these and one more; beyond this
    /// they are better held.
    const MOST_PASSES: usize = 3;

    /// By one pass over what is held.
    pub(super) fn new(make: impl Fn() -> Buf<E> + 'static) -> Self {
        Self { how: How::Whole(Rc::new(make)), passes: 1, maker: None }
    }
    /// Maps of `pixels` elements by one pass over what is held, after those `before`, if there are some; `None` when these are too many
    /// passes, or when those before cannot be made in pieces of such maps.
    pub(super) fn of_maps<M: MakeMaps<E> + 'static>(
        pixels: usize,
        before: Option<Self>,
        make: impl FnOnce(Option<Arc<dyn MakeMaps<E>>>) -> M,
    ) -> Option<Self> {
        let passes = Self::passes_after(&before)?;
        let before: Option<Arc<dyn MakeMaps<E>>> = match before.map(|before| before.how) {
            Some(How::Maps(maps)) if maps.pixels() == pixels => Some(maps),
            Some(How::Whole(_) | How::Maps(_)) => return None,
            None => None,
        };
        Some(Self { how: How::Maps(Arc::new(make(before))), passes, maker: None })
    }
    /// The same, known to be what the replay of an operation makes along the way, if there is one that does.
    pub(super) fn by(self, maker: Option<Maker>) -> Self {
        Self { maker, ..self }
    }
    /// The operation whose replay makes the values along the way, if there is one.
    pub(super) fn maker(&self) -> Option<&Maker> {
        self.maker.as_ref()
    }
    fn passes_after(before: &Option<Self>) -> Option<usize> {
        let passes = before.as_ref().map_or(0, |before| before.passes) + 1;
        (passes <= Self::MOST_PASSES).then_some(passes)
    }
    /// The values.
    pub(super) fn make(&self) -> Buf<E> {
        match &self.how {
            How::Whole(make) => make(),
            How::Maps(maps) => made::all(&**maps),
        }
    }
    /// Whether one pass makes them piece by piece, so that making them wherever they are read costs next to nothing.
    pub(super) fn is_light(&self) -> bool {
        self.passes == 1 && self.maps().is_some()
    }
    /// How they are made piece by piece, if they can be.
    pub(super) fn maps(&self) -> Option<&Arc<dyn MakeMaps<E>>> {
        match &self.how {
            How::Maps(maps) => Some(maps),
            How::Whole(_) => None,
        }
    }
}

impl<E: Elem> Clone for Again<E> {
    fn clone(&self) -> Self {
        let how = match &self.how {
            How::Whole(make) => How::Whole(Rc::clone(make)),
            How::Maps(maps) => How::Maps(Arc::clone(maps)),
        };
        Self { how, passes: self.passes, maker: self.maker.clone() }
    }
}

/// Values that a step of the reverse pass needs: held, or made when it runs.
#[derive(Clone)]
pub(super) enum Held<E: Elem> {
    /// In memory.
    Data(Arc<Buf<E>>),
    /// Made at each use.
    Again(Again<E>),
    /// By somebody else, or made.
    Elsewhere(Weak<Buf<E>>, Again<E>),
}

impl<E: Elem> Held<E> {
    /// The values.
    pub(super) fn get(&self) -> Arc<Buf<E>> {
        match self {
            Self::Data(data) => Arc::clone(data),
            Self::Again(again) => Arc::new(again.make()),
            Self::Elsewhere(data, again) => data.upgrade().unwrap_or_else(|| Arc::new(again.make())),
        }
    }
    /// The same, in memory unless a kernel that takes maps piece by piece (`streams`) makes them itself.
    pub(super) fn ready(&self, streams: bool) -> Ready<E> {
        match self {
            Self::Again(Again { how: How::Maps(maps), .. }) if streams => Ready::Maps(Arc::clone(maps)),
            other => Ready::Data(other.get()),
        }
    }
    /// The operation whose replay makes them along the way, if they are not held and there is one.
    pub(super) fn maker(&self) -> Option<&Maker> {
        match self {
            Self::Data(_) | Self::Elsewhere(..) => None,
            Self::Again(again) => again.maker(),
        }
    }
    /// How they are made, if they are not held.
    pub(super) fn again(&self) -> Option<Again<E>> {
        match self {
            Self::Data(_) | Self::Elsewhere(..) => None,
            Self::Again(again) => Some(again.clone()),
        }
    }
}

/// Held values for the kernels of one step.
pub(super) enum Ready<E: Elem> {
    Data(Arc<Buf<E>>),
    Maps(Arc<dyn MakeMaps<E>>),
}

impl<E: Elem> Ready<E> {
    pub(super) fn values(&self) -> Values<'_, E> {
        match self {
            Self::Data(data) => Values::Whole(data),
            Self::Maps(maps) => Values::Made(&**maps),
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
}
