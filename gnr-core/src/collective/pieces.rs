//! Messages of any length, gathered in pieces of bounded length.

use super::Packed;
use crate::Result;

/// Gathers the messages of `size` ranks, at most `most` bytes a step, or one byte of each rank if `most` is less.
pub(super) fn messages(
    size: usize,
    own: Vec<u8>,
    most: usize,
    gather: impl Fn(Packed, &[usize]) -> Result<Packed>,
) -> Result<Vec<Vec<u8>>> {
    let lengths = gather(Packed::Double(vec![own.len() as f64]), &vec![1; size])?.doubles()?;
    let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
    if lengths.iter().sum::<usize>() <= most {
        let mut all = gather(Packed::Bytes(own), &lengths)?.bytes()?.into_iter();
        return Ok(lengths.into_iter().map(|length| all.by_ref().take(length).collect()).collect());
    }
    // Every rank knows all lengths, so all of them make equally many steps.
    let piece = (most / size.max(1)).max(1);
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut messages: Vec<Vec<u8>> = lengths.iter().map(|length| Vec::with_capacity(*length)).collect();
    for start in (0..longest).step_by(piece) {
        let counts: Vec<usize> =
            lengths.iter().map(|length| length.saturating_sub(start).min(piece)).collect();
        let own = own.iter().skip(start).take(piece).copied().collect();
        let all = gather(Packed::Bytes(own), &counts)?.bytes()?;
        let mut rest = &all[..];
        for (message, count) in messages.iter_mut().zip(counts) {
            let (part, after) = rest.split_at(count);
            message.extend_from_slice(part);
            rest = after;
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, testing::Threads};

    /// Messages of several lengths arrive whole, and no step gathers more than it may.
    #[test]
    fn pieces_make_the_messages() {
        for most in [0, 1, 7, 30, 1000] {
            for lengths in [vec![0, 0, 0], vec![20, 0, 3], vec![1, 8, 13]] {
                let messages_of = |rank: usize| (0..lengths[rank]).map(|i| (31 * rank + i) as u8).collect();
                let found = Threads::run(3, |ranks| {
                    let bounded = |own: Packed, counts: &[usize]| match &own {
                        Packed::Bytes(_) if counts.iter().sum::<usize>() > most.max(3) => {
                            Err(Error::Oracle(format!("{counts:?} in one step")))
                        }
                        _ => ranks.gather(own, counts),
                    };
                    messages(3, messages_of(ranks.rank()), most, bounded)
                });
                let expected: Vec<Vec<u8>> = (0..3).map(messages_of).collect();
                for found in found {
                    assert_eq!(found.unwrap(), expected, "at most {most} bytes");
                }
            }
        }
    }
}
