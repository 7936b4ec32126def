//! The state of the dashboard: the watched runs and the view. Keys change it; nothing here draws.

use std::time::SystemTime;

use gnr_study::follow::{Across, Activity, Chart, Curve, FollowedRun};

/// A key that the dashboard distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Up,
    Down,
    Left,
    Right,
    Tab,
    BackTab,
    Escape,
}

/// The action that a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Go,
    Quit,
}

/// A run and the curves that are drawn of it.
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) run: FollowedRun,
    pub(crate) hidden: bool,
    /// The curves of each chart, in the order of [`Chart::ALL`], over the present horizontal axis.
    curves: Vec<Vec<Curve>>,
}

/// The whole state of the dashboard.
pub(crate) struct Dashboard {
    runs: Vec<Watched>,
    selected: usize,
    /// Whether only the selected run is shown.
    alone: bool,
    /// The chart that is shown; `None` for several charts beside each other.
    chart: Option<Chart>,
    /// The name of the curve that is shown; `None` for all curves of a chart.
    curve: Option<String>,
    across: Across,
    /// Whether the user chose `across`. Otherwise the axis shows steps until an epoch has ended.
    chosen: bool,
    logarithmic: bool,
    /// The part of the horizontal axis that is visible, from 0 to 1.
    window: [f64; 2],
    help: bool,
    problem: Option<String>,
}

/// The narrowest part of the axis that can be shown.
const NARROWEST: f64 = 1.0 / 256.0;

impl Dashboard {
    pub(crate) fn new(runs: Vec<(String, FollowedRun)>) -> Self {
        let mut new = Self {
            runs: Vec::new(),
            selected: 0,
            alone: false,
            chart: None,
            curve: None,
            across: Across::Epoch,
            chosen: false,
            logarithmic: false,
            window: [0.0, 1.0],
            help: false,
            problem: None,
        };
        new.add(runs);
        new
    }

    /// Adds the runs that are not known yet. All names are replaced: a new run may make longer ones necessary.
    pub(crate) fn add(&mut self, runs: Vec<(String, FollowedRun)>) {
        for (name, run) in runs {
            match self.runs.iter_mut().find(|known| known.run.folder() == run.folder()) {
                Some(known) => known.name = name,
                None => self.runs.push(Watched { name, run, hidden: false, curves: Vec::new() }),
            }
        }
    }

    /// Reads what is new in every run. An error is shown and does not end the program: a disk may come back.
    pub(crate) fn read(&mut self, now: SystemTime) {
        self.problem = None;
        let mut changed = Vec::new();
        for watched in &mut self.runs {
            let read = watched.run.refresh(now).unwrap_or_else(|error| {
                self.problem = Some(error.to_string());
                false
            });
            changed.push(read || watched.curves.is_empty());
        }
        if !self.chosen {
            let ended = self.runs.iter().any(|watched| watched.run.epochs_done() > 0);
            let across = if ended { Across::Epoch } else { Across::Step };
            if across != self.across {
                self.across = across;
                changed.fill(true);
            }
        }
        for (watched, _) in self.runs.iter_mut().zip(changed).filter(|(_, changed)| *changed) {
            watched.curves = curves(&watched.run, self.across);
        }
    }

    pub(crate) fn press(&mut self, key: Key) -> Action {
        let last = self.runs.len().saturating_sub(1);
        if self.help {
            // Any key closes the help; `q` also quits, as always.
            self.help = false;
            return if key == Key::Char('q') { Action::Quit } else { Action::Go };
        }
        match key {
            Key::Char('q') | Key::Escape => return Action::Quit,
            Key::Char('?' | 'h') => self.help = true,
            Key::Up | Key::Char('k') => self.selected = self.selected.saturating_sub(1),
            Key::Down | Key::Char('j') => self.selected = (self.selected + 1).min(last),
            Key::Char(' ') => {
                if let Some(watched) = self.runs.get_mut(self.selected) {
                    watched.hidden = !watched.hidden;
                }
            }
            Key::Char('o') => self.alone = !self.alone,
            Key::Tab => self.turn(1),
            Key::BackTab => self.turn(Chart::ALL.len()),
            Key::Char(digit @ '1'..='6') => {
                self.show(Chart::ALL.get(digit as usize - '1' as usize).copied());
            }
            Key::Char('c') => self.next_curve(),
            Key::Char('l') => self.logarithmic = !self.logarithmic,
            Key::Char('x') => {
                (self.across, self.chosen) = (self.across.next(), true);
                for watched in &mut self.runs {
                    watched.curves = curves(&watched.run, self.across);
                }
            }
            Key::Char('+' | '=') => self.zoom(0.5),
            Key::Char('-' | '_') => self.zoom(2.0),
            Key::Left => self.pan(-0.25),
            Key::Right => self.pan(0.25),
            Key::Char('0') => {
                self.window = [0.0, 1.0];
                self.show(None);
            }
            Key::Char(_) => {}
        }
        Action::Go
    }

