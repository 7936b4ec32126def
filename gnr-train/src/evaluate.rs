//! Loss and accuracy of a model on a data set.

use gnr_data::Loader;
use gnr_nn::{Autodiff, Buffers, Model, ParamVector, predict};
use serde::Serialize;

use crate::error::{Result, TrainError};

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// Fraction of images whose largest logit is at the label (top-1).
    pub accuracy: f64,
    /// Number of those.
    pub correct: u64,
    /// Images in all.
    pub images: u64,
    /// For each class, in the order of labels.
    pub classes: Vec<ClassResult>,
}

/// One class of an [`Evaluation`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassResult {
    /// Its name.
    pub name: String,
    /// Correct predictions.
    pub correct: u64,
    /// Images of the class.
    pub images: u64,
}

/// Evaluates in eval mode. `progress` hears the number of images done, and of how many.
///
/// # Errors
/// Images that cannot be read, shapes that do not fit, logits that are not finite.
///
/// # Cost
/// One forward pass of every image.
pub fn evaluate<M: Model, B: Autodiff>(
    model: &M,
    backend: &B,
    params: &ParamVector<B>,
    buffers: &Buffers<B>,
    loader: &Loader,
    mut progress: impl FnMut(usize, usize),
) -> Result<Evaluation> {
    let dataset = loader.dataset();
    let mut classes: Vec<_> = (dataset.classes().iter())
        .map(|name| ClassResult { name: name.clone(), correct: 0, images: 0 })
        .collect();
    let (mut loss, mut done) = (0.0, 0);
    for batch in loader.epoch(0, 0)? {
        let batch = batch?;
        let images = backend.upload(&batch.images, &batch.shape)?;
        let logits = predict(model, backend, params, buffers, &images)?;
        let width = logits.len() / batch.len().max(1);
        for ((row, &label), &index) in logits.chunks(width.max(1)).zip(&batch.labels).zip(&batch.indices) {
            if let Some(&value) = row.iter().find(|logit| !logit.is_finite()) {
                return Err(TrainError::NonFiniteLogits { what: dataset.describe(), image: index, value });
            }
            let (Some(&own), Some(class)) = (row.get(label), classes.get_mut(label)) else {
                let classes = row.len();
                return Err(gnr_nn::Error::LabelOutOfRange { index, label, classes }.into());
            };
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            loss += top + row.iter().map(|logit| (logit - top).exp()).sum::<f64>().ln() - own;
            class.images += 1;
            // The first of equal logits counts, as in training.
            class.correct += u64::from(row.iter().position(|&logit| logit == top) == Some(label));
        }
        done += batch.len();
        loader.recycle(batch);
        progress(done, dataset.len());
    }
    let correct = classes.iter().map(|class| class.correct).sum();
    let images = (done as f64).max(1.0);
    Ok(Evaluation {
        loss: loss / images,
        accuracy: correct as f64 / images,
        correct,
        images: done as u64,
        classes,
    })
}
