//! Sessions, the reverse pass, host transfer and arithmetic in place.

use std::{cell::Cell, rc::Rc, sync::Arc};

use gnr_core::{Map, collective::Packed};
use gnr_kernels::{buffer::Buf, elem::Elem, elementwise, reduce, workers};
use gnr_macros::each_precision;
use gnr_nn::{Autodiff, Error, Records, Result};

use super::{
    Cpu,
    adjoints::Node,
    arithmetic,
    session::{Record, Session, Terms},
    tape::Tape,
    tensor::{Tensor, same_shape},
};

impl<E: Elem> Cpu<E> {
    fn replaying(&self, record: &Record<E>, terms: Terms) -> Self {
        workers::keep_awake();
        Self { session: Session::Replay { tape: Tape::default(), records: record.0.replay(), terms } }
    }
}

/// Runs the tape and takes the adjoints of the leaves.
fn gradients<E: Elem>(tape: &Tape, leaves: Vec<Tensor<E>>) -> Vec<Tensor<E>> {
    workers::keep_awake();
    // Keeps nodes and shapes only: the step that reads the elements last may release them.
    let places: Vec<_> = leaves.into_iter().map(|leaf| (leaf.node, leaf.shape)).collect();
    tape.run_backward();
    (places.into_iter())
        .map(|(node, shape)| {
            let adjoint = node.and_then(|node| node.take());
            Tensor::new(adjoint.unwrap_or_else(|| Buf::zeroed(shape.iter().product())), &shape)
        })
        .collect()
}

#[each_precision]
impl Autodiff for Cpu<E> {
    type Record = Record<E>;

    fn gradient_session(&self, record: bool) -> Self {
        workers::keep_awake();
        let session = Session::Gradient {
            tape: Tape::default(),
            records: record.then(Records::default),
            done: Rc::new(Cell::new(false)),
        };
        Self { session }
    }

    fn take_record(&self) -> Result<Record<E>> {
        match &self.session {
            Session::Gradient { records: Some(records), done, .. } if done.get() => {
                Ok(Record(records.clone()))
            }
            Session::Gradient { records: Some(_), .. } => {
                Err(Error::Invalid("a record is taken after the backward pass".into()))
            }
            _ => Err(Error::Invalid("this session does not record".into())),
        }
    }

    fn replay_session(&self, record: &Record<E>) -> Result<Self> {
        Ok(self.replaying(record, Terms::Both))
    }

    fn linear_session(&self, record: &Record<E>) -> Result<Self> {
        Ok(self.replaying(record, Terms::First))
    }

    fn finish_replay(&self) -> Result<()> {
        match &self.session {
            Session::Replay { records, .. } => records.finish(),
            _ => Ok(()),
        }
    }

    fn variable(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        let node = match &self.session {
            Session::Plain => None,
            Session::Gradient { tape, .. } | Session::Replay { tape, .. } => Some(Node::new(tape)),
        };
        Ok(x.with_node(node))
    }

    fn backward(&self, loss: &Tensor<E>, leaves: Vec<Tensor<E>>) -> Result<Vec<Tensor<E>>> {
        if loss.len() != 1 {
            return Err(Error::InvalidShape {
                op: "backward",
                expected: "a single element".into(),
                found: loss.shape.to_vec(),
            });
        }
        let tape = match &self.session {
            Session::Plain => {
                return Err(Error::Invalid("backward needs a gradient or replay session".into()));
            }
            Session::Gradient { tape, done, .. } => {
                if let Some(node) = &loss.node {
                    let (node, seed) = (Rc::clone(node), loss.target());
                    tape.push(move || {
                        // Discards what a step before the seed may have left in the loss's node.
                        node.take();
                        seed.add(Buf::from(vec![E::of(1.0)]));
                    });
                }
                done.set(true);
                tape
            }
            // Every adjoint starts in the second term of a replayed operation: see the session module.
            Session::Replay { tape, .. } => tape,
        };
        Ok(gradients(tape, leaves))
    }

    fn vjp(&self, y: &Tensor<E>, cotangent: &Tensor<E>, leaves: Vec<Tensor<E>>) -> Result<Vec<Tensor<E>>> {
        same_shape("vjp", y, cotangent)?;
        let tape = match &self.session {
            Session::Gradient { tape, .. } | Session::Replay { tape, terms: Terms::First, .. } => tape,
            _ => return Err(Error::Invalid("vjp needs a gradient or linear session".into())),
        };
        if y.node.is_some() {
            let (seed, cotangent) = (y.target(), Arc::clone(cotangent.data()));
            tape.push(move || seed.add_copy(&cotangent));
        }
        Ok(gradients(tape, leaves))
    }

    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<Tensor<E>> {
        super::check_len("upload", data.len(), shape)?;
        let mut buffer = Buf::new(data.len());
        match E::as_f32_mut(&mut buffer) {
            Some(buffer) => buffer.copy_from_slice(data),
            None => buffer.iter_mut().zip(data).for_each(|(to, from)| *to = E::of(f64::from(*from))),
        }
        Ok(Tensor::new(buffer, shape))
    }
    fn item(&self, x: &Tensor<E>) -> Result<f64> {
        match x.as_slice() {
            [only] => Ok(only.wide()),
            _ => Err(Error::InvalidShape {
                op: "item",
                expected: "a single element".into(),
                found: x.shape.to_vec(),
            }),
        }
    }
    fn to_host(&self, x: &Tensor<E>) -> Result<Vec<f64>> {
        Ok(x.data().iter().map(|v| v.wide()).collect())
    }

