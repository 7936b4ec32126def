//! The steps of a Lanczos run: one block of products, and one restart.

use super::{Good, Lanczos, LanczosState, Reorthogonalization};
use crate::{
    Distribution, Draw, Result, SymmetricOperator,
    dense::{Square, eigh},
};
use gnr_core::Vector;

/// Orthogonalises w ← (I − VVᵀ)w by classical Gram–Schmidt. A pass that leaves at most 0.7 of the norm is
/// followed by another, up to four in all (Daniel et al., Math. Comp. 30, 1976). Returns the norm that is left.
pub(crate) fn orthogonalise<'v, V: Vector + 'v>(
    w: &mut V,
    against: impl Iterator<Item = &'v V>,
) -> Result<f64> {
    let against: Vec<&V> = against.collect();
    let mut before = w.norm()?;
    for _ in 0..4 {
        let overlaps: Vec<f64> = w.dots(&against)?.into_iter().map(|overlap| -overlap).collect();
        w.axpys(&overlaps, &against)?;
        let after = w.norm()?;
        if after > 0.7 * before || after == 0.0 {
            return Ok(after);
        }
        before = after;
    }
    Ok(before)
}

impl<V: Vector> LanczosState<V> {
    /// Multiplies W and absorbs the products.
    pub(super) fn expand<A: SymmetricOperator<Vector = V>>(
        &mut self,
        operator: &mut A,
        options: &Lanczos,
        probes: &impl Draw<V>,
    ) -> Result<()> {
        let products = operator.matvec_block(&self.next)?;
        self.absorb(products, operator.dim(), options, probes)
    }

    /// Appends W to the basis and makes the next W of what is new in its `products`.
    pub(crate) fn absorb(
        &mut self,
        mut products: Vec<V>,
        dim: usize,
        options: &Lanczos,
        probes: &impl Draw<V>,
    ) -> Result<()> {
        let (n, p) = (self.basis.len(), self.next.len());
        let sizes = products.iter().map(Vector::norm).collect::<gnr_core::Result<Vec<_>>>()?;
        self.num_matvecs += p;

        let mut projected = self.projected.grown(n + p);
        for (r, (row, product)) in self.coupling.iter().zip(&mut products).enumerate() {
            let coupled: Vec<usize> = (0..row.len()).filter(|&j| row[j] != 0.0).collect();
            for &j in &coupled {
                (*projected.at(n + r, j), *projected.at(j, n + r)) = (row[j], row[j]);
            }
            let factors: Vec<f64> = coupled.iter().map(|&j| -row[j]).collect();
            let vectors: Vec<&V> = coupled.iter().map(|&j| &self.basis[j]).collect();
            product.axpys(&factors, &vectors)?;
        }
        self.basis.append(&mut self.next);
        for (s, product) in products.iter_mut().enumerate() {
            let overlaps =
                self.basis[n..].iter().map(|w| product.dot(w)).collect::<gnr_core::Result<Vec<_>>>()?;
            for (r, (w, overlap)) in self.basis[n..].iter().zip(overlaps).enumerate() {
                product.axpy(-overlap, w)?;
                // The block is symmetric but for rounding, so the mean of both overlaps is taken.
                *projected.at(n + r, n + s) += 0.5 * overlap;
                *projected.at(n + s, n + r) += 0.5 * overlap;
            }
        }
        self.projected = projected;
        let left = products.iter().map(Vector::norm).collect::<gnr_core::Result<Vec<_>>>()?;
        self.find_good(&left, options)?;
        self.orthonormalise(dim, products, &sizes, options, probes)
    }

