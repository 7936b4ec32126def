//! Batches in a reproducible order, decoded ahead of the training by worker threads.

mod config;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

pub use config::{LoaderConfig, Order, Remainder, Share};

use crate::augment::{Augmentation, Place};
use crate::batch::Batch;
use crate::dataset::{Dataset, Image};
use crate::error::{DataError, Result};
use crate::random::permutation;

/// Makes the batches of any epoch of a data set.
///
/// The images of a batch, their order and their variation are pure functions of the configuration, the epoch and the
/// batch number. A run resumed in the middle of an epoch gets the batches of an uninterrupted one, whatever the number
/// of threads.
pub struct Loader {
    source: Arc<Source>,
    config: LoaderConfig,
}

/// The parts of a loader that its workers share.
struct Source {
    dataset: Arc<dyn Dataset>,
    augment: Augmentation,
    augment_seed: u64,
    tables: Vec<[f32; 256]>,
    recycled: Mutex<Vec<Vec<f32>>>,
    keep: usize,
}

impl Loader {
    /// Makes a loader over `dataset`.
    ///
    /// # Errors
    /// [`DataError::Config`] for a batch size of 0, for one larger than the data set while the remainder is dropped,
    /// for workers without prefetching, for a normalisation of another number of channels, and for a padding as large
    /// as the image. [`DataError::NoImages`] for an empty data set.
    pub fn new(dataset: Arc<dyn Dataset>, mut config: LoaderConfig) -> Result<Self> {
        let (len, shape) = (dataset.len(), dataset.shape());
        if len == 0 {
            return Err(DataError::NoImages {
                path: dataset.describe().into(),
                reason: "the data set is empty".into(),
            });
        }
        if config.batch_size == 0 {
            return Err(DataError::config("batch_size", 0, "must be at least 1"));
        }
        if config.remainder == Remainder::Drop && config.batch_size > len {
            return Err(DataError::config(
                "batch_size",
                config.batch_size,
                format!("larger than the data set ({len} images) while incomplete batches are dropped"),
            ));
        }
        if config.workers > 0 && config.prefetch == 0 {
            return Err(DataError::config("prefetch", 0, "must be at least 1 when there are workers"));
        }
        // A worker without a batch to make would have no effect.
        config.prefetch = config.prefetch.max(config.workers);
        config.share.check()?;
        config.augment.check(shape)?;
        let tables = config.normalization.tables(shape[0])?;
        let source = Arc::new(Source {
            dataset,
            augment: config.augment,
            augment_seed: config.augment_seed,
            tables,
            recycled: Mutex::default(),
            keep: config.prefetch + 1,
        });
        Ok(Self { source, config })
    }

    /// The data set that the loader reads.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.source.dataset
    }

    /// The configuration of the loader, with at least as many batches ahead as there are workers.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Number of batches of an epoch in the loader's share: all of them except with [`Share::OfBatches`].
    pub fn batches_per_epoch(&self) -> usize {
        self.config.share.batches(self.batches_in_all())
    }

    /// Number of images of an epoch in the loader's share.
    pub fn images_per_epoch(&self) -> usize {
        let (len, size) = (self.source.dataset.len(), self.config.batch_size);
        let batches = (0..self.batches_per_epoch()).map(|k| self.config.share.number(k));
        batches.map(|number| self.config.share.within(size.min(len - number * size)).len()).sum()
    }

    fn batches_in_all(&self) -> usize {
        let (len, size) = (self.source.dataset.len(), self.config.batch_size);
        match self.config.remainder {
            Remainder::Keep => len.div_ceil(size),
            Remainder::Drop => len / size,
        }
    }

    /// The batches of epoch `epoch`, from batch `start_batch` on: 0 gives a whole epoch, a number beyond the end none.
    ///
    /// Worker threads start now. They end with the iterator, also when it is dropped midway. An error comes in place of
    /// its batch, and the iteration can continue after it.
    ///
    /// # Errors
    /// [`DataError::Io`] when the system refuses a thread. An item is an error where an image cannot be decoded.
    pub fn epoch(&self, epoch: u64, start_batch: usize) -> Result<Epoch> {
        let len = self.source.dataset.len();
        let order = match self.config.order {
            Order::Sequential => (0..len).collect(),
            Order::Shuffled { seed } => permutation(len, seed, epoch),
        };
        let plan = Plan {
            order,
            batch_size: self.config.batch_size,
            next: start_batch,
            end: self.batches_per_epoch(),
            epoch,
            share: self.config.share,
            blends: self.config.augment.mix.is_some(),
        };
        let workers = self.config.workers.min(plan.remaining());
        let pool = match workers {
            0 => None,
            _ => Some(Pool::start(&self.source, workers)?),
        };
        let mut epoch = Epoch {
            source: Arc::clone(&self.source),
            plan,
            pool,
            pending: VecDeque::with_capacity(self.config.prefetch),
        };
        for _ in 0..self.config.prefetch {
            epoch.order_next();
        }
        Ok(epoch)
    }

    /// Returns the memory of a batch that is no longer needed, to be used for a later one. Calling it is optional.
    pub fn recycle(&self, batch: Batch) {
        // A poisoned lock only means that a thread died between push and pop: the list itself is intact.
        let mut recycled = self.source.recycled.lock().unwrap_or_else(PoisonError::into_inner);
        if recycled.len() < self.source.keep {
            recycled.push(batch.images);
        }
    }
}

