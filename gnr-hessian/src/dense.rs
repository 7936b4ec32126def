//! All eigenpairs of a small dense symmetric matrix: the projected problems of the iterations, and tests.
//!
//! Householder reduction to tridiagonal form and implicit QL, the EISPACK pair `tred2`/`tql2`: backward stable, O(n³),
//! no dependency. A linear-algebra crate would take longer to compile than the rest of this crate. The matrices have a
//! few hundred rows; a single product with a network's Hessian takes longer than their eigenpairs.

/// A dense square matrix, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Square {
    n: usize,
    entries: Vec<f64>,
}

impl Square {
    /// The n × n matrix of zeros.
    pub fn zeros(n: usize) -> Self {
        Self { n, entries: vec![0.0; n * n] }
    }
    /// Makes a matrix from row-major entries; `None` unless their number is a square.
    pub fn from_entries(entries: Vec<f64>) -> Option<Self> {
        let n = entries.len().isqrt();
        (n * n == entries.len()).then_some(Self { n, entries })
    }
    /// The diagonal matrix of `values`.
    pub fn diagonal(values: &[f64]) -> Self {
        let mut square = Self::zeros(values.len());
        for (i, value) in values.iter().enumerate() {
            *square.at(i, i) = *value;
        }
        square
    }
    /// The number of rows.
    pub fn n(&self) -> usize {
        self.n
    }
    /// The entries, row-major.
    pub fn entries(&self) -> &[f64] {
        &self.entries
    }
    /// The entry (i, j).
    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.n + j]
    }
    /// The entry (i, j), for writing.
    pub fn at(&mut self, i: usize, j: usize) -> &mut f64 {
        &mut self.entries[i * self.n + j]
    }
    /// The m × m matrix (m ≥ n) whose leading block is this matrix, with zeros elsewhere.
    pub fn grown(&self, m: usize) -> Self {
        let mut grown = Self::zeros(m);
        for (i, row) in self.entries.chunks(self.n.max(1)).enumerate() {
            grown.entries[i * m..i * m + self.n].copy_from_slice(row);
        }
        grown
    }
    /// The sum of the diagonal.
    pub fn trace(&self) -> f64 {
        (0..self.n).map(|i| self.get(i, i)).sum()
    }
}

/// The eigenpairs of a symmetric matrix A = Σ λᵢ uᵢuᵢᵀ.
#[derive(Clone, Debug)]
pub struct Eigh {
    /// Eigenvalues λᵢ, ascending.
    pub values: Vec<f64>,
    /// Eigenvectors uᵢ of norm 1 and orthogonal to each other, in the order of the values.
    pub vectors: Vec<Vec<f64>>,
}

/// All eigenpairs of a symmetric matrix; only its lower triangle is read.
///
/// # References
/// Martin, Reinsch and Wilkinson, "Householder's tridiagonalization of a symmetric matrix"; Bowdler et al., "The QR and
/// QL algorithms for symmetric matrices", Numerische Mathematik 11, 1968.
pub fn eigh(a: &Square) -> Eigh {
    let n = a.n;
    if n == 0 {
        return Eigh { values: Vec::new(), vectors: Vec::new() };
    }
    // v[j] is column j: every inner loop runs down a column.
    let mut v: Vec<Vec<f64>> = (0..n).map(|j| (0..n).map(|i| a.get(i.max(j), i.min(j))).collect()).collect();
    let (mut d, mut e) = (vec![0.0; n], vec![0.0; n]);
    tridiagonalise(&mut v, &mut d, &mut e);
    implicit_ql(&mut v, &mut d, &mut e);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| d[i].total_cmp(&d[j]));
    let values = order.iter().map(|&i| d[i]).collect();
    let vectors = order.iter().map(|&i| std::mem::take(&mut v[i])).collect();
    Eigh { values, vectors }
}

