//! A vector of leaves with shapes that implements required methods only, so that tests reach the provided ones.

use gnr_core::{
    Elementwise, Error, Map, Matrices, Partition, Result, Vector, join_leaves, split_leaves,
    testing::conformance::check_vector,
};

/// Leaves, each with its axes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leafy(Vec<(Vec<usize>, Vec<f64>)>);

impl Leafy {
    /// Cuts values into leaves: `2x2,2` is a matrix and a vector.
    pub(crate) fn new(shapes: &str, values: &[f64]) -> Self {
        let mut rest = values;
        let leaf = |shape: &str| {
            let axes: Vec<usize> = shape.split('x').map(|axis| axis.parse().unwrap()).collect();
            let (leaf, others) = rest.split_at(axes.iter().product());
            rest = others;
            (axes, leaf.to_vec())
        };
        let leaves = shapes.split(',').map(leaf).collect();
        assert!(rest.is_empty(), "{shapes}");
        Self(leaves)
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.0.iter().flat_map(|(_, values)| values.clone()).collect()
    }

    fn zip(&mut self, x: &Self, operation: &'static str, f: impl Fn(f64, f64) -> f64) -> Result<()> {
        if self.0.iter().map(|leaf| &leaf.0).ne(x.0.iter().map(|leaf| &leaf.0)) {
            return Err(Error::DimensionMismatch { operation, expected: self.dim(), found: x.dim() });
        }
        for ((_, to), (_, from)) in self.0.iter_mut().zip(&x.0) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = f(*to, *from));
        }
        Ok(())
    }

    /// Element (i, j) of the only leaf.
    fn at(&self, i: usize, j: usize) -> f64 {
        let (axes, values) = &self.0[0];
        values[i * values.len() / axes[0] + j]
    }
}

impl Vector for Leafy {
    fn dim(&self) -> usize {
        self.0.iter().map(|(_, values)| values.len()).sum()
    }
    fn scale(&mut self, a: f64) -> Result<()> {
        let scaled = |x: &mut f64| *x = if a == 0.0 { 0.0 } else { a * *x };
        self.0.iter_mut().flat_map(|leaf| &mut leaf.1).for_each(scaled);
        Ok(())
    }
    fn axpy(&mut self, a: f64, x: &Self) -> Result<()> {
        self.zip(x, "axpy", |s, x| s + a * x)
    }
    fn dot(&self, x: &Self) -> Result<f64> {
        let mut product = self.clone();
        product.zip(x, "dot", |a, b| a * b)?;
        Ok(product.values().iter().sum())
    }
}

impl Elementwise for Leafy {
    fn map(&mut self, f: Map) -> Result<()> {
        self.0.iter_mut().flat_map(|leaf| &mut leaf.1).for_each(|x| *x = f.at(*x));
        Ok(())
    }
    fn multiply(&mut self, x: &Self) -> Result<()> {
        self.zip(x, "multiply", |s, x| s * x)
    }
    fn maximum(&mut self, x: &Self) -> Result<()> {
        self.zip(x, "maximum", |s, x| if x > s || x.is_nan() { x } else { s })
    }
}

impl Partition for Leafy {
    fn num_leaves(&self) -> usize {
        self.0.len()
    }
    fn split(&mut self, group: &[usize], parts: usize) -> Result<Vec<Self>> {
        Ok(split_leaves(&mut self.0, group, parts)?.into_iter().map(Self).collect())
    }
    fn join(&mut self, group: &[usize], parts: Vec<Self>) -> Result<()> {
        self.0 = join_leaves(group, parts.into_iter().map(|part| part.0).collect())?;
        Ok(())
    }
}

impl Matrices for Leafy {
    fn matrix(&self) -> Option<[usize; 2]> {
        match &self.0[..] {
            [(axes, values)] if axes.len() >= 2 => Some([axes[0], values.len() / axes[0]]),
            _ => None,
        }
    }
    fn gram(&self) -> Result<Self> {
        let [rows, columns] = self.matrix().ok_or_else(|| Error::backend("no matrix"))?;
        let side = rows.min(columns);
        let entry = |i, j| -> f64 {
            if rows <= columns {
                (0..columns).map(|k| self.at(i, k) * self.at(j, k)).sum()
            } else {
                (0..rows).map(|k| self.at(k, i) * self.at(k, j)).sum()
            }
        };
        let values = (0..side * side).map(|n| entry(n / side, n % side)).collect();
        Ok(Self(vec![(vec![side, side], values)]))
    }
    fn multiply_by(&mut self, square: &Self) -> Result<()> {
        let [rows, columns] = self.matrix().ok_or_else(|| Error::backend("no matrix"))?;
        let side = rows.min(columns);
        if square.matrix() != Some([side, side]) {
            return Err(Error::backend("not its side"));
        }
        let entry = |i, j| -> f64 {
            if rows <= columns {
                (0..side).map(|k| square.at(i, k) * self.at(k, j)).sum()
            } else {
                (0..side).map(|k| self.at(i, k) * square.at(k, j)).sum()
            }
        };
        let values = (0..rows * columns).map(|n| entry(n / columns, n % columns)).collect();
        self.0[0].1 = values;
        Ok(())
    }
}

/// The provided methods of the traits conform.
#[test]
fn it_is_a_vector() {
    // The suite sums 100,003 squares more accurately than this type, whose error is of the order of n ulps.
    check_vector(|x| Leafy::new(&x.len().to_string(), x), Leafy::values, 1e4 * f64::EPSILON);
}
