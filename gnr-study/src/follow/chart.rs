//! The charts of a run, each of which has curves of one unit.

use gnr_train::EpochMetrics;

use super::log::{Log, StepMetrics};

/// The kinds of charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// L̂ on training, validation and test images, nats.
    Loss,
    /// Accuracy on the same images, per cent.
    Accuracy,
    /// The mean estimate of each regulariser.
    Penalties,
    /// The gradient norm ‖∇L̂(θ_t)‖.
    GradNorm,
    /// The learning rate η_t.
    LearningRate,
    /// Steps a second, without evaluations.
    StepRate,
}

/// The horizontal axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Across {
    /// Epochs, with fractions for logged steps.
    #[default]
    Epoch,
    /// Steps from the start.
    Step,
    /// Seconds of wall-clock time spent on the run, evaluations included.
    Seconds,
}

impl Across {
    /// The title of the axis.
    pub fn title(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Step => "step",
            Self::Seconds => "seconds",
        }
    }

    /// The next axis; the first one follows the last.
    pub fn next(self) -> Self {
        match self {
            Self::Epoch => Self::Step,
            Self::Step => Self::Seconds,
            Self::Seconds => Self::Epoch,
        }
    }
}

/// One curve of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The name: the images that were measured (`train`, `test`, …), the regulariser, or the kind of value.
    pub name: String,
    /// Place on the axis and value, finite, in the order of time.
    pub points: Vec<[f64; 2]>,
}

/// Largest number of points in a curve of logged steps. If there are more, means of neighbours are drawn.
const STEPS_DRAWN: usize = 1000;

impl Chart {
    /// All charts, in the order of the keys 1, 2, ….
    pub const ALL: [Self; 6] =
        [Self::Loss, Self::Accuracy, Self::Penalties, Self::GradNorm, Self::LearningRate, Self::StepRate];

    /// The title for an axis or a heading, with the unit.
    pub fn title(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy, %",
            Self::Penalties => "regularisers' values",
            Self::GradNorm => "gradient norm",
            Self::LearningRate => "learning rate",
            Self::StepRate => "steps a second",
        }
    }

    /// The curves of a run; those without a point are left out. The curve that a comparison of runs looks at comes
    /// first.
    pub fn curves(self, log: &Log, across: Across) -> Vec<Curve> {
        let epochs = log.epochs();
        let places = places(log, across);
        let of = |name: &str, value: &dyn Fn(&EpochMetrics) -> Option<f64>| Curve {
            name: name.to_owned(),
            points: epochs.iter().zip(&places).filter_map(|(epoch, x)| finite(*x, value(epoch)?)).collect(),
        };
        let steps = |name: &str, value: &dyn Fn(&StepMetrics) -> f64| Curve {
            name: name.to_owned(),
            points: steps(log, across, value),
        };
        let percent = |value: Option<f64>| value.map(|fraction| 100.0 * fraction);
        let curves = match self {
            Self::Loss => vec![
                of("test", &|epoch| epoch.test_loss),
                of("train", &|epoch| Some(epoch.train_loss)),
                of("validation", &|epoch| epoch.val_loss),
                of("test, averaged weights", &|epoch| epoch.average_test_loss),
                steps("train, steps", &|step| step.loss),
            ],
            Self::Accuracy => vec![
                of("test", &|epoch| percent(epoch.test_accuracy)),
                of("train", &|epoch| percent(Some(epoch.train_accuracy))),
                of("validation", &|epoch| percent(epoch.val_accuracy)),
                of("test, averaged weights", &|epoch| percent(epoch.average_test_accuracy)),
                of("wrong labels fitted", &|epoch| percent(epoch.train_accuracy_flipped)),
            ],
            Self::Penalties => {
                let mut names: Vec<&String> =
                    epochs.iter().flat_map(|epoch| epoch.penalties.keys()).collect();
                names.sort();
                names.dedup();
                names.into_iter().map(|name| of(name, &|epoch| epoch.penalties.get(name).copied())).collect()
            }
            Self::GradNorm => vec![
                of("mean of the epoch", &|epoch| Some(epoch.grad_norm)),
                steps("steps", &|step| step.grad_norm),
            ],
            Self::LearningRate => vec![
                of("end of the epoch", &|epoch| Some(epoch.learning_rate)),
                steps("steps", &|step| step.learning_rate),
            ],
            Self::StepRate => {
                let mut before = log.steps_before();
                let points = epochs.iter().zip(&places).filter_map(|(epoch, x)| {
                    let steps = epoch.step.saturating_sub(std::mem::replace(&mut before, epoch.step));
                    finite(*x, steps as f64 / epoch.train_seconds.unwrap_or(epoch.seconds))
                });
                vec![Curve { name: "mean of the epoch".into(), points: points.collect() }]
            }
        };
        curves.into_iter().filter(|curve| !curve.points.is_empty()).collect()
    }
}

fn finite(x: f64, y: f64) -> Option<[f64; 2]> {
    (x.is_finite() && y.is_finite()).then_some([x, y])
}

/// The position of each epoch on an axis.
fn places(log: &Log, across: Across) -> Vec<f64> {
    let mut seconds = 0.0;
    let place = |epoch: &EpochMetrics| match across {
        Across::Epoch => epoch.epoch as f64,
        Across::Step => epoch.step as f64,
        Across::Seconds => {
            seconds += epoch.seconds;
            seconds
        }
    };
    log.epochs().iter().map(place).collect()
}

