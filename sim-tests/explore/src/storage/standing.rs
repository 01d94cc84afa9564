//! The storage's own memory: its starts, and whether it was put back.

use super::{Mutant, Storage};
use undoubt_participant_core::Loss;
use undoubt_vocabulary::{Starts, WriteNumber};

impl Storage {
    /// The number of its last write that is known to be on stable storage, if writes are numbered.
    pub(crate) fn number(&self) -> Option<WriteNumber> {
        self.numbers.as_ref().map(|numbers| numbers.number())
    }

    pub(crate) fn begin(&mut self, mark: u64, mutant: Option<Mutant>) {
        let mark = if mutant == Some(Mutant::StartsUnmarked) { 0 } else { mark };
        self.numbers.iter_mut().for_each(|numbers| numbers.begin(mark));
    }

    pub(crate) fn store_put_back(&mut self, why: String, mutant: Option<Mutant>) -> Result<(), String> {
        self.force();
        let numbers = self.numbers.as_mut().ok_or("contract: nobody numbers writes here")?;
        numbers.put_back = Some(why).filter(|_| mutant != Some(Mutant::SignUnstored));
        Ok(())
    }

    pub(crate) fn accept_loss(&mut self, loss: &Loss, mark: u64, mutant: Option<Mutant>) -> Result<Starts, String> {
        self.unforced.clear();
        let numbers = self.numbers.as_mut().ok_or("contract: nobody numbers writes here")?;
        numbers.accept_loss(loss.above, mark, mutant);
        Ok(numbers.starts.clone())
    }
}
