//! Steps of ResNet-18 on a CUDA card, for counting what they ask of it: `gradient` or `gnr` (a step of Algorithm 1 with
//! exact products), images in the batch, number of steps.
//!
//! `cargo xtask cuda-build --count` builds it and runs it beside `counting_driver`, where no card is needed.

use std::cell::RefCell;

use gnr_core::{Clip, Gnr, GradOracle as _, Method, Order, Pass, Sgd};
use gnr_dfdx::{Card, Cuda};
use gnr_models::{AnyModel, ModelConfig};
use gnr_nn::{Autodiff as _, Batch, BatchOracle, Buffers, Model as _, ParamVector};

const CLASSES: usize = 10;
const IMAGE: [usize; 3] = [3, 32, 32];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, size, steps] = &arguments[..] else {
        return Err("expected `gradient` or `gnr`, images in the batch, number of steps".into());
    };
    let (size, steps): (usize, u64) = (size.parse()?, steps.parse()?);

    let backend = Cuda::<f32>::on_card(Card::find(0)?)?;
    let model = AnyModel::build(&ModelConfig::new("resnet18", CLASSES, IMAGE))?;
    let [c, h, w] = IMAGE;
    let images: Vec<f32> = (0..size * c * h * w).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let labels: Vec<usize> = (0..size).map(|i| i % CLASSES).collect();
    let batch = Batch::new(backend.upload(&images, &[size, c, h, w])?, labels);
    let buffers = RefCell::new(Buffers::initial(model.layout(), &backend)?);
    let mut theta = ParamVector::initial(&backend, model.layout(), 0)?;
    let mut method = Method {
        regularizer: Gnr::new(0.1, 0.1)?,
        optimizer: Sgd::new().with_momentum(0.9)?,
        learning_rate: 1e-3,
        clip: Clip::None,
    };
    for step in 0..steps {
        let mut oracle = BatchOracle::new(&model, &backend, &batch, &buffers);
        match what.as_str() {
            "gradient" => drop(oracle.evaluate(&theta, Pass::Probe, Order::First)?),
            "gnr" => drop(method.step(step, &mut theta, &mut oracle)?),
            _ => return Err(format!("{what:?}: expected `gradient` or `gnr`").into()),
        }
    }
    Ok(())
}
