//! (Block) Lanczos with thick restart: eigenpairs at either end of the spectrum, or at both.

mod state;
pub(crate) mod step;

pub use state::{Good, Lanczos, LanczosState, Reorthogonalization, Which};

use crate::{Draw, Eigenpair, Error, Result, SymmetricOperator, Verdict, dense::Eigh};
use gnr_core::Vector;
use std::ops::ControlFlow;

/// The progress of a run after a block of products.
#[derive(Clone, Debug)]
pub struct LanczosProgress {
    /// Matvecs so far.
    pub num_matvecs: usize,
    /// Budget of matvecs.
    pub budget: usize,
    /// Vectors in the basis.
    pub basis: usize,
    /// Thick restarts so far.
    pub restarts: usize,
    /// Wanted pairs that have converged.
    pub converged: usize,
    /// Number of wanted pairs.
    pub wanted: usize,
    /// Value and residual of each wanted pair that has an estimate, in the order of reports, from the last look at the
    /// projected matrix.
    pub pairs: Vec<(f64, f64)>,
}

/// The observer of a run, called with its state and progress after each block of products. It may save the state, and
/// it may break.
pub type LanczosObserver<'o, V> = &'o mut dyn FnMut(&LanczosState<V>, &LanczosProgress) -> ControlFlow<()>;

/// The reason why a [`lanczos`] run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanczosEnd {
    /// Every wanted pair has converged.
    Converged,
    /// The matvecs were used up, or the basis spans a space to which no vector can be added.
    BudgetExhausted,
    /// The observer asked to stop. The run can be continued from the state.
    Stopped,
}

/// Runs until the wanted eigenpairs have converged, the budget is used up or the observer breaks.
///
/// Lanczos' process with blocks of [`Lanczos::block`] vectors on an orthonormal basis V, T = VᵀHV, restarted with the
/// best Ritz vectors whenever the basis is full. Residuals come from the recurrence, H·V = V·T + W·C: ‖H·Vs − θ·Vs‖ =
/// ‖C·s‖, exact up to the rounding of products and of the basis' orthogonality.
///
/// A call with equal arguments on a state that was stopped and saved continues the run, and gives the numbers of a run
/// without the stop.
///
/// An eigenvalue of multiplicity m is found as often as the start vectors see it: once with `block = 1` in exact
/// arithmetic, up to `block` times with blocks (rounding errors bring the other copies in, later).
///
/// # Errors
/// The errors of the operator; [`gnr_core::Error::NonFinite`] for a product that is not finite; a state of another
/// configuration.
///
/// # Cost
/// At most [`Lanczos::num_matvecs`] products, rounded up to whole blocks. With n vectors in the basis, full
/// reorthogonalisation takes 2n to 4n inner products and updates a matvec; a restart, (basis·kept) updates.
///
/// # References
/// Wu and Simon, "Thick-restart Lanczos method for large symmetric eigenvalue problems", SIAM J. Matrix Anal. Appl. 22,
/// 2000; Golub and Van Loan, "Matrix Computations", 4th ed., Sections 10.1–10.3.
pub fn lanczos<A: SymmetricOperator>(
    operator: &mut A,
    options: &Lanczos,
    state: &mut LanczosState<A::Vector>,
    probes: &impl Draw<A::Vector>,
    observer: LanczosObserver<'_, A::Vector>,
) -> Result<LanczosEnd> {
    let dim = operator.dim();
    options.check(dim)?;
    state.check()?;
    loop {
        let n = state.basis.len();
        let look = state.next.is_empty()
            || (n > 0 && options.is_due(n, state.num_matvecs))
            || state.num_matvecs >= options.num_matvecs;
        let mut converged = 0;
        if look && n > 0 {
            let ritz = state.ritz();
            let estimates = state.estimates(&ritz, options);
            converged = estimates.iter().filter(|estimate| estimate.converged).count();
            state.progress = estimates.iter().map(|estimate| (estimate.value, estimate.residual)).collect();
            state.converged = converged;
        }
        let wanted = options.wanted().min(dim);
        if n > 0 {
            let progress = LanczosProgress {
                num_matvecs: state.num_matvecs,
                budget: options.num_matvecs,
                basis: n,
                restarts: state.restarts,
                converged: state.converged,
                wanted,
                pairs: state.progress.clone(),
            };
            // The observer is called before the verdict, so that it sees the last state, too.
            let flow = observer(state, &progress);
            if look && converged >= wanted {
                return Ok(LanczosEnd::Converged);
            }
            if state.next.is_empty() || state.num_matvecs >= options.num_matvecs {
                return Ok(LanczosEnd::BudgetExhausted);
            }
            if flow.is_break() {
                return Ok(LanczosEnd::Stopped);
            }
        } else if state.next.is_empty() || options.num_matvecs == 0 {
            return Ok(LanczosEnd::BudgetExhausted);
        }
        if n + state.next.len() > options.basis_limit(dim) {
            state.restart(options)?;
        }
        state.expand(operator, options, probes)?;
    }
}

