//! Memory that a Vulkan device does not have, and a device that goes away: errors where a result is read.

use burn_wgpu::{RuntimeOptions, WgpuBackend, WgpuDevice, graphics, try_init_device, try_init_setup};
use cubecl::device::WgpuDeviceKind;
use gnr_burn::{Burn, Precision, Wgpu};
use gnr_nn::{Arithmetic, Autodiff};

use crate::vulkan::vulkan;

#[test]
fn memory_that_the_device_does_not_have_is_an_error() {
    let b = vulkan();
    let x = b.constant(&[1.0], &[1, 1]).unwrap();
    // 2⁴⁵ bytes are more than any card has; the broadcast itself takes none.
    let wide = b.broadcast(&x, &[1 << 21, 1 << 22]).unwrap();
    let error = b.to_host(&b.affine(&wide, 2.0, 0.0).unwrap()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("burn: download of [2097152, 4194304] on "), "{text}");
    // The backend still works.
    assert_eq!(b.to_host(&b.affine(&x, 2.0, 1.0).unwrap()).unwrap(), [3.0]);
}

#[test]
fn a_device_that_is_lost_is_an_error() {
    // A device of the test's own, which it destroys like a driver that resets.
    let selector = WgpuDevice { kind: WgpuDeviceKind::DefaultDevice, backend: WgpuBackend::Vulkan };
    let setup = try_init_setup::<graphics::Vulkan>(&selector, RuntimeOptions::default()).unwrap();
    let handle = setup.device.clone();
    let device = try_init_device(setup, RuntimeOptions::default()).unwrap();
    let b = Burn::<Wgpu>::on(device.into(), Precision::F32).unwrap();
    let x = b.constant(&[1.0, 2.0], &[2]).unwrap();
    assert_eq!(b.to_host(&x).unwrap(), [1.0, 2.0]);
    handle.destroy();
    let _ = handle.poll(burn_wgpu::wgpu::PollType::wait_indefinitely());
    let error = b.affine(&x, 2.0, 0.0).and_then(|y| b.to_host(&y)).unwrap_err().to_string();
    assert!(error.contains("the device was lost"), "{error}");
}
