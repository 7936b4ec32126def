//! The keys `train.backend` and `train.device`: the engine that computes a run, and its device.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::reader::Section;

/// The backend that computes a run. An engine that is not built into this program has no variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The CPU engine, `gnr-cpu`.
    #[default]
    Cpu,
    /// The CPU backend of burn, Flex.
    #[cfg(feature = "burn")]
    Burn,
    /// The operations of dfdx on its CPU device, some twenty times slower, for comparisons.
    #[cfg(feature = "dfdx")]
    Dfdx,
    /// LibTorch, on the CPU or a CUDA card.
    #[cfg(feature = "torch")]
    Torch,
}

impl Engine {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The engine's name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            #[cfg(feature = "burn")]
            Self::Burn => "burn",
            #[cfg(feature = "dfdx")]
            Self::Dfdx => "dfdx",
            #[cfg(feature = "torch")]
            Self::Torch => "torch",
        }
    }
}

/// The device of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The cores of this machine.
    #[default]
    Cpu,
    /// The CUDA card of this number, from 0.
    Cuda(usize),
}

impl Device {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Device {
    type Err = ();

    /// Reads `cpu`, `cuda` (the first card) or `cuda:N`.
    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => name.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Self::Cuda).ok_or(()),
        }
    }
}

/// Floating-point precision of parameters and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision, `f32`.
    F32,
    /// Double precision, `f64`.
    F64,
}

/// The engine, device and precision of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The engine that computes.
    pub engine: Engine,
    /// The device on which it computes.
    pub device: Device,
    /// The precision of parameters and activations.
    pub precision: Precision,
}

/// Writes engine and device, as in `torch on cuda:0`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.engine.name(), self.device)
    }
}

/// Each engine that needs a feature of the program, by its name, and whether the program was built with it.
pub(crate) const OPTIONAL: [(&str, bool); 3] =
    [("burn", cfg!(feature = "burn")), ("dfdx", cfg!(feature = "dfdx")), ("torch", cfg!(feature = "torch"))];

/// The way to get an engine that this program lacks.
pub(crate) fn how_to_build(feature: &str) -> String {
    let before = if feature == "torch" {
        "LibTorch is needed, which `cargo xtask libtorch` fetches (docs/devices.md); then "
    } else {
        ""
    };
    format!("{before}`cargo build --release --features {feature}`")
}

/// Reads `backend` and `device`. A card without a backend means LibTorch, the only engine that computes on cards.
pub(super) fn read(train: &mut Section<'_, '_>) -> (Engine, Device) {
    let engine = engine(train);
    let Some(name) = train.optional::<String>("device") else {
        return (engine.unwrap_or_default(), Device::Cpu);
    };
    let found = format!("{name:?}");
    let torch = cfg!(feature = "torch");
    let Ok(device) = name.parse() else {
        let known = if torch {
            "expected one of cpu, cuda, cuda:N"
        } else {
            "expected cpu, which is all that this program has"
        };
        train.refuse("device", &found, &format!("{known}; `gnr devices` lists what this machine has"));
        return (engine.unwrap_or_default(), Device::Cpu);
    };
    if device == Device::Cpu {
        return (engine.unwrap_or_default(), device);
    }
    #[cfg(feature = "torch")]
    match engine {
        None | Some(Engine::Torch) => return (Engine::Torch, device),
        Some(other) => {
            let requirement = format!(
                "the backend \"{}\" computes on the cpu alone; train.backend = \"torch\" computes on CUDA cards",
                other.name()
            );
            train.refuse("device", &found, &requirement);
        }
    }
    #[cfg(not(feature = "torch"))]
    {
        let requirement = format!(
            "this program was built without LibTorch and computes on the cpu alone: {}",
            how_to_build("torch")
        );
        train.refuse("device", &found, &requirement);
    }
    (engine.unwrap_or_default(), Device::Cpu)
}

fn engine(train: &mut Section<'_, '_>) -> Option<Engine> {
    let engines = [
        ("cpu", Some(Engine::Cpu)),
        #[cfg(feature = "burn")]
        ("burn", Some(Engine::Burn)),
        #[cfg(not(feature = "burn"))]
        ("burn", None),
        #[cfg(feature = "dfdx")]
        ("dfdx", Some(Engine::Dfdx)),
        #[cfg(not(feature = "dfdx"))]
        ("dfdx", None),
        #[cfg(feature = "torch")]
        ("torch", Some(Engine::Torch)),
        #[cfg(not(feature = "torch"))]
        ("torch", None),
    ];
    let engine = train.choice("backend", &engines);
    if engine == Some(None)
        && let Some(name) = train.optional::<String>("backend")
    {
        let build = format!("this program was built without it; build it with {}", how_to_build(&name));
        train.refuse("backend", &format!("{name:?}"), &build);
    }
    engine.flatten()
}
