//! The answer of `gnr devices`: the engines and devices of this build and machine, and why others are missing.

use std::{collections::BTreeMap, process::Command, thread::available_parallelism};

use serde::Serialize;

use crate::recipe::device::{OPTIONAL, how_to_build, no_engine_on_cards};

/// The engines and devices that are available.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Devices {
    /// Number of cores of this machine that the program may use.
    pub cores: usize,
    /// The processor's name, where the system tells.
    pub processor: Option<String>,
    /// Memory of this machine in MB, where the system tells.
    pub memory_mb: Option<u64>,
    /// All engines, built in or not.
    pub backends: Vec<Backend>,
    /// Version of NVIDIA's driver, where there is one.
    pub driver: Option<String>,
    /// The CUDA cards that the driver shows.
    pub cards: Vec<Card>,
    /// The reason why no backend computes on a CUDA card, and its remedy; `None` where one does.
    pub no_cuda: Option<String>,
    /// The devices that wgpu finds through Vulkan, in the order of their numbers.
    pub adapters: Vec<Adapter>,
    /// The reason why no backend computes through Vulkan, and its remedy; `None` where one does.
    pub no_vulkan: Option<String>,
}

/// An engine that can compute runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backend {
    /// The engine's name in recipes, for `train.backend`.
    pub name: &'static str,
    /// Name and version of the engine's library, where it is built in.
    pub library: Option<String>,
    /// The values of `train.device` that work here.
    pub devices: Vec<String>,
    /// The way to build the program with the engine, where it is not built in.
    pub build: Option<String>,
}

/// A CUDA card, as NVIDIA's driver describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card {
    /// Name of the card.
    pub name: String,
    /// Memory of the card in MB.
    pub memory_mb: u64,
    /// Memory in MB that is free at this moment.
    pub free_mb: u64,
}

/// A device that wgpu finds through Vulkan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Adapter {
    /// The value of `train.device` that names it.
    pub device: String,
    /// Name of the device, as its driver gives it.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `other`, or `software` for the CPU.
    pub kind: &'static str,
    /// Name and version of its driver.
    pub driver: String,
    /// Memory in MB: the device's own, or in software the machine's; `None` where nothing tells.
    pub memory_mb: Option<u64>,
    /// The reason why it cannot be opened; `None` where it can.
    pub unusable: Option<String>,
}

/// Examines this program and this machine. Loads LibTorch's CUDA library where LibTorch is built in, and NVIDIA's
/// driver where dfdx's CUDA device is; opens the Vulkan devices where burn's Vulkan backend is.
pub fn devices() -> Devices {
    let (driver, cards, no_driver) = match cards() {
        Ok((driver, cards)) => (driver, cards, None),
        Err(reason) => (None, Vec::new(), Some(reason)),
    };
    let usable = usable_cards();
    let no_cuda = why_none(&usable, no_driver);
    let (mut adapters, no_vulkan) = match vulkan_devices() {
        Ok(adapters) => {
            let opens = adapters.iter().any(|adapter| adapter.unusable.is_none());
            let reason = "each of the devices that wgpu finds is refused by its driver";
            (adapters, (!opens).then(|| reason.to_owned()))
        }
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let memory_mb = std::fs::read_to_string("/proc/meminfo").ok();
    let memory_mb = memory_mb.and_then(|text| kilobytes(value(&text, "MemTotal")?));
    // A software device computes in the machine's memory.
    for adapter in adapters.iter_mut().filter(|adapter| adapter.kind == "software") {
        adapter.memory_mb = adapter.memory_mb.or(memory_mb);
    }
    Devices {
        cores: available_parallelism().map_or(1, usize::from),
        processor: processor(),
        memory_mb,
        backends: backends(&usable, &adapters),
        driver,
        cards,
        no_cuda,
        adapters,
        no_vulkan,
    }
}

/// The processor's name, where the system tells.
pub fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    value(&text, "model name").map(str::to_owned)
}

/// The number of cards on which each engine for CUDA cards can compute, or the reason why there are none.
type Usable = BTreeMap<&'static str, Result<usize, String>>;

