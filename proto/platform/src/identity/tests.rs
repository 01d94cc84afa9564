use super::*;
use crate::store::memory::{Memory, MemoryStore};

const META: Family = Family("meta");
const ID: [u8; 16] = [7; 16];

fn open(memory: &Memory) -> MemoryStore {
    memory.open(&[META]).unwrap()
}

async fn overwrite(store: &MemoryStore, key: &'static str, value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(META, key, value);
    store.write(batch, Durability::Forced).await.unwrap();
}

#[tokio::test]
async fn a_new_folder_becomes_the_callers_and_stays_so_under_its_first_id() {
    let memory = Memory::default();
    let expected = Identity { kind: Kind::Coordinator, name: "c1".into(), id: ID };
    for fresh_id in [ID, [8; 16]] {
        let store = open(&memory);
        assert_eq!(establish(&store, META, Kind::Coordinator, "c1", fresh_id).await, Ok(expected.clone()));
    }
}

#[tokio::test]
async fn a_folder_of_another_name_or_kind_is_refused() {
    let memory = Memory::default();
    let store = open(&memory);
    establish(&store, META, Kind::Coordinator, "x", ID).await.unwrap();

    let other_name = establish(&store, META, Kind::Coordinator, "y", ID).await.unwrap_err();
    assert!(matches!(other_name, IdentityError::OtherName { .. }));
    assert!(
        other_name.to_string().starts_with("what is stored here belongs to coordinator 'x', not 'y'"),
        "{other_name}"
    );

    let other_kind = establish(&store, META, Kind::Participant, "x", ID).await.unwrap_err();
    assert_eq!(other_kind, IdentityError::OtherKind { found: Kind::Coordinator, expected: Kind::Participant });
}

#[tokio::test]
async fn a_newer_format_is_refused_before_anything_else_is_read() {
    let memory = Memory::default();
    let store = open(&memory);
    establish(&store, META, Kind::Participant, "p", ID).await.unwrap();
    overwrite(&store, FORMAT_KEY, &(FORMAT + 1).to_be_bytes()).await;
    overwrite(&store, KIND_KEY, b"something new").await;
    let refusal = establish(&store, META, Kind::Participant, "p", ID).await;
    assert_eq!(refusal, Err(IdentityError::NewerFormat { found: FORMAT + 1, known: FORMAT }));
}

#[tokio::test]
async fn a_format_that_is_too_old_is_refused_and_left_as_it_is() {
    let memory = Memory::default();
    let store = open(&memory);
    establish(&store, META, Kind::Participant, "p", ID).await.unwrap();
    let found = OLDEST_FORMAT - 1;
    overwrite(&store, FORMAT_KEY, &found.to_be_bytes()).await;
    let refusal = establish(&store, META, Kind::Participant, "p", [8; 16]).await;
    assert_eq!(refusal, Err(IdentityError::OlderFormat { found, oldest: OLDEST_FORMAT }));
    assert_eq!(store.get(META, FORMAT_KEY.as_bytes()).unwrap().unwrap()[..], found.to_be_bytes());
}

#[tokio::test]
async fn a_missing_or_malformed_part_is_refused_and_not_drawn_anew() {
    for (key, value) in [(FORMAT_KEY, vec![1]), (KIND_KEY, vec![]), (NAME_KEY, vec![0xff]), (ID_KEY, vec![0; 15])] {
        let memory = Memory::default();
        let store = open(&memory);
        establish(&store, META, Kind::Participant, "p", ID).await.unwrap();
        overwrite(&store, key, &value).await;
        let refusal = establish(&store, META, Kind::Participant, "p", ID).await;
        assert_eq!(refusal, Err(IdentityError::Malformed { key }));

        let mut batch = Batch::default();
        batch.delete(META, key);
        store.write(batch, Durability::Forced).await.unwrap();
        let refusal = establish(&store, META, Kind::Participant, "p", ID).await;
        assert_eq!(refusal, Err(IdentityError::Malformed { key }));
    }
}
