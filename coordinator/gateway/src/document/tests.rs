use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::work::raw_from_text;

fn shown(submission: &Submission) -> String {
    format!("{submission:?}")
}

#[test]
fn the_examples_in_the_help_are_one_transaction_in_json_and_toml() {
    let (json, rest) = SCHEMA.split_once("and the same in TOML:").unwrap();
    let json = from_json(json.split_once("In JSON:").unwrap().1).unwrap();
    let toml = from_toml(rest.split_once("  id        1").unwrap().0).unwrap();
    assert_eq!(shown(&json), shown(&toml));
    let built = Transaction::with_id("order-17".parse().unwrap())
        .timeout(Duration::from_secs(5))
        .on("bank-a", KvWork::new().add("alice", Add::of(-10).floor(0)).get("alice"))
        .on("bank-b", KvWork::new().add("bob", 10))
        .on("audit", Work::raw(vec![10, 11]));
    assert_eq!(shown(&json), shown(&built.into()));
}

#[test]
fn operations_as_objects_mean_the_same_as_text() {
    let objects = r#"{"id":"t","branches":{"a":[{"get":{"key":"k"}},{"put":{"key":"k","value":"0x00"}},
        {"delete":{"key":"k"}},{"add":{"key":"k","delta":1,"ceiling":2}},
        {"cas":{"key":"k","expected":null,"value":"absent"}}]}}"#;
    let text = r#"{"id":"t","branches":{"a":["get k","put k 0x00","delete k","add k 1 ceiling=2",
        "cas k expected=absent value=\"absent\""]}}"#;
    assert_eq!(shown(&from_json(objects).unwrap()), shown(&from_json(text).unwrap()));
}

/// Returns the errors of both forms for the same document.
fn both(json: &str, toml: &str) -> [String; 2] {
    [from_json(json), from_toml(toml)].map(|read| read.unwrap_err().to_string())
}

