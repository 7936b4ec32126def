//! The list of cases: one line for each operation and each shape that has tripped somebody.

use super::{
    case::{Case, Op},
    noise,
};
use crate::{Autodiff, Backend, Conv2dSpec, PoolSpec, Result, Unary, testing::Reference};

fn case(op: Op, shapes: &[&[usize]]) -> Case {
    let operands = (0..).zip(shapes).map(|(k, shape)| (shape.to_vec(), noise(k, shape.iter().product())));
    Case { op, operands: operands.collect() }
}

impl Case {
    /// Every operand moved by `f`.
    fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        for value in self.operands.iter_mut().flat_map(|(_, values)| values) {
            *value = f(*value);
        }
        self
    }
}

/// At least a quarter away from 0, where ReLU has its kink.
fn off_zero(x: f64) -> f64 {
    x + 0.25 * x.signum()
}

/// In [1/2, 5/2): the domain of logarithms and roots.
fn positive(x: f64) -> f64 {
    x + 1.5
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = vec![
        case(Op::Add, &[&[2, 3], &[2, 3]]),
        case(Op::Sub, &[&[2, 3], &[2, 3]]),
        case(Op::Mul, &[&[3, 1, 2], &[3, 1, 2]]),
        case(Op::Mul, &[&[5, 13], &[5, 13]]),
        case(Op::Affine(-1.5, 0.25), &[&[5]]),
        case(Op::Affine(0.0, 2.0), &[&[5]]),
        case(Op::Unary(Unary::Relu), &[&[3, 4]]).map(off_zero),
        case(Op::Unary(Unary::Step), &[&[3, 4]]).map(off_zero),
        case(Op::Unary(Unary::Exp), &[&[3, 4]]),
        case(Op::Unary(Unary::Ln), &[&[3, 4]]).map(positive),
        case(Op::Unary(Unary::Tanh), &[&[3, 4]]),
        case(Op::Unary(Unary::Rsqrt), &[&[3, 4]]).map(positive),
        case(Op::Unary(Unary::Recip), &[&[3, 4]]).map(positive),
        case(Op::Relu, &[&[2, 3, 2, 2]]).map(off_zero),
        case(Op::Detach, &[&[4]]),
        case(Op::MaxLast, &[&[3, 5]]),
        case(Op::Matmul, &[&[2, 3], &[3, 4]]),
        case(Op::Matmul, &[&[1, 1], &[1, 1]]),
        case(Op::Matmul, &[&[9, 17], &[17, 35]]),
        case(Op::Matmul, &[&[2, 3, 5], &[2, 5, 4]]),
        case(Op::Sum(vec![0]), &[&[3, 4]]),
        case(Op::Sum(vec![1, 3]), &[&[2, 3, 1, 4]]),
        case(Op::Sum(vec![0, 1, 2]), &[&[2, 3, 2]]),
        case(Op::Sum(vec![]), &[&[2, 3]]),
        case(Op::Broadcast(vec![2, 3, 4]), &[&[1, 3, 1]]),
        case(Op::Broadcast(vec![2, 3]), &[&[2, 3]]),
        case(Op::Reshape(vec![3, 4]), &[&[2, 3, 2]]),
        case(Op::Permute(vec![1, 0]), &[&[2, 3]]),
        case(Op::Permute(vec![2, 0, 3, 1]), &[&[2, 3, 4, 5]]),
        case(Op::Gather(0, vec![Some(2), Some(0)]), &[&[3, 2]]),
        case(Op::Gather(1, vec![Some(1), None, Some(1), Some(3), None]), &[&[2, 4, 3]]),
        case(Op::Gather(2, vec![None, None]), &[&[1, 2, 2]]),
        case(Op::Linear, &[&[3, 4], &[2, 4], &[2]]),
        case(Op::Linear, &[&[1, 5], &[3, 5]]),
        case(Op::Linear, &[&[9, 33], &[17, 33], &[17]]),
        case(Op::BiasAdd, &[&[3, 4], &[4]]),
        case(Op::BiasAdd, &[&[2, 3, 2, 3], &[3]]),
        case(Op::GlobalAvgPool, &[&[2, 3, 3, 2]]),
        case(Op::CrossEntropy(vec![2, 0, 1], 0.0), &[&[3, 4]]),
        case(Op::CrossEntropy(vec![2, 0, 3], 0.1), &[&[3, 4]]).map(|x| 3.0 * x),
        case(Op::CrossEntropy(vec![18, 0, 7, 7, 3], 0.1), &[&[5, 19]]),
        // Logits far from 0: a softmax that is not shifted overflows.
        case(Op::CrossEntropy(vec![1, 0], 0.1), &[&[2, 3]]).map(|x| x + 512.0),
    ];
    // x, w, stride, padding, groups.
    let convolutions: [([usize; 4], [usize; 4], [usize; 3]); 11] = [
        ([2, 3, 5, 5], [4, 3, 3, 3], [1, 1, 1]),
        ([2, 2, 4, 6], [3, 2, 3, 3], [1, 0, 1]), // not square
        ([2, 16, 9, 9], [17, 16, 3, 3], [1, 1, 1]),
        ([1, 2, 7, 7], [2, 2, 3, 3], [2, 1, 1]), // odd size, stride 2
        ([2, 2, 6, 6], [2, 2, 3, 3], [2, 1, 1]), // the last column is never reached
        ([2, 3, 4, 4], [5, 3, 1, 1], [2, 0, 1]), // projection shortcut
        ([2, 3, 4, 4], [4, 3, 1, 1], [1, 0, 1]),
        ([1, 1, 8, 8], [2, 1, 5, 5], [1, 2, 1]),
        ([2, 3, 8, 8], [4, 3, 4, 4], [4, 0, 1]), // patches
        ([2, 4, 5, 5], [6, 2, 3, 3], [1, 1, 2]), // groups
        ([2, 4, 5, 5], [4, 1, 3, 3], [2, 1, 4]), // depthwise
    ];
    for (x, w, [stride, padding, groups]) in convolutions {
        cases.push(case(Op::Conv2d(Conv2dSpec { stride, padding, groups }), &[&x, &w]));
    }
    // Maps shorter than a vector register, and maps that fill some and leave a remainder.
    let maps: [&[usize]; 2] = [&[3, 2, 3, 2], &[2, 2, 5, 7]];
    for (x, residual) in maps.into_iter().flat_map(|x| [(x, false), (x, true)]) {
        let shapes: &[&[usize]] = if residual { &[x, &[2], &[2], x] } else { &[x, &[2], &[2]] };
        for relu in [false, true] {
            cases.push(clear_of_kinks(case(Op::BatchNorm { relu }, shapes)));
            cases.push(clear_of_kinks(case(Op::BatchNormEval { relu }, shapes)));
        }
    }
    let functions = [Unary::Relu, Unary::Exp, Unary::Ln, Unary::Tanh, Unary::Rsqrt, Unary::Recip];
    cases.extend(functions.map(|f| case(Op::Unary(f), &[&[5, 13]]).map(positive)));
    for (x, window, stride, padding) in [
        ([2, 2, 4, 4], 2, 2, 0),
        ([1, 3, 5, 7], 3, 2, 1), // odd sizes, padding
        ([2, 1, 5, 5], 2, 2, 0), // the last row and column are dropped
        ([1, 2, 4, 4], 3, 1, 1), // windows overlap
    ] {
        let spec = PoolSpec { window, stride, padding };
        cases.push(case(Op::AvgPool(spec), &[&x]));
        cases.push(case(Op::MaxPool(spec), &[&x]));
        // Only −1, −½, 0, …: most windows have ties, and the first maximum takes the whole gradient.
        cases.push(case(Op::MaxPool(spec), &[&x]).map(|x| (2.0 * x).round() / 2.0));
        // All negative: padding must not win.
        cases.push(case(Op::MaxPool(spec), &[&x]).map(|x| x - 2.0));
    }
    cases
}

