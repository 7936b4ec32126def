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
    /// burn: its CPU backend Flex, or its wgpu backend on a graphics card.
    #[cfg(feature = "burn")]
    Burn,
    /// The operations of dfdx, on its CPU device (some twenty times slower, for comparisons) or a CUDA card.
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
    /// The Vulkan device of this number in `gnr devices`, from 0.
    Vulkan(usize),
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
            Self::Vulkan(index) => write!(f, "vulkan:{index}"),
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

    /// Reads `cpu`, `cuda` (the first card), `cuda:N`, `vulkan` (the first device) or `vulkan:N`.
    fn from_str(name: &str) -> Result<Self, ()> {
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| ())?)),
            None => (name, None),
        };
        match (kind, index) {
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("vulkan", index) => Ok(Self::Vulkan(index.unwrap_or(0))),
            _ => Err(()),
        }
    }
}

/// Floating-point precision of parameters and activations, and of products of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision, `f32`, the default.
    #[default]
    F32,
    /// Single precision, with products by a card's TF32 units; for `backend = "torch"` on a card only.
    Tf32,
    /// Single precision, with products of operands rounded to bfloat16; for `backend = "torch"` only.
    Bf16,
    /// Double precision, `f64`.
    F64,
}

impl Precision {
    /// Whether tensors have 64 bits, in memory and in files; 32 otherwise.
    pub(crate) fn is_double(self) -> bool {
        self == Self::F64
    }
    /// The unit round-off of products: the largest relative error of one, for operands of this format.
    pub(crate) fn unit(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::EPSILON) / 2.0,
            // Significands of 11 and of 8 bits.
            Self::Tf32 => 2.0_f64.powi(-11),
            Self::Bf16 => 2.0_f64.powi(-8),
            Self::F64 => f64::EPSILON / 2.0,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
        })
    }
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
    /// Whether the channels of a pixel are next to each other in memory.
    pub channels_last: bool,
}

/// Writes engine and device, as in `torch on cuda:0`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = if self.channels_last { " with channels last" } else { "" };
        write!(f, "{} on {}{layout}", self.engine.name(), self.device)
    }
}

/// Each engine that needs a feature of the program, by its name, and whether the program was built with it.
pub(crate) const OPTIONAL: [(&str, bool); 3] =
    [("burn", cfg!(feature = "burn")), ("dfdx", cfg!(feature = "dfdx")), ("torch", cfg!(feature = "torch"))];

/// The way to get an engine that this program lacks, by the program's feature.
pub(crate) fn how_to_build(feature: &str) -> String {
    let before = match feature {
        "torch" => "LibTorch is needed, which `cargo xtask libtorch` fetches (docs/devices.md); then ",
        "dfdx-cuda" => "`cargo xtask cuda-build`, or on a machine with CUDA ",
        _ => "",
    };
    format!("{before}`cargo build --release --features {feature}`")
}

/// The engines of this program that compute on a device other than the CPU. A recipe that names the device only gets
/// the first one.
fn engines_on(device: Device) -> &'static [Engine] {
    match device {
        Device::Cpu => &[],
        Device::Cuda(_) => &[
            #[cfg(feature = "torch")]
            Engine::Torch,
            #[cfg(feature = "dfdx-cuda")]
            Engine::Dfdx,
        ],
        Device::Vulkan(_) => &[
            #[cfg(feature = "burn-wgpu")]
            Engine::Burn,
        ],
    }
}

/// The reason why a program without an engine for CUDA cards has none, and the ways to build one.
pub(crate) fn no_engine_on_cards() -> String {
    format!(
        "this program was built without the backend \"torch\", which computes on CUDA cards: {}; and without \"dfdx\" on CUDA \
         cards: {}",
        how_to_build("torch"),
        how_to_build("dfdx-cuda")
    )
}