    fn show(&mut self, chart: Option<Chart>) {
        (self.chart, self.curve) = (chart, None);
    }

    /// Moves from the overview to each chart in turn, cyclically.
    fn turn(&mut self, by: usize) {
        let count = Chart::ALL.len() + 1;
        let at = self.chart.and_then(|chart| Chart::ALL.iter().position(|other| *other == chart));
        let next = (at.map_or(0, |at| at + 1) + by) % count;
        self.show(next.checked_sub(1).and_then(|at| Chart::ALL.get(at).copied()));
    }

    /// Moves from all curves of the present chart to each single one.
    fn next_curve(&mut self) {
        let names = self.names(self.chart.unwrap_or(Chart::Loss));
        let next = match &self.curve {
            None => names.first().cloned(),
            Some(name) => names.iter().skip_while(|other| *other != name).nth(1).cloned(),
        };
        self.curve = next;
    }

    /// Multiplies the visible part of the axis by `factor`. Its end stays if it is the latest point, at which people
    /// look; otherwise its middle stays.
    fn zoom(&mut self, factor: f64) {
        let [low, high] = self.window;
        let width = ((high - low) * factor).clamp(NARROWEST, 1.0);
        let high = if high >= 1.0 { 1.0 } else { ((low + high + width) / 2.0).min(1.0) };
        self.window = [(high - width).max(0.0), (high - width).max(0.0) + width];
    }

    fn pan(&mut self, share: f64) {
        let [low, high] = self.window;
        let width = high - low;
        let low = (low + share * width).clamp(0.0, 1.0 - width);
        self.window = [low, low + width];
    }

    pub(crate) fn runs(&self) -> &[Watched] {
        &self.runs
    }

    pub(crate) fn selected(&self) -> usize {
        self.selected
    }

    pub(crate) fn chart(&self) -> Option<Chart> {
        self.chart
    }

    pub(crate) fn curve(&self) -> Option<&str> {
        self.curve.as_deref()
    }

    pub(crate) fn across(&self) -> Across {
        self.across
    }

    pub(crate) fn logarithmic(&self) -> bool {
        self.logarithmic
    }

    pub(crate) fn window(&self) -> [f64; 2] {
        self.window
    }

    pub(crate) fn help(&self) -> bool {
        self.help
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The number of runs that are being trained.
    pub(crate) fn training(&self) -> usize {
        self.runs.iter().filter(|watched| watched.run.activity() == Activity::Training).count()
    }

    /// The index of every run that is drawn.
    pub(crate) fn drawn(&self) -> Vec<usize> {
        let all = 0..self.runs.len();
        let drawn = |index: &usize| {
            if self.alone { *index == self.selected } else { !self.runs[*index].hidden }
        };
        all.filter(drawn).collect()
    }

    /// The names of a chart's curves in the drawn runs, in the order of the runs and of the curves in a run.
    pub(crate) fn names(&self, chart: Chart) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for index in self.drawn() {
            for curve in self.runs[index].curves(chart) {
                if !names.contains(&curve.name) {
                    names.push(curve.name.clone());
                }
            }
        }
        names
    }
}

impl Watched {
    /// The curves of a chart.
    pub(crate) fn curves(&self, chart: Chart) -> &[Curve] {
        let at = Chart::ALL.iter().position(|other| *other == chart);
        at.and_then(|at| self.curves.get(at)).map_or(&[], Vec::as_slice)
    }
}

fn curves(run: &FollowedRun, across: Across) -> Vec<Vec<Curve>> {
    Chart::ALL.iter().map(|chart| chart.curves(run.log(), across)).collect()
}
