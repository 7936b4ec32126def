//! Images as tokens: patches, (shifted) windows, and the biases between the tokens of a window. Each is one gather.

use super::{Arithmetic, arithmetic::image_shape};
use crate::{Error, Result};

/// Cuts images `[N, C, H, W]` into square patches of `side` pixels: `[N, H/side·W/side, C·side²]`. Patches come row by
/// row; the elements of a patch are ordered by channel, row, column, as in the weights of a convolution `[D, C, side,
/// side]`.
///
/// # Errors
/// When H or W is not a multiple of `side`.
pub fn patches<B: Arithmetic>(b: &B, x: &B::Tensor, side: usize) -> Result<B::Tensor> {
    let [n, c, h, w] = image_shape("patches", b.shape(x))?;
    if side == 0 || h % side != 0 || w % side != 0 {
        let expected = format!("height and width that are multiples of {side}");
        return Err(Error::InvalidShape { op: "patches", expected, found: vec![n, c, h, w] });
    }
    let (rows, columns) = (h / side, w / side);
    let split = b.reshape(x, &[n, c, rows, side, columns, side])?;
    b.reshape(&b.permute(&split, &[0, 2, 4, 1, 3, 5])?, &[n, rows * columns, c * side * side])
}

/// A grid of tokens, cut into square windows after a cyclic shift. Where the windows do not divide the grid, it is
/// padded with zeros at the bottom and the right.
///
/// As in torchvision, an axis that one window covers is not shifted.
///
/// # References
/// Liu et al., "Swin Transformer", ICCV 2021, section 3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    grid: [usize; 2],
    padded: [usize; 2],
    window: usize,
    shift: [usize; 2],
}

impl Windows {
    /// Windows of `window`×`window` tokens over a grid of `grid` rows and columns, shifted by `shift` < `window`.
    ///
    /// # Errors
    /// An empty grid or window, or a shift that is not below the window.
    pub fn new(grid: [usize; 2], window: usize, shift: usize) -> Result<Self> {
        if grid.contains(&0) || shift >= window {
            return Err(Error::Invalid(format!(
                "windows of {window} shifted by {shift} over a grid of {grid:?}: the shift must be below the window, and the \
                 grid not empty"
            )));
        }
        let padded = grid.map(|length| length.next_multiple_of(window));
        let shift = padded.map(|length| if window >= length { 0 } else { shift });
        Ok(Self { grid, padded, window, shift })
    }
    /// The number of windows of one image.
    pub fn count(&self) -> usize {
        self.padded.iter().map(|length| length / self.window).product()
    }
    /// The number of tokens of a window.
    pub fn tokens(&self) -> usize {
        self.window * self.window
    }

    /// Cuts the grid into windows: `[N, H·W, C]` → `[N·count, tokens, C]`.
    ///
    /// # Errors
    /// When x does not belong to this grid.
    pub fn partition<B: Arithmetic>(&self, b: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let [h, w] = self.grid;
        let &[n, tokens, c] = b.shape(x) else { return Err(self.invalid("windows", h * w, b.shape(x))) };
        if tokens != h * w {
            return Err(self.invalid("windows", h * w, b.shape(x)));
        }
        let across = self.padded[1] / self.window;
        let source = |i: usize| {
            let (window, inside) = (i / self.tokens(), i % self.tokens());
            let row = window / across * self.window + inside / self.window;
            let column = window % across * self.window + inside % self.window;
            let row = (row + self.shift[0]) % self.padded[0];
            let column = (column + self.shift[1]) % self.padded[1];
            (row < h && column < w).then_some(row * w + column)
        };
        let indices: Vec<_> = (0..self.count() * self.tokens()).map(source).collect();
        b.reshape(&b.gather(x, 1, &indices)?, &[n * self.count(), self.tokens(), c])
    }

