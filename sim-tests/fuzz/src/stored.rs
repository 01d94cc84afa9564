//! The decoders of what is on disk: records of coordinators and participants, numbers of starts, logs, and signs in folders.

use crate::wire::saga_step;
use crate::{Target, says_why};
use bytes::Bytes;
use futures::executor::block_on;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use undoubt_coordinator::decoders as coordinator;
use undoubt_coordinator::log::{FAMILIES as OF_LOG, Log};
use undoubt_coordinator_core::Unfinished;
use undoubt_kv::{FAMILIES as OF_KEY_VALUE, KeyValue, KeyValueOptions, META};
use undoubt_participant::resource::{BranchId, Heuristic, Recovered, Resource as _, StepId};
use undoubt_participant::table::{BRANCH, Barrier, COORDINATOR, TransactionTable};
use undoubt_platform::audit::{AUDIT, Audit, AuditQuery, Bounds, Call, Origin};
use undoubt_platform::identity::{Kind, establish};
use undoubt_platform::store::memory::{Memory, MemoryStore};
use undoubt_platform::{Batch, Durability, Family, NumberedStore, Reason, Store as _, SystemClock};
use undoubt_proto::{record, v1};
use undoubt_rocks_format::log::{Verdict, inspect};
use undoubt_rocks_format::sign::{FileIdentity, Mark};
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, CoordinatorId, Epoch, StepIndex, Timestamp, TxId};

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "coordinator-log", decode: coordinator_log, growth: 4_096, seeds: logs },
    Target { name: "participant-table", decode: participant_table, growth: 4_096, seeds: tables },
    Target { name: "key-value-store", decode: key_value_store, growth: 4_096, seeds: tables },
    Target { name: "starts", decode: starts, growth: 512, seeds: metas },
    Target { name: "audit-record", decode: audit_record, growth: 1_024, seeds: audit_records },
    Target { name: "history", decode: history, growth: 2_048, seeds: histories },
    Target { name: "write-ahead-log", decode: write_ahead_log, growth: 4, seeds: write_ahead_logs },
    Target { name: "folder-sign", decode: folder_sign, growth: 64, seeds: folder_signs },
];

/// Returns a store with the pairs that the bytes tell: a family's place, lengths of a key and a value, and these.
fn planted(families: &[Family], mut input: &[u8]) -> MemoryStore {
    let mut batch = Batch::default();
    while let Some([family, key, high, low]) = input.split_off(..4).and_then(|head| <[u8; 4]>::try_from(head).ok()) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let family = families[usize::from(family) % families.len()];
        let key = input.split_off(..usize::from(key).min(input.len())).unwrap_or_default();
        let value = input.split_off(..length.min(input.len())).unwrap_or_default();
        batch.put(family, key, value);
    }
    over(families, &batch)
}

fn over(families: &[Family], batch: &Batch) -> MemoryStore {
    let memory = Memory::default();
    let store = memory.open(families).expect("it is new");
    memory.plant(batch);
    store
}

