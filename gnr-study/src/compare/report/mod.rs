//! A comparison as a report: tables, differences, curves, and in words what they support.

mod headline;
mod tuning;

use std::{collections::BTreeSet, path::Path};

use gnr_plot::{Axis, Content, Figure, Lines, Panel, Series, inline_svg, render};
use gnr_train::write_atomically;

use super::{
    outcome::{ArmResult, Comparison, Difference, RunResult},
    tune::in_words,
};
use crate::{
    error::{Result, io},
    report::{Block, Document},
    statistics::Summary,
};

/// Writes `compare.json`, `compare.md`, `compare.html` and the curves.
pub(super) fn write(found: &Comparison, folder: &Path) -> Result<()> {
    let path = folder.join("compare.json");
    let json = serde_json::to_string_pretty(found).map_err(|e| io(&path, "write")(e.into()))?;
    write_atomically(&path, (json + "\n").as_bytes())?;
    let figure = found.figure();
    let drawn = render(&figure)?;
    write_atomically(&folder.join("curves.svg"), drawn.svg.as_bytes())?;
    write_atomically(&folder.join("curves.png"), &drawn.png)?;
    // The page gets a smaller figure, whose letters are as large as the page's and can be read on a phone.
    let figure = Figure { panel_size: [480, 320], title: String::new(), ..figure };
    found.document(&inline_svg(&figure)?).write(folder, "compare")?;
    Ok(())
}

impl Comparison {
    /// The report for the terminal: the tables and the words.
    pub fn terminal(&self) -> String {
        let blocks = [
            vec![self.accuracies()],
            self.collapsed().into_iter().collect(),
            self.difference_blocks(),
            self.sharpness_blocks(),
            self.tuning_blocks(),
            self.failure_blocks(),
            vec![Block::Paragraph(self.headline())],
        ];
        Document { title: format!("comparison of methods: {}", self.name), blocks: blocks.concat() }
            .terminal()
    }

    fn document(&self, svg: &str) -> Document {
        let mut blocks = vec![Block::Paragraph(self.headline())];
        if self.arms.iter().any(|arm| (1..3).contains(&arm.runs.len())) {
            blocks.push(Block::Caveat(
                "Fewer than three seeds: intervals are very wide. --seeds 5 and more says how sure a difference is.".into(),
            ));
        }
        blocks.push(Block::Heading("Accuracy and cost".into()));
        blocks.push(self.accuracies());
        blocks.extend(self.collapsed());
        blocks.push(Block::Paragraph(
            "Accuracy on the test images after the last epoch, mean ± sample standard deviation over seeds. The best epoch is chosen \
             by the test images and is therefore optimistic. Labels fitted are accuracies on training images in the last epoch, those \
             with wrong labels apart. Work is gradients + Hessian-vector products of a batch. Seconds are of training without \
             evaluation, several runs side by side: for orientation."
                .into(),
        ));
        blocks.extend(self.difference_blocks());
        blocks.push(Block::Paragraph(
            "Pairs share seed, initialisation, order of the data and wrong labels. Intervals are Student's t, each for itself; the \
             reading takes all comparisons of a table together (Holm's correction at 5 %)."
                .into(),
        ));
        blocks.push(Block::Figure { caption: "Test accuracy, mean over seeds".into(), svg: svg.to_owned() });
        blocks.extend(self.between_blocks());
        blocks.extend(self.sharpness_blocks());
        blocks.extend(self.tuning_blocks());
        blocks.extend(self.failure_blocks());
        blocks.push(Block::Heading("Origin".into()));
        blocks.push(Block::Facts(self.facts()));
        blocks.push(Block::Log {
            title: "The recipe that every method changes".into(),
            text: self.recipe.clone(),
        });
        Document { title: format!("Comparison of methods: {}", self.name), blocks }
    }

