//! Damage of inputs: changed bytes, lengths and numbers, pieces of other inputs, words of a format. Also bombs, which
//! repeat words of a format very often.

use crate::random::Random;

/// Numbers at which counters and lengths go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    1 << 60,
    i64::MAX as u64,
    u64::MAX,
];

/// A random index below `length`, which is at least 1. Indices near both ends are likelier, because formats have their
/// structure there.
fn place(length: usize, random: &mut Random) -> usize {
    match random.below(4) {
        0 => random.below(length),
        1 => length - 1 - random.below(length.min(120)),
        _ => random.below(length.min(400)),
    }
}

/// Makes one to six random changes of `bytes`, and ends when no byte is left. `pieces` are words of the format, and
/// parts of `others` are inserted.
pub fn damage<T: AsRef<[u8]>>(
    mut bytes: Vec<u8>,
    random: &mut Random,
    pieces: &[&[u8]],
    others: &[T],
) -> Vec<u8> {
    let most = 1 + random.below(6);
    for _ in 0..=random.below(most) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = place(bytes.len(), random);
        let span = at..(at + random.below(24)).min(bytes.len());
        match random.below(11) {
            0 => bytes[at] = random.word() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = bytes[at].wrapping_add(1).wrapping_sub(2 * (random.below(2) as u8)),
            3 => drop(bytes.drain(span)),
            4 => {
                let piece = bytes[span].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => bytes.truncate(at),
            6 => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                let number = if random.below(4) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
                let size = 1 << random.below(4);
                bytes.iter_mut().skip(at).zip(&number[..size]).for_each(|(byte, &new)| *byte = new);
            }
            7 if !others.is_empty() => {
                let other = others[random.below(others.len())].as_ref();
                let from = random.below(other.len());
                let piece = other[from..(from + random.below(64)).min(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            // Replaces a span by a number in digits, as headers and lists have them.
            8 => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_string();
                bytes.splice(span, number.into_bytes());
            }
            _ if !pieces.is_empty() => {
                let piece = pieces[random.below(pieces.len())].to_vec();
                let end = if random.below(2) == 0 { at } else { (at + piece.len()).min(bytes.len()) };
                bytes.splice(at..end, piece);
            }
            _ => bytes[at] = random.word() as u8,
        }
    }
    bytes
}

/// Inserts a run of one to three random `pieces`, repeated to at most `most` bytes, after the first `start` bytes of
/// `valid`.
///
/// # Panics
/// When `pieces` is empty.
pub fn bomb(valid: &[u8], start: usize, most: usize, random: &mut Random, pieces: &[&[u8]]) -> Vec<u8> {
    let mut piece = Vec::new();
    for _ in 0..=random.below(3) {
        piece.extend_from_slice(pieces[random.below(pieces.len())]);
    }
    let times = (1 << random.below(20)).min(most / piece.len().max(1));
    let (before, after) = valid.split_at(start.min(valid.len()));
    [before, &piece.repeat(times), after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_damage_and_another_one_another() {
        let valid: Vec<u8> = (0..200).collect();
        let damaged = |n| damage(valid.clone(), &mut Random::new(n), &[b"word"], &[&valid]);
        let different = (0..100).filter(|&n| damaged(n) != damaged(n + 1)).count();
        assert!((0..100).all(|n| damaged(n) == damaged(n)) && different > 90, "{different}");
        // A change may leave the input as it was, such as a byte replaced by its own value. Nearly none does.
        assert!((0..100).filter(|&n| damaged(n) != valid).count() > 90);
    }

    #[test]
    fn bombs_keep_to_their_size() {
        for n in 0..100 {
            let bomb = bomb(&[1, 2, 3], 2, 1000, &mut Random::new(n), &[b"abc", b"d"]);
            assert!(bomb.len() <= 1003 && bomb.starts_with(&[1, 2]) && bomb.ends_with(&[3]), "{bomb:?}");
        }
    }
}
