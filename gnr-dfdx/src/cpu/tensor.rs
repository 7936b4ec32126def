//! Tensors of the CPU backend: shared data, a shape, and for tracked ones the place of their adjoint.

use std::{fmt, rc::Rc, sync::Arc};

use gnr_nn::{Error, Result};

use super::{
    adjoints::{Node, Target},
    again::{Again, Held},
    buffer::Buf,
    kernels::elem::Elem,
};

/// A row-major tensor of run-time shape. Cloning shares the data; arithmetic in place copies it first when it is shared.
#[derive(Clone)]
pub struct Tensor<E: Elem> {
    pub(super) data: Arc<Buf<E>>,
    pub(super) shape: Rc<[usize]>,
    pub(super) node: Option<Rc<Node<E>>>,
    /// How to make the data again, for operations that would otherwise hold it until their reverse step.
    pub(super) again: Option<Again<E>>,
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
