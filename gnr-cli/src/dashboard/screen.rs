//! The terminal: set up, drawn on, asked for keys, and restored however the program ends.

use std::{
    io::IsTerminal as _,
    mem::ManuallyDrop,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, KeyCode, KeyEventKind, KeyModifiers},
};

use super::state::Key;
use crate::signal::INTERRUPTED;

/// Time between two checks whether there still is a terminal.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An event for the dashboard.
pub(crate) enum Event {
    Key(Key),
    /// The system asked the program to end.
    Stopped,
    /// The time is over, or the size of the window changed.
    Nothing,
}

/// A terminal that is restored when the value is dropped, and before a panic prints its message.
pub(crate) struct Screen {
    /// The terminal, which is never dropped by itself. If it is gone, ratatui would report that on standard error. That
    /// may be gone as well, and the program would abort.
    terminal: ManuallyDrop<DefaultTerminal>,
    stop: Arc<AtomicBool>,
}

impl Screen {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let signalled = Arc::clone(&stop);
        ctrlc::set_handler(move || signalled.store(true, Ordering::Relaxed))
            .context("cannot listen for signals")?;
        // A partial setup is undone when the rest of it fails.
        let terminal = ratatui::try_init()
            .inspect_err(|_| ratatui::restore())
            .context("cannot draw on this terminal")?;
        std::thread::spawn(end_without_terminal);
        Ok(Self { terminal: ManuallyDrop::new(terminal), stop })
    }

    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> anyhow::Result<()> {
        self.terminal.draw(draw).context("cannot draw on this terminal")?;
        Ok(())
    }

    /// Waits for an event, at most for the time `wait`.
    pub(crate) fn next(&mut self, wait: Duration) -> anyhow::Result<Event> {
        let came = match event::poll(wait) {
            Ok(false) => None,
            Ok(true) => Some(event::read().context("cannot read keys")?),
            // A signal came; the flag says whether to stop.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => None,
            Err(error) => return Err(error).context("cannot read keys"),
        };
        if self.stop.load(Ordering::Relaxed) {
            return Ok(Event::Stopped);
        }
        let Some(event::Event::Key(key)) = came else { return Ok(Event::Nothing) };
        if key.kind == KeyEventKind::Release {
            return Ok(Event::Nothing);
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let key = match key.code {
            KeyCode::Char('c') if control => Key::Char('q'),
            KeyCode::Char(_) if control => return Ok(Event::Nothing),
            KeyCode::Char(letter) => Key::Char(letter),
            KeyCode::Esc => Key::Escape,
            KeyCode::Up => Key::Up,
            KeyCode::Down => Key::Down,
            KeyCode::Left => Key::Left,
            KeyCode::Right => Key::Right,
            KeyCode::Tab => Key::Tab,
            KeyCode::BackTab => Key::BackTab,
            _ => return Ok(Event::Nothing),
        };
        Ok(Event::Key(key))
    }
}

/// Ends the program when its terminal is gone. crossterm would poll a closed terminal for events without end, and a
/// signal is not certain to come.
fn end_without_terminal() {
    while std::io::stdout().is_terminal() {
        std::thread::sleep(LOOK_EVERY);
    }
    std::process::exit(i32::from(INTERRUPTED));
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}
