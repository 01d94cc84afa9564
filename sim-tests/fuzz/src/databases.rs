//! The inputs of participants over SQL databases: declarations by their owners, work by anybody, names that a database lists.

use crate::work::as_text;
use crate::{Target, says_why};
use bytes::Bytes;
use std::sync::LazyLock;
use undoubt_participant::event_log::Topics;
use undoubt_sql::{Dialect, EnlistedName, Outbox, Place, PreparedName, Procedures, Task};
use undoubt_vocabulary::{Topic, TxId};
use undoubt_work::call::{Call, CallWork};
use undoubt_work::enlisted;
use undoubt_work::event::{Emit, Source};

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "procedures", decode: procedures, growth: 16_384, seeds: declarations },
    Target { name: "database-work", decode: work, growth: 2_048, seeds: works },
    Target { name: "prepared-name", decode: prepared_name, growth: 512, seeds: names },
];

const DECLARED: &str = r#"
[procedure.withdraw]
parameters = { account = "text", amount = "bigint" }
locks = ["account:{account}"]
undo = "deposit"
statements = [
  { sql = "UPDATE accounts SET balance = balance - :amount WHERE name = :account AND balance >= :amount", rows = 1, otherwise = "{account} has less than {amount}" },
]
[procedure.deposit]
parameters = { account = "text", amount = "bigint" }
locks = ["account:{account}"]
undo = "withdraw"
statements = [{ sql = "UPDATE accounts SET balance = balance + :amount WHERE name = :account", rows = 1 }]
[procedure.look]
isolation = "serializable"
parameters = { at = "timestamp", key = "uuid", share = "numeric", raw = "bytes", doc = "json" }
statements = [{ sql = "SELECT ':no' AS a, :at, :key, :share, :raw, :doc -- :at" }]
"#;

static PROCEDURES: LazyLock<Procedures> =
    LazyLock::new(|| Procedures::read(DECLARED, Dialect::PostgreSql).expect("they are declared well"));

static TOPICS: LazyLock<Topics> = LazyLock::new(|| {
    let topic = |name: &str, sourced| Topic { name: name.parse().expect("it is a name"), partitions: 4, sourced };
    Topics::of(vec![topic("moves", false), topic("accounts", true)]).expect("they have names of their own")
});

fn procedures(input: &[u8]) {
    let text = as_text(input);
    for dialect in [Dialect::PostgreSql, Dialect::MariaDb] {
        if let Err(why) = Procedures::read(&text, dialect) {
            says_why(&why, input);
        }
    }
}

fn work(input: &[u8]) {
    let work = Bytes::copy_from_slice(input);
    if let Err(why) = enlisted::read(&work) {
        says_why(&why, input);
    }
    let inputs = [Bytes::new()];
    for place in [Place::Branch, Place::Action { inputs: &inputs }, Place::Ending { inputs: &inputs }] {
        match Task::read(&work, place, &PROCEDURES, &TOPICS) {
            Err(why) => says_why(&why, input),
            Ok(task) => {
                let does = !task.calls.is_empty() || task.outcome.is_some() || task.publishes();
                assert!(does || input.is_empty(), "nothing is to be done");
                let tx = TxId::new("tx").expect("it is an id");
                if let Err(why) = task.events(place, &Bytes::new(), &Outbox::default(), &tx) {
                    says_why(&why, input);
                }
            }
        }
    }
}

fn prepared_name(input: &[u8]) {
    let text = as_text(input);
    if let Ok(name) = PreparedName::from_gid(&text) {
        assert_eq!(name.to_gid(), text);
    }
    if let Ok(name) = EnlistedName::from_gid(&text) {
        assert_eq!(name.to_gid(), text);
    }
}

fn declarations() -> Vec<Vec<u8>> {
    vec![DECLARED.into()]
}

fn works() -> Vec<Vec<u8>> {
    let withdraw = || Call::new("withdraw").arg("account", "alice").arg("amount", 30);
    let two = CallWork::from(withdraw()).call(Call::new("deposit").arg("account", "bob").arg("amount", 30));
    let moved = Emit::new("moves", "moved", "alice").data_from(Source::own_column(0, "balance"));
    let appended = CallWork::from(withdraw()).emit(Emit::new("accounts", "moved", "alice").expect(3)).emit(moved);
    let encoded = [CallWork::from(withdraw()).encode(), two.encode(), appended.encode()];
    encoded.into_iter().map(|work| work.expect("it is small").to_vec()).collect()
}

fn names() -> Vec<Vec<u8>> {
    let head = "undoubt1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXAAAAAAAAAAUAAAAAAAAAB3R4";
    vec![head.into(), head.replace("undoubt1_", "undoubt1e_").into_bytes()]
}
