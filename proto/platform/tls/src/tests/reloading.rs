//! Files that change.

use super::{Authority, Wanted, client, for_names, server_files};
use crate::{ClientCertificate, FileError, Refreshed, ServerTls, readable_by_others};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

fn load(authority: &Authority) -> ServerTls {
    let files = server_files(authority.make("server", &for_names(&["server"])), Some(&authority.ca()));
    ServerTls::load(files, ClientCertificate::Required, &[b"h2"]).unwrap()
}

#[test]
fn new_files_are_used_and_the_same_are_not_read_as_new() {
    let authority = Authority::new();
    let server = load(&authority);
    let before = server.current();
    assert_eq!(server.refresh(), Refreshed::Unchanged);
    assert!(Arc::ptr_eq(&before, &server.current()));
    authority.make("server", &for_names(&["server"]));
    assert_eq!(server.refresh(), Refreshed::Changed);
    assert!(!Arc::ptr_eq(&before, &server.current()));
}

#[test]
fn files_that_cannot_be_used_are_kept_out_and_told_once_and_mended_ones_are_taken() {
    let authority = Authority::new();
    let server = load(&authority);
    let before = server.current();
    let (certificate, key) = (authority.folder.path().join("server.crt"), authority.folder.path().join("server.key"));
    let good = std::fs::read(&certificate).unwrap();
    let breaks: [&dyn Fn(); 4] = [
        &|| std::fs::write(&certificate, "nonsense").unwrap(),
        &|| std::fs::remove_file(&certificate).unwrap(),
        // Of a pair, one is written before the other.
        &|| drop(authority.make("server", &for_names(&["server"]))),
        &|| drop(authority.make("server", &Wanted { from_days: -2, to_days: -1, ..for_names(&["server"]) })),
    ];
    let secret = std::fs::read(&key).unwrap();
    for (number, break_it) in breaks.iter().enumerate() {
        break_it();
        if number == 2 {
            std::fs::write(&key, &secret).unwrap();
        }
        let Refreshed::KeptOut(error) = server.refresh() else { panic!("case {number} was taken") };
        assert_eq!(matches!(error, FileError::Mismatch { .. }), number == 2, "{error}");
        assert_eq!(matches!(error, FileError::NotNow { .. }), number == 3, "{error}");
        assert_eq!(server.refresh(), Refreshed::Unchanged, "it is told again");
        assert!(Arc::ptr_eq(&before, &server.current()));
    }
    std::fs::write(&certificate, good).unwrap();
    std::fs::write(&key, &secret).unwrap();
    assert_eq!(server.refresh(), Refreshed::Changed);
}

#[test]
fn a_key_never_shows_in_errors_or_debug() {
    let authority = Authority::new();
    let (certificate, key) = authority.make("server", &for_names(&["server"]));
    let pem = std::fs::read_to_string(&key).unwrap();
    let secret = pem.lines().nth(1).unwrap();
    let server =
        ServerTls::load(server_files((certificate.clone(), key.clone()), None), ClientCertificate::Optional, &[]);
    let own = client(&authority.ca(), Some((certificate.clone(), key.clone())));
    // Its first half is missing.
    std::fs::write(&key, &pem[30..]).unwrap();
    let damaged =
        ServerTls::load(server_files((certificate, key), None), ClientCertificate::Optional, &[]).unwrap_err();
    for shown in [format!("{:?}", server.unwrap()), format!("{own:?}"), format!("{damaged} {damaged:?}")] {
        assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
    }
}

#[test]
fn a_key_that_everybody_may_read_is_noticed() {
    let authority = Authority::new();
    let (_, key) = authority.make("server", &for_names(&["server"]));
    for (mode, noticed) in [(0o600, false), (0o640, false), (0o644, true)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(readable_by_others(&key), noticed, "{mode:o}");
    }
}
