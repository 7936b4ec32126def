//! Operations written once in primitives; on [`Duals`](crate::Duals) they are their own derivatives.

use crate::{
    AcrossRanks, Backend, BatchStats, Conv2dSpec, Dual, Error, Fused, Padding, PoolSpec, Result, Unary,
};

mod attention;
mod group_norm;
mod normal;
mod windows;

pub use attention::{AttentionShape, attention, softmax};
pub use group_norm::{check_groups, group_norm};
pub use normal::{NORMAL_SCALE, NORMAL_TAIL, normal_cdf};
pub use windows::{Windows, patches, relative_bias};

/// Sum of two optional tangents.
///
/// # Errors
/// The errors of [`Backend::add`].
pub fn add_tangents<B: Backend>(
    b: &B,
    x: Option<B::Tensor>,
    y: Option<B::Tensor>,
) -> Result<Option<B::Tensor>> {
    Ok(match (x, y) {
        (Some(x), Some(y)) => Some(b.add(&x, &y)?),
        (x, None) => x,
        (None, y) => y,
    })
}

fn image_shape(op: &'static str, shape: &[usize]) -> Result<[usize; 4]> {
    shape.try_into().map_err(|_| Error::InvalidShape {
        op,
        expected: "[N, C, H, W]".into(),
        found: shape.to_vec(),
    })
}

/// Mean over `axes`, which stay as 1.
///
/// # Errors
/// The errors of [`Backend::sum`].
pub fn mean<B: Backend>(b: &B, x: &B::Tensor, axes: &[usize]) -> Result<B::Tensor> {
    let shape = b.shape(x);
    // An axis that is not there is the sum's error to report.
    let count: usize = axes.iter().filter_map(|&axis| shape.get(axis)).product();
    b.affine(&b.sum(x, axes)?, 1.0 / count as f64, 0.0)
}

/// A vector `[C]` repeated to `[N, C, …]`.
///
/// # Errors
/// When the lengths differ.
pub fn broadcast_channels<B: Backend>(b: &B, v: &B::Tensor, shape: &[usize]) -> Result<B::Tensor> {
    if shape.len() < 2 || b.shape(v) != [shape[1]] {
        return Err(Error::ShapeMismatch {
            op: "broadcast_channels",
            lhs: b.shape(v).to_vec(),
            rhs: shape.to_vec(),
        });
    }
    let mut ones = vec![1; shape.len()];
    ones[1] = shape[1];
    b.broadcast(&b.reshape(v, &ones)?, shape)
}

/// See [`Backend::bias_add`].
///
/// # Errors
/// Shape mismatches.
pub fn bias_add<B: Backend>(b: &B, x: &B::Tensor, bias: &B::Tensor) -> Result<B::Tensor> {
    b.add(x, &broadcast_channels(b, bias, b.shape(x))?)
}

/// See [`Backend::linear`].
///
/// # Errors
/// Shape mismatches.
pub fn linear<B: Backend>(
    b: &B,
    x: &B::Tensor,
    w: &B::Tensor,
    bias: Option<&B::Tensor>,
) -> Result<B::Tensor> {
    let y = b.matmul(x, &b.permute(w, &[1, 0])?)?;
    match bias {
        Some(bias) => b.bias_add(&y, bias),
        None => Ok(y),
    }
}

/// Output length of a window sweep with `padding` before and after.
///
/// # Errors
/// When the window does not fit.
pub fn swept(
    op: &'static str,
    length: usize,
    window: usize,
    stride: usize,
    [before, after]: [usize; 2],
) -> Result<usize> {
    let padded = before + length + after;
    if window == 0 || stride == 0 || padded < window {
        return Err(Error::Invalid(format!(
            "{op}: a window of {window} with stride {stride} does not fit a length of {length} padded by {before} and {after}"
        )));
    }
    Ok((padded - window) / stride + 1)
}

