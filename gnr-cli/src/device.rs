//! The option `--device` of every command that computes, and the command `gnr devices`.

use std::{io::Write, process::ExitCode};

use clap::Args;
use gnr_train::Devices;

/// The option that says where to compute.
#[derive(Args, Clone, Default)]
pub(crate) struct OnDevice {
    /// Where to compute: cpu, cuda, cuda:N, vulkan or vulkan:N, as `gnr devices` lists them (train.device)
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

impl OnDevice {
    /// Assignments of recipe keys, followed by that of the device.
    pub(crate) fn with(&self, sets: &[String]) -> Vec<String> {
        // The value is quoted, so that it is not taken for another TOML type.
        let device = self.device.iter().map(|name| format!("train.device={}", serde_json::json!(name)));
        sets.iter().cloned().chain(device).collect()
    }
}

/// List what this program and this machine can compute with
///
/// Engines (train.backend) with their devices (train.device), cores, CUDA cards and Vulkan devices with their memory,
/// and why there is none. Commands that compute take --device.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  gnr devices\n  gnr train --device cuda:1\n  gnr spectrum runs/digits-1 --device cuda"
)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn devices(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let found = gnr_train::devices();
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&found)?)?;
    } else {
        for line in lines(&found) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(found: &Devices) -> Vec<String> {
    let gigabytes = |mb: u64| format!("{:.1} GB", mb as f64 / 1024.0);
    let mut lines = vec![format!(
        "machine: {} cores{}{}",
        found.cores,
        found.memory_mb.map_or_else(String::new, |mb| format!(", {}", gigabytes(mb))),
        found.processor.as_ref().map_or_else(String::new, |name| format!(", {name}"))
    )];
    for (index, card) in found.cards.iter().enumerate() {
        let driver = found.driver.as_deref().unwrap_or("unknown");
        lines.push(format!(
            "card {index}: {}, {} ({} free), driver {driver}",
            card.name,
            gigabytes(card.memory_mb),
            gigabytes(card.free_mb)
        ));
    }
    for adapter in &found.adapters {
        let kind =
            if adapter.kind == "software" { "software on the CPU: for tests, slow" } else { adapter.kind };
        let memory = adapter.memory_mb.map_or_else(|| "memory unknown".into(), gigabytes);
        let unusable =
            adapter.unusable.as_ref().map_or_else(String::new, |why| format!("; cannot be used: {why}"));
        let (device, name, driver) = (&adapter.device, &adapter.name, &adapter.driver);
        lines.push(format!("{device}: {name} ({kind}), {memory}, driver {driver}{unusable}"));
    }
    for backend in &found.backends {
        let name = format!("train.backend = \"{}\"", backend.name);
        lines.push(match (&backend.library, &backend.build) {
            (Some(library), _) => {
                format!("{name:26} {library}; train.device = {}", backend.devices.join(", "))
            }
            (None, build) => {
                format!(
                    "{name:26} not in this program: {}",
                    build.as_deref().unwrap_or("unknown how to build")
                )
            }
        });
    }
    lines.extend(found.no_cuda.as_ref().map(|reason| format!("no CUDA card to compute on: {reason}")));
    lines.extend(found.no_vulkan.as_ref().map(|reason| format!("no Vulkan device to compute on: {reason}")));
    lines
}
