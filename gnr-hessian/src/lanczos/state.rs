//! The options of a Lanczos run, and the state from which it can be continued.

use crate::{
    Distribution, Draw, Error, Result,
    dense::{Eigh, Square, eigh},
};
use gnr_core::Vector;

/// The end of the spectrum that is wanted, and the number of eigenvalues there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The largest eigenvalues, falling.
    Top(usize),
    /// The smallest (most negative) eigenvalues, rising.
    Bottom(usize),
    /// The eigenvalues of largest modulus, by falling modulus.
    Dominant(usize),
    /// The given number of eigenvalues from either end, the top ones first.
    BothEnds(usize),
}

impl Which {
    /// Number of wanted pairs in all.
    pub fn count(self) -> usize {
        match self {
            Self::Top(count) | Self::Bottom(count) | Self::Dominant(count) => count,
            Self::BothEnds(count) => 2 * count,
        }
    }

    /// Positions of ascending `values` by preference: the wanted ones first, in the order of reports.
    pub(super) fn order(self, values: &[f64]) -> Vec<usize> {
        let n = values.len();
        match self {
            Self::Top(_) => (0..n).rev().collect(),
            Self::Bottom(_) => (0..n).collect(),
            Self::Dominant(_) => {
                let mut order: Vec<usize> = (0..n).rev().collect();
                order.sort_by(|&i, &j| values[j].abs().total_cmp(&values[i].abs()));
                order
            }
            Self::BothEnds(count) => {
                let (top, bottom) = (count.min(n), count.min(n - count.min(n)));
                let ends = (0..top).map(|i| n - 1 - i).chain(0..bottom);
                // The rest, of which a restart may keep a part, follows from outside to inside.
                let middle = (bottom..n - top).collect::<Vec<_>>();
                let inwards = (0..middle.len())
                    .map(|i| if i % 2 == 0 { middle[middle.len() - 1 - i / 2] } else { middle[i / 2] });
                ends.chain(inwards).collect()
            }
        }
    }
}

/// The basis vectors to which a new vector is made orthogonal, beyond its neighbours in the recurrence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reorthogonalization {
    /// All of them: orthogonal to working precision.
    #[default]
    Full,
    /// The Ritz vectors that have converged to √[`epsilon`](Lanczos::epsilon), and those kept by a restart:
    /// orthogonality is lost along these and nowhere else, so √ε is kept at a fraction of the work (Parlett and Scott,
    /// Math. Comp. 33, 1979).
    Selective,
    /// None: converged eigenvalues come back as copies. For densities, where copies share one weight.
    Local,
}

/// The options of a Lanczos run: wanted pairs, budget, accuracy, memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Lanczos {
    /// The wanted pairs.
    pub which: Which,
    /// Budget of matvecs; default 1000. The last block may exceed it by less than `block`.
    pub num_matvecs: usize,
    /// A pair has converged when ‖Hv − λv‖ ≤ tolerance·|λ|. The eigenvalue is then off by at most ‖Hv − λv‖, and by
    /// about ‖Hv − λv‖²/gap, where gap is the distance to the nearest other eigenvalue. Default 1e-3.
    pub tolerance: f64,
    /// A pair has also converged when ‖Hv − λv‖ ≤ floor·max |λ|, because eigenvalues at zero have no
    /// relative accuracy. Default 1e-7, which products in f32 can reach.
    pub floor: f64,
    /// Number of vectors in a block; default 1. Blocks pay where several products at once are cheaper than one by one
    /// (a data set in many batches), and for eigenvalues that are equal or nearly so.
    pub block: usize,
    /// Number of vectors in the basis before a restart, at least wanted + 2·block + 2 and at most the dimension.
    /// Default: three times the wanted pairs, plus 40.
    pub max_basis: Option<usize>,
    /// The reorthogonalisation of the basis; default full.
    pub reorthogonalization: Reorthogonalization,
    /// Unit roundoff of the vectors' storage. Default that of f32, 6e-8.
    pub epsilon: f64,
}

impl Lanczos {
    /// The default options for these wanted pairs.
    pub fn new(which: Which) -> Self {
        Self {
            which,
            num_matvecs: 1000,
            tolerance: 1e-3,
            floor: 1e-7,
            block: 1,
            max_basis: None,
            reorthogonalization: Reorthogonalization::Full,
            epsilon: f64::from(f32::EPSILON) / 2.0,
        }
    }

    pub(super) fn wanted(&self) -> usize {
        self.which.count()
    }

    /// Number of vectors in the basis before a restart.
    pub fn basis_limit(&self, dim: usize) -> usize {
        let least = self.wanted() + 2 * self.block + 2;
        self.max_basis.unwrap_or(3 * self.wanted() + 40).max(least).min(dim.max(1))
    }

    /// Whether the projected matrix is looked at with `n` vectors in the basis. With many vectors this is not after
    /// every block, because a look costs O(n³).
    pub(super) fn is_due(&self, n: usize, num_matvecs: usize) -> bool {
        let every = (n / 25).max(1) * self.block;
        n >= self.wanted() && num_matvecs % every < self.block
    }
}

