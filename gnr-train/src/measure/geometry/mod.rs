//! The geometry of the loss around a trained network: landscapes along lines and planes, extrema along random
//! directions, sharpness within a radius.
//!
//! | file | what it holds |
//! |---|---|
//! | `points.jsonl` | every finished evaluation; no evaluation is repeated, whenever the work was stopped |
//! | `landscape.csv` | `x,y,loss` (`x,loss` on a line) |
//! | `trajectory.csv` | `epoch,x,y,distance`: checkpoints in the landscape's plane, and their distance from it |
//! | `minima.csv` | `direction,distance,loss` |
//! | `minima_counts.csv` | `step,resolution,direction,minima,maxima` |
//! | `sharpness.csv` | `measure,rho,search,lower_bound,distance,evaluations,products` |
//! | `landscape.json`, `minima.json`, `sharpness.json` | the results with options and subject |

mod axes;
mod landscape;
mod minima;
pub(crate) mod points;
mod sharpness;
mod survey;

pub use axes::Axes;
pub use gnr_hessian::{Scaling, SmallTensors, worked_example};
pub use landscape::{LandscapeReport, LandscapeRequest, OnPlane, landscape};
pub use minima::{Counted, DirectionCounts, MinimaReport, MinimaRequest, minima};
pub use sharpness::{Bound, SharpnessReport, SharpnessRequest, sharpness};
pub use survey::GeometryRequest;
