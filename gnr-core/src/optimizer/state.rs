//! Common state of most optimisers: a step number and a few vectors like θ.

use crate::{
    Elementwise, Leaf, Result, StateSink, StateSource, Vector,
    checkpoint::{bad_leaf, optional_vector, required_count},
    vector::same_dim,
};
use std::borrow::Cow;

/// A step number and N named vectors, which the first step allocates with zeros.
#[derive(Clone, Debug)]
pub(super) struct State<V, const N: usize> {
    names: [&'static str; N],
    step: u64,
    vectors: Option<[V; N]>,
}

impl<V, const N: usize> State<V, N> {
    /// The state before the first step. `names` are those of the vectors' leaves in checkpoints.
    pub(super) const fn new(names: [&'static str; N]) -> Self {
        Self { names, step: 0, vectors: None }
    }
}

impl<V, const N: usize> State<V, N> {
    /// The vectors; `None` before the first step.
    pub(super) fn get(&self) -> Option<&[V; N]> {
        self.vectors.as_ref()
    }

    /// Number of steps made so far.
    pub(super) fn steps(&self) -> u64 {
        self.step
    }
}

impl<V: Vector, const N: usize> State<V, N> {
    /// The dimension of the vectors; `None` before the first step.
    pub(super) fn dim(&self) -> Option<usize> {
        self.vectors.as_ref().and_then(|vectors| vectors.first()).map(V::dim)
    }

    /// Checks, before anything changes, that θ, direction and state have one dimension.
    pub(super) fn check(&self, operation: &'static str, theta: &V, direction: &V) -> Result<()> {
        same_dim(operation, theta.dim(), direction.dim())?;
        self.dim().map_or(Ok(()), |dim| same_dim(operation, theta.dim(), dim))
    }

    /// Begins a step. Returns its number, from 1, and the vectors.
    pub(super) fn begin(&mut self, direction: &V) -> Result<(u64, &mut [V; N])> {
        let vectors = match &mut self.vectors {
            Some(vectors) => vectors,
            none => {
                let mut zero = direction.clone();
                zero.scale(0.0)?;
                none.insert(std::array::from_fn(|_| zero.clone()))
            }
        };
        self.step += 1;
        Ok((self.step, vectors))
    }

    pub(super) fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        sink.put("step", Leaf::Count(self.step))?;
        let mut named = self.vectors.iter().flatten().zip(self.names);
        named.try_for_each(|(vector, name)| sink.put(name, Leaf::Vector(vector)))
    }

    pub(super) fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        let step = required_count(source, "step")?;
        let mut found: Vec<V> = Vec::with_capacity(N);
        for name in self.names {
            match optional_vector(source, name)? {
                Some(_) if step == 0 => return Err(bad_leaf("step", format!("0, but {name} is present"))),
                Some(vector) => {
                    if let Some(first) = found.first().filter(|first| first.dim() != vector.dim()) {
                        let (of, dim) = (self.names[0], first.dim());
                        let problem = format!("dimension {}, but {of} has {dim}", vector.dim());
                        return Err(bad_leaf(name, problem));
                    }
                    found.push(vector);
                }
                None if step > 0 => return Err(bad_leaf(name, format!("missing after {step} steps"))),
                None => {}
            }
        }
        (self.step, self.vectors) = (step, found.try_into().ok());
        Ok(())
    }
}

/// Updates a running average: `mean ← β·mean + (1 − β)·x`.
pub(super) fn average<V: Vector>(mean: &mut V, beta: f64, x: &V) -> Result<()> {
    mean.scale(beta)?;
    mean.axpy(1.0 - beta, x)
}

/// Updates a running average of squares: `mean ← β·mean + (1 − β)·x²`.
pub(super) fn average_square<V: Elementwise>(mean: &mut V, beta: f64, x: &V) -> Result<()> {
    mean.scale(beta)?;
    mean.addcmul(1.0 - beta, x, x)
}

/// The direction with coupled weight decay, d = h + λθ; the direction itself where λ = 0.
pub(super) fn coupled<'d, V: Vector>(direction: &'d V, theta: &V, lambda: f64) -> Result<Cow<'d, V>> {
    if lambda == 0.0 {
        return Ok(Cow::Borrowed(direction));
    }
    let mut d = direction.clone();
    d.axpy(lambda, theta)?;
    Ok(Cow::Owned(d))
}

/// Applies decoupled weight decay: `θ ← (1 − ηλ)θ`.
pub(super) fn shrink<V: Vector>(theta: &mut V, lr: f64, lambda: f64) -> Result<()> {
    if lambda == 0.0 { Ok(()) } else { theta.scale(1.0 - lr * lambda) }
}

/// Implements saving and loading for an optimiser whose state is its field `state`.
macro_rules! checkpoint_of_state {
    ($name:ident) => {
        impl<V: $crate::Vector> $crate::Checkpoint<V> for $name<V> {
            fn save(&self, sink: &mut dyn $crate::StateSink<V>) -> $crate::Result<()> {
                self.state.save(sink)
            }
            fn load(&mut self, source: &mut dyn $crate::StateSource<V>) -> $crate::Result<()> {
                self.state.load(source)
            }
        }
    };
}
pub(super) use checkpoint_of_state;
