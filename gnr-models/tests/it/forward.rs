//! Every architecture runs, on digits and on odd sizes, and every one of its tensors matters.

use gnr_core::{GradOracle, HvpOracle, Order, Pass, Vector};
use gnr_models::{AnyModel, ModelConfig, registry};
use gnr_nn::{
    Backend, Batch, BatchOracle, Buffers, Mode, Model, ParamVector, predict,
    testing::{Reference, noise},
};

fn run(name: &str, input: [usize; 3]) {
    let b = Reference::new();
    let model = AnyModel::build(&ModelConfig::new(name, 4, input)).unwrap();
    let shape = [&[3], &input[..]].concat();
    let pixels: Vec<_> = (0..shape.iter().product::<usize>() as u64).map(|i| noise(0, i)).collect();
    let batch = Batch { images: b.constant(&pixels, &shape).unwrap(), labels: vec![0, 1, 3] };
    let theta = ParamVector::initial(&b, model.layout(), 1).unwrap();
    let mut buffers = Buffers::initial(model.layout(), &b).unwrap();
    assert_eq!(predict(&model, &b, &theta, &buffers, &batch.images).unwrap().len(), 3 * 4, "{name}");

    let mut oracle = BatchOracle::new(&model, &b, &batch, &mut buffers).with_mode(Mode::Eval);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    for (entry, grad) in model.layout().parameters().zip(here.grad.to_host().unwrap()) {
        assert!(grad.iter().any(|g| *g != 0.0), "{name} {input:?}: {} has no gradient", entry.name);
    }
    let mut product = here.grad.clone();
    oracle.hvp(&here, &here.grad, &mut product).unwrap();
    assert!(product.norm().unwrap() > 0.0, "{name} {input:?}");
}

#[test]
fn on_digits() {
    for known in registry() {
        run(known.name, [1, 8, 8]);
    }
}

#[test]
fn on_sizes_that_do_not_halve() {
    run("resnet8", [2, 7, 9]);
    run("resnet20_projection", [1, 5, 5]);
    for input in [[1, 28, 28], [3, 32, 32], [1, 4, 4], [2, 11, 13]] {
        run("lenet", input);
    }
}
