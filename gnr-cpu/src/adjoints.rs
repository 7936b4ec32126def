//! The adjoints of a reverse pass: where each is stored, how a record retains it, and how operations write it.

use gnr_kernels::Accum;
use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    sync::Arc,
};

use gnr_kernels::{buffer::Buf, elem::Elem, elementwise};

use super::{
    tape::{Tape, WeakTape},
    value::{OpId, Recompute, Retention, Value},
};

/// The place of a tracked tensor's adjoint in the reverse pass.
///
/// The first writer assigns the adjoint, so it is not filled with zeros before. The operation that computed the tensor
/// takes the adjoint away, so memory is released while the pass runs.
pub(super) struct Node<E: Elem> {
    /// Weak, because steps on the tape own nodes.
    pub(super) tape: WeakTape,
    adjoint: RefCell<Option<Buf<E>>>,
    /// How a record would retain the adjoint. Each write resets it to `Values`: no single `Recompute` gives a sum of
    /// two contributions.
    retention: RefCell<Retention<E>>,
    /// In a replay, the operation that computes the adjoint of the gradient pass as a by-product, if that adjoint is
    /// not in memory.
    by_product_of: RefCell<Option<OpId>>,
    /// The adjoint of the gradient pass, once the operation in `by_product_of` has computed it.
    by_product: RefCell<Option<Arc<Buf<E>>>>,
}

/// An adjoint taken from its node, and how a record would retain it.
pub(super) type Taken<E> = (Buf<E>, Retention<E>);

impl<E: Elem> Node<E> {
    pub(super) fn new(tape: &Tape) -> Rc<Self> {
        Rc::new(Self {
            tape: tape.downgrade(),
            adjoint: RefCell::default(),
            retention: RefCell::new(Retention::Values),
            by_product_of: RefCell::default(),
            by_product: RefCell::default(),
        })
    }
    /// Takes the adjoint away; `None` if nobody wrote one, which means that it is zero.
    pub(super) fn take(&self) -> Option<Buf<E>> {
        self.slot().take()
    }
    /// Takes the adjoint away, together with how a record would retain it.
    pub(super) fn take_with_retention(&self) -> Option<Taken<E>> {
        let retention = self.retention.replace(Retention::Values);
        self.take().map(|adjoint| (adjoint, retention))
    }
    /// Declares how the record retains the adjoint of the gradient pass. Operations that can compute it as a by-product
    /// then know whether they should.
    pub(super) fn expect_by_product(&self, retained: Option<&Value<E>>) {
        *self.by_product_of.borrow_mut() =
            retained.and_then(Value::recompute).and_then(Recompute::operation).cloned();
    }
    /// Takes the adjoint of the gradient pass, if an operation computed it as a by-product.
    pub(super) fn take_by_product(&self) -> Option<Arc<Buf<E>>> {
        self.by_product.borrow_mut().take()
    }
    /// Gives access to the adjoint, and forgets how it could be recomputed, because the caller changes it.
    fn slot(&self) -> RefMut<'_, Option<Buf<E>>> {
        *self.retention.borrow_mut() = Retention::Values;
        self.adjoint.borrow_mut()
    }
}

/// The destination of an operand's adjoint: none if the operand is not tracked.
pub(super) struct Target<E: Elem>(Option<Place<E>>);

#[derive(Clone)]
struct Place<E: Elem> {
    node: Rc<Node<E>>,
    len: usize,
}

