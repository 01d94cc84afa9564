//! What holds in every state, whatever happened.

use crate::world::{Setting, State, Which};
use undoubt_stream::reaction::Role;
use undoubt_vocabulary::CorrelationId;

pub const ONCE: &str = "each event is applied once";
pub const SKIPPED: &str = "what is behind the position is applied, late or parked";
pub const ORDER: &str = "events of one key are applied in order, and none is skipped save for what is late";
pub const UNDONE: &str = "a saga that is undone leaves nothing in effect";

impl State {
    /// Returns true if all events have come and nothing waits.
    pub fn is_over(&self, setting: &Setting) -> bool {
        setting.all().all(|which| self.is_settled(setting, which))
            && self.readers.iter().all(|reader| reader.doing.is_none())
    }

    /// Returns true if the position is behind the event.
    fn is_passed(&self, setting: &Setting, (lane, at): Which) -> bool {
        let watermark = self.store.watermarks.get(&setting.lanes[lane].source).copied().unwrap_or_default();
        watermark.position() >= setting.lanes[lane].events[at].position
    }

    fn is_parked(&self, setting: &Setting, which: Which) -> bool {
        let (source, id) = (&setting.lanes[which.0].source, setting.event(which).id());
        self.store.parked.values().any(|parked| parked.event.id == id && parked.event.from == source.from)
    }

    fn is_settled(&self, setting: &Setting, which: Which) -> bool {
        self.is_passed(setting, which) && !self.is_parked(setting, which)
    }

    fn acted(&self, which: Which) -> u8 {
        self.acted.get(&which).copied().unwrap_or_default()
    }

    /// Returns true if what undoes this saga has come, and was dealt with.
    fn was_undone(&self, setting: &Setting, saga: &CorrelationId) -> bool {
        let undoes =
            |which: &Which| setting.role(*which) == Some(Role::Undo) && setting.event(*which).correlation == *saga;
        setting.all().filter(undoes).any(|which| self.is_settled(setting, which))
    }

    pub fn check(&self, setting: &Setting) -> Result<(), &'static str> {
        for which in setting.all().filter(|which| setting.role(*which) == Some(Role::Act)) {
            let saga = &setting.event(which).correlation;
            let (acted, undone) = (self.acted(which), self.undone.get(saga).copied().unwrap_or_default());
            if acted > 1 {
                return Err(ONCE);
            }
            let settled = self.is_settled(setting, which);
            if settled && acted == 0 && !self.was_undone(setting, saga) {
                return Err(SKIPPED);
            }
            let all_is_in = self.was_undone(setting, saga) && settled;
            if undone > acted || (all_is_in && undone != acted) {
                return Err(UNDONE);
            }
        }
        Ok(())
    }

    /// Checks that an event is applied in its turn.
    pub fn check_order(&self, setting: &Setting, which: Which) -> Result<(), &'static str> {
        let key = &setting.event(which).key;
        let same = |at: usize| (which.0, at);
        let of_key = |at: &usize| setting.event(same(*at)).key == key && setting.role(same(*at)) == Some(Role::Act);
        let later = (which.1 + 1..setting.lanes[which.0].events.len()).filter(of_key);
        let earlier = (0..which.1).filter(of_key);
        let in_turn = later.map(same).all(|later| self.acted(later) == 0)
            && earlier.map(same).all(|earlier| {
                self.acted(earlier) > 0 || self.was_undone(setting, &setting.event(earlier).correlation)
            });
        if in_turn { Ok(()) } else { Err(ORDER) }
    }
}
