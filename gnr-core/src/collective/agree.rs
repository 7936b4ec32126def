//! Agreement on errors: an operation that failed on one rank fails on all of them.

use super::Collective;
use crate::{Error, Quantity, Result};

/// Exchanges the outcome of every rank: a number, or an error.
///
/// Returns the numbers in rank order when all ranks succeeded. Otherwise every rank gets the error of the lowest rank
/// that failed.
///
/// # Errors
/// [`Error::NonFinite`] is passed on unchanged; any other error becomes [`Error::Rank`], with its causes in the
/// message. The errors of the collective.
///
/// # Cost
/// One exchange of two numbers a rank; after any error but [`Error::NonFinite`], also one of messages.
pub fn agree(ranks: &dyn Collective, own: Result<f64>) -> Result<Vec<f64>> {
    if ranks.size() == 1 {
        return own.map(|number| vec![number]);
    }
    let header = match &own {
        Ok(number) => [WELL, *number],
        Err(Error::NonFinite { quantity, value }) => {
            let index = QUANTITIES.iter().position(|known| known == quantity).unwrap_or(0);
            [NOT_FINITE + index as f64, *value]
        }
        Err(_) => [FAILED, 0.0],
    };
    let headers = ranks.scalars(&header)?;
    let Some(first) = headers.iter().position(|header| header[0] != WELL) else {
        return Ok(headers.into_iter().map(|header| header[1]).collect());
    };
    let [status, value] = [headers[first][0], headers[first][1]];
    let index = (status - NOT_FINITE) as usize;
    if status >= NOT_FINITE
        && let Some(&quantity) = QUANTITIES.get(index)
    {
        return Err(Error::NonFinite { quantity, value });
    }
    let message = own.err().map_or_else(String::new, |error| chain(&error));
    let mut messages = ranks.messages(message.into_bytes())?;
    Err(Error::Rank {
        rank: first,
        message: String::from_utf8_lossy(&messages.swap_remove(first)).into_owned(),
    })
}

const WELL: f64 = 0.0;
const FAILED: f64 = 1.0;
/// Codes from this one up are [`Error::NonFinite`]: the difference numbers the quantity.
const NOT_FINITE: f64 = 2.0;

const QUANTITIES: [Quantity; 7] = [
    Quantity::Loss,
    Quantity::GradientNorm,
    Quantity::PerturbedLoss,
    Quantity::PerturbedGradientNorm,
    Quantity::HvpNorm,
    Quantity::DirectionNorm,
    Quantity::VectorNorm,
];

/// The error and its causes as `what: why: why that`; a cause that its parent already quotes is not repeated.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