/// Flat positions (in H·W) of every window element, window-major: `k·k` rows of `H'·W'`; `None` is padding.
fn window_indices(
    op: &'static str,
    (h, w): (usize, usize),
    k: usize,
    stride: usize,
    padding: Padding,
) -> Result<(Vec<Option<usize>>, usize, usize)> {
    let [rows, columns] = [h, w].map(|length| padding.around(length, k, stride));
    let (oh, ow) = (swept(op, h, k, stride, rows)?, swept(op, w, k, stride, columns)?);
    let mut indices = Vec::with_capacity(k * k * oh * ow);
    for ky in 0..k {
        for kx in 0..k {
            for y in 0..oh {
                for x in 0..ow {
                    let row = (y * stride + ky).checked_sub(rows[0]).filter(|&row| row < h);
                    let column = (x * stride + kx).checked_sub(columns[0]).filter(|&column| column < w);
                    indices.push(row.zip(column).map(|(row, column)| row * w + column));
                }
            }
        }
    }
    Ok((indices, oh, ow))
}

/// Convolution as gather (windows) and matrix product: see [`Backend::conv2d`].
///
/// # Errors
/// Shape mismatches.
pub fn conv2d<B: Backend>(b: &B, x: &B::Tensor, w: &B::Tensor, spec: Conv2dSpec) -> Result<B::Tensor> {
    let [n, c, h, width] = image_shape("conv2d", b.shape(x))?;
    let [o, cg, k, k2] = image_shape("conv2d weight", b.shape(w))?;
    let g = spec.groups;
    if g == 0 || cg * g != c || o % g != 0 || k != k2 {
        return Err(Error::ShapeMismatch {
            op: "conv2d",
            lhs: b.shape(x).to_vec(),
            rhs: b.shape(w).to_vec(),
        });
    }
    let (indices, oh, ow) = window_indices("conv2d", (h, width), k, spec.stride, spec.padding)?;
    let (kk, l) = (k * k, oh * ow);
    let windows = b.reshape(x, &[n, c, h * width])?;
    // A 1×1 window with stride 1 is the image itself.
    let windows = if kk == 1 && l == h * width { windows } else { b.gather(&windows, 2, &indices)? };
    // [N, G, C/G·K², L] → [G, C/G·K², N·L]
    let columns = b.permute(&b.reshape(&windows, &[n, g, cg * kk, l])?, &[1, 2, 0, 3])?;
    let columns = b.reshape(&columns, &[g, cg * kk, n * l])?;
    let y = b.matmul(&b.reshape(w, &[g, o / g, cg * kk])?, &columns)?;
    let y = b.permute(&b.reshape(&y, &[o, n, l])?, &[1, 0, 2])?;
    b.reshape(&y, &[n, o, oh, ow])
}

/// y = x∗w, ẏ = ẋ∗w + x∗ẇ.
///
/// # Errors
/// The errors of [`Backend::conv2d`].
pub fn conv2d_dual<B: Backend>(
    b: &B,
    x: Dual<&B::Tensor>,
    w: Dual<&B::Tensor>,
    spec: Conv2dSpec,
) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, w, |x, w| b.conv2d(x, w, spec))
}

/// The product rule.
fn bilinear_dual<B: Backend>(
    b: &B,
    x: Dual<&B::Tensor>,
    y: Dual<&B::Tensor>,
    f: impl Fn(&B::Tensor, &B::Tensor) -> Result<B::Tensor>,
) -> Result<Dual<B::Tensor>> {
    let left = x.tangent.map(|t| f(t, y.primal)).transpose()?;
    let right = y.tangent.map(|t| f(x.primal, t)).transpose()?;
    Ok(Dual { primal: f(x.primal, y.primal)?, tangent: add_tangents(b, left, right)? })
}

/// See [`Backend::mul_dual`].
///
/// # Errors
/// The errors of [`Backend::mul`].
pub fn mul_dual<B: Backend>(b: &B, x: Dual<&B::Tensor>, y: Dual<&B::Tensor>) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, y, |x, y| b.mul(x, y))
}

/// See [`Backend::matmul_dual`].
///
/// # Errors
/// The errors of [`Backend::matmul`].
pub fn matmul_dual<B: Backend>(b: &B, x: Dual<&B::Tensor>, y: Dual<&B::Tensor>) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, y, |x, y| b.matmul(x, y))
}

