//! Tests of the dashboard's pictures, and of keys in any order in windows of any size.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use gnr_study::follow::{Chart, FollowedRun};
use ratatui::{Terminal, backend::TestBackend};

use super::{
    draw::draw,
    lines::lines,
    state::{Action, Dashboard, Key},
};

/// The time at which pictures are taken and files were written.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn write(folder: &Path, name: &str, text: &str, age: u64) {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    File::options().append(true).open(&path).unwrap().set_modified(now() - Duration::from_secs(age)).unwrap();
}

/// The log of epochs of 20 steps and 10 seconds, whose loss falls towards `floor`.
fn epochs(count: u64, floor: f64, gnr: bool) -> String {
    let line = |epoch: u64| {
        let loss = floor + 2.0 / (epoch as f64);
        let penalties = if gnr { format!("\"gnr\":{}", 0.5 / epoch as f64) } else { String::new() };
        format!(
            "{{\"kind\":\"epoch\",\"epoch\":{epoch},\"step\":{},\"train_loss\":{loss},\"train_accuracy\":{},\"test_loss\":{},\
             \"test_accuracy\":{},\"learning_rate\":{},\"grad_norm\":{},\"penalties\":{{{penalties}}},\"seconds\":10.0,\
             \"train_seconds\":8.0}}\n",
            20 * epoch,
            1.0 - loss / 4.0,
            loss + 0.25,
            1.0 - loss / 3.0,
            0.1 / epoch as f64,
            loss / 2.0,
        )
    };
    (1..=count).map(line).collect()
}

/// A dashboard of a finished run, one that trains and one that stopped.
fn study(home: &Path) -> Dashboard {
    let recipe = |gnr: bool, epochs: u64| format!("[method]\ngnr = {gnr}\n[train]\nepochs = {epochs}\n");
    let run = |name: &str| home.join(name);
    write(&run("gnr-0"), "recipe.toml", &recipe(true, 12), 500);
    write(&run("gnr-0"), "metrics.jsonl", &epochs(12, 0.25, true), 300);
    write(&run("gnr-0"), "summary.json", "{\"finished\":true,\"test_accuracy\":0.91}", 300);
    write(&run("sgd-0"), "recipe.toml", &recipe(false, 16), 500);
    write(&run("sgd-0"), "metrics.jsonl", &epochs(8, 0.5, false), 4);
    write(&run("sgd-1"), "recipe.toml", &recipe(false, 16), 9000);
    write(&run("sgd-1"), "metrics.jsonl", &epochs(3, 0.75, false), 7200);
    let runs = ["gnr-0", "sgd-0", "sgd-1"].map(|name| (name.to_owned(), FollowedRun::new(run(name))));
    let mut dashboard = Dashboard::new(runs.into());
    dashboard.read(now());
    dashboard
}

fn picture(dashboard: &Dashboard, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, dashboard, now())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let letters: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        letters.trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

/// Asserts that some line of the picture has each of these words.
fn shows(picture: &str, words: &[&str]) {
    for word in words {
        assert!(picture.lines().any(|line| line.contains(word)), "no `{word}` in\n{picture}");
    }
}

fn press(dashboard: &mut Dashboard, keys: &str) {
    for key in keys.chars() {
        assert_eq!(dashboard.press(Key::Char(key)), Action::Go, "{key}");
    }
}

#[test]
fn pictures_of_a_study() {
    let home = tempfile::tempdir().unwrap();
    let mut dashboard = study(home.path());
    let overview = picture(&dashboard, 110, 34);
    shows(
        &overview,
        &[
            "gnr watch  3 runs, 1 training",
            " loss ",
            " accuracy, % ",
            " regularisers' values ",
            " gradient norm ",
        ],
    );
    shows(&overview, &["gnr-0: resnet8 on digits, SGD + GNR (exact)", "q quit"]);
    let row = |name: &str| {
        let row = overview.lines().find(|line| line.contains(&format!("■ {name}"))).unwrap_or_default();
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert!(row("gnr-0").contains("finished 12/12 91.00 0.4167 0.208 8.33e-3 2.5 -"), "{overview}");
    assert!(row("sgd-0").contains("training 8/16 75.00 0.7500 0.375 1.25e-2 2.5 1:16 min"), "{overview}");
    assert!(row("sgd-1").contains("stopped 3/16 52.78 1.4167 0.708 3.33e-2 2.5 2:00 h ago"), "{overview}");

    let narrow = picture(&dashboard, 48, 24);
    shows(&narrow, &[" loss ", "finished", "12/12"]);
    assert!(!narrow.contains("accuracy") && !narrow.contains("91.00"), "no room for them:\n{narrow}");

    press(&mut dashboard, "1l");
    dashboard.press(Key::Down);
    shows(&picture(&dashboard, 100, 26), &[" loss, log scale ", "sgd-0: resnet8 on digits, SGD "]);
    press(&mut dashboard, "l2o++");
    let alone = picture(&dashboard, 100, 26);
    shows(
        &alone,
        &["3 runs, 1 drawn, 1 training, 75 to 100 % of the axis", " accuracy, % ", "train", "· gnr-0"],
    );
    press(&mut dashboard, "?");
    shows(&picture(&dashboard, 100, 26), &[" keys ", "training goes on"]);
}

#[test]
fn without_a_terminal_every_run_is_a_line() {
    let home = tempfile::tempdir().unwrap();
    let lines = lines(&study(home.path()), now());
    assert_eq!(
        lines,
        [
            "gnr-0  finished  12/12 epochs  test 91.00 %  loss 0.4167  |grad| 0.208  lr 8.33e-3  2.5 steps/s",
            "sgd-0  training  8/16 epochs  test 75.00 %  loss 0.7500  |grad| 0.375  lr 1.25e-2  2.5 steps/s  1:16 min left",
            "sgd-1  stopped   3/16 epochs  test 52.78 %  loss 1.4167  |grad| 0.708  lr 3.33e-2  2.5 steps/s  last line 2:00 h ago",
        ]
    );
}

#[test]
fn a_run_that_is_named_by_two_paths_is_there_once() {
    let home = tempfile::tempdir().unwrap();
    study(home.path());
    let asked: [PathBuf; 2] = [home.path().join("sgd-0"), home.path().join("gnr-0/../sgd-0")];
    let names: Vec<String> = super::found(&asked).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["sgd-0"]);
}

