//! A CUDA driver, cuBLAS and NVRTC in one library that compute nothing and count what a program asks of them.
//!
//! `cargo xtask cuda-build --count` builds the library and runs `counted_steps` with it in place of NVIDIA's. When the
//! program ends, the counts are written to the file that `GNR_CUDA_COUNTS` names, as TOML.
//!
//! Device memory is a range of addresses that nobody reads or writes, so that a step of any size fits into any machine.
//! Every number that is copied to the host is 1 in single precision.
#![allow(unsafe_code)]
#![allow(non_snake_case, reason = "the names are NVIDIA's")]
// SAFETY of every block in this file: a caller follows CUDA's interface. So a pointer to a result, or to the host's
// side of a copy, is valid for as many bytes as CUDA would write.

use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_void},
    fmt::Write as _,
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What CUDA's functions return when they succeed.
const SUCCESS: c_int = 0;
/// A handle that nobody looks into.
const HANDLE: *mut c_void = ptr::dangling_mut::<u64>().cast();
/// The first address of device memory, and the multiple of every address.
const FIRST: u64 = 1 << 40;
const ALIGNMENT: u64 = 512;
/// A copy of this many bytes and fewer is a list of lengths and strides, or a single number.
const SMALL: usize = 256;

/// Everything that is counted.
struct Counts {
    kernels: Vec<(String, u64)>,
    named: Vec<(&'static str, u64)>,
    sizes: Option<HashMap<u64, u64>>,
    next: u64,
    live: u64,
    peak: u64,
}

static COUNTS: Mutex<Counts> =
    Mutex::new(Counts { kernels: Vec::new(), named: Vec::new(), sizes: None, next: FIRST, live: 0, peak: 0 });

fn counts() -> MutexGuard<'static, Counts> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds to the count of this name.
fn count(name: &'static str, by: u64) -> c_int {
    let mut counts = counts();
    match counts.named.iter_mut().find(|(known, _)| *known == name) {
        Some((_, count)) => *count += by,
        None => counts.named.push((name, by)),
    }
    SUCCESS
}

/// Writes a result.
fn give<T>(to: *mut T, value: T) -> c_int {
    unsafe { to.write(value) };
    SUCCESS
}

extern "C" fn write_counts() {
    let Some(path) = std::env::var_os("GNR_CUDA_COUNTS") else { return };
    let counts = counts();
    let mut text = format!("peak_bytes = {}\n", counts.peak);
    for (name, count) in &counts.named {
        let _ = writeln!(text, "{name} = {count}");
    }
    let _ = writeln!(text, "kernels = {}", counts.kernels.iter().map(|(_, count)| count).sum::<u64>());
    for (name, count) in &counts.kernels {
        let _ = writeln!(text, "\"kernel {name}\" = {count}");
    }
    if let Err(error) = std::fs::write(&path, text) {
        eprintln!("cannot write {}: {error}", path.display());
    }
}

unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> c_int;
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: u32) -> c_int {
    static REGISTERED: std::sync::Once = std::sync::Once::new();
    REGISTERED.call_once(|| {
        unsafe { atexit(write_counts) };
    });
    SUCCESS
}
/// NVIDIA's own NVRTC asks the driver for tables of functions, and does without: CUDA_ERROR_NOT_FOUND.
#[unsafe(no_mangle)]
extern "C" fn cuGetExportTable(_table: *mut *const c_void, _name: *const c_void) -> c_int {
    500
}
#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> c_int {
    give(device, ordinal)
}
#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(number: *mut c_int) -> c_int {
    give(number, 1)
}
/// Every attribute is 1: among them the one that says that memory comes from pools.
#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: *mut c_int, _attribute: c_int, _device: c_int) -> c_int {
    give(value, 1)
}
#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) -> c_int {
    give(context, HANDLE)
}
#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCurrent(context: *mut *mut c_void) -> c_int {
    give(context, HANDLE)
}
#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(stream: *mut *mut c_void, _flags: u32) -> c_int {
    give(stream, HANDLE)
}
#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(event: *mut *mut c_void, _flags: u32) -> c_int {
    give(event, HANDLE)
}
#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadData(module: *mut *mut c_void, _image: *const c_void) -> c_int {
    count("modules", 1);
    give(module, HANDLE)
}