/// y = f(x), ẏ = f′(x)·ẋ, with f′ again in primitives so that it can be differentiated once more.
///
/// # Errors
/// The errors of the primitives.
pub fn unary_dual<B: Backend>(b: &B, op: Unary, x: Dual<&B::Tensor>) -> Result<Dual<B::Tensor>> {
    let y = b.unary(op, x.primal)?;
    let Some(t) = x.tangent else { return Ok(Dual::constant(y)) };
    let derivative = match op {
        Unary::Relu => b.unary(Unary::Step, x.primal)?,
        Unary::Step => return Ok(Dual::constant(y)),
        Unary::Exp => y.clone(),
        Unary::Ln => b.unary(Unary::Recip, x.primal)?,
        Unary::Tanh => b.affine(&b.mul(&y, &y)?, -1.0, 1.0)?,
        Unary::Rsqrt => b.affine(&b.mul(&y, &b.mul(&y, &y)?)?, -0.5, 0.0)?,
        Unary::Recip => b.affine(&b.mul(&y, &y)?, -1.0, 0.0)?,
        Unary::Sigmoid => b.mul(&y, &b.affine(&y, -1.0, 1.0)?)?,
        Unary::Silu => {
            // σ(x) + x·σ(x)·(1 − σ(x))
            let sigmoid = b.unary(Unary::Sigmoid, x.primal)?;
            b.add(&sigmoid, &b.mul(&y, &b.affine(&sigmoid, -1.0, 1.0)?)?)?
        }
        Unary::NormalCdf => normal_density(b, x.primal)?,
        // Φ(x) + x·φ(x)
        Unary::Gelu => {
            let slope = b.mul(x.primal, &normal_density(b, x.primal)?)?;
            b.add(&b.unary(Unary::NormalCdf, x.primal)?, &slope)?
        }
        Unary::Relu6 => {
            let below = b.unary(Unary::Step, &b.affine(x.primal, -1.0, 6.0)?)?;
            b.mul(&b.unary(Unary::Step, x.primal)?, &below)?
        }
    };
    let tangent = Some(b.mul(&derivative, t)?);
    Ok(Dual { primal: y, tangent })
}

/// φ(x) = exp(−x²/2)/√2π.
fn normal_density<B: Backend>(b: &B, x: &B::Tensor) -> Result<B::Tensor> {
    let exponential = b.unary(Unary::Exp, &b.affine(&b.mul(x, x)?, -0.5, 0.0)?)?;
    b.affine(&exponential, std::f64::consts::TAU.sqrt().recip(), 0.0)
}

/// What follows a normalisation: the residual is added, then the activation applied.
///
/// # Errors
/// A residual of another shape.
pub fn finish<B: Backend>(b: &B, y: B::Tensor, fused: Fused<'_, B::Tensor>) -> Result<B::Tensor> {
    let y = match fused.residual {
        Some(residual) => b.add(&y, residual)?,
        None => y,
    };
    match fused.activation {
        Some(activation) => b.unary(activation, &y),
        None => Ok(y),
    }
}

/// See [`Backend::batch_norm`].
///
/// # Errors
/// Shape mismatches.
pub fn batch_norm<B: Backend>(
    b: &B,
    x: &B::Tensor,
    scale: &B::Tensor,
    shift: &B::Tensor,
    eps: f64,
    fused: Fused<'_, B::Tensor>,
) -> Result<(B::Tensor, BatchStats<B::Tensor>)> {
    normalise(b, x, [scale, shift], eps, fused, Ok)
}

/// Batch normalisation by the statistics of the whole batch that the ranks share. Derivatives flow through them, to all ranks.
///
/// # Errors
/// Shape mismatches; those of [`Backend::mean_over_ranks`].
///
/// # Cost
/// Two reductions of `[C]` numbers, and two more in the reverse pass.
pub fn batch_norm_over_ranks<B: Backend>(
    b: &B,
    x: &B::Tensor,
    [scale, shift]: [&B::Tensor; 2],
    eps: f64,
    fused: Fused<'_, B::Tensor>,
    across: &AcrossRanks,
) -> Result<(B::Tensor, BatchStats<B::Tensor>)> {
    normalise(b, x, [scale, shift], eps, fused, |mean| b.mean_over_ranks(&mean, across))
}

