//! Producers of the values and derivatives of an element-wise function, row by row.

use super::elem::Elem;
use super::operand::{Producer, prefetch};
use super::unary::{Unary, unary, unary_first, unary_with_first};
use crate::Accum;
use crate::buffer::Buf;
use std::ops::Range;
use std::sync::Arc;

/// Produces the values `f(x)`.
pub struct FunctionValue<E: Elem> {
    /// The function of one variable.
    pub f: Unary,
    /// The argument x.
    pub x: Arc<Buf<E>>,
    /// Number of elements of a row.
    pub row: usize,
}

impl<E: Elem> Producer<E> for FunctionValue<E> {
    fn size(&self) -> usize {
        self.x.len()
    }
    fn pixels(&self) -> usize {
        self.row
    }
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        unary(self.f, out, &self.x[i * self.row..][..self.row][range]);
    }
    fn function(&self) -> Option<(Unary, &[E])> {
        Some((self.f, &self.x))
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        prefetch(&self.x, i * self.row, &range);
    }
}

/// Produces `g f'(x)`: the adjoint of x, or the tangent of `f(x)`.
pub struct FunctionDerivative<E: Elem> {
    /// The function of one variable.
    pub f: Unary,
    /// The adjoint of `f(x)`, or the tangent of x.
    pub g: Arc<Buf<E>>,
    /// The argument x.
    pub x: Arc<Buf<E>>,
    /// The values `f(x)`; anything of their size if the derivative needs x alone.
    pub y: Arc<Buf<E>>,
    /// Number of elements of a row.
    pub row: usize,
}

impl<E: Elem> Producer<E> for FunctionDerivative<E> {
    fn size(&self) -> usize {
        self.x.len()
    }
    fn pixels(&self) -> usize {
        self.row
    }
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        let [g, x, y] =
            [&self.g, &self.x, &self.y].map(|values| &values[i * self.row..][..self.row][range.clone()]);
        unary_first(self.f, out, g, x, y, Accum::Replace);
    }
    fn produce_with(
        &self,
        other: &dyn Producer<E>,
        i: usize,
        range: Range<usize>,
        out: &mut [E],
        other_out: &mut [E],
    ) -> bool {
        let same = other.function().is_some_and(|(f, x)| f == self.f && std::ptr::eq(x, &self.x[..]));
        if !same || other.pixels() != self.row {
            return false;
        }
        let [g, x] = [&self.g, &self.x].map(|values| &values[i * self.row..][..self.row][range.clone()]);
        unary_with_first(self.f, other_out, out, g, x)
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        for values in [&self.g, &self.x] {
            prefetch(values, i * self.row, &range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operand::materialise;
    use crate::testing::{noise, same_bits};

    /// Asserts that one evaluation gives values and tangents of one argument for GELU, and that no other pair is
    /// computed together.
    fn together(f: Unary, [x, g]: [&Arc<Buf<f32>>; 2], row: usize, want: [&[f32]; 2]) {
        let (x_, other) = (|| Arc::clone(x), Arc::new(Buf::copy_of(x)));
        let first = FunctionDerivative { f, g: Arc::clone(g), x: x_(), y: x_(), row };
        let range = row / 3..row;
        let mut out = [(); 2].map(|()| vec![f32::NAN; range.len()]);
        let [value, tangent] = &mut out;
        let mut produce_both =
            |of| first.produce_with(&FunctionValue { f, x: of, row }, 3, range.clone(), tangent, value);
        assert!(!produce_both(other));
        assert_eq!(produce_both(x_()), f == Unary::Gelu);
        assert!(!FunctionValue { f, x: x_(), row }.produce_with(&first, 3, 0..0, &mut [], &mut []));
        for (found, want) in out.iter().zip(want) {
            match f {
                Unary::Gelu => assert!(same_bits(found, &want[3 * row..][range.clone()]), "{row}"),
                _ => assert!(found.iter().all(|value| value.is_nan()), "{f:?} {row}"),
            }
        }
    }

    #[test]
    fn pieces_have_the_bits_of_the_whole() {
        for row in [1, 16, 37, 768] {
            let (n, buf) = (5 * row, |seed| Arc::new(Buf::from(noise::<f32>(5 * row, seed))));
            let (x, g) = (buf(1), buf(2));
            for f in [Unary::Gelu, Unary::Tanh, Unary::Relu] {
                let mut y = vec![0.0; n];
                unary(f, &mut y, &x);
                let same = |producer: &dyn Producer<f32>, want: &[f32]| {
                    assert!(same_bits(&materialise(producer), want), "{f:?} {row}");
                    let range = row / 3..row;
                    let mut piece = vec![f32::NAN; range.len()];
                    producer.prefetch(3, range.clone());
                    producer.produce(3, range.clone(), &mut piece);
                    assert!(same_bits(&piece, &want[3 * row..][range]), "{f:?} {row}");
                };
                same(&FunctionValue { f, x: Arc::clone(&x), row }, &y);
                let mut tangent = vec![0.0; n];
                unary_first(f, &mut tangent, &g, &x, &y, Accum::Replace);
                together(f, [&x, &g], row, [&y, &tangent]);
                let (g, x, y) = (Arc::clone(&g), Arc::clone(&x), Arc::new(Buf::from(y)));
                same(&FunctionDerivative { f, g, x, y, row }, &tangent);
            }
        }
    }
}
