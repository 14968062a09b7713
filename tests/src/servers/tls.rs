//! A certificate authority for one server, and the server's certificate.

use super::process::User;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The files of a server that speaks TLS.
pub(super) struct Identity {
    /// What clients trust.
    pub(super) ca: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Identity {
    /// Writes a new identity, for 127.0.0.1 and localhost, into a folder.
    pub(super) fn new(folder: &Path, user: Option<User>) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("no names are valid names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority for tests");
        let authority_key = KeyPair::generate().expect("the system has randomness");
        let ca = authority.self_signed(&authority_key).expect("a key signs");
        let issuer = Issuer::new(authority, authority_key);
        let mut server =
            CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("these names are valid");
        server.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        let server_key = KeyPair::generate().expect("the system has randomness");
        let certificate = server.signed_by(&server_key, &issuer).expect("a key signs");

        let write = |name: &str, text: String, mode: u32| {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file in a folder of our own");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a file of our own");
            User::owns(user, &path);
            path
        };
        Self {
            ca: write("ca.pem", ca.pem(), 0o644),
            certificate: write("server.pem", certificate.pem(), 0o644),
            key: write("server.key", server_key.serialize_pem(), 0o600),
        }
    }
}
