//! What a reproduction trains: networks on data sets × methods × seeds, at a scale.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};

/// How much of the paper's setting a run keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scale {
    /// Embedded 8×8 digits, small nets: minutes. Shows that everything works; says nothing about the paper's numbers.
    Smoke,
    /// Real data sets, in part, few epochs: hours.
    Small,
    /// The paper's data sets and number of epochs.
    Paper,
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smoke => "smoke",
            Self::Small => "small",
            Self::Paper => "paper",
        })
    }
}

impl Scale {
    /// What a reader of the numbers must know first.
    pub(super) fn caveat(self) -> &'static str {
        match self {
            Self::Smoke => {
                "This is the smoke scale: small nets on the embedded UCI digits (8×8 grey images, 1,437 to train on, 360 to \
                 test). It shows that the methods run and compares them here; it says nothing about the paper's numbers, \
                 which are for CIFAR."
            }
            Self::Small => {
                "This is the small scale: part of the data and few epochs. CIFAR-10 comes as lossy JPEG (quality 75). The \
                 numbers cannot be compared with the paper's."
            }
            Self::Paper => {
                "This is the paper scale: its data sets, epochs and augmentation. Learning rate, batch size and weight \
                 decay are not stated in the paper and follow the authors' later code."
            }
        }
    }
}

/// A data set as `gnr` knows it, with what this reproduction takes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dataset {
    Digits,
    FashionMnist,
    /// CIFAR-10 as an image folder of JPEG files.
    Cifar10Jpeg,
    Cifar10,
    Cifar100,
}

impl Dataset {
    /// For names of runs.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10Jpeg => "cifar10-jpeg",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
        }
    }

    /// For readers.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::FashionMnist => "Fashion-MNIST",
            Self::Cifar10Jpeg => "CIFAR-10 (JPEG)",
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
        }
    }
}

/// A column of the table: a network on a data set, and how it is trained whatever the method.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Net {
    pub(super) dataset: Dataset,
    /// Name in gnr-models.
    pub(super) model: &'static str,
    pub(super) title: &'static str,
    pub(super) widths: Option<&'static [usize]>,
    /// Take only so many training images.
    pub(super) train_images: Option<usize>,
    pub(super) epochs: u64,
    pub(super) batch: usize,
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
    /// One gradient of one epoch, relative; for the estimate of the remaining time only.
    pub(super) epoch_cost: f64,
}

impl Net {
    pub(super) fn slug(&self) -> String {
        format!("{}/{}", self.dataset.slug(), self.model)
    }

    pub(super) fn heading(&self) -> String {
        format!("{} · {}", self.title, self.dataset.title())
    }
}

/// How a Hessian-vector product is computed. On nets with ReLU the two are different quantities, so they are always
/// reported apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Exact,
    FiniteDifference,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) sam: bool,
    pub(super) gnr: Option<Product>,
}

/// The rows, base methods before what is built on them.
pub(super) const METHODS: [Method; 6] = [
    Method { sam: false, gnr: None },
    Method { sam: false, gnr: Some(Product::Exact) },
    Method { sam: false, gnr: Some(Product::FiniteDifference) },
    Method { sam: true, gnr: None },
    Method { sam: true, gnr: Some(Product::Exact) },
    Method { sam: true, gnr: Some(Product::FiniteDifference) },
];

impl Method {
    pub(super) fn slug(self) -> String {
        let base = if self.sam { "sam" } else { "sgd" };
        match self.gnr {
            None => base.to_string(),
            Some(Product::Exact) => format!("{base}+gnr-exact"),
            Some(Product::FiniteDifference) => format!("{base}+gnr-fd"),
        }
    }

    pub(super) fn title(self) -> &'static str {
        match (self.sam, self.gnr) {
            (false, None) => "SGD",
            (false, Some(Product::Exact)) => "SGD + GNR exact",
            (false, Some(Product::FiniteDifference)) => "SGD + GNR finite diff.",
            (true, None) => "SAM",
            (true, Some(Product::Exact)) => "SAM + GNR exact",
            (true, Some(Product::FiniteDifference)) => "SAM + GNR finite diff.",
        }
    }

    /// The method that this one adds to; its differences are taken from runs with the same seeds.
    pub(super) fn base(self) -> Option<Self> {
        match self {
            Self { sam, gnr: Some(_) } => Some(Self { sam, gnr: None }),
            Self { sam: true, gnr: None } => Some(Self { sam: false, gnr: None }),
            Self { sam: false, gnr: None } => None,
        }
    }

    /// Cost of a step in gradients, roughly; for the estimate of the remaining time only.
    fn cost(self) -> f64 {
        let gnr = match self.gnr {
            None => 1.0,
            Some(Product::Exact) => 6.0,
            Some(Product::FiniteDifference) => 4.0,
        };
        gnr + if self.sam { 1.0 } else { 0.0 }
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
    pub(super) scale: Scale,
    pub(super) nets: Vec<Net>,
    pub(super) cases: Vec<Case>,
}

