//! The three kinds of session, and how an operation of each group enters the tape and the record.
//!
//! - *Plain*: no tape; for prediction and for arithmetic outside passes.
//! - *Gradient*: a tape; when recording, every operation with a tracked output also leaves an [`Entry`].
//! - *Replay*: the model runs again on dual numbers at the recorded point. Each operation takes its entry back, reuses
//!   the output, and computes only the tangent. Its reverse pass is forward-over-reverse: with y = f(x), a = the adjoint of y in
//!   the gradient pass and b = the incoming derivative of that adjoint, x̄ += Jᵀb + (d/dε J)ᵀa. So nothing starts at the loss:
//!   every b originates in some operation's second term. Linear operations have no second term; their ordinary reverse is right.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::{Arc, Weak},
};

use dfdx::prelude::{Cpu as Device, Tape};
use gnr_nn::{Dual, Error, Records, Replay, Result};

use super::{
    Cpu,
    adjoints::{Adjoints, DeviceError, Node, Taken},
    again::{Again, Held, Known, Maker},
    buffer::Buf,
    kernels::elem::Elem,
    tensor::{Tensor, same_shape},
};
use crate::tape::SharedTape;

/// What a recording gradient pass leaves behind: one entry for each operation. Opaque; cloning shares it.
pub struct Record<E: Elem>(pub(super) Records<Entry<E>>);

impl<E: Elem> Clone for Record<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Elem> fmt::Debug for Record<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("operations", &self.0.len()).finish()
    }
}

/// One operation of a record.
pub(super) enum Entry<E: Elem> {
    Nonlinear(Rc<Saved<E>>),
    /// The output, which a replay reuses if another entry holds it (as an input, most often of a normalisation), and operands that this one
    /// holds.
    Linear(Weak<Buf<E>>, #[allow(dead_code)] Vec<Arc<Buf<E>>>),
}

/// What one nonlinear operation's replay needs.
pub(super) struct Saved<E: Elem> {
    pub(super) output: Held<E>,
    /// Set by the reverse pass; stays `None` where the loss did not depend on the output. Shared by itself: a replay needs it for
    /// longer than the output.
    pub(super) adjoint: Rc<RefCell<Option<Held<E>>>>,
    pub(super) extra: Extra<E>,
    /// The operation's identity.
    pub(super) maker: Maker,
    /// Operands in memory, for the replay, which gets them from the operations that made them.
    _operands: Vec<Arc<Buf<E>>>,
}

/// The output of an operation.
pub(super) enum Output<E: Elem> {
    /// In memory; a session need not hold it when there is a way to make it again.
    There(Buf<E>, Option<Again<E>>),
    /// Not made yet: operations that take it piece by piece never need it whole.
    Lazy(Again<E>),
}

impl<E: Elem> From<Buf<E>> for Output<E> {
    fn from(data: Buf<E>) -> Self {
        Self::There(data, None)
    }
}

/// Beyond output and adjoint.
pub(super) enum Extra<E: Elem> {
    Nothing,
    /// Statistics of the rows of a layer normalisation, probabilities of an attention.
    Values(Arc<Buf<E>>),
    /// Statistics of a batch normalisation and the sums over its adjoint.
    Norm(Rc<super::norm::Normalised>),
    /// Positions of the maxima.
    Argmax(Arc<Buf<u32>>),
    /// Probabilities of the loss.
    CrossEntropy(Arc<super::kernels::softmax::CrossEntropy>),
}

/// What the reverse pass of a replay adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// Jᵀb + (d/dε J)ᵀa, b starting at zero: a Hessian-vector product.
    Both,
    /// Jᵀb alone, b starting at the cotangent of an output: a vector-Jacobian product.
    First,
}

pub(super) enum Session<E: Elem> {
    Plain,
    Gradient { tape: SharedTape<E, Device>, records: Option<Records<Entry<E>>>, done: Rc<Cell<bool>> },
    Replay { tape: SharedTape<E, Device>, records: Replay<Entry<E>>, terms: Terms },
}

impl<E: Elem> Clone for Session<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain => Self::Plain,
            Self::Gradient { tape, records, done } => {
                Self::Gradient { tape: tape.clone(), records: records.clone(), done: Rc::clone(done) }
            }
            Self::Replay { tape, records, terms } => {
                Self::Replay { tape: tape.clone(), records: records.clone(), terms: *terms }
            }
        }
    }
}

