//! The list of cases: one line for each operation, and one for each shape that has revealed an error.

use super::{
    case::{Case, Op},
    noise,
};
use crate::{Arithmetic, Autodiff, Conv2dSpec, Padding, PoolSpec, Result, Unary, testing::Reference};

fn case(op: Op, shapes: &[&[usize]]) -> Case {
    let operands = (0..).zip(shapes).map(|(k, shape)| (shape.to_vec(), noise(k, shape.iter().product())));
    Case { op, operands: operands.collect() }
}

impl Case {
    /// Applies `f` to every element of every operand.
    fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        for value in self.operands.iter_mut().flat_map(|(_, values)| values) {
            *value = f(*value);
        }
        self
    }
}

/// Moves a number at least a quarter away from 0, where ReLU has its kink.
fn off_zero(x: f64) -> f64 {
    x + 0.25 * x.signum()
}

/// Maps a number to [1/2, 5/2), where logarithms and roots exist.
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
        case(Op::Unary(Unary::Sigmoid), &[&[3, 4]]).map(|x| 3.0 * x),
        case(Op::Unary(Unary::Silu), &[&[3, 4]]).map(|x| 3.0 * x),
        // Far from 0, where e⁻ˣ overflows or vanishes, and at 0.
        case(Op::Unary(Unary::Sigmoid), &[&[3]]).map(|x| 256.0 * x.signum()),
        case(Op::Unary(Unary::Silu), &[&[3]]).map(|x| 256.0 * x.signum()),
        case(Op::Unary(Unary::Silu), &[&[2]]).map(|_| 0.0),
        case(Op::Unary(Unary::Relu6), &[&[5, 13]]).map(around_six),
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
        case(Op::ScaleChannels, &[&[2, 3, 3, 2], &[2, 3]]),
        case(Op::ScaleChannels, &[&[3, 2, 5, 7], &[3, 2]]),
        case(Op::Unary(Unary::NormalCdf), &[&[5, 13]]).map(|x| 3.0 * x),
        case(Op::Unary(Unary::Gelu), &[&[5, 13]]).map(|x| 3.0 * x),
        // In the tails, and at 0.
        case(Op::Unary(Unary::NormalCdf), &[&[3]]).map(|x| 64.0 * x.signum()),
        case(Op::Unary(Unary::Gelu), &[&[3]]).map(|x| 64.0 * x.signum()),
        case(Op::Unary(Unary::Gelu), &[&[2]]).map(|_| 0.0),
        case(Op::LayerNorm, &[&[3, 5], &[5], &[5]]),
        case(Op::LayerNorm, &[&[2, 3, 37], &[37], &[37]]),
        case(Op::LayerNorm, &[&[70, 16], &[16], &[16]]).map(|x| 2.0 * x + 4.0), // more than one block of rows
        case(Op::Softmax, &[&[2, 3, 5]]).map(|x| 3.0 * x),
        case(Op::Softmax, &[&[3, 4]]).map(|x| x + 512.0),
        case(Op::Attention(1), &[&[2, 3, 12]]),
        case(Op::Attention(3), &[&[2, 5, 18]]).map(|x| 2.0 * x),
        case(Op::Attention(2), &[&[1, 17, 24]]),
        case(Op::Attention(2), &[&[3, 4, 12], &[1, 2, 4, 4]]), // one bias for all samples
        case(Op::Attention(1), &[&[4, 5, 9], &[2, 1, 5, 5]]).map(|x| 2.0 * x), // one for every second sample
        case(Op::Attention(2), &[&[19, 3, 6], &[1, 2, 3, 3]]), // more samples than one block
        case(Op::Patches(2), &[&[2, 3, 4, 6]]),
        case(Op::Windows([4, 6], 2, 1), &[&[2, 24, 3]]),
        case(Op::Windows([3, 5], 2, 1), &[&[1, 15, 2]]),
        case(Op::IntoWindows([3, 5], 2, 1), &[&[2, 15, 2]]), // padded
        case(Op::IntoWindows([2, 7], 4, 2), &[&[1, 14, 2]]), // shifted along one axis only
        case(Op::RelativeBias(3), &[&[25, 2]]),
        case(Op::CrossEntropy(vec![2, 0, 1], 0.0), &[&[3, 4]]),
        case(Op::CrossEntropy(vec![2, 0, 3], 0.1), &[&[3, 4]]).map(|x| 3.0 * x),
        case(Op::CrossEntropy(vec![18, 0, 7, 7, 3], 0.1), &[&[5, 19]]),
        // Logits far from 0: without a shift the softmax would overflow.
        case(Op::CrossEntropy(vec![1, 0], 0.1), &[&[2, 3]]).map(|x| x + 512.0),
    ];
    // Shapes of x and w; stride, padding, groups.
    let convolutions: [([usize; 4], [usize; 4], [usize; 3]); 18] = [
        ([2, 3, 5, 5], [4, 3, 3, 3], [1, 1, 1]),
        ([2, 2, 4, 6], [3, 2, 3, 3], [1, 0, 1]), // not square
        ([2, 16, 9, 9], [17, 16, 3, 3], [1, 1, 1]),
        ([1, 2, 7, 7], [2, 2, 3, 3], [2, 1, 1]), // odd size, stride 2
        ([2, 2, 6, 6], [2, 2, 3, 3], [2, 1, 1]), // the last column is never reached
        ([2, 3, 4, 4], [5, 3, 1, 1], [2, 0, 1]), // projection shortcut
        ([2, 3, 4, 4], [4, 3, 1, 1], [1, 0, 1]),
        ([1, 2, 3, 3], [2, 2, 1, 1], [2, 1, 1]), // as many windows as pixels, most of them padding
        ([1, 1, 8, 8], [2, 1, 5, 5], [1, 2, 1]),
        ([2, 3, 8, 8], [4, 3, 4, 4], [4, 0, 1]), // patches
        ([2, 4, 5, 5], [6, 2, 3, 3], [1, 1, 2]), // groups
        ([2, 6, 4, 6], [9, 2, 3, 3], [2, 1, 3]), // groups and stride 2
        ([2, 4, 5, 5], [4, 1, 3, 3], [2, 1, 4]), // depthwise
        ([2, 3, 6, 5], [3, 1, 3, 3], [1, 1, 3]),
        ([2, 3, 9, 20], [3, 1, 5, 5], [1, 2, 3]),
        ([2, 3, 9, 19], [3, 1, 5, 5], [2, 2, 3]),
        ([2, 3, 2, 2], [3, 1, 5, 5], [1, 2, 3]), // most of the window is padding
        ([2, 3, 8, 7], [4, 3, 7, 7], [2, 3, 1]), // stem of ImageNet nets
    ];
    for (x, w, [stride, padding, groups]) in convolutions {
        let spec = Conv2dSpec { stride, padding: Padding::Each(padding), groups };
        cases.push(case(Op::Conv2d(spec), &[&x, &w]));
    }
    // Shapes of x and w; stride and groups under TensorFlow's rule. The padding is odd where stride 2 meets an even
    // length.
    let same: [([usize; 4], [usize; 4], [usize; 2]); 7] = [
        ([2, 3, 6, 8], [4, 3, 3, 3], [2, 1]),
        ([2, 3, 6, 7], [4, 3, 3, 3], [2, 1]), // odd along one axis only
        ([1, 8, 6, 6], [8, 8, 3, 3], [1, 1]),
        ([2, 4, 6, 6], [6, 2, 4, 4], [1, 2]), // even window
        ([2, 3, 6, 8], [3, 1, 3, 3], [2, 3]), // depthwise
        ([2, 3, 8, 10], [3, 1, 5, 5], [2, 3]),
        ([2, 3, 1, 2], [3, 1, 5, 5], [2, 3]),
    ];
    for (x, w, [stride, groups]) in same {
        cases.push(case(Op::Conv2d(Conv2dSpec { stride, padding: Padding::Same, groups }), &[&x, &w]));
    }
    // Maps shorter than a vector register, and maps that fill several and leave a remainder.
    let maps: [&[usize]; 2] = [&[3, 2, 3, 2], &[2, 2, 5, 7]];
    for (x, residual) in maps.into_iter().flat_map(|x| [(x, false), (x, true)]) {
        let shapes: &[&[usize]] = if residual { &[x, &[2], &[2], x] } else { &[x, &[2], &[2]] };
        for activation in [None, Some(Unary::Relu), Some(Unary::Relu6), Some(Unary::Silu), Some(Unary::Tanh)]
        {
            cases.push(clear_of_kinks(case(Op::BatchNorm(activation), shapes)));
            cases.push(clear_of_kinks(case(Op::BatchNormEval(activation), shapes)));
        }
    }
    // Groups of one channel, of several, and one group of all; maps that fill a vector register and maps that do not.
    for (x, groups) in [([3, 4, 3, 2], 2), ([2, 6, 5, 7], 3), ([1, 3, 4, 4], 3), ([5, 4, 1, 3], 1)] {
        let c = [x[1]];
        for activation in [None, Some(Unary::Gelu), Some(Unary::Silu)] {
            cases.push(case(Op::GroupNorm(groups, activation), &[&x, &c, &c]));
            cases.push(case(Op::GroupNorm(groups, activation), &[&x, &c, &c, &x]));
        }
    }
    cases.push(clear_of_kinks(case(Op::GroupNorm(2, Some(Unary::Relu)), &[&[2, 4, 3, 5], &[4], &[4]])));
    let functions = [
        Unary::Relu,
        Unary::Exp,
        Unary::Ln,
        Unary::Tanh,
        Unary::Rsqrt,
        Unary::Recip,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Relu6,
    ];
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
        // Values −1, −½, 0, … only: most windows have ties, and the first maximum takes the whole gradient.
        cases.push(case(Op::MaxPool(spec), &[&x]).map(|x| (2.0 * x).round() / 2.0));
        // All values are negative: padding must not be the maximum.
        cases.push(case(Op::MaxPool(spec), &[&x]).map(|x| x - 2.0));
    }
    cases
}