impl<E: Elem> Target<E> {
    /// The target of an operand with `len` elements.
    pub(super) fn new(node: Option<&Rc<Node<E>>>, len: usize) -> Self {
        Self(node.map(|node| Place { node: Rc::clone(node), len }))
    }
    /// Whether the operand is tracked.
    pub(super) fn is_tracked(&self) -> bool {
        self.0.is_some()
    }
    /// Number of elements of the adjoint; 0 if the operand is not tracked.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |place| place.len)
    }
    /// Lets a kernel write a term of the adjoint. The first term replaces the buffer's contents; further terms are
    /// added.
    pub(super) fn write(&self, kernel: impl FnOnce(&mut [E], Accum)) {
        if let Some(Place { node, len }) = &self.0 {
            match &mut *node.slot() {
                Some(adjoint) => kernel(adjoint, Accum::Add),
                vacant => kernel(vacant.insert(Buf::new(*len)), Accum::Replace),
            }
        }
    }
    /// Does the work of [`write`](Self::write). If this is the first contribution, a record can keep `recompute`
    /// instead of the values, and the replay of `operation` can also compute them as a by-product. A later write drops
    /// `recompute`.
    pub(super) fn write_recomputable(
        &self,
        operation: Option<&OpId>,
        recompute: impl FnOnce() -> Option<Recompute<E>>,
        kernel: impl FnOnce(&mut [E], Accum),
    ) {
        let Some(Place { node, .. }) = &self.0 else { return };
        let mut whole = false;
        self.write(|out, accum| {
            whole = !accum.adds();
            kernel(out, accum);
        });
        if let Some(recompute) = whole.then(recompute).flatten() {
            *node.retention.borrow_mut() = Retention::Recompute(recompute.by_product_of(operation.cloned()));
        }
    }
    /// Adds a buffer, which becomes the adjoint if it is the first term.
    pub(super) fn add(&self, term: Buf<E>) {
        if let Some(Place { node, .. }) = &self.0 {
            match &mut *node.slot() {
                Some(sum) => elementwise::add_assign(sum, &term),
                vacant => *vacant = Some(term),
            }
        }
    }
    /// Adds a copy of a term.
    pub(super) fn add_copy(&self, term: &[E]) {
        self.write(|out, accum| {
            if accum.adds() {
                elementwise::add_assign(out, term);
            } else {
                elementwise::copy(out, term);
            }
        });
    }
    /// Takes away the adjoint so far (to add to), or a new buffer (to replace); `None` if the operand is not tracked.
    /// The caller must return it with [`add`](Self::add).
    pub(super) fn take(&self) -> Option<(Buf<E>, Accum)> {
        let Place { node, len } = self.0.as_ref()?;
        Some(match node.take() {
            Some(buffer) => (buffer, Accum::Add),
            None => (Buf::new(*len), Accum::Replace),
        })
    }
    /// In a replay, a buffer for the operand's adjoint in the gradient pass, to be returned with
    /// [`give_by_product`](Self::give_by_product). `None` unless the operation that computed the operand needs this
    /// adjoint and can have it as a by-product of `operation`.
    pub(super) fn by_product_buffer(&self, operation: &OpId) -> Option<Buf<E>> {
        let Place { node, len } = self.0.as_ref()?;
        (node.by_product_of.borrow().as_ref() == Some(operation)).then(|| Buf::new(*len))
    }
    /// Stores the by-product in the operand's node.
    pub(super) fn give_by_product(&self, by_product: Option<Buf<E>>) {
        if let (Some(place), Some(by_product)) = (&self.0, by_product) {
            *place.node.by_product.borrow_mut() = Some(Arc::new(by_product));
        }
    }
}

/// Adds the adjoint of a sum to both operands.
pub(super) fn add_to_both<E: Elem>([a, b]: [&Target<E>; 2], (adjoint, retention): Taken<E>) {
    // Nodes without an earlier contribution: their adjoint equals that of the sum, until another term is added.
    let whole: Vec<_> = ([a, b].into_iter().filter_map(|target| target.0.as_ref()))
        .filter(|place| place.node.adjoint.borrow().is_none())
        .map(|place| Rc::clone(&place.node))
        .collect();
    if b.is_tracked() {
        a.add_copy(&adjoint);
        b.add(adjoint);
    } else {
        a.add(adjoint);
    }
    if let (Some(a), Some(b)) = (&a.0, &b.0)
        && Rc::ptr_eq(&a.node, &b.node)
    {
        return;
    }
    let retention = match retention {
        Retention::Values => Retention::Shared(Rc::default()),
        retention => retention,
    };
    for node in whole {
        *node.retention.borrow_mut() = retention.clone();
    }
}
