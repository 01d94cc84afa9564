//! `undoubt submit --lines`: many transactions, as JSON lines in and out.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::output::json_line;
use crate::submit::{MAX_DOCUMENT_BYTES, exit, open};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use undoubt_client::{Client, Completion, Submission};
use undoubt_gateway::Unreadable;
use undoubt_gateway::document;
use undoubt_gateway::json::{self, Line};

/// Lines read ahead of their submission.
const MAX_LINES_AHEAD: usize = 256;

/// A line of the input, counted from 1.
struct Given {
    number: u64,
    submission: Result<Submission, Failure>,
}

pub async fn submit(path: &Path, in_flight: u32, global: &Global) -> Result<Exit, Failure> {
    let cannot = |error: io::Error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display()));
    let input = open(path).map_err(cannot)?;
    let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
    let options = global.identified()?.max_in_flight_transactions(in_flight);
    let mut client = Client::connect_lazy(&global.coordinator, options)?;
    // If it cannot be asked, each of the transactions will say why.
    let _ = client.learn_default_timeout().await;

    let mut given = read_ahead(input);
    let (bad, mut unreadable) = mpsc::channel(MAX_LINES_AHEAD);
    let numbers = Arc::new(Mutex::new(BTreeMap::new()));
    let submissions = {
        let (numbers, mut sequence) = (numbers.clone(), 0);
        stream::poll_fn(move |context| given.poll_recv(context)).filter_map(move |Given { number, submission }| {
            if submission.is_ok() {
                numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence, number);
                sequence += 1;
            }
            let bad = bad.clone();
            async move {
                match submission {
                    Ok(submission) => Some(submission),
                    Err(failure) => {
                        // Nobody listens any more only when the program ends.
                        let _ = bad.send((number, failure)).await;
                        None
                    }
                }
            }
        })
    };
    let mut submitted = client.submit_many(submissions);
    let (mut tally, mut printed) = (Tally::new(), Ok(()));
    loop {
        let (exit, line) = tokio::select! {
            Some((line, failure)) = unreadable.recv() => {
                (failure.exit, Line::Failed { line, tx: None, error: failure.json() })
            }
            Some(done) = submitted.next() => {
                let number = numbers.lock().unwrap_or_else(PoisonError::into_inner).remove(&done.sequence);
                told(number.unwrap_or_default(), done)
            }
            else => break,
        };
        tally.count(exit);
        // All are submitted, whether anybody reads what becomes of them or not.
        printed = printed.and_then(|()| json_line(&line));
    }
    Ok(tally.finish().told(printed))
}

fn told(line: u64, done: Completion) -> (Exit, Line) {
    match done.result {
        Ok(answer) => (exit(&answer.outcome), Line::Known { line, outcome: json::Outcome::decided(&done.tx, &answer) }),
        Err(error) => {
            let failure = Failure::from(error);
            (failure.exit, Line::Failed { line, tx: Some(done.tx.to_string()), error: failure.json() })
        }
    }
}

/// Reads on a thread of its own, because standard input cannot be waited for in any other way.
fn read_ahead(input: Box<dyn Read + Send>) -> mpsc::Receiver<Given> {
    let (lines, given) = mpsc::channel(MAX_LINES_AHEAD);
    thread::spawn(move || {
        let mut input = BufReader::new(input);
        // An error: nobody listens any more, since the program ends.
        let _ = (1..).try_for_each(|number| read_one(&mut input, number, &lines).ok_or(()));
    });
    given
}

/// Reads a line and hands it on. `None` if there are no more.
fn read_one(input: &mut impl BufRead, number: u64, lines: &mpsc::Sender<Given>) -> Option<()> {
    let give = |submission| lines.blocking_send(Given { number, submission }).ok();
    match next_line(input) {
        Ok(line) if line.is_empty() => None,
        Ok(line) if line.len() as u64 > MAX_DOCUMENT_BYTES => {
            let why = format!(
                "line {number}: it is longer than {MAX_DOCUMENT_BYTES} bytes, more than any transaction may be"
            );
            give(Err(Failure::new(Exit::Refused, why)))?;
            input.skip_until(b'\n').ok().map(drop)
        }
        Ok(line) if line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line).trim_ascii().is_empty() => Some(()),
        Ok(line) => give(parse(&line).map_err(|why| Failure::new(Exit::Refused, why.in_line(number)))),
        Err(error) => {
            let why = format!("line {number}: it cannot be read, nor what follows: {error}");
            give(Err(Failure::new(Exit::Usage, why)))?;
            None
        }
    }
}

