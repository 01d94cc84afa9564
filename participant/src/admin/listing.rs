//! Lists of branches and steps, page by page.
//!
//! A list has two parts, one behind the other: branches, then steps, each with the oldest first. A cursor is the place of the last
//! one on a page.

use crate::heuristic::to_wire;
use bytes::Bytes;
use tonic::Status;
use undoubt_participant_core::{BranchView, StepView};
use undoubt_platform::Reason;
use undoubt_proto::v1;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Timestamp, TxId};

const DEFAULT_PAGE_ROWS: u32 = 1_000;
pub(crate) const MAX_PAGE_ROWS: u32 = 10_000;

/// About what a branch takes on a page.
const ROW_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct Query {
    in_doubt_only: bool,
    limit: usize,
    /// Empty: from the beginning.
    after: Bytes,
}

impl Query {
    pub(super) fn parse(request: v1::ListBranchesRequest) -> Result<Query, Status> {
        let v1::ListBranchesRequest { in_doubt_only, limit, after } = request;
        let is_cursor = match after.first() {
            None => true,
            Some(&BRANCH) => true,
            Some(&STEP) => !in_doubt_only,
            Some(_) => false,
        };
        if !is_cursor {
            return Err(Reason::InvalidRequest.refuse_field(
                "after",
                "this is no cursor of this list; leave it out to begin, or ask for what it came with",
            ));
        }
        let limit = if limit == 0 { DEFAULT_PAGE_ROWS } else { limit.min(MAX_PAGE_ROWS) } as usize;
        Ok(Query { in_doubt_only, limit, after })
    }

    /// Returns about what the answer takes at most.
    pub(super) fn most_bytes(&self) -> usize {
        self.limit * ROW_BYTES
    }

    pub(super) fn page(
        self,
        branches: impl Iterator<Item = BranchView>,
        steps: impl Iterator<Item = StepView>,
    ) -> v1::ListBranchesResponse {
        let Query { in_doubt_only, limit, after } = self;
        let branches = branches
            .filter(|branch| branch.in_doubt || !in_doubt_only)
            .map(|branch| (place_of_branch(&branch), Row::Branch(branch)));
        let steps = steps.filter(|_| !in_doubt_only).map(|step| (place_of_step(&step), Row::Step(step)));
        let mut rows: Vec<(Vec<u8>, Row)> = branches.chain(steps).filter(|(place, _)| place[..] > after[..]).collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let cursor = rows.last().filter(|_| more).map(|(place, _)| place.clone().into()).unwrap_or_default();
        let mut page = v1::ListBranchesResponse { more, cursor, ..v1::ListBranchesResponse::default() };
        for (_, row) in rows {
            match row {
                Row::Branch(view) => page.branches.push(branch(view)),
                Row::Step(view) => page.steps.push(step(view)),
            }
        }
        page
    }
}

enum Row {
    Branch(BranchView),
    Step(StepView),
}

const BRANCH: u8 = 1;
const STEP: u8 = 2;

/// Returns bytes in the order of the list.
fn place(
    part: u8,
    begun_at: Timestamp,
    coordinator: CoordinatorId,
    attempt_number: AttemptNumber,
    step: u16,
    tx: &TxId,
) -> Vec<u8> {
    let Timestamp(begun_at_us) = begun_at;
    let parts: [&[u8]; 6] = [
        &[part],
        &begun_at_us.to_be_bytes(),
        &coordinator.0,
        &attempt_number.0.to_be_bytes(),
        &step.to_be_bytes(),
        tx.as_bytes(),
    ];
    parts.concat()
}

fn place_of_branch(BranchView { id, begun_at, .. }: &BranchView) -> Vec<u8> {
    place(BRANCH, *begun_at, id.coordinator, id.attempt_number, 0, &id.tx)
}

fn place_of_step(StepView { id, begun_at, .. }: &StepView) -> Vec<u8> {
    place(STEP, *begun_at, id.coordinator, id.attempt_number, id.step.0, &id.tx)
}

fn branch(view: BranchView) -> v1::Branch {
    let heuristic = view.heuristic.map(to_wire);
    v1::Branch {
        tx: view.id.tx.to_bytes(),
        attempt_number: view.id.attempt_number.0,
        coordinator_id: view.id.coordinator.0.to_vec().into(),
        state: view.state.to_owned(),
        begun_at_us: view.begun_at.0,
        heuristic,
    }
}

fn step(StepView { id, begun_at, state }: StepView) -> v1::StepUnderWay {
    v1::StepUnderWay {
        tx: id.tx.to_bytes(),
        attempt_number: id.attempt_number.0,
        coordinator_id: id.coordinator.0.to_vec().into(),
        step: id.step.0.into(),
        state: state.to_owned(),
        begun_at_us: begun_at.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_participant_core::{BranchId, StepId};
    use undoubt_vocabulary::StepIndex;

    const COORDINATOR: CoordinatorId = CoordinatorId([7; 16]);

    fn branches() -> impl Iterator<Item = BranchView> {
        (0_u64..5).map(|number| BranchView {
            id: BranchId {
                tx: format!("b{number}").parse().unwrap(),
                attempt_number: AttemptNumber(number),
                coordinator: COORDINATOR,
            },
            // Two that began at the same moment.
            begun_at: Timestamp(9 - number / 2),
            state: "prepared",
            in_doubt: number != 3,
            heuristic: None,
        })
    }

    fn steps() -> impl Iterator<Item = StepView> {
        (0_u16..3).map(|step| StepView {
            id: StepId {
                coordinator: COORDINATOR,
                attempt_number: AttemptNumber(8),
                step: StepIndex(step),
                tx: "saga".parse().unwrap(),
            },
            begun_at: Timestamp(1),
            state: "acting",
        })
    }

    fn all(in_doubt_only: bool, limit: u32) -> (Vec<String>, usize) {
        let (mut seen, mut pages, mut after) = (Vec::new(), 0, Bytes::new());
        loop {
            let query = Query::parse(v1::ListBranchesRequest { in_doubt_only, limit, after }).unwrap();
            let page = query.page(branches(), steps());
            pages += 1;
            assert_eq!(page.more, !page.cursor.is_empty());
            seen.extend(page.branches.iter().map(|branch| String::from_utf8_lossy(&branch.tx).into_owned()));
            seen.extend(page.steps.iter().map(|step| format!("step {}", step.step)));
            if !page.more {
                return (seen, pages);
            }
            after = page.cursor;
        }
    }

    #[test]
    fn pages_of_any_size_tell_each_branch_and_step_once_and_the_last_says_that_there_is_no_more() {
        let whole = ["b4", "b2", "b3", "b0", "b1", "step 0", "step 1", "step 2"].map(str::to_owned).to_vec();
        for (limit, pages) in [(1, 8), (2, 4), (3, 3), (5, 2), (8, 1), (9, 1), (0, 1)] {
            assert_eq!(all(false, limit), (whole.clone(), pages), "pages of {limit}");
        }
        assert_eq!(all(true, 2).0, ["b4", "b2", "b0", "b1"]);
    }

    #[test]
    fn what_is_no_cursor_of_the_list_is_refused() {
        let ask = |in_doubt_only, after: &'static [u8]| {
            Query::parse(v1::ListBranchesRequest { in_doubt_only, limit: 1, after: after.into() }).map(drop)
        };
        assert!(ask(false, &[9]).is_err() && ask(true, &[STEP, 1]).is_err());
        assert!(ask(false, &[STEP, 1]).is_ok() && ask(true, &[BRANCH]).is_ok());
    }
}
