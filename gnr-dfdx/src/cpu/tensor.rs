//! Tensors of the CPU backend: shared data, a shape, and for tracked ones the place of their adjoint.

use std::{
    cell::{RefCell, RefMut},
    fmt,
    marker::PhantomData,
    rc::Rc,
    sync::Arc,
};

use dfdx::prelude::Cpu as Device;
use gnr_nn::{Error, Result};

use super::{
    buffer::Buf,
    kernels::{elem::Elem, elementwise},
};
use crate::tape::{SharedTape, WeakTape};

/// The error of dfdx's CPU device, the only one a backward closure can have.
pub(crate) type DeviceError = <Device as dfdx::prelude::HasErr>::Err;

/// Makes values that are cheaper to compute than to hold, the same bits each time.
pub(super) struct Again<E: Elem> {
    make: Rc<dyn Fn() -> Buf<E>>,
    passes: usize,
}

impl<E: Elem> Again<E> {
    /// Values that are made of others which must themselves be made again take as many passes as these and one more; beyond this
    /// they are better held.
    const MOST_PASSES: usize = 2;

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

/// A row-major tensor of run-time shape. Cloning shares the data; arithmetic in place copies it first when it is shared.
#[derive(Clone)]
pub struct Tensor<E: Elem> {
    pub(super) data: Arc<Buf<E>>,
    pub(super) shape: Rc<[usize]>,
    pub(super) node: Option<Rc<Node<E>>>,
    /// How to make the data again, for operations that would otherwise hold it until their reverse step.
    pub(super) again: Option<Again<E>>,
}

/// A tracked tensor's place in the reverse pass.
///
/// The first writer of the adjoint fills it by assignment (no zero fill), and the consumer takes it away (memory is freed as the pass
/// runs). So it stands here rather than in dfdx's gradients, which hold vectors from the system's allocator.
pub(super) struct Node<E: Elem> {
    /// Weak, since closures on the tape hold nodes.
    pub(super) tape: WeakTape<E, Device>,
    adjoint: RefCell<Option<Buf<E>>>,
    /// What is known of the adjoint, until something else is added to it.
    known: RefCell<Known<E>>,
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
    fn then(self, add: impl Fn(&mut [E]) + 'static) -> Option<Again<E>> {
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

impl<E: Elem> Node<E> {
    pub(super) fn new(tape: &SharedTape<E, Device>) -> Rc<Self> {
        Rc::new(Self {
            tape: tape.downgrade(),
            adjoint: RefCell::default(),
            known: RefCell::new(Known::Nothing),
        })
    }
}

impl<E: Elem> Tensor<E> {
    /// An untracked tensor; `data` must have as many elements as `shape`.
    pub(super) fn new(data: Buf<E>, shape: &[usize]) -> Self {
        debug_assert_eq!(data.len(), shape.iter().product::<usize>());
        Self { data: Arc::new(data), shape: shape.into(), node: None, again: None }
    }
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The elements, row-major.
    pub fn as_slice(&self) -> &[E] {
        &self.data
    }
    /// Whether derivatives with respect to it are being recorded.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }
    /// The same values without history.
    pub(super) fn detached(&self) -> Self {
        Self { node: None, ..self.clone() }
    }
    /// The elements for arithmetic in place, without history afterwards; `None` when others share them.
    pub(super) fn own_values(&mut self) -> Option<&mut [E]> {
        (self.node, self.again) = (None, None);
        Arc::get_mut(&mut self.data).map(|data| &mut **data)
    }
    /// The elements for arithmetic in place: copied first when shared, and without history afterwards.
    pub(super) fn values_mut(&mut self) -> &mut [E] {
        (self.node, self.again) = (None, None);
        let data: &mut Buf<E> = Arc::make_mut(&mut self.data);
        data
    }
    /// The values, for a step of the reverse pass.
    pub(super) fn held(&self) -> Held<E> {
        match &self.again {
            Some(again) => Held::Again(again.clone()),
            None => Held::Data(Arc::clone(&self.data)),
        }
    }
    /// Where its adjoint goes, if it is tracked.
    pub(super) fn target(&self) -> Option<Target<E>> {
        self.node.as_ref().map(|node| Target { node: Rc::clone(node), len: self.data.len() })
    }
}

impl<E: Elem> fmt::Debug for Tensor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.data[..self.data.len().min(8)];
        f.debug_struct("Tensor")
            .field("shape", &self.shape)
            .field("head", &head)
            .field("tracked", &self.is_tracked())
            .finish()
    }
}

/// Checks that two tensors have equal shapes.
pub(super) fn same_shape<E: Elem>(op: &'static str, a: &Tensor<E>, b: &Tensor<E>) -> Result<()> {
    if a.shape == b.shape {
        Ok(())
    } else {
        Err(Error::ShapeMismatch { op, lhs: a.shape.to_vec(), rhs: b.shape.to_vec() })
    }
}

/// An image tensor's `[N, C, H, W]`.
pub(super) fn image<E: Elem>(op: &'static str, x: &Tensor<E>) -> Result<[usize; 4]> {
    (&x.shape[..]).try_into().map_err(|_| Error::InvalidShape {
        op,
        expected: "[N, C, H, W]".into(),
        found: x.shape.to_vec(),
    })
}

/// Where the adjoint of an operand goes.
pub(super) struct Target<E: Elem> {
    node: Rc<Node<E>>,
    len: usize,
}

/// An adjoint taken away, and what was known of it.
pub(super) type Taken<E> = (Buf<E>, Known<E>);

/// Access to the adjoints of a reverse pass under way. Nothing is written for operands that are not tracked. Its methods return what
/// operations on the tape return; none of them fails.
pub(super) struct Adjoints<E: Elem>(PhantomData<E>);

impl<E: Elem> Adjoints<E> {
    /// For an operation that the tape runs.
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
    /// A node's adjoint; writing it ends what was known of it.
    fn slot<'n>(&mut self, node: &'n Node<E>) -> RefMut<'n, Option<Buf<E>>> {
        *node.known.borrow_mut() = Known::Nothing;
        node.adjoint.borrow_mut()
    }
    /// Takes a node's adjoint away; `None` when nobody wrote one, that is, when it is zero.
    pub(super) fn take(&mut self, node: &Node<E>) -> Result<Option<Buf<E>>, DeviceError> {
        Ok(self.slot(node).take())
    }
    /// The same, with what is known of it.
    pub(super) fn take_with(&mut self, node: &Node<E>) -> Result<Option<Taken<E>>, DeviceError> {
        let known = node.known.replace(Known::Nothing);
        Ok(self.take(node)?.map(|adjoint| (adjoint, known)))
    }
    /// Takes out what is there of an operand's adjoint (`true`), or a buffer for it (`false`), to be given back with [`add`](Self::add);
    /// `None` when it is not tracked.
    pub(super) fn take_for(
        &mut self,
        target: &Option<Target<E>>,
    ) -> Result<Option<(Buf<E>, bool)>, DeviceError> {
        let Some(Target { node, len }) = target else { return Ok(None) };
        Ok(Some(match self.take(node)? {
            Some(buffer) => (buffer, true),
            None => (Buf::new(*len), false),
        }))
    }
    /// Lets a kernel write (`false`) or accumulate (`true`) straight into an adjoint.
    pub(super) fn write(
        &mut self,
        target: &Option<Target<E>>,
        kernel: impl FnOnce(&mut [E], bool),
    ) -> Result<(), DeviceError> {
        if let Some(Target { node, len }) = target {
            match &mut *self.slot(node) {
                Some(adjoint) => kernel(adjoint, true),
                vacant => kernel(vacant.insert(Buf::new(*len)), false),
            }
        }
        Ok(())
    }
    /// [`write`](Self::write) of a kernel that `again` does, too, for whoever would keep the adjoint.
    pub(super) fn write_again(
        &mut self,
        target: &Option<Target<E>>,
        again: impl Fn(&mut [E], bool) + 'static,
        kernel: impl FnOnce(&mut [E], bool),
    ) -> Result<(), DeviceError> {
        let Some(Target { node, len }) = target else { return Ok(()) };
        let (before, len) = (node.known.replace(Known::Nothing), *len);
        let mut first = false;
        self.write(target, |out, accumulate| {
            first = !accumulate;
            kernel(out, accumulate);
        })?;
        let again = if first {
            Some(Again::new(move || {
                let mut out = Buf::new(len);
                again(&mut out, false);
                out
            }))
        } else {
            before.then(move |out| again(out, true))
        };
        if let Some(again) = again {
            *node.known.borrow_mut() = Known::Again(again);
        }
        Ok(())
    }
    /// The adjoint of a sum to both its operands.
    pub(super) fn add_to_both(
        &mut self,
        targets: [&Option<Target<E>>; 2],
        (adjoint, known): Taken<E>,
    ) -> Result<(), DeviceError> {
        // Those of which it is the whole adjoint so far.
        let alone: Vec<_> = (targets.into_iter().flatten())
            .filter(|target| target.node.adjoint.borrow().is_none())
            .map(|target| Rc::clone(&target.node))
            .collect();
        match targets {
            [a, None] => self.add(a, adjoint)?,
            [a, b] => {
                self.add_copy(a, &adjoint)?;
                self.add(b, adjoint)?;
            }
        }
        let same = matches!(targets, [Some(a), Some(b)] if Rc::ptr_eq(&a.node, &b.node));
        let known = match known {
            Known::Nothing => Known::Shared(Rc::default()),
            known => known,
        };
        for node in alone.iter().filter(|_| !same) {
            *node.known.borrow_mut() = known.clone();
        }
        Ok(())
    }
    /// Adds a buffer, moving it when it is the first.
    pub(super) fn add(&mut self, target: &Option<Target<E>>, adjoint: Buf<E>) -> Result<(), DeviceError> {
        if let Some(Target { node, .. }) = target {
            match &mut *self.slot(node) {
                Some(sum) => elementwise::add_assign(sum, &adjoint),
                vacant => *vacant = Some(adjoint),
            }
        }
        Ok(())
    }
    /// Adds a copy.
    pub(super) fn add_copy(&mut self, target: &Option<Target<E>>, adjoint: &[E]) -> Result<(), DeviceError> {
        self.write(target, |out, accumulate| {
            if accumulate {
                elementwise::add_assign(out, adjoint);
            } else {
                elementwise::copy(out, adjoint);
            }
        })
    }
}
