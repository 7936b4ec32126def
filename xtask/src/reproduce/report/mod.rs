//! What the results support, once as data; [`terminal`], [`markdown`] and [`html`] only write it down.

mod curves;
mod html;
mod markdown;
mod terminal;

use std::collections::BTreeSet;

use super::plan::{METHODS, Method, Plan};
use super::recipe;
use super::results::Results;
use super::runner::Failure;
use crate::machine::Machine;
use crate::statistics::{Summary, Verdict};

/// A report on one reproduction.
pub(super) struct Report<'a> {
    plan: &'a Plan,
    results: &'a Results,
    failures: &'a [Failure],
    machine: Machine,
    command: String,
}

/// A line of the table of differences.
struct Difference {
    net: String,
    method: Method,
    base: Method,
    points: Summary,
    verdict: Verdict,
}

impl Difference {
    /// `+0.31 ± 0.20`, in percentage points.
    fn mean(&self) -> String {
        format!(
            "{:+.2}{}",
            self.points.mean,
            self.points.std.map_or(String::new(), |std| format!(" ± {std:.2}"))
        )
    }

    fn interval(&self) -> String {
        self.points.interval().map_or("–".into(), |[low, high]| format!("[{low:+.2}, {high:+.2}]"))
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        results: &'a Results,
        failures: &'a [Failure],
        machine: Machine,
        command: String,
    ) -> Self {
        Self { plan, results, failures, machine, command }
    }

    fn title(&self) -> String {
        format!("Table 1, {} scale", self.plan.scale)
    }

    /// Nets of which something was planned (a filter may leave some out), by index.
    fn nets(&self) -> BTreeSet<usize> {
        self.plan.cases.iter().map(|case| case.net).collect()
    }

    /// Methods of which something was planned, in the table's order.
    fn methods(&self) -> Vec<Method> {
        let planned = |method: &Method| self.plan.cases.iter().any(|case| case.method == *method);
        METHODS.into_iter().filter(planned).collect()
    }

    /// Header and rows of the accuracies: methods down, nets across.
    fn accuracies(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let nets = self.nets();
        let mut header = vec!["test accuracy, %".to_string()];
        header.extend(nets.iter().map(|&net| self.plan.nets[net].heading()));
        let rows = self.methods().into_iter().map(|method| {
            let cell = |&net: &usize| self.cell(net, method);
            std::iter::once(method.title().to_string()).chain(nets.iter().map(cell)).collect()
        });
        (header, rows.collect())
    }

    fn cell(&self, net: usize, method: Method) -> String {
        let planned = self.plan.cases.iter().filter(|case| case.net == net && case.method == method).count();
        match self.results.accuracy(net, method) {
            Some(summary) if summary.n == planned => summary.to_string(),
            Some(summary) => format!("{summary} ({} of {planned} seeds)", summary.n),
            None if planned == 0 => "–".into(),
            None => "failed".into(),
        }
    }

    fn differences(&self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for net in self.nets() {
            for method in self.methods() {
                let Some(base) = method.base() else { continue };
                let Some(points) = self.results.paired(net, method, base) else { continue };
                let verdict = Verdict::of(&points);
                let net = self.plan.nets[net].heading();
                differences.push(Difference { net, method, base, points, verdict });
            }
        }
        differences
    }

    fn difference_header() -> Vec<String> {
        ["net", "method − base", "points, mean ± std", "95 % interval", "pairs", "reading"]
            .map(String::from)
            .to_vec()
    }

    fn difference_rows(&self) -> Vec<Vec<String>> {
        let row = |d: Difference| {
            let pair = format!("{} − {}", d.method.title(), d.base.title());
            vec![d.net.clone(), pair, d.mean(), d.interval(), d.points.n.to_string(), d.verdict.to_string()]
        };
        self.differences().into_iter().map(row).collect()
    }

    /// Seconds of an epoch and its ratio to SGD: methods down, nets across.
    fn times(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let nets = self.nets();
        let mut header = vec!["s per epoch (× SGD)".to_string()];
        header.extend(nets.iter().map(|&net| self.plan.nets[net].heading()));
        let cell = |net: usize, method: Method| {
            let Some(seconds) = self.results.epoch_seconds(net, method) else { return "–".to_string() };
            match self.results.epoch_seconds(net, METHODS[0]).filter(|sgd| *sgd > 0.0) {
                Some(sgd) => format!("{seconds:.3} ({:.1} ×)", seconds / sgd),
                None => format!("{seconds:.3}"),
            }
        };
        let row = |method: Method| {
            std::iter::once(method.title().to_string())
                .chain(nets.iter().map(|&net| cell(net, method)))
                .collect()
        };
        (header, self.methods().into_iter().map(row).collect())
    }

    /// What the differences say together, in words that do not go beyond them.
    fn conclusion(&self) -> String {
        let differences = self.differences();
        let count = |verdict: Verdict| differences.iter().filter(|d| d.verdict == verdict).count();
        let (better, worse) = (count(Verdict::Better), count(Verdict::Worse));
        let (noise, unknown) = (count(Verdict::WithinNoise), count(Verdict::Unknown));
        let all = differences.len();
        if all == 0 {
            return "No comparison with a base method is possible from these runs.".into();
        }
        let mut told = if better + worse == 0 && noise > 0 {
            format!("Of {all} comparisons none shows a difference beyond seed noise")
        } else {
            format!(
                "Of {all} comparisons {better} are better, {worse} worse, {noise} show no difference beyond seed noise"
            )
        };
        if unknown > 0 {
            told += &format!(", and about {unknown} nothing can be said from these seeds");
        }
        told += ". With no true difference at all, about one interval in twenty would still leave zero out: single rows \
                 prove little, and so few seeds give wide intervals.";
        told
    }

    fn time_caveat() -> &'static str {
        "Median over epochs and seeds, evaluation included, several runs side by side on one thread each: noisy, for orientation \
         only. `cargo xtask bench` measures steps properly."
    }

    fn product_caveat() -> &'static str {
        "GNR exact and GNR by finite differences are two methods: on nets with ReLU a difference of gradients sees kinks \
         that the exact product does not."
    }

    /// Origin, as name and value.
    fn provenance(&self) -> Vec<(&'static str, String)> {
        let seeds: BTreeSet<u64> = self.plan.cases.iter().map(|case| case.seed).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let made: BTreeSet<&str> =
            self.results.outcomes.iter().map(|run| run.commit.as_deref().unwrap_or("unknown")).collect();
        let epochs = |net: usize| {
            let net = &self.plan.nets[net];
            format!("{}: {} epochs, batch {}, lr {}", net.heading(), net.epochs, net.batch, net.learning_rate)
        };
        let recipes: Vec<String> = self.nets().into_iter().map(epochs).collect();
        vec![
            ("command", format!("`{}`", self.command)),
            ("commit", self.machine.commit.clone()),
            ("runs trained by", made.into_iter().collect::<Vec<_>>().join(", ")),
            ("recipe", format!("{}. {}", recipes.join("; "), recipe::hyperparameters())),
            ("seeds", seeds.join(", ")),
            ("machine", format!("{}, {} cores", self.machine.cpu, self.machine.cores)),
            ("date", format!("{} UTC", self.machine.date)),
        ]
    }

    fn other_scales() -> &'static str {
        "Other scales: `cargo xtask reproduce table1 --scale small --data DIR` and `--scale paper --data DIR`; when a data set \
         is missing, the command says how to get it before anything is trained."
    }
}
