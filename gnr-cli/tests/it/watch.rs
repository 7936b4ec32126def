//! Tests of `gnr watch` and `gnr report` beside a run that trains, with the real program on a pseudo-terminal.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use crate::support::{TINY, gnr, run, tree, write};

/// A program in a terminal of 120 by 40 characters, and its output.
struct Watched {
    child: Child,
    keys: ChildStdin,
    /// The pieces of the program's output, until it ends.
    pieces: Receiver<Vec<u8>>,
    /// All output so far.
    bytes: Vec<u8>,
    terminal: vt100::Parser,
}

impl Watched {
    /// Runs words of a shell on a pseudo-terminal. Every Linux system has `script` (Debian: bsdutils, essential).
    fn start(words: &str) -> Self {
        let sized = format!("stty rows 40 cols 120; {words}");
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--flush", "--command", &sized, "/dev/null"])
            .env("SHELL", "/bin/sh");
        command.env("TERM", "xterm-256color").env("GNR", env!("CARGO_BIN_EXE_gnr"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                if sender.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, pieces, bytes: Vec::new(), terminal: vt100::Parser::new(40, 120, 0) }
    }

    /// Reads until the screen satisfies a condition.
    fn until(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let screen = self.terminal.screen().contents();
            if is(&screen) {
                return screen;
            }
            match self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => {
                    self.terminal.process(&piece);
                    self.bytes.extend(piece);
                }
                Err(error) => panic!("waited for {what}: {error}; the screen shows\n{screen}"),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The exit code, and what was written to the terminal.
    fn end(mut self) -> (i32, String) {
        self.bytes.extend(self.pieces.iter().flatten());
        let code = self.child.wait().unwrap().code().unwrap();
        (code, String::from_utf8_lossy(&self.bytes).into_owned())
    }
}

/// The number of epochs of the run that the table shows.
fn epochs(screen: &str) -> Option<u64> {
    screen.split_whitespace().find_map(|word| word.strip_suffix("/99999")?.parse().ok())
}

/// The words printed after the dashboard show whether the terminal is as it was.
fn restored(output: &str) {
    let (_, after) = output.rsplit_once("\u{1b}[?1049l").expect("the screen of before is shown again");
    for setting in ["icanon", "echo", "isig"] {
        assert!(after.split([' ', ';', '\r', '\n']).any(|word| word == setting), "{setting} in {after:?}");
    }
    assert!(output.rfind("\u{1b}[?25h") > output.rfind("\u{1b}[?25l"), "the cursor is shown");
}

#[test]
fn a_run_is_watched_while_it_trains_and_does_not_notice() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("runs/tiny");
    let mut training = gnr(&["train", recipe.to_str().unwrap(), "--out", out.to_str().unwrap(), "--quiet"]);
    // The run trains until this test has seen enough.
    for set in ["train.epochs=99999", "data.subset.per_class=100", "optimizer.lr=0.001"] {
        training.args(["--set", set]);
    }
    let mut training = training.spawn().unwrap();
    let metrics = out.join("metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(120);
    while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(Instant::now() < deadline && training.try_wait().unwrap().is_none(), "no epoch ends");
        std::thread::yield_now();
    }
    // The run itself goes on writing checkpoints.
    let files = || tree(&out).into_iter().filter(|file| !file.starts_with("checkpoints")).collect::<Vec<_>>();
    let before = files();
    let folder = home.path().join("runs").display().to_string();

    let mut watched = Watched::start(&format!("\"$GNR\" watch {folder}; code=$?; stty -a; exit $code"));
    let first = watched.until("the table", |screen| epochs(screen).is_some());
    assert!(first.contains("1 run, 1 training") && first.contains("tiny: mlp on digits"), "{first}");
    let seen = epochs(&first).unwrap();
    watched.until("more epochs", |screen| epochs(screen).is_some_and(|now| now > seen));
    watched.press("2l");
    watched.until("the accuracy", |screen| screen.contains(" accuracy, %, log scale "));
    watched.press("?");
    watched.until("the help", |screen| screen.contains("training goes on"));
    watched.press(" q");
    let (code, output) = watched.end();
    assert_eq!(code, 0, "{output}");
    restored(&output);

    // A signal also ends the program, which restores the terminal.
    let pid = home.path().join("pid");
    let words = format!(
        "sh -c 'echo $$ > {}; exec \"$GNR\" watch {folder}'; code=$?; stty -a; exit $code",
        pid.display()
    );
    let mut watched = Watched::start(&words);
    watched.until("the table", |screen| epochs(screen).is_some());
    let id = fs::read_to_string(&pid).unwrap();
    assert!(Command::new("kill").args(["-TERM", id.trim()]).status().unwrap().success());
    let (code, output) = watched.end();
    assert_eq!(code, 130, "{output}");
    restored(&output);

    // In a pipe there is a line a run, and a page can be made.
    let (code, stdout, stderr) = run(&["watch", &folder]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.lines().count() == 1 && stdout.starts_with("tiny  training  "), "{stdout}");
    let page = home.path().join("page.html");
    let (code, stdout, _) = run(&["report", out.to_str().unwrap(), "--out", page.to_str().unwrap()]);
    assert!(code == 0 && stdout.contains("not on the page: not measured"), "{stdout}");
    assert!(fs::read_to_string(&page).unwrap().contains("training when this page was made"));

    assert_eq!(files(), before, "nobody wrote into the run's folder but the run");
    assert!(training.try_wait().unwrap().is_none(), "training goes on");
    assert!(Command::new("kill").args(["-INT", &training.id().to_string()]).status().unwrap().success());
    assert_eq!(training.wait().unwrap().code(), Some(130));
    assert!(run(&["watch", &folder]).1.starts_with("tiny  "));
}

/// After the window is closed or the connection breaks, the terminal is gone and nothing can be read from it.
#[test]
fn without_its_terminal_the_dashboard_ends() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("runs/tiny").display().to_string();
    assert_eq!(run(&["train", recipe.to_str().unwrap(), "--out", &out, "--quiet"]).0, 0);
    let (pid, code) = (home.path().join("pid"), home.path().join("code"));
    let mut watched = Watched::start(&format!(
        "trap '' HUP; sh -c 'echo $$ > {}; exec \"$GNR\" watch {out}'; echo $? > {}",
        pid.display(),
        code.display()
    ));
    watched.until("the table", |screen| screen.contains("tiny: mlp on digits"));
    watched.child.kill().unwrap();
    watched.child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&code).is_ok_and(|code| code.ends_with('\n')) {
        assert!(Instant::now() < deadline, "process {} goes on", fs::read_to_string(&pid).unwrap().trim());
        std::thread::sleep(Duration::from_millis(50));
    }
    // The program ends by itself, or by the error of a key that cannot be read, whichever comes first.
    let code = fs::read_to_string(&code).unwrap();
    assert!(["130", "1"].contains(&code.trim()), "{code}");
}

