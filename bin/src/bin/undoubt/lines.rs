//! `undoubt submit --lines`: many transactions, as JSON lines in and out.

use crate::args::Global;
use crate::document;
use crate::exit::{Exit, Failure};
use crate::json::{Line, Standing};
use crate::output::json_line;
use crate::submit::{MAX_DOCUMENT_BYTES, exit};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use undoubt_client::{Client, ClientOptions, Submitted, Transaction};

/// Lines read ahead of their submission.
const MAX_LINES_AHEAD: usize = 256;

/// A line of the input, counted from 1.
struct Given {
    number: u64,
    transaction: Result<Transaction, String>,
}

pub async fn submit(path: &Path, in_flight: u32, global: &Global) -> Result<Exit, Failure> {
    let cannot = |error: io::Error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display()));
    let input: Box<dyn Read + Send> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(cannot)?) };
    let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
    let options = ClientOptions { max_in_flight_transactions: in_flight, ..global.options() };
    let client = Client::connect(&global.coordinator, options)?;

    let mut given = read_ahead(input);
    let (bad, mut unreadable) = mpsc::channel(MAX_LINES_AHEAD);
    let numbers = Arc::new(Mutex::new(BTreeMap::new()));
    let transactions = {
        let (numbers, mut sequence) = (numbers.clone(), 0);
        stream::poll_fn(move |context| given.poll_recv(context)).filter_map(move |Given { number, transaction }| {
            let readable = match &transaction {
                Ok(_) => {
                    numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence, number);
                    sequence += 1;
                    None
                }
                Err(why) => {
                    Some(Line::Failed { line: number, tx: None, error: Failure::new(Exit::Refused, why).json() })
                }
            };
            let bad = bad.clone();
            async move {
                if let Some(line) = readable {
                    // Nobody listens any more only when the program ends.
                    let _ = bad.send(line).await;
                }
                transaction.ok()
            }
        })
    };
    let mut submitted = client.submit_many(transactions);
    let mut tally = Tally::new();
    loop {
        tokio::select! {
            Some(line) = unreadable.recv() => {
                tally.count(Exit::Refused);
                json_line(&line)?;
            }
            Some(done) = submitted.next() => {
                let number = numbers.lock().unwrap_or_else(PoisonError::into_inner).remove(&done.sequence);
                let (exit, line) = told(number.unwrap_or_default(), done);
                tally.count(exit);
                json_line(&line)?;
            }
            else => break,
        }
    }
    Ok(tally.finish())
}

fn told(line: u64, done: Submitted) -> (Exit, Line) {
    match done.result {
        Ok(answer) => (exit(&answer.outcome), Line::Known { line, standing: Standing::decided(&done.tx, &answer) }),
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
        let mut number = 0;
        loop {
            number += 1;
            let transaction = match next_line(&mut input) {
                Ok(None) => return,
                Ok(Some(line)) if line.trim_ascii().is_empty() => continue,
                Ok(Some(line)) => parse(&line),
                Err(error) => {
                    let _ = lines.blocking_send(Given { number, transaction: Err(error.to_string()) });
                    return;
                }
            };
            if lines.blocking_send(Given { number, transaction }).is_err() {
                return;
            }
        }
    });
    given
}

fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = input.take(MAX_DOCUMENT_BYTES).read_until(b'\n', &mut line)?;
    if length as u64 == MAX_DOCUMENT_BYTES && line.last() != Some(&b'\n') {
        let why = format!("the line is longer than {MAX_DOCUMENT_BYTES} bytes; the rest of the input was not read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok((length > 0).then_some(line))
}

fn parse(line: &[u8]) -> Result<Transaction, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("the line is no UTF-8: {error}"))?;
    document::from_json(text)
}

/// Counts how transactions ended, and shows it while standard error is a terminal.
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
        std::iter::from_fn(|| given.blocking_recv()).map(|line| (line.number, line.transaction.is_ok())).collect()
    }

    #[test]
    fn every_line_keeps_its_number_whether_it_can_be_read_or_not() {
        let text = b"{\"branches\":{\"a\":[\"get k\"]}}\n\nnonsense\n\xff\n{\"branches\":{\"a\":[\"get k\"]}}";
        assert_eq!(all(text), [(1, true), (3, false), (4, false), (5, true)]);
        assert_eq!(all(b""), []);
    }

    #[test]
    fn a_line_without_end_is_refused_instead_of_filling_memory() {
        let mut endless = BufReader::new(io::repeat(b'x'));
        assert!(next_line(&mut endless).unwrap_err().to_string().contains("16777216 bytes"));
    }

    proptest! {
        #[test]
        fn reading_any_line_never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
