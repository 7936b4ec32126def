//! Graphics cards through Vulkan: which ones wgpu finds, and the backend on one of them.

mod missing;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use burn_autodiff::Autodiff;
use burn_backend::read_sync;
use burn_wgpu::{
    RuntimeOptions, WgpuBackend, WgpuDevice, graphics, try_init_setup,
    wgpu::{AdapterInfo, Backends, DeviceType, Instance, InstanceDescriptor},
};
use cubecl::device::WgpuDeviceKind;
use gnr_nn::{Error, Result};

use crate::tensor::{Burn, Precision};

/// burn's backend on graphics cards with its reverse mode.
///
/// The program opens Vulkan devices. Devices that wgpu reaches otherwise (Metal, DirectX 12) are also of this type, and
/// have not been tried.
pub type Wgpu = Autodiff<burn_wgpu::Wgpu>;

/// A part of the name of every burn backend on graphics cards.
pub(crate) const NAME: &str = "wgpu";

/// The kind of device of an adapter, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A card with memory of its own.
    Discrete,
    /// A graphics unit that shares the machine's memory.
    Integrated,
    /// A card that a hypervisor passes on.
    Virtual,
    /// A device whose driver does not say what it is.
    Other,
    /// The CPU, through a software driver such as Mesa's llvmpipe.
    Software,
}

impl Kind {
    /// The kind in words: `discrete`, `integrated`, `virtual`, `other` or `software`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        }
    }
}

/// A device that wgpu finds through Vulkan.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The device's name, as its driver gives it.
    pub name: String,
    /// The kind of device.
    pub kind: Kind,
    /// Name and version of the driver.
    pub driver: String,
    /// The device's address on the PCI bus, such as `0000:01:00.0`; empty if it has none.
    pci: String,
    /// The adapter's name in burn.
    device: WgpuDeviceKind,
}

/// The adapters that were found, and the devices that this process has opened: each is opened once.
struct Known {
    adapters: Vec<Adapter>,
    opened: Vec<WgpuDeviceKind>,
}

/// The lock is held while devices are listed or opened: Vulkan's loader crashes when instances come and go on several
/// threads at once.
static KNOWN: Mutex<Known> = Mutex::new(Known { adapters: Vec::new(), opened: Vec::new() });

/// The devices that wgpu finds through Vulkan, software last. A device's place in the list is its number.
///
/// # Errors
/// Says why there is none: no Vulkan loader, or no driver.
pub fn adapters() -> Result<Vec<Adapter>> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    find(&mut known)?;
    Ok(known.adapters.clone())
}

/// Lists the adapters, unless they are known already. Having none is an error.
fn find(known: &mut Known) -> Result<()> {
    if known.adapters.is_empty() {
        let description = InstanceDescriptor {
            backends: Backends::VULKAN,
            ..InstanceDescriptor::new_without_display_handle()
        };
        let instance = Instance::new(description);
        let found = read_sync(instance.enumerate_adapters(Backends::VULKAN));
        known.adapters = numbered(found.iter().map(|adapter| adapter.get_info()));
    }
    if known.adapters.is_empty() { Err(Error::Invalid(missing::reason())) } else { Ok(()) }
}

/// The adapters in the order of their numbers. burn counts the adapters of each kind in wgpu's order, and knows one
/// software device.
fn numbered(found: impl Iterator<Item = AdapterInfo>) -> Vec<Adapter> {
    let mut counts = [0; 4];
    let mut next = |kind: Kind| {
        let count = &mut counts[kind as usize];
        *count += 1;
        *count - 1
    };
    let mut adapters: Vec<Adapter> = found
        .map(|info| {
            let (kind, device) = match info.device_type {
                DeviceType::DiscreteGpu => {
                    (Kind::Discrete, WgpuDeviceKind::DiscreteGpu(next(Kind::Discrete)))
                }
                DeviceType::IntegratedGpu => {
                    (Kind::Integrated, WgpuDeviceKind::IntegratedGpu(next(Kind::Integrated)))
                }
                DeviceType::VirtualGpu => (Kind::Virtual, WgpuDeviceKind::VirtualGpu(next(Kind::Virtual))),
                DeviceType::Other => (Kind::Other, WgpuDeviceKind::Other(next(Kind::Other))),
                DeviceType::Cpu => (Kind::Software, WgpuDeviceKind::Cpu),
            };
            let driver = [info.driver, info.driver_info].join(" ").trim().to_owned();
            Adapter { name: info.name, kind, driver, pci: info.device_pci_bus_id, device }
        })
        .collect();
    adapters.sort_by_key(|adapter| adapter.kind);
    let first = adapters.iter().position(|adapter| adapter.kind == Kind::Software);
    adapters.truncate(first.map_or(adapters.len(), |first| first + 1));
    adapters
}