/// Moves numbers below 0, between 0 and 6, or above 6, at least a quarter away from both kinks.
fn around_six(x: f64) -> f64 {
    let x = 3.0 + 6.0 * x;
    match x {
        _ if x.abs() < 0.25 => x + 0.5,
        _ if (x - 6.0).abs() < 0.25 => x - 0.5,
        _ => x,
    }
}

/// Shifts the normalisation so that every value is 1 % of the input's scale away from the kinks of its activation. The
/// factor before a ReLU6 is large enough for some values to be cut off.
fn clear_of_kinks(mut case: Case) -> Case {
    let kinks: &[f64] = match &case.op {
        Op::BatchNorm(Some(Unary::Relu))
        | Op::BatchNormEval(Some(Unary::Relu))
        | Op::GroupNorm(_, Some(Unary::Relu)) => &[0.0],
        Op::BatchNorm(Some(Unary::Relu6)) | Op::BatchNormEval(Some(Unary::Relu6)) => &[0.0, 6.0],
        _ => return case,
    };
    if kinks.len() > 1 {
        case.operands[1].1.iter_mut().for_each(|scale| *scale += 4.0);
    }
    let start = case.operands[2].1.clone();
    for attempt in 0..256 {
        let moved =
            start.iter().map(|shift| shift + kinks[kinks.len() - 1] / 2.0 + f64::from(attempt) / 64.0);
        case.operands[2].1 = moved.collect();
        let values = linear_part(&case);
        let margin = |kink: &f64| values.iter().fold(f64::INFINITY, |min: f64, y| min.min((y - kink).abs()));
        if kinks.iter().all(|kink| margin(kink) > 0.01) {
            return case;
        }
    }
    panic!("no shift keeps {case} clear of the kinks");
}

/// The input of a normalisation's activation.
fn linear_part(case: &Case) -> Vec<f64> {
    let b = Reference::new();
    let linear = match &case.op {
        Op::BatchNorm(_) => Op::BatchNorm(None),
        Op::GroupNorm(groups, _) => Op::GroupNorm(*groups, None),
        _ => Op::BatchNormEval(None),
    };
    let operands = case.operands.iter().map(|(shape, values)| b.constant(values, shape));
    let values =
        operands.collect::<Result<Vec<_>>>().and_then(|x| linear.run(&b, &x)).and_then(|y| b.to_host(&y));
    values.unwrap_or_else(|error| panic!("{case}: {error}"))
}
