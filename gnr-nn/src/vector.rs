//! Points θ and tangents as a backend's tensors: the `Vector` of gnr-core's algorithms.

use gnr_core::{
    Elementwise, Error as CoreError, Map, Matrices, Pack, Partition, Result as CoreResult, Signs, Vector,
    collective::Packed, join_leaves, random::SplitMix64, random_signs, split_leaves,
};

use crate::{Autodiff, Layout, Result, Role};

/// A point of a model's parameter space, one tensor for each learned entry of its layout, in order.
#[derive(Clone, Debug)]
pub struct ParamVector<B: Autodiff> {
    backend: B,
    tensors: Vec<B::Tensor>,
}

impl<B: Autodiff> ParamVector<B> {
    /// A point from tensors in layout order.
    pub fn new(backend: B, tensors: Vec<B::Tensor>) -> Self {
        Self { backend, tensors }
    }
    /// A point from host data of the parameters, in layout order.
    ///
    /// # Errors
    /// When the number of tensors or a length does not fit the layout.
    pub fn from_host(backend: &B, layout: &Layout, values: &[Vec<f64>]) -> Result<Self> {
        if values.len() != layout.num_parameter_tensors() {
            return Err(crate::Error::Invalid(format!(
                "{} parameter tensors given, the model has {}",
                values.len(),
                layout.num_parameter_tensors()
            )));
        }
        let tensors = layout
            .parameters()
            .zip(values)
            .map(|(entry, values)| backend.constant(values, &entry.shape))
            .collect::<Result<_>>()?;
        Ok(Self::new(backend.clone(), tensors))
    }
    /// The initial point θ₀ of a layout for a seed.
    ///
    /// # Errors
    /// A failure of the backend.
    pub fn initial(backend: &B, layout: &Layout, seed: u64) -> Result<Self> {
        let values: Vec<_> = layout
            .entries()
            .iter()
            .zip(layout.initialise(seed))
            .filter(|(entry, _)| matches!(entry.role, Role::Parameter(_)))
            .map(|(_, values)| values)
            .collect();
        Self::from_host(backend, layout, &values)
    }
    /// The tensors, in layout order.
    pub fn tensors(&self) -> &[B::Tensor] {
        &self.tensors
    }
    /// Copies the tensors to the host, in layout order; for checkpoints and tests.
    ///
    /// # Errors
    /// A failure of the backend.
    pub fn to_host(&self) -> Result<Vec<Vec<f64>>> {
        self.tensors.iter().map(|tensor| self.backend.to_host(tensor)).collect()
    }

    fn zip(&self, operation: &'static str, other: &Self) -> CoreResult<()> {
        let same = self.tensors.len() == other.tensors.len()
            && (self.tensors.iter().zip(&other.tensors))
                .all(|(a, b)| self.backend.shape(a) == self.backend.shape(b));
        if same {
            Ok(())
        } else {
            Err(CoreError::DimensionMismatch { operation, expected: self.dim(), found: other.dim() })
        }
    }
}

impl<B: Autodiff> Vector for ParamVector<B> {
    fn dim(&self) -> usize {
        self.tensors.iter().map(|tensor| self.backend.shape(tensor).iter().product::<usize>()).sum()
    }
    fn scale(&mut self, a: f64) -> CoreResult<()> {
        for tensor in &mut self.tensors {
            self.backend.scale(tensor, a)?;
        }
        Ok(())
    }
    fn axpy(&mut self, a: f64, x: &Self) -> CoreResult<()> {
        self.zip("axpy", x)?;
        for (y, x) in self.tensors.iter_mut().zip(&x.tensors) {
            self.backend.axpy(y, a, x)?;
        }
        Ok(())
    }
    fn aypx(&mut self, a: f64, x: &Self) -> CoreResult<()> {
        self.zip("aypx", x)?;
        for (y, x) in self.tensors.iter_mut().zip(&x.tensors) {
            self.backend.aypx(y, a, x)?;
        }
        Ok(())
    }
    fn dot(&self, x: &Self) -> CoreResult<f64> {
        self.zip("dot", x)?;
        Ok(self.backend.dots_of_points(&self.tensors, &[&x.tensors])?.into_iter().sum())
    }
    fn dots(&self, xs: &[&Self]) -> CoreResult<Vec<f64>> {
        xs.iter().try_for_each(|x| self.zip("dots", x))?;
        let points: Vec<&[B::Tensor]> = xs.iter().map(|x| &x.tensors[..]).collect();
        Ok(self.backend.dots_of_points(&self.tensors, &points)?)
    }
    fn axpys(&mut self, a: &[f64], xs: &[&Self]) -> CoreResult<()> {
        if a.len() != xs.len() {
            let (expected, found) = (xs.len(), a.len());
            return Err(CoreError::DimensionMismatch { operation: "axpys", expected, found });
        }
        xs.iter().try_for_each(|x| self.zip("axpys", x))?;
        for (k, tensor) in self.tensors.iter_mut().enumerate() {
            let others: Vec<_> = xs.iter().map(|x| &x.tensors[k]).collect();
            self.backend.axpys(tensor, a, &others)?;
        }
        Ok(())
    }
}

