//! The inputs of a forward pass: backend, parameters, running statistics, mode.

use crate::{AcrossRanks, Autodiff, Backend, BatchStats, BufferId, Error, Layout, MaskSeed, ParamId, Result};

/// Selects the behaviour of BatchNorm, dropout and stochastic depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch, through which derivatives flow, and random masks.
    Train,
    /// Running statistics as constants, and no masks.
    Eval,
}

/// The state of one forward pass. It gives layers the running statistics, and collects those of the batch.
pub struct Context<'a, B: Backend> {
    /// The backend on which operations run.
    pub backend: &'a B,
    /// Training or evaluation mode.
    pub mode: Mode,
    params: &'a [B::Tensor],
    buffers: &'a [B::Tensor],
    /// Whether each parameter is frozen; empty if none is.
    frozen: &'a [bool],
    collected: Vec<Collected<B::Tensor>>,
    masks: Option<MaskSeed>,
    /// Number of masks drawn so far.
    drawn: u64,
    /// The place of each sample in the whole batch; `None` if the masks' seed knows the places.
    places: Option<&'a [usize]>,
    across: Option<&'a AcrossRanks>,
}

/// The statistics of the batch at one BatchNorm layer in a training pass.
#[derive(Clone, Debug)]
pub(crate) struct Collected<T> {
    pub(crate) mean: BufferId,
    pub(crate) var: BufferId,
    pub(crate) stats: BatchStats<T>,
    /// Number of elements per channel, N·H·W.
    pub(crate) count: usize,
    pub(crate) momentum: f64,
}

impl<'a, B: Backend> Context<'a, B> {
    /// A context over parameters and buffers in the order of the model's layout.
    pub fn new(backend: &'a B, params: &'a [B::Tensor], buffers: &'a [B::Tensor], mode: Mode) -> Self {
        let (collected, masks, drawn, places, across) = (Vec::new(), None, 0, None, None);
        Self { backend, mode, params, buffers, frozen: &[], collected, masks, drawn, places, across }
    }
    /// Declares the images to be a part of a batch that ranks share. Batch statistics are then those of the whole
    /// batch.
    pub fn with_ranks(mut self, across: impl Into<Option<&'a AcrossRanks>>) -> Self {
        self.across = across.into();
        self
    }
    /// The ranks over which batch statistics are taken; `None` if the images are the whole batch.
    pub fn across(&self) -> Option<&'a AcrossRanks> {
        self.across
    }
    /// Marks the frozen parameters, with one mark for each parameter.
    pub fn with_frozen(mut self, mask: &'a [bool]) -> Self {
        self.frozen = mask;
        self
    }
    /// The mode of a normalisation with this weight: a frozen one uses its running statistics in every mode.
    pub fn norm_mode(&self, weight: ParamId) -> Mode {
        if self.frozen.get(weight.0) == Some(&true) { Mode::Eval } else { self.mode }
    }
    /// Sets the seed from which random masks are drawn.
    pub fn with_masks(mut self, seed: impl Into<Option<MaskSeed>>) -> Self {
        self.masks = seed.into();
        self
    }
    /// Declares the samples to be some of a batch, at these places; their masks are those that they have in the batch.
    pub(crate) fn with_places(mut self, places: Option<&'a [usize]>) -> Self {
        self.places = places;
        self
    }
    /// Begins after the first `drawn` masks of the pass, which a part of the model that does not run has drawn.
    pub(crate) fn with_drawn(mut self, drawn: u64) -> Self {
        self.drawn = drawn;
        self
    }
    /// Number of masks drawn so far.
    pub(crate) fn drawn(&self) -> u64 {
        self.drawn
    }
    /// The next mask of this pass: `len` factors, 1/`keep` with probability `keep`, else 0. Passes with equal seeds
    /// draw equal masks in equal order.
    ///
    /// # Errors
    /// When there is no seed.
    pub fn mask(&mut self, keep: f64, len: usize) -> Result<Vec<f64>> {
        let seed = self.masks.ok_or_else(|| {
            Error::Invalid(
                "dropout in train mode needs a seed for its masks (with_masks), and there is none".into(),
            )
        })?;
        self.drawn += 1;
        Ok(match self.places {
            Some(places) => seed.draw_at(self.drawn - 1, keep, len, places),
            None => seed.draw(self.drawn - 1, keep, len),
        })
    }
    /// The tensor of a parameter.
    pub fn param(&self, id: ParamId) -> &'a B::Tensor {
        &self.params[id.0]
    }
    /// The tensor of a running statistic.
    pub fn buffer(&self, id: BufferId) -> &'a B::Tensor {
        &self.buffers[id.0]
    }
    /// Collects the statistics of a batch for the running averages.
    pub fn collect(
        &mut self,
        mean: BufferId,
        var: BufferId,
        stats: BatchStats<B::Tensor>,
        count: usize,
        momentum: f64,
    ) {
        self.collected.push(Collected { mean, var, stats, count, momentum });
    }
    pub(crate) fn into_collected(self) -> Vec<Collected<B::Tensor>> {
        self.collected
    }
}

