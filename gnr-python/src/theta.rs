//! The point θ as a flat host array with known leaves, so that methods of matrices and of normalisation layers can use
//! it.

use gnr_core::{
    Elementwise, Error, Map, Matrices, Partition, Real, Result, Signs, Vector, join_leaves, random_signs,
    split_leaves,
};
use std::sync::Arc;

/// The axes of each leaf, in the order in which they lie in the array.
pub(crate) type Shapes = Arc<[Vec<usize>]>;

/// A point or tangent: the elements of all leaves, one leaf after the other, each row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Theta<T> {
    elements: Vec<T>,
    shapes: Shapes,
}

/// Number of elements of a leaf of this shape. Absurd shapes give the largest number instead of overflowing.
fn size(shape: &[usize]) -> usize {
    shape.iter().fold(1, |size, axis| size.saturating_mul(*axis))
}

/// Number of elements of all leaves.
pub(crate) fn total(shapes: &[Vec<usize>]) -> usize {
    shapes.iter().fold(0, |total, shape| total.saturating_add(size(shape)))
}

impl<T: Real> Theta<T> {
    /// The elements, cut into leaves of these shapes; `None` if the shapes have another number of elements.
    pub(crate) fn new(elements: Vec<T>, shapes: Shapes) -> Option<Self> {
        (total(&shapes) == elements.len()).then_some(Self { elements, shapes })
    }

    /// The elements of all leaves.
    pub(crate) fn elements(&self) -> &[T] {
        &self.elements
    }

    /// Takes the elements of all leaves out, without a copy.
    pub(crate) fn into_elements(self) -> Vec<T> {
        self.elements
    }

    /// The numbers of rows and columns of the only leaf.
    ///
    /// # Errors
    /// [`Error::Backend`] for several leaves, and for a leaf of fewer than two axes.
    fn as_matrix(&self) -> Result<[usize; 2]> {
        self.matrix().ok_or_else(|| {
            Error::backend(format!("expected one leaf of two axes or more, found {:?}", self.shapes))
        })
    }
}

impl<T: Real> Vector for Theta<T> {
    fn dim(&self) -> usize {
        self.elements.len()
    }
    fn scale(&mut self, a: f64) -> Result<()> {
        self.elements.scale(a)
    }
    fn axpy(&mut self, a: f64, x: &Self) -> Result<()> {
        self.elements.axpy(a, &x.elements)
    }
    fn aypx(&mut self, a: f64, x: &Self) -> Result<()> {
        self.elements.aypx(a, &x.elements)
    }
    fn dot(&self, x: &Self) -> Result<f64> {
        self.elements.dot(&x.elements)
    }
}

impl<T: Real> Elementwise for Theta<T> {
    fn map(&mut self, f: Map) -> Result<()> {
        self.elements.map(f)
    }
    fn multiply(&mut self, x: &Self) -> Result<()> {
        self.elements.multiply(&x.elements)
    }
    fn maximum(&mut self, x: &Self) -> Result<()> {
        self.elements.maximum(&x.elements)
    }
    fn addcmul(&mut self, a: f64, x: &Self, y: &Self) -> Result<()> {
        self.elements.addcmul(a, &x.elements, &y.elements)
    }
    fn addcdiv_sqrt(&mut self, a: f64, x: &Self, b: f64, y: &Self, eps: f64) -> Result<()> {
        self.elements.addcdiv_sqrt(a, &x.elements, b, &y.elements, eps)
    }
}

impl<T: Real> Signs for Theta<T> {
    fn signs(&self, seed: u64) -> Result<Self> {
        let signs = random_signs(self.dim(), seed).into_iter().map(|sign| T::of(f64::from(sign)));
        Ok(Self { elements: signs.collect(), shapes: self.shapes.clone() })
    }
}

/// A leaf by itself: its axes and its elements.
type Leaf<T> = (Vec<usize>, Vec<T>);

impl<T: Real> Theta<T> {
    fn taken_apart(&mut self) -> Vec<Leaf<T>> {
        let (elements, shapes) = (std::mem::take(&mut self.elements), std::mem::take(&mut self.shapes));
        let mut begin = 0;
        let leaf = |shape: &Vec<usize>| {
            let end = begin + size(shape);
            let leaf = (shape.clone(), elements[begin..end].to_vec());
            begin = end;
            leaf
        };
        shapes.iter().map(leaf).collect()
    }

    fn put_together(leaves: Vec<Leaf<T>>) -> Self {
        let elements = leaves.iter().flat_map(|(_, elements)| elements).copied().collect();
        Self { elements, shapes: leaves.into_iter().map(|(shape, _)| shape).collect() }
    }
}

impl<T: Real> Partition for Theta<T> {
    fn num_leaves(&self) -> usize {
        self.shapes.len()
    }
    fn split(&mut self, group: &[usize], parts: usize) -> Result<Vec<Self>> {
        let mut leaves = self.taken_apart();
        match split_leaves(&mut leaves, group, parts) {
            Ok(split) => Ok(split.into_iter().map(Self::put_together).collect()),
            Err(error) => {
                *self = Self::put_together(leaves);
                Err(error)
            }
        }
    }
    fn join(&mut self, group: &[usize], parts: Vec<Self>) -> Result<()> {
        let parts = parts.into_iter().map(|mut part| part.taken_apart()).collect();
        *self = Self::put_together(join_leaves(group, parts)?);
        Ok(())
    }
}

impl<T: Real> Matrices for Theta<T> {
    fn matrix(&self) -> Option<[usize; 2]> {
        match &self.shapes[..] {
            [shape] if shape.len() >= 2 => Some([shape[0], shape[1..].iter().product()]),
            _ => None,
        }
    }
    fn gram(&self) -> Result<Self> {
        let [rows, columns] = self.as_matrix()?;
        let row = |i: usize| &self.elements[i * columns..(i + 1) * columns];
        let side = rows.min(columns);
        let mut gram = vec![0.0; side * side];
        if rows <= columns {
            for i in 0..side {
                for j in 0..side {
                    gram[i * side + j] = row(i).iter().zip(row(j)).map(|(a, b)| a.as_() * b.as_()).sum();
                }
            }
        } else {
            for k in 0..rows {
                for i in 0..side {
                    add_row(&mut gram[i * side..(i + 1) * side], row(k)[i].as_(), row(k));
                }
            }
        }
        let elements = gram.into_iter().map(T::of).collect();
        Ok(Self { elements, shapes: Arc::new([vec![side, side]]) })
    }
    fn multiply_by(&mut self, square: &Self) -> Result<()> {
        let [rows, columns] = self.as_matrix()?;
        let side = rows.min(columns);
        if square.matrix() != Some([side, side]) {
            let (expected, found) = ([side, side], &square.shapes);
            return Err(Error::backend(format!("multiply_by: expected shape {expected:?}, found {found:?}")));
        }
        // Row i of the product is a sum of rows of the right factor, weighted by row i of the left one.
        let (left, right) = if rows <= columns {
            (&square.elements, &self.elements)
        } else {
            (&self.elements, &square.elements)
        };
        let mut product = Vec::with_capacity(rows * columns);
        let mut sum = vec![0.0; columns];
        for i in 0..rows {
            sum.fill(0.0);
            for k in 0..side {
                add_row(&mut sum, left[i * side + k].as_(), &right[k * columns..(k + 1) * columns]);
            }
            product.extend(sum.iter().map(|x| T::of(*x)));
        }
        self.elements = product;
        Ok(())
    }
}

/// `sum ← sum + a·row`, in f64.
fn add_row<T: Real>(sum: &mut [f64], a: f64, row: &[T]) {
    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += a * x.as_());
}
