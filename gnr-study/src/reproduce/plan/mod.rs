//! The plan of a reproduction: networks on data sets × methods × seeds, at a scale. [`tables`] has the paper's rows.

mod dataset;
mod method;
mod tables;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::{Result, StudyError};

pub(super) use dataset::Dataset;
pub(super) use method::{Gnr, METHODS, Method, Product};
pub(super) use tables::figure_net;

/// The scale of a reproduction: how much of the paper's setting it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// Embedded 8×8 digits, small nets: minutes. Shows that everything works; says nothing about the paper's numbers.
    Smoke,
    /// Real images, in part, thinner nets, few epochs: hours.
    Small,
    /// The paper's nets, data sets and number of epochs.
    Paper,
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scale| scale.name() == text);
        found.ok_or_else(|| format!("no scale is called `{text}`; there are smoke, small and paper"))
    }
}

impl Scale {
    /// All scales, from minutes to weeks.
    pub const ALL: [Self; 3] = [Self::Smoke, Self::Small, Self::Paper];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Small => "small",
            Self::Paper => "paper",
        }
    }

    /// The caveat that a reader of the numbers must know first.
    pub(super) fn caveat(self) -> &'static str {
        match self {
            Self::Smoke => {
                "This is the smoke scale: small nets on the embedded UCI digits (8×8 grey images, 1,437 to train on, 360 to \
                 test). It shows that the methods run and compares them here; it says nothing about the paper's numbers, \
                 which are for other data and nets."
            }
            Self::Small => {
                "This is the small scale: part of the data, thinner nets and few epochs. CIFAR-10 comes as lossy JPEG (quality \
                 75). The numbers cannot be compared with the paper's."
            }
            Self::Paper => {
                "This is the paper scale: its nets, data sets, epochs and augmentation. What the paper does not state (learning \
                 rate, batch size and weight decay on CIFAR, SAM's radius) follows common practice and the authors' later code."
            }
        }
    }
}

/// A table of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    One,
    Two,
    Three,
    Four,
}

impl Table {
    pub(super) const ALL: [Self; 4] = [Self::One, Self::Two, Self::Three, Self::Four];

    /// The table's name on the command line and in files.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::One => "table1",
            Self::Two => "table2",
            Self::Three => "table3",
            Self::Four => "table4",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::One => "Table 1 (from scratch)",
            Self::Two => "Table 2 (ImageNet)",
            Self::Three => "Table 3 (fine-tuning)",
            Self::Four => "Table 4 (GNR on a part of the steps)",
        }
    }
}

/// The base optimiser with its learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Optimizer {
    /// SGD with momentum 0.9.
    Sgd {
        lr: f64,
        weight_decay: f64,
    },
    AdamW {
        lr: f64,
        weight_decay: f64,
    },
}

impl Optimizer {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Sgd { .. } => "SGD",
            Self::AdamW { .. } => "AdamW",
        }
    }

    pub(super) fn learning_rate(self) -> f64 {
        match self {
            Self::Sgd { lr, .. } | Self::AdamW { lr, .. } => lr,
        }
    }
}

/// The learning rate over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Schedule {
    Cosine {
        warmup_epochs: u64,
    },
    /// A tenth of the rate after every `every_epochs` epochs.
    Step {
        every_epochs: u64,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cosine { warmup_epochs: 0 } => f.write_str("cosine"),
            Self::Cosine { warmup_epochs } => write!(f, "cosine after {warmup_epochs} epochs of warm-up"),
            Self::Step { every_epochs } => write!(f, "a tenth every {every_epochs} epochs"),
        }
    }
}

/// The initial weights of a net.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Start {
    /// Weights are initialised at random.
    Random,
    /// A file of published weights below the folder of the data, without the classifier.
    Weights(&'static str),
    /// The weights of a short run on the same data with another seed, made when needed: the smoke scale of fine-tuning.
    OwnPretraining,
}

