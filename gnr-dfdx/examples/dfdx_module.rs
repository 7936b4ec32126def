//! An ordinary dfdx MLP trains with GNR on two moons: what changes for a dfdx user is between the two rules.
//!
//! `cargo run --release -p gnr-dfdx --example dfdx_module`
#![allow(clippy::print_stdout)]

use dfdx::prelude::*;
use gnr_core::{Clip, ForwardDiff, Gnr, Method, Sgd};
use gnr_dfdx::module::{self, ModuleOracle};

type Mlp = ((Linear<2, 16>, Tanh), (Linear<16, 16>, Tanh), Linear<16, 2>);

const SAMPLES: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Cpu::default();
    let mut model = device.build_module::<Mlp, f32>();
    let (x, y) = two_moons(&device);

    // -----------------------------------------------------------------------------------------------------------------
    let mut method = Method {
        regularizer: Gnr::new(0.05, 0.1)?,
        optimizer: Sgd::new().with_momentum(0.9)?,
        learning_rate: 0.1,
        clip: Clip::None,
    };
    let mut theta = module::parameters(&model)?;
    for t in 0..400 {
        let batch = ModuleOracle::new(&mut model, x.clone(), y.clone(), cross_entropy_with_logits_loss);
        let report = method.step(t, &mut theta, &mut ForwardDiff::new(batch))?;
        if t % 100 == 99 {
            println!("step {:3}: loss {:.4}, |gradient| {:.4}", t + 1, report.loss, report.grad_norm);
        }
    }
    module::write_back(&mut model, &theta)?;
    // -----------------------------------------------------------------------------------------------------------------

    let hits = (model.forward(x).as_vec().chunks(2).zip(y.as_vec().chunks(2)))
        .filter(|(logits, target)| (logits[1] > logits[0]) == (target[1] > target[0]))
        .count();
    println!("{hits} of {SAMPLES} right");
    Ok(())
}

/// Two interleaved half circles with a little deterministic jitter, and one-hot classes.
fn two_moons(device: &Cpu) -> (Tensor<Rank2<SAMPLES, 2>, f32, Cpu>, Tensor<Rank2<SAMPLES, 2>, f32, Cpu>) {
    let mut points = Vec::with_capacity(2 * SAMPLES);
    let mut classes = Vec::with_capacity(2 * SAMPLES);
    for i in 0..SAMPLES {
        let (upper, angle) = (i % 2 == 0, (i / 2) as f32 / (SAMPLES / 2) as f32 * std::f32::consts::PI);
        let jitter = 0.1 * (12.9898 * i as f32).sin();
        let (u, v) = if upper { (angle.cos(), angle.sin()) } else { (1.0 - angle.cos(), 0.5 - angle.sin()) };
        points.extend([u + jitter, v - jitter]);
        classes.extend(if upper { [1.0, 0.0] } else { [0.0, 1.0] });
    }
    (device.tensor(points), device.tensor(classes))
}