/// An operation being replayed: its entry and the node of its output.
pub(super) struct Replayed<E: Elem> {
    op: &'static str,
    shape: Vec<usize>,
    saved: Rc<Saved<E>>,
    node: Rc<Node<E>>,
    terms: Terms,
    /// The output, where it was made already.
    made: Option<Buf<E>>,
}

impl<E: Elem> Replayed<E> {
    pub(super) fn output(&self) -> Arc<Buf<E>> {
        self.saved.output.get()
    }
    /// With an output that cost less than the record's own way to it; the same bits.
    pub(super) fn with_output(self, made: Option<Buf<E>>) -> Self {
        Self { made, ..self }
    }
    pub(super) fn extra(&self) -> &Extra<E> {
        &self.saved.extra
    }
    /// The operation's identity.
    pub(super) fn maker(&self) -> Maker {
        self.saved.maker.clone()
    }
    /// The error of an entry whose kind does not belong to its operation.
    pub(super) fn corrupt(&self) -> Error {
        corrupt(self.op)
    }
    /// The output as a dual number. In the reverse pass `f` gets b (if there is one), a (if there is one) and the adjoints.
    pub(super) fn finish(
        self,
        tangent: Option<Buf<E>>,
        f: impl FnOnce(Option<Buf<E>>, Option<&Arc<Buf<E>>>, &mut Adjoints<E>) -> Result<(), DeviceError>
        + 'static,
    ) -> Result<Dual<Tensor<E>>> {
        let tangent = tangent.map(|tangent| Tensor::new(tangent, &self.shape));
        self.finish_with(tangent, move |b, a, adjoints| f(b, a.map(|a| a.get()).as_ref(), adjoints))
    }
    /// The same with a tangent that later steps make again instead of holding it.
    pub(super) fn finish_again(
        self,
        tangent: Option<Again<E>>,
        f: impl FnOnce(Option<Buf<E>>, Option<&Arc<Buf<E>>>, &mut Adjoints<E>) -> Result<(), DeviceError>
        + 'static,
    ) -> Result<Dual<Tensor<E>>> {
        let tangent = tangent.map(|tangent| Tensor::made_by(tangent, &self.shape));
        self.finish_with(tangent, move |b, a, adjoints| f(b, a.map(|a| a.get()).as_ref(), adjoints))
    }
    /// The same for an operation that decides itself whether it needs a in memory.
    pub(super) fn finish_with(
        self,
        tangent: Option<Tensor<E>>,
        f: impl FnOnce(Option<Buf<E>>, Option<Held<E>>, &mut Adjoints<E>) -> Result<(), DeviceError> + 'static,
    ) -> Result<Dual<Tensor<E>>> {
        let Self { shape, saved, node, terms, made, .. } = self;
        let mut primal = match (made, &saved.output) {
            (Some(made), output) => {
                let mut primal = Tensor::new(made, &shape);
                primal.again = output.again();
                primal
            }
            (None, Held::Again(again)) => Tensor::made_by(again.clone(), &shape),
            (None, Held::Data(data)) => Tensor::of(Arc::clone(data), &shape),
            (None, Held::Elsewhere(data, again)) => match data.upgrade() {
                Some(data) => Tensor::of(data, &shape),
                None => Tensor::once(again.clone(), &shape),
            },
        };
        primal.node = Some(Rc::clone(&node));
        let adjoint = Rc::clone(&saved.adjoint);
        if terms == Terms::Both {
            node.expect(adjoint.borrow().as_ref());
        }
        on_tape(&node, move |node, adjoints| {
            let b = adjoints.take(node)?;
            let a = match terms {
                Terms::Both => node.take_first().map(Held::Data).or_else(|| adjoint.borrow().clone()),
                Terms::First => None,
            };
            if b.is_none() && a.is_none() {
                return Ok(());
            }
            f(b, a, adjoints)
        })?;
        Ok(Dual { primal, tangent })
    }
}

/// Records a step of the reverse pass.
fn on_tape<E: Elem>(
    node: &Rc<Node<E>>,
    f: impl FnOnce(&Node<E>, &mut Adjoints<E>) -> Result<(), DeviceError> + 'static,
) -> Result<()> {
    let Some(mut tape) = node.tape.upgrade() else { return Err(session_over()) };
    let node = Rc::clone(node);
    tape.add_backward_op(move |_| f(&node, &mut Adjoints::new()));
    Ok(())
}

/// The elements of tensors that nothing can make again.
fn in_memory<E: Elem>(tensors: &[&Tensor<E>]) -> Vec<Arc<Buf<E>>> {
    let there = tensors.iter().filter(|tensor| tensor.again.is_none());
    there.map(|tensor| Arc::clone(tensor.data())).collect()
}

