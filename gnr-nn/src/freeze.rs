//! Training a part of a model: the parameters that stay as they are.

use crate::{Backend, Layout, Result};

/// The frozen parameters of a model, as constants. θ is then the point of the others alone, in layout order.
///
/// What is frozen is in no gradient, norm, product, optimiser state or perturbation: it is not part of the space.
/// Operations on frozen parameters and data leave no trace on the tape and in the record, so layers below the first
/// learned tensor cost a forward pass and nothing else.
///
/// A BatchNorm whose weight is frozen runs on its running statistics in every mode, and they do not move: a frozen
/// layer is the same function in training as in evaluation. (PyTorch leaves this to its user, who must call `eval()` on
/// such layers; Keras does the same as we do.) Dropout is not touched.
#[derive(Clone, Debug)]
pub struct Frozen<B: Backend> {
    /// One slot a parameter of the layout: its value if it is frozen.
    slots: Vec<Option<B::Tensor>>,
    mask: Vec<bool>,
}

impl<B: Backend> Frozen<B> {
    /// Freezes the parameters that `mask` marks at `values`; both have one item a parameter, in layout order.
    ///
    /// # Errors
    /// When the numbers do not fit the layout, or every parameter is frozen.
    pub fn new(backend: &B, layout: &Layout, values: &[Vec<f64>], mask: &[bool]) -> Result<Self> {
        let count = layout.num_parameter_tensors();
        if values.len() != count || mask.len() != count {
            let (values, mask) = (values.len(), mask.len());
            return Err(crate::Error::Invalid(format!(
                "{values} parameter tensors and {mask} marks given, the model has {count}"
            )));
        }
        if mask.iter().all(|frozen| *frozen) {
            return Err(crate::Error::Invalid("every parameter is frozen: nothing is left to learn".into()));
        }
        let slots = (layout.parameters().zip(values).zip(mask))
            .map(|((entry, values), frozen)| {
                frozen.then(|| backend.constant(values, &entry.shape)).transpose()
            })
            .collect::<Result<_>>()?;
        Ok(Self { slots, mask: mask.to_vec() })
    }
    /// The frozen parameters from tensors of the backend, one a parameter; the caller has checked their number.
    pub(crate) fn of_tensors(tensors: &[B::Tensor], mask: Vec<bool>) -> Self {
        let slots =
            tensors.iter().zip(&mask).map(|(tensor, frozen)| frozen.then(|| tensor.clone())).collect();
        Self { slots, mask }
    }

    /// Which parameters are frozen, in layout order.
    pub fn mask(&self) -> &[bool] {
        &self.mask
    }
    /// Number of learned tensors.
    pub fn num_learned(&self) -> usize {
        self.mask.iter().filter(|frozen| !**frozen).count()
    }
    /// What of a list with one item a parameter belongs to the learned ones.
    pub fn learned<T>(&self, items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        items.into_iter().zip(&self.mask).filter(|(_, frozen)| !**frozen).map(|(item, _)| item)
    }
    /// All parameters of the model: the learned ones, and the frozen ones as `constant` makes them.
    ///
    /// # Errors
    /// When there are not as many learned ones as the model has.
    pub fn assemble<T>(&self, learned: Vec<T>, constant: impl Fn(&B::Tensor) -> T) -> Result<Vec<T>> {
        let (expected, found) = (self.num_learned(), learned.len());
        if expected != found {
            let message = format!("{found} learned tensors given, the model has {expected}");
            return Err(crate::Error::Invalid(message));
        }
        let mut learned = learned.into_iter();
        Ok((self.slots.iter())
            .filter_map(|slot| slot.as_ref().map(&constant).or_else(|| learned.next()))
            .collect())
    }
}
