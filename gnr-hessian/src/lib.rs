//! Hessian spectra from matrix-vector products only.
//!
//! The crate sees a symmetric linear operator ([`SymmetricOperator`]) and a budget of matvecs, never a network or a
//! tensor library. [`Hessian`] makes the operator of any [`HvpOracle`](gnr_core::HvpOracle) at one point.
//!
//! | question | answer |
//! |---|---|
//! | eigenpairs at an end of the spectrum | [`lanczos()`]; [`power_iteration`] with deflation |
//! | the trace | [`hutchinson()`], [`hutch_plus_plus`], [`xtrace`](fn@xtrace) |
//! | the whole density | [`spectral_density`] |
//! | the diagonal | [`diagonal`](fn@diagonal) |
//! | the loss along lines and planes | [`Subspace`], [`scale_direction`], [`count_extrema`], [`principal_directions`] |
//! | is it one fixed symmetric matrix? | [`determinism_check`] |
//!
//! [`Hessian`] of an oracle with Gauss–Newton products is the Gauss–Newton matrix. Random vectors come from [`Probes`],
//! numbered and seeded, so that stopped work goes on with the vectors it would have had.
//!
//! **Dominant** eigenvalues are those of largest modulus, **top** ones the largest algebraically; the two are never
//! mixed.
//!
//! ```
//! use gnr_core::{GradOracle, Order, Pass, testing::{ProblemOracle, Quadratic}};
//! use gnr_hessian::{Hessian, PowerIteration, power_iteration};
//!
//! # fn main() -> gnr_hessian::Result<()> {
//! let mut oracle = ProblemOracle::new(Quadratic::diagonal(&[1.0, -3.0, 2.0]));
//! let theta = vec![0.5, 0.5, 0.5];
//! let here = oracle.evaluate(&theta, Pass::Probe, Order::Second)?;
//! let mut hessian = Hessian::new(&mut oracle, &here);
//! let dominant = power_iteration(&mut hessian, vec![1.0, 1.0, 1.0], PowerIteration::default())?;
//! assert!(dominant.converged() && (dominant.value + 3.0).abs() <= dominant.residual + 1e-12);
//! # Ok(())
//! # }
//! ```

pub mod dense;
mod density;
mod determinism;
mod diagonal;
mod error;
mod geometry;
mod interval;
mod lanczos;
mod operator;
mod power_iteration;
mod probes;
mod trace;

pub use density::{DensityOptions, DensityState, Quadrature, SpectralDensity, spectral_density};
pub use determinism::{Determinism, determinism_check};
pub use diagonal::{DiagonalEstimate, diagonal};
pub use error::{Error, Result};
pub use geometry::{
    Extrema, PrincipalDirections, Scaling, SmallTensors, Subspace, count_extrema, linspace,
    principal_directions, scale_direction, worked_example,
};
pub use interval::{Interval, Stopping, mean_interval, student_t_quantile, student_t_within};
pub use lanczos::{
    Good, Lanczos, LanczosEnd, LanczosObserver, LanczosProgress, LanczosState, Reorthogonalization, Which,
    lanczos, residuals,
};
pub use operator::{Hessian, Observed, SymmetricOperator};
pub use power_iteration::{Eigenpair, PowerIteration, Verdict, dominant_eigenpairs, power_iteration};
pub use probes::{Distribution, Draw, Probes, host_probes};
pub use trace::{
    CORRELATION, HutchPlusPlus, Hutchinson, TraceEnd, TraceEstimate, TraceObserver, TraceProgress, XTrace,
    hutch_plus_plus, hutchinson, xtrace,
};

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
