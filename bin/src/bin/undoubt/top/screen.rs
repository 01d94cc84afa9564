//! The terminal: frames on a screen of their own, and keys.

use super::frame::{Frame, Order};
use super::render::{Window, lines};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use crossterm::style::Print;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use std::io::{self, Stdout, Write as _, stdout};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;

/// The size of a terminal that does not tell its own.
pub const USUAL_COLUMNS: usize = 80;
const USUAL_LINES: usize = 24;

/// Returns the columns and lines of the terminal.
pub fn dimensions() -> (usize, usize) {
    match size() {
        // Some tell that they have none.
        Ok((0, _) | (_, 0)) | Err(_) => (USUAL_COLUMNS, USUAL_LINES),
        Ok((columns, lines)) => (columns.into(), lines.into()),
    }
}

/// The time in which a key is waited for before it is looked whether anybody still wants one.
const KEY_POLL: Duration = Duration::from_millis(200);

/// Keys that may wait.
const MAX_KEYS: usize = 16;

/// The wish of a person at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Quit,
    Sort,
    /// So many transactions further; back if negative.
    Move(isize),
    /// The terminal has another size.
    Redraw,
}

/// Lines that a page moves.
const PAGE: isize = 10;

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) => {
            let control = modifiers.contains(KeyModifiers::CONTROL);
            key(*code, control)
        }
        Event::Resize(..) => Some(Key::Redraw),
        Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most keys of a terminal mean nothing here")]
fn key(code: KeyCode, control: bool) -> Option<Key> {
    match code {
        KeyCode::Char('c') if control => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('s') => Some(Key::Sort),
        KeyCode::Up | KeyCode::Left => Some(Key::Move(-1)),
        KeyCode::Down | KeyCode::Right => Some(Key::Move(1)),
        KeyCode::PageUp => Some(Key::Move(-PAGE)),
        KeyCode::PageDown => Some(Key::Move(PAGE)),
        _ => None,
    }
}

/// A screen of its own, as long as this lives.
#[derive(Debug)]
pub struct Screen(Stdout);

impl Screen {
    pub fn open() -> io::Result<Screen> {
        enable_raw_mode()?;
        // From here on the terminal is given back, whatever comes.
        let mut screen = Screen(stdout());
        execute!(screen.0, EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Shows a frame in place of the one before.
    pub fn show(&mut self, frame: &Frame, order: Order, skip: usize) -> io::Result<()> {
        let (width, height) = dimensions();
        let shown = lines(frame, Window { width, height: Some(height), skip });
        for (at, line) in shown.iter().take(height.saturating_sub(1)).enumerate() {
            let row = u16::try_from(at).unwrap_or(u16::MAX);
            queue!(self.0, MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        let last = u16::try_from(shown.len().min(height.saturating_sub(1))).unwrap_or(u16::MAX);
        let help = format!("q quits   s sorts participants (by {})   arrows move", order.as_str());
        let help: String = help.chars().take(width).collect();
        queue!(self.0, MoveTo(0, last), Clear(ClearType::FromCursorDown))?;
        let foot = u16::try_from(height.saturating_sub(1)).unwrap_or(u16::MAX);
        queue!(self.0, MoveTo(0, foot), Print(help))?;
        self.0.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The program ends anyway.
        let _ = execute!(self.0, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// Reads keys on a thread of its own, since a terminal cannot be waited for in any other way.
pub fn keys() -> mpsc::Receiver<Key> {
    let (pressed, keys) = mpsc::channel(MAX_KEYS);
    thread::spawn(move || {
        while !pressed.is_closed() {
            match poll(KEY_POLL).and_then(|ready| if ready { read().map(Some) } else { Ok(None) }) {
                Ok(event) => {
                    // What is pressed faster than it is looked at is not missed by anybody.
                    if let Some(key) = event.as_ref().and_then(meaning) {
                        let _ = pressed.try_send(key);
                    }
                }
                // The terminal is gone.
                Err(_) => break,
            }
        }
    });
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_foot_of_the_screen_says() {
        assert_eq!(key(KeyCode::Char('q'), false), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('c'), true), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('c'), false), None);
        assert_eq!(key(KeyCode::Char('s'), false), Some(Key::Sort));
        assert_eq!(key(KeyCode::Down, false), Some(Key::Move(1)));
        assert_eq!(key(KeyCode::PageUp, false), Some(Key::Move(-PAGE)));
    }
}