impl Source {
    fn batch(&self, job: &Job, cancelled: &AtomicBool) -> Result<Batch> {
        let [channels, height, width] = self.dataset.shape();
        let size = channels * height * width;
        let recycled = self.recycled.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut images = recycled.unwrap_or_default();
        images.resize(job.indices.len() * size, 0.0);
        let mut labels = Vec::with_capacity(job.indices.len());
        for (&index, out) in job.indices.iter().zip(images.chunks_exact_mut(size)) {
            if cancelled.load(Ordering::Relaxed) {
                break; // nobody will receive this batch
            }
            let image = self.image(index)?;
            let place = Place { seed: self.augment_seed, epoch: job.epoch, index };
            self.augment.render(image, [channels, height, width], place, &self.tables, out);
            labels.push(self.dataset.label(index)?);
        }
        let mut indices = job.indices.clone();
        let mut mixed = None;
        // A cancelled batch has fewer labels than images.
        if let Some(mix) = self.augment.mix
            && labels.len() == job.indices.len()
            && job.whole > 1
        {
            let blend = mix.draw(self.augment_seed, job.epoch, job.number, height, width);
            mixed = blend.map(|blend| blend.apply(&mut images, &labels, &indices, height, width));
        }
        if job.partner_first && labels.len() == indices.len() {
            images.drain(..size);
            labels.remove(0);
            indices.remove(0);
            if let Some(mixed) = &mut mixed {
                mixed.labels.remove(0);
                mixed.indices.remove(0);
            }
        }
        Ok(Batch { images, labels, shape: [indices.len(), channels, height, width], indices, mixed })
    }

    /// The image that the augmentation needs: of the data set's shape, or of published size where crops are cut from
    /// it.
    fn image(&self, index: usize) -> Result<Image<'_>> {
        let expected = self.dataset.shape();
        let (image, fits) = match self.augment.crop {
            Some(_) => {
                let image = self.dataset.original(index)?;
                let fits = image.channels == expected[0] && image.check().is_ok();
                (image, fits)
            }
            None => {
                let image = self.dataset.image(index)?;
                let fits = image.shape() == expected && image.check().is_ok();
                (image, fits)
            }
        };
        if !fits {
            return Err(DataError::SizeMismatch {
                path: format!("{}, image {index}", self.dataset.describe()).into(),
                expected,
                found: image.shape(),
            });
        }
        Ok(image)
    }

    /// Makes a batch like [`Source::batch`]; a panic of the user's data set becomes an error in place of the batch.
    fn guarded(&self, job: &Job, cancelled: &AtomicBool) -> Result<Batch> {
        catch_unwind(AssertUnwindSafe(|| self.batch(job, cancelled))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(DataError::WorkerPanic { batch: job.number, message })
        })
    }
}

