//! The examples of a batch that is spread over ranks: every rank sees the losses and outputs of all of them.

use super::DataParallel;
use crate::{
    Error, ExampleOracle, GradOracle, OutputOracle, Outputs, Point, Result, checked_share,
    collective::{Pack, Packed},
};

impl<O: GradOracle> DataParallel<O> {
    /// The number of rows of each rank at a point: of the whole batch at the committed point, elsewhere of the present
    /// sample or selection.
    fn rows_at(&self, at: Point<'_, O::Vector>) -> Vec<usize> {
        if at.is_probe() { self.rows.clone() } else { self.shares.examples().to_vec() }
    }

    /// Gathers `width` numbers a row from all ranks, in rank order. A rank without rows answers for one row, which is
    /// dropped.
    fn gather_rows(&self, own: Result<Vec<f64>>, width: usize, rows: &[usize]) -> Result<Vec<f64>> {
        let rank = self.shares.ranks().rank();
        let (own, status) = match own {
            Ok(mut own) => {
                if rows[rank] == 0 {
                    own.clear();
                }
                let found = own.len();
                let fits = found == rows[rank] * width;
                let expected = rows[rank] * width;
                let misfit =
                    || Error::Oracle(format!("expected {expected} numbers of rank {rank}, found {found}"));
                (own, if fits { Ok(0.0) } else { Err(misfit()) })
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        self.agree(status)?;
        let counts: Vec<usize> = rows.iter().map(|rows| rows * width).collect();
        self.shares.ranks().gather(Packed::Double(own), &counts)?.doubles()
    }
}

impl<O: ExampleOracle> ExampleOracle for DataParallel<O>
where
    O::Vector: Pack,
{
    fn losses(&mut self, at: Point<'_, Self::Vector>) -> Result<Vec<f64>> {
        let own = self.inner.losses(at);
        if self.alone() { own } else { self.gather_rows(own, 1, &self.rows_at(at)) }
    }

    /// Selects rows of the whole batch; each rank selects those that it has.
    fn select(&mut self, rows: Option<&[usize]>) -> Result<f64> {
        if self.alone() {
            return self.inner.select(rows);
        }
        let n = self.shares.examples().iter().sum();
        let share = checked_share(rows, n)?;
        let of_rank = |rank| {
            let part = self.shares.part_of(rank);
            let here = rows
                .into_iter()
                .flatten()
                .filter(move |row| (part.start..part.start + part.len).contains(row));
            here.map(move |row| row - part.start).collect::<Vec<_>>()
        };
        let parts: Vec<Vec<usize>> = (0..self.shares.examples().len()).map(of_rank).collect();
        let own = &parts[self.shares.ranks().rank()];
        let mut selected = self.inner.select(rows.map(|_| &own[..])).map(|_| 0.0);
        // An oracle that shares statistics with the other ranks answers for no rows of its own. Any other refuses
        // that: its rank then answers for its first row, and its weight is 0.
        if selected.is_err() && rows.is_some() && own.is_empty() {
            selected = self.inner.select(Some(&[0])).map(|_| 0.0);
        }
        self.agree(selected)?;
        self.rows = match rows {
            Some(_) => parts.iter().map(Vec::len).collect(),
            None => self.shares.examples().to_vec(),
        };
        let all: usize = self.rows.iter().sum();
        self.weights = self.rows.iter().map(|rows| *rows as f64 / all as f64).collect();
        Ok(share)
    }
}

impl<O: OutputOracle> OutputOracle for DataParallel<O>
where
    O::Vector: Pack,
{
    fn outputs(&mut self, at: Point<'_, Self::Vector>) -> Result<Outputs> {
        let own = self.inner.outputs(at);
        if self.alone() {
            return own;
        }
        let width = own.as_ref().map_or(0, Outputs::width);
        let rows = self.rows_at(at);
        let all = self.gather_rows(own.map(|own| own.values().to_vec()), width, &rows)?;
        Outputs::new(width, all)
    }

    /// The sum over the ranks of Jᵀ·u of their own rows; u has the rows of all ranks.
    ///
    /// Each rank divides its rows of u by its weight, and the reduction multiplies with the weight again. Derivatives
    /// that cross ranks, through statistics that they share, thus have the weights of a gradient.
    fn pull_back(&mut self, at: &Self::Vector, u: &Outputs) -> Result<Self::Vector> {
        if self.alone() {
            return self.inner.pull_back(at, u);
        }
        let rank = self.shares.ranks().rank();
        let mut parts = u.cut(self.rows.iter().copied())?;
        let own = parts.swap_remove(rank);
        let own = if own.num_rows() == 0 {
            // A rank without rows runs one row, which adds nothing.
            Outputs::new(u.width(), vec![0.0; u.width()])?
        } else {
            let share = self.weights[rank];
            Outputs::new(u.width(), own.values().iter().map(|value| value / share).collect())?
        };
        let own = self.inner.pull_back(at, &own);
        self.reduce(own)
    }

    fn examples(&self) -> Result<Vec<u64>> {
        let own = self.inner.examples();
        if self.alone() {
            return own;
        }
        // Numbers of examples are far below 2⁵³, up to which f64 has every integer.
        let own = own.map(|own| own.into_iter().map(|example| example as f64).collect());
        let all = self.gather_rows(own, 1, &self.rows)?;
        Ok(all.into_iter().map(|example| example as u64).collect())
    }
}