/// The next line, with its end; or as much of it as shows that it is too long. Empty at the end of the input.
fn next_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(MAX_DOCUMENT_BYTES + 1).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn parse(line: &[u8]) -> Result<Submission, Unreadable> {
    document::from_json(undoubt_gateway::text(line)?)
}

/// The count of how transactions ended, which is shown while standard error is a terminal.
struct Tally {
    bar: ProgressBar,
    committed: u64,
    aborted: u64,
    failed: u64,
    gravest: Exit,
}

impl Tally {
    fn new() -> Self {
        // Hidden by itself where standard error is no terminal.
        let style = ProgressStyle::with_template("{spinner} {human_pos} done, {per_sec}  {msg}");
        let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Tally { bar, committed: 0, aborted: 0, failed: 0, gravest: Exit::Done }
    }

    fn count(&mut self, exit: Exit) {
        self.gravest = self.gravest.graver(exit);
        match exit {
            Exit::Done => self.committed += 1,
            Exit::Aborted => self.aborted += 1,
            Exit::Unexpected
            | Exit::Usage
            | Exit::OutcomeUnknown
            | Exit::NotFound
            | Exit::NotReady
            | Exit::Refused
            | Exit::WrongState
            | Exit::Stuck => self.failed += 1,
        }
        self.bar.inc(1);
        let Tally { committed, aborted, failed, .. } = self;
        self.bar.set_message(format!("committed {committed}, aborted {aborted}, failed {failed}"));
    }

    fn finish(self) -> Exit {
        self.bar.finish();
        self.gravest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &'static [u8]) -> Vec<(u64, bool)> {
        let mut given = read_ahead(Box::new(text));
        std::iter::from_fn(|| given.blocking_recv()).map(|line| (line.number, line.submission.is_ok())).collect()
    }

    #[test]
    fn every_line_keeps_its_number_whether_it_can_be_read_or_not() {
        let text = b"{\"branches\":{\"a\":[\"get k\"]}}\n\nnonsense\n\xff\n{\"branches\":{\"a\":[\"get k\"]}}";
        assert_eq!(all(text), [(1, true), (3, false), (4, false), (5, true)]);
        assert_eq!(all(b""), []);
    }

    #[test]
    fn a_line_without_end_is_refused_instead_of_filling_memory() {
        let mut given = read_ahead(Box::new(io::repeat(b'x')));
        let first = given.blocking_recv().unwrap().submission.unwrap_err();
        assert!(first.message.starts_with("line 1: ") && first.message.contains("16777216 bytes"), "{first:?}");
    }

    #[test]
    fn after_a_line_that_is_too_long_the_next_is_read() {
        let good: &[u8] = b"\n{\"branches\":{\"a\":[\"get k\"]}}";
        let mut given = read_ahead(Box::new(io::repeat(b'x').take(MAX_DOCUMENT_BYTES + 9).chain(good)));
        assert!(given.blocking_recv().unwrap().submission.is_err());
        let next = given.blocking_recv().unwrap();
        assert!(next.number == 2 && next.submission.is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_line_names_the_line_of_the_file_once() {
        let why = |text: &'static str| {
            let mut given = read_ahead(Box::new(text.as_bytes()));
            std::iter::from_fn(|| given.blocking_recv())
                .filter_map(|given| given.submission.err())
                .next()
                .unwrap()
                .message
        };
        let syntax = why("\n{\"branches\":{\"a\":[\"get k\"]}}\r\n{\"id\" 5}");
        assert!(syntax.starts_with("line 3, column 7: ") && syntax.matches("line").count() == 1, "{syntax}");
        let meaning = why("\u{feff}\n{\"branches\":{\"a\":[\"got k\"]}}");
        assert!(meaning.starts_with("line 2, branches.a[0]: "), "{meaning}");
        assert!(why("{\"branches\":{\"a\":[\"get k\"]}} {}").starts_with("line 1, column 30: trailing"));
    }

    #[test]
    fn a_byte_order_mark_belongs_to_no_line() {
        let text = "\u{feff}{\"branches\":{\"a\":[\"get k\"]}}\r\n\r\n{\"branches\":{\"a\":[\"get k\"]}}\r\n";
        assert_eq!(all(text.as_bytes()), [(1, true), (3, true)]);
    }

    proptest! {
        #[test]
        fn reading_any_line_never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
