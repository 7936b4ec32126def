//! Curvature of a trained network: eigenpairs, trace, density and diagonal of its Hessian or Gauss–Newton matrix over a
//! sample of images. The results are files in a folder.
//!
//! | file | what it holds |
//! |---|---|
//! | `spectrum.csv` | `rank,end,eigenvalue,residual,verdict`, one line a pair in the order of the report |
//! | `trace.csv` | `sample,estimate` |
//! | `density.csv` | `lambda,density,standard_error`: the smoothed density (integral 1) on a grid |
//! | `density_nodes.csv` | `start,node,weight`: the quadratures it was made of (weights of a start sum to 1) |
//! | `spectrum.json`, `trace.json`, `density.json` | the results with options, subject and cost |
//! | `eigenvectors.safetensors` | `eigenvector.K.TENSOR` for K = 0, 1, …, with the shapes of the model's tensors |
//! | `diagonal.safetensors` | `diagonal.TENSOR` and its `standard_error.TENSOR` |
//! | `state.safetensors` | unfinished work, for resuming |
//! | `curvature.lock` | held by the process that measures in the folder |

mod density;
mod files;
mod session;
mod spectrum;
pub(crate) mod state;
mod trace;

pub use density::{DensityReport, DensityRequest, density};
pub use session::{Check, Cost, CurvatureRequest, OperatorKind, Point};
pub use spectrum::{End, Method, PairReport, SpectrumReport, SpectrumRequest, spectrum};
pub use trace::{TraceMethod, TraceReport, TraceRequest, trace};
