//! A cheap check before expensive work: is the operator one fixed symmetric matrix?

use crate::{Error, Result, SymmetricOperator};
use gnr_core::Vector;

/// The measurements of [`determinism_check`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Determinism {
    /// ‖(Hu)₁ − (Hu)₂‖/‖Hu‖ of two products with the same vector (0 where Hu = 0).
    pub repeat: f64,
    /// |⟨u, Hv⟩ − ⟨v, Hu⟩|/max(‖u‖‖Hv‖, ‖v‖‖Hu‖) (0 where the denominator is 0).
    pub asymmetry: f64,
}

/// Multiplies twice with `u` and once with `v`, and compares: equal products, a symmetric form, both within the
/// relative `tolerance` (0 demands equal bits; 1e-5 suits exact f32 products).
///
/// `u` and `v` should be independent random vectors.
///
/// # Errors
/// [`Error::NotDeterministic`], [`Error::NotSymmetric`]; those of the operator.
///
/// # Cost
/// Three matvecs.
pub fn determinism_check<A: SymmetricOperator>(
    operator: &mut A,
    u: &A::Vector,
    v: &A::Vector,
    tolerance: f64,
) -> Result<Determinism> {
    let hu = operator.matvec(u)?;
    let hv = operator.matvec(v)?; // in between, so that a state left behind by another product shows
    let mut again = operator.matvec(u)?;

    let (hu_norm, hv_norm) = (hu.norm()?, hv.norm()?);
    again.axpy(-1.0, &hu)?;
    let difference = again.norm()?;
    if difference > tolerance * hu_norm {
        return Err(Error::NotDeterministic { difference, norm: hu_norm });
    }
    let (left, right) = (u.dot(&hv)?, v.dot(&hu)?);
    let scale = (u.norm()? * hv_norm).max(v.norm()? * hu_norm);
    // Even an exactly symmetric matrix gives two inner products that round differently.
    let allowed = tolerance.max(1e-12) * scale;
    if (left - right).abs() > allowed {
        return Err(Error::NotSymmetric { left, right, allowed });
    }
    Ok(Determinism { repeat: ratio(difference, hu_norm), asymmetry: ratio((left - right).abs(), scale) })
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
