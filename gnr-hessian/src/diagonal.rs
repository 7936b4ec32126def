//! The diagonal of an operator by random signs.

use crate::{Distribution, Draw, Result, SymmetricOperator};
use gnr_core::{Elementwise, Vector as _};
use std::ops::ControlFlow;

/// An estimated diagonal.
#[derive(Clone, Debug)]
pub struct DiagonalEstimate<V> {
    /// The mean of v ⊙ Hv, an unbiased estimate of the diagonal.
    pub mean: V,
    /// The mean of (Hv) ⊙ (Hv). square − mean² is the variance of each entry of a sample, which is Σ_{j≠i}
    /// hᵢⱼ² in expectation. (square − mean²)/(n − 1) is the squared standard error of the mean.
    pub square: V,
    /// The form ⟨v, Hv⟩ of each product: samples of the trace.
    pub samples: Vec<f64>,
    /// Number n of matvecs.
    pub num_matvecs: usize,
}

/// Estimates the diagonal hᵢᵢ = E vᵢ(Hv)ᵢ from `num_matvecs` vectors v of random signs, with `block` products
/// at once. After each block the observer gets the number of products so far, and may break.
///
/// # Errors
/// The errors of the operator.
///
/// # Cost
/// `num_matvecs` matvecs; 2 + 2·block vectors.
///
/// # References
/// Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics 57, 2007.
pub fn diagonal<A: SymmetricOperator>(
    operator: &mut A,
    num_matvecs: usize,
    block: usize,
    probes: &impl Draw<A::Vector>,
    observer: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<DiagonalEstimate<A::Vector>>
where
    A::Vector: Elementwise,
{
    let mut mean: A::Vector = probes.draw(Distribution::Rademacher, 0)?;
    mean.scale(0.0)?;
    let mut square = mean.clone();
    let (mut done, mut samples) = (0, Vec::new());
    while done < num_matvecs.max(1) {
        let count = block.max(1).min(num_matvecs.max(1) - done);
        let signs = (done..done + count).map(|index| probes.draw(Distribution::Rademacher, index as u64));
        let signs: Vec<A::Vector> = signs.collect::<Result<_>>()?;
        let products = operator.matvec_block(&signs)?;
        for (v, product) in signs.iter().zip(&products) {
            product.norm()?;
            samples.push(v.dot(product)?);
            mean.addcmul(1.0, v, product)?;
            square.addcmul(1.0, product, product)?;
        }
        done += count;
        if observer(done).is_break() {
            break;
        }
    }
    mean.scale(1.0 / done as f64)?;
    square.scale(1.0 / done as f64)?;
    Ok(DiagonalEstimate { mean, square, samples, num_matvecs: done })
}
