//! A headless Chromium, which gives measurements of a page, the lines of its console and a screenshot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Look;
use crate::workspace::root;

/// Names of the program on various systems. `CHROMIUM` in the environment takes precedence.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Measurements by a script in the page. Lengths are in CSS pixels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Measured {
    /// Width of the whole page.
    pub(super) width: f64,
    /// Width of the visible part.
    pub(super) window: f64,
    pub(super) height: f64,
    /// Whether the browser prefers dark colours.
    pub(super) dark: bool,
    /// Number of letters of all text.
    pub(super) letters: usize,
    /// Width, height, number of shapes and size of the smallest letters of each drawing.
    pub(super) figures: Vec<[f64; 4]>,
}

/// A script that is added to the page. It prints measurements to the console and changes nothing.
const PROBE: &str = "<script>addEventListener('load', () => {
const root = document.documentElement;
const figure = svg => {
  const box = svg.getBoundingClientRect();
  const letters = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect().height).filter(x => x > 0);
  return [box.width, box.height, svg.querySelectorAll('polyline,path,polygon,circle,rect,line').length,
    letters.length ? Math.min(...letters) : 99];
};
console.log('PAGE ' + JSON.stringify({
  width: root.scrollWidth, window: innerWidth, height: root.scrollHeight,
  dark: matchMedia('(prefers-color-scheme: dark)').matches, letters: document.body.innerText.length,
  figures: [...document.querySelectorAll('svg')].map(figure)}));
})</script>";

/// A browser that was found.
pub(super) struct Browser {
    program: PathBuf,
}

impl Browser {
    /// # Errors
    /// When none is installed.
    pub(super) fn find() -> Result<Self> {
        if let Some(program) = std::env::var_os("CHROMIUM") {
            return Ok(Self { program: program.into() });
        }
        let folders: Vec<PathBuf> =
            std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        let programs = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        match programs.into_iter().find(|program| program.is_file()) {
            Some(program) => Ok(Self { program }),
            None => bail!(
                "no browser: expected one of {} on the PATH, or its path in CHROMIUM (Debian: apt-get install chromium)",
                NAMES.join(", ")
            ),
        }
    }

    /// Draws a page and writes a screenshot of all of it. Returns measurements and the lines of the console.
    pub(super) fn look(&self, page: &str, look: Look, shot: &Path) -> Result<(Measured, Vec<String>)> {
        let folder = root().join("target/page/browser");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (probed, frame) = (folder.join("page.html"), folder.join("frame.html"));
        let write = |path: &Path, text: &str| {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(&probed, &format!("{page}{PROBE}"))?;
        // A window is at least 500 pixels wide, but a frame in it can be narrower. The first pass measures the height.
        let framed = |height: f64| {
            format!(
                "<!doctype html><body style=\"margin:0\"><iframe src=\"page.html\" style=\"border:0;display:block;width:{}px;\
                 height:{height}px\"></iframe>",
                look.width
            )
        };
        write(&frame, &framed(800.0))?;
        let (measured, _) = self.open(&frame, look, 800.0, shot)?;
        write(&frame, &framed(measured.height))?;
        self.open(&frame, look, measured.height, shot)
    }

    fn open(&self, page: &Path, look: Look, height: f64, shot: &Path) -> Result<(Measured, Vec<String>)> {
        let mut command = Command::new(&self.program);
        let profile = page.with_file_name("profile");
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
        ]);
        command.args(["--force-device-scale-factor=1", "--host-resolver-rules=MAP * ~NOTFOUND"]);
        command.arg(format!("--blink-settings=preferredColorScheme={}", if look.dark { 0 } else { 1 }));
        command.arg(format!("--window-size={},{}", look.width, height.ceil().clamp(100.0, 16_000.0)));
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.arg(format!("--screenshot={}", shot.display())).arg(format!("file://{}", page.display()));
        let output = command.output().with_context(|| format!("cannot start {}", self.program.display()))?;
        let log = String::from_utf8_lossy(&output.stderr);
        let (pages, console): (Vec<String>, Vec<String>) =
            said(&log).into_iter().partition(|line| line.starts_with("PAGE "));
        let Some(told) = pages.first().filter(|_| output.status.success()) else {
            bail!("{} told nothing of the page ({}):\n{log}", self.program.display(), output.status);
        };
        let measured = serde_json::from_str(&told["PAGE ".len()..])
            .with_context(|| format!("the page told `{told}`"))?;
        Ok((measured, console))
    }
}

/// The lines of the console in a log, as in `[1:2:1129/071813.024:INFO:CONSOLE:196] "words", source: file (196)`.
fn said(log: &str) -> Vec<String> {
    let console = log.lines().filter(|line| line.contains(":CONSOLE"));
    let words = |line: &str| {
        let from = line.find("] \"").map_or(0, |at| at + 3);
        let to = line.rfind("\", source: ").unwrap_or(line.len()).max(from);
        line[from..to].to_owned()
    };
    console.map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_told_from_the_rest_of_the_log() {
        let log = "[1:2:1129/071805.496:ERROR:dbus/bus.cc:405] Failed to connect to the bus\n\
                   [1:1:1129/071813.024:INFO:CONSOLE:196] \"PAGE {\"width\":500}\", source: file:///a.html (196)\n\
                   [1:1:1129/071813.024:ERROR:CONSOLE(3)] \"Uncaught ReferenceError: x\", source: file:///a.html (3)\n";
        assert_eq!(said(log), ["PAGE {\"width\":500}", "Uncaught ReferenceError: x"]);
    }
}