/// Reduces the symmetric matrix A in `v` to A = V·tridiagonal(d, e)·Vᵀ, and leaves V in `v`.
fn tridiagonalise(v: &mut [Vec<f64>], d: &mut [f64], e: &mut [f64]) {
    let n = d.len();
    for j in 0..n {
        d[j] = v[j][n - 1];
    }
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|x| x.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = v[j][i - 1];
                v[j][i] = 0.0;
                v[i][j] = 0.0;
            }
        } else {
            for x in &mut d[..i] {
                *x /= scale;
                h += *x * *x;
            }
            let f = d[i - 1];
            let g = if f > 0.0 { -h.sqrt() } else { h.sqrt() };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            e[..i].fill(0.0);
            for j in 0..i {
                let f = d[j];
                v[i][j] = f;
                let column = &v[j];
                let mut g = e[j] + column[j] * f;
                for k in j + 1..i {
                    g += column[k] * d[k];
                    e[k] += column[k] * f;
                }
                e[j] = g;
            }
            let mut f = 0.0;
            for j in 0..i {
                e[j] /= h;
                f += e[j] * d[j];
            }
            let hh = f / (h + h);
            for j in 0..i {
                e[j] -= hh * d[j];
            }
            for j in 0..i {
                let (f, g) = (d[j], e[j]);
                let column = &mut v[j];
                for k in j..i {
                    column[k] -= f * e[k] + g * d[k];
                }
                d[j] = column[i - 1];
                column[i] = 0.0;
            }
        }
        d[i] = h;
    }
    for i in 0..n - 1 {
        v[i][n - 1] = v[i][i];
        v[i][i] = 1.0;
        let h = d[i + 1];
        if h != 0.0 {
            for k in 0..=i {
                d[k] = v[i + 1][k] / h;
            }
            let (left, right) = v.split_at_mut(i + 1);
            let reflector = &right[0];
            for column in left.iter_mut() {
                let g: f64 = (0..=i).map(|k| reflector[k] * column[k]).sum();
                for k in 0..=i {
                    column[k] -= g * d[k];
                }
            }
        }
        v[i + 1][..=i].fill(0.0);
    }
    for j in 0..n {
        d[j] = v[j][n - 1];
        v[j][n - 1] = 0.0;
    }
    v[n - 1][n - 1] = 1.0;
    e[0] = 0.0;
}

/// Diagonalises tridiagonal(d, e), and applies the rotations to the columns of V.
fn implicit_ql(v: &mut [Vec<f64>], d: &mut [f64], e: &mut [f64]) {
    let n = d.len();
    e.rotate_left(1);
    e[n - 1] = 0.0;
    let (mut shift, mut largest) = (0.0, 0.0_f64);
    for l in 0..n {
        largest = largest.max(d[l].abs() + e[l].abs());
        let small = f64::EPSILON * largest;
        let m = (l..n).find(|&m| e[m].abs() <= small).unwrap_or(n - 1);
        if m > l {
            loop {
                let g = d[l];
                let p = (d[l + 1] - g) / (2.0 * e[l]);
                let r = if p < 0.0 { -p.hypot(1.0) } else { p.hypot(1.0) };
                d[l] = e[l] / (p + r);
                d[l + 1] = e[l] * (p + r);
                let (dl1, h) = (d[l + 1], g - d[l]);
                for x in &mut d[l + 2..] {
                    *x -= h;
                }
                shift += h;
                let mut p = d[m];
                let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
                let (mut s, mut s2) = (0.0, 0.0);
                let el1 = e[l + 1];
                for i in (l..m).rev() {
                    (c3, c2, s2) = (c2, c, s);
                    let (g, h) = (c * e[i], c * p);
                    let r = p.hypot(e[i]);
                    e[i + 1] = s * r;
                    s = e[i] / r;
                    c = p / r;
                    p = c * d[i] - s * g;
                    d[i + 1] = h + s * (c * g + s * d[i]);
                    let (left, right) = v.split_at_mut(i + 1);
                    for (x, y) in left[i].iter_mut().zip(&mut right[0]) {
                        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                    }
                }
                p = -s * s2 * c3 * el1 * e[l] / dl1;
                e[l] = s * p;
                d[l] = c * p;
                if e[l].abs() <= small || e[l].is_nan() {
                    break;
                }
            }
        }
        d[l] += shift;
        e[l] = 0.0;
    }
}