impl<B: Autodiff> Elementwise for ParamVector<B> {
    fn map(&mut self, f: Map) -> CoreResult<()> {
        for tensor in &mut self.tensors {
            self.backend.map(tensor, f)?;
        }
        Ok(())
    }
    fn multiply(&mut self, x: &Self) -> CoreResult<()> {
        self.zip("multiply", x)?;
        for (z, x) in self.tensors.iter_mut().zip(&x.tensors) {
            self.backend.multiply(z, x)?;
        }
        Ok(())
    }
    fn maximum(&mut self, x: &Self) -> CoreResult<()> {
        self.zip("maximum", x)?;
        for (z, x) in self.tensors.iter_mut().zip(&x.tensors) {
            self.backend.maximum(z, x)?;
        }
        Ok(())
    }
    fn addcmul(&mut self, a: f64, x: &Self, y: &Self) -> CoreResult<()> {
        self.zip("addcmul", x)?;
        self.zip("addcmul", y)?;
        for ((z, x), y) in self.tensors.iter_mut().zip(&x.tensors).zip(&y.tensors) {
            self.backend.addcmul(z, a, x, y)?;
        }
        Ok(())
    }
    fn addcdiv_sqrt(&mut self, a: f64, x: &Self, b: f64, y: &Self, eps: f64) -> CoreResult<()> {
        self.zip("addcdiv_sqrt", x)?;
        self.zip("addcdiv_sqrt", y)?;
        for ((z, x), y) in self.tensors.iter_mut().zip(&x.tensors).zip(&y.tensors) {
            self.backend.addcdiv_sqrt(z, a, x, b, y, eps)?;
        }
        Ok(())
    }
}

impl<B: Autodiff> Signs for ParamVector<B> {
    fn signs(&self, seed: u64) -> CoreResult<Self> {
        let mut seeds = SplitMix64::new(seed);
        let tensors = self.tensors.iter().map(|tensor| {
            let shape = self.backend.shape(tensor);
            self.backend.upload(&random_signs(shape.iter().product(), seeds.next_u64()), shape)
        });
        Ok(Self::new(self.backend.clone(), tensors.collect::<Result<_>>()?))
    }
}

/// The numbers of a point are packed in layout order.
impl<B: Autodiff> Pack for ParamVector<B> {
    fn pack(&self) -> CoreResult<Packed> {
        Ok(self.backend.pack(&self.tensors)?)
    }
    fn unpack(&self, numbers: Packed) -> CoreResult<Self> {
        Ok(Self::new(self.backend.clone(), self.backend.unpack(&numbers, &self.tensors)?))
    }
}

/// Products of matrices are those of the backend.
impl<B: Autodiff> Matrices for ParamVector<B> {
    fn matrix(&self) -> Option<[usize; 2]> {
        match &self.tensors[..] {
            [only] => match self.backend.shape(only) {
                [rows, rest @ ..] if !rest.is_empty() => Some([*rows, rest.iter().product()]),
                _ => None,
            },
            _ => None,
        }
    }
    fn gram(&self) -> CoreResult<Self> {
        let ([rows, columns], x) = self.as_matrix()?;
        let transposed = self.backend.permute(&x, &[1, 0])?;
        let gram = if rows <= columns {
            self.backend.matmul(&x, &transposed)?
        } else {
            self.backend.matmul(&transposed, &x)?
        };
        Ok(Self::new(self.backend.clone(), vec![gram]))
    }
    fn multiply_by(&mut self, square: &Self) -> CoreResult<()> {
        let ([rows, columns], x) = self.as_matrix()?;
        let (_, square) = square.as_matrix()?;
        let product = if rows <= columns {
            self.backend.matmul(&square, &x)?
        } else {
            self.backend.matmul(&x, &square)?
        };
        let shape = self.backend.shape(&self.tensors[0]).to_vec();
        self.tensors[0] = self.backend.reshape(&product, &shape)?;
        Ok(())
    }
}

impl<B: Autodiff> ParamVector<B> {
    /// The only tensor, reshaped to a matrix, with its numbers of rows and columns.
    fn as_matrix(&self) -> CoreResult<([usize; 2], B::Tensor)> {
        let shape = self.matrix().ok_or_else(|| {
            let shapes: Vec<_> = self.tensors.iter().map(|tensor| self.backend.shape(tensor)).collect();
            CoreError::backend(format!("expected one tensor of two axes or more, found {shapes:?}"))
        })?;
        Ok((shape, self.backend.reshape(&self.tensors[0], &shape)?))
    }
}

/// Each tensor is a leaf. Tensors are moved, not copied.
impl<B: Autodiff> Partition for ParamVector<B> {
    fn num_leaves(&self) -> usize {
        self.tensors.len()
    }
    fn split(&mut self, group: &[usize], parts: usize) -> CoreResult<Vec<Self>> {
        let split = split_leaves(&mut self.tensors, group, parts)?;
        Ok(split.into_iter().map(|tensors| Self { backend: self.backend.clone(), tensors }).collect())
    }
    fn join(&mut self, group: &[usize], parts: Vec<Self>) -> CoreResult<()> {
        self.tensors = join_leaves(group, parts.into_iter().map(|part| part.tensors).collect())?;
        Ok(())
    }
}
