use super::draw::{Language, draw};
use super::*;

const SHOP: &str = r#"
[[topic]]
name = "orders"

[[begin]]
topic = "orders"
type = "order.placed"
expire = { after = "30s", emit = { topic = "orders", type = "order.expired" }, unless = [
  { from = "bank", topic = "payments", type = "payment.taken" }
] }

[[on]]
name = "finish"
from = "bank"
topic = "payments"
type = "payment.taken"
do = ["put order/{key} done"]
undo-on = [{ from = "shop", topic = "orders", type = "order.expired" }]
undo = ["delete order/{key}"]

[[on]]
name = "give-up"
from = "stock"
topic = "stock"
type = "stock.refused"
do = ["put order/{key} failed"]
"#;

const STOCK: &str = r#"
[[topic]]
name = "stock"

[[on]]
name = "reserve"
from = "shop"
topic = "orders"
type = "order.placed"
do = ["add stock/{data.item} -1 floor=0"]
emit = { topic = "stock", type = "stock.reserved" }
refused = { topic = "stock", type = "stock.refused" }
undo-on = [
  { from = "bank", topic = "payments", type = "payment.refused" },
  { from = "shop", topic = "orders", type = "order.expired" },
]
undo = ["add stock/{data.item} 1"]
"#;

const BANK: &str = r#"
[[topic]]
name = "payments"

[[on]]
name = "pay"
from = "stock"
topic = "stock"
type = "stock.reserved"
do = ["add account/{data.who} -1 floor=0"]
emit = { topic = "payments", type = "payment.taken" }
refused = { topic = "payments", type = "payment.refused" }
undo-on = [{ from = "shop", topic = "orders", type = "order.expired" }]
undo = ["add account/{data.who} 1"]
"#;

fn of(files: &[(&str, &str)]) -> Choreography {
    let read = |(name, text): &(&str, &str)| {
        let declarations = Declarations::read(text).unwrap_or_else(|faults| panic!("{name}: {faults}"));
        (name.parse().unwrap(), declarations)
    };
    Choreography::of(files.iter().map(read)).unwrap()
}

fn faults(files: &[(&str, &str)]) -> Vec<Finding> {
    let found = of(files).check();
    found.into_iter().filter(|finding| finding.weight() == Weight::Fault).collect()
}

/// Returns the faults where this replaces that in one of the files.
fn changed(name: &str, from: &str, to: &str) -> Vec<Finding> {
    let files = [("shop", SHOP), ("stock", STOCK), ("bank", BANK)];
    let change = |(file, text): (&'static str, &str)| {
        assert!(file != name || text.contains(from), "{name} has no {from}");
        (file, if file == name { text.replace(from, to) } else { text.to_owned() })
    };
    let files = files.map(change);
    faults(&files.each_ref().map(|(name, text)| (*name, text.as_str())))
}

fn only(found: Vec<Finding>) -> (Finding, Vec<String>) {
    let [found] = &found[..] else { panic!("{found:#?}") };
    (found.clone(), found.paths().into_iter().map(Path::to_string).collect())
}

#[test]
fn a_choreography_that_ends_well_has_no_faults() {
    assert_eq!(faults(&[("shop", SHOP), ("stock", STOCK), ("bank", BANK)]), []);
}

#[test]
fn an_event_that_nobody_hears_is_found() {
    let more = "emit = [{ topic = \"stock\", type = \"stock.reserved\" }, { topic = \"stock\", type = \"stock.low\" }]";
    let (found, paths) = only(changed("stock", "emit = { topic = \"stock\", type = \"stock.reserved\" }", more));
    assert!(found.to_string().starts_with("nobody hears stock.low (stock at stock)"), "{found}");
    assert_eq!(paths, ["order.placed (orders at shop) -> [reserve at stock] -> stock.low (stock at stock)"]);
    let outside = "name = \"stock\"\nheard-outside = [\"stock.low\"]\n\n[[on]]\nname = \"reserve\"";
    let stock = STOCK.replace("emit = { topic = \"stock\", type = \"stock.reserved\" }", more);
    let stock = stock.replace("name = \"stock\"\n\n[[on]]\nname = \"reserve\"", outside);
    assert_eq!(faults(&[("shop", SHOP), ("stock", &stock), ("bank", BANK)]), []);
}

#[test]
fn a_reaction_that_waits_for_what_never_comes_is_found() {
    let lack = |name, from, to| match changed(name, from, to).into_iter().find(|found| found.kind() == "untriggered") {
        Some(Finding::Untriggered { step, lack, .. }) => (step.to_string(), lack),
        other => panic!("{other:?}"),
    };
    let reserve = |lack| ("reserve at stock".to_owned(), lack);
    assert_eq!(lack("stock", "type = \"payment.refused\"", "type = \"payment.failed\""), reserve(finding::Lack::Kind));
    assert_eq!(lack("stock", "topic = \"payments\"", "topic = \"payment\""), reserve(finding::Lack::Topic));
    assert_eq!(lack("stock", "from = \"bank\"", "from = \"banks\""), reserve(finding::Lack::Participant));
    let expiry = ("order.expired at shop".to_owned(), finding::Lack::Kind);
    assert_eq!(lack("shop", "type = \"payment.taken\" }", "type = \"payment.took\" }"), expiry.clone());
}

