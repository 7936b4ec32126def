//! Index tables and labels on the device, so that a step does not send them again.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use gnr_nn::Result;
use tch::{TchError, Tensor};

use crate::tensor::Torch;

/// The index table of a gather with J indices.
#[derive(Debug)]
pub(crate) struct Table {
    /// The indices `[J]`, 64-bit; 0 where nothing is taken.
    pub(crate) indices: Tensor,
    /// A mask `[J]`, true where nothing is taken; `None` if something is taken everywhere.
    pub(crate) absent: Option<Tensor>,
}

/// Tables by their contents, and the labels that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    gathers: RefCell<HashMap<Vec<Option<usize>>, Rc<Table>>>,
    labels: RefCell<Option<(Vec<usize>, Rc<Tensor>)>>,
}

/// Entries that the cached tables may have together; past that the cache is emptied.
const ENTRIES: usize = 1 << 24;

impl Torch {
    /// The table of a gather.
    pub(crate) fn table(&self, indices: &[Option<usize>]) -> Result<Rc<Table>> {
        let cache = &self.tables.gathers;
        if let Some(table) = cache.borrow().get(indices) {
            return Ok(table.clone());
        }
        let make = || -> Result<Table, TchError> {
            let numbers: Vec<i64> = indices.iter().map(|i| i.unwrap_or(0) as i64).collect();
            let absent: Vec<bool> = indices.iter().map(Option::is_none).collect();
            let absent =
                absent.contains(&true).then(|| self.sent(&Tensor::f_from_slice(&absent)?)).transpose()?;
            Ok(Table { indices: self.sent(&Tensor::f_from_slice(&numbers)?)?, absent })
        };
        let table = Rc::new(self.checked("gather", &[], make())?);
        let mut cache = cache.borrow_mut();
        if cache.keys().map(Vec::len).sum::<usize>() + indices.len() > ENTRIES {
            cache.clear();
        }
        cache.insert(indices.to_vec(), table.clone());
        Ok(table)
    }

    /// Labels as a tensor `[N]` of 64-bit integers.
    pub(crate) fn labels(&self, labels: &[usize]) -> Result<Rc<Tensor>> {
        let mut last = self.tables.labels.borrow_mut();
        if let Some((_, tensor)) = last.as_ref().filter(|(known, _)| known == labels) {
            return Ok(tensor.clone());
        }
        let numbers: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
        let tensor = Tensor::f_from_slice(&numbers).and_then(|t| self.sent(&t));
        let tensor = Rc::new(self.checked("cross_entropy", &[], tensor)?);
        *last = Some((labels.to_vec(), tensor.clone()));
        Ok(tensor)
    }
}