/// The same normalisation with a shift that keeps every ReLU 1 % of its input's scale away from the kink.
fn clear_of_kinks(mut case: Case) -> Case {
    let relu = match &case.op {
        Op::BatchNorm { relu } | Op::BatchNormEval { relu } => *relu,
        _ => false,
    };
    let start = case.operands[2].1.clone();
    for attempt in 0..64 {
        let moved = start.iter().map(|shift| shift + f64::from(attempt) / 64.0);
        case.operands[2].1 = moved.collect();
        if !relu || margin(&case) > 0.01 {
            return case;
        }
    }
    panic!("no shift keeps {case} clear of the kinks");
}

/// The smallest absolute value that the ReLU of a normalisation sees.
fn margin(case: &Case) -> f64 {
    let b = Reference::new();
    let linear = match &case.op {
        Op::BatchNorm { .. } => Op::BatchNorm { relu: false },
        _ => Op::BatchNormEval { relu: false },
    };
    let result = case
        .operands
        .iter()
        .map(|(shape, values)| b.constant(values, shape))
        .collect::<Result<Vec<_>>>()
        .and_then(|x| linear.run(&b, &x))
        .and_then(|y| b.to_host(&y));
    result.map_or(0.0, |y| y.iter().fold(f64::INFINITY, |min, y| min.min(y.abs())))
}
