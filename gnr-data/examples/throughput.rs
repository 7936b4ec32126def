//! Images per second of the loader, alone: `cargo run --release -p gnr-data --example throughput [IMAGE_FOLDER]`.
//!
//! Measures the digits, Fashion-MNIST when installed, and an image folder when one is given: 0, 1 and 2 workers, best
//! of three epochs. The consumer does nothing, so the numbers are upper bounds of what the loader can feed.

#![allow(clippy::print_stdout, reason = "an example that prints a table")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnr_data::{
    Augmentation, DataError, Dataset, Keep, Loader, LoaderConfig, Normalization, OpenOptions, Part,
    available_without_dir, open, open_folder,
};

fn main() -> Result<(), DataError> {
    let none = OpenOptions::default();
    measure("digits", open("digits", Part::Train, &none)?, Normalization::digits(), 2)?;
    if available_without_dir("fashion-mnist")? {
        let fashion = open("fashion-mnist", Part::Train, &none)?;
        measure("fashion-mnist", fashion, Normalization::fashion_mnist(), 4)?;
    }
    if let Some(dir) = std::env::args_os().nth(1) {
        for keep in [Keep::InMemory, Keep::OnDisk] {
            let start = Instant::now();
            let folder = open_folder(dir.as_ref(), Part::Train, None, keep)?;
            println!("folder {keep:?}: opened in {:.2} s", start.elapsed().as_secs_f64());
            measure("folder", folder, Normalization::cifar10(), 4)?;
        }
    }
    Ok(())
}

fn measure(
    name: &str,
    set: Arc<dyn Dataset>,
    normalization: Normalization,
    pad: usize,
) -> Result<(), DataError> {
    for workers in 0..=2 {
        let augment = Augmentation { pad, ..Augmentation::CIFAR };
        let config =
            LoaderConfig { workers, ..LoaderConfig::training(128, 0, normalization.clone(), augment) };
        let loader = Loader::new(Arc::clone(&set), config)?;
        let mut best = Duration::MAX;
        let mut images = 0;
        for epoch in 0..3 {
            let start = Instant::now();
            images = 0;
            for batch in loader.epoch(epoch, 0)? {
                let batch = batch?;
                images += batch.len();
                loader.recycle(batch);
            }
            best = best.min(start.elapsed());
        }
        println!("{name}: {workers} workers, {:.0} images/s", images as f64 / best.as_secs_f64());
    }
    Ok(())
}
