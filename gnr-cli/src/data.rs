//! The command `gnr data`: the list of data sets, fetching, verifying, timing.

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use gnr_data::{
    DataError, DatasetInfo, FetchEvent, FetchOptions, Keep, OpenOptions, Part, available_without_dir, fetch,
    find, verify,
};
use indicatif::HumanBytes;

use crate::{args::positive, device::OnDevice, progress::bar, train::load};

/// List the data sets, describe one, fetch, verify
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  \
    gnr data\n  \
    gnr data cifar10\n  \
    gnr data fetch cifar10 --data-dir ~/data\n  \
    gnr data cifar10 --data-dir ~/data\n  \
    gnr data verify ~/data/imagenet/val\n  \
    gnr data bench cifar10-resnet20-sgd --set data.dir=~/data")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    /// A data set to describe
    pub(crate) name: Option<String>,
    /// Open it in this folder and count its images
    #[arg(long, requires = "name")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Download, check and unpack a data set
    Fetch(Fetch),
    /// Look for damaged files
    Verify(Verify),
    /// Time the loader of a recipe beside one gradient of its model
    Bench(LoaderBench),
}

/// Download, check and unpack a data set
///
/// Files that are there already are not downloaded again; an interrupted download continues where it was. Checksums are
/// the published ones; archives with links or with paths that lead out of the folder are refused.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr data fetch cifar10 --data-dir ~/data\n  \
    gnr data fetch food101 --data-dir ~/data --mirror https://mirror.example/food101")]
