//! Connections to the collector: TCP, and TLS where the endpoint is `https`.
//!
//! Owns: which certificates are trusted and which is shown. Does not own: requests. Files are read when the
//! agent starts, so that a wrong one is an error then and not at the first request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{CollectorSettings, TlsSettings};
use crate::{Error, ErrorKind};

/// How long the system may take to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes connections.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// What makes connections to the endpoints of `settings`.
pub(crate) fn connector(settings: &CollectorSettings) -> Result<Connector, Error> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(settings.timeout.min(CONNECT_TIMEOUT)));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let tls = client_config(settings)?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Ok(connector.wrap_connector(tcp))
}

/// TLS towards the endpoints of `settings`: trusted are the certificates of `tls.ca`, else the system's.
///
/// # Errors
/// When a file cannot be read, is no PEM, or certificate and key do not fit.
pub fn client_config(settings: &CollectorSettings) -> Result<ClientConfig, Error> {
    let tls = settings.tls.clone().unwrap_or_default();
    let is_used = settings.endpoints.iter().any(|endpoint| endpoint.starts_with("https:"));
    let roots = if is_used { roots(&tls)? } else { RootCertStore::empty() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(format!("TLS: {error}")))?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("cert", cert)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("key", key, &error))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| {
        let (cert, key) = (cert.display(), key.display());
        wrong(format!("[collector] tls: the certificate `{cert}` and the key `{key}` do not fit: {error}"))
    })
}

fn roots(tls: &TlsSettings) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &tls.ca {
        for certificate in certificates("ca", ca)? {
            roots.add(certificate).map_err(|error| {
                wrong(format!(
                    "[collector] tls.ca: `{}` is no certificate of an authority: {error}",
                    ca.display()
                ))
            })?;
        }
        return Ok(roots);
    }
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "a certificate of the system is left out");
    }
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        let why =
            "this system has no trusted certificates: install ca-certificates, or set [collector] tls.ca";
        return Err(wrong(why.to_owned()));
    }
    Ok(roots)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let problem = |error: pem::Error| unreadable(key, path, &error);
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(problem)?.collect();
    let found = found.map_err(problem)?;
    if found.is_empty() {
        return Err(wrong(format!(
            "[collector] tls.{key}: `{}` has no `-----BEGIN CERTIFICATE-----`",
            path.display()
        )));
    }
    Ok(found)
}

fn unreadable(key: &str, path: &Path, error: &pem::Error) -> Error {
    let path = path.display();
    match error {
        pem::Error::Io(error) => wrong(format!("[collector] tls.{key}: cannot read `{path}`: {error}")),
        error => wrong(format!("[collector] tls.{key}: `{path}` is no PEM file of that kind: {error}")),
    }
}

fn wrong(problem: String) -> Error {
    Error::new(ErrorKind::Config, problem)
}
