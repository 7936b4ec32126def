//! XTrace: every test vector serves both as a direction of the subspace and as a sample of the rest.

use super::{TraceEnd, TraceEstimate, TraceObserver, TraceProgress, finite};
use crate::{
    Distribution, Draw, Interval, Result, Stopping, SymmetricOperator, lanczos::step::orthogonalise,
    mean_interval,
};
use gnr_core::Vector;

/// Options of [`xtrace`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XTrace {
    /// The rule that ends sampling; a sample is a test vector and takes two matvecs. Default: 50 samples.
    pub rule: Stopping,
    /// Number of products at once; 0 counts as 1.
    pub block: usize,
}

impl Default for XTrace {
    fn default() -> Self {
        Self { rule: Stopping { max_samples: 50, ..Stopping::default() }, block: 1 }
    }
}

/// Estimates tr H as the mean of leave-one-out Hutch++ estimates tᵢ = tr Q₍ᵢ₎ᵀHQ₍ᵢ₎ +
/// c·ωᵢᵀ(I−P₍ᵢ₎)H(I−P₍ᵢ₎)ωᵢ. Q₍ᵢ₎ is an orthonormal basis of H·ω₁, …, H·ωₘ
/// without the i-th, and P₍ᵢ₎ the projection onto it. Test vectors are uniform on the sphere of radius √d. c
/// scales the projected one to the length of a vector on the complement's own sphere.
///
/// All products are used in both roles, and none is repeated when the sample grows. The estimate is exact, but for
/// rounding, once the products span the range of H.
///
/// The tᵢ are exchangeable, not independent: s/√m, which the estimator's authors suggest, is too small where the
/// spectrum decays (intervals of 95 % covered 81 % of the time on a geometric one). Standard error and interval are
/// therefore widened by [`CORRELATION`]; with it intervals cover on every spectrum of this crate's tests. This coverage
/// is measured, not proved: where it must be certain take [`hutch_plus_plus`](super::hutch_plus_plus()).
///
/// # Errors
/// The errors of [`hutchinson`](super::hutchinson()).
///
/// # Cost
/// Two matvecs a test vector; two vectors each are kept. O(m³) scalar work a look.
///
/// # References
/// Epperly, Tropp and Webber, "XTrace: making the most of every sample in stochastic trace estimation", SIAM J. Matrix
/// Anal. Appl. 45, 2024, Section 2 and 3.
pub fn xtrace<A: SymmetricOperator>(
    operator: &mut A,
    options: &XTrace,
    probes: &impl Draw<A::Vector>,
    observer: TraceObserver<'_>,
) -> Result<TraceEstimate> {
    options.rule.check()?;
    let dim = operator.dim();
    let mut parts = Parts::new(dim);
    let (block, budget) = (options.block.max(1), 2 * options.rule.max_samples.min(dim));
    for (size, confidence) in options.rule.looks() {
        let size = size.min(dim);
        while parts.count() < size {
            let count = block.min(size - parts.count());
            let full = parts.extend(operator, count, probes)?;
            let samples = parts.samples();
            let interval = widened(&samples, options.rule.confidence);
            if !full || parts.count() == dim {
                // tr QᵀHQ with the whole range in Q.
                let value = parts.exact();
                let exact = Interval { mean: value, standard_error: 0.0, low: value, high: value };
                let matvecs = parts.num_matvecs;
                return Ok(TraceEstimate::new(exact, 0.0, &samples, matvecs, TraceEnd::Exact, &options.rule));
            }
            let progress =
                TraceProgress { num_matvecs: parts.num_matvecs, budget, samples: &samples, interval };
            if observer(&progress).is_break() {
                let matvecs = parts.num_matvecs;
                let end = TraceEnd::Stopped;
                return Ok(TraceEstimate::new(interval, 0.0, &samples, matvecs, end, &options.rule));
            }
        }
        let samples = parts.samples();
        let interval = widened(&samples, confidence);
        let enough = options.rule.satisfied(&interval);
        if enough || size >= options.rule.max_samples.min(dim) {
            let end = if enough { TraceEnd::Tolerance } else { TraceEnd::Budget };
            return Ok(TraceEstimate::new(interval, 0.0, &samples, parts.num_matvecs, end, &options.rule));
        }
    }
    let samples = parts.samples();
    let interval = widened(&samples, options.rule.confidence);
    Ok(TraceEstimate::new(interval, 0.0, &samples, parts.num_matvecs, TraceEnd::Budget, &options.rule))
}

/// The factor by which correlation between leave-one-out estimates is taken to enlarge the standard error.
pub const CORRELATION: f64 = 1.75;

/// The interval of [`mean_interval`], widened by [`CORRELATION`].
fn widened(samples: &[f64], confidence: f64) -> Interval {
    let Interval { mean, standard_error, low, high } = mean_interval(samples, confidence);
    Interval {
        mean,
        standard_error: CORRELATION * standard_error,
        low: mean - CORRELATION * (mean - low),
        high: mean + CORRELATION * (high - mean),
    }
}

/// The test vectors Ω, the basis Q of H·Ω = Q·R, and the small matrices R, W = QᵀΩ and QᵀHQ, all by columns.
struct Parts<V> {
    dim: usize,
    omega: Vec<V>,
    q: Vec<V>,
    r: Vec<Vec<f64>>,
    w: Vec<Vec<f64>>,
    h: Vec<Vec<f64>>,
    num_matvecs: usize,
}

