//! Local minima and maxima of a sequence, as Figure 1b of the paper counts them along random directions.

use gnr_core::{Error as CoreError, Quantity};

use crate::Result;

/// Numbers of local minima and maxima strictly inside a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extrema {
    /// Number of local minima.
    pub minima: usize,
    /// Number of local maxima.
    pub maxima: usize,
}

/// Counts the turns of a sequence. A turn counts when the values rise and fall by more than `resolution` on both of its
/// sides; 0 counts every strict turn. A plateau is one turn, the ends are none.
///
/// In single precision a loss moves by its rounding error (about 1e-7 of its value, more after a long sum) from point
/// to point: on fine grids a resolution below that counts noise.
///
/// # Errors
/// [`gnr_core::Error::NonFinite`] for a value that is not finite; [`gnr_core::Error::InvalidHyperparameter`] for a
/// negative or undefined resolution.
///
/// ```
/// use gnr_hessian::{Extrema, count_extrema};
/// let values = [1.0, 0.5, 0.7, 0.7, 0.4, 0.9];
/// assert_eq!(count_extrema(&values, 0.0)?, Extrema { minima: 2, maxima: 1 });
/// assert_eq!(count_extrema(&values, 0.25)?, Extrema { minima: 1, maxima: 0 }); // the hill of 0.2 is too small
/// # Ok::<(), gnr_hessian::Error>(())
/// ```
pub fn count_extrema(values: &[f64], resolution: f64) -> Result<Extrema> {
    if !(resolution >= 0.0 && resolution.is_finite()) {
        return Err(CoreError::InvalidHyperparameter {
            name: "resolution",
            value: resolution,
            requirement: "must be 0 or larger, and finite",
        }
        .into());
    }
    if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
        return Err(CoreError::NonFinite { quantity: Quantity::Loss, value }.into());
    }
    let mut found = Extrema::default();
    let Some(&first) = values.first() else { return Ok(found) };
    // The lowest and the highest value since the last turn that counts.
    let (mut low, mut high, mut trend) = (first, first, None);
    for &value in values {
        (low, high) = (low.min(value), high.max(value));
        match trend {
            Some(Trend::Down) | None if value > low && value - low > resolution => {
                found.minima += usize::from(trend.is_some());
                (trend, high) = (Some(Trend::Up), value);
            }
            Some(Trend::Up) | None if value < high && high - value > resolution => {
                found.maxima += usize::from(trend.is_some());
                (trend, low) = (Some(Trend::Down), value);
            }
            _ => {}
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq)]
enum Trend {
    Up,
    Down,
}
