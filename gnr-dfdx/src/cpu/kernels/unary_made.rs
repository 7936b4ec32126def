//! What the passes of an element-wise function write, made where it is read instead, row by row.

use super::elem::Elem;
use super::made::{MakeMaps, prefetch};
use super::unary::{Unary, unary, unary_first};
use crate::cpu::buffer::Buf;
use std::ops::Range;
use std::sync::Arc;

/// `f(x)`.
pub struct Value<E: Elem> {
    /// The function.
    pub f: Unary,
    /// Its argument.
    pub x: Arc<Buf<E>>,
    /// Elements of a row.
    pub row: usize,
}

impl<E: Elem> MakeMaps<E> for Value<E> {
    fn size(&self) -> usize {
        self.x.len()
    }
    fn pixels(&self) -> usize {
        self.row
    }
    fn make(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        unary(self.f, out, &self.x[i * self.row..][..self.row][range]);
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        prefetch(&self.x, i * self.row, &range);
    }
}

/// `g f'(x)`, the adjoint of x or the tangent of `f(x)`.
pub struct First<E: Elem> {
    /// The function.
    pub f: Unary,
    /// The adjoint of `f(x)`, or the tangent of x.
    pub g: Arc<Buf<E>>,
    /// The argument.
    pub x: Arc<Buf<E>>,
    /// `f(x)`, or anything of its size where the derivative needs x alone.
    pub y: Arc<Buf<E>>,
    /// Elements of a row.
    pub row: usize,
    /// What it is added to.
    pub before: Option<Arc<dyn MakeMaps<E>>>,
}

impl<E: Elem> MakeMaps<E> for First<E> {
    fn size(&self) -> usize {
        self.x.len()
    }
    fn pixels(&self) -> usize {
        self.row
    }
    fn make(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        if let Some(before) = &self.before {
            before.make(i, range.clone(), out);
        }
        let [g, x, y] =
            [&self.g, &self.x, &self.y].map(|values| &values[i * self.row..][..self.row][range.clone()]);
        unary_first(self.f, out, g, x, y, self.before.is_some());
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        for values in [&self.g, &self.x] {
            prefetch(values, i * self.row, &range);
        }
        if let Some(before) = &self.before {
            before.prefetch(i, range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::made::{Kept, all};
    use crate::cpu::kernels::testing::{noise, same_bits};

    #[test]
    fn pieces_have_the_bits_of_the_whole() {
        for row in [1, 16, 37, 768] {
            let (n, buf) = (5 * row, |seed| Arc::new(Buf::from(noise::<f32>(5 * row, seed))));
            let (x, g, r) = (buf(1), buf(2), buf(3));
            for f in [Unary::Gelu, Unary::Tanh, Unary::Relu] {
                let mut y = vec![0.0; n];
                unary(f, &mut y, &x);
                let same = |made: &dyn MakeMaps<f32>, want: &[f32]| {
                    assert!(same_bits(&all(made), want), "{f:?} {row}");
                    let range = row / 3..row;
                    let mut piece = vec![f32::NAN; range.len()];
                    made.prefetch(3, range.clone());
                    made.make(3, range.clone(), &mut piece);
                    assert!(same_bits(&piece, &want[3 * row..][range]), "{f:?} {row}");
                };
                same(&Value { f, x: Arc::clone(&x), row }, &y);
                for more in [false, true] {
                    let mut out = if more { r.to_vec() } else { vec![0.0; n] };
                    unary_first(f, &mut out, &g, &x, &y, more);
                    let kept = Kept { values: Arc::clone(&r), pixels: row };
                    let before = more.then(|| Arc::new(kept) as Arc<dyn MakeMaps<f32>>);
                    let (g, x, y) = (Arc::clone(&g), Arc::clone(&x), Arc::new(Buf::from(y.clone())));
                    same(&First { f, g, x, y, row, before }, &out);
                }
            }
        }
    }
}
