//! Loss and accuracy of a model on a data set.

use std::hash::{DefaultHasher, Hash, Hasher};

use gnr_data::Loader;
use gnr_nn::{Autodiff, Buffers, Model, ParamVector, predict};
use serde::Serialize;

use crate::{
    error::{Result, TrainError},
    team::Team,
};

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// Top-1 accuracy: the fraction of images whose largest logit is at the label.
    pub accuracy: f64,
    /// Number of images whose largest logit is at the label.
    pub correct: u64,
    /// Top-5 accuracy: the fraction of images whose label is among the five largest logits. `None` for models of at
    /// most five classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5_accuracy: Option<f64>,
    /// Top-1 accuracy when only the logits of the data set's classes compete; `None` unless the model may have other
    /// classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_among_classes: Option<f64>,
    /// Number of images in all.
    pub images: u64,
    /// Whether all images, at least two, got the same logits, bit for bit, so that the network cannot distinguish
    /// images.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub collapsed: bool,
    /// The results of the classes, in the order of labels.
    pub classes: Vec<ClassResult>,
}

/// One class of an [`Evaluation`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassResult {
    /// Name of the class.
    pub name: String,
    /// Number of correct predictions.
    pub correct: u64,
    /// Number of images of the class.
    pub images: u64,
}

/// Evaluates a model in eval mode. `progress` is called with the number of images done and their total number.
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
    progress: impl FnMut(usize, usize),
) -> Result<Evaluation> {
    evaluate_mapped(model, backend, params, buffers, loader, None, progress)
}

/// Evaluates like [`evaluate`], on several ranks: the loader of each rank has a part of the images.
///
/// # Errors
/// The errors of [`evaluate`], equal on every rank.
pub(crate) fn evaluate_in<M: Model, B: Autodiff>(
    team: &Team,
    model: &M,
    backend: &B,
    params: &ParamVector<B>,
    buffers: &Buffers<B>,
    loader: &Loader,
    progress: impl FnMut(usize, usize),
) -> Result<Evaluation> {
    let counted = count(model, backend, params, buffers, loader, None, progress);
    Ok(Counted::of_ranks(team, counted)?.evaluation(false))
}

/// Evaluates a model that may have other classes than the data set: `logits_of[label]` is the index of a class's logit.
/// `None`: the classes are equal.
///
/// # Errors
/// The errors of [`evaluate`].
///
/// # Cost
/// The cost of [`evaluate`].
pub fn evaluate_mapped<M: Model, B: Autodiff>(
    model: &M,
    backend: &B,
    params: &ParamVector<B>,
    buffers: &Buffers<B>,
    loader: &Loader,
    logits_of: Option<&[usize]>,
    progress: impl FnMut(usize, usize),
) -> Result<Evaluation> {
    Ok(count(model, backend, params, buffers, loader, logits_of, progress)?.evaluation(logits_of.is_some()))
}

/// Sums over images, or over a rank's part of them.
pub(crate) struct Counted {
    loss: f64,
    in_top5: u64,
    among: u64,
    /// Number of the model's classes.
    known: usize,
    /// Number of images counted.
    done: usize,
    logits: Logits,
    classes: Vec<ClassResult>,
}

/// Whether all images so far got the same logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logits {
    /// No image has been seen.
    Unseen,
    /// Every image got logits of this fingerprint.
    Equal(u64),
    /// Two images got different logits.
    Different,
}

impl Logits {
    /// The fingerprint of the logits of an image. It has 52 bits, so that an `f64` holds it exactly.
    fn of(row: &[f64]) -> Self {
        let mut hasher = DefaultHasher::new();
        row.iter().for_each(|logit| logit.to_bits().hash(&mut hasher));
        Self::Equal(hasher.finish() >> 12)
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unseen, known) | (known, Self::Unseen) => known,
            (Self::Equal(a), Self::Equal(b)) if a == b => self,
            _ => Self::Different,
        }
    }

    /// Encodes the state as a number, for the exchange with other ranks.
    fn to_number(self) -> f64 {
        match self {
            Self::Unseen => -1.0,
            Self::Equal(fingerprint) => fingerprint as f64,
            Self::Different => -2.0,
        }
    }

    fn from_number(number: f64) -> Self {
        if number == -1.0 {
            Self::Unseen
        } else if number < 0.0 {
            Self::Different
        } else {
            Self::Equal(number as u64)
        }
    }
}

