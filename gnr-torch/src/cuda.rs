//! Loads LibTorch's CUDA library at run time, so that one program serves machines with and without cards. Also sets
//! whether cards multiply in TF32, for which tch has no function.
//!
//! The program is linked with LibTorch's CPU library alone. LibTorch's CUDA library registers its kernels when it is
//! loaded, which is done when a card is asked for.
#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use gnr_nn::{Error, Result};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

const NAME: &str = "libtorch_cuda.so";

/// The library, or the loader's error. The library stays loaded to the end of the program.
static LOADED: OnceLock<std::result::Result<Library, String>> = OnceLock::new();

/// Whether the library was asked for and found.
pub(crate) fn is_loaded() -> bool {
    matches!(LOADED.get(), Some(Ok(_)))
}

/// Number of cards that LibTorch sees.
///
/// # Errors
/// When the library is not found, with the loader's words.
pub(crate) fn cards() -> Result<usize> {
    // SAFETY: the library is LibTorch's own. Its initialisers register kernels with the LibTorch that is loaded, which
    // synchronises registrations, and expect nothing of the caller.
    let load = || unsafe { Library::open(Some(NAME), RTLD_LAZY | RTLD_GLOBAL) };
    match LOADED.get_or_init(|| load().map_err(|error| error.to_string())) {
        Ok(_) => Ok(usize::try_from(tch::Cuda::device_count()).unwrap_or(0)),
        Err(error) => Err(Error::Invalid(format!(
            "{NAME} cannot be loaded ({error}); it comes with PyTorch's wheel and LibTorch's CUDA archive: put its folder \
             into LD_LIBRARY_PATH"
        ))),
    }
}

/// The TF32 setting of the whole process: whether TF32 units of cards multiply numbers of 32 bits. All that compute in
/// such numbers on a card share one handle.
#[derive(Debug)]
pub(crate) struct Multiplier {
    tf32: bool,
}

/// The setting, while a handle of it exists.
static HELD: Mutex<Weak<Multiplier>> = Mutex::new(Weak::new());

impl Multiplier {
    /// Makes the setting `tf32` and returns a handle of it. While a handle exists, the setting cannot change.
    ///
    /// # Errors
    /// When a handle of the other setting exists; when LibTorch has no such setting.
    pub(crate) fn claim(tf32: bool) -> Result<Arc<Self>> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.upgrade() {
            if held.tf32 == tf32 {
                return Ok(held);
            }
            let [found, asked] =
                [held.tf32, tf32].map(|tf32| if tf32 { "with TF32" } else { "without TF32" });
            return Err(Error::Invalid(format!(
                "this process computes {found} on a card, and the setting is one for all of it: compute {asked} in another process"
            )));
        }
        set_tf32(tf32)?;
        let new = Arc::new(Self { tf32 });
        *held = Arc::downgrade(&new);
        Ok(new)
    }
}

/// LibTorch's function `at::globalContext()`.
// SAFETY: it takes nothing and may be called at any time.
type GlobalContext = unsafe extern "C" fn() -> *mut c_void;
/// LibTorch's methods `at::Context::setAllowTF32CuDNN(bool)` and `setAllowTF32CuBLAS(bool)`.
// SAFETY: the pointer is that of `at::globalContext()`.
type Set = unsafe extern "C" fn(*mut c_void, bool);
/// LibTorch's method `at::Context::allowTF32CuBLAS() const`.
// SAFETY: the pointer is that of `at::globalContext()`.
#[cfg(test)]
type Get = unsafe extern "C" fn(*const c_void) -> bool;

/// Mangled names of LibTorch's C++ functions: `at::globalContext()` here, the setters of its context below.
const CONTEXT: &str = "_ZN2at13globalContextEv";
const SETTERS: [&str; 2] = ["_ZN2at7Context17setAllowTF32CuDNNEb", "_ZN2at7Context18setAllowTF32CuBLASEb"];

/// A function of the LibTorch that this program is linked with.
fn function<F: Copy>(name: &str) -> Result<F> {
    let program = Library::this();
    // SAFETY: `F` is the type of the function called `name`, which the callers pair; LibTorch stays loaded to the end
    // of the program, so the pointer outlives the handle.
    let found = unsafe { program.get::<F>(name.as_bytes()).map(|symbol| *symbol) };
    found.map_err(|error| {
        Error::Invalid(format!(
            "LibTorch has no function {name} ({error}): a version other than the one this crate is written for"
        ))
    })
}

/// Lets convolutions and matrix products of 32 bits use TF32 on cards, or not.
fn set_tf32(allowed: bool) -> Result<()> {
    let context: GlobalContext = function(CONTEXT)?;
    for name in SETTERS {
        let set: Set = function(name)?;
        // SAFETY: LibTorch is linked with this program, its context lives as long as the process, and the setter takes
        // the context and a bool. Others that set it hold the lock of `HELD`.
        unsafe { set(context(), allowed) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What LibTorch says about matrix products.
    fn tf32() -> bool {
        let context: GlobalContext = function(CONTEXT).unwrap();
        let get: Get = function("_ZNK2at7Context15allowTF32CuBLASEv").unwrap();
        // SAFETY: as in `set_tf32`; the getter takes the context alone.
        unsafe { get(context()) }
    }

    /// The setting is LibTorch's own, card or no card.
    #[test]
    fn one_setting_is_held_by_all_and_another_is_refused() {
        // Without a call a linker may leave LibTorch out of this test.
        crate::set_threads(1);
        let exact = [Multiplier::claim(false).unwrap(), Multiplier::claim(false).unwrap()];
        assert!(!tf32());
        let error = Multiplier::claim(true).unwrap_err().to_string();
        assert!(
            error.contains("computes without TF32 on a card") && error.contains("another process"),
            "{error}"
        );
        drop(exact);
        let fast = Multiplier::claim(true).unwrap();
        assert!(tf32());
        assert!(Multiplier::claim(false).unwrap_err().to_string().contains("computes with TF32"));
        drop(fast);
        Multiplier::claim(false).unwrap();
        assert!(!tf32());
        assert!(function::<Set>("_ZN2at7Context7absentEb").unwrap_err().to_string().contains("absentEb"));
    }
}
