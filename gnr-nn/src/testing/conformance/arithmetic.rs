//! Copies to and from the host, and in-place arithmetic.

use super::{assert_close, must, noise};
use crate::{Autodiff, ParamVector, Result};
use gnr_core::{Map, Matrices as _};

pub(super) fn check<B: Autodiff>(b: &B, tolerance: f64) {
    must("host traffic", host(b));
    must("in-place arithmetic", in_place(b, tolerance));
    must("an inner product", dot(b));
    must("products of matrices", matrices(b, tolerance));
    vectors(b, tolerance);
}

/// Parameters conform to gnr-core's suite of vectors.
fn vectors<B: Autodiff>(b: &B, tolerance: f64) {
    // In double precision a plain sum is enough, whose error is of the order of n ulps.
    let epsilon = if tolerance > 1e-9 { f64::from(f32::EPSILON) } else { 1e4 * f64::EPSILON };
    let make = |values: &[f64]| {
        ParamVector::new(b.clone(), vec![must("a constant", b.constant(values, &[values.len()]))])
    };
    let host = |x: &ParamVector<B>| must("a download", x.to_host()).concat();
    gnr_core::testing::conformance::check_vector(make, host, epsilon);
}

/// Leaves that are matrices: the smaller Gram matrix, and products with a square one.
fn matrices<B: Autodiff>(b: &B, tolerance: f64) -> Result<()> {
    for (shape, rows, columns) in [(&[2, 3][..], 2, 3), (&[3, 2], 3, 2), (&[2, 1, 2, 2], 2, 4)] {
        let side = rows.min(columns);
        let (values, square) = (noise(4, rows * columns), noise(5, side * side));
        let leaf = |values: &[f64], shape: &[usize]| -> Result<ParamVector<B>> {
            Ok(ParamVector::new(b.clone(), vec![b.constant(values, shape)?]))
        };
        let mut x = leaf(&values, shape)?;
        assert_eq!(x.matrix(), Some([rows, columns]), "{shape:?} as a matrix");
        let at = |i: usize, j: usize| values[i * columns + j];
        let gram = |n: usize| -> f64 {
            let (i, j) = (n / side, n % side);
            if rows <= columns {
                (0..columns).map(|k| at(i, k) * at(j, k)).sum()
            } else {
                (0..rows).map(|k| at(k, i) * at(k, j)).sum()
            }
        };
        let expected: Vec<f64> = (0..side * side).map(gram).collect();
        let found = must("gram", x.gram()).to_host()?.concat();
        assert_close(&format!("gram of {shape:?}"), &found, &expected, tolerance);
        let product = |n: usize| -> f64 {
            let (i, j) = (n / columns, n % columns);
            if rows <= columns {
                (0..side).map(|k| square[i * side + k] * at(k, j)).sum()
            } else {
                (0..side).map(|k| at(i, k) * square[k * side + j]).sum()
            }
        };
        let expected: Vec<f64> = (0..rows * columns).map(product).collect();
        must("multiply_by", x.multiply_by(&leaf(&square, &[side, side])?));
        assert_eq!(b.shape(&x.tensors()[0]), shape, "multiply_by keeps the shape");
        assert_close(&format!("multiply_by of {shape:?}"), &x.to_host()?.concat(), &expected, tolerance);
        assert!(x.multiply_by(&leaf(&[1.0], &[1, 1])?).is_err(), "a square of another side");
    }
    let vector = ParamVector::new(b.clone(), vec![b.constant(&[1.0, 2.0], &[2])?]);
    assert!(vector.matrix().is_none() && vector.gram().is_err(), "a leaf of one axis is no matrix");
    Ok(())
}

fn host<B: Autodiff>(b: &B) -> Result<()> {
    let values = [0.5, -2.0, 0.0, 1e-3f32, 8.0, -0.25];
    let expected = values.map(f64::from);
    let x = b.upload(&values, &[2, 3])?;
    assert_eq!(b.shape(&x), [2, 3], "shape of an upload");
    assert_eq!(b.to_host(&x)?, expected, "upload and download");
    assert_eq!(b.to_host(&b.constant(&expected, &[3, 2])?)?, expected, "constant and download");
    assert_eq!(b.item(&b.constant(&[0.75], &[1, 1])?)?, 0.75, "item");
    Ok(())
}