/// A row of a table: a network on a data set, and how it is trained whatever the method.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Net {
    pub(super) dataset: Dataset,
    /// Name in gnr-models.
    pub(super) model: &'static str,
    pub(super) title: &'static str,
    /// The paper's row that this one stands in for, where it is another.
    pub(super) stands_for: Option<&'static str>,
    pub(super) widths: Option<&'static [usize]>,
    pub(super) start: Start,
    /// Number of training images to take; `None` for all.
    pub(super) images: Option<u64>,
    /// Side in pixels to which images are resized; `None` for no change.
    pub(super) resize: Option<u64>,
    /// `data.normalization` that the weights were trained with, where it is not the usual one of the data.
    pub(super) normalization: Option<&'static str>,
    /// The recipe's `data.augment` key.
    pub(super) augment: &'static str,
    pub(super) epochs: u64,
    pub(super) batch: u64,
    pub(super) optimizer: Optimizer,
    pub(super) schedule: Schedule,
    /// Number of epochs between evaluations.
    pub(super) eval_every: u64,
    /// Number of epochs between weights that are kept for figures. The number divides half the epochs, because figures
    /// look at that epoch.
    pub(super) keep_every: Option<u64>,
    /// Rough number of multiplications of one image's forward pass, in millions. The number only serves to compare
    /// lengths of runs and to choose the batch of calibrations.
    pub(super) mflop: f64,
}

impl Net {
    pub(super) fn slug(&self) -> String {
        let widths = self
            .widths
            .map_or(String::new(), |widths| format!("-w{}", widths.first().copied().unwrap_or_default()));
        format!("{}/{}{widths}", self.dataset.slug(), self.model)
    }

    pub(super) fn heading(&self) -> String {
        format!("{} · {}", self.title, self.dataset.title())
    }

    /// Number of training images.
    pub(super) fn images(&self) -> u64 {
        self.images.unwrap_or_else(|| self.dataset.train_images())
    }

    /// Number of steps of the whole training, at most one an epoch too many: training leaves out an incomplete last
    /// batch, which counts here.
    pub(super) fn steps(&self) -> u64 {
        self.epochs * self.images().div_ceil(self.batch)
    }

    /// Sets another number of epochs. The weights at half of them are still kept.
    pub(super) fn set_epochs(&mut self, epochs: u64) {
        self.epochs = epochs;
        let half = self.half_way().max(1);
        self.keep_every = self.keep_every.map(|every| gcd(every, half));
    }

    /// The epoch in the middle of training.
    pub(super) fn half_way(&self) -> u64 {
        self.epochs / 2
    }

    /// The work of a run in gradients of one image, evaluations (a forward pass is a third of a gradient) included.
    pub(super) fn image_gradients(&self, method: Method) -> f64 {
        let trained = (self.epochs * self.images()) as f64 * method.gradients();
        let evaluated = (self.epochs.div_ceil(self.eval_every) * self.dataset.test_images()) as f64;
        trained + evaluated / 3.0
    }

    /// The shape `[C, H, W]` of the net's input.
    pub(super) fn input(&self) -> [usize; 3] {
        let [channels, height, width] = self.dataset.shape();
        self.resize.map_or([channels, height, width], |side| [channels, side as usize, side as usize])
    }
}

/// One training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// Index into [`Plan::nets`].
    pub(super) net: usize,
    pub(super) method: Method,
    pub(super) seed: u64,
}

/// Everything one reproduction trains.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The name of the table or figure in files: `table1`.
    pub(super) target: &'static str,
    /// Title for readers of a report.
    pub(super) title: &'static str,
    pub(super) scale: Scale,
    pub(super) nets: Vec<Net>,
    /// The methods, in the report's order.
    pub(super) methods: Vec<Method>,
    pub(super) cases: Vec<Case>,
}

impl Plan {
    /// A table of the paper.
    pub(super) fn table(table: Table, scale: Scale, seeds: u64) -> Self {
        let nets = tables::nets(table, scale);
        let methods = match table {
            Table::Four => tables::ratios(scale),
            _ => METHODS.to_vec(),
        };
        Self::new(table.slug(), table.title(), scale, nets, methods, seeds)
    }

    /// A plan of every method on every net with seeds 0, 1, ….
    pub(super) fn new(
        target: &'static str,
        title: &'static str,
        scale: Scale,
        nets: Vec<Net>,
        methods: Vec<Method>,
        seeds: u64,
    ) -> Self {
        // Seeds are outermost, so that an interrupted reproduction has all methods of a seed, not half of the methods.
        let mut cases = Vec::new();
        for seed in 0..seeds {
            for net in 0..nets.len() {
                cases.extend(methods.iter().map(|&method| Case { net, method, seed }));
            }
        }
        Self { target, title, scale, nets, methods, cases }
    }

