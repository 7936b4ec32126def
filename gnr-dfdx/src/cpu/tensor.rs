//! Tensors of the CPU backend: shared data, a shape, and for tracked ones the key of their adjoint in dfdx's gradients.

use std::{cell::RefCell, fmt, rc::Rc, sync::Arc};

use dfdx::prelude::{Cpu as Device, Gradients, NoneTape, ZerosTensor};
use gnr_nn::{Error, Result};

use super::{
    buffer::Buf,
    kernels::{elem::Elem, elementwise},
};
use crate::tape::{SharedTape, WeakTape};

/// The error of dfdx's CPU device, the only one a backward closure can have.
pub(crate) type DeviceError = <Device as dfdx::prelude::HasErr>::Err;

/// Makes values that are cheaper to compute than to hold, the same bits each time.
pub(super) type Again<E> = Rc<dyn Fn() -> Buf<E>>;

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
            Self::Again(again) => Arc::new(again()),
        }
    }
    /// How they are made, if they are not held.
    pub(super) fn again(&self) -> Option<Again<E>> {
        match self {
            Self::Data(_) => None,
            Self::Again(again) => Some(Rc::clone(again)),
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
/// The key is a *zero-length* dfdx tensor: its entry in dfdx's [`Gradients`] starts as an empty `Vec`, which the first writer of
/// the adjoint fills by assignment (no zero fill) and the consumer takes away (memory is freed as the pass runs).
pub(super) struct Node<E: Elem> {
    key: dfdx::prelude::Tensor<(usize,), E, Device, NoneTape>,
    /// Weak, since closures on the tape hold nodes.
    pub(super) tape: WeakTape<E, Device>,
    /// How to make the adjoint again, while a single operation has written it.
    again: RefCell<Option<Again<E>>>,
}

impl<E: Elem> Node<E> {
    pub(super) fn new(device: &Device, tape: &SharedTape<E, Device>) -> Rc<Self> {
        Rc::new(Self {
            key: device.zeros_like(&(0_usize,)),
            tape: tape.downgrade(),
            again: RefCell::new(None),
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
            Some(again) => Held::Again(Rc::clone(again)),
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

/// An adjoint taken away, and how to make it again where that is known.
pub(super) type Taken<E> = (Buf<E>, Option<Again<E>>);

/// The adjoints of a reverse pass under way. Nothing is written for operands that are not tracked.
pub(super) struct Adjoints<'g, E: Elem>(pub(super) &'g mut Gradients<E, Device>);

impl<E: Elem> Adjoints<'_, E> {
    /// A node's adjoint; writing it ends what was known about making it again.
    fn slot(&mut self, node: &Node<E>) -> Result<&mut Vec<E>, DeviceError> {
        *node.again.borrow_mut() = None;
        Ok(&mut **self.0.get_or_alloc_mut(&node.key)?)
    }
    /// Takes a node's adjoint away; `None` when nobody wrote one, that is, when it is zero.
    pub(super) fn take(&mut self, node: &Node<E>) -> Result<Option<Buf<E>>, DeviceError> {
        Ok(self.take_with(node)?.map(|(adjoint, _)| adjoint))
    }
    /// The same, with how to make it again where that is known.
    pub(super) fn take_with(&mut self, node: &Node<E>) -> Result<Option<Taken<E>>, DeviceError> {
        let again = node.again.take();
        let adjoint = std::mem::take(self.slot(node)?);
        Ok((!adjoint.is_empty()).then(|| (Buf::from(adjoint), again)))
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
            let slot = self.slot(node)?;
            if slot.is_empty() {
                *slot = Buf::new(*len).into_vec();
                kernel(slot, false);
            } else {
                kernel(slot, true);
            }
        }
        Ok(())
    }
    /// [`write`](Self::write) of a kernel whose result `again` makes too, for whoever would keep the adjoint; forgotten when it is not the
    /// only one that writes.
    pub(super) fn write_again(
        &mut self,
        target: &Option<Target<E>>,
        again: Again<E>,
        kernel: impl FnOnce(&mut [E], bool),
    ) -> Result<(), DeviceError> {
        let mut alone = false;
        self.write(target, |out, accumulate| {
            alone = !accumulate;
            kernel(out, accumulate);
        })?;
        if let (true, Some(Target { node, .. })) = (alone, target) {
            *node.again.borrow_mut() = Some(again);
        }
        Ok(())
    }
    /// Adds a buffer, moving it when it is the first.
    pub(super) fn add(&mut self, target: &Option<Target<E>>, adjoint: Buf<E>) -> Result<(), DeviceError> {
        if let Some(Target { node, .. }) = target {
            let slot = self.slot(node)?;
            if slot.is_empty() {
                *slot = adjoint.into_vec();
            } else {
                elementwise::add_assign(slot, &adjoint);
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