    fn accuracies(&self) -> Block {
        let noisy =
            self.arms.iter().flat_map(|arm| &arm.runs).any(|run| run.train_accuracy_flipped.is_some());
        let mut header = vec!["method", "test %", "best epoch %"];
        if noisy {
            header.extend(["wrong labels fitted %", "right ones %"]);
        }
        header.extend(["work a step", "seconds", "seeds"]);
        let percent = |arm: &ArmResult, value: fn(&RunResult) -> Option<f64>| {
            let of = arm.over_seeds(|run| Some(100.0 * value(run)?));
            of.map_or_else(|| "–".into(), |summary| format!("{summary:.1}"))
        };
        let row = |arm: &ArmResult| {
            let mut row = vec![
                arm.title.clone(),
                percent(arm, |run| Some(run.test_accuracy)),
                percent(arm, |run| Some(run.best_test_accuracy)),
            ];
            if noisy {
                row.push(percent(arm, |run| run.train_accuracy_flipped));
                row.push(percent(arm, |run| run.train_accuracy_untouched));
            }
            row.extend(match work(arm) {
                Some([gradients, products, seconds]) if products > 0.0 => {
                    [format!("{gradients:.1} + {products:.1}"), format!("{seconds:.1}")]
                }
                Some([gradients, _, seconds]) => [format!("{gradients:.1}"), format!("{seconds:.1}")],
                None => ["–".into(), "–".into()],
            });
            row.push(arm.runs.len().to_string());
            row
        };
        Block::Table {
            header: header.into_iter().map(str::to_owned).collect(),
            rows: self.arms.iter().map(row).collect(),
        }
    }

    /// The runs that ended with one output for all images.
    fn collapsed(&self) -> Option<Block> {
        let of = |arm: &ArmResult| {
            let seeds = arm.runs.iter().filter_map(|run| Some((run.seed, run.collapsed_at_epoch?)));
            let seeds: Vec<String> =
                seeds.map(|(seed, epoch)| format!("seed {seed} from epoch {epoch} on")).collect();
            (!seeds.is_empty()).then(|| format!("{} ({})", arm.title, seeds.join(", ")))
        };
        let arms: Vec<String> = self.arms.iter().filter_map(of).collect();
        (!arms.is_empty()).then(|| {
            Block::Caveat(format!(
                "Runs that collapsed, so that every image gets the same output, and that count in the means: {}.",
                arms.join("; ")
            ))
        })
    }

    /// The differences of every method to the first.
    fn difference_blocks(&self) -> Vec<Block> {
        self.difference_table("Paired differences in test accuracy", &self.differences())
    }

    /// The differences of the other methods to each other: "is GNR better than SAM?".
    fn between_blocks(&self) -> Vec<Block> {
        self.difference_table("Paired differences between the other methods", &self.differences_between())
    }

    fn difference_table(&self, heading: &str, differences: &[Difference]) -> Vec<Block> {
        if differences.is_empty() {
            return Vec::new();
        }
        let rows = differences.iter().map(|difference| {
            vec![
                format!("{} − {}", operand(&self.arms[difference.arm]), operand(&self.arms[difference.base])),
                format!("{:+.1}", difference.points.mean),
                interval(&difference.points),
                difference.points.n.to_string(),
                difference.verdict.to_string(),
            ]
        });
        let header = ["same seeds", "points", "95 % interval", "pairs", "reading"];
        vec![
            Block::Heading(heading.into()),
            Block::Table { header: header.map(String::from).to_vec(), rows: rows.collect() },
        ]
    }

    fn sharpness_blocks(&self) -> Vec<Block> {
        let Some(setting) =
            self.arms.iter().flat_map(|arm| &arm.runs).find_map(|run| Some(run.sharpness?.setting))
        else {
            return Vec::new();
        };
        let value = |arm: &ArmResult, of: fn(&super::Sharpness) -> f64| {
            let summary = arm.over_seeds(|run| run.sharpness.as_ref().map(of));
            summary.map_or_else(|| "–".into(), |summary| significant(&summary))
        };
        let row = |arm: &ArmResult| {
            vec![
                arm.title.clone(),
                value(arm, |found| found.lambda_max),
                value(arm, |found| found.trace),
                value(arm, |found| found.r_sam),
                value(arm, |found| found.r_gnr),
            ]
        };
        let header = ["method", "λ₁", "trace", "R_SAM ≥", "R_GNR ≥"];
        let mut blocks = vec![
            Block::Heading("Sharpness of the training loss where each ended".into()),
            Block::Table {
                header: header.map(String::from).to_vec(),
                rows: self.arms.iter().map(row).collect(),
            },
            Block::Paragraph(format!(
                "Largest Hessian eigenvalue and trace ({} random vectors), and lower bounds of the maxima within ρ = {} ({} ascent \
                 steps), on {} training images with the labels that were trained on.",
                setting.probes, setting.rho, setting.steps, setting.images
            )),
        ];
        if let Some(words) = self.flatter() {
            blocks.push(Block::Paragraph(words));
        }
        blocks
    }

