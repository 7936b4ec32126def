//! Tensors of the CPU engine: values, a shape, and for tracked ones the node of their adjoint.

use std::{cell::OnceCell, fmt, rc::Rc, sync::Arc};

use gnr_kernels::{buffer::Buf, elem::Elem, operand::Operand};
use gnr_nn::{Error, Result};

use super::{
    adjoints::{Node, Target},
    value::{Recompute, Value},
};

/// A row-major tensor of run-time shape. Cloning shares the elements; arithmetic in place copies them first if they are
/// shared.
#[derive(Clone)]
pub struct Tensor<E: Elem> {
    /// How sessions hold the elements.
    value: Value<E>,
    /// The elements in memory, once an operation has needed them, if `value` itself holds none. Clones share them.
    computed: Rc<OnceCell<Arc<Buf<E>>>>,
    pub(super) shape: Rc<[usize]>,
    pub(super) node: Option<Rc<Node<E>>>,
}

impl<E: Elem> Tensor<E> {
    /// Creates an untracked tensor; `data` must have as many elements as `shape`.
    pub(super) fn new(data: Buf<E>, shape: &[usize]) -> Self {
        debug_assert_eq!(data.len(), shape.iter().product::<usize>());
        Self::of(Arc::new(data), shape)
    }
    /// Creates an untracked tensor of shared elements.
    pub(super) fn of(data: Arc<Buf<E>>, shape: &[usize]) -> Self {
        Self { value: Value::Memory(data), computed: Rc::default(), shape: shape.into(), node: None }
    }
    /// Creates an untracked tensor whose elements are computed when an operation needs them whole.
    pub(super) fn lazy(recompute: Recompute<E>, shape: &[usize]) -> Self {
        Self { value: Value::Recompute(recompute), computed: Rc::default(), shape: shape.into(), node: None }
    }
    /// Creates an untracked tensor of a value. The tensor is lazy if one pass can produce the value piece by piece.
    pub(super) fn of_value(value: &Value<E>, shape: &[usize]) -> Self {
        match value {
            Value::Memory(data) => Self::of(Arc::clone(data), shape),
            Value::Recompute(recompute) if recompute.is_light() => Self::lazy(recompute.clone(), shape),
            Value::Recompute(recompute) => {
                Self::new(recompute.run(), shape).recomputable(Some(recompute.clone()))
            }
            Value::Elsewhere(data, recompute) => match data.upgrade() {
                Some(data) => Self::of(data, shape),
                None => Self { value: value.clone(), ..Self::lazy(recompute.clone(), shape) },
            },
        }
    }
    /// Returns this tensor with elements that sessions may recompute instead of holding them.
    pub(super) fn recomputable(self, recompute: Option<Recompute<E>>) -> Self {
        let Some(recompute) = recompute else { return self };
        let computed = match &self.value {
            Value::Memory(data) => OnceCell::from(Arc::clone(data)).into(),
            Value::Recompute(_) | Value::Elsewhere(..) => self.computed,
        };
        Self { value: Value::Recompute(recompute), computed, ..self }
    }
    /// The elements, computed now if they were not before.
    pub(super) fn data(&self) -> &Arc<Buf<E>> {
        match &self.value {
            Value::Memory(data) => data,
            Value::Recompute(recompute) | Value::Elsewhere(_, recompute) => {
                self.computed.get_or_init(|| Arc::new(recompute.run()))
            }
        }
    }
    /// The elements as an operand of a kernel. Elements that were not computed yet are streamed if the kernel can take
    /// them so (`streams`) and a producer has them. All others are in memory.
    pub(super) fn operand(&self, streams: bool) -> Operand<'_, E> {
        match &self.value {
            Value::Recompute(recompute) | Value::Elsewhere(_, recompute)
                if streams && self.computed.get().is_none() =>
            {
                recompute.producer().map_or_else(|| Operand::Whole(self.data()), Operand::Streamed)
            }
            _ => Operand::Whole(self.data()),
        }
    }
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether there are no elements.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Lengths of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The elements, row-major.
    pub fn as_slice(&self) -> &[E] {
        self.data()
    }
    /// Whether derivatives with respect to this tensor are being recorded.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }
    /// Returns an untracked tensor that shares the elements.
    pub(super) fn detached(&self) -> Self {
        self.with_node(None)
    }
    /// Returns a tensor that shares the elements and has the node given.
    pub(super) fn with_node(&self, node: Option<Rc<Node<E>>>) -> Self {
        Self { node, ..self.clone() }
    }
    /// Returns a tensor that shares elements and node and has another shape of as many elements.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Self {
        Self { shape: shape.into(), ..self.clone() }
    }
    /// The elements for arithmetic in place, untracked from now on; `None` if other tensors share them.
    pub(super) fn own_values(&mut self) -> Option<&mut [E]> {
        Arc::get_mut(self.own_data()).map(|data| &mut **data)
    }
    /// The elements for arithmetic in place, copied first if they are shared; untracked from now on.
    pub(super) fn values_mut(&mut self) -> &mut [E] {
        let data: &mut Buf<E> = Arc::make_mut(self.own_data());
        data
    }
    /// Makes `value` hold the elements in memory, which other tensors may share, and ends the tracking of this tensor.
    fn own_data(&mut self) -> &mut Arc<Buf<E>> {
        self.node = None;
        if !matches!(self.value, Value::Memory(_)) {
            self.data();
            let computed = std::mem::take(&mut self.computed);
            let data = match Rc::try_unwrap(computed) {
                Ok(mut alone) => alone.take(),
                Err(shared) => shared.get().cloned(),
            };
            self.value = Value::Memory(data.unwrap_or_else(|| unreachable!("computed above")));
        }
        match &mut self.value {
            Value::Memory(data) => data,
            _ => unreachable!("replaced above"),
        }
    }
    /// The value that a step of the reverse pass or a record holds.
    pub(super) fn hold(&self) -> Value<E> {
        match &self.value {
            Value::Elsewhere(..) => Value::Memory(Arc::clone(self.data())),
            value => value.clone(),
        }
    }
    /// How the elements are recomputed, if they need not be held.
    pub(super) fn recompute(&self) -> Option<&Recompute<E>> {
        self.value.recompute()
    }
    /// The destination of this tensor's adjoint.
    pub(super) fn target(&self) -> Target<E> {
        Target::new(self.node.as_ref(), self.len())
    }
}

impl<E: Elem> fmt::Debug for Tensor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.data()[..self.len().min(8)];
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