pub(crate) struct Fetch {
    /// A name that `gnr data` lists
    pub(crate) name: String,
    /// Folder to put it in
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Address of a folder with these files, tried before the published addresses
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Look for damaged files
///
/// Reads every image, IDX, CIFAR, MATLAB and gzip file at or below PATH to its end, on all cores. Lists, with the
/// reason, the damaged files and those that are sound but of a kind or layout that is not read. Exit code: 0 when there
/// is none, else 1.
#[derive(Args)]
#[command(after_help = "Example:\n  gnr data verify ~/data/food-101/images")]
pub(crate) struct Verify {
    /// A folder or a file
    pub(crate) path: PathBuf,
    /// Print damaged files only
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Time the loader of a recipe beside one gradient of its model
///
/// Prints images a second of the loader alone, of one gradient alone (the cheapest training step), and of both together
/// as in training; and the share of time that training waits for images.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr data bench\n  \
    gnr data bench cifar10-resnet20-sgd --set data.name=folder --set data.dir=cifar10-jpeg\n  \
    gnr data bench my.toml --set train.workers=4 --json")]
pub(crate) struct LoaderBench {
    /// A TOML file, or the name of a built-in recipe [default: digits]
    pub(crate) recipe: Option<String>,
    /// Set a key of the recipe; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Batches to time
    #[arg(long, default_value_t = 10, value_parser = positive)]
    pub(crate) batches: usize,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn data(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Some(Action::Fetch(arguments)) => fetch_set(&arguments),
        Some(Action::Verify(arguments)) => verify_files(&arguments),
        Some(Action::Bench(arguments)) => bench(&arguments),
        None => list(&arguments),
    }
}

fn list(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let Some(name) = &arguments.name else {
        for info in gnr_data::registry() {
            writeln!(out, "{:16} {:16} {}", info.name, how(info)?, info.summary)?;
        }
        writeln!(out, "\n`gnr data NAME` says more; `gnr data fetch NAME --data-dir DIR` downloads")?;
        return Ok(ExitCode::SUCCESS);
    };
    let info = find(name)?;
    writeln!(out, "{}: {}", info.name, info.summary)?;
    if let Some([train, test]) = info.counts {
        let classes = info.classes.map_or_else(String::new, |classes| format!(", {classes} classes"));
        writeln!(out, "published: {train} training and {test} test images{classes}")?;
    }
    writeln!(out, "licence: {}", info.licence)?;
    writeln!(out, "normalization: {}", info.preset)?;
    writeln!(out, "layouts: {}", info.layouts)?;
    writeln!(out, "how to get it: {}", info.fetch_hint)?;
    for download in info.downloads {
        let from = download.urls.first().copied().unwrap_or("by hand");
        writeln!(out, "file: {} (md5 {}), {from}", download.file, download.md5)?;
    }
    if arguments.data_dir.is_some() || available_without_dir(info.name)? {
        let options = OpenOptions { dir: arguments.data_dir.clone(), ..OpenOptions::default() };
        for part in [Part::Train, Part::Test] {
            // Photographs of several sizes cannot be held in memory without a resize, but they can be counted.
            let (set, sizes) = match info.open(part, &options) {
                Err(error @ DataError::SizeMismatch { .. }) => {
                    (info.open(part, &OpenOptions { keep: Keep::OnDisk, ..options.clone() })?, Some(error))
                }
                opened => (opened?, None),
            };
            writeln!(out, "{part}: {}", set.describe())?;
            if let Some(error) = sizes {
                writeln!(out, "warning: {part}: sizes differ: {error}")?;
            }
            for warning in set.warnings() {
                writeln!(out, "warning: {part}: {warning}")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The way to obtain a data set, in two words.
fn how(info: &DatasetInfo) -> anyhow::Result<&'static str> {
    Ok(match info.downloads {
        _ if available_without_dir(info.name)? => "ready",
        [] => "needs data.dir",
        downloads if downloads.iter().any(|download| download.urls.is_empty()) => "needs an account",
        _ => "can be fetched",
    })
}

fn fetch_set(arguments: &Fetch) -> anyhow::Result<ExitCode> {
    let info = find(&arguments.name)?;
    let options = FetchOptions { mirror: arguments.mirror.clone(), ..FetchOptions::default() };
    let bar = bar(arguments.quiet, "{prefix} {wide_bar} {msg}");
    let say = |text: String| {
        if !arguments.quiet {
            // A closed pipe is no reason to stop downloading.
            bar.suspend(|| drop(writeln!(std::io::stdout(), "{text}")));
        }
    };
    let mut speed = Speed::default();
    let outcome = fetch(info, &arguments.data_dir, &options, &mut |event| match event {
        FetchEvent::Downloading { file, done, total } => {
            bar.set_prefix(file.to_owned());
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
            let of = total.map_or_else(String::new, |total| format!(" of {}", HumanBytes(total)));
            bar.set_message(format!("{}{of}, {}/s", HumanBytes(done), HumanBytes(speed.at(done))));
        }
        FetchEvent::Checking { file, done, total } => {
            bar.set_prefix(file.to_owned());
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message("checking");
        }
        FetchEvent::Unpacking { file, files, done } => {
            bar.set_prefix(file.to_owned());
            bar.set_message(format!("unpacking: {files} files, {}", HumanBytes(done)));
        }
        FetchEvent::Retrying { file, reason } => say(format!("{file}: {reason}; trying again")),
        FetchEvent::Ready { file, already: true } => say(format!("{file}: was there already")),
        FetchEvent::Ready { file, already: false } => say(format!("{file}: done")),
    });
    bar.finish_and_clear();
    outcome.with_context(|| format!("fetching {}", info.name))?;
    say(format!("{} is in {}: set data.dir to it", info.name, arguments.data_dir.display()));
    Ok(ExitCode::SUCCESS)
}

/// The number of bytes a second since the first call for a file.
#[derive(Default)]
struct Speed {
    first: Option<(Instant, u64)>,
}

impl Speed {
    fn at(&mut self, done: u64) -> u64 {
        let (start, before) = *self.first.get_or_insert((Instant::now(), done));
        if done < before {
            self.first = None;
            return 0;
        }
        let seconds = start.elapsed().as_secs_f64().max(1e-3);
        ((done - before) as f64 / seconds) as u64
    }
}

fn verify_files(arguments: &Verify) -> anyhow::Result<ExitCode> {
    let bar = bar(arguments.quiet, "{wide_bar} {pos}/{len} files");
    let last = Mutex::new(Instant::now());
    let report = verify(&arguments.path, &|done, of| {
        // The bar is drawn ten times a second at most; a thread that finds the lock taken draws nothing.
        if let Ok(mut last) = last.try_lock()
            && (done == of || last.elapsed() > Duration::from_millis(100))
        {
            *last = Instant::now();
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        }
    });
    bar.finish_and_clear();
    let report = report?;
    let mut out = std::io::stdout();
    for (_, error) in report.damaged.iter().chain(&report.unread) {
        writeln!(out, "{error}")?;
    }
    if !arguments.quiet {
        let (checked, skipped, damaged) = (report.checked, report.skipped, report.damaged.len());
        let unread = match report.unread.len() {
            0 => String::new(),
            unread => format!(", {unread} not damaged but of a kind or layout that is not read"),
        };
        writeln!(
            out,
            "{checked} files checked, {damaged} damaged{unread}; {skipped} of other kinds left out"
        )?;
    }
    Ok(if report.damaged.is_empty() && report.unread.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn bench(arguments: &LoaderBench) -> anyhow::Result<ExitCode> {
    let recipe =
        load(arguments.recipe.as_deref().unwrap_or("digits"), &arguments.device.with(&arguments.sets))?;
    let report = gnr_train::loader_bench(&recipe, arguments.batches)?;
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let [channels, height, width] = report.shape;
    writeln!(out, "{}", report.data)?;
    writeln!(
        out,
        "{channels}x{height}x{width} in batches of {}, {} workers; {} on {} threads; {} batches",
        report.batch_size, report.workers, report.model, report.threads, report.batches
    )?;
    writeln!(out, "loader alone      {:10.0} images/s", report.loader_images_per_second)?;
    writeln!(out, "gradient alone    {:10.0} images/s", report.step_images_per_second)?;
    writeln!(
        out,
        "both together     {:10.0} images/s, {:.1} % of the time waiting for images",
        report.together_images_per_second,
        100.0 * report.waiting
    )?;
    Ok(ExitCode::SUCCESS)
}
