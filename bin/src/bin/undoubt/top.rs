//! `undoubt top`: how it stands, again every second.

mod frame;
mod look;
mod render;
mod screen;

use crate::args::{Global, Top};
use crate::exit::{Exit, Failure};
use crate::output::{Format, json_line, line};
use frame::{Frame, Order};
use look::Looks;
use render::{Window, lines};
use screen::{Key, Screen, USUAL_COLUMNS, dimensions, keys};
use std::io::{self, IsTerminal as _};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time that a look of the live view may take: it goes on without those that do not answer.
const PATIENCE: Duration = Duration::from_millis(900);

pub async fn top(arguments: Top, global: &Global) -> Result<Exit, Failure> {
    let is_live = !arguments.once && global.output == Format::Table && io::stdout().is_terminal();
    let patience = if arguments.once { global.timeout } else { PATIENCE.min(global.timeout) };
    let mut looks = Looks::new(global, patience)?;
    let first = looks.look(patience).await?;
    if arguments.once {
        return once(looks, first, patience, global).await;
    }
    if is_live { live(looks, first, patience).await } else { printed(looks, first, patience, global).await }
}

/// Prints one frame. How fast it goes is known after a second look.
async fn once(mut looks: Looks<'_>, first: Frame, patience: Duration, global: &Global) -> Result<Exit, Failure> {
    let frame = if first.coordinator.is_some() {
        sleep(LOOK_EVERY).await;
        looks.look(patience).await?
    } else {
        first
    };
    let exit = if frame.coordinator.is_some() { Exit::Done } else { Exit::NotReady };
    Ok(exit.told(print(&frame, global.output)))
}

/// Prints frame after frame, where nobody sits at a terminal.
async fn printed(mut looks: Looks<'_>, first: Frame, patience: Duration, global: &Global) -> Result<Exit, Failure> {
    let mut frame = first;
    loop {
        if let Err(error) = print(&frame, global.output) {
            return Exit::shown(Err(error));
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => frame = looks.look(patience).await?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

fn print(frame: &Frame, format: Format) -> io::Result<()> {
    match format {
        Format::Json => json_line(frame),
        Format::Table => {
            // Whoever reads a file or a pipe has no width.
            let width = if io::stdout().is_terminal() { dimensions().0 } else { USUAL_COLUMNS };
            line(lines(frame, Window { width, height: None, skip: 0 }).join("\n"))
        }
    }
}

async fn live(mut looks: Looks<'_>, first: Frame, patience: Duration) -> Result<Exit, Failure> {
    let broken = |error: io::Error| Failure::new(Exit::Unexpected, format!("the terminal cannot be used: {error}"));
    let mut screen = Screen::open().map_err(broken)?;
    let (mut frame, mut order, mut skip) = (first, Order::default(), 0_usize);
    let mut keys = keys();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        frame.sort(order);
        skip = skip.min(frame.oldest.len().saturating_sub(1));
        screen.show(&frame, order, skip).map_err(broken)?;
        let looked = async {
            ticks.tick().await;
            looks.look(patience).await
        };
        tokio::pin!(looked);
        loop {
            tokio::select! {
                seen = &mut looked => {
                    frame = seen?;
                    break;
                }
                pressed = keys.recv() => {
                    match pressed {
                        None | Some(Key::Quit) => return Ok(Exit::Done),
                        Some(Key::Sort) => order = order.next(),
                        Some(Key::Move(by)) => skip = skip.saturating_add_signed(by).min(frame.oldest.len().saturating_sub(1)),
                        Some(Key::Redraw) => {}
                    }
                    frame.sort(order);
                    screen.show(&frame, order, skip).map_err(broken)?;
                }
            }
        }
    }
}
