//! Hessian spectra from matrix-vector products only.
//!
//! The crate sees a symmetric linear operator ([`SymmetricOperator`]) and a budget of matvecs, never a network or a tensor
//! library. [`Hessian`] makes the operator of any [`HvpOracle`](gnr_core::HvpOracle) at one point.
//!
//! **Dominant** eigenvalues are those of largest modulus, **top** ones the largest algebraically; the two are never mixed.
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

mod determinism;
mod error;
mod operator;
mod power_iteration;

pub use determinism::{Determinism, determinism_check};
pub use error::{Error, Result};
pub use operator::{Hessian, SymmetricOperator};
pub use power_iteration::{Eigenpair, PowerIteration, Verdict, dominant_eigenpairs, power_iteration};