/// Batch normalisation; `whole` makes the mean of the batch of that of these images.
fn normalise<B: Backend>(
    b: &B,
    x: &B::Tensor,
    [scale, shift]: [&B::Tensor; 2],
    eps: f64,
    fused: Fused<'_, B::Tensor>,
    whole: impl Fn(B::Tensor) -> Result<B::Tensor>,
) -> Result<(B::Tensor, BatchStats<B::Tensor>)> {
    let shape = image_shape("batch_norm", b.shape(x))?;
    let axes = [0, 2, 3];
    let mu = whole(mean(b, x, &axes)?)?;
    let centred = b.sub(x, &b.broadcast(&mu, &shape)?)?;
    let var = whole(mean(b, &b.mul(&centred, &centred)?, &axes)?)?;
    let istd = b.unary(Unary::Rsqrt, &b.affine(&var, 1.0, eps)?)?;
    let normalised = b.mul(&centred, &b.broadcast(&istd, &shape)?)?;
    let scaled = b.mul(&normalised, &broadcast_channels(b, scale, &shape)?)?;
    let y = finish(b, b.bias_add(&scaled, shift)?, fused)?;
    let flat = |t: &B::Tensor| b.reshape(&b.detach(t), &[shape[1]]);
    Ok((y, BatchStats { mean: flat(&mu)?, var: flat(&var)? }))
}

/// See [`Backend::batch_norm_eval`].
///
/// # Errors
/// Shape mismatches.
pub fn batch_norm_eval<B: Backend>(
    b: &B,
    x: &B::Tensor,
    scale: &B::Tensor,
    shift: &B::Tensor,
    stats: &BatchStats<B::Tensor>,
    eps: f64,
    fused: Fused<'_, B::Tensor>,
) -> Result<B::Tensor> {
    let shape = image_shape("batch_norm_eval", b.shape(x))?;
    let istd = b.unary(Unary::Rsqrt, &b.affine(&stats.var, 1.0, eps)?)?;
    let factor = b.mul(scale, &istd)?;
    let offset = b.sub(shift, &b.mul(&factor, &stats.mean)?)?;
    let y = b.mul(x, &broadcast_channels(b, &factor, &shape)?)?;
    finish(b, b.bias_add(&y, &offset)?, fused)
}

/// Checks x `[…, D]` against vectors `[D]`; every implementation of the layer norm starts here. Returns rows and D.
///
/// # Errors
/// When a vector has another length, or x has no element.
pub fn check_rows(op: &'static str, x: &[usize], vectors: &[&[usize]]) -> Result<(usize, usize)> {
    let Some((&width, outer)) = x.split_last().filter(|_| !x.contains(&0)) else {
        let expected = "[…, D] with at least one element".into();
        return Err(Error::InvalidShape { op, expected, found: x.to_vec() });
    };
    match vectors.iter().find(|v| **v != [width]) {
        Some(v) => Err(Error::ShapeMismatch { op, lhs: x.to_vec(), rhs: v.to_vec() }),
        None => Ok((outer.iter().product(), width)),
    }
}

/// See [`Backend::layer_norm`].
///
/// # Errors
/// Shape mismatches.
pub fn layer_norm<B: Backend>(
    b: &B,
    x: &B::Tensor,
    scale: &B::Tensor,
    shift: &B::Tensor,
    eps: f64,
) -> Result<B::Tensor> {
    let shape = b.shape(x).to_vec();
    let (rows, width) = check_rows("layer_norm", &shape, &[b.shape(scale), b.shape(shift)])?;
    let flat = [rows, width];
    let x = b.reshape(x, &flat)?;
    let centred = b.sub(&x, &b.broadcast(&mean(b, &x, &[1])?, &flat)?)?;
    let var = mean(b, &b.mul(&centred, &centred)?, &[1])?;
    let istd = b.unary(Unary::Rsqrt, &b.affine(&var, 1.0, eps)?)?;
    let normalised = b.mul(&centred, &b.broadcast(&istd, &flat)?)?;
    let scaled = b.mul(&normalised, &broadcast_channels(b, scale, &flat)?)?;
    b.reshape(&b.bias_add(&scaled, shift)?, &shape)
}

