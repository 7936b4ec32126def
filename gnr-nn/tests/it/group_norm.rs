//! Group normalisation: closed forms, PyTorch's values up to second order, and independence of samples.

use gnr_nn::{
    Arithmetic, Autodiff, Backend, Buffers, Context, Dual, Duals, Fused, Layout, Mode, Normalisation,
    ParamVector, Result, Role,
    layers::GroupNorm,
    testing::{Reference, ReferenceTensor, noise},
};

fn normalised(b: &Reference, x: &[f64], shape: [usize; 4], groups: usize) -> Vec<f64> {
    let [one, zero] = [1.0, 0.0].map(|value| b.constant(&vec![value; shape[1]], &[shape[1]]).unwrap());
    let x = b.constant(x, &shape).unwrap();
    b.to_host(&b.group_norm(&x, groups, &one, &zero, 1e-5, Fused::default()).unwrap()).unwrap()
}

fn pixels(len: usize) -> Vec<f64> {
    (0..len as u64).map(|i| 3.0 + 2.0 * noise(5, i)).collect()
}

/// The output of a group has mean 0 and variance v/(v + ε), where v is the biased variance of its input.
#[test]
fn every_group_of_every_sample_is_normalised_alone() {
    let (shape, b) = ([2, 6, 3, 5], Reference::new());
    let x = pixels(shape.iter().product());
    let moments = |group: &[f64]| {
        let mean = group.iter().sum::<f64>() / group.len() as f64;
        (mean, group.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / group.len() as f64)
    };
    for groups in [1, 2, 3, 6] {
        let y = normalised(&b, &x, shape, groups);
        let len = 6 / groups * 15;
        for (x, y) in x.chunks(len).zip(y.chunks(len)) {
            let ((_, v), (mean, variance)) = (moments(x), moments(y));
            assert!(mean.abs() < 1e-12 && (variance - v / (v + 1e-5)).abs() < 1e-12, "{mean} {variance}");
        }
        // A factor or a constant of a whole group changes nothing but for ε, which is 1e-5 beside a variance of 1.3.
        let moved: Vec<_> = (x.chunks(len).enumerate())
            .flat_map(|(k, group)| group.iter().map(move |x| (k as f64 + 1.0) * x - k as f64))
            .collect();
        let again = normalised(&b, &moved, shape, groups);
        assert!(y.iter().zip(&again).all(|(y, again)| (y - again).abs() < 5e-5));
        assert!(y != again);
    }
}

/// The numbers of PyTorch 2.15 in float64:
///
/// ```python
/// x = torch.sin(torch.arange(24.0, dtype=torch.float64) ** 2 / 8).reshape(2, 4, 3, 1).requires_grad_()
/// weight = torch.tensor([1.0, -0.5, 2.0, 0.25], dtype=torch.float64, requires_grad=True)
/// bias = torch.tensor([0.5, 0.0, -1.0, 0.125], dtype=torch.float64, requires_grad=True)
/// y = F.group_norm(x, 2, weight, bias, eps=1e-5)
/// c = torch.cos(torch.arange(24.0, dtype=torch.float64)).reshape(y.shape)
/// loss = (c * y * y).sum()
/// g = torch.autograd.grad(loss, (x, weight, bias), create_graph=True)
/// h = torch.autograd.grad(sum((a * a.detach()).sum() for a in g), (x, weight, bias))
/// for t in (y, *g, *h): print(t.flatten()[:12].tolist())
/// ```
#[rustfmt::skip]
#[test]
fn values_gradients_and_products_are_pytorchs() {
    let b = Reference::new();
    let expected: [&[f64]; 7] = [
        &[-0.5462947927028462, -0.22450351556482362, 0.6911247884029946, -0.6412498858480209, -0.650322048225001, 0.5017351741406839,
          -3.7797979134009023, -1.319644089308275, 2.1212096182785385, -0.09753900608175488, 0.11924817381705811, 0.3505698803185267],
        &[-1.487902503099643, 0.7080702613587868, -0.14443460694741184, -0.2911478694712599, 0.25035513085438343, 0.9650595873051442,
          -10.292627035418905, -0.28222450727160364, -4.27198861624084, 9.195761333665516, 4.967633015403666, 0.683445809862163],
        &[6.422482334338948, 4.083670948869637, 17.892688408565213, -0.640085286469578],
        &[0.7354022788861148, 3.387373756166842, -5.665373683158747, 0.28229954346041897],
        &[-36.545942493587916, 13.953005164430325, -13.389879971335208, 7.060256739280916, -6.699883754643933, 35.62244431585581,
          -110.45366562863303, 47.563048574584656, -166.62494252478837, 206.28525217194206, 80.16258712621635, -56.9322797193217],
        &[85.54398322785003, -65.35502396321456, 453.3093868932721, 17.171126316929552],
        &[-8.796174816078457, -55.84886193655706, -79.45782764864927, -16.888685982953948],
    ];
    let x: Vec<_> = (0..24).map(|i| (f64::from(i).powi(2) / 8.0).sin()).collect();
    let operands = [
        b.constant(&x, &[2, 4, 3, 1]).unwrap(),
        b.constant(&[1.0, -0.5, 2.0, 0.25], &[4]).unwrap(),
        b.constant(&[0.5, 0.0, -1.0, 0.125], &[4]).unwrap(),
    ];
    let host = |x: &ReferenceTensor| b.to_host(x).unwrap();

    let session = b.gradient_session(false);
    let leaves = operands.each_ref().map(|x| session.variable(x).unwrap());
    let (y, loss) = objective(&session, &leaves).unwrap();
    let gradient = session.backward(&loss, leaves.to_vec()).unwrap();

    let session = b.gradient_session(false);
    let leaves = operands.each_ref().map(|x| session.variable(x).unwrap());
    let duals = [0, 1, 2].map(|k| Dual { primal: leaves[k].clone(), tangent: Some(gradient[k].clone()) });
    let (_, loss) = objective(&Duals(session.clone()), &duals).unwrap();
    let product = session.backward(&loss.tangent.unwrap(), leaves.to_vec()).unwrap();

    for (found, expected) in [y].iter().chain(&gradient).chain(&product).map(host).zip(expected) {
        let scale = expected.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-11 * scale), "{found:?} {expected:?}");
    }
}

