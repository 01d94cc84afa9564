//! Messages: what was sent, matched with what arrived.

use crate::plan::Host;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::picture) struct Message<'a> {
    pub name: &'a str,
    pub from: Host,
    pub to: Host,
    pub attempt_number: u64,
    pub number: Option<u64>,
    /// Unknown where a message arrives that nobody is known to have sent.
    pub sent_us: Option<u64>,
    /// Never, if it is lost.
    pub arrived_us: Option<u64>,
    /// True if it was sent so late that the run was over before it could arrive.
    pub under_way: bool,
    /// True if it had arrived before.
    pub copy: bool,
    /// True if what was sent after it arrived before it.
    pub overtaken: bool,
}

impl Message<'_> {
    pub fn sent(at_us: u64, number: u64) -> Self {
        Message { sent_us: Some(at_us), number: Some(number), arrived_us: None, ..Message::stray(at_us, None) }
    }

    pub fn stray(at_us: u64, of: Option<u64>) -> Self {
        Message {
            name: "",
            from: Host::Coordinator,
            to: Host::Coordinator,
            attempt_number: 0,
            number: of,
            sent_us: None,
            arrived_us: Some(at_us),
            under_way: false,
            copy: false,
            overtaken: false,
        }
    }

    /// Returns when it first shows.
    pub fn first_us(&self) -> u64 {
        self.sent_us.or(self.arrived_us).unwrap_or_default()
    }

    /// Returns when it last shows.
    pub fn last_us(&self) -> u64 {
        self.arrived_us.or(self.sent_us).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Sent<'a> {
    tx: &'a str,
    message: Message<'a>,
    arrivals: u32,
}

/// The messages in the making.
#[derive(Debug, Default)]
pub(super) struct Messages<'a> {
    /// The sent messages by number.
    sent: BTreeMap<u64, Sent<'a>>,
    arrived: Vec<(&'a str, Message<'a>)>,
    /// The time at which the youngest message that has arrived was sent, on each link.
    youngest: BTreeMap<(Host, Host), (u64, u64)>,
}

impl<'a> Messages<'a> {
    pub fn sent(&mut self, tx: &'a str, message: Message<'a>) {
        if let Some(number) = message.number {
            self.sent.insert(number, Sent { tx, message, arrivals: 0 });
        }
    }

    /// `stray`: as far as the arrival alone tells.
    pub fn received(&mut self, tx: &'a str, stray: Message<'a>) {
        let number = stray.number.and_then(|number| Some((number, self.sent.get_mut(&number)?)));
        let Some((number, sent)) = number else { return self.arrived.push((tx, stray)) };
        let copy = sent.arrivals > 0;
        sent.arrivals += 1;
        let age = (sent.message.first_us(), number);
        let youngest = self.youngest.entry((sent.message.from, sent.message.to)).or_default();
        let overtaken = *youngest > age;
        *youngest = age.max(*youngest);
        let message = Message { to: stray.to, arrived_us: stray.arrived_us, copy, overtaken, ..sent.message };
        self.arrived.push((sent.tx, message));
    }

    /// Returns the messages, with those that never arrived; what was sent after this may still be on its way. In the
    /// order in which they first show.
    pub fn finish(mut self, under_way_since_us: u64) -> Vec<(&'a str, Message<'a>)> {
        let gone = self.sent.into_values().filter(|sent| sent.arrivals == 0);
        let lost = gone.map(|Sent { tx, message, .. }| {
            (tx, Message { under_way: message.first_us() >= under_way_since_us, ..message })
        });
        self.arrived.extend(lost);
        self.arrived.sort_by_key(|(_, message)| (message.first_us(), message.number, message.arrived_us));
        self.arrived
    }
}
