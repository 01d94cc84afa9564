//! A participant calls no host that is not allowed, and no name that leads to a private network, also when it is looked up again.

use crate::support::server::{Server, reply};
use crate::support::{act, network, refused, settings};
use futures::future::BoxFuture;
use http::Uri;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use undoubt_http::{HttpServices, Network, Settings};
use undoubt_platform::dial::{Dial, Resolve, TcpDial};
use undoubt_platform::server::Connection;
use undoubt_vocabulary::{RefusalCode, StepOutcome};
use undoubt_work::http::Request;

/// Names that are looked up as a test says, one answer after the other; and what was dialled.
#[derive(Default)]
struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    dialled: Mutex<Vec<String>>,
}

impl Resolve for Names {
    fn resolve(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let next = self.answers.lock().unwrap().pop_front();
        Box::pin(async move { next.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

/// Notes what is dialled, and reaches this machine alone.
struct Noted(Arc<Names>);

impl Dial for Noted {
    fn dial(&self, address: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        self.0.dialled.lock().unwrap().push(address.to_string());
        if address.host() == Some("127.0.0.1") {
            TcpDial.dial(address)
        } else {
            Box::pin(async { Err(io::ErrorKind::HostUnreachable.into()) })
        }
    }
}

fn http(settings: Settings, answers: &[&[&str]]) -> (Arc<Names>, HttpServices) {
    let ips = |all: &&[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect();
    let names = Arc::new(Names { answers: Mutex::new(answers.iter().map(ips).collect()), ..Names::default() });
    let dial = Arc::new(Noted(names.clone()));
    let network = Network { resolve: names.clone(), dial, ..network() };
    let store = Arc::new(crate::support::memory::MemoryStore::default());
    (names, HttpServices::new(store, settings, network).unwrap())
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_before_anything_is_looked_up_or_dialled() {
    let (names, http) = http(settings(&["http://shop.example/api"]), &[&["127.0.0.1"]]);
    for (at, url) in [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://127.0.0.1:1/",
        "http://localhost/api",
        "http://shop.example/",
        "http://shop.example/api/../admin",
        "http://shop.example:81/api",
        "https://shop.example/api",
        "http://shop.example.evil/api",
        "http://2852039166/api",
    ]
    .into_iter()
    .enumerate()
    {
        let (code, detail) = refused(act(&http, u16::try_from(at).unwrap(), Request::post(url)).await);
        assert_eq!(code, RefusalCode::InvalidWork, "{url}: {detail}");
    }
    assert!(names.dialled.lock().unwrap().is_empty());
    assert_eq!(names.answers.lock().unwrap().len(), 1, "nothing was looked up");
}

#[tokio::test]
async fn nothing_is_allowed_where_nothing_is_said() {
    let (_, http) = http(settings(&[]), &[]);
    let (code, detail) = refused(act(&http, 0, Request::post("http://127.0.0.1:1/")).await);
    assert!(code == RefusalCode::InvalidWork && detail.contains("http.allow"), "{detail}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_network_is_not_dialled() {
    for ip in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1", "0.0.0.0"] {
        let (names, http) = http(settings(&["http://shop.example"]), &[&[ip]]);
        let (code, detail) = refused(act(&http, 0, Request::post("http://shop.example/")).await);
        assert!(code == RefusalCode::Unavailable && detail.contains("http.private_hosts"), "{ip}: {detail}");
        assert!(names.dialled.lock().unwrap().is_empty(), "{ip}");
    }
}

#[tokio::test]
async fn the_address_that_was_looked_at_is_the_one_that_is_dialled_each_time() {
    let answers: [&[&str]; 2] = [&["10.0.0.1", "93.184.215.14"], &["127.0.0.1"]];
    let (names, http) = http(settings(&["http://shop.example"]), &answers);
    for _ in 0..2 {
        let (code, _) = refused(act(&http, 0, Request::post("http://shop.example/")).await);
        assert_eq!(code, RefusalCode::Unavailable, "nothing was sent");
    }
    assert_eq!(
        names.dialled.lock().unwrap()[..],
        ["http://93.184.215.14/"],
        "looked up once for each connection, and dialled as found"
    );
    assert!(names.answers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_host_that_may_be_private_is_reached_and_so_is_an_address_that_is_allowed_itself() {
    let server = Server::start(|_| Some(reply(200, "{}"))).await;
    let port = server.url.rsplit(':').next().unwrap();
    let inside = format!("http://inside.example:{port}/");
    let private = Settings { private_hosts: vec!["inside.example".to_owned()], ..settings(&[&inside]) };
    let (names, http) = http(private, &[&["127.0.0.1"]]);
    assert!(matches!(act(&http, 0, Request::post(&inside)).await, StepOutcome::Done { .. }));
    assert_eq!(server.asked()[0].header("host"), format!("inside.example:{port}"));
    assert_eq!(names.dialled.lock().unwrap()[..], [format!("{}/", server.url)]);
    let local = format!("http://localhost:{port}/");
    let (names, http) = self::http(settings(&[&local, &server.url]), &[]);
    assert!(matches!(act(&http, 0, Request::post(&local)).await, StepOutcome::Done { .. }), "without being looked up");
    assert!(matches!(act(&http, 1, Request::post(&server.url)).await, StepOutcome::Done { .. }));
    assert_eq!(names.dialled.lock().unwrap().len(), 2);
}