/// The quality of a wanted Ritz pair.
struct Estimate {
    /// Position among the Ritz values.
    index: usize,
    value: f64,
    residual: f64,
    converged: bool,
}

impl<V: Vector> LanczosState<V> {
    /// The wanted Ritz pairs, in the order of `Which`.
    fn estimates(&self, ritz: &Eigh, options: &Lanczos) -> Vec<Estimate> {
        let largest = ritz.values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let order = options.which.order(&ritz.values);
        let wanted = order.into_iter().take(options.wanted());
        wanted
            .map(|index| {
                let (value, residual) = (ritz.values[index], self.residual(&ritz.vectors[index]));
                let allowed = (options.tolerance * value.abs()).max(options.floor * largest);
                Estimate { index, value, residual, converged: residual <= allowed }
            })
            .collect()
    }

    /// The wanted eigenpairs so far, in the order of [`Which`], each with its residual and verdict.
    ///
    /// # Errors
    /// The errors of vectors.
    ///
    /// # Cost
    /// For each pair as many vector updates as there are vectors in the basis; no products.
    pub fn eigenpairs(&self, options: &Lanczos) -> Result<Vec<Eigenpair<V>>> {
        let ritz = self.ritz();
        self.estimates(&ritz, options)
            .into_iter()
            .map(|estimate| {
                let mut vector = self.combine(&ritz.vectors[estimate.index])?;
                vector.scale(1.0 / vector.norm()?)?;
                Ok(Eigenpair {
                    value: estimate.value,
                    vector,
                    residual: estimate.residual,
                    num_matvecs: self.num_matvecs,
                    verdict: if estimate.converged { Verdict::Converged } else { Verdict::BudgetExhausted },
                })
            })
            .collect()
    }
}

/// The Rayleigh quotient ⟨v, Hv⟩ and the residual ‖Hv − ⟨v, Hv⟩v‖ of every vector v, by a product for
/// each. They check the residuals that a recurrence gives.
///
/// # Errors
/// The errors of the operator.
///
/// # Cost
/// One matvec a vector.
pub fn residuals<A: SymmetricOperator>(operator: &mut A, vectors: &[A::Vector]) -> Result<Vec<(f64, f64)>> {
    let mut products = operator.matvec_block(vectors)?;
    (vectors.iter().zip(&mut products))
        .map(|(v, product)| {
            let value = v.dot(product)?;
            product.axpy(-value, v)?;
            Ok((value, product.norm()?))
        })
        .collect()
}

impl Lanczos {
    fn check(&self, dim: usize) -> Result<()> {
        let asked = self.wanted();
        if asked > dim {
            return Err(Error::TooManyEigenpairs { asked, dim });
        }
        if self.block == 0 || asked == 0 {
            return Err(Error::Configuration(
                "at least one eigenpair and one vector a block are needed".into(),
            ));
        }
        Ok(())
    }
}