/// Returns what [`planted`] reads.
fn pairs_of(families: &[Family], store: &MemoryStore) -> Vec<u8> {
    let contents = store.memory().contents();
    let mut input = Vec::new();
    for (place, family) in families.iter().enumerate() {
        for (key, value) in contents.pairs(*family) {
            let (key_length, length) = (u8::try_from(key.len()), u16::try_from(value.len()));
            input.push(u8::try_from(place).expect("there are few families"));
            input.push(key_length.expect("seeds are small"));
            input.extend(length.expect("seeds are small").to_be_bytes());
            input.extend_from_slice(key);
            input.extend_from_slice(value);
        }
    }
    input
}

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn coordinator_log(input: &[u8]) {
    let store = planted(OF_LOG, input);
    let keys: Vec<Bytes> = store.memory().contents().keys(OF_LOG[2]).cloned().collect();
    let log = Log::new(Arc::new(store));
    match log.unfinished() {
        Err(why) => says_why(&why, input),
        Ok(all) => {
            for found in all {
                let again = Log::new(Arc::new(over(OF_LOG, &coordinator::rewrite_open(&found, NOW))));
                let again = again.unfinished().expect("what is written can be read");
                let [again] = &again[..] else { panic!("one was written") };
                assert_eq!(again.unfinished.tx(), found.unfinished.tx());
                // Of one that is held, less is written than was read.
                if !matches!(found.unfinished, Unfinished::Unusable(_)) {
                    assert_eq!((&again.unfinished, &again.history), (&found.unfinished, &found.history));
                }
            }
        }
    }
    for key in keys {
        let Ok(tx) = TxId::new(key) else { continue };
        match log.ended(&tx) {
            Err(why) => says_why(&why, input),
            Ok(None) => panic!("it is there"),
            Ok(Some(ended)) => {
                let again = Log::new(Arc::new(over(OF_LOG, &coordinator::rewrite_ended(&ended))));
                let again = again.ended(&tx).expect("what is written can be read").expect("it was written");
                assert_eq!((&again.record, &again.history), (&ended.record, &ended.history));
            }
        }
    }
    if let Err(why) = coordinator::read_beside(&log) {
        says_why(&why, input);
    }
    match log.damaged(None, 64).map(drop).and_then(|()| coordinator::collect(&log, Timestamp(u64::MAX)).map(drop)) {
        Ok(()) => {}
        Err(why) => says_why(&why, input),
    }
}

fn participant_table(input: &[u8]) {
    let store = Arc::new(planted(&OF_KEY_VALUE, input));
    let table = TransactionTable::new(store);
    let read = |table: &TransactionTable| table.recover(|_, _| Ok(()), |_, _| {});
    let recovered = match read(&table) {
        Ok(recovered) => recovered,
        Err(why) => return says_why(&why, input),
    };
    let Recovered { finished, heuristics, steps, .. } = &recovered;
    let written = TransactionTable::new(Arc::new(Memory::default().open(&OF_KEY_VALUE).expect("it is new")));
    let mut batch = Batch::default();
    for step in steps {
        let (_, barrier) = table.barrier(&step.step).expect("it was read").expect("it is there");
        written.put_barrier(&mut batch, &step.step, &barrier);
    }
    for branch in finished {
        let result = table.result_of(&branch.branch).expect("it was read").expect("it is there");
        written.put_finished(&mut batch, &branch.branch, branch.outcome, result);
    }
    for branch in heuristics {
        written.put_heuristic(&mut batch, &branch.branch, branch.begun_at, branch.heuristic.clone());
    }
    let again =
        read(&TransactionTable::new(Arc::new(over(&OF_KEY_VALUE, &batch)))).expect("what is written can be read");
    assert_eq!((&again.finished, &again.heuristics, &again.steps), (finished, heuristics, steps));
}

fn key_value_store(input: &[u8]) {
    let store = KeyValue::new(Arc::new(planted(&OF_KEY_VALUE, input)), KeyValueOptions::default());
    let owner = "bank-a".parse().expect("it is a name");
    if let Err(why) = block_on(store.recover(&owner)) {
        says_why(&why, input);
    }
}

fn starts(input: &[u8]) {
    let store = Arc::new(planted(&[META], input));
    if let Err(why) = block_on(establish(store.as_ref(), META, Kind::Participant, "bank-a", [7; 16])) {
        says_why(&why, input);
    }
    match block_on(NumberedStore::begin(store.clone(), META, [7; 16], 0, 3)) {
        Err(why) => says_why(&why, input),
        Ok((_, known)) => match block_on(NumberedStore::begin(store, META, [7; 16], 0, 4)) {
            Ok((_, next)) => assert_eq!(next.put_back, known.put_back),
            Err(why) => {
                assert_eq!(
                    known.starts.now.count,
                    Epoch::LAST.0,
                    "what is written can be read, and another start be begun: {why}"
                );
                says_why(&why, input);
            }
        },
    }
}