    fn failure_blocks(&self) -> Vec<Block> {
        if self.failures.is_empty() {
            return Vec::new();
        }
        let rows = self.failures.iter().map(|(name, reason)| vec![name.clone(), reason.clone()]);
        vec![
            Block::Heading("Runs that failed".into()),
            Block::Table { header: vec!["run".into(), "reason".into()], rows: rows.collect() },
        ]
    }

    fn facts(&self) -> Vec<(String, String)> {
        let runs = || self.arms.iter().flat_map(|arm| &arm.runs);
        let commits: BTreeSet<&str> = runs().map(|run| run.commit.as_deref().unwrap_or("unknown")).collect();
        let seeds: BTreeSet<u64> = runs().map(|run| run.seed).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let mut facts = vec![
            ("command".to_owned(), format!("`{}`", self.command)),
            ("program".into(), self.program.clone()),
            ("runs trained by commit".into(), commits.into_iter().collect::<Vec<_>>().join(", ")),
            ("data".into(), self.data.join("; ")),
            ("parameters".into(), self.parameters.to_string()),
            ("seeds".into(), seeds.join(", ")),
        ];
        for arm in &self.arms {
            facts.push((arm.title.clone(), in_words(&arm.assignments)));
        }
        facts
    }

    /// Test accuracy over epochs, one curve a method: the mean over seeds with a band of one sample standard deviation.
    fn figure(&self) -> Figure {
        let series = self.arms.iter().filter(|arm| !arm.runs.is_empty()).map(|arm| {
            let curves = || arm.runs.iter().flat_map(|run| &run.curve);
            let epochs: BTreeSet<u64> = curves().map(|(epoch, _)| *epoch).collect();
            let (mut x, mut y, mut band) = (Vec::new(), Vec::new(), Vec::new());
            for epoch in epochs {
                let values: Vec<f64> =
                    curves().filter(|(at, _)| *at == epoch).map(|(_, accuracy)| 100.0 * accuracy).collect();
                if let Some(summary) = Summary::of(&values) {
                    let std = summary.std.unwrap_or(0.0);
                    x.push(epoch as f64);
                    y.push(summary.mean);
                    band.push([summary.mean - std, summary.mean + std]);
                }
            }
            Series::line(&arm.title, x, y).banded(band)
        });
        let lines = Lines {
            x: Axis::linear("epoch"),
            y: Axis::linear("test accuracy, %"),
            series: series.collect(),
            marks: Vec::new(),
        };
        let seeds = self.arms.iter().map(|arm| arm.runs.len()).max().unwrap_or_default();
        Figure {
            panel_size: [640, 340],
            note: format!(
                "mean and deviation of {seeds} seeds; {}",
                self.data.first().map_or("", String::as_str)
            ),
            ..Figure::new(self.name.clone(), vec![Panel::new("", Content::Lines(lines))])
        }
    }
}

/// Gradients and products a step, and seconds of a run, in the mean over seeds.
fn work(arm: &ArmResult) -> Option<[f64; 3]> {
    let mean = |value: fn(&RunResult) -> f64| Some(arm.over_seeds(|run| Some(value(run)))?.mean);
    Some([mean(|run| run.gradients_per_step)?, mean(|run| run.products_per_step)?, mean(|run| run.seconds)?])
}

/// The title of a method as an operand of a difference: in brackets if it is itself a sum.
fn operand(arm: &ArmResult) -> String {
    if arm.title.contains(" + ") { format!("({})", arm.title) } else { arm.title.clone() }
}

fn interval(points: &Summary) -> String {
    points.interval().map_or_else(|| "–".into(), |[low, high]| format!("[{low:+.1}, {high:+.1}]"))
}

