//! The three kinds of session, and how an operation of each group enters the tape and the record.
//!
//! - *Plain*: no tape; for prediction and for arithmetic outside passes.
//! - *Gradient*: a tape. When recording, every operation with a tracked output also leaves an [`Entry`].
//! - *Replay*: the model runs again on dual numbers at the recorded point. Each operation takes its entry from the
//!   record. It gets its output from there, or recomputes it, and computes the tangent.
//!
//! The reverse pass of a replay is forward-over-reverse. Let y = f(x) with the Jacobian J, and ε the step along the
//! direction. Let `a` be the adjoint of y in the gradient pass, and `b` its derivative in ε. Then x̄ += Jᵀb +
//! (dJ/dε)ᵀa. The loss's adjoint is the constant 1, so its b is 0: the second terms are the only source of b. Linear
//! operations have no second term, so their ordinary reverse step is right.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::{Arc, Weak},
};

use gnr_kernels::{buffer::Buf, elem::Elem};
use gnr_nn::{Dual, Error, Records, Replay, Result};

use super::{
    Cpu,
    adjoints::{Node, Taken},
    tape::Tape,
    tensor::{Tensor, same_shape},
    value::{OpId, Recompute, Retention, Value},
};

/// The record of a gradient pass: one entry for each operation. Opaque; cloning shares it.
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
    /// A weak reference to the output, and the operands that this entry keeps alive. A replay reuses the output while
    /// another entry holds it; otherwise it computes the output again.
    Linear(Weak<Buf<E>>, #[allow(dead_code)] Vec<Arc<Buf<E>>>),
}

/// The operands of the replay of one nonlinear operation.
pub(super) struct Saved<E: Elem> {
    pub(super) output: Value<E>,
    /// The adjoint of the output, which the reverse pass sets. `None` if the loss did not depend on the output, or if
    /// the operation has no second term. Shared separately, because a replay needs it for longer than the output.
    pub(super) adjoint: Rc<RefCell<Option<Value<E>>>>,
    pub(super) extra: Extra<E>,
    pub(super) id: OpId,
    /// Operands that stay alive until the replay. No code reads this field: the entries of the operations that made the
    /// operands refer to them weakly.
    _operands: Vec<Arc<Buf<E>>>,
}

/// Results that an operation records beyond its output and adjoint.
pub(super) enum Extra<E: Elem> {
    Nothing,
    /// Statistics of the rows of a layer normalisation, or probabilities of an attention.
    Values(Arc<Buf<E>>),
    /// Statistics of a batch normalisation and the sums over its adjoint.
    Norm(Rc<super::norm::Normalised>),
    /// Positions of the maxima.
    Argmax(Arc<Buf<u32>>),
    /// Probabilities of the loss.
    CrossEntropy(Arc<gnr_kernels::softmax::CrossEntropy>),
}

/// The terms that the reverse pass of a replay adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// Jᵀb + (d/dε J)ᵀa with b starting at zero: a Hessian-vector product.
    Both,
    /// Jᵀb alone with b starting at the cotangent of an output: a vector-Jacobian product.
    First,
}

