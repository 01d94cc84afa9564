use super::*;
use crate::reference::Inputs;
use crate::results::{Results, Value};
use crate::{Datum, reference::Cell};
use proptest::prelude::*;
use undoubt_vocabulary::RefusalCode;

fn from_json(json: &str) -> Result<Work, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop::sample::select(Method::ALL.to_vec());
    let body = prop_oneof![
        Just(Body::None),
        any::<i64>().prop_map(|number| Body::Json(format!(r#"{{"n":{number}}}"#))),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Body::Bytes(bytes.into())),
    ];
    let headers = prop::collection::btree_map("x-[a-z]{1,8}", "[ -~]{0,20}", 0..5);
    let parameters = prop::collection::btree_map("[a-z]{1,5}", "[ab]", 0..4);
    (method, "http://[a-z]{1,9}:8080/[a-z0-9/.-]{0,20}", headers, body, parameters).prop_map(
        |(method, url, headers, body, parameters)| Request {
            method,
            url,
            headers: headers.into_iter().collect(),
            body,
            parameters: parameters
                .into_iter()
                .map(|(name, step)| Parameter { name, from: Reference::to_column(&step, 0, "id").row(2) })
                .collect(),
        },
    )
}

proptest! {
    #[test]
    fn requests_survive_being_encoded(request in request()) {
        let resolved = request.resolve(&["a", "b"]).unwrap();
        let read = read(&HttpWork::from(request).encode_with(&["a", "b"]).unwrap()).unwrap();
        prop_assert_eq!(read, HttpWork { request: resolved, ending: None });
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = read(&bytes.into());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "http .{0,80}") {
        let _ = text.parse::<Work>();
    }

    #[test]
    fn answers_survive_being_encoded(status: u16, body in prop::collection::vec(any::<u8>(), 0..300), is_json: bool) {
        let answer = HttpResult { status, body: body.into(), is_json };
        let results = Results::read(&Results::encode_answer(&answer));
        prop_assert_eq!(results.answer(), Some(&answer));
        let _ = (serde_json::to_string(&results).unwrap(), results.shown(None));
    }
}

#[test]
fn text_and_objects_say_the_same() {
    let text: Work = r#"http post http://127.0.0.1:9001/seats {"seat": 7}"#.parse().unwrap();
    let built = Work::from(Request::post("http://127.0.0.1:9001/seats").json(serde_json::json!({"seat": 7})));
    assert_eq!(text, built);
    for json in [
        r#"[{"http": {"url": "http://127.0.0.1:9001/seats", "json": {"seat": 7}}}]"#,
        r#"{"http": {"method": "post", "url": "http://127.0.0.1:9001/seats", "json": {"seat": 7}}}"#,
        r#"["http POST http://127.0.0.1:9001/seats {\"seat\":7}"]"#,
    ] {
        assert_eq!(from_json(json), Ok(built.clone()), "{json}");
    }
    assert_eq!(built.texts(), [r#"http post http://127.0.0.1:9001/seats {"seat":7}"#]);
    assert_eq!(built.texts()[0].parse(), Ok(built));
}

#[test]
fn a_branch_has_three_requests_and_the_last_two_may_use_what_the_first_was_answered() {
    let json = r#"{"try": {"url": "http://h/seats", "json": {"seat": 7}},
        "confirm": {"url": "http://h/seats/{id}/confirm", "from": {"id": "try.0.id"}},
        "cancel": {"method": "delete", "url": "http://h/seats/7", "headers": {"x-why": "abort"}}}"#;
    let work = from_json(json).unwrap();
    let read = read(&work.encode(&[]).unwrap()).unwrap();
    let ending = read.ending.unwrap();
    let cell = Some(Box::new(Cell { column: "id".to_owned(), row: 0 }));
    assert_eq!(ending.confirm.parameters[0].from, Input { input: 0, operation: 0, cell });
    assert_eq!(
        (ending.cancel.method, &ending.cancel.headers[..]),
        (Method::Delete, &[("x-why".into(), "abort".into())][..])
    );
    assert_eq!(work.check_in_saga(PlaceInSaga::Pivot, |_| None), Err((0, InvalidWork::EndingInSaga)));
    assert!(
        from_json(r#"{"try": {"url": "http://h/"}, "confirm": {"url": "http://h/"}}"#).unwrap_err().contains("cancel")
    );
    assert!(from_json(r#"{"http": {"url": "http://h/"}, "x": 1}"#).unwrap_err().contains("x is no part"));
    assert!(from_json(r#"["http get http://h/", "get alice"]"#).unwrap_err().contains("merged"));
}

#[test]
fn what_a_request_may_not_say_is_refused_with_what_to_do() {
    let post = || Request::post("http://h/");
    let fault = |request: Request| Work::from(request).encode(&[]).unwrap_err();
    for (request, said) in [
        (Request::post("ftp://h/"), "http://"),
        (Request::post("http://user:pw@h/"), "user"),
        (Request::post("http:///x"), "no host"),
        (Request::post("http://{a}/x"), "no host"),
        (Request::post("http://h/a b"), "percent-encode"),
        (Request::post("http://h/x#y"), "percent-encode"),
        (Request::post("http://h/\u{e4}"), "percent-encode"),
        (Request::post("http://h/{id}"), "nothing says where it comes from"),
        (post().header("a b", "c"), "no name"),
        (post().header("x-a", "b\r\nhost: c"), "encode it"),
        (post().header("Authorization", "Bearer x"), "headers_from"),
        (post().header("Host", "other"), "leave it out"),
        (post().header("Undoubt-Step", "1"), "leave it out"),
        (post().header("x-a", "1").header("X-A", "2"), "twice"),
        (Request { body: Body::Json("{".to_owned()), ..post() }, "JSON"),
    ] {
        let invalid = fault(request);
        assert_eq!(invalid.code(), RefusalCode::InvalidWork, "{invalid}");
        assert!(invalid.to_string().contains(said), "{invalid}");
    }
    let long = "x".repeat(MAX_REQUEST_BODY_BYTES + 1);
    assert_eq!(fault(post().bytes(long)).code(), RefusalCode::TooLarge);
    assert_eq!(fault(post().header("x-a", &"x".repeat(MAX_REQUEST_HEADER_BYTES))).code(), RefusalCode::TooLarge);
    assert!("http post".parse::<Work>().unwrap_err().contains("http METHOD URL"));
    assert!("http steal http://h/".parse::<Work>().unwrap_err().contains("PATCH"));
    assert!("http post http://h/ {".parse::<Work>().unwrap_err().contains("no JSON"));
}

#[test]
fn later_steps_take_members_of_what_a_service_answered() {
    let body = r#"{"id": 17, "price": 9.5, "code": "a b", "seats": ["7A", {"row": 7}], "none": null}"#;
    let answer = HttpResult { status: 201, body: body.into(), is_json: true };
    let text = HttpResult { status: 200, body: "plain".into(), is_json: false };
    let inputs = [Results::encode_answer(&answer), Results::encode_answer(&text)];
    let mut inputs = Inputs::of_step(&inputs);
    let mut take = |text: &str| inputs.datum(&text.parse::<Reference>().unwrap().resolve(&["a", "b"]).unwrap());
    assert_eq!(take("a.0.id"), Ok(Datum::Integer(17)));
    assert_eq!(take("a.0.price"), Ok(Datum::Double(9.5)));
    assert_eq!(take("a.0.code"), Ok(Datum::Text("a b".into())));
    assert_eq!(take("a.0.seats[0]"), Ok(Datum::Text("7A".into())));
    assert_eq!(take("a.0.seats[1]"), Ok(Datum::Json(r#"{"row":7}"#.into())));
    assert_eq!(take("a.0.none"), Ok(Datum::Null));
    assert_eq!(take("b.0"), Ok(Datum::Text("plain".into())));
    for (from, said) in [
        ("a.0.other", "no member"),
        ("a.0.seats[2]", "2 elements"),
        ("a.0.id[1]", "no list"),
        ("a.1", "number 0"),
        ("b.0.x", "no JSON"),
    ] {
        let refusal = take(from).unwrap_err();
        assert!(refusal.code == RefusalCode::InvalidWork && refusal.detail.contains(said), "{from}: {refusal}");
    }
    let results = Results::read(&Results::encode_answer(&answer));
    assert_eq!(results.values(), None::<&[Value]>);
    let shown =
        r#"{"http":{"status":201,"json":{"code":"a b","id":17,"none":null,"price":9.5,"seats":["7A",{"row":7}]}}}"#;
    assert_eq!(serde_json::to_string(&results).unwrap(), shown);
    let plain = Results::read(&Results::encode_answer(&text));
    assert_eq!(plain.shown(None), [["1".to_owned(), "200 plain".to_owned()]]);
    let work = Work::from(Request::post("http://h/"));
    assert!(Reference::to("a", 1).fault(&work).is_some());
    assert!(Reference::to_column("a", 0, "id").fault(&work).is_none());
}
