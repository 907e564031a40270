//! TLS to the collector: an authority of one's own, a certificate of the agent, and what is said when
//! they do not fit.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use agent::{Agent, Config, ErrorKind};
use model::SystemClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::collector::Collector;
use crate::support::{Host, until};

/// An authority and what it signed, as files and as a server needs them.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    /// Writes `NAME.pem` and `NAME.key` for an address.
    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        (certificate, key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Ends TLS in front of a collector, and asks for the certificate of whoever comes.
async fn front(authority: &Authority, collector: SocketAddr) -> SocketAddr {
    let (certificate, key) = authority.sign("server");
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a pair");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(collector).await.expect("the collector is there");
                // Ends when either side does.
                drop(tokio::io::copy_bidirectional(&mut outer, &mut inner).await);
            });
        }
    });
    address
}

#[tokio::test]
async fn lines_travel_through_tls_with_certificates_on_both_sides() {
    let (host, authority, collector) = (Host::new(), Authority::new(), Collector::start().await);
    let address = front(&authority, collector.address()).await;
    authority.sign("agent");
    host.append("cart.log", "INFO hello\n");
    let files = authority.folder.path().display();
    let tls =
        format!("tls = {{ ca = '{files}/ca.pem', cert = '{files}/agent.pem', key = '{files}/agent.key' }}");
    let settings = host.settings(&format!("https://{address}"), "");
    let settings = settings.replace("flush =", &format!("{tls}\nflush ="));
    let running = crate::support::Running::start(&settings).await;
    until("the line arrives", || collector.texts() == ["hello"]).await;
    running.stop().await;
}

#[tokio::test]
async fn an_agent_without_a_certificate_is_turned_away_and_says_so() {
    let (host, authority, collector) = (Host::new(), Authority::new(), Collector::start().await);
    let address = front(&authority, collector.address()).await;
    host.append("cart.log", "INFO hello\n");
    let tls = format!("tls.ca = '{}'", authority.path("ca.pem").display());
    let settings = host.settings(&format!("https://{address}"), "");
    let settings = settings.replace("flush =", &format!("{tls}\nflush ="));
    let running = crate::support::Running::start(&settings).await;
    until("the failure is seen", || running.status().collector.last_error.is_some()).await;
    assert_eq!(collector.texts(), Vec::<String>::new());
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_file_is_an_error_at_the_start_that_names_it() {
    let (host, authority) = (Host::new(), Authority::new());
    authority.sign("agent");
    authority.sign("other");
    std::fs::write(authority.path("empty.pem"), "nothing").expect("written");
    let files = authority.folder.path().display();
    for (tls, problem) in [
        (format!("{{ ca = '{files}/none.pem' }}"), "tls.ca: cannot read `"),
        (format!("{{ ca = '{files}/empty.pem' }}"), "has no `-----BEGIN CERTIFICATE-----`"),
        (
            format!("{{ ca = '{files}/ca.pem', cert = '{files}/agent.pem', key = '{files}/other.key' }}"),
            "do not fit",
        ),
        (
            format!("{{ ca = '{files}/ca.pem', cert = '{files}/agent.pem', key = '{files}/agent.pem' }}"),
            "tls.key",
        ),
    ] {
        let settings =
            host.settings("https://127.0.0.1:1", "").replace("flush =", &format!("tls = {tls}\nflush ="));
        let config = Config::parse(&settings, "test.toml", |_| None).expect("valid settings");
        let error = Agent::start(config, SystemClock::shared()).await.expect_err(problem);
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