fn in_place<B: Autodiff>(b: &B, tolerance: f64) -> Result<()> {
    let shape = [2, 3];
    let (start, x, y) = (noise(1, 6), noise(2, 6), noise(3, 6).into_iter().map(f64::abs).collect::<Vec<_>>());
    let [tx, ty] = [b.constant(&x, &shape)?, b.constant(&y, &shape)?];
    let each = |f: &dyn Fn(usize) -> f64| (0..6).map(f).collect::<Vec<_>>();
    type Update<'a, T> = (&'a str, &'a dyn Fn(&mut T) -> Result<()>, Vec<f64>);
    let updates: [Update<'_, B::Tensor>; 14] = [
        ("scale", &|z| b.scale(z, -1.5), each(&|i| -1.5 * start[i])),
        ("axpy", &|z| b.axpy(z, 0.5, &tx), each(&|i| start[i] + 0.5 * x[i])),
        ("abs", &|z| b.map(z, Map::Abs), each(&|i| start[i].abs())),
        ("sign", &|z| b.map(z, Map::Sign), each(&|i| start[i].signum())),
        ("recip", &|z| b.map(z, Map::Recip), each(&|i| 1.0 / start[i])),
        ("square", &|z| b.map(z, Map::Square), each(&|i| start[i] * start[i])),
        ("add", &|z| b.map(z, Map::Add(0.75)), each(&|i| start[i] + 0.75)),
        ("clamp", &|z| b.map(z, Map::Clamp(-0.1, 0.2)), each(&|i| start[i].clamp(-0.1, 0.2))),
        ("multiply", &|z| b.multiply(z, &tx), each(&|i| start[i] * x[i])),
        ("maximum", &|z| b.maximum(z, &tx), each(&|i| start[i].max(x[i]))),
        (
            "root of the square",
            &|z| [Map::Square, Map::Sqrt].into_iter().try_for_each(|f| b.map(z, f)),
            each(&|i| start[i].abs()),
        ),
        (
            "power of the magnitude",
            &|z| [Map::Abs, Map::Power(0.75)].into_iter().try_for_each(|f| b.map(z, f)),
            each(&|i| start[i].abs().powf(0.75)),
        ),
        ("addcmul", &|z| b.addcmul(z, -2.0, &tx, &ty), each(&|i| start[i] - 2.0 * x[i] * y[i])),
        (
            "addcdiv_sqrt",
            &|z| b.addcdiv_sqrt(z, -0.1, &tx, 4.0, &ty, 0.25),
            each(&|i| start[i] - 0.1 * x[i] / ((4.0 * y[i]).sqrt() + 0.25)),
        ),
    ];
    for (name, update, expected) in updates {
        let mut z = b.constant(&start, &shape)?;
        let (holder, view) = (z.clone(), b.reshape(&z, &[3, 2])?);
        update(&mut z)?;
        assert_close(name, &b.to_host(&z)?, &expected, tolerance);
        update(&mut z)?; // now the only holder: a backend may take another path
        assert_eq!(b.to_host(&holder)?, start, "{name}: a clone taken before must keep its values");
        assert_eq!(b.to_host(&view)?, start, "{name}: a reshape taken before must keep its values");
    }
    let mut z = b.constant(&start, &shape)?;
    let itself = z.clone();
    b.axpy(&mut z, 1.0, &itself)?;
    assert_close("axpy with itself", &b.to_host(&z)?, &each(&|i| 2.0 * start[i]), tolerance);

    let mut bad = b.constant(&[f64::NAN, f64::INFINITY, -1.0], &[3])?;
    b.scale(&mut bad, 0.0)?;
    assert_eq!(b.to_host(&bad)?, [0.0; 3], "a scale by 0 gives exact zeros");
    Ok(())
}

/// A sum of 300,000 terms that are exact in f32. A running sum in single precision is off by 1e-3, one in double
/// precision by 1e-11.
fn dot<B: Autodiff>(b: &B) -> Result<()> {
    let x: Vec<_> = (0..300_000).map(|i| 1.0 + f64::from(i % 7) / 8.0).collect();
    let expected: f64 = x.iter().map(|x| x * x).sum();
    let x = b.constant(&x, &[300, 1000])?;
    let found = b.dot(&x, &x)?;
    assert!(
        (found / expected - 1.0).abs() < 1e-9,
        "⟨x, x⟩ of 300,000 elements is {found}, expected {expected}"
    );
    let (x, y) = (b.constant(&[1.0, 2.0], &[2])?, b.constant(&[-3.0, 0.5], &[2])?);
    assert_eq!(b.dot(&x, &y)?, -2.0, "⟨x, y⟩");
    let z = b.constant(&[0.5; 6], &[2, 3])?;
    let [p, q, r] = [[x.clone(), z.clone()], [y.clone(), z.clone()], [x.clone(), x]];
    assert_eq!(b.dots_of_points(&p, &[&p, &q])?, [6.5, -0.5], "⟨p, p⟩ and ⟨p, q⟩ of points of two tensors");
    assert_eq!(b.dots_of_points(&p, &[])?, [0.0; 0], "with no point");
    assert!(b.dots_of_points(&p, &[&p, &r]).is_err(), "tensors of other shapes");
    assert!(b.dots_of_points(&p, &[&p[..1]]).is_err(), "a point of fewer tensors");
    Ok(())
}