/// The batches of an epoch that have not been made yet.
struct Plan {
    order: Vec<usize>,
    batch_size: usize,
    next: usize,
    end: usize,
    epoch: u64,
    share: Share,
    blends: bool,
}

struct Job {
    number: usize,
    epoch: u64,
    indices: Vec<usize>,
    /// Number of images of the whole batch.
    whole: usize,
    /// Whether the first image is outside of the share, and is only there because the second is blended with it.
    partner_first: bool,
}

impl Plan {
    fn remaining(&self) -> usize {
        self.end.saturating_sub(self.next)
    }

    fn take(&mut self) -> Option<Job> {
        if self.remaining() == 0 {
            return None;
        }
        let number = self.share.number(self.next);
        self.next += 1;
        let start = number * self.batch_size;
        let batch = &self.order[start..self.order.len().min(start + self.batch_size)];
        let own = self.share.within(batch.len());
        let mut indices = batch[own.clone()].to_vec();
        // A part of a blended batch needs the partner of its first image.
        let partner_first = self.blends && !own.is_empty() && own.len() < batch.len();
        if partner_first {
            indices.insert(0, batch[(own.start + batch.len() - 1) % batch.len()]);
        }
        Some(Job { number, epoch: self.epoch, indices, whole: batch.len(), partner_first })
    }
}

type Reply = Sender<Result<Batch>>;

/// Worker threads of one epoch. They take jobs in order and answer each on its own channel.
struct Pool {
    jobs: Option<Sender<(Job, Reply)>>,
    threads: Vec<JoinHandle<()>>,
    cancelled: Arc<AtomicBool>,
}

impl Pool {
    fn start(source: &Arc<Source>, workers: usize) -> Result<Self> {
        // The queue is unbounded but never holds more than `prefetch` jobs: one is added for each batch received.
        let (jobs, queue) = unbounded::<(Job, Reply)>();
        let mut pool = Self {
            jobs: Some(jobs),
            threads: Vec::with_capacity(workers),
            cancelled: Arc::new(AtomicBool::new(false)),
        };
        for worker in 0..workers {
            let (source, queue) = (Arc::clone(source), queue.clone());
            let cancelled = Arc::clone(&pool.cancelled);
            let work = move || {
                for (job, reply) in queue {
                    let batch = source.guarded(&job, &cancelled);
                    // A closed channel means that the iterator was dropped: nobody wants the batch.
                    let _ = reply.send(batch);
                }
            };
            let thread = std::thread::Builder::new().name(format!("gnr-data-{worker}")).spawn(work);
            pool.threads.push(thread.map_err(|source| DataError::Io {
                path: format!("loader worker {worker}").into(),
                action: "start a thread",
                source,
            })?);
        }
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.jobs = None; // closes the queue: workers end after the job at hand
        for thread in self.threads.drain(..) {
            // Panics of the data set were caught and reported at their batch.
            let _ = thread.join();
        }
    }
}

/// Iterator over the batches of one epoch, in order; made by [`Loader::epoch`].
pub struct Epoch {
    source: Arc<Source>,
    plan: Plan,
    pool: Option<Pool>,
    pending: VecDeque<(usize, Receiver<Result<Batch>>)>,
}

impl Epoch {
    /// Sends the workers their next job, if there are workers and a job.
    fn order_next(&mut self) {
        let Some(jobs) = self.pool.as_ref().and_then(|pool| pool.jobs.as_ref()) else { return };
        let Some(job) = self.plan.take() else { return };
        let (reply, batch) = bounded(1);
        self.pending.push_back((job.number, batch));
        // Sending fails only when every worker is gone; `next` then finds the reply channel closed.
        let _ = jobs.send((job, reply));
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.pool.is_none() {
            let job = self.plan.take()?;
            return Some(self.source.guarded(&job, &AtomicBool::new(false)));
        }
        let (number, reply) = self.pending.pop_front()?;
        let batch = reply.recv().unwrap_or_else(|_| {
            Err(DataError::WorkerPanic { batch: number, message: "the worker thread is gone".into() })
        });
        self.order_next();
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.plan.remaining() + self.pending.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch {}
