//! An ordinary tch MLP trains with GNR and exact products on two moons: what changes for a tch user is between the
//! rules.
//!
//! `cargo run --release -p gnr-torch --features libtorch --example torch_module`
#![allow(clippy::print_stdout)]

use gnr_core::{Clip, Gnr, Method, Sgd};
use gnr_torch::{ModuleOracle, Variables};
use tch::{Device, Kind, Tensor, nn, nn::Module};

const SAMPLES: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tch::manual_seed(0);
    let store = nn::VarStore::new(Device::Cpu);
    let root = store.root();
    let net = nn::seq()
        .add(nn::linear(&root / "1", 2, 16, Default::default()))
        .add_fn(|x| x.tanh())
        .add(nn::linear(&root / "2", 16, 16, Default::default()))
        .add_fn(|x| x.tanh())
        .add(nn::linear(&root / "3", 16, 2, Default::default()));
    let (x, y) = two_moons();

    // -----------------------------------------------------------------------------------------------------------------
    let mut method = Method {
        regularizer: Gnr::new(0.05, 0.1)?,
        optimizer: Sgd::new().with_momentum(0.9)?,
        learning_rate: 0.1,
        clip: Clip::None,
    };
    let mut variables = Variables::of(&store)?;
    let mut theta = variables.parameters()?;
    for t in 0..400 {
        let batch = || Ok(net.forward(&x).cross_entropy_for_logits(&y));
        let report = method.step(t, &mut theta, &mut ModuleOracle::new(&mut variables, batch))?;
        if t % 100 == 99 {
            println!("step {:3}: loss {:.4}, |gradient| {:.4}", t + 1, report.loss, report.grad_norm);
        }
    }
    variables.write_back(&theta)?;
    // -----------------------------------------------------------------------------------------------------------------

    let hits = net.forward(&x).argmax(1, false).eq_tensor(&y).sum(Kind::Int64).int64_value(&[]);
    println!("{hits} of {SAMPLES} right");
    Ok(())
}

/// Two interleaved half circles with a little deterministic jitter, and their classes.
fn two_moons() -> (Tensor, Tensor) {
    let mut points = Vec::with_capacity(2 * SAMPLES);
    let mut classes = Vec::with_capacity(SAMPLES);
    for i in 0..SAMPLES {
        let (upper, angle) = (i % 2 == 0, (i / 2) as f32 / (SAMPLES / 2) as f32 * std::f32::consts::PI);
        let jitter = 0.1 * (12.9898 * i as f32).sin();
        let (u, v) = if upper { (angle.cos(), angle.sin()) } else { (1.0 - angle.cos(), 0.5 - angle.sin()) };
        points.extend([u + jitter, v - jitter]);
        classes.push(i64::from(!upper));
    }
    (Tensor::from_slice(&points).view([-1, 2]), Tensor::from_slice(&classes))
}
