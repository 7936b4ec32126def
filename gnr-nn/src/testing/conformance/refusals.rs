//! Operations that cannot be computed give an error with a name, never a panic and never a number.

use super::must;
use crate::composed::{self, Windows};
use crate::{Autodiff, BatchStats, Conv2dSpec, Error, Fused, Padding, PoolSpec, Result, Unary};

pub(super) fn check<B: Autodiff>(backend: &B) {
    let b = &backend.gradient_session(false);
    let t = |shape: &[usize]| must("a constant", b.constant(&vec![0.5; shape.iter().product()], shape));
    let conv = |x: &[usize], w: &[usize], stride, padding, groups| {
        b.conv2d(&t(x), &t(w), Conv2dSpec { stride, padding: Padding::Each(padding), groups })
    };
    let norm = |x: &[usize], scale: &[usize], shift: &[usize], residual: Option<&[usize]>| {
        let residual = residual.map(&t);
        let fused = Fused { residual: residual.as_ref(), activation: Some(Unary::Relu) };
        b.batch_norm(&t(x), &t(scale), &t(shift), 1e-5, fused)
    };
    let norm_eval = |x: &[usize], scale: &[usize], stats: &[usize], residual: Option<&[usize]>| {
        let residual = residual.map(&t);
        let fused = Fused { residual: residual.as_ref(), activation: Some(Unary::Relu) };
        let stats = BatchStats { mean: t(stats), var: t(stats) };
        b.batch_norm_eval(&t(x), &t(scale), &t(scale), &stats, 1e-5, fused)
    };
    let pool = |window, stride, padding| PoolSpec { window, stride, padding };
    let max = |x: &[usize], spec| b.max_pool2d(&t(x), spec);
    let avg = |x: &[usize], spec| b.avg_pool2d(&t(x), spec);
    let x: &[usize] = &[2, 3, 4, 4];

    refused("constant of the wrong length", b.constant(&[1.0; 5], &[2, 3]));
    refused("upload of the wrong length", b.upload(&[1.0; 5], &[2, 3]));
    refused("add", b.add(&t(&[2, 3]), &t(&[3, 2])));
    refused("add of different ranks", b.add(&t(&[6]), &t(&[2, 3])));
    refused("mul", b.mul(&t(&[2, 3]), &t(&[1, 3])));
    refused("matmul, inner dimensions", b.matmul(&t(&[2, 3]), &t(&[2, 3])));
    refused("matmul, batches", b.matmul(&t(&[2, 2, 3]), &t(&[3, 3, 2])));
    refused("matmul, ranks", b.matmul(&t(&[2, 3]), &t(&[1, 3, 2])));
    refused("sum over an axis that is not there", b.sum(&t(&[2, 3]), &[2]));
    refused("broadcast of an axis longer than 1", b.broadcast(&t(&[2, 3]), &[4, 3]));
    refused("broadcast to another rank", b.broadcast(&t(&[3]), &[2, 3]));
    refused("reshape to another size", b.reshape(&t(&[2, 3]), &[4]));
    refused("permute with an axis twice", b.permute(&t(&[2, 3]), &[1, 1]));
    refused("permute with an axis missing", b.permute(&t(&[2, 3]), &[0]));
    refused("gather along an axis that is not there", b.gather(&t(&[2, 3]), 2, &[Some(0)]));
    refused("gather of an element that is not there", b.gather(&t(&[2, 3]), 1, &[Some(3)]));
    refused("linear, inner dimensions", b.linear(&t(&[2, 3]), &t(&[4, 2]), None));
    refused("linear, bias", b.linear(&t(&[2, 3]), &t(&[4, 3]), Some(&t(&[3]))));
    refused("linear of an image", b.linear(&t(x), &t(&[4, 3]), None));
    refused("bias_add", b.bias_add(&t(x), &t(&[4])));
    refused("conv2d, channels", conv(x, &[4, 2, 3, 3], 1, 1, 1));
    refused("conv2d, groups that do not divide", conv(x, &[4, 1, 3, 3], 1, 1, 2));
    refused("conv2d without groups", conv(x, &[4, 3, 3, 3], 1, 1, 0));
    refused("conv2d, outputs that groups do not divide", conv(x, &[4, 1, 3, 3], 1, 1, 3));
    refused("conv2d with stride 0", conv(x, &[4, 3, 3, 3], 0, 1, 1));
    refused("conv2d, window larger than the image", conv(x, &[4, 3, 7, 7], 1, 1, 1));
    refused("conv2d, window that is not square", conv(x, &[4, 3, 3, 1], 1, 1, 1));
    refused("conv2d of a matrix", conv(&[2, 3], &[4, 3, 3, 3], 1, 1, 1));
    refused("batch_norm, scale", norm(x, &[4], &[3], None));
    refused("batch_norm, shift", norm(x, &[3], &[4], None));
    refused("batch_norm, residual", norm(x, &[3], &[3], Some(&[2, 3, 4, 3])));
    refused("batch_norm of a matrix", norm(&[2, 3], &[3], &[3], None));
    refused("batch_norm_eval, scale", norm_eval(x, &[4], &[3], None));
    refused("batch_norm_eval, statistics", norm_eval(x, &[3], &[4], None));
    refused("batch_norm_eval, residual", norm_eval(x, &[3], &[3], Some(&[2, 3, 4, 3])));
    refused("max_pool2d, window larger than the image", max(x, pool(5, 1, 0)));
    refused("max_pool2d, padding of more than half a window", max(x, pool(2, 2, 2)));
    refused("max_pool2d with stride 0", max(x, pool(2, 0, 0)));
    refused("max_pool2d of a matrix", max(&[4, 4], pool(2, 2, 0)));
    refused("avg_pool2d, window larger than the image", avg(x, pool(5, 1, 0)));
    refused("avg_pool2d with window 0", avg(x, pool(0, 1, 0)));
    refused("global_avg_pool of a matrix", b.global_avg_pool(&t(&[2, 3])));
    refused("conv2d with TensorFlow's padding and stride 0", {
        b.conv2d(&t(x), &t(&[4, 3, 3, 3]), Conv2dSpec { stride: 0, padding: Padding::Same, groups: 1 })
    });
    refused("scale_channels, channels", b.scale_channels(&t(x), &t(&[2, 4])));
    refused("scale_channels, samples", b.scale_channels(&t(x), &t(&[1, 3])));
    refused("scale_channels by an image", b.scale_channels(&t(x), &t(x)));
    refused("scale_channels of a matrix", b.scale_channels(&t(&[2, 3]), &t(&[2, 3])));
    refused("layer_norm, scale", b.layer_norm(&t(&[2, 3]), &t(&[2]), &t(&[3]), 1e-5));
    refused("layer_norm, shift", b.layer_norm(&t(&[2, 3]), &t(&[3]), &t(&[2]), 1e-5));
    refused("layer_norm of nothing", b.layer_norm(&t(&[0, 3]), &t(&[3]), &t(&[3]), 1e-5));
    let group = |x: &[usize], groups, scale: &[usize], shift: &[usize], residual: Option<&[usize]>| {
        let residual = residual.map(&t);
        let fused = Fused { residual: residual.as_ref(), activation: Some(Unary::Gelu) };
        b.group_norm(&t(x), groups, &t(scale), &t(shift), 1e-5, fused)
    };
    refused("group_norm, groups that do not divide", group(x, 2, &[3], &[3], None));
    refused("group_norm without groups", group(x, 0, &[3], &[3], None));
    refused("group_norm, scale", group(x, 3, &[4], &[3], None));
    refused("group_norm, shift", group(x, 3, &[3], &[1], None));
    refused("group_norm, residual", group(x, 1, &[3], &[3], Some(&[2, 3, 4, 3])));
    refused("group_norm of a matrix", group(&[2, 3], 1, &[3], &[3], None));
    refused("group_norm of nothing", group(&[0, 3, 4, 4], 1, &[3], &[3], None));
    refused("attention of a matrix", b.attention(&t(&[2, 6]), 1, None));
    refused("attention without heads", b.attention(&t(&[2, 3, 6]), 0, None));
    refused("attention, heads that do not divide", b.attention(&t(&[2, 3, 12]), 3, None));
    refused("attention, tokens of the bias", b.attention(&t(&[2, 3, 6]), 2, Some(&t(&[1, 2, 3, 2]))));
    refused("attention, heads of the bias", b.attention(&t(&[2, 3, 6]), 2, Some(&t(&[1, 1, 3, 3]))));
    refused("attention, no bias in the bias", b.attention(&t(&[2, 3, 6]), 2, Some(&t(&[0, 2, 3, 3]))));
    refused("patches that do not divide", composed::patches(b, &t(x), 3));
    refused("patches of a matrix", composed::patches(b, &t(&[4, 4]), 2));
    refused("windows of side 0", Windows::new([4, 4], 0, 0));
    refused("a shift of a whole window", Windows::new([4, 4], 2, 2));
    refused(
        "windows of another grid",
        Windows::new([4, 4], 2, 1).and_then(|w| w.partition(b, &t(&[2, 15, 3]))),
    );
    refused("relative_bias, rows of the table", composed::relative_bias(b, &t(&[8, 2]), 2));
    refused("cross_entropy, number of labels", b.cross_entropy(&t(&[2, 3]), &[0], 0.0));
    refused("cross_entropy of an image", b.cross_entropy(&t(x), &[0, 1], 0.0));
    refused("cross_entropy of nothing", b.cross_entropy(&t(&[2, 3]), &[], 0.0));
    match b.cross_entropy(&t(&[2, 3]), &[2, 3], 0.0) {
        Err(Error::LabelOutOfRange { index: 1, label: 3, classes: 3 }) => (),
        Err(other) => panic!("a label out of range must be Error::LabelOutOfRange, not: {other}"),
        Ok(_) => panic!("cross_entropy accepted label 3 of 3 classes"),
    }
    refused("item of two elements", b.item(&t(&[2])));
    refused("axpy", b.axpy(&mut t(&[2, 3]), 1.0, &t(&[3, 2])));
    refused("dot", b.dot(&t(&[2, 3]), &t(&[3, 2])));
    refused("multiply", b.multiply(&mut t(&[3]), &t(&[2])));
    refused("maximum", b.maximum(&mut t(&[3]), &t(&[2])));
    refused("addcmul, first", b.addcmul(&mut t(&[3]), 1.0, &t(&[2]), &t(&[3])));
    refused("addcmul, second", b.addcmul(&mut t(&[3]), 1.0, &t(&[3]), &t(&[2])));
    refused("addcdiv_sqrt, first", b.addcdiv_sqrt(&mut t(&[3]), 1.0, &t(&[2]), 1.0, &t(&[3]), 1.0));
    refused("addcdiv_sqrt, second", b.addcdiv_sqrt(&mut t(&[3]), 1.0, &t(&[3]), 1.0, &t(&[2]), 1.0));
    let session = backend.gradient_session(false);
    let leaf = must("variable", session.variable(&t(&[2])));
    refused("backward of two elements", session.backward(&leaf, vec![leaf.clone()]));

    // A leaf on which the loss does not depend has a gradient, which is zero.
    let session = backend.gradient_session(false);
    let leaves = [1, 2].map(|length| must("variable", session.variable(&t(&[length])))).to_vec();
    let loss = must("affine", session.affine(&leaves[0], 3.0, 0.0));
    let gradients = must("backward", session.backward(&loss, leaves));
    let host = |x: &B::Tensor| must("a download", backend.to_host(x));
    assert_eq!(gradients.iter().map(host).collect::<Vec<_>>(), [vec![3.0], vec![0.0; 2]]);
}

fn refused<T>(what: &str, result: Result<T>) {
    assert!(result.is_err(), "{what}: an error was due");
}
