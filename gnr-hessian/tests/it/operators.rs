//! Operators with known spectra.

use gnr_core::random::SplitMix64;
use gnr_hessian::{Result, SymmetricOperator};

/// H = U·diag(λ)·Uᵀ in single or double precision, U a product of two Householder reflections: O(d) a product.
pub(crate) struct Known<T> {
    pub(crate) spectrum: Vec<f64>,
    reflectors: [Vec<f64>; 2],
    pub(crate) products: usize,
    storage: std::marker::PhantomData<T>,
}

impl<T> Known<T> {
    pub(crate) fn new(spectrum: &[f64], seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut unit = || {
            let v = random.normals(spectrum.len());
            let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            v.into_iter().map(|x| x / norm).collect()
        };
        let reflectors = [unit(), unit()];
        Self { spectrum: spectrum.to_vec(), reflectors, products: 0, storage: std::marker::PhantomData }
    }
    pub(crate) fn trace(&self) -> f64 {
        self.spectrum.iter().sum()
    }
    /// H·x in double precision.
    pub(crate) fn apply(&self, x: &[f64]) -> Vec<f64> {
        let reflect = |x: &mut Vec<f64>, v: &[f64]| {
            let twice = 2.0 * x.iter().zip(v).map(|(x, v)| x * v).sum::<f64>();
            x.iter_mut().zip(v).for_each(|(x, v)| *x -= twice * v);
        };
        let mut y = x.to_vec();
        let [a, b] = &self.reflectors;
        reflect(&mut y, a);
        reflect(&mut y, b);
        y.iter_mut().zip(&self.spectrum).for_each(|(y, lambda)| *y *= lambda);
        reflect(&mut y, b);
        reflect(&mut y, a);
        y
    }
    /// The diagonal entries hᵢᵢ.
    pub(crate) fn diagonal(&self) -> Vec<f64> {
        (0..self.spectrum.len())
            .map(|i| {
                let mut e = vec![0.0; self.spectrum.len()];
                e[i] = 1.0;
                self.apply(&e)[i]
            })
            .collect()
    }
}

macro_rules! known {
    ($($storage:ty),*) => {$(
        impl SymmetricOperator for Known<$storage> {
            type Vector = Vec<$storage>;
            fn dim(&self) -> usize {
                self.spectrum.len()
            }
            fn matvec(&mut self, v: &Vec<$storage>) -> Result<Vec<$storage>> {
                self.products += 1;
                let wide: Vec<f64> = v.iter().map(|x| f64::from(*x)).collect();
                Ok(self.apply(&wide).into_iter().map(|x| x as $storage).collect())
            }
        }
    )*};
}
known!(f32, f64);

/// Names and spectra, falling, of what the estimators are tried on. d = 300 unless the name says otherwise.
pub(crate) fn spectra() -> Vec<(&'static str, Vec<f64>)> {
    let d = 300;
    let line = |f: &dyn Fn(usize) -> f64| (0..d).map(f).collect::<Vec<_>>();
    let mut indefinite = line(&|i| 0.1 + 4.0 * ((i as f64 + 0.5) / d as f64 * std::f64::consts::PI).cos());
    indefinite[0] = 9.0;
    indefinite[d - 1] = -7.0;
    vec![
        ("diagonal", line(&|i| (d - i) as f64)),
        (
            "clustered",
            line(&|i| [10.0, 9.9, 9.8, 5.0, 1.0][(i / 3).min(4)] + 1e-3 * ((d - i) as f64 / d as f64)),
        ),
        ("indefinite", indefinite),
        ("rank 7", line(&|i| if i < 7 { (8 - i) as f64 } else { 0.0 })),
        ("ill-conditioned", line(&|i| 10f64.powf(3.0 - 0.05 * i as f64))),
        (
            "like a network's",
            line(&|i| if i < 10 { 1000.0 / (1 + i * i) as f64 } else { 2.0 / (i as f64).sqrt() }),
        ),
    ]
}