/// Functions that only have to succeed, and those of which only their number counts. Callers in C clear the arguments
/// away, so these need not know them.
macro_rules! succeed {
    ($($name:ident $(counts $count:literal)?;)+) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name() -> c_int {
            $(count($count, 1);)?
            SUCCESS
        })+
    };
}

succeed! {
    cuCtxSetCurrent;
    cuDevicePrimaryCtxRelease_v2;
    cuStreamDestroy_v2;
    cuEventDestroy_v2;
    cuModuleUnload;
    cuEventRecord counts "events";
    cuStreamWaitEvent counts "events";
    cuStreamSynchronize counts "waits";
    cublasDestroy_v2;
    cublasSetStream_v2;
    cublasSgemm_v2 counts "products";
    cublasDgemm_v2 counts "products";
    cublasSgemmStridedBatched counts "products";
    cublasDgemmStridedBatched counts "products";
    cublasSgemv_v2 counts "products";
    cublasDgemv_v2 counts "products";
    nvrtcCompileProgram counts "compilations";
    nvrtcDestroyProgram;
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocAsync(address: *mut u64, bytes: usize, _stream: *mut c_void) -> c_int {
    // dfdx asks for no bytes where a handle needs some address.
    count(if bytes == 0 { "empty_allocations" } else { "allocations" }, 1);
    let mut counts = counts();
    let (at, bytes) = (counts.next, bytes as u64);
    counts.next += bytes.max(1).next_multiple_of(ALIGNMENT);
    counts.live += bytes;
    counts.peak = counts.peak.max(counts.live);
    counts.sizes.get_or_insert_default().insert(at, bytes);
    give(address, at)
}
#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(address: u64, _stream: *mut c_void) -> c_int {
    let mut counts = counts();
    let bytes = counts.sizes.get_or_insert_default().remove(&address);
    counts.live -= bytes.unwrap_or(0);
    SUCCESS
}
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(_to: u64, _from: *const c_void, bytes: usize, _: *mut c_void) -> c_int {
    count("bytes_to_device", bytes as u64);
    count(if bytes <= SMALL { "small_copies_to_device" } else { "large_copies_to_device" }, 1)
}
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, _from: u64, bytes: usize, _: *mut c_void) -> c_int {
    for (at, byte) in 1.0_f32.to_ne_bytes().into_iter().cycle().take(bytes).enumerate() {
        unsafe { to.cast::<u8>().add(at).write(byte) };
    }
    count("bytes_to_host", bytes as u64);
    count("copies_to_host", 1)
}
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(_to: u64, _from: u64, bytes: usize, _stream: *mut c_void) -> c_int {
    count("bytes_on_device", bytes as u64);
    count("copies_on_device", 1)
}
#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(_at: u64, _value: u8, bytes: usize, _stream: *mut c_void) -> c_int {
    count("bytes_set", bytes as u64);
    count("sets", 1)
}

/// A kernel's handle is its place in the list, from 1.
#[unsafe(no_mangle)]
extern "C" fn cuModuleGetFunction(
    function: *mut *mut c_void,
    _module: *mut c_void,
    name: *const c_char,
) -> c_int {
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let mut counts = counts();
    let known = counts.kernels.iter().position(|(known, _)| *known == name);
    let place = known.unwrap_or_else(|| {
        counts.kernels.push((name.into_owned(), 0));
        counts.kernels.len() - 1
    });
    give(function, ptr::without_provenance_mut(place + 1))
}
/// Counts the kernel. The other arguments, its sizes and operands, are left with the caller.
#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernel(function: *mut c_void) -> c_int {
    match counts().kernels.get_mut(function.addr().wrapping_sub(1)) {
        Some((_, count)) => *count += 1,
        // CUDA_ERROR_INVALID_HANDLE.
        None => return 400,
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cublasCreate_v2(handle: *mut *mut c_void) -> c_int {
    give(handle, HANDLE)
}
#[unsafe(no_mangle)]
extern "C" fn nvrtcCreateProgram(handle: *mut *mut c_void) -> c_int {
    give(handle, HANDLE)
}
#[unsafe(no_mangle)]
extern "C" fn nvrtcGetPTXSize(_program: *mut c_void, size: *mut usize) -> c_int {
    give(size, 1)
}
/// A compiled program is an empty text.
#[unsafe(no_mangle)]
extern "C" fn nvrtcGetPTX(_program: *mut c_void, text: *mut c_char) -> c_int {
    give(text, 0)
}
