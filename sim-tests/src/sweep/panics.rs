//! Panics inside a run, caught and told.
//!
//! Where a host's task panics, tokio and turmoil pass that on with a panic of their own, which says nothing. So it is the
//! first one of a run that is told. None is printed: a sweep with a planted bug may see hundreds.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// The first panic of the run that is under way on this thread: `None` if there is no run, empty before a panic.
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Returns what `run` returns, or what its first panic said and where. A run leaves nothing behind but what it returns.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    listen();
    FIRST.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(run));
    let first = FIRST.take().unwrap_or_default();
    done.map_err(|_| first)
}

/// Begins to listen, once for the whole process. Panics outside of runs go where they went before.
fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let otherwise = take_hook();
        set_hook(Box::new(move |panic| {
            let in_a_run = FIRST.with_borrow_mut(|first| {
                let is_first = first.as_ref().is_some_and(String::is_empty);
                if is_first {
                    *first = Some(told(panic));
                }
                first.is_some()
            });
            if !in_a_run {
                otherwise(panic);
            }
        }));
    });
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let what = panic.payload_as_str().unwrap_or("it panicked without a text");
    match panic.location() {
        Some(place) => format!("{what} ({}:{})", place.file(), place.line()),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_of_a_run_is_told_with_its_place_and_the_next_run_starts_anew() {
        let passed_on = caught(|| {
            let inner = catch_unwind(|| panic!("the cause"));
            assert!(inner.is_ok(), "a consequence");
        });
        let told = passed_on.unwrap_err();
        assert!(told.starts_with("the cause (") && told.contains("panics.rs:"), "{told}");
        assert_eq!(caught(|| 7), Ok(7));
        assert!(caught(|| panic!("another")).is_err_and(|told: String| told.starts_with("another")));
    }
}