const KEPT: Bounds = Bounds { max_bytes: 1 << 20, retention: Duration::from_secs(1) };

fn audit_record(input: &[u8]) {
    let store = Arc::new(planted(&[AUDIT], input));
    let audit = match Audit::open(store, Arc::new(SystemClock), KEPT) {
        Ok(audit) => audit,
        Err(why) => return says_why(&why, input),
    };
    let query = AuditQuery { limit: 64, max_bytes: 1 << 20, ..AuditQuery::default() };
    let read = audit.page(&query).map(drop);
    audit.note_submission(&Origin::default(), "submit", &"order-17".parse().expect("it is an id"));
    if let Err(why) = read.and_then(|()| block_on(audit.flush())) {
        says_why(&why, input);
    }
}

fn audit_records() -> Vec<Vec<u8>> {
    let store = Arc::new(Memory::default().open(&[AUDIT]).expect("it is new"));
    let audit = Audit::open(store.clone(), Arc::new(SystemClock), KEPT).expect("it is new");
    for id in ["order-17", "order-18"] {
        audit.note_submission(&Origin::default(), "submit", &id.parse().expect("it is an id"));
        let call =
            Call::new(Origin::default(), "forget").tx(&Bytes::from_static(b"order-17")).note("ada", "it is gone");
        audit.note_refusal(&call, Some(Reason::LacksRole));
        block_on(audit.flush()).expect("it is in memory");
    }
    vec![pairs_of(&[AUDIT], &store)]
}

fn history(input: &[u8]) {
    match coordinator::history(input) {
        Err(why) => says_why(&why, input),
        Ok(events) => {
            let again =
                coordinator::history(&coordinator::history_lines(&events)).expect("what is written can be read");
            assert_eq!(again, events);
        }
    }
}

fn write_ahead_log(input: &[u8]) {
    match inspect(input) {
        Verdict::Intact => {}
        Verdict::Torn { keep_bytes, .. } => {
            assert!(keep_bytes <= input.len());
            assert_eq!(inspect(&input[..keep_bytes]), Verdict::Intact, "what is kept is whole");
        }
        Verdict::Damaged { offset, detail, .. } => {
            assert!(offset <= input.len());
            says_why(&detail, input);
        }
    }
}

fn folder_sign(input: &[u8]) {
    if let Some(identity) = FileIdentity::decode(input) {
        assert_eq!(FileIdentity::decode(identity.encode().as_bytes()), Some(identity));
        says_why(&identity, input);
    }
    let mark = Mark::read(input);
    assert_eq!(Mark::read(mark.encode().as_bytes()), mark);
}