impl Counted {
    /// The sums over the images of all ranks.
    ///
    /// # Errors
    /// The error of the first rank that failed, on every rank.
    pub(crate) fn of_ranks(team: &Team, own: Result<Self>) -> Result<Self> {
        let own = team.agree(own)?;
        if team.size() == 1 {
            return Ok(own);
        }
        let whole = |x: f64| x as u64;
        let of_classes = own.classes.iter().flat_map(|class| [class.correct as f64, class.images as f64]);
        let sums = [
            own.loss,
            own.in_top5 as f64,
            own.among as f64,
            own.known as f64,
            own.done as f64,
            own.logits.to_number(),
        ];
        let (_, all) = team.agree_with(Ok(()), &sums.into_iter().chain(of_classes).collect::<Vec<_>>())?;
        let sum = |at: usize| all.iter().map(|row| row[at]).sum::<f64>();
        let mut classes = own.classes;
        for (k, class) in classes.iter_mut().enumerate() {
            (class.correct, class.images) = (whole(sum(6 + 2 * k)), whole(sum(7 + 2 * k)));
        }
        Ok(Self {
            loss: sum(0),
            in_top5: whole(sum(1)),
            among: whole(sum(2)),
            // A rank without images has seen no logits.
            known: all.iter().map(|row| whole(row[3])).max().unwrap_or(0) as usize,
            done: whole(sum(4)) as usize,
            logits: all.iter().map(|row| Logits::from_number(row[5])).fold(Logits::Unseen, Logits::and),
            classes,
        })
    }

    /// The evaluation that these sums make. `mapped`: the model may have other classes than the data set.
    pub(crate) fn evaluation(self, mapped: bool) -> Evaluation {
        let Self { loss, in_top5, among, known, done, logits, classes } = self;
        let correct = classes.iter().map(|class| class.correct).sum();
        let images = (done as f64).max(1.0);
        Evaluation {
            loss: loss / images,
            accuracy: correct as f64 / images,
            correct,
            top5_accuracy: (known > 5).then_some(in_top5 as f64 / images),
            accuracy_among_classes: mapped.then_some(among as f64 / images),
            images: done as u64,
            collapsed: done > 1 && matches!(logits, Logits::Equal(_)),
            classes,
        }
    }
}

/// Sums over the images of a loader, which has a part of each batch on each rank.
///
/// # Errors
/// The errors of [`evaluate`].
pub(crate) fn count<M: Model, B: Autodiff>(
    model: &M,
    backend: &B,
    params: &ParamVector<B>,
    buffers: &Buffers<B>,
    loader: &Loader,
    logits_of: Option<&[usize]>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Counted> {
    let dataset = loader.dataset();
    let (mut in_top5, mut among, mut known) = (0_u64, 0_u64, 0);
    let mut classes: Vec<_> = (dataset.classes().iter())
        .map(|name| ClassResult { name: name.clone(), correct: 0, images: 0 })
        .collect();
    let (mut loss, mut done, mut seen) = (0.0, 0, Logits::Unseen);
    for batch in loader.epoch(0, 0)? {
        let batch = batch?;
        if batch.is_empty() {
            continue; // fewer images than ranks
        }
        let images = backend.upload(&batch.images, &batch.shape)?;
        let logits = predict(model, backend, params, buffers, &images)?;
        let width = logits.len() / batch.len().max(1);
        for ((row, &label), &index) in logits.chunks(width.max(1)).zip(&batch.labels).zip(&batch.indices) {
            if let Some(&value) = row.iter().find(|logit| !logit.is_finite()) {
                return Err(TrainError::NonFiniteLogits { what: dataset.describe(), image: index, value });
            }
            let target = logits_of.map_or(Some(label), |map| map.get(label).copied());
            let own = target.and_then(|target| row.get(target).copied());
            let (Some(target), Some(own), Some(class)) = (target, own, classes.get_mut(label)) else {
                let classes = row.len();
                return Err(gnr_nn::Error::LabelOutOfRange { index, label, classes }.into());
            };
            known = row.len();
            if seen != Logits::Different {
                seen = seen.and(Logits::of(row));
            }
            // Among equal logits the first one is ahead.
            let ahead = |other: usize| row[other] > own || (row[other] == own && other < target);
            let rank = (0..row.len()).filter(|&other| ahead(other)).take(5).count();
            in_top5 += u64::from(rank < 5);
            if let Some(map) = logits_of {
                among += u64::from(!map.iter().any(|&other| row.get(other).is_some() && ahead(other)));
            }
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            loss += top + row.iter().map(|logit| (logit - top).exp()).sum::<f64>().ln() - own;
            class.images += 1;
            // The first of equal logits counts, as in training.
            class.correct += u64::from(rank == 0);
        }
        done += batch.len();
        loader.recycle(batch);
        progress(done, loader.images_per_epoch());
    }
    Ok(Counted { loss, in_top5, among, known, done, logits: seen, classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_equal_only_if_all_images_and_all_ranks_have_them() {
        let [a, b] = [&[0.5, -1.0][..], &[0.5, f64::from_bits((-1.0_f64).to_bits() + 1)]].map(Logits::of);
        assert_eq!((Logits::Unseen.and(a), a.and(a), a.and(Logits::Unseen)), (a, a, a));
        assert_eq!((a.and(b), a.and(b).and(a)), (Logits::Different, Logits::Different), "one bit apart");
        for logits in [Logits::Unseen, a, b, Logits::Different] {
            assert_eq!(Logits::from_number(logits.to_number()), logits);
        }
    }
}
