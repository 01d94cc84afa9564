//! The check that from every world the end can be reached without another fault.
//!
//! Going backwards from the worlds in which everything is over, along all steps that are no faults, every world has to
//! be met. One that isn't is a deadlock, a lock that nobody frees, a client that nobody answers. It is "can be reached",
//! not "will be": that what can happen for ever does happen at last is for timers and the network to see to.

#[derive(Debug, Default)]
pub(crate) struct Ends {
    over: Vec<bool>,
    /// The beginnings of each world's steps in `steps`.
    begins: Vec<usize>,
    steps: Vec<u32>,
}

impl Ends {
    /// The steps that follow are those of the next world.
    pub(crate) fn begin(&mut self, over: bool) {
        self.over.push(over);
        self.begins.push(self.steps.len());
    }

    pub(crate) fn leads_to(&mut self, world: u32) {
        self.steps.push(world);
    }

    /// The present world has steps that were not taken, so nothing can be said against it.
    pub(crate) fn assume_over(&mut self) {
        if let Some(over) = self.over.last_mut() {
            *over = true;
        }
    }

    /// The nearest world from which the end cannot be reached.
    pub(crate) fn first_without_end(&self) -> Option<u32> {
        let worlds = self.over.len();
        let steps_of =
            |world: usize| self.begins[world]..self.begins.get(world + 1).copied().unwrap_or(self.steps.len());
        let mut into = vec![0_u32; worlds + 1];
        for step in &self.steps {
            into[*step as usize + 1] += 1;
        }
        for world in 0..worlds {
            into[world + 1] += into[world];
        }
        let (begins, mut fill) = (into.clone(), into);
        let mut origins = vec![0_u32; self.steps.len()];
        for world in 0..worlds {
            for step in &self.steps[steps_of(world)] {
                let at = &mut fill[*step as usize];
                origins[*at as usize] = world as u32;
                *at += 1;
            }
        }
        let mut ends = self.over.clone();
        let mut open: Vec<usize> = (0..worlds).filter(|world| ends[*world]).collect();
        while let Some(world) = open.pop() {
            for origin in &origins[begins[world] as usize..begins[world + 1] as usize] {
                let origin = *origin as usize;
                if !std::mem::replace(&mut ends[origin], true) {
                    open.push(origin);
                }
            }
        }
        ends.iter().position(|ends| !ends).map(|world| world as u32)
    }
}