#[test]
fn keys_choose_runs_charts_and_curves() {
    let home = tempfile::tempdir().unwrap();
    let mut dashboard = study(home.path());
    assert_eq!((dashboard.chart(), dashboard.drawn()), (None, vec![0, 1, 2]));
    dashboard.press(Key::Up);
    assert_eq!(dashboard.selected(), 0, "there is none above the first");
    press(&mut dashboard, "jj ");
    assert_eq!((dashboard.selected(), dashboard.drawn()), (2, vec![0, 1]), "the third is hidden");
    press(&mut dashboard, "jo");
    assert_eq!(dashboard.drawn(), [2], "the last stays chosen, and alone it is drawn");
    press(&mut dashboard, "o ");
    dashboard.press(Key::Tab);
    assert_eq!(dashboard.chart(), Some(Chart::Loss));
    press(&mut dashboard, "c");
    assert_eq!(dashboard.curve(), Some("test"));
    press(&mut dashboard, "c");
    assert_eq!(dashboard.curve(), Some("train"));
    press(&mut dashboard, "c");
    assert_eq!(dashboard.curve(), None, "after the last curve come all");
    dashboard.press(Key::BackTab);
    assert_eq!(dashboard.chart(), None);
    dashboard.press(Key::BackTab);
    assert_eq!(dashboard.chart(), Some(Chart::StepRate));
    press(&mut dashboard, "3");
    assert_eq!(dashboard.chart(), Some(Chart::Penalties));
    press(&mut dashboard, "?");
    assert_eq!(dashboard.press(Key::Escape), Action::Go, "closes the help");
    assert_eq!(dashboard.press(Key::Escape), Action::Quit);
}

#[test]
fn zooming_stays_at_the_latest_and_moves_within_the_axis() {
    let home = tempfile::tempdir().unwrap();
    let mut dashboard = study(home.path());
    press(&mut dashboard, "++");
    assert_eq!(dashboard.window(), [0.75, 1.0]);
    dashboard.press(Key::Left);
    assert_eq!(dashboard.window(), [0.6875, 0.9375]);
    for _ in 0..20 {
        dashboard.press(Key::Left);
    }
    assert_eq!(dashboard.window(), [0.0, 0.25]);
    press(&mut dashboard, "----");
    assert_eq!(dashboard.window(), [0.0, 1.0]);
    press(&mut dashboard, "+0");
    assert_eq!(dashboard.window(), [0.0, 1.0]);
}

#[test]
fn a_run_that_begins_appears_and_one_that_cannot_be_read_is_told() {
    let home = tempfile::tempdir().unwrap();
    let mut dashboard = study(home.path());
    let new = home.path().join("new");
    write(&new, "recipe.toml", "", 1);
    let known = FollowedRun::new(home.path().join("gnr-0"));
    dashboard.add(vec![("runs/gnr-0".into(), known), ("runs/new".into(), FollowedRun::new(&new))]);
    dashboard.read(now());
    let names: Vec<&str> = dashboard.runs().iter().map(|watched| watched.name.as_str()).collect();
    assert_eq!(names, ["runs/gnr-0", "sgd-0", "sgd-1", "runs/new"]);
    assert_eq!(dashboard.problem(), None);
    // A folder in place of a file is an error that no permission prevents.
    fs::create_dir(new.join("metrics.jsonl")).unwrap();
    dashboard.read(now());
    assert!(dashboard.problem().unwrap().contains("metrics.jsonl"));
    let shown = picture(&dashboard, 100, 26);
    assert!(shown.lines().next().unwrap().contains("metrics.jsonl"), "{shown}");
    fs::remove_dir(new.join("metrics.jsonl")).unwrap();
    dashboard.read(now());
    assert_eq!(dashboard.problem(), None, "it can be read again");
}

#[test]
fn any_keys_in_any_window_draw_something() {
    let home = tempfile::tempdir().unwrap();
    let mut dashboard = study(home.path());
    let empty = home.path().join("empty");
    write(&empty, "recipe.toml", "[train]\nepoch = 1\n", 1);
    dashboard.add(vec![("empty".into(), FollowedRun::new(&empty))]);
    let keys: Vec<Key> = "123456clx+-0o ?jkz"
        .chars()
        .map(Key::Char)
        .chain([Key::Up, Key::Down, Key::Left, Key::Right, Key::Tab, Key::BackTab])
        .collect();
    let mut random = 1_u32;
    let mut next = |below: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as usize % below
    };
    for _ in 0..2000 {
        dashboard.press(keys[next(keys.len())]);
        let (width, height) = (next(160) as u16 + 1, next(60) as u16 + 1);
        assert!(picture(&dashboard, width, height).chars().any(|letter| !letter.is_whitespace()));
    }
}
