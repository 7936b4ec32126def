//! The report on a table: its results, and the conclusions that they support.

mod differences;

use std::collections::BTreeSet;

use super::paper::Paper;
use super::plan::{Method, Plan, Product, Scale};
use super::recipe;
use super::results::Results;
use crate::{
    error::Result,
    report::{
        Block, Document,
        curves::{Curve, Quantity, figure},
    },
    runner::Failure,
};

/// The colour of a method. Colours differ in hue and lightness and are readable on white and on black: blue to green
/// without SAM, red to orange or purple with SAM. The fewer steps GNR acts on, the nearer its colour is to its base
/// method's.
fn colour(method: Method) -> (u8, u8, u8) {
    let every_step = |sam, product: Option<Product>| match (sam, product) {
        (false, None) => (0, 114, 178),
        (false, Some(Product::Exact)) => (0, 158, 115),
        (false, Some(Product::FiniteDifference)) => (86, 180, 233),
        (true, None) => (204, 61, 61),
        (true, Some(Product::Exact)) => (230, 140, 0),
        (true, Some(Product::FiniteDifference)) => (190, 110, 180),
    };
    let base = every_step(method.sam, None);
    let Some(gnr) = method.gnr else { return base };
    let full = every_step(method.sam, Some(gnr.product));
    // 1 on every step, towards 0 for rare ones.
    let share = 1.0 / (1.0 + (gnr.every as f64).ln() / 2.0);
    let mix = |a: u8, b: u8| (f64::from(a) * (1.0 - share) + f64::from(b) * share).round() as u8;
    (mix(base.0, full.0), mix(base.1, full.1), mix(base.2, full.2))
}

/// A report on one reproduction.
pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) results: &'a Results,
    pub(super) failures: &'a [Failure],
    pub(super) paper: &'a Paper,
    pub(super) command: &'a str,
}

