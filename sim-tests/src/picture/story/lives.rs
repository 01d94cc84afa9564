//! Hosts: when each was up, down or paused, and what its disk did.

use crate::picture::words;
use crate::trace::Event;

#[derive(Debug, Default)]
pub(in crate::picture) struct Life {
    pub gaps: Vec<Gap>,
    pub moments: Vec<Moment>,
}

/// The host does nothing. `to_us` is open if it never came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::picture) struct Gap {
    pub from_us: u64,
    pub to_us: Option<u64>,
    pub paused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::picture) struct Moment {
    pub at_us: u64,
    pub sort: Sort,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::picture) enum Sort {
    Up,
    Down,
    Disk,
}

impl Life {
    pub fn heard(&mut self, at_us: u64, event: &Event) {
        let text = words::event(event);
        match event {
            Event::Started => {
                if self.moments.is_empty() && at_us > 0 {
                    self.gaps.push(Gap { from_us: 0, to_us: None, paused: false });
                }
                self.close(at_us);
                self.note(at_us, Sort::Up, text);
            }
            Event::Serving => self.note(at_us, Sort::Up, "serves".to_owned()),
            Event::Resumed => {
                self.close(at_us);
                self.note(at_us, Sort::Up, text);
            }
            Event::Stopped { .. } | Event::Crashed { .. } => {
                self.close(at_us);
                self.gaps.push(Gap { from_us: at_us, to_us: None, paused: false });
                self.note(at_us, Sort::Down, text);
            }
            Event::Paused => {
                self.close(at_us);
                self.gaps.push(Gap { from_us: at_us, to_us: None, paused: true });
                self.note(at_us, Sort::Down, text);
            }
            Event::Disk { .. } | Event::Read { .. } | Event::Reacted { .. } | Event::Standing { .. } => {
                self.note(at_us, Sort::Disk, text)
            }
            Event::SessionStands { .. }
            | Event::Sent { .. }
            | Event::Received { .. }
            | Event::Noted { .. }
            | Event::Branch { .. }
            | Event::Requested { .. }
            | Event::Answered { .. }
            | Event::Fault { .. }
            | Event::Healed => {}
        }
    }

    fn close(&mut self, at_us: u64) {
        if let Some(gap) = self.gaps.last_mut().filter(|gap| gap.to_us.is_none()) {
            gap.to_us = Some(at_us);
        }
    }

    fn note(&mut self, at_us: u64, sort: Sort, text: String) {
        self.moments.push(Moment { at_us, sort, text });
    }
}