/// The points of logged steps on an axis; empty where their positions are not known.
fn steps(log: &Log, across: Across, value: &dyn Fn(&StepMetrics) -> f64) -> Vec<[f64; 2]> {
    let each = match across {
        Across::Epoch => steps_per_epoch(log).map(|steps| steps as f64),
        Across::Step => Some(1.0),
        Across::Seconds => None,
    };
    let Some(each) = each else { return Vec::new() };
    let points = log.steps().iter().filter_map(|step| finite(step.step as f64 / each, value(step)));
    let points: Vec<[f64; 2]> = points.collect();
    let neighbours = points.len().div_ceil(STEPS_DRAWN).max(1);
    let mean = |part: &[[f64; 2]]| {
        let sum = part.iter().fold([0.0, 0.0], |sum, [x, y]| [sum[0] + x, sum[1] + y]);
        sum.map(|sum| sum / part.len() as f64)
    };
    points.chunks(neighbours).map(mean).collect()
}

/// Number of steps of an epoch, once the log shows it.
pub(super) fn steps_per_epoch(log: &Log) -> Option<u64> {
    let of_epoch = log.epochs().last().map(|last| (last.step, last.epoch));
    let of_step = log
        .steps()
        .last()
        .map(|last| (last.step - last.step_in_epoch.min(last.step), last.epoch.saturating_sub(1)));
    of_epoch
        .or(of_step)
        .filter(|(steps, epochs)| *steps > 0 && *epochs > 0)
        .map(|(steps, epochs)| steps / epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"
{"kind":"step","step":10,"epoch":1,"step_in_epoch":10,"loss":2.5,"mean_accuracy":0.1,"learning_rate":0.1,"grad_norm":3.0}
{"kind":"epoch","epoch":1,"step":20,"train_loss":2.0,"train_accuracy":0.25,"learning_rate":0.1,"grad_norm":1.0,"penalties":{"gnr":0.5},"seconds":5.0,"train_seconds":4.0}
{"kind":"step","step":30,"epoch":2,"step_in_epoch":10,"loss":1.5,"mean_accuracy":0.3,"learning_rate":0.1,"grad_norm":2.0}
{"kind":"epoch","epoch":2,"step":40,"train_loss":1.0,"train_accuracy":0.5,"test_loss":1.25,"test_accuracy":0.375,"learning_rate":0.05,"grad_norm":0.5,"penalties":{"gnr":0.25,"sam":4.0},"seconds":10.0}
"#;

    fn curves(chart: Chart, across: Across) -> Vec<(String, Vec<[f64; 2]>)> {
        chart.curves(&Log::of(LINES), across).into_iter().map(|curve| (curve.name, curve.points)).collect()
    }

    #[test]
    fn curves_have_what_was_measured_and_nothing_else() {
        let named = |name: &str, points: &[[f64; 2]]| (name.to_owned(), points.to_vec());
        assert_eq!(
            curves(Chart::Loss, Across::Epoch),
            [
                named("test", &[[2.0, 1.25]]),
                named("train", &[[1.0, 2.0], [2.0, 1.0]]),
                named("train, steps", &[[0.5, 2.5], [1.5, 1.5]]),
            ]
        );
        assert_eq!(
            curves(Chart::Accuracy, Across::Step),
            [named("test", &[[40.0, 37.5]]), named("train", &[[20.0, 25.0], [40.0, 50.0]])]
        );
        assert_eq!(
            curves(Chart::Penalties, Across::Seconds),
            [named("gnr", &[[5.0, 0.5], [15.0, 0.25]]), named("sam", &[[15.0, 4.0]])]
        );
        assert_eq!(curves(Chart::StepRate, Across::Epoch)[0].1, [[1.0, 5.0], [2.0, 2.0]]);
        assert_eq!(curves(Chart::GradNorm, Across::Seconds).len(), 1, "steps have no place in time");
        assert_eq!(curves(Chart::LearningRate, Across::Step)[1].1, [[10.0, 0.1], [30.0, 0.1]]);
    }

    #[test]
    fn a_log_without_the_first_epochs_has_the_rate_of_those_it_has() {
        let log = Log::of(LINES.lines().last().unwrap());
        assert_eq!(Chart::StepRate.curves(&log, Across::Epoch)[0].points, [[2.0, 2.0]]);
    }

    #[test]
    fn steps_of_the_first_epoch_are_drawn_over_steps() {
        let log = Log::of(LINES.lines().nth(1).unwrap());
        assert_eq!(Chart::Loss.curves(&log, Across::Epoch), []);
        assert_eq!(Chart::Loss.curves(&log, Across::Step)[0].points, [[10.0, 2.5]]);
    }

    #[test]
    fn many_steps_become_means_of_neighbours() {
        let line = |step: u64| {
            format!(
                "{{\"kind\":\"step\",\"step\":{step},\"epoch\":1,\"step_in_epoch\":{step},\"loss\":{},\"mean_accuracy\":0.5,\
                 \"learning_rate\":0.1,\"grad_norm\":1.0}}\n",
                step % 2
            )
        };
        let log = Log::of(&(1..=4000).map(line).collect::<String>());
        let points = &Chart::Loss.curves(&log, Across::Step)[0].points;
        assert_eq!(points.len(), 1000);
        assert_eq!((points[0], points[999]), ([2.5, 0.5], [3998.5, 0.5]));
    }
}
