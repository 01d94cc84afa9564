use super::*;

#[test]
fn work_over_a_limit_is_refused_with_the_limit_named() {
    let error = |work: KvWork| work.encode().unwrap_err().to_string();
    assert!(error(KvWork::new()).contains("no operations"));
    assert!(error(KvWork::new().get("")).contains("1 to 1024"));
    assert!(error(KvWork::new().get(vec![0; 1_025])).contains("1024"));
    assert!(error(KvWork::new().put("k", vec![0; 65_537])).contains("65536"));
    assert!(error(KvWork::new().put("k", "").value_in_branch(vec![0; 65_537])).contains("65536"));
    assert!(error(KvWork::new().compare_and_set("k", Some(vec![0; 65_537].into()), None)).contains("65536"));
    let many = (0..1_025).fold(KvWork::new(), |work, _| work.get("k"));
    assert!(error(many).contains("1024"));
}

#[test]
fn what_an_operation_has_besides_itself_has_to_fit_it() {
    let (from, inputs) = (|| Reference::to("a", 0), ["a"]);
    let error = |work: KvWork| work.encode_with(&inputs).unwrap_err().to_string();
    assert!(error(KvWork::new().get("k").value_from(from())).contains("put and cas"));
    assert!(error(KvWork::new().put("k", "").expected_from(from())).contains("for cas"));
    assert!(error(KvWork::new().put("k", "v").value_from(from())).contains("leave one of the two out"));
    let cas = |expected: Option<Bytes>| KvWork::new().compare_and_set("k", expected, None).expected_from(from());
    assert!(error(cas(Some("1".into()))).contains("expected-from"));
    assert!(cas(None).value_from(from()).encode_with(&inputs).is_ok());
    assert!(KvWork::new().put("", "v").key_suffix_from(from()).encode_with(&inputs).is_ok());
    assert!(error(KvWork::new().put("", "v")).contains("1 to 1024"));
}