fn logs() -> Vec<Vec<u8>> {
    let history = coordinator::history_lines(&events());
    let with_history = |message: Vec<u8>| [message, history.clone()].concat();
    let digest = Bytes::from_static(&[9; 32]);
    let result = || v1::BranchResult {
        part: Some(v1::branch_result::Part::Participant("bank-a".to_owned())),
        result: Bytes::from_static(b"70"),
    };
    let open = record::OpenTransaction {
        kind: record::open_transaction::Kind::Commit.into(),
        attempt_number: 9,
        begun_at_us: NOW.0,
        digest: digest.clone(),
        participants: vec!["bank-a".to_owned(), "bank-b".to_owned()],
        read_only: vec!["rates".to_owned()],
        results: vec![result()],
        results_apart: vec!["bank-a".to_owned()],
        ..record::OpenTransaction::default()
    };
    let saga = record::OpenTransaction {
        kind: record::open_transaction::Kind::Saga.into(),
        attempt_number: 10,
        begun_at_us: NOW.0,
        digest: digest.clone(),
        saga: Some(record::SagaState {
            steps: vec![v1::SagaStep::from(&saga_step())],
            deadline_us: NOW.0,
            compensating: None,
            progress: vec![record::StepProgress {
                state: Some(record::step_progress::State::Done(record::StepDone {
                    result: Bytes::from_static(b"r"),
                    pending: true,
                    apart: false,
                })),
            }],
            definition_apart: false,
        }),
        ..record::OpenTransaction::default()
    };
    let held = record::OpenTransaction { held_because: "it was put back".to_owned(), ..open.clone() };
    let ended = record::EndedTransaction {
        outcome: Some(v1::Outcome {
            state: v1::State::Committed.into(),
            results: vec![result()],
            ..v1::Outcome::default()
        }),
        attempt_number: 9,
        begun_at_us: NOW.0,
        ended_at_us: NOW.0,
        digest,
        branches: vec![record::EndedBranch {
            participant: "bank-a".to_owned(),
            outcome: v1::BranchOutcome::Committed.into(),
            ..record::EndedBranch::default()
        }],
        ..record::EndedTransaction::default()
    };
    let lost = record::LostParts {
        parts: vec![record::LostPart {
            participant: "bank-a".to_owned(),
            step_name: "pay".to_owned(),
            step: Some(0),
            outcome: v1::BranchOutcome::Committed.into(),
        }],
    };
    let mut all = Vec::new();
    let mut add = |pairs: &[(usize, &[u8], Vec<u8>)]| {
        let mut batch = Batch::default();
        pairs.iter().for_each(|(family, key, value)| batch.put(OF_LOG[*family], key, value));
        all.push(pairs_of(OF_LOG, &over(OF_LOG, &batch)));
    };
    let result_key = [&9_u64.to_be_bytes()[..], b"bank-a"].concat();
    add(&[(1, b"t1", with_history(open.encode_to_vec())), (6, &result_key, b"70".to_vec())]);
    add(&[(1, b"t2", with_history(saga.encode_to_vec()))]);
    add(&[(1, b"t3", held.encode_to_vec())]);
    let ended_at = [&NOW.0.to_be_bytes()[..], b"t4"].concat();
    add(&[(2, b"t4", with_history(ended.encode_to_vec())), (3, &ended_at, Vec::new())]);
    add(&[
        (2, b"t5", ended.encode_to_vec()),
        (4, b"t5", Vec::new()),
        (5, b"t5", b"http://a:1/\nhttp://b:2/x".to_vec()),
    ]);
    add(&[(0, b"lost/t1", lost.encode_to_vec()), (0, b"loss/\0\0\0\0", record::Loss::default().encode_to_vec())]);
    all
}

fn events() -> Vec<v1::HistoryEvent> {
    let event = |kind, participant: &str, detail: &str| v1::HistoryEvent {
        at_us: NOW.0,
        kind,
        participant: participant.to_owned(),
        detail: detail.to_owned(),
        count: 1,
    };
    vec![
        event(1, "", "2 branches"),
        event(2, "bank-a", "prepare"),
        event(2, "bank-b", "prepare"),
        event(3, "bank-a", "ok"),
    ]
}

fn histories() -> Vec<Vec<u8>> {
    vec![coordinator::history_lines(&events())]
}

