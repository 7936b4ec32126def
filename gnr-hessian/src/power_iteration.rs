//! Power iteration: the eigenvalues of largest modulus, one after the other.

use crate::{Error, Result, SymmetricOperator};
use gnr_core::Vector;

/// Budget and accuracy of a power iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerIteration {
    /// Matvecs for each eigenpair, at most (default 100).
    pub num_matvecs: usize,
    /// A pair has converged when ‖Hv − λv‖ ≤ tolerance·|λ₁|, where λ₁ is the dominant eigenvalue
    /// (default 1e-6).
    pub tolerance: f64,
}

impl Default for PowerIteration {
    fn default() -> Self {
        Self { num_matvecs: 100, tolerance: 1e-6 }
    }
}

/// The outcome of an iteration: whether its pair has converged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The residual is within the tolerance.
    Converged,
    /// The matvecs were used up first, or nothing was left to iterate with: the pair is the best estimate so far.
    BudgetExhausted,
}

/// An approximate eigenpair, and how good it is.
#[derive(Clone, Debug)]
pub struct Eigenpair<V> {
    /// The eigenvalue λ = ⟨v, Hv⟩, a Rayleigh quotient.
    pub value: f64,
    /// The eigenvector v, of norm 1.
    pub vector: V,
    /// The residual ‖Hv − λv‖. A symmetric H has an eigenvalue within this distance of λ.
    pub residual: f64,
    /// Number of matvecs spent on this pair. A Lanczos run gives its matvecs so far, which all pairs share.
    pub num_matvecs: usize,
    /// Why the iteration ended.
    pub verdict: Verdict,
}

impl<V> Eigenpair<V> {
    /// Whether the residual is within the tolerance.
    pub fn converged(&self) -> bool {
        self.verdict == Verdict::Converged
    }
}

/// The dominant eigenpair: v ← Hv/‖Hv‖ until ‖Hv − λv‖ is small.
///
/// The error falls like |λ₂/λ₁|ᵏ. When λ and −λ are both dominant the iteration does not converge, and the
/// verdict says so. A start that is itself an eigenvector stays one: use a random vector.
///
/// # Errors
/// [`Error::DegenerateStart`] for a zero start vector; those of the operator; [`gnr_core::Error::NonFinite`] for a
/// product that is not finite.
///
/// # Cost
/// At most [`PowerIteration::num_matvecs`] matvecs; two vectors beside the start.
///
/// # References
/// Golub and Van Loan, "Matrix Computations", 4th ed., Section 8.2.1.
pub fn power_iteration<A: SymmetricOperator>(
    operator: &mut A,
    start: A::Vector,
    options: PowerIteration,
) -> Result<Eigenpair<A::Vector>> {
    deflated(operator, &[], start, options)
}

/// The `count` eigenpairs of largest modulus, in the order found; each iteration is kept orthogonal to the pairs before
/// it.
///
/// `starts` gives one start vector for each pair (random ones). Convergence of pair k goes like |λₖ₊₁/λₖ|;
/// the accuracy of earlier pairs limits that of later ones. The residuals show this, because they are measured with H
/// itself. Eigenvalues of almost equal modulus may come in either order.
///
/// # Errors
/// The errors of [`power_iteration`]; [`Error::TooManyEigenpairs`], [`Error::MissingStart`].
///
/// # Cost
/// At most `count`·[`PowerIteration::num_matvecs`] matvecs; `count` + 2 vectors, and `count` inner products a matvec.
pub fn dominant_eigenpairs<A: SymmetricOperator>(
    operator: &mut A,
    count: usize,
    starts: impl IntoIterator<Item = A::Vector>,
    options: PowerIteration,
) -> Result<Vec<Eigenpair<A::Vector>>> {
    if count > operator.dim() {
        return Err(Error::TooManyEigenpairs { asked: count, dim: operator.dim() });
    }
    let mut pairs = Vec::with_capacity(count);
    for start in starts.into_iter().take(count) {
        let pair = deflated(operator, &pairs, start, options)?;
        pairs.push(pair);
    }
    if pairs.len() < count {
        return Err(Error::MissingStart { expected: count, found: pairs.len() });
    }
    Ok(pairs)
}

/// Power iteration in the orthogonal complement of the vectors of `found`.
fn deflated<A: SymmetricOperator>(
    operator: &mut A,
    found: &[Eigenpair<A::Vector>],
    start: A::Vector,
    options: PowerIteration,
) -> Result<Eigenpair<A::Vector>> {
    let mut v = start;
    let before = v.norm()?;
    orthogonalise(&mut v, found)?;
    let norm = v.norm()?;
    // What is left of a start in the span of `found` is rounding error.
    if norm <= 1e-6 * before {
        return Err(Error::DegenerateStart { index: found.len() });
    }
    v.scale(1.0 / norm)?;

    let mut used = 0;
    loop {
        let mut product = operator.matvec(&v)?;
        used += 1;
        let value = v.dot(&product)?;
        // The residual as √(‖Hv‖² − λ²) would lose half the digits.
        let mut rest = product.clone();
        rest.axpy(-value, &v)?;
        let residual = rest.norm()?;
        let dominant = found.first().map_or(value.abs(), |first| first.value.abs());
        let converged = residual <= options.tolerance * dominant;
        orthogonalise(&mut product, found)?;
        let norm = product.norm()?;
        // A product of which nothing is left cannot be iterated with.
        if converged || used >= options.num_matvecs || norm == 0.0 {
            let verdict = if converged { Verdict::Converged } else { Verdict::BudgetExhausted };
            return Ok(Eigenpair { value, vector: v, residual, num_matvecs: used, verdict });
        }
        v = product;
        v.scale(1.0 / norm)?;
    }
}

/// Orthogonalises v ← (I − Σ uuᵀ)v twice, because one pass leaves rounding errors that the iteration would
/// amplify.
fn orthogonalise<V: Vector>(v: &mut V, found: &[Eigenpair<V>]) -> Result<()> {
    for pair in found.iter().chain(found) {
        let overlap = v.dot(&pair.vector)?;
        v.axpy(-overlap, &pair.vector)?;
    }
    Ok(())
}
