//! 3x3 stride-1 `f32` convolutions by Winograd's F(4x4, 3x3).
//!
//! Each 6x6 input patch gives a 4x4 output tile with 36 products per pair of channels instead of 144. F(2x2, 3x3), in
//! [`super::winograd`], takes 64 for the same tile.
//!
//! `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`. *Channels* are the lanes of the vectors, so no map is too small; maps are
//! transposed on the way in and out. The interpolation points are 0, ±5/8, ±3/2, ∞: all powers that occur are exact.
//! Rounding errors are half of what the usual 0, ±1, ±2, ∞ give: 8e-7 relative (root mean square, 64 channels). That is
//! two to five times the error of direct summation (see the tests).
//!
//! | file | contents |
//! |---|---|
//! | `points` | the one-dimensional transforms |
//! | `expand` | maps to transformed tiles: inputs `Bᵀ d B`, output adjoints `A ∂Y Aᵀ` |
//! | `weights` | `G g Gᵀ` and its transpose |
//! | `contract` | transformed products to maps: `Aᵀ M A` |
//! | `forward` | convolution and input gradient |
//! | `gradient` | weight gradient |
//! | `strided` | stride 2: F(4x4, 2x2) on the four phases of a map |
//!
//! # References
//! Lavin & Gray, *Fast Algorithms for Convolutional Neural Networks* (CVPR 2016). Points: Barabasz, Anderson,
//! Soodhalter & Gregg, *Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks*
//! (ACM TOMS 2020).

mod contract;
mod expand;
mod forward;
mod gradient;
mod points;
pub(super) mod strided;
mod weights;

pub(super) use forward::run;
pub(super) use gradient::run as run_gradient;

use super::Geometry;
use super::blocks::Cut;
use super::product::padded;
use super::winograd::Shape;

/// Products of one tile and one pair of channels: 6 x 6.
const POINTS: usize = 36;

/// Side of an output tile.
const TILE: usize = 4;

/// Number of channels in one group of lanes.
const LANES: usize = super::product::COLUMNS;

/// Whether F(4x4, 3x3) is faster than F(2x2, 3x3). Products are counted, with those that tiles and groups of lanes
/// waste.
pub(super) fn pays(g: &Geometry) -> bool {
    if !Shape::fits(g) || g.c.min(g.o) < 8 {
        return false;
    }
    let tiles = |side: usize| g.oh.div_ceil(side) * g.ow.div_ceil(side);
    let wasted = |channels: usize| padded(channels) as f64 / channels as f64;
    let (four, two) = ((POINTS * tiles(TILE)) as f64, (16 * tiles(2)) as f64);
    four * wasted(g.c).max(wasted(g.o)) <= 0.85 * two
}

/// Numbers of tiles over the output maps.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn of(s: &Shape) -> Self {
        Tiles { rows: s.oh.div_ceil(TILE), columns: s.ow.div_ceil(TILE) }
    }
    /// Number of tiles of one image.
    fn count(&self) -> usize {
        self.rows * self.columns
    }
    /// Cuts the tiles into blocks of about `target` tiles.
    fn cut(&self, target: usize) -> Cut {
        Cut::new(self.rows, self.columns, target)
    }
}

/// Output channels that a product computes at a time: two vectors of [`LANES`] if they divide the channels.
fn width(channels: usize) -> usize {
    if padded(channels).is_multiple_of(2 * LANES) { 2 * LANES } else { LANES }
}

/// Distance between transformed tiles of `count` operands of `channels` channels, stored side by side. Leaves room for
/// the last group of lanes, and avoids large powers of two: those would map neighbours to the same sets of the
/// first-level cache.
fn tile_row(channels: usize, count: usize) -> usize {
    let row = padded((count - 1) * channels + padded(channels));
    if row.is_multiple_of(512) { row + LANES } else { row }
}
