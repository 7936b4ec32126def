//! [`Accum`]: whether a kernel replaces its output or adds to it.

/// Whether a kernel replaces its output or adds to it. An output that is replaced may hold anything before, NaN included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accum {
    /// `out = …`
    Replace,
    /// `out += …`
    Add,
}

impl Accum {
    /// Both, for tests and tables.
    pub const BOTH: [Accum; 2] = [Accum::Replace, Accum::Add];

    /// Whether the kernel adds.
    pub fn adds(self) -> bool {
        self == Accum::Add
    }
    /// Adds also where the output has terms of this call already.
    #[must_use]
    pub fn or(self, terms: bool) -> Self {
        (self.adds() || terms).into()
    }
}

impl From<bool> for Accum {
    /// `true` adds.
    fn from(adds: bool) -> Self {
        if adds { Accum::Add } else { Accum::Replace }
    }
}