impl<V: Vector> Parts<V> {
    fn new(dim: usize) -> Self {
        Self {
            dim,
            omega: Vec::new(),
            q: Vec::new(),
            r: Vec::new(),
            w: Vec::new(),
            h: Vec::new(),
            num_matvecs: 0,
        }
    }
    fn count(&self) -> usize {
        self.q.len()
    }

    /// Adds `count` test vectors. Returns false when a product adds nothing to the span of Q, which is then the range
    /// of H.
    fn extend<A: SymmetricOperator<Vector = V>>(
        &mut self,
        operator: &mut A,
        count: usize,
        probes: &impl Draw<V>,
    ) -> Result<bool> {
        let first = self.omega.len() as u64;
        let mut omega = Vec::with_capacity(count);
        for index in first..first + count as u64 {
            let mut v: V = probes.draw(Distribution::Gaussian, index)?;
            v.scale((self.dim as f64).sqrt() / v.norm()?)?;
            omega.push(v);
        }
        let products = operator.matvec_block(&omega)?;
        self.num_matvecs += count;
        let old = self.q.len();
        let mut full = true;
        for (v, y) in omega.into_iter().zip(products) {
            let before = y.norm()?;
            let mut q = y.clone();
            let norm = orthogonalise(&mut q, self.q.iter())?;
            if norm <= 1e-6 * before || before == 0.0 {
                full = false;
                break;
            }
            q.scale(1.0 / norm)?;
            // Once more after scaling: R is inverted, and small parts count.
            orthogonalise(&mut q, self.q.iter())?;
            q.scale(1.0 / q.norm()?)?;
            let mut column = self.q.iter().map(|q| q.dot(&y)).collect::<gnr_core::Result<Vec<_>>>()?;
            column.push(q.dot(&y)?);
            self.r.push(column);
            self.q.push(q);
            self.omega.push(v);
        }
        let fresh = &self.q[old..];
        if !fresh.is_empty() {
            let products = operator.matvec_block(fresh)?;
            self.num_matvecs += products.len();
            for (j, z) in products.iter().enumerate() {
                let upto = &self.q[..=old + j];
                self.h.push(upto.iter().map(|q| finite(q.dot(z)?)).collect::<Result<Vec<_>>>()?);
            }
        }
        // W grows by rows below its old columns, and by whole new columns.
        for (j, v) in self.omega.iter().enumerate() {
            if j >= self.w.len() {
                self.w.push(Vec::new());
            }
            for q in &self.q[self.w[j].len()..] {
                let entry = q.dot(v)?;
                self.w[j].push(entry);
            }
        }
        Ok(full)
    }

    /// The entry (QᵀHQ)ᵢⱼ.
    fn form(&self, i: usize, j: usize) -> f64 {
        self.h[i.max(j)][i.min(j)]
    }

    /// The trace tr QᵀHQ.
    fn exact(&self) -> f64 {
        (0..self.h.len()).map(|i| self.form(i, i)).sum()
    }

    /// The form xᵀ(QᵀHQ)y.
    fn quadratic(&self, x: &[f64], y: &[f64]) -> f64 {
        (0..x.len()).map(|i| x[i] * (0..y.len()).map(|j| self.form(i, j) * y[j]).sum::<f64>()).sum()
    }

    /// The leave-one-out estimates t₁, …, tₘ. P₍ᵢ₎ = Q(I − ssᵀ)Qᵀ, where s is the direction of row i
    /// of R⁻¹.
    fn samples(&self) -> Vec<f64> {
        let (m, whole) = (self.count(), self.exact());
        (0..m)
            .map(|i| {
                let s = self.left_out(i);
                let w = &self.w[i];
                let along: f64 = s.iter().zip(w).map(|(s, w)| s * w).sum();
                let p: Vec<f64> = w.iter().zip(&s).map(|(w, s)| w - along * s).collect();
                // R's column i is QᵀHω; it ends at i.
                let dot_r = |x: &[f64]| self.r[i].iter().zip(x).map(|(r, x)| r * x).sum::<f64>();
                let rest = dot_r(w) - 2.0 * dot_r(&p) + self.quadratic(&p, &p);
                let length = self.dim as f64 - p.iter().map(|p| p * p).sum::<f64>();
                let scale = (self.dim + 1 - m) as f64 / length;
                whole - self.quadratic(&s, &s) + scale * rest
            })
            .collect()
    }

    /// The unit vector orthogonal to every column of R but the i-th: column i of R⁻ᵀ, by forward substitution.
    fn left_out(&self, i: usize) -> Vec<f64> {
        let m = self.count();
        let mut s = vec![0.0; m];
        for k in i..m {
            // Row k of Rᵀ is column k of R: Σ_{l ≤ k} R_lk·s_l = δ_ik.
            let sum: f64 = (i..k).map(|l| self.r[k][l] * s[l]).sum();
            s[k] = (if k == i { 1.0 } else { 0.0 } - sum) / self.r[k][k];
        }
        let norm = s.iter().map(|s| s * s).sum::<f64>().sqrt();
        s.iter_mut().for_each(|x| *x /= norm);
        s
    }
}