/// Reads `backend` and `device`. A device that is not the CPU, without a backend, means the first engine that computes
/// there.
pub(super) fn read(train: &mut Section<'_, '_>) -> (Engine, Device) {
    let engine = engine(train);
    let Some(name) = train.optional::<String>("device") else {
        return (engine.unwrap_or_default(), Device::Cpu);
    };
    let refused = (engine.unwrap_or_default(), Device::Cpu);
    let requirement = match name.parse() {
        Ok(Device::Cpu) => return refused,
        Ok(device) => {
            let engines = engines_on(device);
            match engine.or(engines.first().copied()) {
                Some(engine) if engines.contains(&engine) => return (engine, device),
                _ => not_there(engine, device),
            }
        }
        Err(()) => {
            let kinds = [(Device::Cuda(0), ["cuda", "cuda:N"]), (Device::Vulkan(0), ["vulkan", "vulkan:N"])];
            let known = kinds.into_iter().filter(|(device, _)| !engines_on(*device).is_empty());
            let known: Vec<&str> = known.flat_map(|(_, names)| names).collect();
            let known = match known.is_empty() {
                true => "expected cpu, which is all that this program has".into(),
                false => format!("expected one of cpu, {}", known.join(", ")),
            };
            format!("{known}; `gnr devices` lists what this machine has")
        }
    };
    train.refuse("device", &format!("{name:?}"), &requirement);
    refused
}

/// The reason why this program does not compute on a device with the engine that was asked for, and the remedy.
fn not_there(asked: Option<Engine>, device: Device) -> String {
    let (kind, engines) = (
        if matches!(device, Device::Vulkan(_)) { "Vulkan devices" } else { "CUDA cards" },
        engines_on(device),
    );
    match asked {
        Some(engine) if engine.name() == "dfdx" && matches!(device, Device::Cuda(_)) => {
            format!("this program's backend \"dfdx\" was built without CUDA: {}", how_to_build("dfdx-cuda"))
        }
        Some(engine) if !engines.is_empty() => {
            let others: Vec<_> = engines.iter().map(|engine| format!("{:?}", engine.name())).collect();
            format!(
                "the backend {:?} does not compute on {kind}; train.backend = {} does",
                engine.name(),
                others.join(" or ")
            )
        }
        _ if matches!(device, Device::Vulkan(_)) => format!(
            "this program was built without burn's Vulkan backend, with which train.backend = \"burn\" computes there: {}",
            how_to_build("burn-wgpu")
        ),
        _ => no_engine_on_cards(),
    }
}

/// Reads `precision`. Only LibTorch multiplies in less than single precision, in TF32 only on a card; nothing computes
/// in double precision through Vulkan.
pub(super) fn precision(train: &mut Section<'_, '_>, engine: Engine, device: Device) -> Precision {
    let all = [Precision::F32, Precision::Tf32, Precision::Bf16, Precision::F64];
    let names = all.map(|precision| precision.to_string());
    let choices: Vec<_> = names.iter().map(String::as_str).zip(all).collect();
    let precision = train.choice("precision", &choices).unwrap_or_default();
    let torch = engine.name() == "torch";
    let requirement = match precision {
        Precision::F64 if matches!(device, Device::Vulkan(_)) => {
            "burn computes in f32 on Vulkan devices: shaders have no exponential, logarithm, tanh or power in f64; \
             train.device = \"cpu\" computes in f64"
                .into()
        }
        Precision::F32 | Precision::F64 => return precision,
        Precision::Tf32 if torch && device != Device::Cpu => return precision,
        Precision::Bf16 if torch => return precision,
        Precision::Tf32 if torch => {
            "TF32 is a format of CUDA cards; on the cpu the backend \"torch\" computes in f32, bf16 and f64"
                .into()
        }
        _ if cfg!(feature = "torch") => format!(
            "the backend \"{}\" computes in f32 and f64; train.backend = \"torch\" also in bf16, and on CUDA cards in tf32",
            engine.name()
        ),
        _ => format!(
            "this program was built without LibTorch and computes in f32 and f64: {}",
            how_to_build("torch")
        ),
    };
    train.refuse("precision", &format!("{:?}", precision.to_string()), &requirement);
    Precision::F32
}

/// Reads `channels_last`, which only the backend `torch` supports.
pub(super) fn channels_last(train: &mut Section<'_, '_>, engine: Engine) -> bool {
    let channels_last = train.value("channels_last", false);
    if channels_last && engine.name() != "torch" {
        let requirement = if cfg!(feature = "torch") {
            format!(
                "the backend \"{}\" has one layout of images; train.backend = \"torch\" has two",
                engine.name()
            )
        } else {
            format!(
                "this program was built without LibTorch, which has two layouts: {}",
                how_to_build("torch")
            )
        };
        train.refuse("channels_last", "true", &requirement);
    }
    channels_last
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
