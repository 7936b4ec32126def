//! The grids of patches behind position embeddings, in a model and in a file.

use gnr_nn::{Entry, Layout};
use serde_json::Value;

use super::{
    file::{Stored, WeightFile},
    resample,
};

/// The entry of a safetensors file's metadata in which a run of gnr-train describes itself.
const RUN: &str = "gnr";

/// The grids, rows and columns, of a position embedding `[1, T, C]` in a file and in a model. The same number of tokens
/// without a place, such as the class token, precedes both.
#[derive(Debug)]
pub(super) struct Grids {
    /// The grid of the file. It is square unless the file says otherwise.
    pub(super) from: [usize; 2],
    /// The grid of the model.
    pub(super) to: [usize; 2],
    /// Whether the file says what its grid is.
    pub(super) recorded: bool,
    tokens: usize,
    channels: usize,
}

impl Grids {
    /// The grids behind a tensor of the file and the model's tensor; `None` for other tensors than position embeddings,
    /// and where a grid is not known.
    pub(super) fn of(entry: &Entry, stored: &Stored, layout: &Layout, file: &WeightFile) -> Option<Self> {
        if !entry.name.ends_with("pos_embed") {
            return None;
        }
        let (&[1, to, channels], &[1, from, same]) = (&entry.shape[..], &stored.shape[..]) else {
            return None;
        };
        if channels != same {
            return None;
        }
        let tokens = layout.entries().iter().filter(|entry| entry.name.ends_with("cls_token")).count();
        let (from, to) = (from.checked_sub(tokens)?, to.checked_sub(tokens)?);
        let known = layout.grid().filter(|grid| grid.iter().product::<usize>() == to);
        let to = known.or_else(|| square(to))?;
        let recorded = recorded(file, from);
        // As many positions as the model has may be the model's grid, if they make no square.
        let same = (to.iter().product::<usize>() == from).then_some(to);
        let grid = recorded.or_else(|| square(from)).or(same)?;
        Some(Self { from: grid, to, recorded: recorded.is_some(), tokens, channels })
    }

    /// Whether the positions of the file have other places than the model's.
    pub(super) fn differ(&self) -> bool {
        self.from != self.to
    }

    /// Interpolates the file's values to the model's grid.
    pub(super) fn resample(&self, values: &[f64]) -> Vec<f64> {
        let (tokens, grid) = values.split_at(self.tokens * self.channels);
        let grid = resample::bicubic(grid, self.from, self.to, self.channels);
        [tokens, &grid].concat()
    }
}

fn square(positions: usize) -> Option<[usize; 2]> {
    (positions > 0 && positions.isqrt().pow(2) == positions).then(|| [positions.isqrt(); 2])
}

/// The grid of a run's checkpoint: the sides of its images over the sides of a patch.
fn recorded(file: &WeightFile, positions: usize) -> Option<[usize; 2]> {
    let run: Value = serde_json::from_str(file.metadata().get(RUN)?).ok()?;
    let side = |axis: usize| Some(run.get("input")?.get(axis)?.as_u64()? as usize);
    let embedding = file.stored().iter().find(|tensor| tensor.name.ends_with("patch_embed.proj.weight"))?;
    let &[_, _, height, width] = &embedding.shape[..] else { return None };
    let grid = [side(1)?.checked_div(height)?, side(2)?.checked_div(width)?];
    (grid[0].checked_mul(grid[1]) == Some(positions)).then_some(grid)
}
