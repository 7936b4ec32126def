//! Selection along one axis by a table of optional indices, and its adjoint: embeddings, padding, slicing, rolls,
//! concatenation.

use super::elem::Elem;
use super::simd::CHUNK;
use crate::Accum;
use crate::parallel::each_chunk;

/// An array seen as [outer, axis, inner].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxisView {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis.
    pub axis: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
}

impl AxisView {
    /// The view of a row-major array of `shape` at `axis`, or `None` when there is no such axis.
    pub fn new(shape: &[usize], axis: usize) -> Option<Self> {
        let &length = shape.get(axis)?;
        let (before, after) = (&shape[..axis], &shape[axis + 1..]);
        Some(AxisView { outer: before.iter().product(), axis: length, inner: after.iter().product() })
    }
}

/// Computes `y[o, j, i] = x[o, indices[j], i]`, or 0 where `indices[j]` is `None`; `y` is [outer, indices, inner].
///
/// # Panics
/// When an index or a length is out of range.
pub fn gather<E: Elem>(x: &[E], view: AxisView, indices: &[Option<usize>], y: &mut [E]) {
    let AxisView { outer, axis, inner } = view;
    assert!(x.len() == outer * axis * inner && y.len() == outer * indices.len() * inner);
    assert!(indices.iter().flatten().all(|&i| i < axis), "an index exceeds the axis of length {axis}");
    if y.is_empty() {
        return;
    }
    each_chunk(y, inner, CHUNK.div_ceil(inner), |row, y| {
        let (o, j) = (row / indices.len(), row % indices.len());
        match indices[j] {
            Some(i) => y.copy_from_slice(&x[(o * axis + i) * inner..][..inner]),
            None => y.fill(E::zero()),
        }
    });
}

/// Computes the adjoint of [`gather`], `gx[o, i, :] = Σ_{j: indices[j] = i} gy[o, j, :]` in ascending j, or adds it to
/// gx.
///
/// # Panics
/// When an index or a length is out of range.
pub fn scatter_add<E: Elem>(gy: &[E], view: AxisView, indices: &[Option<usize>], gx: &mut [E], accum: Accum) {
    let AxisView { outer, axis, inner } = view;
    assert!(gx.len() == outer * axis * inner && gy.len() == outer * indices.len() * inner);
    assert!(indices.iter().flatten().all(|&i| i < axis), "an index exceeds the axis of length {axis}");
    if gx.is_empty() {
        return;
    }
    // For each i, the indices j that read it, so that each row of gx is written by one task.
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); axis];
    for (j, i) in indices.iter().enumerate() {
        if let Some(i) = i {
            users[*i].push(j);
        }
    }
    each_chunk(gx, inner, CHUNK.div_ceil(inner), |row, gx| {
        let (o, i) = (row / axis, row % axis);
        if !accum.adds() {
            gx.fill(E::zero());
        }
        for &j in &users[i] {
            let gy = &gy[(o * indices.len() + j) * inner..][..inner];
            gx.iter_mut().zip(gy).for_each(|(g, a)| *g += *a);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::dot;
    use crate::testing::noise;

    #[test]
    fn gather_selects_and_scatter_is_its_adjoint() {
        let indices = [Some(2), None, Some(0), Some(2), Some(3)];
        for (axis, shape) in [(0, vec![4, 3]), (1, vec![2, 4, 3]), (2, vec![2, 3, 4])] {
            let view = AxisView::new(&shape, axis).expect("axis exists");
            let n = view.outer * view.inner;
            let (x, gy) = (noise::<f64>(n * 4, 1), noise::<f64>(n * 5, 2));
            let mut y = vec![f64::NAN; n * 5];
            gather(&x, view, &indices, &mut y);
            for o in 0..view.outer {
                for (j, index) in indices.iter().enumerate() {
                    for i in 0..view.inner {
                        let want = index.map_or(0.0, |k| x[(o * 4 + k) * view.inner + i]);
                        assert_eq!(y[(o * 5 + j) * view.inner + i], want);
                    }
                }
            }
            let mut gx = vec![f64::NAN; n * 4];
            scatter_add(&gy, view, &indices, &mut gx, Accum::Replace);
            assert!((dot(&y, &gy) - dot(&x, &gx)).abs() < 1e-12, "<Gx, y> = <x, G'y>");
            let once = gx.clone();
            scatter_add(&gy, view, &indices, &mut gx, Accum::Add);
            assert!(gx.iter().zip(once).all(|(twice, once)| (twice - 2.0 * once).abs() < 1e-15));
        }
    }

    #[test]
    fn there_is_no_view_past_the_last_axis() {
        assert_eq!(AxisView::new(&[2, 3], 2), None);
    }
}