#[test]
fn an_action_that_a_refusal_does_not_undo_is_found() {
    let heard = "  { from = \"bank\", topic = \"payments\", type = \"payment.refused\" },\n";
    let found = changed("stock", heard, "");
    let kinds: Vec<&str> = found.iter().map(Finding::kind).collect();
    assert_eq!(kinds, ["unheard", "not-undone"]);
    assert_eq!(
        found[1].to_string(),
        "reserve at stock is not undone when payment.refused (payments at bank) says that its saga has failed; name that event in its \
         `undo-on`, or one that follows from it, or write undo = [] if nothing has to be undone"
    );
    let paths: Vec<String> = found[1].paths().into_iter().map(Path::to_string).collect();
    assert_eq!(
        paths,
        [
            "order.placed (orders at shop) -> [reserve at stock]",
            "order.placed (orders at shop) -> [reserve at stock] -> stock.reserved (stock at stock) -> [pay at bank] -> payment.refused \
             (payments at bank)"
        ]
    );
}

#[test]
fn an_action_that_an_expiry_does_not_undo_is_found() {
    let undo = "undo-on = [{ from = \"shop\", topic = \"orders\", type = \"order.expired\" }]\nundo = [\"add account/{data.who} 1\"]\n";
    let (found, _) = only(changed("bank", undo, ""));
    assert!(found.to_string().starts_with("pay at bank is not undone when order.expired (orders at shop)"), "{found}");
    assert_eq!(changed("bank", undo, "undo = []\n"), []);
}

#[test]
fn a_chain_of_undoing_is_followed_as_far_as_it_surely_goes() {
    // The stock hears of the bank's undoing alone: enough if the bank has acted, which an expiry does not promise.
    let bank = BANK.to_owned() + "undone = { topic = \"payments\", type = \"payment.returned\" }\n";
    let heard = "  { from = \"shop\", topic = \"orders\", type = \"order.expired\" },\n";
    let returned = "  { from = \"bank\", topic = \"payments\", type = \"payment.returned\" },\n";
    let stock = STOCK.replace(heard, returned);
    let (found, paths) = only(faults(&[("shop", SHOP), ("stock", &stock), ("bank", &bank)]));
    assert!(found.to_string().starts_with("reserve at stock is not undone when order.expired"), "{found}");
    assert_eq!(paths[0], "order.placed (orders at shop) -> [reserve at stock]");
    // A third one that is refused behind the bank is another matter.
    let shop = SHOP
        .replace(
            "undo-on = [{ from = \"shop\", topic = \"orders\", type = \"order.expired\" }]",
            "refused = { topic = \"orders\", type = \"order.stopped\" }",
        )
        .replace("undo = [\"delete order/{key}\"]\n", "undo = []\n");
    let begin = shop.find("expire =").unwrap()..shop.find("] }\n").unwrap() + 4;
    let shop = shop.replace(&shop[begin].to_owned(), "");
    let bank = bank.replace("\"order.expired\"", "\"order.stopped\"");
    assert_eq!(faults(&[("shop", &shop), ("stock", &stock), ("bank", &bank)]), []);
}

#[test]
fn an_order_that_is_called_off_has_to_undo_all() {
    let shop = SHOP.to_owned() + "\n[[begin]]\ntopic = \"orders\"\ntype = \"order.called-off\"\n";
    let off = "  { from = \"shop\", topic = \"orders\", type = \"order.called-off\" },\n  { from = \"shop\"";
    let stock = STOCK.replace("  { from = \"shop\"", off);
    let found = faults(&[("shop", &shop), ("stock", &stock), ("bank", BANK)]);
    let steps: Vec<String> =
        found.iter().map(|found| found.to_string().split(" is not").next().unwrap().to_owned()).collect();
    assert_eq!(steps, ["pay at bank", "finish at shop"]);
}

#[test]
fn what_may_be_undone_first_is_told_and_is_no_fault() {
    let hints = of(&[("shop", SHOP), ("stock", STOCK), ("bank", BANK)]).check();
    let hints: Vec<String> = hints.iter().flat_map(Finding::paths).map(Path::to_string).collect();
    // Only what expires does not follow from the reaction.
    assert_eq!(hints, vec!["order.placed (orders at shop) -> order.expired (orders at shop)"; 3]);
}