#[test]
fn where_no_run_is_that_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    for command in ["watch", "report"] {
        for (path, expect) in [(home.path(), "no run here"), (Path::new("no/such/folder"), "does not exist")]
        {
            let (code, stdout, stderr) = run(&[command, path.to_str().unwrap()]);
            assert!(code == 1 && stdout.is_empty() && stderr.contains(expect), "{command}: {stderr}");
        }
    }
}

#[test]
fn a_finished_run_has_its_page_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let recipe = write(home.path(), "r.toml", TINY);
    let out = home.path().join("tiny");
    let folder = out.to_str().unwrap();
    assert_eq!(run(&["train", recipe.to_str().unwrap(), "--out", folder, "--quiet"]).0, 0);
    assert_eq!(run(&["spectrum", folder, "--top", "2", "--quiet"]).0, 0);
    let (code, stdout, stderr) = run(&["report", folder]);
    assert!(
        code == 0 && stdout.contains(&format!("written: {}", out.join("report.html").display())),
        "{stderr}"
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("finished, 2 of 2 epochs") && page.contains("eigenvalue of the Hessian"));
    assert!(page.matches("<svg").count() >= 5 && !page.contains("<script"));
    // The page does not belong to the run, which resumes as before.
    assert_eq!(run(&["resume", folder, "--set", "train.epochs=3", "--quiet"]).0, 0);
}
