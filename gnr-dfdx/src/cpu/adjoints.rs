//! The adjoints of a reverse pass: where each stands, what is known of it, and how operations reach it.

use std::{
    cell::{RefCell, RefMut},
    marker::PhantomData,
    rc::Rc,
    sync::Arc,
};

use dfdx::prelude::Cpu as Device;

use super::{
    again::{Again, Held, Known, Maker},
    buffer::Buf,
    kernels::{elem::Elem, elementwise},
};
use crate::tape::{SharedTape, WeakTape};

/// The error of dfdx's CPU device, the only one a backward closure can have.
pub(crate) type DeviceError = <Device as dfdx::prelude::HasErr>::Err;

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
    /// In a replay, what makes the adjoint of the gradient pass along the way, when that is not held …
    maker: RefCell<Option<Maker>>,
    /// … and that adjoint, once it did.
    first: RefCell<Option<Arc<Buf<E>>>>,
}

impl<E: Elem> Node<E> {
    pub(super) fn new(tape: &SharedTape<E, Device>) -> Rc<Self> {
        Rc::new(Self {
            tape: tape.downgrade(),
            adjoint: RefCell::default(),
            known: RefCell::new(Known::Nothing),
            maker: RefCell::default(),
            first: RefCell::default(),
        })
    }
    /// Says how the adjoint of the gradient pass is held, for operations that might make it along the way.
    pub(super) fn expect(&self, held: Option<&Held<E>>) {
        *self.maker.borrow_mut() = held.and_then(Held::maker).cloned();
    }
    /// The adjoint of the gradient pass, if an operation made it along the way.
    pub(super) fn take_first(&self) -> Option<Arc<Buf<E>>> {
        self.first.borrow_mut().take()
    }
}

/// Where the adjoint of an operand goes.
pub(super) struct Target<E: Elem> {
    pub(super) node: Rc<Node<E>>,
    pub(super) len: usize,
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
    /// [`write`](Self::write), for whoever would keep the adjoint with a way to make it `again`, where it is all of it. With a `maker`, its
    /// replay makes it along the way.
    pub(super) fn write_again(
        &mut self,
        target: &Option<Target<E>>,
        maker: Option<&Maker>,
        again: impl FnOnce() -> Option<Again<E>>,
        kernel: impl FnOnce(&mut [E], bool),
    ) -> Result<(), DeviceError> {
        let Some(Target { node, .. }) = target else { return Ok(()) };
        let mut first = false;
        self.write(target, |out, accumulate| {
            first = !accumulate;
            kernel(out, accumulate);
        })?;
        if let Some(again) = first.then(again).flatten() {
            *node.known.borrow_mut() = Known::Again(again.by(maker.cloned()));
        }
        Ok(())
    }
    /// In a replay, a buffer for the adjoint of an operand in the gradient pass, to be given with [`give_first`](Self::give_first); `None`
    /// unless the operation that made the operand would otherwise have to make it again.
    pub(super) fn buffer_for_first(&self, target: &Option<Target<E>>, maker: &Maker) -> Option<Buf<E>> {
        let Target { node, len } = target.as_ref()?;
        (node.maker.borrow().as_ref() == Some(maker)).then(|| Buf::new(*len))
    }
    /// Gives what was asked for.
    pub(super) fn give_first(&mut self, target: &Option<Target<E>>, first: Option<Buf<E>>) {
        if let (Some(target), Some(first)) = (target, first) {
            *target.node.first.borrow_mut() = Some(Arc::new(first));
        }
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
