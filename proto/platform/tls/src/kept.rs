//! A configuration that is made from files, and made anew when these change.

use crate::files::{Contents, FileError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What looking at the files again has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    Unchanged,
    /// The new ones hold from the next connection on.
    Changed,
    /// The new ones cannot be used, and the old ones go on. Told once for each content.
    KeptOut(FileError),
}

type Make<C> = Box<dyn Fn(&Contents) -> Result<C, FileError> + Send + Sync>;

pub(crate) struct Kept<C> {
    paths: Vec<PathBuf>,
    make: Make<C>,
    state: Mutex<State<C>>,
}

struct State<C> {
    current: Arc<C>,
    /// What was looked at last, whether it could be used or not.
    seen: Result<Contents, FileError>,
}

impl<C> Kept<C> {
    pub(crate) fn load(
        paths: Vec<PathBuf>,
        make: impl Fn(&Contents) -> Result<C, FileError> + Send + Sync + 'static,
    ) -> Result<Kept<C>, FileError> {
        let contents = Contents::read(&as_paths(&paths))?;
        let current = Arc::new(make(&contents)?);
        let state = Mutex::new(State { current, seen: Ok(contents) });
        Ok(Kept { paths, make: Box::new(make), state })
    }

    pub(crate) fn current(&self) -> Arc<C> {
        self.state().current.clone()
    }

    /// Looks at the files again.
    pub(crate) fn refresh(&self) -> Refreshed {
        let seen = Contents::read(&as_paths(&self.paths));
        let mut state = self.state();
        if seen == state.seen {
            return Refreshed::Unchanged;
        }
        let made = match &seen {
            Ok(contents) => (self.make)(contents),
            Err(error) => Err(error.clone()),
        };
        state.seen = seen;
        match made {
            Ok(made) => {
                state.current = Arc::new(made);
                Refreshed::Changed
            }
            Err(error) => Refreshed::KeptOut(error),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        // Nothing panics while it is locked but what is made from the files, before anything is changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_paths(paths: &[PathBuf]) -> Vec<&Path> {
    paths.iter().map(PathBuf::as_path).collect()
}