    /// Makes W and C from the rest of the products.
    fn orthonormalise(
        &mut self,
        dim: usize,
        products: Vec<V>,
        sizes: &[f64],
        options: &Lanczos,
        probes: &impl Draw<V>,
    ) -> Result<()> {
        let (n, p) = (self.basis.len(), products.len());
        let mut next: Vec<V> = Vec::with_capacity(p);
        let mut coupling: Vec<Vec<f64>> = Vec::with_capacity(p);
        let largest = (0..n).fold(0.0_f64, |largest, i| largest.max(self.projected.get(i, i).abs()));
        for (s, mut w) in products.into_iter().enumerate() {
            if n + next.len() >= dim {
                break;
            }
            // Within the block: R's column s, in two passes so that later vectors are orthogonal to earlier ones.
            for _ in 0..2 {
                for (other, row) in next.iter().zip(&mut coupling) {
                    let overlap = w.dot(other)?;
                    w.axpy(-overlap, other)?;
                    row[n - p + s] += overlap;
                }
            }
            let mut norm = self.reorthogonalise(&mut w, &next, options)?;
            let mut row = vec![0.0; n];
            // A rest at the level of rounding has no direction: a random vector, without coupling, replaces it.
            if norm <= 10.0 * options.epsilon.min(1e-10) * sizes[s].max(largest) {
                w = probes.draw(Distribution::Gaussian, self.draws)?;
                self.draws += 1;
                w.scale(1.0 / w.norm()?)?;
                for _ in 0..2 {
                    norm = orthogonalise(&mut w, self.basis.iter().chain(&next))?;
                }
                if norm <= 10.0 * options.epsilon {
                    continue;
                }
            } else {
                row[n - p + s] = norm;
            }
            w.scale(1.0 / norm)?;
            next.push(w);
            coupling.push(row);
        }
        (self.next, self.coupling) = (next, coupling);
        Ok(())
    }

    fn reorthogonalise(&self, w: &mut V, block: &[V], options: &Lanczos) -> Result<f64> {
        match options.reorthogonalization {
            Reorthogonalization::Full => orthogonalise(w, self.basis.iter().chain(block)),
            Reorthogonalization::Local => Ok(w.norm()?),
            Reorthogonalization::Selective => {
                let kept = self.basis[..self.kept].iter();
                orthogonalise(w, kept.chain(self.good.iter().map(|good| &good.vector)).chain(block))
            }
        }
    }

    /// Notes the Ritz vectors along which orthogonality is about to be lost: those whose residual, estimated from the
    /// norms `left` of the products' rest, is at most √ε·max |θ|. The new vectors' component along such a vector
    /// is about ε/residual.
    fn find_good(&mut self, left: &[f64], options: &Lanczos) -> Result<()> {
        let n = self.basis.len();
        if options.reorthogonalization != Reorthogonalization::Selective || n <= self.kept {
            return Ok(());
        }
        let ritz = eigh(&self.projected);
        let largest = ritz.values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let mut good = Vec::new();
        for (value, s) in ritz.values.iter().zip(&ritz.vectors) {
            let last = &s[n - left.len()..];
            let residual = left.iter().zip(last).map(|(left, s)| (left * s).powi(2)).sum::<f64>().sqrt();
            if residual > options.epsilon.sqrt() * largest {
                continue;
            }
            // A vector noted before serves until it is ten times better known.
            let same = |good: &Good<V>| {
                (good.value - value).abs() <= good.residual + options.epsilon * largest
                    && good.residual <= 10.0 * residual.max(options.epsilon * largest)
            };
            good.push(match self.good.iter().position(same) {
                Some(position) => self.good.swap_remove(position),
                None => Good { vector: self.combine(s)?, value: *value, residual },
            });
        }
        self.good = good;
        Ok(())
    }

    /// V ← V·S, T ← diag(θ), C ← C·S for the best Ritz pairs (θ, S); W stays.
    pub(super) fn restart(&mut self, options: &Lanczos) -> Result<()> {
        let (ritz, n) = (self.ritz(), self.basis.len());
        let wanted = options.wanted();
        // A third of the pairs beyond the wanted ones is kept, too: with these neighbours in the basis the wanted pairs
        // converge faster.
        let keep = (wanted + (n.saturating_sub(wanted)) / 3).min(n.saturating_sub(self.next.len())).max(1);
        let chosen: Vec<usize> = options.which.order(&ritz.values).into_iter().take(keep).collect();
        let kept = chosen.iter().map(|&i| self.combine(&ritz.vectors[i])).collect::<Result<Vec<_>>>()?;
        for row in &mut self.coupling {
            let turned = |s: &Vec<f64>| row.iter().zip(s).map(|(c, s)| c * s).sum();
            *row = chosen.iter().map(|&i| turned(&ritz.vectors[i])).collect();
        }
        let values: Vec<f64> = chosen.iter().map(|&i| ritz.values[i]).collect();
        self.projected = Square::diagonal(&values);
        self.basis = kept;
        self.kept = self.basis.len();
        self.good.clear();
        self.restarts += 1;
        Ok(())
    }
}