/// The reason why no engine has a card; `None` where one has.
fn why_none(usable: &Usable, no_driver: Option<String>) -> Option<String> {
    if usable.values().any(|cards| cards.as_ref().is_ok_and(|cards| *cards > 0)) {
        return None;
    }
    let mut reasons: Vec<String> = usable.values().filter_map(|cards| cards.clone().err()).collect();
    reasons.extend(usable.is_empty().then(no_engine_on_cards));
    reasons.extend(no_driver);
    if reasons.is_empty() {
        let engines: Vec<&str> = usable.keys().copied().collect();
        reasons.push(format!(
            "{} finds no card although the driver shows one: the driver may be older than the library's CUDA, or \
             CUDA_VISIBLE_DEVICES hides the card",
            engines.join(" and ")
        ));
    }
    Some(reasons.join("; "))
}

fn backends(usable: &Usable, adapters: &[Adapter]) -> Vec<Backend> {
    use crate::{
        backend::library,
        recipe::{Device, Engine, Place, Precision},
    };
    let place =
        |engine| Place { engine, device: Device::Cpu, precision: Precision::F32, channels_last: false };
    let built = |engine: Engine, adapters: &[Adapter]| {
        let cards = usable.get(engine.name()).map_or(0, |cards| cards.clone().unwrap_or(0));
        let vulkan = adapters.iter().filter(|adapter| adapter.unusable.is_none());
        Backend {
            name: engine.name(),
            library: Some(library(place(engine))),
            devices: std::iter::once("cpu".to_owned())
                .chain((0..cards).map(|n| format!("cuda:{n}")))
                .chain(vulkan.map(|adapter| adapter.device.clone()))
                .collect(),
            build: None,
        }
    };
    let mut backends = vec![built(Engine::Cpu, &[])];
    #[cfg(feature = "burn")]
    backends.push(built(Engine::Burn, adapters));
    #[cfg(not(feature = "burn"))]
    let _ = adapters;
    #[cfg(feature = "dfdx")]
    backends.push(built(Engine::Dfdx, &[]));
    #[cfg(feature = "torch")]
    backends.push(built(Engine::Torch, &[]));
    backends.extend(OPTIONAL.iter().filter(|(_, there)| !there).map(|&(name, _)| Backend {
        name,
        library: None,
        devices: Vec::new(),
        build: Some(how_to_build(name)),
    }));
    backends
}

fn usable_cards() -> Usable {
    [
        #[cfg(feature = "dfdx-cuda")]
        ("dfdx", crate::backend::dfdx_cards().map_err(|error| error.to_string())),
        #[cfg(feature = "torch")]
        ("torch", crate::backend::torch_cards().map_err(|error| error.to_string())),
    ]
    .into()
}

#[cfg(feature = "burn-wgpu")]
fn vulkan_devices() -> Result<Vec<Adapter>, String> {
    crate::backend::vulkan_devices().map_err(|error| error.to_string())
}

#[cfg(not(feature = "burn-wgpu"))]
fn vulkan_devices() -> Result<Vec<Adapter>, String> {
    Err(format!("this program was built without burn's Vulkan backend: {}", how_to_build("burn-wgpu")))
}