#[test]
fn what_is_given_twice_is_refused_wherever_it_stands() {
    let twice = [
        (r#"{"id":"t","id":"u","branches":{"a":["get k"]}}"#, "id='t'\nid='u'\n[branches]\na=['get k']"),
        (r#"{"branches":{"a":["get k"],"a":["get l"]}}"#, "[branches]\na=['get k']\na=['get l']"),
        (r#"{"branches":{"a":["get k"]},"branches":{}}"#, "[branches]\na=['get k']\n[branches]\n"),
        (
            r#"{"branches":{"a":["get k"]},"outcome_at":{"a":"x","a":"y"}}"#,
            "branches={a=['get k']}\noutcome_at={a='x',a='y'}",
        ),
        (
            r#"{"branches":{"a":[{"put":{"key":"k","value":"1","value":"2"}}]}}"#,
            "branches={a=[{put={key='k',value='1',value='2'}}]}",
        ),
        (r#"{"branches":{"a":[{"add":{"key":"k","delta":1},"add":{"key":"k","delta":1}}]}}"#, ""),
    ];
    for (json, toml) in twice {
        let [in_json, in_toml] = both(json, toml);
        assert!(in_json.contains("given twice") && in_json.contains("line 1, column"), "{json}: {in_json}");
        assert!(toml.is_empty() || in_toml.contains("duplicate key"), "{toml}: {in_toml}");
    }
    let [nested, _] = both(twice[4].0, "");
    assert!(nested.contains("branches.a[0].put.value is given twice"), "{nested}");
}

#[test]
fn of_two_operations_in_one_object_none_is_lost() {
    let json = r#"{"branches":{"a":["get x",{"add":{"key":"q","delta":5},"put":{"key":"n","value":"x"}}]}}"#;
    let toml = "[branches]\na=['get x',{add={key='q',delta=5},put={key='n',value='x'}}]";
    for error in both(json, toml) {
        assert!(error.starts_with("branches.a[1]: ") && error.contains("2 of them: add, put"), "{error}");
    }
    assert!(both(r#"{"branches":{"a":[{}]}}"#, "branches={a=[{}]}").iter().all(|error| error.contains("0 of them")));
}

#[test]
fn surplus_is_refused_with_its_place() {
    let cases = [
        (r#"{"branches":{"a":["get k get l"]}}"#, "branches={a=['get k get l']}", "branches.a[0]: "),
        (r#"{"branches":{"a":["put k 1 pend pend"]}}"#, "branches={a=['put k 1 pend pend']}", "pend is given twice"),
        (
            r#"{"branches":{"a":{"raw":"0x00","row":"0x"}}}"#,
            "branches={a={raw='0x00',row='0x'}}",
            "branches.a: unknown field `row`",
        ),
        (
            r#"{"branches":{"a":[{"get":{"key":"k","kee":"l"}}]}}"#,
            "branches={a=[{get={key='k',kee='l'}}]}",
            "branches.a[0]: unknown field `kee`",
        ),
        (
            r#"{"mode":"saga","steps":[{"name":"s","at":"a","do":["get k"],"undo":[],"try":3}]}"#,
            "mode='saga'\n[[steps]]\nname='s'\nat='a'\ndo=['get k']\nundo=[]\ntry=3",
            "steps[0].try: ",
        ),
        (
            r#"{"branches":{"a":[{"add":{"key":"k","delta":1.0}}]}}"#,
            "branches={a=[{add={key='k',delta=1.0}}]}",
            "64 bits",
        ),
        (r#"{"branches":{"a":"get k"}}"#, "branches={a='get k'}", "branches.a: "),
        (r#"{"branches":{},"deadline":5}"#, "deadline=5\nbranches={}", "deadline: "),
    ];
    for (json, toml, said) in cases {
        for error in both(json, toml) {
            assert!(error.contains(said), "{json}: {error}");
        }
    }
    let list = from_json("[null,null]").unwrap_err().to_string();
    assert!(list.contains("has to be an object"), "{list}");
    let date = from_toml("id=2024-01-01\nbranches={}").unwrap_err().to_string();
    assert!(date.contains("line 1") && date.contains("quote it"), "{date}");
    let trailing = from_json("{\"branches\":{\"a\":[\"get k\"]}}\n{}").unwrap_err().to_string();
    assert!(trailing.starts_with("line 2, column 1: trailing"), "{trailing}");
}

#[test]
fn positions_count_characters_and_lines() {
    let error = from_json("{\n  \"ä\": 1, \"ä\": 2\n}").unwrap_err();
    assert!(error.to_string().starts_with("line 2, column 1"), "{error}");
    let error = from_json("{\"id\": \"é\" x}").unwrap_err();
    assert!(error.to_string().starts_with("line 1, column 12: "), "{error}");
    assert!(error.in_line(7).starts_with("line 7, column 12: "), "{}", error.in_line(7));
    let error = from_toml("id = 'é'\nid = 'e'").unwrap_err();
    assert!(error.to_string().starts_with("line 2, column 1: "), "{error}");
}

#[test]
fn files_of_other_systems_are_read_or_refused_with_their_kind() {
    let file = "{\"branches\":\r\n{\"a\":[\"get k\"]}}\r\n";
    let with_mark = format!("\u{feff}{file}");
    assert!(from_json(tree::text(with_mark.as_bytes()).unwrap()).is_ok());
    let toml = "\u{feff}branches={a=['get k']}\r\n";
    assert!(from_toml(tree::text(toml.as_bytes()).unwrap()).is_ok());
    for marked in [true, false] {
        let units = file.encode_utf16().flat_map(u16::to_le_bytes);
        let bytes: Vec<u8> = if marked { [0xff, 0xfe].into_iter().chain(units).collect() } else { units.collect() };
        assert!(tree::text(&bytes).unwrap_err().to_string().contains("save it as UTF-8"));
    }
    let latin = tree::text(b"{\n \"\xe9\"}").unwrap_err().to_string();
    assert!(latin.starts_with("line 2, column 3: "), "{latin}");
    assert!(both(" \n", " \n").iter().all(|error| error == "it is empty"));
}

#[test]
fn the_outcome_is_kept_where_the_file_says() {
    let kept = r#"{"id":"t","branches":{"a":["get k"]},"outcome_at":{"a":"0x6f"}}"#;
    let written = r#"{"id":"t","branches":{"a":["get k","put o \"committed t\""]}}"#;
    assert_eq!(shown(&from_json(kept).unwrap()), shown(&from_json(written).unwrap()));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let error = |text| from_json(text).unwrap_err().to_string();
    assert!(error("").contains("empty"));
    assert!(error("{").contains("EOF"));
    assert!(error("{}").contains("branches"));
    assert!(error(r#"{"mode":"saga","steps":[]}"#).contains("no steps"));
    assert!(error(r#"{"mode":"auto","steps":[]}"#).contains("no steps"));
    assert!(error(r#"{"branches":{},"dead_line":"1s"}"#).contains("dead_line"));
    assert!(error(r#"{"branches":{"a":["got k"]}}"#).contains("get KEY"));
    assert!(error(r#"{"branches":{"a":"get k"}}"#).contains("list of operations"));
    assert!(error(r#"{"branches":{"a":[{"cas":{"key":"k","value":"v"}}]}}"#).contains("expected"));
    assert!(error(r#"{"branches":{"a":{"raw":"0x0"}}}"#).contains("hexadecimal"));
    assert!(error(r#"{"branches":{"a":{"raw":"?"}}}"#).contains("base64"));
    assert!(error(r#"{"branches":{},"deadline":"soon"}"#).contains("500ms"));
    assert!(error(r#"{"branches":{},"id":""}"#).contains("1 to 64"));
}

#[test]
fn durations_have_a_unit_and_are_not_negative() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
    for wrong in ["", "10", "-1s", "1 fortnight", "9999999999999999999h"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
}

/// A document as it may be, or nearly: what it holds is drawn from words that mean something somewhere.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let word = "id|t|get k|put k v|add k 1|0x00|5s|saga|auto|a|b|k|s|raw|";
    let leaf = prop_oneof![
        word.prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3.0..3.0_f64).prop_map(Value::from),
    ];
    let key = "id|deadline|mode|branches|steps|value|two_phase_only|outcome_at|name|at|do|undo|pivot|after|attempts|\
               get|put|delete|add|cas|key|value|delta|floor|expected|raw|a|b";
    leaf.prop_recursive(5, 32, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A document that can be read, of the parts that it may have.
fn sound() -> impl Strategy<Value = serde_json::Value> {
    let operation = prop_oneof![
        "get k|put k \"a b\"|add k 1 floor=0|cas k expected=absent value=1".prop_map(Value::from),
        any::<i64>().prop_map(|delta| json!({"add": {"key": "k", "delta": delta, "ceiling": delta}})),
        "[a-wyz0-9é\"\\\\]{0,9}".prop_map(|value| json!({"put": {"key": "k", "value": value}})),
    ];
    let work =
        prop_oneof![proptest::collection::vec(operation, 0..3).prop_map(Value::from), Just(json!({"raw": "0x0a"})),];
    let branches = proptest::collection::btree_map("[ab]", work.clone(), 1..3)
        .prop_map(|branches| json!({"id": "t", "deadline": "5s", "branches": branches}));
    let steps = proptest::collection::vec((work.clone(), work, any::<bool>()), 1..3).prop_map(|steps| {
        let step = |(at, (action, undo, pivot))| {
            json!({"name": format!("s{at}"), "at": "a", "do": action, "undo": undo, "pivot": pivot, "attempts": at})
        };
        json!({"id": "t", "mode": "auto", "steps": steps.into_iter().enumerate().map(step).collect::<Vec<_>>()})
    });
    prop_oneof![branches, steps]
}

#[test]
fn what_a_mode_would_ignore_is_refused_with_it() {
    let steps = r#""steps":[{"name":"a","at":"p","do":["get k"],"pivot":true}]"#;
    let branches = r#""branches":{"a":["get k"]}"#;
    for (mode, work) in [("saga", steps), ("two-phase", branches)] {
        for needless in [r#""two_phase_only":true"#, r#""value":7"#] {
            let error = from_json(&format!(r#"{{"mode":"{mode}",{needless},{work}}}"#)).unwrap_err().to_string();
            assert!(error.contains(r#""mode": "auto""#), "{error}");
        }
        assert!(from_json(&format!(r#"{{"mode":"{mode}","two_phase_only":false,{work}}}"#)).is_ok());
    }
    let auto = format!(r#"{{"mode":"auto","two_phase_only":true,"value":7,{steps}}}"#);
    assert!(from_json(&auto).is_ok());
}

proptest! {
    #[test]
    fn a_document_means_the_same_in_json_and_in_toml(document in prop_oneof![document(), sound()]) {
        // TOML has objects only at the top.
        if let (true, Ok(toml)) = (document.is_object(), toml::to_string(&document)) {
            let (json, toml) = (from_json(&document.to_string()), from_toml(&toml));
            // Each reading of a document without an id draws one.
            let known = |read: Result<Submission, Unreadable>| {
                read.map(|read| shown(&read).replace(&read.id().to_string(), "")).map_err(drop)
            };
            prop_assert_eq!(known(json), known(toml));
        }
    }

    #[test]
    fn a_sound_document_is_read(document in sound()) {
        let read = from_json(&document.to_string());
        prop_assert!(read.is_ok(), "{}: {}", document, read.unwrap_err());
    }

    #[test]
    fn reading_any_text_never_panics(text in any::<String>()) {
        let _ = (from_json(&text), from_toml(&text), raw_from_text(&text), duration(&text));
        let _ = from_json(&format!(r#"{{"branches":{{"a":[{text}]}}}}"#));
    }
}