/// Windows of each channel with the window as the last axis: `[N·C·H'·W', K²]`; where each element came from; the output's
/// shape.
#[allow(clippy::type_complexity)]
fn windows_last<B: Backend>(
    b: &B,
    op: &'static str,
    x: &B::Tensor,
    spec: PoolSpec,
) -> Result<(B::Tensor, Vec<Option<usize>>, [usize; 4])> {
    let [n, c, h, w] = image_shape(op, b.shape(x))?;
    let (indices, oh, ow) =
        window_indices(op, (h, w), spec.window, spec.stride, Padding::Each(spec.padding))?;
    let kk = spec.window * spec.window;
    let windows = b.gather(&b.reshape(x, &[n, c, h * w])?, 2, &indices)?;
    let windows = b.permute(&b.reshape(&windows, &[n * c, kk, oh * ow])?, &[0, 2, 1])?;
    Ok((b.reshape(&windows, &[n * c * oh * ow, kk])?, indices, [n, c, oh, ow]))
}

/// See [`Backend::max_pool2d`]: Σ over the window of (first maximum's indicator, detached) · x.
///
/// # Errors
/// Shape mismatches, or a window that does not fit.
pub fn max_pool2d<B: Backend>(b: &B, x: &B::Tensor, spec: PoolSpec) -> Result<B::Tensor> {
    if spec.padding * 2 > spec.window {
        return Err(Error::Invalid(format!(
            "max_pool2d: padding {} is more than half of the window {}",
            spec.padding, spec.window
        )));
    }
    let (windows, indices, [n, c, oh, ow]) = windows_last(b, "max_pool2d", x, spec)?;
    let shape = b.shape(&windows).to_vec();
    let kk = shape[1];
    let values = b.detach(&windows);
    // Padding must never win: it gets a value below everything else, in the comparison only.
    let values = if indices.iter().any(Option::is_none) {
        let l = oh * ow;
        let mut penalty = vec![0.0; n * c * l * kk];
        for (row, chunk) in penalty.chunks_mut(kk).enumerate() {
            for (j, p) in chunk.iter_mut().enumerate() {
                if indices[j * l + row % l].is_none() {
                    *p = -1e30;
                }
            }
        }
        b.add(&values, &b.constant(&penalty, &shape)?)?
    } else {
        values
    };
    let max = b.max_last(&values)?;
    // 1 − step(max − x) is 1 exactly where x is the maximum; the first one takes it.
    let mut taken: Option<B::Tensor> = None;
    let mut y: Option<B::Tensor> = None;
    for j in 0..kk {
        let value = b.gather(&values, 1, &[Some(j)])?;
        let below = b.unary(Unary::Step, &b.sub(&max, &value)?)?;
        let is_max = b.affine(&below, -1.0, 1.0)?;
        let pick = match &taken {
            None => is_max,
            Some(taken) => b.mul(&is_max, &b.affine(taken, -1.0, 1.0)?)?,
        };
        let picked = b.mul(&b.detach(&pick), &b.gather(&windows, 1, &[Some(j)])?)?;
        y = add_tangents(b, y, Some(picked))?;
        taken = add_tangents(b, taken, Some(pick))?;
    }
    match y {
        Some(y) => b.reshape(&y, &[n, c, oh, ow]),
        None => Err(Error::Invalid("max_pool2d: empty window".into())),
    }
}

/// See [`Backend::avg_pool2d`].
///
/// # Errors
/// Shape mismatches, or a window that does not fit.
pub fn avg_pool2d<B: Backend>(b: &B, x: &B::Tensor, spec: PoolSpec) -> Result<B::Tensor> {
    let (windows, _, shape) = windows_last(b, "avg_pool2d", x, spec)?;
    b.reshape(&mean(b, &windows, &[1])?, &shape)
}

/// See [`Backend::global_avg_pool`].
///
/// # Errors
/// Shape mismatches.
pub fn global_avg_pool<B: Backend>(b: &B, x: &B::Tensor) -> Result<B::Tensor> {
    let [n, c, ..] = image_shape("global_avg_pool", b.shape(x))?;
    b.reshape(&mean(b, x, &[2, 3])?, &[n, c])
}

/// `[N, C]` repeated over space to the shape `[N, C, H, W]` of `x`.
fn broadcast_maps<B: Backend>(b: &B, x: &B::Tensor, s: &B::Tensor) -> Result<B::Tensor> {
    let shape = image_shape("scale_channels", b.shape(x))?;
    let [n, c, ..] = shape;
    if b.shape(s) != [n, c] {
        return Err(Error::ShapeMismatch {
            op: "scale_channels",
            lhs: shape.to_vec(),
            rhs: b.shape(s).to_vec(),
        });
    }
    b.broadcast(&b.reshape(s, &[n, c, 1, 1])?, &shape)
}

