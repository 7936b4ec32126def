//! The dense solver against Jacobi's rotations, known spectra and its own definition.

use crate::jacobi;
use gnr_core::{
    random::SplitMix64,
    testing::{Problem, Quadratic},
};
use gnr_hessian::dense::{Square, eigh};

fn square(rows: &[Vec<f64>]) -> Square {
    Square::from_entries(rows.concat()).unwrap()
}

/// A·u = λ·u and UᵀU = I to rounding, on random matrices of many sizes.
#[test]
fn eigenpairs_are_eigenpairs() {
    let mut random = SplitMix64::new(1);
    for n in [1, 2, 3, 5, 10, 33, 120] {
        let mut rows: Vec<Vec<f64>> = (0..n).map(|_| random.normals(n)).collect();
        for i in 0..n {
            for j in 0..i {
                rows[i][j] = rows[j][i];
            }
        }
        let found = eigh(&square(&rows));
        let scale = found.values.iter().fold(0.0_f64, |scale, x| scale.max(x.abs()));
        assert!(found.values.is_sorted());
        for (value, u) in found.values.iter().zip(&found.vectors) {
            for (row, x) in rows.iter().zip(u) {
                let product: f64 = row.iter().zip(u).map(|(a, u)| a * u).sum();
                assert!((product - value * x).abs() < 1e-14 * n as f64 * scale);
            }
        }
        for (i, u) in found.vectors.iter().enumerate() {
            for (j, v) in found.vectors.iter().enumerate() {
                let dot: f64 = u.iter().zip(v).map(|(u, v)| u * v).sum();
                assert!((dot - f64::from(i == j)).abs() < 1e-14 * n as f64);
            }
        }
        let mut rotated = jacobi(rows);
        rotated.sort_by(f64::total_cmp);
        assert!(found.values.iter().zip(&rotated).all(|(a, b)| (a - b).abs() < 1e-13 * scale * n as f64));
    }
}

#[test]
fn degenerate_matrices() {
    let spectrum = [5.0, 5.0, 5.0, 0.0, 0.0, -1.0, -1.0, 1e-12];
    let rows = Quadratic::with_spectrum(&spectrum, 3).hessian(&[0.0; 8]);
    let mut expected = spectrum.to_vec();
    expected.sort_by(f64::total_cmp);
    for (found, expected) in eigh(&square(&rows)).values.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-14);
    }
    assert_eq!(eigh(&Square::zeros(3)).values, [0.0; 3]);
    assert_eq!(eigh(&Square::diagonal(&[2.0, -1.0])).values, [-1.0, 2.0]);
    assert!(eigh(&Square::default()).values.is_empty());
    assert!(eigh(&Square::from_entries(vec![f64::NAN; 9]).unwrap()).values.iter().all(|x| x.is_nan()));
    assert!(Square::from_entries(vec![0.0; 3]).is_none());
}