impl Plan {
    /// Table 1: accuracy of SGD and SAM, without and with GNR.
    pub(super) fn table1(scale: Scale, seeds: u64) -> Self {
        let nets = nets(scale);
        // Seeds outermost: an interrupted reproduction has whole comparisons, not half of the methods.
        let mut cases = Vec::new();
        for seed in 0..seeds {
            for net in 0..nets.len() {
                cases.extend(METHODS.iter().map(|&method| Case { net, method, seed }));
            }
        }
        Self { scale, nets, cases }
    }

    /// `data/net/method/seed`.
    pub(super) fn name(&self, case: &Case) -> String {
        format!("{}/{}/{}", self.nets[case.net].slug(), case.method.slug(), case.seed)
    }

    /// Expected cost, relative.
    pub(super) fn cost(&self, case: &Case) -> f64 {
        let net = &self.nets[case.net];
        net.epochs as f64 * net.epoch_cost * case.method.cost()
    }

    /// Keeps the cases whose name contains one of the filters; all without filters.
    ///
    /// # Errors
    /// When none is left.
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
            bail!("no run's name contains {}; a name is like `{first}`", filters.join(" or "));
        }
        Ok(())
    }

    /// The data sets that the cases need.
    pub(super) fn datasets(&self) -> BTreeSet<Dataset> {
        self.cases.iter().map(|case| self.nets[case.net].dataset).collect()
    }
}

fn nets(scale: Scale) -> Vec<Net> {
    let digits = Net {
        dataset: Dataset::Digits,
        model: "resnet8",
        title: "ResNet-8",
        widths: None,
        train_images: None,
        epochs: 20,
        batch: 64,
        learning_rate: 0.05,
        weight_decay: 5e-4,
        epoch_cost: 1.0,
    };
    let cifar = Net {
        dataset: Dataset::Cifar10,
        model: "resnet20",
        title: "ResNet-20",
        epochs: 200,
        batch: 128,
        learning_rate: 0.1,
        epoch_cost: 1000.0,
        ..digits.clone()
    };
    match scale {
        Scale::Smoke => vec![
            Net { widths: Some(&[8, 16, 32]), ..digits.clone() },
            Net { model: "lenet", title: "LeNet", epoch_cost: 0.5, ..digits.clone() },
            Net { model: "mlp", title: "MLP", widths: Some(&[64, 32]), epoch_cost: 0.1, ..digits },
        ],
        Scale::Small => vec![
            Net {
                dataset: Dataset::Cifar10Jpeg,
                train_images: Some(5_000),
                epochs: 15,
                epoch_cost: 100.0,
                ..cifar.clone()
            },
            Net {
                dataset: Dataset::FashionMnist,
                model: "lenet",
                title: "LeNet",
                epochs: 5,
                learning_rate: 0.05,
                epoch_cost: 50.0,
                ..cifar
            },
        ],
        Scale::Paper => [Dataset::Cifar10, Dataset::Cifar100]
            .into_iter()
            .flat_map(|dataset| {
                [
                    Net { dataset, ..cifar.clone() },
                    Net {
                        dataset,
                        model: "resnet18",
                        title: "ResNet-18",
                        epoch_cost: 13_000.0,
                        ..cifar.clone()
                    },
                ]
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_pairs_each_method_with_its_base() {
        for scale in [Scale::Smoke, Scale::Small, Scale::Paper] {
            let plan = Plan::table1(scale, 3);
            assert_eq!(plan.cases.len(), plan.nets.len() * METHODS.len() * 3);
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

    #[test]
    fn filters_keep_and_an_empty_choice_is_an_error() {
        let mut plan = Plan::table1(Scale::Smoke, 2);
        plan.keep(&["mlp/sgd/".into()]).unwrap();
        assert_eq!(plan.cases.len(), 2);
        let error = plan.keep(&["vgg".into()]).unwrap_err().to_string();
        assert!(error.contains("digits/mlp/sgd/0"), "{error}");
    }
}