/// The mode in which a handle of the engine runs operations. `done` is true once the reverse pass of a gradient session
/// ran.
pub(super) enum Session<E: Elem> {
    Plain,
    Gradient { tape: Tape, records: Option<Records<Entry<E>>>, done: Rc<Cell<bool>> },
    Replay { tape: Tape, records: Replay<Entry<E>>, terms: Terms },
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

/// A nonlinear operation under replay: its entry and the node of its output.
pub(super) struct Replayed<E: Elem> {
    op: &'static str,
    shape: Vec<usize>,
    saved: Rc<Saved<E>>,
    node: Rc<Node<E>>,
    terms: Terms,
    /// The output, if the operation computed it already.
    computed: Option<Buf<E>>,
}

impl<E: Elem> Replayed<E> {
    pub(super) fn output(&self) -> Arc<Buf<E>> {
        self.saved.output.get()
    }
    /// Replaces the output that the record would recompute by one that the caller already has. Both must have the same
    /// bits.
    pub(super) fn with_output(self, computed: Option<Buf<E>>) -> Self {
        Self { computed, ..self }
    }
    pub(super) fn extra(&self) -> &Extra<E> {
        &self.saved.extra
    }
    pub(super) fn id(&self) -> OpId {
        self.saved.id.clone()
    }
    /// The error of an entry whose kind does not belong to its operation.
    pub(super) fn corrupt(&self) -> Error {
        corrupt(self.op)
    }
    /// Returns the output as a dual number. In the reverse pass, `step` receives b and a, each if there is one.
    pub(super) fn finish(
        self,
        tangent: Option<Buf<E>>,
        step: impl FnOnce(Option<Buf<E>>, Option<&Arc<Buf<E>>>) + 'static,
    ) -> Result<Dual<Tensor<E>>> {
        let tangent = tangent.map(|tangent| Tensor::new(tangent, &self.shape));
        self.finish_with(tangent, move |b, a| step(b, a.map(|a| a.get()).as_ref()))
    }
    /// Finishes the operation with a tangent that later steps recompute; see [`finish`](Self::finish).
    pub(super) fn finish_recomputable(
        self,
        tangent: Option<Recompute<E>>,
        step: impl FnOnce(Option<Buf<E>>, Option<&Arc<Buf<E>>>) + 'static,
    ) -> Result<Dual<Tensor<E>>> {
        let tangent = tangent.map(|tangent| Tensor::of_value(&Value::Recompute(tangent), &self.shape));
        self.finish_with(tangent, move |b, a| step(b, a.map(|a| a.get()).as_ref()))
    }
    /// Finishes an operation whose step receives the recorded adjoint `a` as a value that may still have to be
    /// recomputed; see [`finish`](Self::finish).
    pub(super) fn finish_with(
        self,
        tangent: Option<Tensor<E>>,
        step: impl FnOnce(Option<Buf<E>>, Option<Value<E>>) + 'static,
    ) -> Result<Dual<Tensor<E>>> {
        let Self { shape, saved, node, terms, computed, .. } = self;
        let output = &saved.output;
        let mut primal = match computed {
            Some(computed) => Tensor::new(computed, &shape).recomputable(output.recompute().cloned()),
            None => Tensor::of_value(output, &shape),
        };
        primal.node = Some(Rc::clone(&node));
        let adjoint = Rc::clone(&saved.adjoint);
        if terms == Terms::Both {
            node.expect_by_product(adjoint.borrow().as_ref());
        }
        on_tape(&node, move |node| {
            let b = node.take();
            let a = match terms {
                Terms::Both => node.take_by_product().map(Value::Memory).or_else(|| adjoint.borrow().clone()),
                Terms::First => None,
            };
            if b.is_some() || a.is_some() {
                step(b, a);
            }
        })?;
        Ok(Dual { primal, tangent })
    }
}

/// Puts a step of the reverse pass on the tape.
fn on_tape<E: Elem>(node: &Rc<Node<E>>, step: impl FnOnce(&Node<E>) + 'static) -> Result<()> {
    let tape = node.tape.upgrade().ok_or_else(session_over)?;
    let node = Rc::clone(node);
    tape.push(move || step(&node));
    Ok(())
}

/// The elements of those tensors that cannot be recomputed.
fn in_memory<E: Elem>(tensors: &[&Tensor<E>]) -> Vec<Arc<Buf<E>>> {
    let held = tensors.iter().filter(|tensor| tensor.recompute().is_none());
    held.map(|tensor| Arc::clone(tensor.data())).collect()
}

/// The error of an entry of another kind than its operation's.
fn corrupt(op: &str) -> Error {
    Error::Invalid(format!("record of {op} is not one of its own"))
}

fn session_over() -> Error {
    Error::Invalid("a tensor is used after the session that tracks it has ended".into())
}

impl<E: Elem> Cpu<E> {
    /// Creates the node of an operation's output; `None` if no operand is tracked.
    fn node_over(&self, op: &'static str, operands: &[&Tensor<E>]) -> Result<Option<Rc<Node<E>>>> {
        let mut tracked = operands.iter().filter_map(|operand| operand.node.as_ref());
        let Some(first) = tracked.next() else { return Ok(None) };
        if tracked.any(|other| !other.tape.same(&first.tape)) {
            return Err(Error::Invalid(format!("{op}: operands are tracked by two different sessions")));
        }
        let tape = first.tape.upgrade().ok_or_else(session_over)?;
        Ok(Some(Node::new(&tape)))
    }

    /// Whether this session records, so that a product at this point will follow.
    pub(super) fn records(&self) -> bool {
        matches!(self.session, Session::Gradient { records: Some(_), .. })
    }

    /// Runs a linear operation. `output` computes the output unless the record has it; `step` receives the output's
    /// adjoint.
    pub(super) fn linear_op(
        &self,
        op: &'static str,
        shape: &[usize],
        operands: &[&Tensor<E>],
        output: impl FnOnce() -> Buf<E>,
        step: impl FnOnce(Buf<E>) + 'static,
    ) -> Result<Tensor<E>> {
        self.linear_op_holding(op, shape, operands, operands, output, |(adjoint, _)| step(adjoint))
    }

