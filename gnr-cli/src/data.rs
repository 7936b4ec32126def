//! The command `gnr data`: the list of data sets, fetching, verifying, timing.

use std::{io::Write, process::ExitCode, sync::Mutex, time::Duration, time::Instant};

use anyhow::Context as _;
use gnr_data::{
    DatasetInfo, FetchEvent, FetchOptions, OpenOptions, Part, available_without_dir, fetch, find, verify,
};
use indicatif::HumanBytes;

use crate::{args, progress::bar, train::load};

pub(crate) fn data(arguments: args::Data) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Some(args::DataAction::Fetch(arguments)) => fetch_set(&arguments),
        Some(args::DataAction::Verify(arguments)) => verify_files(&arguments),
        Some(args::DataAction::Bench(arguments)) => bench(&arguments),
        None => list(&arguments),
    }
}

fn list(arguments: &args::Data) -> anyhow::Result<ExitCode> {
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
            let set = info.open(part, &options)?;
            writeln!(out, "{part}: {}", set.describe())?;
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

fn fetch_set(arguments: &args::Fetch) -> anyhow::Result<ExitCode> {
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

fn verify_files(arguments: &args::Verify) -> anyhow::Result<ExitCode> {
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

fn bench(arguments: &args::DataBench) -> anyhow::Result<ExitCode> {
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
