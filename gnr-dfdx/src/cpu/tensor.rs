//! Tensors of the CPU backend: shared data, a shape, and for tracked ones the place of their adjoint.

use std::{cell::OnceCell, fmt, rc::Rc, sync::Arc};

use gnr_nn::{Error, Result};

use super::{
    adjoints::{Node, Target},
    again::{Again, Held},
    buffer::Buf,
    kernels::{elem::Elem, made::Values},
};

/// A row-major tensor of run-time shape. Cloning shares the data; arithmetic in place copies it first when it is shared.
#[derive(Clone)]
pub struct Tensor<E: Elem> {
    data: Data<E>,
    pub(super) shape: Rc<[usize]>,
    pub(super) node: Option<Rc<Node<E>>>,
    /// How to make the data again, for operations that would otherwise hold it until their reverse step.
    pub(super) again: Option<Again<E>>,
}

/// Where the elements are.
#[derive(Clone)]
enum Data<E: Elem> {
    /// In memory.
    There(Arc<Buf<E>>),
    /// In memory once somebody asked for them: clones share what was made.
    Lazy(Rc<OnceCell<Arc<Buf<E>>>>, Again<E>),
}

impl<E: Elem> Tensor<E> {
    /// An untracked tensor; `data` must have as many elements as `shape`.
    pub(super) fn new(data: Buf<E>, shape: &[usize]) -> Self {
        debug_assert_eq!(data.len(), shape.iter().product::<usize>());
        Self::of(Arc::new(data), shape)
    }
    /// The same of shared data.
    pub(super) fn of(data: Arc<Buf<E>>, shape: &[usize]) -> Self {
        Self { data: Data::There(data), shape: shape.into(), node: None, again: None }
    }
    /// An untracked tensor that is made when an operation needs it whole.
    pub(super) fn lazy(again: Again<E>, shape: &[usize]) -> Self {
        let data = Data::Lazy(Rc::default(), again.clone());
        Self { data, shape: shape.into(), node: None, again: Some(again) }
    }
    /// An untracked tensor that is made when an operation needs it, and then held.
    pub(super) fn once(again: Again<E>, shape: &[usize]) -> Self {
        Self { again: None, ..Self::lazy(again, shape) }
    }
    /// An untracked tensor of values that can be made again: not made yet, when a pass over what is held makes any piece of them.
    pub(super) fn made_by(again: Again<E>, shape: &[usize]) -> Self {
        if again.is_light() {
            return Self::lazy(again, shape);
        }
        Self { again: Some(again.clone()), ..Self::new(again.make(), shape) }
    }
    /// The elements.
    pub(super) fn data(&self) -> &Arc<Buf<E>> {
        match &self.data {
            Data::There(data) => data,
            Data::Lazy(made, again) => made.get_or_init(|| Arc::new(again.make())),
        }
    }
    /// The elements, in memory unless they were not made yet and a kernel takes maps piece by piece (`streams`).
    pub(super) fn ready(&self, streams: bool) -> Values<'_, E> {
        match &self.data {
            Data::Lazy(made, again) if streams && made.get().is_none() => {
                again.maps().map_or_else(|| Values::Whole(self.data()), |maps| Values::Made(&**maps))
            }
            _ => Values::Whole(self.data()),
        }
    }
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The elements, row-major.
    pub fn as_slice(&self) -> &[E] {
        self.data()
    }
    /// Whether derivatives with respect to it are being recorded.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }
    /// The same values without history.
    pub(super) fn detached(&self) -> Self {
        self.with_node(None)
    }
    /// The same values with another history.
    pub(super) fn with_node(&self, node: Option<Rc<Node<E>>>) -> Self {
        Self { node, ..self.clone() }
    }
    /// The same values in another shape of as many.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Self {
        Self { shape: shape.into(), ..self.clone() }
    }
    /// The elements for arithmetic in place, without history afterwards; `None` when others share them.
    pub(super) fn own_values(&mut self) -> Option<&mut [E]> {
        Arc::get_mut(self.own_data()).map(|data| &mut **data)
    }
    /// The elements for arithmetic in place: copied first when shared, and without history afterwards.
    pub(super) fn values_mut(&mut self) -> &mut [E] {
        let data: &mut Buf<E> = Arc::make_mut(self.own_data());
        data
    }
    fn own_data(&mut self) -> &mut Arc<Buf<E>> {
        (self.node, self.again) = (None, None);
        if let Data::Lazy(..) = self.data {
            self.data = Data::There(Arc::clone(self.data()));
        }
        match &mut self.data {
            Data::There(data) => data,
            Data::Lazy(..) => unreachable!("replaced above"),
        }
    }
    /// The values, for a step of the reverse pass.
    pub(super) fn held(&self) -> Held<E> {
        match &self.again {
            Some(again) => Held::Again(again.clone()),
            None => Held::Data(Arc::clone(self.data())),
        }
    }
    /// Where its adjoint goes, if it is tracked.
    pub(super) fn target(&self) -> Option<Target<E>> {
        self.node.as_ref().map(|node| Target { node: Rc::clone(node), len: self.len() })
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