/// Opens the adapter of this number, once in a process.
fn open(index: usize) -> Result<WgpuDevice> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    find(&mut known)?;
    let count = known.adapters.len();
    let Some(adapter) = known.adapters.get(index) else {
        return Err(Error::Invalid(format!(
            "device vulkan:{index}: wgpu finds {count} Vulkan device(s) here, vulkan:0 to vulkan:{}",
            count - 1
        )));
    };
    let kind = adapter.device.clone();
    let device = WgpuDevice { kind: kind.clone(), backend: WgpuBackend::Vulkan };
    if !known.opened.contains(&kind) {
        let refused = |error| {
            Error::Invalid(format!("device vulkan:{index}, {}: its driver refuses it: {error}", adapter.name))
        };
        let options = RuntimeOptions::try_default().map_err(refused)?;
        try_init_setup::<graphics::Vulkan>(&device, options).map_err(refused)?;
        known.opened.push(kind);
    }
    Ok(device)
}

/// Opens the device of this number and returns the bytes of its own memory, if burn or Linux (for AMD's cards) reports
/// them. Otherwise `None`: wgpu reports none, and burn reports Vulkan's figure only with its SPIR-V compiler, which
/// this crate does not use.
///
/// # Errors
/// A number that no device has, or a device that cannot be opened, with the driver's words.
pub fn memory_bytes(index: usize) -> Result<Option<u64>> {
    let told = burn_device(open(index)?).client().properties().memory.max_memory();
    let pci = adapters()?.swap_remove(index).pci;
    Ok(told.or_else(|| of_system(Path::new("/sys/bus/pci/devices"), &pci)))
}

/// The bytes of memory that Linux's driver of AMD's cards reports for the card at this address.
fn of_system(devices: &Path, pci: &str) -> Option<u64> {
    let address = Some(pci).filter(|pci| !pci.is_empty())?;
    std::fs::read_to_string(devices.join(address).join("mem_info_vram_total")).ok()?.trim().parse().ok()
}

type Device = <burn_wgpu::Wgpu as burn_backend::BackendTypes>::Device;

fn burn_device(device: WgpuDevice) -> Device {
    device.into()
}

impl Burn<Wgpu> {
    /// The backend on the Vulkan device of this number in [`adapters`].
    ///
    /// # Errors
    /// Double precision; no Vulkan; a number that no device has; a device that cannot be opened, with the driver's
    /// words.
    pub fn vulkan(index: usize, precision: Precision) -> Result<Self> {
        single(precision)?;
        Self::on(burn_device(open(index)?), precision)
    }
}

/// Refuses double precision.
pub(crate) fn single(precision: Precision) -> Result<()> {
    match precision {
        Precision::F32 => Ok(()),
        Precision::F64 => Err(Error::Invalid(
            "burn computes in f32 on graphics cards: shaders have no exponential, logarithm, tanh or power in f64. f64 is \
             for the cpu"
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_wgpu::wgpu::Backend;

    #[test]
    fn linux_tells_the_memory_of_a_card_by_its_address() {
        let home = std::env::temp_dir().join(format!("gnr-pci-{}", std::process::id()));
        let card = home.join("0000:03:00.0");
        std::fs::create_dir_all(&card).unwrap();
        std::fs::write(card.join("mem_info_vram_total"), "17163091968\n").unwrap();
        assert_eq!(of_system(&home, "0000:03:00.0"), Some(17_163_091_968));
        assert_eq!([of_system(&home, "0000:04:00.0"), of_system(&home, "")], [None, None]);
        std::fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn cards_come_before_software_and_are_counted_kind_by_kind() {
        let found = [
            (DeviceType::Cpu, "llvmpipe"),
            (DeviceType::IntegratedGpu, "a"),
            (DeviceType::DiscreteGpu, "b"),
            (DeviceType::Cpu, "swiftshader"),
            (DeviceType::DiscreteGpu, "c"),
        ];
        let found = found.map(|(kind, name)| {
            let mut info = AdapterInfo::new(kind, Backend::Vulkan);
            name.clone_into(&mut info.name);
            info
        });
        let adapters = numbered(found.into_iter());
        let names: Vec<&str> = adapters.iter().map(|adapter| &*adapter.name).collect();
        assert_eq!(names, ["b", "c", "a", "llvmpipe"]);
        let devices: Vec<_> = adapters.iter().map(|adapter| adapter.device.clone()).collect();
        assert_eq!(
            devices,
            [
                WgpuDeviceKind::DiscreteGpu(0),
                WgpuDeviceKind::DiscreteGpu(1),
                WgpuDeviceKind::IntegratedGpu(0),
                WgpuDeviceKind::Cpu
            ]
        );
    }
}