/// The state of a run: orthonormal `basis` V and `next` block W, `projected` T = VᵀHV and `coupling` C = WᵀHV, so
/// that H·V = V·T + W·C. A saved state can be continued later.
#[derive(Clone, Debug)]
pub struct LanczosState<V> {
    /// The orthonormal basis V.
    pub basis: Vec<V>,
    /// The block W, which is multiplied next. W is empty when the basis spans an invariant subspace to which no vector
    /// can be added.
    pub next: Vec<V>,
    /// The projected matrix T.
    pub projected: Square,
    /// The coupling C: a row for each vector of W, as long as the basis.
    pub coupling: Vec<Vec<f64>>,
    /// Number of leading basis vectors that are Ritz vectors of a restart.
    pub kept: usize,
    /// Converged Ritz vectors that selective reorthogonalisation works with.
    pub good: Vec<Good<V>>,
    /// Matvecs so far.
    pub num_matvecs: usize,
    /// Restarts so far.
    pub restarts: usize,
    /// Random vectors drawn so far.
    pub draws: u64,
    /// Value and residual of the wanted pairs at the last look.
    pub progress: Vec<(f64, f64)>,
    /// Number of wanted pairs that had converged at the last look.
    pub converged: usize,
}

/// A Ritz vector that has converged to √ε.
#[derive(Clone, Debug)]
pub struct Good<V> {
    /// The Ritz vector V·s.
    pub vector: V,
    /// The Ritz value θ.
    pub value: f64,
    /// The estimate of the residual ‖C·s‖ when the vector was noted.
    pub residual: f64,
}

impl<V: Vector> LanczosState<V> {
    /// A run from normal random start vectors 0, 1, …, [`block`](Lanczos::block) of them.
    ///
    /// # Errors
    /// The errors of drawing; [`Error::DegenerateStart`].
    pub fn random(options: &Lanczos, dim: usize, probes: &impl Draw<V>) -> Result<Self> {
        let block = options.block.min(dim) as u64;
        let starts = (0..block).map(|index| probes.draw(Distribution::Gaussian, index));
        Self::from_starts(starts.collect::<Result<_>>()?, block)
    }

    /// A run from one block of start vectors, which need not be orthogonal; `draws` random vectors are used up.
    ///
    /// # Errors
    /// [`Error::DegenerateStart`] for a vector that is zero or depends on those before it; [`Error::MissingStart`] for
    /// none.
    pub fn from_starts(starts: Vec<V>, draws: u64) -> Result<Self> {
        if starts.is_empty() {
            return Err(Error::MissingStart { expected: 1, found: 0 });
        }
        let mut next: Vec<V> = Vec::with_capacity(starts.len());
        for (index, mut start) in starts.into_iter().enumerate() {
            let before = start.norm()?;
            for _ in 0..2 {
                for other in &next {
                    start.axpy(-start.dot(other)?, other)?;
                }
            }
            let norm = start.norm()?;
            if norm <= 1e-6 * before {
                return Err(Error::DegenerateStart { index });
            }
            start.scale(1.0 / norm)?;
            next.push(start);
        }
        let coupling = vec![Vec::new(); next.len()];
        Ok(Self {
            basis: Vec::new(),
            next,
            projected: Square::default(),
            coupling,
            kept: 0,
            good: Vec::new(),
            num_matvecs: 0,
            restarts: 0,
            draws,
            progress: Vec::new(),
            converged: 0,
        })
    }

    /// The eigenpairs of T: Ritz values, and the coefficients s of Ritz vectors V·s.
    pub fn ritz(&self) -> Eigh {
        eigh(&self.projected)
    }

    /// The residual ‖H·Vs − θ·Vs‖ = ‖C·s‖ of the Ritz vector V·s, for an eigenvector s of T.
    pub fn residual(&self, s: &[f64]) -> f64 {
        let row = |row: &Vec<f64>| row.iter().zip(s).map(|(c, s)| c * s).sum::<f64>();
        self.coupling.iter().map(row).map(|x| x * x).sum::<f64>().sqrt()
    }

    /// The combination V·s of the basis vectors.
    ///
    /// # Errors
    /// The errors of vectors; [`Error::Configuration`] for an empty basis.
    pub fn combine(&self, s: &[f64]) -> Result<V> {
        let Some(first) = self.basis.first() else {
            return Err(Error::Configuration("the basis is empty".into()));
        };
        let mut sum = first.clone();
        sum.scale(s[0])?;
        let rest: Vec<&V> = self.basis.iter().zip(s).skip(1).map(|(vector, _)| vector).collect();
        sum.axpys(&s[1..=rest.len()], &rest)?;
        Ok(sum)
    }

    /// Checks that the parts of the state fit, because a state that was read from a file may be anything.
    pub(super) fn check(&self) -> Result<()> {
        let n = self.basis.len();
        let fits = self.projected.n() == n
            && self.coupling.len() == self.next.len()
            && self.coupling.iter().all(|row| row.len() == n)
            && self.kept <= n;
        if fits {
            Ok(())
        } else {
            Err(Error::Configuration("the parts of a Lanczos state do not fit".into()))
        }
    }
}
