//! Images as the batches of a [`DataOracle`](gnr_nn::DataOracle): from a data set, or from the tensors of a file.

use gnr_core::{Error as CoreError, Result as CoreResult};
use gnr_data::Loader;
use gnr_nn::{Autodiff, Batch, Batches};

/// The images of a loader, uploaded a batch at a time. Takes the memory of one batch, whatever their number.
pub struct LoadedBatches<'a, B> {
    backend: B,
    loader: &'a Loader,
}

impl<'a, B: Autodiff> LoadedBatches<'a, B> {
    /// Visits every image of `loader` once, in its order for epoch 0.
    pub fn new(backend: &B, loader: &'a Loader) -> Self {
        Self { backend: backend.clone(), loader }
    }
}

impl<B: Autodiff> Batches<B> for LoadedBatches<'_, B> {
    fn num_samples(&self) -> usize {
        self.loader.images_per_epoch()
    }
    fn num_batches(&self) -> usize {
        self.loader.batches_per_epoch()
    }
    fn visit(&mut self, f: &mut dyn FnMut(usize, &Batch<B>) -> CoreResult<()>) -> CoreResult<()> {
        for (index, batch) in self.loader.epoch(0, 0).map_err(CoreError::backend)?.enumerate() {
            let mut batch = batch.map_err(CoreError::backend)?;
            let images = self.backend.upload(&batch.images, &batch.shape)?;
            f(index, &Batch::new(images, std::mem::take(&mut batch.labels)))?;
            self.loader.recycle(batch);
        }
        Ok(())
    }
}

/// Problems from other programs: floating-point images and labels in a safetensors file.
pub mod tensors {
    use std::{fs, path::Path};

    use gnr_core::Result as CoreResult;
    use gnr_nn::{Autodiff, Batch};
    use safetensors::{Dtype, SafeTensors, tensor::TensorView};

    use crate::error::{Result, TrainError, io};

    /// Images `x` `[N, C, H, W]` (or `[N, D]`) and labels `y` `[N]`, without any normalisation.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Tensors {
        name: String,
        pixels: Vec<f32>,
        /// The label of each image, `[N]`.
        pub labels: Vec<usize>,
        /// The shape `[C, H, W]` of an image.
        pub shape: [usize; 3],
        /// Number of classes: one more than the largest label, and at least 10.
        pub classes: usize,
        /// CRC-32C of the file.
        pub checksum: String,
    }

    /// Reads `x` (F32 or F64) and `y` (I64 or I32) of a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged; tensors that are missing, of another type, or do not fit each other.
    /// Each error names the file.
    pub fn read(path: &Path) -> Result<Tensors> {
        let bytes = fs::read(path).map_err(io(path, "read"))?;
        let problem = |problem: String| TrainError::Checkpoint { path: path.to_path_buf(), problem };
        let file = SafeTensors::deserialize(&bytes).map_err(|error| problem(error.to_string()))?;
        let tensor = |name: &str| {
            file.tensor(name).map_err(|_| problem(format!("no tensor `{name}`: images `x` and labels `y`")))
        };
        let (x, y) = (tensor("x")?, tensor("y")?);
        let wrong = |name: &str, tensor: &TensorView<'_>, expected: &str| {
            problem(format!(
                "tensor `{name}` is {:?} {:?}, expected {expected}",
                tensor.dtype(),
                tensor.shape()
            ))
        };
        let (samples, shape) = match *x.shape() {
            [n, c, h, w] => (n, [c, h, w]),
            [n, d] => (n, [d, 1, 1]),
            _ => return Err(wrong("x", &x, "[N, C, H, W] or [N, D]")),
        };
        let pixels: Vec<f32> = match x.dtype() {
            Dtype::F32 => x.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F64 => x.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
            _ => return Err(wrong("x", &x, "F32 or F64")),
        };
        let labels: Vec<i64> = match y.dtype() {
            Dtype::I64 => y.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            Dtype::I32 => y.data().as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect(),
            _ => return Err(wrong("y", &y, "I64 or I32")),
        };
        if labels.len() != samples || samples == 0 {
            return Err(wrong("y", &y, &format!("{samples} labels, at least one")));
        }
        if let Some(index) = pixels.iter().position(|pixel| !pixel.is_finite()) {
            return Err(problem(format!("element {index} of `x` is {}", pixels[index])));
        }
        let labels: Vec<usize> = labels
            .into_iter()
            .map(|label| usize::try_from(label).map_err(|_| problem(format!("label {label} in `y`"))))
            .collect::<Result<_>>()?;
        let classes = labels.iter().max().map_or(0, |max| max + 1).max(10);
        let checksum = format!("{:08x}", crc32c::crc32c(&bytes));
        Ok(Tensors { name: path.display().to_string(), pixels, labels, shape, classes, checksum })
    }

    impl Tensors {
        /// The images, described in words.
        pub fn describe(&self) -> String {
            let [c, h, w] = self.shape;
            format!("tensors of {}: {} images, {c}x{h}x{w}", self.name, self.labels.len())
        }
        /// Copies the images to the device, `batch_size` at a time.
        ///
        /// # Errors
        /// A failure of the backend.
        pub fn upload<B: Autodiff>(&self, backend: &B, batch_size: usize) -> CoreResult<Vec<Batch<B>>> {
            let [c, h, w] = self.shape;
            let step = batch_size.max(1);
            (self.labels.chunks(step).zip(self.pixels.chunks(step * c * h * w)))
                .map(|(labels, pixels)| {
                    let images = backend.upload(pixels, &[labels.len(), c, h, w])?;
                    Ok(Batch::new(images, labels.to_vec()))
                })
                .collect()
        }
    }
}
