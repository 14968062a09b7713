//! TLS as every store speaks it: whose certificates are trusted, and who does the cryptography.

use crate::store::StoreError;
#[cfg(any(feature = "redis", feature = "postgres"))]
use rustls::RootCertStore;
use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};
use std::fmt::Display;

/// The certificates of a PEM file, or those that the operating system trusts, which `SSL_CERT_FILE` and `SSL_CERT_DIR` replace.
pub(in crate::store) fn roots(file: Option<&str>) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let Some(path) = file else {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(StoreError::unavailable(format!(
                "this system has no trusted certificates{reason}; install them (Debian: apt-get install ca-certificates) or name a \
                 file in SSL_CERT_FILE"
            )));
        }
        return Ok(found.certs);
    };
    let refuse = |error: &dyn Display| StoreError::unavailable(format!("{path}: {error}; name a file of PEM certificates"));
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| refuse(&error))?;
    if certificates.is_empty() { Err(refuse(&"it holds no certificate")) } else { Ok(certificates) }
}

/// The same, for those clients whose TLS we configure.
#[cfg(any(feature = "redis", feature = "postgres"))]
pub(in crate::store) fn root_store(file: Option<&str>) -> Result<RootCertStore, StoreError> {
    let mut store = RootCertStore::empty();
    // A system may trust what rustls cannot read; one authority less is no reason to trust nobody.
    store.add_parsable_certificates(roots(file)?);
    Ok(store)
}

/// Named wherever a client lets us, because the application may have chosen another provider for the rest of the process.
#[cfg(any(feature = "redis", feature = "postgres"))]
pub(in crate::store) fn provider() -> std::sync::Arc<CryptoProvider> {
    std::sync::Arc::new(ring::default_provider())
}

/// Gives the process a provider for those clients that ask it for one, and would panic where the program's other crates bring
/// several. Whoever has chosen one already keeps it.
#[cfg(any(feature = "redis", feature = "mysql"))]
pub(in crate::store) fn provide_for_clients() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else being faster is as good.
        let _ = ring::default_provider().install_default();
    }
}