    fn pack(&self, xs: &[Tensor<E>]) -> Result<Packed> {
        Ok(super::ranks::pack(xs.iter().map(Tensor::as_slice)))
    }

    fn scale(&self, y: &mut Tensor<E>, a: f64) -> Result<()> {
        workers::keep_awake();
        // Because 0·∞ would be NaN.
        if a == 0.0 {
            *y = Tensor::new(Buf::zeroed(y.len()), &y.shape);
        } else {
            elementwise::scale(y.values_mut(), a);
        }
        Ok(())
    }
    fn axpy(&self, y: &mut Tensor<E>, a: f64, x: &Tensor<E>) -> Result<()> {
        workers::keep_awake();
        same_shape("axpy", y, x)?;
        match y.own_values() {
            Some(values) => elementwise::axpy(values, a, x.data()),
            // One pass instead of a copy and a pass.
            None => {
                let mut sum = Buf::new(y.len());
                elementwise::axpy_to(&mut sum, y.data(), a, x.data());
                *y = Tensor::new(sum, &y.shape);
            }
        }
        Ok(())
    }
    fn aypx(&self, y: &mut Tensor<E>, a: f64, x: &Tensor<E>) -> Result<()> {
        workers::keep_awake();
        same_shape("aypx", y, x)?;
        match y.own_values() {
            Some(values) => elementwise::axpy_onto(x.data(), a, values),
            // One pass instead of a copy and a pass.
            None => {
                let mut sum = Buf::new(x.len());
                elementwise::axpy_to(&mut sum, x.data(), a, y.data());
                *y = Tensor::new(sum, &y.shape);
            }
        }
        Ok(())
    }
    fn dot(&self, x: &Tensor<E>, y: &Tensor<E>) -> Result<f64> {
        workers::keep_awake();
        same_shape("dot", x, y)?;
        Ok(reduce::dot(x.data(), y.data()))
    }
    fn dots(&self, x: &Tensor<E>, ys: &[&Tensor<E>]) -> Result<Vec<f64>> {
        ys.iter().try_for_each(|y| same_shape("dots", x, y))?;
        let ys: Vec<&[E]> = ys.iter().map(|y| y.as_slice()).collect();
        Ok(reduce::dots(x.data(), &ys))
    }
    fn axpys(&self, y: &mut Tensor<E>, a: &[f64], xs: &[&Tensor<E>]) -> Result<()> {
        xs.iter().try_for_each(|x| same_shape("axpys", y, x))?;
        if a.len() != xs.len() {
            let message = format!("axpys: {} factors for {} tensors", a.len(), xs.len());
            return Err(Error::Invalid(message));
        }
        let xs: Vec<&[E]> = xs.iter().map(|x| x.as_slice()).collect();
        reduce::axpys(y.values_mut(), a, &xs);
        Ok(())
    }
    fn map(&self, z: &mut Tensor<E>, f: Map) -> Result<()> {
        arithmetic::map_in_place(z.values_mut(), f);
        Ok(())
    }
    fn multiply(&self, z: &mut Tensor<E>, x: &Tensor<E>) -> Result<()> {
        same_shape("multiply", z, x)?;
        elementwise::update_zip(z.values_mut(), x.data(), |z, x| z * x);
        Ok(())
    }
    fn maximum(&self, z: &mut Tensor<E>, x: &Tensor<E>) -> Result<()> {
        same_shape("maximum", z, x)?;
        elementwise::update_zip(
            z.values_mut(),
            x.data(),
            |z: E, x: E| if x > z || x.is_nan() { x } else { z },
        );
        Ok(())
    }
    fn addcmul(&self, z: &mut Tensor<E>, a: f64, x: &Tensor<E>, y: &Tensor<E>) -> Result<()> {
        same_shape("addcmul", z, x)?;
        same_shape("addcmul", z, y)?;
        elementwise::addcmul(z.values_mut(), a, x.data(), y.data());
        Ok(())
    }
    fn addcdiv_sqrt(
        &self,
        z: &mut Tensor<E>,
        a: f64,
        x: &Tensor<E>,
        b: f64,
        y: &Tensor<E>,
        eps: f64,
    ) -> Result<()> {
        same_shape("addcdiv_sqrt", z, x)?;
        same_shape("addcdiv_sqrt", z, y)?;
        elementwise::adam(z.values_mut(), a, x.data(), y.data(), b, eps);
        Ok(())
    }
}
