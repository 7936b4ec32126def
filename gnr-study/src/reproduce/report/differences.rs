//! Paired differences to the base methods, and what they support in words.

use super::super::plan::{Gnr, Method};
use super::Report;
use crate::report::Block;
use crate::statistics::{Summary, Verdict};

/// A comparison on one net.
struct Difference {
    net: usize,
    method: Method,
    base: Method,
    points: Summary,
}

impl Difference {
    fn interval(points: &Summary) -> String {
        points.interval().map_or("–".into(), |[low, high]| format!("[{low:+.2}, {high:+.2}]"))
    }

    fn mean(points: &Summary) -> String {
        format!("{:+.2}{}", points.mean, points.std.map_or(String::new(), |std| format!(" ± {std:.2}")))
    }
}

impl Report<'_> {
    pub(super) fn difference_blocks(&self) -> Vec<Block> {
        let differences = self.differences();
        let points: Vec<Summary> = differences.iter().map(|d| d.points).collect();
        let verdicts = Verdict::of_all(&points);
        let rows = differences.iter().zip(&verdicts).map(|(d, verdict)| {
            let net = &self.plan.nets[d.net];
            let title = net.optimizer.title();
            vec![
                net.heading(),
                format!("{} − {}", d.method.title(title), d.base.title(title)),
                Difference::mean(&d.points),
                Difference::interval(&d.points),
                d.points.n.to_string(),
                verdict.to_string(),
            ]
        });
        let header = ["net", "method − base", "points, mean ± std", "95 % interval", "pairs", "reading"];
        let mut blocks = vec![
            Block::Heading("Differences to the base method, same seeds".into()),
            Block::Table { header: header.map(String::from).to_vec(), rows: rows.collect() },
            Block::Paragraph(
                "Pairs share seed, initialisation and order of the data. Intervals are Student's t, each for itself; the \
                 reading takes all comparisons of this table together (Holm's correction at 5 %)."
                    .into(),
            ),
            Block::Heading("What the data supports".into()),
            Block::Paragraph(self.conclusion(&verdicts)),
        ];
        for (method, base) in self.pairs() {
            blocks.extend(self.over_nets(&differences, &verdicts, method, base).map(Block::Paragraph));
        }
        blocks
    }

    /// Each method of the plan with its base, in the plan's order.
    fn pairs(&self) -> Vec<(Method, Method)> {
        self.methods().into_iter().filter_map(|method| Some((method, method.base()?))).collect()
    }

    fn differences(&self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for net in self.nets() {
            for (method, base) in self.pairs() {
                let Some(points) = self.results.paired(net, method, base) else { continue };
                differences.push(Difference { net, method, base, points });
            }
        }
        differences
    }

    /// The conclusion from all differences, in words that do not go beyond them.
    fn conclusion(&self, verdicts: &[Verdict]) -> String {
        let count = |verdict: Verdict| verdicts.iter().filter(|v| **v == verdict).count();
        let all = verdicts.len();
        if all == 0 {
            return "No comparison with a base method is possible from these runs.".into();
        }
        let (better, worse) = (count(Verdict::Better), count(Verdict::Worse));
        let alone = count(Verdict::BetterAlone) + count(Verdict::WorseAlone);
        let (noise, unknown) = (count(Verdict::WithinNoise), count(Verdict::Unknown));
        let mut told = format!(
            "Of {all} comparisons {better} are better and {worse} worse than their base method even when all are looked at \
             together"
        );
        if alone > 0 {
            told += &format!("; {alone} would be different taken alone, which among so many may be chance");
        }
        told += &format!("; {noise} show no difference beyond seed noise");
        if unknown > 0 {
            told += &format!("; about {unknown} nothing can be said from these seeds");
        }
        told += ". No difference shown is not no difference: so few seeds give wide intervals.";
        told
    }

    /// A sentence about a method on all nets, as the paper's "for all models" would need.
    fn over_nets(
        &self,
        differences: &[Difference],
        verdicts: &[Verdict],
        method: Method,
        base: Method,
    ) -> Option<String> {
        let of: Vec<(&Difference, &Verdict)> =
            differences.iter().zip(verdicts).filter(|(d, _)| d.method == method && d.base == base).collect();
        let means: Vec<f64> = of.iter().map(|(d, _)| d.points.mean).collect();
        let summary = Summary::of(&means)?;
        let titles: std::collections::BTreeSet<&str> =
            of.iter().map(|(d, _)| self.plan.nets[d.net].optimizer.title()).collect();
        let title = titles.into_iter().collect::<Vec<_>>().join("/");
        let up = means.iter().filter(|mean| **mean > 0.0).count();
        let sure = of.iter().filter(|(_, verdict)| **verdict == Verdict::Better).count();
        let many = means.len();
        let mut told = format!("{} − {}: ", method.title(&title), base.title(&title));
        told += &match many {
            1 => format!("{:+.2} points on the one net", summary.mean),
            _ => format!("{:+.2} points on average over {many} nets, up on {up} of them", summary.mean),
        };
        if let Some([low, high]) = summary.interval() {
            told += &format!(" (95 % interval over nets [{low:+.2}, {high:+.2}])");
        }
        told += match (sure, many) {
            (0, _) => "; an improvement is not established on any.",
            (sure, many) if sure == many => "; an improvement is established on all of them.",
            _ => "; an improvement is established on some, not on all.",
        };
        if method.gnr.is_some_and(|Gnr { every, .. }| every > 1) {
            told += " α is higher in proportion to the steps left out.";
        }
        Some(told)
    }
}