fn tables() -> Vec<Vec<u8>> {
    let (coordinator, attempt_number) = (CoordinatorId([7; 16]), AttemptNumber(9));
    let tx: TxId = "order-17".parse().expect("it is an id");
    let branch = BranchId { coordinator, attempt_number, tx: tx.clone() };
    let step = StepId { coordinator, attempt_number, step: StepIndex(1), tx };
    let mut all = Vec::new();
    let mut add = |batch: &Batch| all.push(pairs_of(&OF_KEY_VALUE, &over(&OF_KEY_VALUE, batch)));
    let table = TransactionTable::new(Arc::new(Memory::default().open(&OF_KEY_VALUE).expect("it is new")));

    let mut batch = Batch::default();
    let prepared = record::PreparedBranch {
        attempt_number: 9,
        coordinator_id: Bytes::from_static(&[7; 16]),
        begun_at_us: NOW.0,
        result: Bytes::from_static(b"result"),
    };
    let own = record::KeyValueBranch {
        read_keys: vec![Bytes::from_static(b"rate")],
        writes: vec![
            record::Write { key: Bytes::from_static(b"alice"), value: Some(Bytes::from_static(b"70")) },
            record::Write { key: Bytes::from_static(b"gone"), value: None },
        ],
        events: Vec::new(),
    };
    batch.put(BRANCH, "order-17", [prepared.encode_to_vec(), own.encode_to_vec()].concat());
    add(&batch);

    let mut batch = Batch::default();
    table.put_finished(&mut batch, &branch, BranchOutcome::Committed, Bytes::from_static(b"70"));
    table.put_step(&mut batch, &step, Barrier::Acted, Bytes::from_static(b"r"), vec![Bytes::from_static(b"alice")]);
    add(&batch);

    let mut batch = Batch::default();
    let (who, reason) = ("ada".to_owned(), "the coordinator is gone".to_owned());
    let decided = Heuristic { commit: true, at: NOW, who, reason, decision: None };
    table.put_heuristic(&mut batch, &branch, NOW, decided);
    add(&batch);

    let mut batch = Batch::default();
    let pinned = record::PinnedKey { public_key: Bytes::from_static(&[3; 32]), vouched: true, epoch: 2 };
    batch.put(COORDINATOR, [&b"epoch/"[..], &[7; 16]].concat(), Epoch(3).0.to_be_bytes());
    batch.put(COORDINATOR, [&b"low-water-mark/"[..], &[7; 16]].concat(), 9_u64.to_be_bytes());
    batch.put(COORDINATOR, [&b"pin/"[..], &[7; 16]].concat(), pinned.encode_to_vec());
    add(&batch);

    let mut batch = Batch::default();
    let mark = record::PendingMark {
        coordinator_id: Bytes::from_static(&[7; 16]),
        attempt_number: 9,
        step: 1,
        tx: Bytes::from_static(b"order-17"),
        begun_at_us: NOW.0,
    };
    batch.put(OF_KEY_VALUE[4], "alice", mark.encode_to_vec());
    add(&batch);
    all
}

fn metas() -> Vec<Vec<u8>> {
    let store = Arc::new(Memory::default().open(&[META]).expect("it is new"));
    block_on(async {
        establish(store.as_ref(), META, Kind::Participant, "bank-a", [7; 16]).await.expect("it is new");
        for mark in 1..3 {
            let (numbered, _) = NumberedStore::begin(store.clone(), META, [7; 16], 0, mark).await.expect("it is whole");
            numbered.remember(b"participant/bank-a", Bytes::from_static(b"\x12\x01\x02"));
            let mut batch = Batch::default();
            batch.put(META, "x", "y");
            numbered.write(batch, Durability::Forced).await.expect("it is in memory");
            numbered.note_put_back("it is a copy").await.expect("it is in memory");
        }
    });
    vec![pairs_of(&[META], &store)]
}

fn write_ahead_logs() -> Vec<Vec<u8>> {
    let fragment = |kind: u8, payload: &[u8]| undoubt_rocks_format::log::fragment(kind, payload);
    let whole =
        [fragment(1, b"one"), fragment(2, b"tw"), fragment(3, b"o"), fragment(4, b"!"), fragment(1, b"three")].concat();
    let torn = [&whole[..whole.len() - 3], &[0; 600]].concat();
    vec![whole.clone(), torn, whole[..whole.len() - 2].to_vec()]
}

fn folder_signs() -> Vec<Vec<u8>> {
    let mark = Mark { of: "coordinator 'c'".to_owned(), taken_at: NOW.to_string() };
    vec![FileIdentity { inode: 7, born_ns: NOW.0 * 1_000 }.encode().into_bytes(), mark.encode().into_bytes()]
}
