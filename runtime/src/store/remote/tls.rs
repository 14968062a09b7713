//! TLS as every store speaks it: certificates verified against those the operating system trusts.

use crate::store::StoreError;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
};
use std::sync::Arc;

/// What connections with TLS have in common. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's certificates.
pub(in crate::store) fn config() -> Result<Arc<ClientConfig>, StoreError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(StoreError::unavailable(format!(
            "this system has no trusted certificates{reason}; install them (Debian: apt-get install ca-certificates) or name a file \
             in SSL_CERT_FILE"
        )));
    }
    // Named, because the application may have chosen another provider for the rest of the process.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(StoreError::unavailable)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Gives the process a provider for those clients that ask it for one, and would panic where the program's other crates bring
/// several. Whoever has chosen one already keeps it.
pub(in crate::store) fn provide_for_clients() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else being faster is as good.
        let _ = ring::default_provider().install_default();
    }
}