/// Mean ± deviation with three significant digits of the mean.
fn significant(summary: &Summary) -> String {
    let digits = if summary.mean == 0.0 || !summary.mean.is_finite() {
        1
    } else {
        (2 - summary.mean.abs().log10().floor() as i32).clamp(0, 8) as usize
    };
    format!("{summary:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A comparison of methods with these test accuracies of two seeds and so many tries; `base` first.
    fn compared(arms: &[(&str, [f64; 2], usize)]) -> Comparison {
        let arm = |(name, accuracies, _): &(&str, [f64; 2], usize)| {
            let run = |seed: usize| {
                json!({
                    "seed": seed, "test_accuracy": accuracies[seed], "best_test_accuracy": accuracies[seed],
                    "seconds": 1.0, "gradients_per_step": 1.0, "products_per_step": 0.0, "curve": [],
                })
            };
            json!({ "name": name, "title": name, "assignments": [], "runs": [run(0), run(1)] })
        };
        let effort = |(name, _, tries): &(&str, [f64; 2], usize)| {
            let one = json!({ "assignments": [], "val_accuracies": [0.5] });
            json!({ "arm": name, "tries": vec![one; *tries], "best": 0 })
        };
        let whole: Value = json!({
            "name": "digits", "command": "gnr compare", "program": "gnr", "recipe": "", "data": [], "parameters": 1,
            "arms": arms.iter().map(arm).collect::<Vec<_>>(),
            "tuning": arms.iter().map(effort).collect::<Vec<_>>(),
        });
        serde_json::from_value(whole).expect("a comparison")
    }

    /// A comparison of SGD with a better method, each with so many tries.
    fn tuned(tries: [usize; 2]) -> Comparison {
        compared(&[("base", [0.5; 2], tries[0]), ("gnr", [0.75; 2], tries[1])])
    }

    #[test]
    fn methods_are_also_compared_with_each_other() {
        let two = compared(&[("base", [0.5; 2], 1), ("sam", [0.75; 2], 1)]);
        assert!(two.between_blocks().is_empty(), "nothing to compare the only other method with");
        let found = compared(&[
            ("base", [0.5, 0.6], 1),
            ("sam", [0.7, 0.72], 1),
            ("gnr", [0.76, 0.74], 1),
            ("ema", [0.5; 2], 1),
        ]);
        let between = found.differences_between();
        let pairs: Vec<(&str, &str)> =
            between.iter().map(|d| (&*found.arms[d.arm].name, &*found.arms[d.base].name)).collect();
        assert_eq!(pairs, [("gnr", "sam"), ("ema", "sam"), ("ema", "gnr")]);
        // 6 and 2 points: 4 ± 2.83, with t of one degree of freedom [-21.4, 29.4].
        assert!((between[0].points.mean - 4.0).abs() < 1e-9);
        let rows = format!("{:?}", found.between_blocks());
        assert!(rows.contains(r#""gnr − sam", "+4.0", "[-21.4, +29.4]", "2""#), "{rows}");
        let mut sums = two;
        sums.arms[1].title = "SGD + SAM".into();
        let rows = format!("{:?}", sums.difference_blocks());
        assert!(rows.contains(r#""(SGD + SAM) − base""#), "{rows}");
    }

    #[test]
    fn the_headline_says_ahead_only_of_what_is_told_apart() {
        let apart = compared(&[("base", [0.5, 0.52], 1), ("gnr", [0.75, 0.772], 1)]).headline();
        assert!(apart.starts_with("gnr is ahead with 76.1"), "{apart}");
        let noise = compared(&[("base", [0.5, 0.9], 1), ("gnr", [0.75, 0.772], 1)]).headline();
        assert!(noise.starts_with("gnr has the highest mean test accuracy, 76.1"), "{noise}");
        let none = compared(&[("base", [0.9, 0.92], 1), ("gnr", [0.75, 0.772], 1)]).headline();
        assert!(none.starts_with("base has the highest mean test accuracy, 91.0"), "{none}");
        assert!(none.ends_with("no other method helps here."), "{none}");
        let alone = compared(&[("base", [0.9, 0.92], 1)]);
        assert_eq!(
            alone.headline(),
            "base reaches 91.0 ± 1.4 % test accuracy; it was compared with no other."
        );
        assert_eq!(alone.flatter(), None);
    }

    #[test]
    fn methods_are_ranked_by_the_seeds_that_they_share() {
        // Without its weak second seed, sam would seem better than gnr.
        let mut found =
            compared(&[("base", [0.5, 0.3], 1), ("sam", [0.75, 0.2], 1), ("gnr", [0.7, 0.72], 1)]);
        assert!(found.headline().starts_with("gnr has the highest"), "{}", found.headline());
        found.arms[2].runs.remove(0);
        let words = found.headline();
        assert!(words.starts_with("gnr has the highest mean test accuracy, 72.0 %"), "{words}");
        let told = "(gnr has 1 of 2): methods are ranked by the 1 seed that they share.";
        assert!(words.ends_with(told), "{words}");
        found.arms[2].runs.clear();
        let words = found.headline();
        assert!(words.starts_with("sam has the highest mean test accuracy, 47.5"), "{words}");
        assert!(words.ends_with(" Of gnr no seed was trained to its end."), "{words}");
        found.arms[0].runs.remove(0);
        found.arms[1].runs.remove(1);
        assert!(
            found.headline().starts_with("No seed was finished by every method."),
            "{}",
            found.headline()
        );
        found.arms.iter_mut().for_each(|arm| arm.runs.clear());
        assert_eq!(found.headline(), "No run is finished.");
    }

    #[test]
    fn equal_methods_have_no_superlative() {
        let with_base = compared(&[("base", [0.5, 0.6], 1), ("sam", [0.6, 0.5], 1), ("gnr", [0.4; 2], 1)]);
        assert_eq!(
            with_base.headline(),
            "base and sam have the same mean test accuracy, 55.0 %; no method has a higher one than base."
        );
        let mut others = compared(&[("base", [0.4; 2], 1), ("sam", [0.5, 0.6], 1), ("gnr", [0.6, 0.5], 1)]);
        assert!(others.headline().starts_with("sam and gnr have the same mean test accuracy, 55.0 %;"));
        let setting = super::super::Setting::of(100);
        for (arm, lambda_max) in others.arms.iter_mut().zip([3.0, 2.0, 1.0]) {
            for run in &mut arm.runs {
                let (trace, trace_standard_error, r_sam, r_gnr) = (1.0, 0.0, 1.0, 1.0);
                let found = super::super::Sharpness {
                    setting,
                    lambda_max,
                    trace,
                    trace_standard_error,
                    r_sam,
                    r_gnr,
                };
                run.sharpness = Some(found);
            }
        }
        let words = others.flatter().unwrap();
        assert_eq!(words, "gnr has the smallest λ₁; sam and gnr are equally accurate.");
        others.arms[2].runs[1].test_accuracy = 0.4;
        let words = others.flatter().unwrap();
        assert!(words.contains("gnr has the smallest λ₁, sam the highest accuracy"), "{words}");
    }

    #[test]
    fn runs_and_tries_that_collapsed_are_told() {
        let mut found = tuned([3, 3]);
        assert!(found.collapsed().is_none());
        found.arms[1].runs[1].collapsed_at_epoch = Some(7);
        let words = format!("{:?}", found.collapsed());
        assert!(words.contains("gnr (seed 1 from epoch 7 on)."), "{words}");
        assert!(found.terminal().contains("gnr (seed 1 from epoch 7 on)."), "{}", found.terminal());
        found.tuning[1].tries[2].collapsed = true;
        let rows = format!("{:?}", found.tuning_blocks());
        assert!(rows.contains(r#""gnr", "3", "the recipe as it is", "50.0", "1", "0""#), "{rows}");
    }

    #[test]
    fn the_images_that_are_trained_on_are_told() {
        let mut found = tuned([2, 2]);
        let words = |found: &Comparison| format!("{:?}", found.tuning_blocks());
        assert!(words(&found).contains("which trains on all training images."));
        found.recipe = "[data]\nvalidation = 0.1\n".into();
        assert!(words(&found).contains("which trains on the images that the recipe does not hold out"));
    }

    #[test]
    fn the_headline_says_when_the_baseline_was_tuned_less() {
        let equal = tuned([8, 8]).headline();
        let start = "gnr has the highest mean test accuracy, 75.0 ± 0.0 %, +25.0 points over base";
        assert!(equal.starts_with(start) && !equal.contains("tuned"), "{equal}");
        let less = tuned([1, 8]).headline();
        assert!(less.ends_with(" base was tuned less: it had 1 of 8 tries."), "{less}");
        assert_eq!(less.strip_suffix(" base was tuned less: it had 1 of 8 tries."), Some(&*equal));
    }
}
