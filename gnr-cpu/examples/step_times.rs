//! Times of one gradient, one recorded gradient with a replayed product, and one GNR step: ResNet-20, 128 images.
//!
//! `cargo run --release -p gnr-cpu --example step_times -- [architecture] [batch] [image size]`
#![allow(clippy::print_stdout)]

use std::time::Instant;

use std::cell::RefCell;

use gnr_core::{Clip, ForwardDiff, Gnr, GradOracle, HvpOracle, Method, Order, Pass, Sgd, Use};
use gnr_cpu::Cpu;
use gnr_models::{AnyModel, ModelConfig};
use gnr_nn::{Autodiff, Batch, BatchOracle, Buffers, Model, ParamVector};

const REPEATS: usize = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "resnet20_projection".into());
    let size: usize = arguments.next().map_or(Ok(128), |size| size.parse())?;
    let pixels: usize = arguments.next().map_or(Ok(32), |pixels| pixels.parse())?;
    let model = AnyModel::build(&ModelConfig::new(&name, 10, [3, pixels, pixels]))?;
    let backend = Cpu::<f32>::new();
    let theta = ParamVector::initial(&backend, model.layout(), 1)?;
    let images: Vec<f32> = (0..size * 3 * pixels * pixels).map(|i| (0.013 * i as f32).sin()).collect();
    let images = backend.upload(&images, &[size, 3, pixels, pixels])?;
    let batch = Batch::new(images, (0..size).map(|i| i % 10).collect());
    let buffers = RefCell::new(Buffers::initial(model.layout(), &backend)?);

    println!(
        "{name}, batch {size}, {pixels}×{pixels}, {} threads; median of {REPEATS}",
        rayon::current_num_threads()
    );
    let mut oracle = BatchOracle::new(&model, &backend, &batch, &buffers);
    time("gradient", || oracle.evaluate(&theta, Pass::Probe, Order::First).map(|_| ()))?;
    time("gradient, recorded", || oracle.evaluate(&theta, Pass::Probe, Order::Second).map(|_| ()))?;
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second)?;
    time("product, replayed", || oracle.hvp(&here, &here.grad, Use::Again).map(|_| ()))?;
    drop(here);

    let mut exact = Method {
        regularizer: Gnr::new(0.1, 0.1)?,
        optimizer: Sgd::new(),
        learning_rate: 1e-3,
        clip: Clip::None,
    };
    let mut differences = exact.clone();
    let mut at = theta.clone();
    time("GNR step, exact", || exact.step(0, &mut at, &mut oracle).map(|_| ()))?;
    let mut oracle = ForwardDiff::new(oracle).with_step(1e-2)?;
    let mut at = theta.clone();
    time("GNR step, differences", || differences.step(0, &mut at, &mut oracle).map(|_| ()))?;
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn time(what: &str, mut f: impl FnMut() -> gnr_core::Result<()>) -> gnr_core::Result<()> {
    f()?;
    let mut times = Vec::new();
    let before = cpu_seconds();
    for _ in 0..REPEATS {
        let start = Instant::now();
        f()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let cpu = (cpu_seconds() - before) / REPEATS as f64 * 1e3;
    println!("{what:24} {:8.1} ms (min {:.1}; processor time {cpu:.0})", times[REPEATS / 2], times[0]);
    Ok(())
}

/// User and system time of this process so far, from Linux; 0 elsewhere. Beside other jobs, this says more than the
/// clock.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