#[test]
fn a_circle_is_found_and_whether_it_grows() {
    let again = "\n[[on]]\nname = \"again\"\nfrom = \"bank\"\ntopic = \"payments\"\ntype = \"payment.taken\"\n\
                 emit = { topic = \"orders\", type = \"order.placed\" }\n";
    let shop = SHOP.to_owned() + again;
    let (found, paths) = only(faults(&[("shop", &shop), ("stock", STOCK), ("bank", BANK)]));
    assert!(matches!(found, Finding::Circle { grows: false, .. }), "{found:?}");
    assert!(paths[0].starts_with("[pay at bank] -> ") && paths[0].contains(" -> [again at shop] -> "), "{paths:?}");
    assert!(paths[0].ends_with(" -> [pay at bank]"), "{paths:?}");
    let twice =
        "emit = [{ topic = \"orders\", type = \"order.placed\" }, { topic = \"orders\", type = \"order.placed\" }]";
    let shop = shop.replace("emit = { topic = \"orders\", type = \"order.placed\" }", twice);
    let (found, _) = only(faults(&[("shop", &shop), ("stock", STOCK), ("bank", BANK)]));
    assert!(matches!(found, Finding::Circle { grows: true, .. }), "{found:?}");
    assert!(found.to_string().contains("without bound"));
}

#[test]
fn a_reaction_that_is_moved_twice_in_a_saga_is_found() {
    let twice =
        "emit = [{ topic = \"stock\", type = \"stock.reserved\" }, { topic = \"stock\", type = \"stock.reserved\" }]";
    let found = changed("stock", "emit = { topic = \"stock\", type = \"stock.reserved\" }", twice);
    let (found, paths) = only(found);
    assert!(found.to_string().starts_with("pay at bank is moved 2 times in one saga"), "{found}");
    assert_eq!(paths[0].matches("->").count(), 3);
    // What cannot be undone may act as often as it likes.
    let log = "\n[[on]]\nname = \"log\"\nfrom = \"stock\"\ntopic = \"stock\"\ntype = \"stock.reserved\"\ndo = [\"put log/{key} x\"]\nundo = []\n";
    assert_eq!(changed("bank", "[[topic]]", &format!("{log}[[topic]]")), []);
}

#[test]
fn either_way_to_an_event_counts_once() {
    // A voucher is asked for if the bank refuses, and says the same.
    let voucher = "\n[[on]]\nname = \"voucher\"\nfrom = \"bank\"\ntopic = \"payments\"\ntype = \"payment.refused\"\n\
                   do = [\"add voucher/{key} -1 floor=0\"]\nemit = { topic = \"payments\", type = \"payment.taken\" }\n";
    let bank = BANK.to_owned() + voucher;
    let found = faults(&[("shop", SHOP), ("stock", STOCK), ("bank", &bank)]);
    assert!(found.iter().all(|found| found.kind() != "twice"), "{found:#?}");
}

#[test]
fn too_many_events_of_one_saga_are_found() {
    let kinds = ["a", "b", "c"].map(|kind| vec![format!("{{ topic = \"stock\", type = \"{kind}\" }}"); 16].join(", "));
    let hears = |name: &str, kind: &str, emit: &str| {
        format!("[[on]]\nname = \"{name}\"\nfrom = \"stock\"\ntopic = \"stock\"\ntype = \"{kind}\"\nemit = [{emit}]\n")
    };
    let stock = format!(
        "[[topic]]\nname = \"stock\"\nheard-outside = [\"c\"]\n[[begin]]\ntopic = \"stock\"\ntype = \"start\"\n{}{}{}",
        hears("one", "start", &kinds[0]),
        hears("two", "a", &kinds[1]),
        hears("three", "b", &kinds[2])
    );
    let (found, _) = only(faults(&[("stock", &stock)]));
    assert_eq!(
        found.to_string(),
        "one start (stock at stock) leads to 4369 events, more than the 1000 allowed; publish fewer, or begin sagas of their own"
    );
}

#[test]
fn who_has_to_know_whom_is_told() {
    let couplings = of(&[("shop", SHOP), ("stock", STOCK), ("bank", BANK)]).couplings();
    let told: Vec<String> = couplings
        .iter()
        .map(|(name, Coupling { knows, known_by })| {
            let knows: Vec<String> = knows.iter().map(|(other, kinds)| format!("{other} {kinds:?}")).collect();
            format!("{name} knows {} and is known by {known_by:?}", knows.join(", "))
        })
        .collect();
    assert_eq!(
        told,
        [
            "bank knows shop {order.expired}, stock {stock.reserved} and is known by {shop, stock}",
            "shop knows bank {payment.taken}, stock {stock.refused} and is known by {bank, stock}",
            "stock knows bank {payment.refused}, shop {order.expired, order.placed} and is known by {bank, shop}",
        ]
    );
}

#[test]
fn pictures_have_all_reactions_and_events() {
    for (language, name) in [(Language::Mermaid, "mermaid"), (Language::Dot, "dot")] {
        let text = draw(&of(&[("shop", SHOP), ("stock", STOCK), ("bank", BANK)]), language);
        let path = format!("tests/golden/choreography-{name}.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&path).unwrap_or_default(),
            "{path} differs; run with UPDATE_GOLDEN=1"
        );
    }
}

#[test]
fn a_name_is_given_once() {
    let twice =
        [("a", SHOP), ("a", STOCK)].map(|(name, text)| (name.parse().unwrap(), Declarations::read(text).unwrap()));
    assert!(matches!(Choreography::of(twice), Err(Unusable::Twice(_))));
}
