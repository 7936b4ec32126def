//! Numbers of a figure's JSON. JSON has no number that is not finite: `null` stands for it, and is read as NaN.

use serde::{Deserialize, Deserializer};

fn or_nan(number: Option<f64>) -> f64 {
    number.unwrap_or(f64::NAN)
}

fn all(numbers: Vec<Option<f64>>) -> Vec<f64> {
    numbers.into_iter().map(or_nan).collect()
}

/// Reads one number.
pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Option::deserialize(from).map(or_nan)
}

/// Reads a list.
pub(crate) fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    Vec::deserialize(from).map(all)
}

/// Reads a list of pairs.
pub(crate) fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<[f64; 2]>, D::Error> {
    let pairs = Vec::<[Option<f64>; 2]>::deserialize(from)?;
    Ok(pairs.into_iter().map(|pair| pair.map(or_nan)).collect())
}

/// Reads a list of lists.
pub(crate) fn rows<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<f64>>, D::Error> {
    let rows = Vec::<Vec<Option<f64>>>::deserialize(from)?;
    Ok(rows.into_iter().map(all).collect())
}
