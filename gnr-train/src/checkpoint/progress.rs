//! The position of a run, as checkpoints keep it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::summary::Best;

/// The position of a run: everything but vectors. Data order and augmentation are pure functions of this and the
/// recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of steps done.
    pub step: u64,
    /// Number of epochs completed, evaluation included.
    pub epoch: u64,
    /// Number of batches done in the current epoch.
    pub batch: u64,
    /// Sums over the batches of the current epoch so far.
    pub sums: Sums,
    /// The best epoch so far, if there is one.
    pub best: Option<Best>,
    /// Number of gradients computed, in units of a whole batch.
    #[serde(serialize_with = "whole")]
    pub gradient_evaluations: f64,
    /// Number of Hessian-vector (or Gauss–Newton) products computed, in units of a whole batch.
    #[serde(serialize_with = "whole")]
    pub products: f64,
    /// Number of forward passes without a gradient, in units of a whole batch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forward_passes: u64,
    /// The unbroken series of evaluations, up to the last one, in which every image got the same logits. `None` if
    /// logits differed in the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse: Option<Collapse>,
    /// The times at which the run was given more epochs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// The times at which the run continued on another backend or device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
    /// The commits of the programs that trained the run, one after the other. Empty where no commit was known at build
    /// time; begins with `unknown` where an older program, which recorded none, began the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
}

/// Whether a count is 0 and therefore left out of files. Files without such passes then have the text that they had
/// before the key existed.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Writes a count as a whole number if it is one, so that only counts of parts of batches have another text than
/// before.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn whole<S: Serializer>(count: &f64, to: S) -> Result<S::Ok, S::Error> {
    if count.fract() == 0.0 && (0.0..MOST as f64).contains(count) {
        to.serialize_u64(*count as u64)
    } else {
        to.serialize_f64(*count)
    }
}

/// The largest count that a checkpoint may hold.
const MOST: u64 = 1 << 53;

impl Progress {
    /// Records the program that trains from here on. Returns a warning if another one trained until here.
    pub(crate) fn trained_by(&mut self, commit: Option<&str>) -> Option<String> {
        let commit = match commit {
            Some(commit) => commit,
            None if self.commits.is_empty() => return None,
            None => "unknown",
        };
        if self.commits.is_empty() && self.step > 0 {
            self.commits.push("unknown".into());
        }
        let before = self.commits.last().cloned();
        if before.as_deref() == Some(commit) {
            return None;
        }
        self.commits.push(commit.to_owned());
        Some(format!(
            "warning: the program of commit {} trained until here, and that of commit {commit} goes on: the result may \
             differ from that of either by itself",
            before?
        ))
    }

    /// Refuses counts above 2⁵³. No run reaches them, and adding to them could overflow.
    pub(super) fn check(&self) -> Result<(), String> {
        let Sums { correct, images, flipped, .. } = &self.sums;
        let counts = [
            ("step", self.step),
            ("epoch", self.epoch),
            ("batch", self.batch),
            ("forward_passes", self.forward_passes),
            ("sums.correct", *correct),
            ("sums.images", *images),
            ("sums.flipped.images", flipped.images),
            ("sums.flipped.correct", flipped.correct),
        ];
        let penalties = self.sums.penalties.iter().map(|(name, (_, steps))| (name.as_str(), *steps));
        let shares = [("gradient_evaluations", self.gradient_evaluations), ("products", self.products)];
        if let Some((name, count)) = shares.iter().find(|(_, count)| !(0.0..=MOST as f64).contains(count)) {
            return Err(format!("expected 0 to {MOST} as `{name}`, found {count}"));
        }
        match counts.into_iter().chain(penalties).find(|(_, count)| *count > MOST) {
            Some((name, count)) => Err(format!("expected at most {MOST} as `{name}`, found {count}")),
            None => Ok(()),
        }
    }
}

/// Successive evaluations, the last one among them, in which every image got the same logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collapse {
    /// Number of epochs done at the first of them.
    pub at_epoch: u64,
    /// Number of these evaluations.
    pub evaluations: u64,
}

impl Collapse {
    /// Adds an evaluation after `epoch` epochs to the series `before`, or begins a series.
    pub(crate) fn again(before: Option<Self>, epoch: u64) -> Self {
        let Self { at_epoch, evaluations } = before.unwrap_or(Self { at_epoch: epoch, evaluations: 0 });
        Self { at_epoch, evaluations: evaluations.saturating_add(1) }
    }
}

/// A change of a run's number of epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Number of epochs done at that moment.
    pub at_epoch: u64,
    /// Number of epochs before the change.
    pub from: u64,
    /// Number of epochs after the change.
    pub to: u64,
}

/// A change of a run's backend or device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Number of steps done at that moment.
    pub at_step: u64,
    /// Backend and device before the change, as in `cpu on cpu`.
    pub from: String,
    /// Backend and device after the change, as in `torch on cuda:0`.
    pub to: String,
}

/// Sums over the batches of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Sum of loss · images over the batches.
    pub loss: f64,
    /// Number of correct predictions.
    pub correct: u64,
    /// Number of images.
    pub images: u64,
    /// Sum of ‖∇L̂‖ over the steps.
    pub grad_norm: f64,
    /// Sum of the values, and number of steps, of each regulariser.
    pub penalties: BTreeMap<String, (f64, u64)>,
    /// Counts of the images whose label is wrong on purpose; left out where there was none.
    #[serde(default, skip_serializing_if = "Flipped::is_none")]
    pub flipped: Flipped,
}

/// Counts of images with flipped labels in an epoch so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flipped {
    /// Number of images with a flipped label.
    pub images: u64,
    /// Number of correct predictions of flipped labels.
    pub correct: u64,
}

impl Flipped {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints without counts of noise are read, and those of runs without noise have not changed.
    #[test]
    fn sums_without_noise_are_written_as_before() {
        let text = r#"{"loss":1.5,"correct":3,"images":8,"grad_norm":0.5,"penalties":{"gnr":[0.25,2]}}"#;
        let sums: Sums = serde_json::from_str(text).unwrap();
        assert_eq!((sums.correct, sums.flipped), (3, Flipped::default()));
        assert_eq!(serde_json::to_string(&sums).unwrap(), text);
        let noisy = Sums { flipped: Flipped { images: 4, correct: 1 }, ..sums };
        let again: Sums = serde_json::from_str(&serde_json::to_string(&noisy).unwrap()).unwrap();
        assert_eq!(again, noisy);
    }

    #[test]
    fn every_program_that_trained_is_recorded_once() {
        let mut progress = Progress::default();
        assert_eq!(progress.trained_by(None), None);
        assert_eq!(progress.trained_by(Some("a")), None, "the run begins");
        progress.step = 3;
        assert_eq!(progress.trained_by(Some("a")), None);
        assert_eq!(progress.commits, ["a"]);
        let told = progress.trained_by(Some("b")).unwrap();
        assert!(told.contains("commit a trained until here, and that of commit b goes on"), "{told}");
        assert_eq!(progress.commits, ["a", "b"]);
        assert!(progress.trained_by(None).is_some());
        assert_eq!(progress.commits, ["a", "b", "unknown"]);
        // A run of a program that recorded nothing.
        let mut progress = Progress { step: 3, ..Progress::default() };
        assert!(progress.trained_by(Some("b")).unwrap().contains("commit unknown"));
        assert_eq!(progress.commits, ["unknown", "b"]);
    }
}
