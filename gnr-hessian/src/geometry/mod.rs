//! The loss as a landscape: lines and planes through a point, extrema along them, directions that are comparable
//! between networks, and the principal directions of training.

mod direction;
mod extrema;
mod subspace;
mod trajectory;
pub mod worked_example;

pub use direction::{Scaling, SmallTensors, scale_direction};
pub use extrema::{Extrema, count_extrema};
pub use subspace::{Subspace, linspace};
pub use trajectory::{PrincipalDirections, principal_directions};