    /// Name of a run: `data/net/method/seed`.
    pub(super) fn name(&self, case: &Case) -> String {
        let net = &self.nets[case.net];
        format!("{}/{}/{}", net.slug(), case.method.slug(net.optimizer.title()), case.seed)
    }

    /// Cost of a run in gradients of a batch.
    pub(super) fn gradients(&self, case: &Case) -> f64 {
        self.nets[case.net].steps() as f64 * case.method.gradients()
    }

    /// Expected cost, to compare runs of different nets.
    pub(super) fn cost(&self, case: &Case) -> f64 {
        let net = &self.nets[case.net];
        net.mflop * net.image_gradients(case.method)
    }

    /// Keeps the cases whose name contains one of the filters; all without filters.
    ///
    /// # Errors
    /// Filters that leave no case.
    pub(super) fn keep(&mut self, filters: &[String]) -> Result<()> {
        if filters.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.cases.iter().map(|case| self.name(case)).collect();
        let mut names_left = names.iter();
        self.cases.retain(|_| {
            names_left.next().is_some_and(|name| filters.iter().any(|text| name.contains(text.as_str())))
        });
        if self.cases.is_empty() {
            let first = names.first().map_or("", String::as_str);
            return Err(StudyError::Request(format!(
                "no run's name contains {}; a name is like `{first}`",
                filters.join(" or ")
            )));
        }
        Ok(())
    }

    /// The data sets and files of weights that the cases need.
    pub(super) fn needs(&self) -> (BTreeSet<Dataset>, BTreeSet<&'static str>) {
        let nets = || self.cases.iter().map(|case| &self.nets[case.net]);
        let weights = |net: &Net| match net.start {
            Start::Weights(file) => Some(file),
            Start::Random | Start::OwnPretraining => None,
        };
        (nets().map(|net| net.dataset).collect(), nets().filter_map(weights).collect())
    }
}

/// The greatest common divisor (Euclid).
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_and_scale_pairs_each_method_with_its_base() {
        for (table, scale) in Table::ALL.into_iter().flat_map(|table| Scale::ALL.map(|scale| (table, scale)))
        {
            let plan = Plan::table(table, scale, 3);
            assert_eq!(plan.cases.len(), plan.nets.len() * plan.methods.len() * 3);
            for case in &plan.cases {
                if let Some(base) = case.method.base() {
                    let paired = Case { method: base, ..*case };
                    assert!(plan.cases.contains(&paired), "{}", plan.name(case));
                }
            }
            let names: BTreeSet<String> = plan.cases.iter().map(|case| plan.name(case)).collect();
            assert_eq!(names.len(), plan.cases.len(), "names are unique");
        }
    }

    /// The run keeps the weights of epoch 0, of every `keep_every`, and the last.
    #[test]
    fn figures_find_the_weights_of_half_the_training() {
        for scale in Scale::ALL {
            let planned = tables::figure_net(scale);
            for epochs in [1, 2, 3, 7, 10, 90, planned.epochs] {
                let mut net = planned.clone();
                net.set_epochs(epochs);
                let every = net.keep_every.unwrap();
                assert_eq!(net.half_way() % every, 0, "{scale}: {epochs} epochs, every {every}");
            }
            let mut same = planned.clone();
            same.set_epochs(planned.epochs);
            assert_eq!(same, planned);
        }
    }

    #[test]
    fn filters_keep_and_an_empty_choice_is_an_error() {
        let mut plan = Plan::table(Table::One, Scale::Smoke, 2);
        plan.keep(&["mlp-w64/sgd/".into()]).unwrap();
        assert_eq!(plan.cases.len(), 2);
        let error = plan.keep(&["vgg".into()]).unwrap_err().to_string();
        assert!(error.contains("digits/mlp-w64/sgd/0"), "{error}");
    }

    #[test]
    fn the_papers_fine_tuning_takes_forty_thousand_steps() {
        for net in Plan::table(Table::Three, Scale::Paper, 1).nets {
            let steps = net.steps() as f64;
            // Whole epochs: at most half an epoch of the smallest number of epochs away.
            assert!((steps / 40_000.0 - 1.0).abs() < 0.01, "{}: {steps}", net.heading());
        }
    }
}
