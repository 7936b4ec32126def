//! A network that was written in Python and saved as TorchScript trains with GNR and exact products.
//!
//! `cargo run --release -p gnr-torch --features libtorch --example torchscript [FILE]`; the file maps two numbers to
//! the logits of three classes, in double precision.
#![allow(clippy::print_stdout)]

use gnr_core::{Clip, Gnr, Method, Sgd};
use gnr_torch::{ModuleOracle, Variables};
use tch::{Device, Kind, Tensor, TrainableCModule, nn::VarStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/mlp.pt");
    let file = std::env::args().nth(1).unwrap_or_else(|| small.into());
    let x = Tensor::from_slice2(&[[0.0, 0.5], [1.0, -0.5], [-1.0, 0.25], [0.75, 1.0]]);
    let y = Tensor::from_slice(&[0_i64, 1, 2, 1]);

    let store = VarStore::new(Device::Cpu);
    let net = TrainableCModule::load(file, store.root())?;
    let mut method = Method {
        regularizer: Gnr::new(0.05, 0.1)?,
        optimizer: Sgd::new().with_momentum(0.9)?,
        learning_rate: 0.2,
        clip: Clip::None,
    };
    let mut variables = Variables::of(&store)?;
    let mut theta = variables.parameters()?;
    for t in 0..200 {
        // In double precision; `cross_entropy_for_logits` is in single precision always.
        let batch = || Ok(net.forward_ts(&[&x])?.log_softmax(-1, Kind::Double).nll_loss(&y));
        let report = method.step(t, &mut theta, &mut ModuleOracle::new(&mut variables, batch))?;
        if t % 50 == 49 {
            println!("step {:3}: loss {:.4}, |gradient| {:.4}", t + 1, report.loss, report.grad_norm);
        }
    }
    variables.write_back(&theta)?;
    let trained = std::env::temp_dir().join("trained.pt");
    net.save(&trained)?;
    println!("{} is the trained network", trained.display());
    Ok(())
}