/// The output, and Σ cos(i)·y² over its elements.
fn objective<B: Backend>(b: &B, [x, scale, shift]: &[B::Tensor; 3]) -> Result<(B::Tensor, B::Tensor)> {
    let y = b.group_norm(x, 2, scale, shift, 1e-5, Fused::default())?;
    let c: Vec<_> = (0..24).map(|i| f64::from(i).cos()).collect();
    let weighted = b.mul(&b.constant(&c, b.shape(&y))?, &b.mul(&y, &y)?)?;
    let loss = b.sum(&weighted, &[0, 1, 2, 3])?;
    Ok((y, loss))
}

/// A layer has two vectors and no statistics. Neither the mode nor the rest of the batch changes its output.
#[test]
fn a_layer_sees_one_sample_at_a_time_in_either_mode() {
    let (b, mut layout) = (Reference::new(), Layout::new());
    let layer = GroupNorm::new(&mut layout.root().enter("bn1"), 2, 4);
    let entries: Vec<_> =
        layout.entries().iter().map(|entry| (entry.name.as_str(), &entry.shape[..])).collect();
    assert_eq!(entries, [("bn1.weight", &[4][..]), ("bn1.bias", &[4])]);
    assert!(layout.entries().iter().all(|entry| matches!(entry.role, Role::Parameter(_))));
    let theta = ParamVector::from_host(&b, &layout, &[vec![1.0, 2.0, -1.0, 0.5], vec![0.0, 0.25, 1.0, -1.0]]);
    let (theta, buffers) = (theta.unwrap(), Buffers::initial(&layout, &b).unwrap());
    let run = |mode, x: &[f64]| {
        let cx = Context::new(&b, theta.tensors(), &buffers.tensors, mode);
        let x = b.constant(x, &[x.len() / 24, 4, 2, 3]).unwrap();
        b.to_host(&layer.forward(&cx, &x).unwrap()).unwrap()
    };
    let x = pixels(3 * 24);
    let whole = run(Mode::Train, &x);
    assert_eq!(whole, run(Mode::Eval, &x));
    assert_eq!(whole, x.chunks(24).flat_map(|sample| run(Mode::Train, sample)).collect::<Vec<_>>());
}

#[test]
fn groups_by_default_divide_the_channels() {
    let cases =
        [(3, 1), (4, 1), (6, 1), (8, 2), (9, 1), (10, 2), (16, 4), (24, 6), (28, 7), (32, 8), (64, 16)];
    let wide = [(128, 32), (160, 32), (640, 32), (2048, 32), (130, 26), (131, 1)];
    for (channels, groups) in cases.into_iter().chain(wide) {
        assert_eq!(GroupNorm::default_groups(channels), groups, "{channels} channels");
    }
}