    /// Puts windows back into the grid, without the padding: `[N·count, tokens, C]` → `[N, H·W, C]`.
    ///
    /// # Errors
    /// When y does not belong to these windows.
    pub fn merge<B: Arithmetic>(&self, b: &B, y: &B::Tensor) -> Result<B::Tensor> {
        let [h, w] = self.grid;
        let (count, tokens) = (self.count(), self.tokens());
        let &[windows, t, c] = b.shape(y) else { return Err(self.invalid("merge", tokens, b.shape(y))) };
        if t != tokens || windows % count != 0 {
            return Err(self.invalid("merge", tokens, b.shape(y)));
        }
        let across = self.padded[1] / self.window;
        let place = |i: usize| {
            let row = (i / w + self.padded[0] - self.shift[0]) % self.padded[0];
            let column = (i % w + self.padded[1] - self.shift[1]) % self.padded[1];
            let window = row / self.window * across + column / self.window;
            Some(window * tokens + row % self.window * self.window + column % self.window)
        };
        let indices: Vec<_> = (0..h * w).map(place).collect();
        b.gather(&b.reshape(y, &[windows / count, count * tokens, c])?, 1, &indices)
    }

    /// The mask to be added to the scores within each window, `[count, tokens, tokens]`. It is −100, as published,
    /// between tokens that are neighbours by the cyclic shift alone; `None` without a shift.
    pub fn mask(&self) -> Option<Vec<f64>> {
        if self.shift == [0, 0] {
            return None;
        }
        // A shifted axis has three regions: before the last window, in it, and the part that was moved around the edge.
        let region = |axis: usize, at: usize| match self.shift[axis] {
            0 => 0,
            shift => {
                usize::from(at >= self.padded[axis] - self.window)
                    + usize::from(at >= self.padded[axis] - shift)
            }
        };
        let (across, tokens) = (self.padded[1] / self.window, self.tokens());
        let mut mask = Vec::with_capacity(self.count() * tokens * tokens);
        for window in 0..self.count() {
            let of = |inside: usize| {
                let row = window / across * self.window + inside / self.window;
                let column = window % across * self.window + inside % self.window;
                (region(0, row), region(1, column))
            };
            for i in 0..tokens {
                mask.extend((0..tokens).map(|j| if of(i) == of(j) { 0.0 } else { -100.0 }));
            }
        }
        Some(mask)
    }

    fn invalid(&self, op: &'static str, tokens: usize, found: &[usize]) -> Error {
        let expected = format!("[N, {tokens}, C] for {self:?}");
        Error::InvalidShape { op, expected, found: found.to_vec() }
    }
}

/// The bias between any two tokens of a window, `[1, heads, window², window²]`, from a table `[(2·window − 1)², heads]`
/// of relative positions.
///
/// # Errors
/// When the table has another number of rows.
pub fn relative_bias<B: Arithmetic>(b: &B, table: &B::Tensor, window: usize) -> Result<B::Tensor> {
    let (side, tokens) = ((2 * window).saturating_sub(1), window * window);
    let heads = match b.shape(table) {
        &[rows, heads] if rows == side * side => heads,
        found => {
            let (op, expected) = ("relative_bias", format!("[{}, heads]", side * side));
            return Err(Error::InvalidShape { op, expected, found: found.to_vec() });
        }
    };
    let index = |pair: usize| {
        let (i, j) = (pair / tokens, pair % tokens);
        let rows = i / window + window - 1 - j / window;
        let columns = i % window + window - 1 - j % window;
        Some(rows * side + columns)
    };
    let indices: Vec<_> = (0..tokens * tokens).map(index).collect();
    let pairs = b.gather(table, 0, &indices)?;
    b.reshape(&b.permute(&pairs, &[1, 0])?, &[1, heads, tokens, tokens])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 4×4 grid in windows of 2, shifted by 1: the last window holds the four corners, each of which may attend to
    /// itself alone.
    #[test]
    fn corners_that_meet_by_the_shift_are_masked() {
        let windows = Windows::new([4, 4], 2, 1).unwrap();
        let mask = windows.mask().unwrap();
        assert_eq!((windows.count(), mask.len()), (4, 4 * 16));
        assert!(mask[..16].iter().all(|m| *m == 0.0), "the first window was together before");
        let last: Vec<_> = (0..16).map(|k| if k % 5 == 0 { 0.0 } else { -100.0 }).collect();
        assert_eq!(mask[48..], last);
    }

    #[test]
    fn an_axis_that_one_window_covers_is_not_shifted() {
        assert_eq!(Windows::new([3, 3], 4, 2).unwrap().mask(), None);
        let flat = Windows::new([3, 8], 4, 2).unwrap();
        assert_eq!((flat.shift, flat.count()), ([0, 2], 2));
        assert_eq!(Windows::new([7, 7], 7, 3).unwrap().count(), 1);
    }
}