impl Report<'_> {
    /// The whole report.
    ///
    /// # Errors
    /// A curve that cannot be drawn.
    pub(super) fn document(&self) -> Result<Document> {
        let mut blocks = vec![Block::Caveat(self.plan.scale.caveat().into())];
        let missing = self.plan.cases.len().saturating_sub(self.results.outcomes.len());
        if missing > 0 {
            blocks.push(Block::Caveat(format!(
                "Incomplete: {missing} of {} runs are not finished. Differences use the seeds that both sides have.",
                self.plan.cases.len()
            )));
        }
        blocks.push(self.accuracies());
        blocks.push(Block::Paragraph(format!(
            "Mean ± sample standard deviation over seeds, after the last epoch. {}",
            Self::product_caveat()
        )));
        blocks.extend(self.difference_blocks());
        blocks.extend(self.paper_blocks());
        blocks.extend(self.curve_blocks()?);
        blocks.push(Block::Heading("Time".into()));
        blocks.push(self.times());
        blocks.push(Block::Paragraph(Self::time_caveat().into()));
        blocks.extend(self.work());
        blocks.push(Block::Heading("Origin".into()));
        blocks.push(Block::Facts(self.provenance()));
        for failure in self.failures {
            blocks.push(Block::Log {
                title: format!("Failed: {}", failure.name),
                text: failure.reason.clone(),
            });
        }
        blocks.push(Block::Paragraph(self.other_scales()));
        Ok(Document { title: format!("{}, {} scale", self.plan.title, self.plan.scale), blocks })
    }

    /// The indices of nets with planned cases (a filter may leave some out).
    fn nets(&self) -> BTreeSet<usize> {
        self.plan.cases.iter().map(|case| case.net).collect()
    }

    /// The methods with planned cases, in the table's order.
    fn methods(&self) -> Vec<Method> {
        let planned = |method: &&Method| self.plan.cases.iter().any(|case| case.method == **method);
        self.plan.methods.iter().filter(planned).copied().collect()
    }

    /// The base optimisers, for headings: `SGD` or `SGD/AdamW`.
    fn base(&self) -> String {
        let mut titles: Vec<&str> =
            self.nets().iter().map(|&net| self.plan.nets[net].optimizer.title()).collect();
        titles.sort_by_key(|title| *title != "SGD");
        titles.dedup();
        titles.join("/")
    }

    /// A table of nets and methods. Methods are rows if there are more of them than nets, as in Table 4; otherwise nets
    /// are rows.
    fn grid(&self, corner: &str, cell: impl Fn(usize, Method) -> String) -> Block {
        let (nets, methods) = (self.nets(), self.methods());
        let heading = |net: usize| {
            let net = &self.plan.nets[net];
            let of = net.stands_for.map_or(String::new(), |row| format!(" (for {row})"));
            net.heading() + &of
        };
        let base = self.base();
        if nets.len() < methods.len() {
            let header = std::iter::once(corner.to_owned()).chain(nets.iter().map(|&net| heading(net)));
            let row = |&method: &Method| {
                std::iter::once(method.title(&base))
                    .chain(nets.iter().map(|&net| cell(net, method)))
                    .collect()
            };
            return Block::Table { header: header.collect(), rows: methods.iter().map(row).collect() };
        }
        let header =
            std::iter::once(corner.to_owned()).chain(methods.iter().map(|method| method.title(&base)));
        let row = |&net: &usize| {
            std::iter::once(heading(net)).chain(methods.iter().map(|&method| cell(net, method))).collect()
        };
        Block::Table { header: header.collect(), rows: nets.iter().map(row).collect() }
    }

    fn accuracies(&self) -> Block {
        self.grid("test accuracy, %", |net, method| {
            let planned =
                self.plan.cases.iter().filter(|case| case.net == net && case.method == method).count();
            match self.results.accuracy(net, method) {
                Some(summary) if summary.n == planned => summary.to_string(),
                Some(summary) => format!("{summary} ({} of {planned} seeds)", summary.n),
                None if planned == 0 => "–".into(),
                None => "missing".into(),
            }
        })
    }

    /// Seconds of an epoch, its ratio to the plain optimiser, and the speed beside the base method as in the paper's
    /// Table 4.
    fn times(&self) -> Block {
        let base = self.base();
        self.grid(&format!("s per epoch (× {base}; speed beside the base)"), |net, method| {
            let of = |method| self.results.epoch_seconds(net, method).filter(|seconds| *seconds > 0.0);
            let Some(seconds) = of(method) else { return "–".to_string() };
            let plain = of(Method { sam: false, gnr: None })
                .map_or(String::new(), |plain| format!("{:.1} ×", seconds / plain));
            let speed = method
                .base()
                .and_then(of)
                .map_or(String::new(), |base| format!("; {:.0} %", 100.0 * base / seconds));
            format!("{seconds:.3} ({plain}{speed})")
        })
    }

    /// The counted work of a step, which is free of noise; `None` when no run has it.
    fn work(&self) -> Option<Block> {
        let told = self.results.outcomes.iter().any(|outcome| outcome.work.is_some());
        told.then(|| {
            self.grid("gradients + Hessian-vector products a step", |net, method| {
                match self.results.work(net, method) {
                    Some([gradients, 0.0]) => format!("{gradients:.2}"),
                    Some([gradients, products]) => format!("{gradients:.2} + {products:.2}"),
                    None => "–".into(),
                }
            })
        })
    }

    fn time_caveat() -> &'static str {
        "Median of training over epochs and seeds, without evaluation, several runs side by side: noisy, for orientation only. \
         `cargo xtask bench` measures steps properly."
    }

    fn product_caveat() -> &'static str {
        "GNR exact and GNR by finite differences are two methods: on nets with ReLU a difference of gradients sees kinks \
         that the exact product does not."
    }

    /// The paper's numbers beside ours, and its claims.
    fn paper_blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Heading("What the paper says".into())];
        let mut rows = Vec::new();
        for net in self.nets() {
            for method in self.methods() {
                let net_ = &self.plan.nets[net];
                let Some(theirs) = self.paper.accuracy(self.plan.target, net_, method) else { continue };
                let ours =
                    self.results.accuracy(net, method).map_or("missing".into(), |ours| ours.to_string());
                rows.push(vec![net_.heading(), method.title(net_.optimizer.title()), theirs, ours]);
            }
        }
        if !rows.is_empty() {
            let header = ["net", "method", "paper, %", "here, %"].map(String::from).to_vec();
            blocks.push(Block::Table { header, rows });
        }
        let rows = self.nets().into_iter().map(|net| &self.plan.nets[net]);
        let quotes: BTreeSet<&str> = rows.filter_map(|net| self.paper.quote(self.plan.target, net)).collect();
        for claim in quotes.into_iter().chain(self.paper.claims(self.plan.target)) {
            blocks.push(Block::Paragraph(format!("“{}”", claim.replace('\t', " "))));
        }
        if blocks.len() == 1 {
            return Vec::new();
        }
        let note = match self.plan.scale {
            Scale::Paper => {
                "Quoted from the paper's text; where a table's cells are missing there, they are here."
            }
            _ => {
                "Quoted from the paper's text, about other nets and data than those of this scale: for reading, not for \
                  comparing."
            }
        };
        blocks.push(Block::Paragraph(note.into()));
        blocks
    }

    fn curve_blocks(&self) -> Result<Vec<Block>> {
        let methods = self.methods();
        let base = self.base();
        let key = methods.iter().map(|&method| (colour(method), method.title(&base))).collect();
        let mut figures = Vec::new();
        for net in self.nets() {
            for quantity in [Quantity::TestAccuracy, Quantity::TrainLoss] {
                let caption = format!("{}: {}", self.plan.nets[net].heading(), quantity.title());
                let curve = |&method: &Method| {
                    let runs = self.results.cell(net, method).map(|outcome| &outcome.epochs[..]);
                    Curve::of_runs(method.title(&base), colour(method), quantity, runs)
                };
                let curves: Vec<Curve> = methods.iter().map(curve).collect();
                figures.extend(figure(&caption, quantity, &curves)?);
            }
        }
        if figures.is_empty() {
            return Ok(figures);
        }
        let words = "The page beside this text has curves over epochs: mean over seeds, with a band of one sample standard \
                     deviation.";
        let mut blocks =
            vec![Block::Heading("Curves".into()), Block::Key(key), Block::Paragraph(words.into())];
        blocks.append(&mut figures);
        Ok(blocks)
    }

    /// The origin of the report, as names and values.
    fn provenance(&self) -> Vec<(String, String)> {
        let seeds: BTreeSet<u64> = self.plan.cases.iter().map(|case| case.seed).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let made: BTreeSet<&str> =
            self.results.outcomes.iter().map(|run| run.commit.as_deref().unwrap_or("unknown")).collect();
        let setting = |net: usize| {
            let net = &self.plan.nets[net];
            let images = net.images.map_or(String::new(), |images| format!(" of {images} images"));
            format!(
                "{}: {} epochs{images}, batch {}, {} lr {}, {}",
                net.heading(),
                net.epochs,
                net.batch,
                net.optimizer.title(),
                net.optimizer.learning_rate(),
                net.schedule
            )
        };
        let settings: Vec<String> = self.nets().into_iter().map(setting).collect();
        let facts = [
            ("command", format!("`{}`", self.command)),
            ("runs trained by", made.into_iter().collect::<Vec<_>>().join(", ")),
            ("recipe", format!("{}. {}", settings.join("; "), recipe::hyperparameters())),
            ("seeds", seeds.join(", ")),
        ];
        facts
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .chain(crate::machine::facts())
            .collect()
    }

    fn other_scales(&self) -> String {
        let target = self.plan.target;
        format!(
            "Other scales: `cargo xtask reproduce {target} --scale small --data DIR` and `--scale paper --data DIR`; `--dry-run` \
             says what they cost. When a data set is missing, the command says how to get it before anything is trained."
        )
    }
}
