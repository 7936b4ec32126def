//! Training a part of a model: the parameters that do not change.

use crate::{Backend, Layout, Result};

/// The frozen parameters of a model, as constants. θ is then the point of the other parameters alone, in layout order.
///
/// Frozen parameters appear in no gradient, norm, product, optimiser state or perturbation: they are no part of the
/// space. Operations on frozen parameters and data leave nothing on the tape or in the record, so layers below the
/// first learned tensor cost a forward pass only.
///
/// A BatchNorm with a frozen weight uses its running statistics in every mode, and they do not move: a frozen layer is
/// one function in training and evaluation. (PyTorch leaves this to its user, who must call `eval()` on such layers;
/// Keras does it as here.) Dropout is not affected.
#[derive(Clone, Debug)]
pub struct Frozen<B: Backend> {
    /// One slot for each parameter of the layout: its value if it is frozen.
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
    /// The frozen parameters from one tensor of the backend for each parameter; the caller has checked their number.
    pub(crate) fn of_tensors(tensors: &[B::Tensor], mask: Vec<bool>) -> Self {
        let slots =
            tensors.iter().zip(&mask).map(|(tensor, frozen)| frozen.then(|| tensor.clone())).collect();
        Self { slots, mask }
    }

    /// Whether each parameter is frozen, in layout order.
    pub fn mask(&self) -> &[bool] {
        &self.mask
    }
    /// Number of tensors that are learned.
    pub fn num_learned(&self) -> usize {
        self.mask.iter().filter(|frozen| !**frozen).count()
    }
    /// The items of the learned parameters, out of a list with one item for each parameter.
    pub fn learned<T>(&self, items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        items.into_iter().zip(&self.mask).filter(|(_, frozen)| !**frozen).map(|(item, _)| item)
    }
    /// All parameters of the model: the learned ones, and the frozen ones as `constant` converts them.
    ///
    /// # Errors
    /// When the number of learned parameters is not that of the model.
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
