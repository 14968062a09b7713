//! TLS as `sslmode` and `sslrootcert` ask for it, in libpq's sense.

use crate::store::StoreError;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::sync::Arc;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How far a server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Not at all: encryption against those who only listen.
    Anybody,
    /// It comes from one of the roots, for whatever name.
    Authority,
    /// It comes from one of the roots, for the host that was asked for.
    Host,
}

/// Where the roots come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// The operating system, or the file that `SSL_CERT_FILE` names.
    System,
    File(String),
}

pub(super) fn connector(trust: Trust, roots: &Roots, negotiation: SslNegotiation) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(ring::default_provider());
    let refuse = |what: &str, error: &dyn std::fmt::Display| StoreError::unavailable(format!("{what}: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("no TLS", &error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(Lenient { provider, authority: None }),
        Trust::Authority | Trust::Host => {
            let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(read(roots)?), Arc::clone(&provider))
                .build()
                .map_err(|error| refuse("no root certificate to check the server's against", &error))?;
            if trust == Trust::Host { strict } else { Arc::new(Lenient { provider, authority: Some(strict) }) }
        }
    };
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    if negotiation == SslNegotiation::Direct {
        // Without the usual prelude, this is how the server knows what is asked of it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn read(roots: &Roots) -> Result<RootCertStore, StoreError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                let why = found.errors.first().map_or_else(|| "it has none".to_owned(), ToString::to_string);
                return Err(StoreError::unavailable(format!(
                    "no root certificates from the operating system ({why}); name a file with sslrootcert="
                )));
            }
        }
        Roots::File(path) => {
            let refuse = |error: &dyn std::fmt::Display| {
                StoreError::unavailable(format!("sslrootcert={path}: {error}; name a file of PEM certificates"))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refuse(&error))? {
                store.add(certificate.map_err(|error| refuse(&error))?).map_err(|error| refuse(&error))?;
            }
            if store.is_empty() {
                return Err(refuse(&"it holds no certificate"));
            }
        }
    }
    Ok(store)
}

/// Checks less than a name: the authority alone, or nothing but that the server holds the certificate's key.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is what is checked last.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
