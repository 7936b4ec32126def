//! Loading LibTorch's CUDA library while the program runs, so that one program serves machines with and without cards.
//!
//! The program is linked with LibTorch's CPU library alone. LibTorch's CUDA library registers its kernels when it is
//! loaded, which is done when a card is asked for.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use gnr_nn::{Error, Result};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

const NAME: &str = "libtorch_cuda.so";

/// What loading said; the library stays loaded to the end of the program.
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
