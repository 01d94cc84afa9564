//! Access to the database: passwords, rights and TLS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use support::branch::{branch, prepare};
use support::{PROCEDURES, TABLES, open, participant, settings, work};
use undoubt_mariadb::{Settings, check, init};
use undoubt_participant::resource::{Branches as _, Ended, Resource as _, ResourceError};
use undoubt_sql::Procedures;
use undoubt_test_servers::MariaDb;

const DATABASE: &str = "bank";

/// Files that both the server and this test read.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Files(folder)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        path
    }
}

/// Returns a server whose user undoubt has to show a password, and is let in over TLS alone.
async fn server(files: &Files) -> MariaDb {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = files.write("server.crt", &certified.cert.pem());
    let key = files.write("server.key", &certified.signing_key.serialize_pem());
    let given = [
        ("ssl-cert", certificate.to_str().unwrap()),
        ("ssl-key", key.to_str().unwrap()),
        ("max-allowed-packet", "16M"),
    ];
    let server = MariaDb::start(&given).await.unwrap();
    let user =
        format!("CREATE DATABASE {DATABASE}; CREATE USER undoubt@'127.0.0.1' IDENTIFIED BY 'secret' REQUIRE SSL");
    server.sql("", &user).await.unwrap();
    server.sql(DATABASE, TABLES).await.unwrap();
    init(&settings(server.url(DATABASE)), Some("undoubt@127.0.0.1")).await.unwrap();
    let rights = "GRANT SELECT, INSERT, UPDATE, DELETE ON kv TO undoubt@'127.0.0.1'";
    server.sql(DATABASE, rights).await.unwrap();
    server
}

fn as_undoubt(server: &MariaDb) -> Settings {
    settings(server.url(DATABASE).replace("root@", "undoubt@"))
}

#[tokio::test]
async fn a_participant_works_over_tls_with_a_password_from_a_file() {
    let files = Files::new();
    let server = server(&files).await;
    let ca_file = Some(files.0.path().join("server.crt"));
    let password_file = Some(files.write("password", "secret\n"));
    let resource = open(&Settings { ca_file, password_file, ..as_undoubt(&server) }, PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    prepare(&resource, 1, work::put("k", "v")).await;
    // The user is let in over TLS alone, so all its sessions are.
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    assert_eq!(server.sql(DATABASE, "SELECT value FROM kv").await.unwrap(), "v");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_what_to_correct() {
    let files = Files::new();
    let server = server(&files).await;
    let right = Settings {
        ca_file: Some(files.0.path().join("server.crt")),
        password_file: Some(files.write("password", "secret")),
        ..as_undoubt(&server)
    };
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = Some(files.write("other.crt", &other.cert.pem()));
    let elsewhere = right.url.replace("127.0.0.1", "localhost");
    let not_in = "does not let this participant in";
    for (given, says) in [
        (Settings { password_file: Some(files.write("wrong", "guess")), ..right.clone() }, [not_in, "its password"]),
        (Settings { password_file: None, ..right.clone() }, [not_in, "its password"]),
        (Settings { ca_file: None, ..right.clone() }, [not_in, "resource.ca_file"]),
        (Settings { url: right.url.replace(DATABASE, "bunk"), ..right.clone() }, [not_in, "resource.url"]),
        (
            Settings { password_file: Some(files.0.path().join("missing")), ..right.clone() },
            ["resource.password_file", "correct it"],
        ),
        (Settings { ca_file: other, ..right.clone() }, ["certificate", "name in resource.ca_file the authority"]),
        (Settings { url: elsewhere, ..right.clone() }, ["certificate", "in resource.url the host"]),
        (
            Settings { ca_file: Some(files.0.path().join("missing")), ..right.clone() },
            ["resource.ca_file", "correct it"],
        ),
        (Settings { ca_file: Some(files.write("empty.crt", "")), ..right.clone() }, ["resource.ca_file", "correct it"]),
        (
            Settings { ca_file: Some(files.write("no.crt", "none")), ..right.clone() },
            ["resource.ca_file", "correct it"],
        ),
    ] {
        let refused = open(&given, PROCEDURES).recover(&participant()).await;
        let Err(ResourceError::Unavailable { cause }) = &refused else { panic!("{refused:?}") };
        let lacks = check(&given, &Procedures::default()).await;
        for says in says {
            assert!(cause.contains(says), "{says}: {cause}");
            assert!(lacks.len() == 1 && lacks[0].what.contains(says), "{says}: {lacks:?}");
        }
    }
    assert_eq!(check(&right, &Procedures::default()).await, []);
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_from_one_with_a_wrong_certificate() {
    let files = Files::new();
    let server = MariaDb::start(&[("skip-ssl", "1")]).await.unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let ca_file = Some(files.write("server.crt", &certified.cert.pem()));
    let lacks = check(&Settings { ca_file, ..settings(server.url("mysql")) }, &Procedures::default()).await;
    assert!(lacks.len() == 1 && lacks[0].what.contains("the server offers no TLS"), "{lacks:?}");
}
