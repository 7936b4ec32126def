//! What one rank did is what all of them did: an error of one is an error of all.

use super::Collective;
use crate::{Error, Quantity, Result};

/// Every rank tells how it fared, with a number beside it. Returns the numbers in rank order when all of them fared
/// well, and the same error on every rank when one did not: that of the lowest such rank.
///
/// # Errors
/// [`Error::NonFinite`] as it was; any other error as [`Error::Rank`], with the causes in its message; those of the
/// collective.
///
/// # Cost
/// One exchange of three numbers; after an error, one of messages.
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
/// And above: which quantity.
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

/// `what: why: why that`, without repeating a cause that its parent quotes already.
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