/// The running statistics of a model, on the device.
#[derive(Clone, Debug)]
pub struct Buffers<B: Backend> {
    /// The tensors, in the order of the layout's buffers.
    pub tensors: Vec<B::Tensor>,
}

impl<B: Autodiff> Buffers<B> {
    /// Buffers with the layout's initial values (mean 0, variance 1).
    ///
    /// # Errors
    /// A failure of the backend.
    pub fn initial(layout: &Layout, backend: &B) -> Result<Self> {
        let tensors = layout
            .buffers()
            .map(|entry| {
                let crate::Role::Buffer(value) = entry.role else { unreachable!("filtered by role") };
                backend.constant(&vec![value; entry.len()], &entry.shape)
            })
            .collect::<Result<_>>()?;
        Ok(Self { tensors })
    }

    /// Buffers from host data, in the order of the layout's buffers.
    ///
    /// # Errors
    /// When the number of tensors or a length does not fit the layout.
    pub fn from_host(backend: &B, layout: &Layout, values: &[Vec<f64>]) -> Result<Self> {
        let (expected, found) = (layout.num_buffers(), values.len());
        if expected != found {
            let message = format!("{found} running statistics given, the model has {expected}");
            return Err(crate::Error::Invalid(message));
        }
        let tensors = (layout.buffers().zip(values))
            .map(|(entry, values)| backend.constant(values, &entry.shape))
            .collect::<Result<_>>()?;
        Ok(Self { tensors })
    }

    /// Replaces the statistics by their mean over the ranks that share a batch, weighted by the ranks' shares. These
    /// are the running statistics of a batch whose parts were each normalised on their own.
    ///
    /// # Errors
    /// The errors of the collective; a failure of the backend.
    pub fn average(&mut self, backend: &B, across: &AcrossRanks) -> gnr_core::Result<()> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        let mean = across.mean(backend.pack(&self.tensors)?)?;
        self.tensors = backend.unpack(&mean, &self.tensors)?;
        Ok(())
    }

    /// Copies the tensors to the host, in layout order; for checkpoints and tests.
    ///
    /// # Errors
    /// A failure of the backend.
    pub fn to_host(&self, backend: &B) -> Result<Vec<Vec<f64>>> {
        self.tensors.iter().map(|tensor| backend.to_host(tensor)).collect()
    }

    /// Updates running ← (1−m)·running + m·batch, with the unbiased batch variance, as PyTorch does.
    pub(crate) fn update(&mut self, backend: &B, collected: Vec<Collected<B::Tensor>>) -> Result<()> {
        for Collected { mean, var, stats, count, momentum } in collected {
            let unbias = count as f64 / (count as f64 - 1.0).max(1.0);
            for (id, batch, factor) in [(mean, &stats.mean, 1.0), (var, &stats.var, unbias)] {
                let running = &mut self.tensors[id.0];
                backend.scale(running, 1.0 - momentum)?;
                backend.axpy(running, momentum * factor, batch)?;
            }
        }
        Ok(())
    }
}