/// The error of an entry of another kind than its operation's.
fn corrupt(op: &str) -> Error {
    Error::Invalid(format!("record of {op} is not one of its own"))
}

fn session_over() -> Error {
    Error::Invalid("a tensor is used after the session that tracks it has ended".into())
}

impl<E: Elem> Cpu<E> {
    /// The node of an operation's output; `None` when no operand is tracked.
    fn node_over(&self, op: &'static str, operands: &[&Tensor<E>]) -> Result<Option<Rc<Node<E>>>> {
        let mut tracked = operands.iter().filter_map(|operand| operand.node.as_ref());
        let Some(first) = tracked.next() else { return Ok(None) };
        if tracked.any(|other| !other.tape.same(&first.tape)) {
            return Err(Error::Invalid(format!("{op}: operands are tracked by two different sessions")));
        }
        let tape = first.tape.upgrade().ok_or_else(session_over)?;
        Ok(Some(Node::new(&tape)))
    }

    /// Whether a product at this point will follow.
    pub(super) fn records(&self) -> bool {
        matches!(self.session, Session::Gradient { records: Some(_), .. })
    }

    /// A linear operation: `output` computes what is not known yet, `reverse` gets the output's adjoint.
    pub(super) fn linear_op(
        &self,
        op: &'static str,
        shape: &[usize],
        operands: &[&Tensor<E>],
        output: impl FnOnce() -> Buf<E>,
        reverse: impl FnOnce(Buf<E>, &mut Adjoints<E>) -> Result<(), DeviceError> + 'static,
    ) -> Result<Tensor<E>> {
        self.linear_op_holding(op, shape, operands, operands, output, |(adjoint, _), adjoints| {
            reverse(adjoint, adjoints)
        })
    }

    /// The same; the record holds only those operands that are to be `held`, and `reverse` also gets what is known of the adjoint.
    pub(super) fn linear_op_holding(
        &self,
        op: &'static str,
        shape: &[usize],
        operands: &[&Tensor<E>],
        held: &[&Tensor<E>],
        output: impl FnOnce() -> Buf<E>,
        reverse: impl FnOnce(Taken<E>, &mut Adjoints<E>) -> Result<(), DeviceError> + 'static,
    ) -> Result<Tensor<E>> {
        let Some(node) = self.node_over(op, operands)? else { return Ok(Tensor::new(output(), shape)) };
        let known = match &self.session {
            Session::Replay { records, .. } => match &records.next(op, shape)?.saved {
                Entry::Linear(held, _) => held.upgrade(),
                Entry::Nonlinear(_) => return Err(corrupt(op)),
            },
            _ => None,
        };
        let mut y = Tensor::of(known.unwrap_or_else(|| Arc::new(output())), shape);
        if let Session::Gradient { records: Some(records), .. } = &self.session {
            records.push(op, shape, Entry::Linear(Arc::downgrade(y.data()), in_memory(held)));
        }
        on_tape(&node, |node, adjoints| match adjoints.take_with(node)? {
            Some(taken) => reverse(taken, adjoints),
            None => Ok(()),
        })?;
        y.node = Some(node);
        Ok(y)
    }

    /// The output of a nonlinear operation. `reverse` gets its output, its adjoint and, when recording, its entry; it returns the
    /// adjoint that the entry keeps, or `None` when it has passed the buffer on (only allowed without an entry). What it keeps is the
    /// adjoint it was given, except for a normalisation, which masks it.
    ///
    /// # Errors
    /// In a replay, where only the dual form of an operation knows its second term.
    pub(super) fn nonlinear_op(
        &self,
        op: &'static str,
        output: impl Into<Output<E>>,
        shape: &[usize],
        operands: &[&Tensor<E>],
        extra: impl FnOnce() -> Extra<E>,
        reverse: impl FnOnce(
            &Held<E>,
            Buf<E>,
            Option<&Saved<E>>,
            &mut Adjoints<E>,
        ) -> Result<Option<Arc<Buf<E>>>, DeviceError>
        + 'static,
    ) -> Result<Tensor<E>> {
        let (mut y, again) = match output.into() {
            Output::There(data, again) => (Tensor::new(data, shape), again),
            Output::Lazy(again) => (Tensor::lazy(again.clone(), shape), Some(again)),
        };
        let Some(node) = self.node_over(op, operands)? else { return Ok(y) };
        (y.node, y.again) = (Some(Rc::clone(&node)), again);
        let data = y.held();
        let output = data.clone();
        let held = || (output, in_memory(operands));
        self.enter(op, shape, &node, held, extra, move |adjoint, entry, adjoints| {
            reverse(&data, adjoint, entry, adjoints)
        })?;
        Ok(y)
    }

