//! `mpirun -n 4 gnr-mpi-check` checks that the ranks of an installation exchange the right numbers, and measures how
//! long reductions take.
//!
//! `gnr-mpi-check fail RANK` ends one rank with an error, `gnr-mpi-check stuck RANK` lets one take no part any more.
#![allow(clippy::print_stdout, reason = "what it finds is what it is for")]

use std::{process::ExitCode, time::Instant};

use gnr_core::{
    Collective, DataParallel, Error, Gnr, GradOracle as _, HvpOracle as _, Method, Order, Pass, Result, Sam,
    Sgd, Shares, Use,
    collective::{Packed, agree},
    random::SplitMix64,
};

fn main() -> ExitCode {
    let job = match gnr_mpi::join() {
        Ok(job) => job,
        Err(error) => return failed(&error),
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ranks = job.ranks.as_ref();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => all(&job),
        ["fail", rank] => fail(ranks, rank),
        ["stuck", rank] => stuck(ranks, rank),
        _ => return failed("expected no argument, `fail RANK` or `stuck RANK`"),
    };
    match done {
        Ok(()) => {
            job.finish();
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn wrong(what: impl Into<String>) -> Error {
    Error::Oracle(what.into())
}

fn all(job: &gnr_mpi::Job) -> Result<()> {
    let ranks = job.ranks.as_ref();
    exchanges(ranks)?;
    means(ranks)?;
    training(job)?;
    if ranks.rank() == 0 {
        println!("{} ranks, {} on this machine: every exchange is right", ranks.size(), job.neighbours);
    }
    for count in COUNTS {
        let (mean, least) = reductions(ranks, count)?;
        if ranks.rank() == 0 {
            println!("mean of {count:>9} f32: {mean:>10.3} ms, at least {least:.3} ms");
        }
    }
    Ok(())
}

/// Counts of numbers in the reductions that are timed. ResNet-20 has 272,474 parameters, ResNet-18 some eleven million.
const COUNTS: [usize; 6] = [16, 4096, 65_536, 272_474, 1 << 20, 11_000_000];

/// Mean and least milliseconds of a reduction of `count` numbers. The least is the time while each rank has a core of
/// its own.
fn reductions(ranks: &dyn Collective, count: usize) -> Result<(f64, f64)> {
    let repeats = if count > 1 << 19 { 5 } else { 200 };
    let weights = vec![1.0 / ranks.size() as f64; ranks.size()];
    let (mut sum, mut least) = (0.0, f64::INFINITY);
    for _ in 0..repeats {
        let own = Packed::Single(vec![1.0; count]);
        ranks.barrier()?;
        let started = Instant::now();
        ranks.mean(own, &weights)?;
        let milliseconds = 1e3 * started.elapsed().as_secs_f64();
        (sum, least) = (sum + milliseconds, milliseconds.min(least));
    }
    Ok((sum / f64::from(repeats), least))
}

/// Checks messages of different lengths, a broadcast and an exchange; results must be in rank order.
fn exchanges(ranks: &dyn Collective) -> Result<()> {
    let message = |rank: usize| vec![rank as u8; 3 * rank];
    let found = ranks.messages(message(ranks.rank()))?;
    if found.iter().enumerate().any(|(rank, found)| *found != message(rank)) || found.len() != ranks.size() {
        return Err(wrong(format!("messages came as {found:?}")));
    }
    if ranks.messages(Vec::new())?.concat() != [0_u8; 0] {
        return Err(wrong("empty messages came as something"));
    }
    let last = ranks.size() - 1;
    if ranks.broadcast(last, message(ranks.rank()))? != message(last) {
        return Err(wrong("a broadcast came damaged"));
    }
    let counts: Vec<usize> = (0..ranks.size()).map(|rank| rank % 3).collect();
    let total: usize = counts.iter().sum();
    let own = (0..total).map(|k| (100 * ranks.rank() + k) as f64).collect();
    let found = ranks.exchange(Packed::Double(own), &counts)?.doubles()?;
    let start: usize = counts[..ranks.rank()].iter().sum();
    let from = |rank: usize| (start..start + counts[ranks.rank()]).map(move |k| (100 * rank + k) as f64);
    let expected: Vec<f64> = (0..ranks.size()).flat_map(from).collect();
    if found != expected {
        return Err(wrong(format!("an exchange came as {found:?}, expected {expected:?}")));
    }
    Ok(())
}

/// Checks that means have the bits of sums in rank order, which MPI's own reductions would not promise.
fn means(ranks: &dyn Collective) -> Result<()> {
    let weights: Vec<f64> = (1..=ranks.size()).map(|weight| weight as f64 / 7.0).collect();
    for count in [0, 1, 4096, 4097, 100_003] {
        let numbers = |rank: usize| SplitMix64::new(rank as u64).normals(count);
        let mut expected = vec![0.0; count];
        for (rank, weight) in weights.iter().enumerate() {
            expected.iter_mut().zip(numbers(rank)).for_each(|(sum, x)| *sum += weight * x);
        }
        let found = ranks.mean(Packed::Double(numbers(ranks.rank())), &weights)?.doubles()?;
        if (ranks.size() > 1 && found != expected) || found.len() != count {
            return Err(wrong(format!(
                "the mean of {count} numbers has other bits than the sum in rank order"
            )));
        }
    }
    Ok(())
}

/// A loss with one term an example: the mean of sin(a·x) over the rows a.
#[derive(Clone)]
struct Terms(Vec<Vec<f64>>);

impl gnr_core::GradOracle for Terms {
    type Vector = Vec<f64>;
    type Record = ();
    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<f64>,
        _: Pass,
        _: Order,
    ) -> Result<gnr_core::Evaluation<'a, Vec<f64>, ()>> {
        let (mut loss, mut grad) = (0.0, vec![0.0; at.len()]);
        for a in &self.0 {
            let z: f64 = a.iter().zip(at).map(|(a, x)| a * x).sum();
            loss += z.sin() / self.0.len() as f64;
            grad.iter_mut().zip(a).for_each(|(g, a)| *g += a * z.cos() / self.0.len() as f64);
        }
        gnr_core::Evaluation::new(at, loss, grad, ())
    }
}

impl gnr_core::HvpOracle for Terms {
    fn hvp(
        &mut self,
        here: &gnr_core::Evaluation<'_, Vec<f64>, ()>,
        v: &Vec<f64>,
        _: Use,
    ) -> Result<Vec<f64>> {
        let mut product = vec![0.0; v.len()];
        for a in &self.0 {
            let z: f64 = a.iter().zip(here.at.iter()).map(|(a, x)| a * x).sum();
            let along: f64 = a.iter().zip(v).map(|(a, v)| a * v).sum();
            product.iter_mut().zip(a).for_each(|(p, a)| *p -= a * along * z.sin() / self.0.len() as f64);
        }
        Ok(product)
    }
}

/// Checks that SAM and GNR on ranks with unequal shares give the parameters of one process.
fn training(job: &gnr_mpi::Job) -> Result<()> {
    let ranks = &job.ranks;
    let terms: Vec<_> = (0..29).map(|seed| SplitMix64::new(seed).normals(6)).collect();
    let shares = Shares::even(ranks.clone(), terms.len())?;
    let part = shares.part();
    let own = Terms(terms[part.start..part.start + part.len].to_vec());
    let mut spread = DataParallel::new(own, shares);
    let mut whole = Terms(terms);
    let method = || -> Result<_> {
        let (regularizer, optimizer) = ((Sam::new(0.05)?, Gnr::new(0.1, 0.5)?), Sgd::new());
        Ok(Method { regularizer, optimizer, learning_rate: 0.1, clip: gnr_core::Clip::None })
    };
    let (mut mine, mut alone) = (vec![0.2; 6], vec![0.2; 6]);
    let (mut on_ranks, mut by_itself) = (method()?, method()?);
    for t in 0..20 {
        on_ranks.step(t, &mut mine, &mut spread)?;
        by_itself.step(t, &mut alone, &mut whole)?;
    }
    let furthest = mine.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // The tolerance is for rounding in twenty steps with numbers of about 1.
    if furthest > 1e-13 {
        return Err(wrong(format!("after 20 steps ranks and one process differ by {furthest:e}")));
    }
    let bits: Vec<u8> = mine.iter().flat_map(|x| x.to_le_bytes()).collect();
    if ranks.messages(bits.clone())?.iter().any(|theirs| *theirs != bits) {
        return Err(wrong("ranks have different parameters"));
    }
    let here = spread.evaluate(&mine, Pass::Probe, Order::Second)?;
    spread.hvp(&here, &alone, Use::Last).map(drop)
}

fn parsed(rank: &str) -> Result<usize> {
    rank.parse().map_err(|_| wrong(format!("expected a rank, found `{rank}`")))
}

fn fail(ranks: &dyn Collective, rank: &str) -> Result<()> {
    let failing = parsed(rank)?;
    agree(ranks, if ranks.rank() == failing { Err(wrong("the image is damaged")) } else { Ok(0.0) }).map(drop)
}

fn stuck(ranks: &dyn Collective, rank: &str) -> Result<()> {
    if ranks.rank() == parsed(rank)? {
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
    ranks.barrier()
}