    /// Runs a linear operation whose record holds only the operands in `held`; see [`linear_op`](Self::linear_op).
    /// `step` also receives the retention of the adjoint: whether a record must hold it, or can recompute it.
    pub(super) fn linear_op_holding(
        &self,
        op: &'static str,
        shape: &[usize],
        operands: &[&Tensor<E>],
        held: &[&Tensor<E>],
        output: impl FnOnce() -> Buf<E>,
        step: impl FnOnce(Taken<E>) + 'static,
    ) -> Result<Tensor<E>> {
        let Some(node) = self.node_over(op, operands)? else { return Ok(Tensor::new(output(), shape)) };
        let reused = match &self.session {
            Session::Replay { records, .. } => match &records.next(op, shape)?.saved {
                Entry::Linear(held, _) => held.upgrade(),
                Entry::Nonlinear(_) => return Err(corrupt(op)),
            },
            _ => None,
        };
        let mut y = Tensor::of(reused.unwrap_or_else(|| Arc::new(output())), shape);
        if let Session::Gradient { records: Some(records), .. } = &self.session {
            records.push(op, shape, Entry::Linear(Arc::downgrade(y.data()), in_memory(held)));
        }
        on_tape(&node, |node| {
            if let Some(taken) = node.take_with_retention() {
                step(taken);
            }
        })?;
        y.node = Some(node);
        Ok(y)
    }

    /// Enters a nonlinear operation with the output `y`.
    ///
    /// `step` receives the output, its adjoint and, when recording, its entry. It returns the adjoint for the entry to
    /// retain. `None` means that no replay needs one: there is no entry, or no second term. A normalisation with ReLU
    /// or ReLU6 returns the masked adjoint, others the one that they were given.
    ///
    /// # Errors
    /// In a replay, where only the dual form of an operation knows its second term.
    pub(super) fn nonlinear_op(
        &self,
        op: &'static str,
        mut y: Tensor<E>,
        operands: &[&Tensor<E>],
        extra: impl FnOnce() -> Extra<E>,
        step: impl FnOnce(&Value<E>, Buf<E>, Option<&Saved<E>>) -> Option<Arc<Buf<E>>> + 'static,
    ) -> Result<Tensor<E>> {
        let Some(node) = self.node_over(op, operands)? else {
            return Ok(y);
        };
        y.node = Some(Rc::clone(&node));
        let value = y.hold();
        let output = value.clone();
        let hold = || (output, in_memory(operands));
        self.enter(op, &y.shape, &node, hold, extra, move |adjoint, entry| step(&value, adjoint, entry))?;
        Ok(y)
    }

    /// Enters a product with the output `y`, which its own derivatives do not need.
    ///
    /// The entry refers to the output weakly; often the entry of the next operation holds it. If nobody does, a replay
    /// calls `recompute`. `step` receives the output's adjoint and returns it for the entry to retain.
    pub(super) fn product_op(
        &self,
        op: &'static str,
        mut y: Tensor<E>,
        operands: &[&Tensor<E>],
        recompute: impl FnOnce() -> Recompute<E>,
        step: impl FnOnce(Buf<E>) -> Arc<Buf<E>> + 'static,
    ) -> Result<Tensor<E>> {
        let Some(node) = self.node_over(op, operands)? else { return Ok(y) };
        y.node = Some(Rc::clone(&node));
        let hold = || (Value::Elsewhere(Arc::downgrade(y.data()), recompute()), Vec::new());
        self.enter(op, &y.shape, &node, hold, || Extra::Nothing, |adjoint, _| Some(step(adjoint)))?;
        Ok(y)
    }

    /// Enters a nonlinear operation in the record, if there is one, and its reverse step on the tape. `hold` gives the
    /// output and the operands that the record holds.
    fn enter(
        &self,
        op: &'static str,
        shape: &[usize],
        node: &Rc<Node<E>>,
        hold: impl FnOnce() -> (Value<E>, Vec<Arc<Buf<E>>>),
        extra: impl FnOnce() -> Extra<E>,
        step: impl FnOnce(Buf<E>, Option<&Saved<E>>) -> Option<Arc<Buf<E>>> + 'static,
    ) -> Result<()> {
        let entry = match &self.session {
            Session::Replay { .. } => {
                return Err(Error::Invalid(format!(
                    "{op}: called without its tangent in a replay; run the model on dual numbers"
                )));
            }
            Session::Gradient { records: Some(records), .. } => {
                let (output, operands) = hold();
                let saved = Rc::new(Saved {
                    output,
                    adjoint: Rc::default(),
                    extra: extra(),
                    id: OpId::default(),
                    _operands: operands,
                });
                records.push(op, shape, Entry::Nonlinear(Rc::clone(&saved)));
                Some(saved)
            }
            _ => None,
        };
        on_tape(node, move |node| {
            let Some((adjoint, retention)) = node.take_with_retention() else { return };
            let retained = step(adjoint, entry.as_deref());
            if let Some(entry) = entry {
                // A normalisation returns a masked adjoint, which is a new value.
                let retention =
                    if matches!(entry.extra, Extra::Norm(_)) { Retention::Values } else { retention };
                *entry.adjoint.borrow_mut() = retained.map(|values| retention.retain(values));
            }
        })
    }

    /// The entry of a nonlinear operation in a replay. `None` outside a replay, or if no operand is tracked: the caller
    /// then composes the operation of others.
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
                Ok(Some(Replayed { op, shape, saved, node, terms: *terms, computed: None }))
            }
            None => Ok(None),
        }
    }
}