/// Driver and cards as reported by `nvidia-smi`, a program that comes with NVIDIA's driver.
fn cards() -> Result<(Option<String>, Vec<Card>), String> {
    let query = ["--query-gpu=driver_version,memory.total,memory.free,name", "--format=csv,noheader,nounits"];
    let asked = Command::new("nvidia-smi").args(query).output();
    let answer = asked.map_err(|error| {
        format!("no NVIDIA driver: `nvidia-smi`, which comes with it, cannot be started ({error})")
    })?;
    let said = String::from_utf8_lossy(&answer.stdout);
    if !answer.status.success() {
        let words = format!("{said}{}", String::from_utf8_lossy(&answer.stderr));
        return Err(format!(
            "`nvidia-smi` failed: {}",
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    parse(&said)
}

/// Driver and cards from lines `driver, total, free, name`.
fn parse(answer: &str) -> Result<(Option<String>, Vec<Card>), String> {
    let mut driver = None;
    let mut cards = Vec::new();
    for line in answer.lines().filter(|line| !line.trim().is_empty()) {
        let mut fields = line.splitn(4, ',').map(str::trim);
        let mut next = || fields.next();
        let (version, total, free, name) = (next(), next(), next(), next());
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let (Some(memory_mb), Some(free_mb), Some(name)) = (number(total), number(free), name) else {
            return Err(format!("`nvidia-smi` says {line:?}, expected driver, memory, free memory and name"));
        };
        driver = version.map(str::to_owned);
        cards.push(Card { name: name.to_owned(), memory_mb, free_mb });
    }
    if cards.is_empty() { Err("NVIDIA's driver shows no card".into()) } else { Ok((driver, cards)) }
}

/// The value of the first line `key : value`.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// Converts a text such as `24000000 kB` to MB.
fn kilobytes(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_driver_are_read_and_others_refused() {
        let answer = "580.65, 81559, 80994, NVIDIA H100 80GB HBM3\n580.65, 24576, 24000, NVIDIA GeForce RTX 4090, Ti\n";
        let (driver, cards) = parse(answer).unwrap();
        assert_eq!(driver.as_deref(), Some("580.65"));
        assert_eq!(cards[0], Card { name: "NVIDIA H100 80GB HBM3".into(), memory_mb: 81559, free_mb: 80994 });
        assert_eq!(cards[1].name, "NVIDIA GeForce RTX 4090, Ti", "the name comes last, whatever is in it");
        assert_eq!(parse("\n").unwrap_err(), "NVIDIA's driver shows no card");
        assert!(parse("No devices were found").unwrap_err().contains("expected driver, memory"));
    }

    #[test]
    fn no_engine_with_a_card_has_reasons_and_one_with_a_card_has_none() {
        let (none, hidden) = (Err("no driver for dfdx".to_owned()), Ok(0));
        let no_smi = || Some("no nvidia-smi".to_owned());
        let built = [("dfdx", none.clone()), ("torch", Ok(2))].into();
        assert_eq!(why_none(&built, no_smi()), None, "one engine is enough");
        let built = [("dfdx", none)].into();
        assert_eq!(why_none(&built, no_smi()).unwrap(), "no driver for dfdx; no nvidia-smi");
        let reason = why_none(&Usable::new(), None).unwrap();
        assert!(reason.contains("--features torch") && reason.contains("cargo xtask cuda-build"), "{reason}");
        let reason = why_none(&[("dfdx", hidden)].into(), None).unwrap();
        assert!(reason.starts_with("dfdx finds no card although the driver shows one"), "{reason}");
    }

    #[test]
    fn this_machine_has_the_cpu_engine_and_every_missing_engine_says_how_to_build_it() {
        let found = devices();
        assert!(found.cores > 0);
        assert_eq!(
            (found.backends[0].name, &found.backends[0].devices[..]),
            ("cpu", &["cpu".to_owned()][..])
        );
        for backend in &found.backends {
            assert_eq!(backend.library.is_some(), backend.build.is_none(), "{backend:?}");
            assert_eq!(backend.library.is_none(), backend.devices.is_empty(), "{backend:?}");
            if let Some(build) = &backend.build {
                assert!(build.contains(&format!("--features {}", backend.name)), "{build}");
            }
        }
        let cuda =
            found.backends.iter().any(|backend| backend.devices.iter().any(|name| name.starts_with("cuda")));
        assert_eq!(cuda, found.no_cuda.is_none(), "{:?}", found.no_cuda);
        let vulkan = found.backends.iter().flat_map(|backend| &backend.devices);
        let vulkan = vulkan.filter(|name| name.starts_with("vulkan")).count();
        assert_eq!(vulkan, found.adapters.iter().filter(|adapter| adapter.unusable.is_none()).count());
        assert_eq!(vulkan > 0, found.no_vulkan.is_none(), "{:?}", found.no_vulkan);
    }
}
