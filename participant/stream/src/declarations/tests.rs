use super::*;

const STOCK: &str = r#"
name = "stock"

[[topic]]
name = "stock"

[[on]]
name = "reserve"
from = "shop"
topic = "orders"
type = "order.placed"
do = ["add stock/{data.item} -{data.count} floor=0"]
emit = { topic = "stock", type = "stock.reserved", data = { left = "{result.0}", of = ["{data.item}", 1] } }
refused = { topic = "stock", type = "stock.refused" }
undo-on = [{ from = "bank", topic = "payments", type = "payment.refused" }]
undo = ["add stock/{data.item} {data.count}"]
undone = { topic = "stock", type = "stock.released" }
attempts = 3
"#;

const SHOP: &str = r#"
[[topic]]
name = "orders"
partitions = 8
heard-outside = ["order.done"]

[[begin]]
topic = "orders"
type = "order.placed"
expire = { after = "30s", emit = { topic = "orders", type = "order.expired" }, unless = [
  { from = "bank", topic = "payments", type = "payment.taken" }
] }
"#;

fn faults(text: &str) -> String {
    Declarations::read(text).unwrap_err().to_string()
}

fn changed(from: &str, to: &str) -> String {
    assert!(STOCK.contains(from), "{from}");
    faults(&STOCK.replace(from, to))
}

#[test]
fn a_reaction_is_read() {
    let declarations = Declarations::read(STOCK).unwrap();
    let [reaction] = &declarations.reactions[..] else { panic!() };
    assert_eq!(reaction.name.as_str(), "reserve");
    assert_eq!(reaction.on.to_string(), "order.placed (orders at shop)");
    assert_eq!(reaction.work.texts(), ["add stock/{data.item} -{data.count} floor=0"]);
    assert_eq!(reaction.undo.as_ref().unwrap().texts(), ["add stock/{data.item} {data.count}"]);
    assert_eq!((reaction.emit.len(), reaction.attempts), (1, 3));
    let sources: Vec<String> = declarations.sources().iter().map(|(from, topic)| format!("{from}/{topic}")).collect();
    assert_eq!(sources, ["bank/payments", "shop/orders"]);
}

#[test]
fn a_beginning_with_its_expiry_is_read() {
    let declarations = Declarations::read(SHOP).unwrap();
    assert_eq!(declarations.topics[0].topic.partitions, 8);
    let expire = declarations.beginnings[0].expire.as_ref().unwrap();
    assert_eq!((expire.after, expire.name.as_str()), (Duration::from_secs(30), "order.expired"));
    assert_eq!(expire.unless[0].kind.as_str(), "payment.taken");
}

#[test]
fn the_example_of_the_help_is_read() {
    let (example, _) = super::super::SCHEMA.split_once("\n\n  At a participant over HTTP").unwrap();
    let example = format!("{example}\n[[topic]]\nname = \"stock\"\n");
    Declarations::read(&example).unwrap();
}

#[test]
fn faults_name_the_line_and_what_would_be_right() {
    assert_eq!(
        changed("floor=0\"]", "floor=0 pend\"]"),
        "line 12: [[on]] reserve: `do`: \"add stock/{data.item} -{data.count} floor=0 pend\": pend marks what may yet be undone, so it is \
         for actions before the pivot, and not for what undoes them; leave it out"
    );
    assert!(
        changed("attempts = 3", "attempts = 0").contains("line 18: [[on]] reserve: it has 0 attempts; give it 1 to")
    );
    assert!(changed("name = \"reserve\"", "name = \"re serve\"").contains("a reaction's name"));
    assert!(changed("attempts = 3", "tries = 3").contains("unknown field"));
    assert!(
        changed("{ topic = \"stock\", type = \"stock.refused\" }", "{ topic = \"stok\", type = \"stock.refused\" }")
            .contains("stok is no topic of this participant, which has stock; declare it")
    );
}

#[test]
fn results_stand_only_behind_the_work() {
    assert!(changed("-{data.count} floor", "{result.0} floor").contains("there is none yet"));
    assert!(
        changed("type = \"stock.refused\" }", "type = \"stock.refused\", key = \"{result.0}\" }")
            .contains("there is none")
    );
    let undone = "type = \"stock.released\", key = \"{result.0}\" }";
    assert!(Declarations::read(&STOCK.replace("type = \"stock.released\" }", undone)).is_ok());
}

#[test]
fn what_undoes_a_reaction_is_said_as_a_whole() {
    let undo_on = "undo-on = [{ from = \"bank\", topic = \"payments\", type = \"payment.refused\" }]\n";
    assert!(changed(undo_on, "").contains("nothing undoes it"));
    assert!(changed("undo = [\"add stock/{data.item} {data.count}\"]\n", "").contains("write undo = []"));
    assert!(Declarations::read(&STOCK.replace("undo = [\"add stock/{data.item} {data.count}\"]", "undo = []")).is_ok());
    let itself = "{ from = \"shop\", topic = \"orders\", type = \"order.placed\" }";
    assert!(
        changed("{ from = \"bank\", topic = \"payments\", type = \"payment.refused\" }", itself)
            .contains("both move it")
    );
}

#[test]
fn all_faults_are_found_at_once() {
    let text = STOCK
        .replace("attempts = 3", "attempts = 0")
        .replace("[\"add stock/{data.item} {data.count}\"]", "[\"ad x 1\"]");
    assert_eq!(Declarations::read(&text).unwrap_err().0.len(), 2);
}

#[test]
fn names_are_unique() {
    assert!(faults(&format!("{STOCK}\n{}", &STOCK[STOCK.find("[[on]]").unwrap()..])).contains("give it another"));
    assert!(faults(&format!("{STOCK}\n[[topic]]\nname = \"stock\"\n")).contains("declared before"));
    let begin = &SHOP[SHOP.find("[[begin]]").unwrap()..];
    assert!(faults(&format!("{SHOP}\n{begin}")).contains("declared before"));
}

#[test]
fn bounds_are_held() {
    let many = (0..=MAX_TOPICS).map(|at| format!("[[topic]]\nname = \"t{at}\"\n")).collect::<String>();
    assert!(faults(&many).contains("more than the 256 allowed"));
    assert!(faults(&SHOP.replace("partitions = 8", "partitions = 0")).contains("give it 1 to 1024"));
    for wrong in ["0s", "-1s", "soon", "9000h"] {
        assert!(faults(&SHOP.replace("30s", wrong)).contains("write a duration"), "{wrong}");
    }
    let pieces = format!("do = [{}]", "\"get x\", ".repeat(MAX_PIECES + 1));
    let work = "do = [\"add stock/{data.item} -{data.count} floor=0\"]";
    assert!(changed(work, &pieces).contains("more than the 64 allowed"));
    assert!(
        changed("[\"add stock/{data.item} -{data.count} floor=0\"]", "[\"get x\", \"call f\"]")
            .contains("cannot be merged")
    );
}
