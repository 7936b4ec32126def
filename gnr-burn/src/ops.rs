//! burn's operations in the forms that the backend needs, generic over burn's backend: each runs in burn's graph or
//! outside of it.

use burn_backend::{
    Backend, BoolDType, FloatDType, Scalar, Shape, Slice, TensorData, TensorMetadata,
    get_or_init_device_settings,
    ops::ConvOptions,
    tensor::{BoolTensor, FloatTensor, IntTensor},
};
use gnr_nn::PoolSpec;

/// The type of booleans that the tensor's device prefers.
fn bools<T: Backend>(x: &FloatTensor<T>) -> BoolDType {
    get_or_init_device_settings::<T>(&x.device()).bool_dtype
}

/// The type of x's elements.
fn dtype<T: Backend>(x: &FloatTensor<T>) -> FloatDType {
    x.dtype().into()
}

/// A shape as burn takes it.
pub(crate) fn shape(lengths: &[usize]) -> Shape {
    lengths.iter().copied().collect()
}

pub(crate) fn add<T: Backend>(a: FloatTensor<T>, b: FloatTensor<T>) -> FloatTensor<T> {
    T::float_add(a, b)
}

pub(crate) fn sub<T: Backend>(a: FloatTensor<T>, b: FloatTensor<T>) -> FloatTensor<T> {
    T::float_sub(a, b)
}

pub(crate) fn mul<T: Backend>(a: FloatTensor<T>, b: FloatTensor<T>) -> FloatTensor<T> {
    T::float_mul(a, b)
}

/// a·x + b.
pub(crate) fn affine<T: Backend>(x: FloatTensor<T>, a: f64, b: f64) -> FloatTensor<T> {
    let product = if a == 1.0 { x } else { T::float_mul_scalar(x, a.into()) };
    if b == 0.0 { product } else { T::float_add_scalar(product, b.into()) }
}

pub(crate) fn relu<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::relu(x)
}

/// 1 where x > 0, else 0, without history.
pub(crate) fn step<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    let (bools, dtype) = (bools::<T>(&x), dtype::<T>(&x));
    T::bool_into_float(T::float_greater_elem(x, 0.0.into(), bools), dtype)
}

/// min(max(x, 0), 6) with derivative 0 at 0 and at 6; a clamp has derivative 1 at 6.
pub(crate) fn relu6<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    let above = T::float_greater_equal_elem(x.clone(), 6.0.into(), bools::<T>(&x));
    T::float_mask_fill(T::relu(x), above, 6.0.into())
}

pub(crate) fn exp<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::float_exp(x)
}

pub(crate) fn ln<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::float_log(x)
}

pub(crate) fn tanh<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::float_tanh(x)
}

pub(crate) fn rsqrt<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::float_recip(T::float_sqrt(x))
}

pub(crate) fn recip<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::float_recip(x)
}

/// The logistic function; in double precision (1 + tanh(x/2))/2, because burn's own sigmoid computes in single
/// precision on backends that do not override it.
pub(crate) fn sigmoid<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    match dtype::<T>(&x) {
        FloatDType::F64 => affine::<T>(T::float_tanh(affine::<T>(x, 0.5, 0.0)), 0.5, 0.5),
        _ => T::sigmoid(x),
    }
}

pub(crate) fn silu<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::float_mul(x.clone(), sigmoid::<T>(x))
}

/// (1 + erf(x/√2))/2.
pub(crate) fn normal_cdf<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    let erf = T::float_erf(affine::<T>(x, std::f64::consts::FRAC_1_SQRT_2, 0.0));
    affine::<T>(erf, 0.5, 0.5)
}

/// x·Φ(x). On backends that do not override burn's GELU, its derivative is that of the tanh approximation.
pub(crate) fn gelu<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    T::float_mul(x.clone(), normal_cdf::<T>(x))
}

pub(crate) fn matmul<T: Backend>(a: FloatTensor<T>, b: FloatTensor<T>) -> FloatTensor<T> {
    T::float_matmul(a, b)
}

/// Sums over axes, each of which keeps the length 1.
pub(crate) fn sum<T: Backend>(x: FloatTensor<T>, axes: &[usize]) -> FloatTensor<T> {
    axes.iter().fold(x, |x, &axis| T::float_sum_dim(x, axis))
}

pub(crate) fn expand<T: Backend>(x: FloatTensor<T>, to: &[usize]) -> FloatTensor<T> {
    T::float_expand(x, shape(to))
}

pub(crate) fn reshape<T: Backend>(x: FloatTensor<T>, to: &[usize]) -> FloatTensor<T> {
    T::float_reshape(x, shape(to))
}

pub(crate) fn permute<T: Backend>(x: FloatTensor<T>, axes: &[usize]) -> FloatTensor<T> {
    T::float_permute(x, axes)
}

/// `len` elements along an axis from `start` on.
pub(crate) fn narrow<T: Backend>(x: FloatTensor<T>, axis: usize, start: usize, len: usize) -> FloatTensor<T> {
    let all = x.shape();
    let slices: Vec<Slice> = (all.as_slice().iter().enumerate())
        .map(|(i, &length)| if i == axis { Slice::from(start..start + len) } else { Slice::from(0..length) })
        .collect();
    T::float_slice(x, &slices)
}

