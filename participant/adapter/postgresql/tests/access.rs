//! Access to the database: passwords and TLS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use support::fixture::prepare;
use support::{PROCEDURES, TABLES, open, participant, settings, work};
use undoubt_participant::resource::{Resource as _, ResourceError};
use undoubt_postgresql::{Settings, check, init_sql};
use undoubt_sql::Procedures;
use undoubt_test_servers::Postgres;
use undoubt_vocabulary::{Execution, Vote};

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

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns a server whose role undoubt has to show a password, and is let in over TLS alone.
async fn server(files: &Files) -> Postgres {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = files.write("server.crt", &certified.cert.pem());
    let key = files.write("server.key", &certified.signing_key.serialize_pem());
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    // A server that root starts runs as nobody, who has this group.
    let is_root = std::fs::metadata(&key).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0).unwrap();
    if is_root {
        chown(&key, None, Some(65_534)).unwrap();
    }
    let access = "host all postgres 127.0.0.1/32 trust\nhostssl all undoubt 127.0.0.1/32 scram-sha-256\n";
    let access = files.write("pg_hba.conf", access);
    let (access, certificate, key) = (text(&access), text(&certificate), text(&key));
    let given = [
        ("max_prepared_transactions", "10"),
        ("hba_file", access),
        ("ssl", "on"),
        ("ssl_cert_file", certificate),
        ("ssl_key_file", key),
    ];
    let server = Postgres::start(&given).await.unwrap();
    let role = "CREATE ROLE undoubt LOGIN PASSWORD 'secret'; CREATE DATABASE bank";
    server.sql("postgres", role).await.unwrap();
    server.sql("bank", &format!("{TABLES}; GRANT ALL ON kv TO undoubt; {}", init_sql(Some("undoubt")))).await.unwrap();
    server
}

fn as_undoubt(server: &Postgres) -> Settings {
    settings(server.url("bank").replace("postgres@", "undoubt@"))
}

#[tokio::test]
async fn a_participant_works_over_tls_with_a_password_from_a_file() {
    let files = Files::new();
    let server = server(&files).await;
    let ca_file = Some(files.0.path().join("server.crt"));
    let password_file = Some(files.write("password", "secret\n"));
    let resource = open(&Settings { ca_file, password_file, ..as_undoubt(&server) }, PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    let vote = prepare(&resource, 1, Execution::TwoPhase, work::put("k", "v")).await;
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
    let encrypted = "SELECT count(*) > 1 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'undoubt'";
    assert_eq!(server.sql("bank", encrypted).await.unwrap().trim(), "t");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_what_to_correct() {
    let files = Files::new();
    let server = server(&files).await;
    let ca_file = Some(files.0.path().join("server.crt"));
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let password_file = Some(files.write("password", "secret"));
    let missing = Some(files.0.path().join("missing"));
    for (given, says) in [
        (
            Settings {
                ca_file: ca_file.clone(),
                password_file: Some(files.write("wrong", "guess")),
                ..as_undoubt(&server)
            },
            "does not let this participant in",
        ),
        (Settings { password_file: password_file.clone(), ..as_undoubt(&server) }, "does not let this participant in"),
        (
            Settings { ca_file: ca_file.clone(), password_file: missing, ..as_undoubt(&server) },
            "resource.password_file",
        ),
        (
            Settings {
                ca_file: Some(files.write("other.crt", &other.cert.pem())),
                password_file,
                ..as_undoubt(&server)
            },
            "certificate",
        ),
    ] {
        let refused = open(&given, PROCEDURES).recover(&participant()).await;
        let Err(ResourceError::Unavailable { cause }) = &refused else { panic!("{refused:?}") };
        assert!(cause.contains(says), "{cause}");
        let lacks = check(&given, &Procedures::default()).await;
        assert!(lacks.len() == 1 && lacks[0].what.contains(says), "{lacks:?}");
    }
    let unused = Settings { ca_file: Some(files.write("empty.crt", "")), ..as_undoubt(&server) };
    let lacks = check(&unused, &Procedures::default()).await;
    assert!(lacks[0].what.contains("it has no certificate"), "{lacks:?}");
}
