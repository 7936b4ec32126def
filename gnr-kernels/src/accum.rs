//! [`Accum`]: whether a kernel replaces its output or adds to it.

/// The treatment of the old contents of a kernel's output. A replaced output may hold anything before the call, NaN
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accum {
    /// The kernel computes `out = …`.
    Replace,
    /// The kernel computes `out += …`.
    Add,
}

impl Accum {
    /// Both variants, for tests and tables.
    pub const BOTH: [Accum; 2] = [Accum::Replace, Accum::Add];

    /// Whether the kernel adds to its output.
    pub fn adds(self) -> bool {
        self == Accum::Add
    }
    /// Returns `Add` if the kernel adds anyway, or if the output already contains `terms` of this call.
    #[must_use]
    pub fn or(self, terms: bool) -> Self {
        (self.adds() || terms).into()
    }
}

impl From<bool> for Accum {
    /// Converts `true` to `Add` and `false` to `Replace`.
    fn from(adds: bool) -> Self {
        if adds { Accum::Add } else { Accum::Replace }
    }
}
