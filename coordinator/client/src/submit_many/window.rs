//! How many may be with the coordinator at a time, when it has room for fewer than the application would have under way.
//!
//! Whoever is refused comes back later. If all that are refused did so at their own pace, the coordinator would spend its
//! time refusing. So a refusal closes the window to what the coordinator has in hand, and answers open it again, little by
//! little (as TCP finds out what a network carries: Jacobson, Congestion Avoidance and Control, 1988).

/// Once as many are answered as the window is wide, it opens by this part of its greatest width.
const OPENS_BY_PART_OF_MAX: usize = 64;

/// The first refusal closes it by this part, further ones do not until it opens again: so that clients that share
/// too little room come to have equal shares, since who has more loses more.
const CLOSES_BY_PART: usize = 4;

#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    max: usize,
    answered: usize,
    /// Since it last opened.
    closed: bool,
}

impl Window {
    /// Wide open.
    pub(super) fn new(max: usize) -> Window {
        Window { size: max.max(1), max: max.max(1), answered: 0, closed: false }
    }

    /// How many more may be sent beside those that are.
    pub(super) fn room(&self, sent: usize) -> usize {
        self.size.saturating_sub(sent)
    }

    /// One was refused for want of room; so many are still there.
    pub(super) fn refused(&mut self, sent: usize) {
        self.size = self.size.min(sent.max(1));
        if !std::mem::replace(&mut self.closed, true) {
            self.size -= self.size / CLOSES_BY_PART;
        }
        self.answered = 0;
    }

    pub(super) fn answered(&mut self) {
        self.answered += 1;
        if self.answered >= self.size {
            self.open();
        }
    }

    /// Nothing was refused for a while, and what is there may stay for long: one more may be tried.
    pub(super) fn try_more(&mut self, sent: usize) {
        self.size = self.size.max(sent + 1).min(self.max);
    }

    pub(super) fn is_wide_open(&self) -> bool {
        self.size == self.max
    }

    fn open(&mut self) {
        self.answered = 0;
        self.closed = false;
        self.size = (self.size + (self.max / OPENS_BY_PART_OF_MAX).max(1)).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn a_refusal_closes_it_to_what_is_in_hand_and_answers_open_it_again() {
        let mut window = Window::new(1_000);
        assert_eq!((window.room(0), window.room(999), window.room(1_000)), (1_000, 1, 0));
        window.refused(320);
        window.refused(319);
        assert_eq!((window.room(240), window.room(239)), (0, 1));
        (0..240).for_each(|_| window.answered());
        assert_eq!(window.room(240), 15);
        (0..100_000).for_each(|_| window.answered());
        assert_eq!(window.room(0), 1_000, "never wider than it may be");
    }

    #[test]
    fn where_nothing_is_answered_one_more_is_tried_now_and_then() {
        let mut window = Window::new(100);
        window.refused(10);
        assert!(!window.is_wide_open());
        window.try_more(10);
        assert_eq!(window.room(10), 1);
        window.try_more(10);
        assert_eq!(window.room(10), 1, "there is one to be tried already");
        (10..200).for_each(|sent| window.try_more(sent));
        assert!(window.is_wide_open());
    }

    #[test]
    fn one_may_always_be_tried() {
        let mut window = Window::new(0);
        assert_eq!(window.room(0), 1);
        window.refused(0);
        assert_eq!((window.room(0), window.room(1)), (1, 0));
    }

    /// Many clients of a coordinator that has less room than they would like.
    #[test]
    fn clients_that_share_too_little_room_use_it_and_are_seldom_refused() {
        const CLIENTS: usize = 8;
        const ROOM: usize = 800;
        const STEPS: usize = 200_000;
        /// How long one stays away that was refused.
        const RESTS: usize = 50;
        let mut windows: Vec<Window> = (0..CLIENTS).map(|_| Window::new(400)).collect();
        let (mut sent, mut rests_until, mut served) = ([0; CLIENTS], [0; CLIENTS], [0; CLIENTS]);
        let (mut open, mut refused, mut unused) = (VecDeque::new(), 0, 0);
        for step in 0..STEPS {
            for client in (0..CLIENTS).map(|turn| (step + turn) % CLIENTS) {
                while step >= rests_until[client] && windows[client].room(sent[client]) > 0 {
                    if open.len() == ROOM {
                        refused += 1;
                        windows[client].refused(sent[client]);
                        rests_until[client] = step + RESTS;
                    } else {
                        sent[client] += 1;
                        open.push_back(client);
                    }
                }
            }
            unused += ROOM - open.len();
            if let Some(client) = open.pop_front() {
                sent[client] -= 1;
                served[client] += 1;
                windows[client].answered();
            }
        }
        assert!(refused * 50 < STEPS, "{refused} refused in {STEPS} steps");
        assert!(unused / STEPS < ROOM / 20, "{} of {ROOM} were not used", unused / STEPS);
        let least = served.iter().min().unwrap();
        assert!(least * CLIENTS * 4 > STEPS, "nobody gets less than a quarter of an equal share: {served:?}");
    }
}
