//! `cargo xtask page`: looks at pages in a real browser. A headless Chromium draws each of them wide, narrow and in the
//! dark; what its console says, what it measured and the screenshots are checked. The pages are self-contained, so the
//! browser gets no network.

mod browser;
mod screenshot;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::workspace::root;
use browser::{Browser, Measured};

/// Options of `cargo xtask page`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Pages, HTML files, relative to the workspace.
    #[arg(required = true)]
    pages: Vec<PathBuf>,
    /// Folder of the screenshots.
    #[arg(long, value_name = "DIR", default_value = "target/page")]
    out: PathBuf,
    /// Drawings that each page must have at least.
    #[arg(long, value_name = "N", default_value_t = 1)]
    figures: usize,
}

/// The conditions under which a page is drawn.
#[derive(Clone, Copy, Debug)]
struct Look {
    name: &'static str,
    /// Width of the window in CSS pixels.
    width: u32,
    dark: bool,
}

/// A wide window, a phone, and a wide window of somebody who prefers the dark.
const LOOKS: [Look; 3] = [
    Look { name: "wide", width: 1280, dark: false },
    Look { name: "narrow", width: 360, dark: false },
    Look { name: "dark", width: 1280, dark: true },
];

/// Draws and checks every page under all conditions.
///
/// # Errors
/// No browser; a page that is missing, empty, wider than its window, not self-contained, or that the console complains
/// about.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let out = root().join(&arguments.out);
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let browser = Browser::find()?;
    let mut problems = Vec::new();
    for page in &arguments.pages {
        let path = root().join(page);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        problems
            .extend(outside(&text).map(|what| format!("{}: is not self-contained: {what}", page.display())));
        for look in LOOKS {
            let stem = page.with_extension("").to_string_lossy().replace(['/', '\\'], "-");
            let shot = out.join(format!("{stem}-{}.png", look.name));
            let (measured, console) = browser.look(&text, look, &shot)?;
            let mut found = measured.problems(look, arguments.figures);
            found.extend(console.into_iter().map(|line| format!("the console says {line}")));
            found.extend(screenshot::problems(&shot, look.dark)?);
            println!(
                "{} {}: {} x {} px, {} figures, {}",
                page.display(),
                look.name,
                measured.width,
                measured.height,
                measured.figures.len(),
                if found.is_empty() { "good".to_owned() } else { format!("{} problem(s)", found.len()) }
            );
            problems
                .extend(found.into_iter().map(|what| format!("{} ({}): {what}", page.display(), look.name)));
        }
    }
    println!("screenshots: {}", out.display());
    for problem in &problems {
        println!("error: {problem}");
    }
    if problems.is_empty() { Ok(()) } else { bail!("page: {} problem(s)", problems.len()) }
}

/// The first part of a page that would load something from elsewhere, or run a script.
fn outside(page: &str) -> Option<String> {
    let forbidden =
        ["<script", "<link", "<iframe", "<object", "src=\"http", "href=\"http", "url(http", "@import"];
    forbidden.into_iter().find(|what| page.contains(what)).map(|what| format!("it has `{what}`"))
}

impl Measured {
    fn problems(&self, look: Look, figures: usize) -> Vec<String> {
        let mut problems = Vec::new();
        if self.width > self.window {
            problems.push(format!("{} px wide in a window of {}", self.width, self.window));
        }
        if self.dark != look.dark {
            problems.push(format!("the browser says dark = {}, expected {}", self.dark, look.dark));
        }
        if self.letters < 200 {
            problems.push(format!("{} letters of text, expected at least 200", self.letters));
        }
        if self.figures.len() < figures {
            problems.push(format!("{} figures, expected at least {figures}", self.figures.len()));
        }
        for (index, figure) in self.figures.iter().enumerate() {
            let [width, height, shapes, letter] = *figure;
            if width < 100.0 || height < 60.0 || shapes < 4.0 {
                problems.push(format!("figure {}: {width} x {height} px with {shapes} shapes", index + 1));
            }
            // Smaller letters cannot be read on a phone.
            if letter < 6.0 {
                problems
                    .push(format!("figure {}: letters of {letter:.1} px, expected at least 6", index + 1));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_from_elsewhere_is_found() {
        assert_eq!(outside("<p>see https://example.org</p>"), None);
        for page in ["<script>", "<img src=\"https://e.org/a.png\">", "<style>@import 'a'</style>"] {
            assert!(outside(page).is_some(), "{page}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_page_is_told() {
        let good = Measured {
            width: 1280.0,
            window: 1280.0,
            height: 900.0,
            dark: false,
            letters: 1000,
            figures: vec![[400.0, 300.0, 40.0, 9.0]],
        };
        assert_eq!(good.problems(LOOKS[0], 1), Vec::<String>::new());
        let told = |bad: Measured| bad.problems(LOOKS[0], 1).join("; ");
        assert!(
            told(Measured { width: 1300.0, ..good.clone() }).contains("1300 px wide in a window of 1280")
        );
        assert!(told(Measured { dark: true, ..good.clone() }).contains("dark"));
        assert!(told(Measured { letters: 3, ..good.clone() }).contains("3 letters"));
        assert!(told(Measured { figures: vec![], ..good.clone() }).contains("0 figures"));
        assert!(
            told(Measured { figures: vec![[400.0, 300.0, 0.0, 9.0]], ..good.clone() }).contains("0 shapes")
        );
        assert!(
            told(Measured { figures: vec![[400.0, 300.0, 40.0, 3.0]], ..good }).contains("letters of 3.0 px")
        );
    }
}
