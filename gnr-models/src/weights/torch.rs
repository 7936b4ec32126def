//! PyTorch checkpoints: containers of a pickle and of the storages that its tensors are views of.

mod classes;
mod legacy;
mod read;
mod storage;
mod tensor;
mod walk;
mod zipped;

pub(super) use legacy::open as open_pickle;
pub(super) use read::Checkpoint;
pub(super) use zipped::open as open_zip;
