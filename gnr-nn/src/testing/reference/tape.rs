//! A tape: the operations of a session with their operands, in the order of computation.

use std::{cell::RefCell, fmt, rc::Rc};

/// Computes d loss / d operand from d loss / d result.
pub(super) type Pullback = Box<dyn Fn(&[f64]) -> Vec<f64>>;

/// The operations of one session. Handles share it.
#[derive(Clone, Default)]
pub(super) struct Tape {
    steps: Rc<RefCell<Vec<Step>>>,
}

struct Step {
    len: usize,
    edges: Vec<(usize, Pullback)>,
}

/// A place on a tape.
#[derive(Clone)]
pub(super) struct Node {
    tape: Tape,
    place: usize,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tape of {} steps", self.steps.borrow().len())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.place)
    }
}

impl Tape {
    /// The place of a node, if it is on this tape: tensors of another session are constants here.
    pub(super) fn place(&self, node: &Node) -> Option<usize> {
        Rc::ptr_eq(&self.steps, &node.tape.steps).then_some(node.place)
    }

    /// Records a result of `len` elements, unless it depends on nothing on the tape.
    pub(super) fn push(&self, len: usize, edges: Vec<(usize, Pullback)>) -> Option<Node> {
        (!edges.is_empty()).then(|| self.leaf(len, edges))
    }

    /// Records a result even where it depends on nothing (`edges` is empty): a leaf.
    pub(super) fn leaf(&self, len: usize, edges: Vec<(usize, Pullback)>) -> Node {
        let mut steps = self.steps.borrow_mut();
        steps.push(Step { len, edges });
        Node { tape: self.clone(), place: steps.len() - 1 }
    }

    /// The derivatives d end / d leaf for each leaf. The tape is empty afterwards.
    pub(super) fn backward(&self, end: Option<usize>, leaves: &[Option<usize>]) -> Vec<Option<Vec<f64>>> {
        let steps = self.steps.take();
        let mut adjoints: Vec<Option<Vec<f64>>> = steps.iter().map(|_| None).collect();
        if let Some(end) = end {
            adjoints[end] = Some(vec![1.0; steps[end].len]);
        }
        for (place, step) in steps.iter().enumerate().rev() {
            // The adjoint of a leaf is a result and stays; any other adjoint has no further use.
            let Some(g) = (if step.edges.is_empty() { None } else { adjoints[place].take() }) else {
                continue;
            };
            for (operand, pullback) in &step.edges {
                let part = pullback(&g);
                match &mut adjoints[*operand] {
                    Some(sum) => sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part),
                    empty => *empty = Some(part),
                }
            }
        }
        leaves.iter().map(|&leaf| leaf.and_then(|leaf| adjoints[leaf].clone())).collect()
    }
}