/// See [`Backend::scale_channels`].
///
/// # Errors
/// Shape mismatches.
pub fn scale_channels<B: Backend>(b: &B, x: &B::Tensor, s: &B::Tensor) -> Result<B::Tensor> {
    b.mul(x, &broadcast_maps(b, x, s)?)
}

/// y = x⊙s, ẏ = ẋ⊙s + x⊙ṡ.
///
/// # Errors
/// The errors of [`Backend::scale_channels`].
pub fn scale_channels_dual<B: Backend>(
    b: &B,
    x: Dual<&B::Tensor>,
    s: Dual<&B::Tensor>,
) -> Result<Dual<B::Tensor>> {
    bilinear_dual(b, x, s, |x, s| b.scale_channels(x, s))
}

/// ln softmax over the last axis, stable.
///
/// # Errors
/// The errors of the primitives.
pub fn log_softmax<B: Backend>(b: &B, x: &B::Tensor) -> Result<B::Tensor> {
    let shape = b.shape(x).to_vec();
    let last = shape.len().saturating_sub(1);
    let centred = b.sub(x, &b.broadcast(&b.max_last(x)?, &shape)?)?;
    let lse = b.unary(Unary::Ln, &b.sum(&b.unary(Unary::Exp, &centred)?, &[last])?)?;
    b.sub(&centred, &b.broadcast(&lse, &shape)?)
}

/// Checks logits `[N, K]` against labels; every implementation of the loss starts here.
///
/// # Errors
/// A wrong shape, a wrong number of labels, or a label that is not below K.
pub fn check_labels(shape: &[usize], labels: &[usize]) -> Result<(usize, usize)> {
    let &[n, classes] = shape else {
        return Err(Error::InvalidShape {
            op: "cross_entropy",
            expected: "logits [N, K]".into(),
            found: shape.to_vec(),
        });
    };
    if n == 0 || labels.len() != n {
        return Err(Error::Invalid(format!(
            "cross_entropy: {} labels for logits of {n} samples",
            labels.len()
        )));
    }
    match labels.iter().position(|&label| label >= classes) {
        Some(index) => Err(Error::LabelOutOfRange { index, label: labels[index], classes }),
        None => Ok((n, classes)),
    }
}

/// See [`Backend::cross_entropy`].
///
/// # Errors
/// The errors of [`check_labels`].
pub fn cross_entropy<B: Backend>(
    b: &B,
    logits: &B::Tensor,
    labels: &[usize],
    smoothing: f64,
) -> Result<B::Tensor> {
    let shape = b.shape(logits).to_vec();
    let (n, k) = check_labels(&shape, labels)?;
    let mut targets = vec![smoothing / k as f64; n * k];
    for (i, &label) in labels.iter().enumerate() {
        targets[i * k + label] += 1.0 - smoothing;
    }
    let weighted = b.mul(&log_softmax(b, logits)?, &b.constant(&targets, &shape)?)?;
    b.affine(&b.sum(&weighted, &[0, 1])?, -1.0 / n as f64, 0.0)
}

/// ∇²ℓ·v of the mean cross-entropy in the logits `[N, K]`, v of the same shape: (p⊙v − p·⟨p, v⟩)/N by rows, p the softmax.
/// Independent of labels and label smoothing.
///
/// # Errors
/// Shape mismatches.
pub fn cross_entropy_hessian<B: Backend>(b: &B, logits: &B::Tensor, v: &B::Tensor) -> Result<B::Tensor> {
    let shape = b.shape(logits).to_vec();
    let &[n, _] = &shape[..] else {
        let (op, expected) = ("cross_entropy_hessian", "logits [N, K]".into());
        return Err(Error::InvalidShape { op, expected, found: shape });
    };
    let p = b.unary(Unary::Exp, &log_softmax(b, logits)?)?;
    let pv = b.mul(&p, v)?;
    let mean = b.broadcast(&b.sum(&pv, &[1])?, &shape)?;
    b.affine(&b.sub(&pv, &b.mul(&p, &mean)?)?, 1.0 / n as f64, 0.0)
}
