//! The memory that opening a file may take, in proportion to the file, whatever lengths and counts it declares.

/// Bytes that may be reserved for each byte of the file while its structure is read.
const PER_BYTE: u64 = 6;
/// Bytes that any file may take. A small file may have a long list of settings without being an attack.
const CONSTANT: u64 = 1 << 20;

/// Bytes that may still be reserved.
#[derive(Clone, Debug)]
pub struct Budget {
    left: u64,
}

/// The budget does not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Budget {
    /// Makes the budget of a file of `length` bytes: 6 bytes a byte, and 1 MiB.
    pub fn of(length: u64) -> Self {
        Self { left: length.saturating_mul(PER_BYTE).saturating_add(CONSTANT) }
    }

    /// Takes `bytes` before they are reserved.
    pub fn take(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(bytes as u64).ok_or(Exhausted)?;
        Ok(())
    }

    /// Gives back `bytes` that are no longer in use.
    pub fn give(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes as u64);
    }

    /// Appends to a vector, which grows by a quarter, not by its double. Most of a budget must not be spare room.
    pub fn push<T>(&mut self, vec: &mut Vec<T>, item: T) -> Result<(), Exhausted> {
        self.reserve(vec, 1)?;
        vec.push(item);
        Ok(())
    }

    /// Makes room for `more` items. While a vector moves, the budget must cover its old and its new memory.
    pub fn reserve<T>(&mut self, vec: &mut Vec<T>, more: usize) -> Result<(), Exhausted> {
        if vec.capacity() - vec.len() < more {
            let room = more.max(vec.len() / 4 + usize::from(vec.len() > 1) * 4);
            self.take((vec.len() + room) * size_of::<T>())?;
            let old = vec.capacity() * size_of::<T>();
            vec.reserve_exact(room);
            self.give(old);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_what_was_taken() {
        let mut budget = Budget::of(0);
        let mut items: Vec<u64> = Vec::new();
        while budget.push(&mut items, 7).is_ok() {}
        assert!(items.capacity() * 8 <= CONSTANT as usize);
        // The last time, both had to have room.
        assert!(items.len() * 8 > CONSTANT as usize / 3, "{}", items.len());
    }
}
