//! Data that stay on the device from one step to the next, so that they are not sent again: constants and index tables.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use dfdx::prelude::{BroadcastTo, Dtype, Rank0, Storage, Tensor, TryAdd};
use gnr_nn::Result;
use num_traits::Float;

use super::{DeviceOps, Generic, library};

/// The index table of a gather.
pub(super) struct Table<E: Dtype, D: Storage<E> + Storage<usize>> {
    /// The indices; 0 where nothing is taken.
    pub(super) indices: Tensor<(usize,), usize, D>,
    /// A mask: 0 where nothing is taken, else 1. `None` if something is taken everywhere.
    pub(super) present: Option<Tensor<(usize,), E, D>>,
}

/// Constants and tables.
pub(super) struct Kept<E: Dtype, D: Storage<E> + Storage<usize>> {
    /// The numbers 0 and 1.
    bits: OnceCell<[Tensor<Rank0, E, D>; 2]>,
    tables: RefCell<Tables<E, D>>,
}

/// Tables by their contents.
type Tables<E, D> = HashMap<Vec<Option<usize>>, Rc<Table<E, D>>>;

impl<E: Dtype, D: Storage<E> + Storage<usize>> Default for Kept<E, D> {
    fn default() -> Self {
        Self { bits: OnceCell::new(), tables: RefCell::default() }
    }
}

/// Entries that the tables may have together; past that all of them are dropped.
const ENTRIES: usize = 1 << 24;

impl<E: Dtype + Float, D: DeviceOps<E>> Generic<E, D> {
    /// A vector of equal numbers that takes the memory of one.
    pub(super) fn uniform(&self, value: f64, len: usize) -> Result<Tensor<(usize,), E, D>> {
        let zero: Tensor<Rank0, E, D> = self.device.try_zeros().map_err(library)?;
        let number = zero.try_add(Self::scalar(value)?).map_err(library)?;
        number.try_broadcast_like(&(len,)).map_err(library)
    }

    /// Vectors of zeros and of ones that take the memory of one number each.
    pub(super) fn zeros_and_ones(&self, len: usize) -> Result<[Tensor<(usize,), E, D>; 2]> {
        let [zero, one] = match self.kept.bits.get() {
            Some(bits) => bits,
            None => {
                let zero: Tensor<Rank0, E, D> = self.device.try_zeros().map_err(library)?;
                let one = zero.clone().try_add(E::one()).map_err(library)?;
                self.kept.bits.get_or_init(|| [zero, one])
            }
        };
        let wide = |number: &Tensor<Rank0, E, D>| {
            number.clone().try_broadcast_like::<_, dfdx::prelude::Axis<0>>(&(len,)).map_err(library)
        };
        Ok([wide(zero)?, wide(one)?])
    }

    /// The table of a gather.
    pub(super) fn table(&self, indices: &[Option<usize>]) -> Result<Rc<Table<E, D>>> {
        if let Some(table) = self.kept.tables.borrow().get(indices) {
            return Ok(Rc::clone(table));
        }
        let shape = (indices.len(),);
        let numbers = indices.iter().map(|index| index.unwrap_or(0)).collect();
        let numbers = self.device.try_tensor_from_vec(numbers, shape).map_err(library)?;
        let bit = |index: &Option<usize>| if index.is_some() { E::one() } else { E::zero() };
        let bits = || self.device.try_tensor_from_vec(indices.iter().map(bit).collect(), shape);
        let present = indices.contains(&None).then(bits).transpose().map_err(library)?;
        let table = Rc::new(Table { indices: numbers, present });
        let mut tables = self.kept.tables.borrow_mut();
        if tables.keys().map(Vec::len).sum::<usize>() + indices.len() > ENTRIES {
            tables.clear();
        }
        tables.insert(indices.to_vec(), Rc::clone(&table));
        Ok(table)
    }
}