/// Elements along an axis by their indices; 0 for `None`.
pub(crate) fn gather<T: Backend>(
    x: FloatTensor<T>,
    axis: usize,
    indices: &[Option<usize>],
) -> FloatTensor<T> {
    let mut picked_shape = x.shape().to_vec();
    picked_shape[axis] = indices.len();
    let picked = T::float_select(x.clone(), axis, integers::<T>(&x, indices));
    if indices.iter().all(Option::is_some) {
        return picked;
    }
    let absent: Vec<bool> = indices.iter().map(Option::is_none).collect();
    let mut mask_shape = vec![1; picked_shape.len()];
    mask_shape[axis] = indices.len();
    // Cards have no type of one bit, so the mask is converted to the device's type of booleans.
    let absent = TensorData::new(absent, mask_shape.as_slice()).convert_dtype(bools::<T>(&x).into());
    let mask = T::bool_from_data(absent, &x.device());
    T::float_mask_fill(picked, T::bool_expand(mask, shape(&picked_shape)), 0.0.into())
}

/// Indices as a tensor on x's device; 0 for `None`.
fn integers<T: Backend>(x: &FloatTensor<T>, indices: &[Option<usize>]) -> IntTensor<T> {
    let device = x.device();
    let numbers: Vec<i64> = indices.iter().map(|index| index.unwrap_or(0) as i64).collect();
    let dtype = get_or_init_device_settings::<T>(&device).int_dtype;
    let data = TensorData::new(numbers, [indices.len()]).convert_dtype(dtype.into());
    T::int_from_data(data, &device)
}

/// Maximum over an axis, which keeps the length 1; NaN if one of the elements is.
pub(crate) fn max<T: Backend>(x: FloatTensor<T>, axis: usize) -> FloatTensor<T> {
    T::float_max_dim(x, axis)
}

/// A scalar of burn.
pub(crate) fn scalar(x: f64) -> Scalar {
    x.into()
}

/// A mask of booleans, true where x is NaN.
pub(crate) fn nan<T: Backend>(x: FloatTensor<T>) -> BoolTensor<T> {
    let bools = bools::<T>(&x);
    T::float_is_nan(x, bools)
}

/// min(max(x, low), high); NaN stays NaN.
pub(crate) fn clamp<T: Backend>(x: FloatTensor<T>, low: f64, high: f64) -> FloatTensor<T> {
    let bools = bools::<T>(&x);
    let below = T::float_lower_elem(x.clone(), low.into(), bools);
    let above = T::float_greater_elem(x.clone(), high.into(), bools);
    T::float_mask_fill(T::float_mask_fill(x, below, low.into()), above, high.into())
}

/// −1, 0 or 1; NaN stays NaN.
pub(crate) fn sign<T: Backend>(x: FloatTensor<T>) -> FloatTensor<T> {
    let absent = nan::<T>(x.clone());
    T::float_mask_fill(T::float_sign(x), absent, f64::NAN.into())
}

/// max(x, y); NaN where either is NaN.
pub(crate) fn maximum<T: Backend>(x: FloatTensor<T>, y: FloatTensor<T>) -> FloatTensor<T> {
    let smaller = T::float_lower(x.clone(), y.clone(), bools::<T>(&x));
    let larger = T::float_mask_where(x, smaller, y.clone());
    T::float_mask_where(larger, nan::<T>(y.clone()), y)
}

/// Σ x·y as a single element; products and sum are computed in `dtype`.
pub(crate) fn dot<T: Backend>(x: FloatTensor<T>, y: FloatTensor<T>, dtype: FloatDType) -> FloatTensor<T> {
    T::float_sum(T::float_mul(T::float_cast(x, dtype), T::float_cast(y, dtype)))
}

/// Cross-correlation with the padding before and after each axis.
pub(crate) fn conv2d<T: Backend>(
    x: FloatTensor<T>,
    w: FloatTensor<T>,
    stride: usize,
    padding: [[usize; 2]; 2],
    groups: usize,
) -> FloatTensor<T> {
    let padding = padding.map(|[before, after]| (before, after));
    T::conv2d(x, w, None, ConvOptions::new_with_padding([stride; 2], padding, [1, 1], groups))
}

pub(crate) fn max_pool2d<T: Backend>(x: FloatTensor<T>, spec: PoolSpec) -> FloatTensor<T> {
    T::max_pool2d(x, [spec.window; 2], [spec.stride; 2], [spec.padding; 2], [1, 1], false)
}

/// The maxima of x, and the elements of t at their positions.
pub(crate) fn max_pool2d_dual<T: Backend>(
    x: FloatTensor<T>,
    t: FloatTensor<T>,
    spec: PoolSpec,
) -> (FloatTensor<T>, FloatTensor<T>) {
    let [n, c, h, w] = x.shape().dims();
    let dtype = get_or_init_device_settings::<T>(&x.device()).int_dtype;
    let (window, stride, padding) = ([spec.window; 2], [spec.stride; 2], [spec.padding; 2]);
    let pooled = T::max_pool2d_with_indices(x, window, stride, padding, [1, 1], false, dtype);
    let pooled_shape = pooled.output.shape();
    let [_, _, rows, columns] = pooled_shape.dims();
    let indices = T::int_reshape(pooled.indices, shape(&[n, c, rows * columns]));
    let taken = T::float_gather(2, T::float_reshape(t, shape(&[n, c, h * w])), indices);
    (pooled.output, T::float_reshape(taken, pooled_shape))
}

pub(crate) fn avg_pool2d<T: Backend>(x: FloatTensor<T>, spec: PoolSpec) -> FloatTensor<T> {
    T::avg_pool2d(x, [spec.window; 2], [spec.stride; 2], [spec.padding; 2], true, false)
}

/// The normalised batch, and mean and biased variance of each channel.
pub(crate) fn batch_norm<T: Backend>(
    x: FloatTensor<T>,
    scale: FloatTensor<T>,
    shift: FloatTensor<T>,
    eps: f64,
) -> (FloatTensor<T>, FloatTensor<T>, FloatTensor<T>) {
    let normalised = T::batch_norm_train(x, scale, shift, eps);
    (normalised.output, normalised.mean, normalised.variance)
}