    /// The output of a product, which its own derivatives do not need: who takes it holds it, and `again` tells how the operation computes it
    /// once more should a replay ask for it after all. `reverse` gets its adjoint and gives it back to be kept.
    pub(super) fn product_op(
        &self,
        op: &'static str,
        output: Buf<E>,
        shape: &[usize],
        operands: &[&Tensor<E>],
        again: impl FnOnce() -> Again<E>,
        reverse: impl FnOnce(Buf<E>, &mut Adjoints<E>) -> Result<Arc<Buf<E>>, DeviceError> + 'static,
    ) -> Result<Tensor<E>> {
        let mut y = Tensor::new(output, shape);
        let Some(node) = self.node_over(op, operands)? else { return Ok(y) };
        y.node = Some(Rc::clone(&node));
        let held = || (Held::Elsewhere(Arc::downgrade(y.data()), again()), Vec::new());
        let extra = || Extra::Nothing;
        self.enter(op, shape, &node, held, extra, |adjoint, _, adjoints| {
            reverse(adjoint, adjoints).map(Some)
        })?;
        Ok(y)
    }

    /// Enters a nonlinear operation in the record, where there is one, with the output and the operands that it has to hold, and its reverse
    /// step on the tape.
    fn enter(
        &self,
        op: &'static str,
        shape: &[usize],
        node: &Rc<Node<E>>,
        held: impl FnOnce() -> (Held<E>, Vec<Arc<Buf<E>>>),
        extra: impl FnOnce() -> Extra<E>,
        reverse: impl FnOnce(
            Buf<E>,
            Option<&Saved<E>>,
            &mut Adjoints<E>,
        ) -> Result<Option<Arc<Buf<E>>>, DeviceError>
        + 'static,
    ) -> Result<()> {
        let entry = match &self.session {
            Session::Replay { .. } => {
                return Err(Error::Invalid(format!(
                    "{op}: called without its tangent in a replay; run the model on dual numbers"
                )));
            }
            Session::Gradient { records: Some(records), .. } => {
                let (adjoint, maker) = (Rc::default(), Maker::default());
                let (output, operands) = held();
                let saved = Rc::new(Saved { output, adjoint, extra: extra(), maker, _operands: operands });
                records.push(op, shape, Entry::Nonlinear(Rc::clone(&saved)));
                Some(saved)
            }
            _ => None,
        };
        on_tape(node, move |node, adjoints| {
            let Some((adjoint, known)) = adjoints.take_with(node)? else { return Ok(()) };
            let kept = reverse(adjoint, entry.as_deref(), adjoints)?;
            if let Some(entry) = entry {
                // What a normalisation keeps is masked.
                let known = if matches!(entry.extra, Extra::Norm(_)) { Known::Nothing } else { known };
                *entry.adjoint.borrow_mut() = kept.map(|kept| known.hold(kept));
            }
            Ok(())
        })
    }

    /// The entry of a nonlinear operation in a replay; `None` where there is none (no replay, or an output that is not tracked):
    /// the composed operation is right there.
    ///
    /// # Errors
    /// When the next entry is of another operation or shape, or a tangent is itself tracked.
    pub(super) fn replayed(
        &self,
        op: &'static str,
        shape: &[usize],
        operands: &[Dual<&Tensor<E>>],
    ) -> Result<Option<Replayed<E>>> {
        let Session::Replay { records, terms, .. } = &self.session else { return Ok(None) };
        if operands.iter().filter_map(|operand| operand.tangent).any(Tensor::is_tracked) {
            return Err(Error::Invalid(format!("{op}: tangents must be constants in a replay")));
        }
        for operand in operands {
            if let Some(tangent) = operand.tangent {
                same_shape(op, operand.primal, tangent)?;
            }
        }
        let primals: Vec<_> = operands.iter().map(|operand| operand.primal).collect();
        match self.node_over(op, &primals)? {
            Some(node) => {
                let Entry::Nonlinear(saved) = &records.next(op, shape)?.saved else {
                    return Err(corrupt(op));
                };
                let (shape, saved) = (shape.to_vec(), Rc::clone(saved));
                Ok(Some(Replayed { op, shape, saved, node, terms: *terms, made: None }))
            }
            None => Ok(None),
        }
    }
}
