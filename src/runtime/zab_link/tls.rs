//! TLS between the servers of an ensemble, version 1.3, both sides with a certificate of the same authority.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::connection::{Stream, stream};

/// `ensemble.tls.*`: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whose certificates are taken.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("the certificate and the key do not make TLS: {0}")]
    Config(String),
}

/// Both sides of it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let config = |error: &dyn std::fmt::Display| TlsError::Config(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            let added = roots.add(certificate);
            added.map_err(|error| file_error(&files.ca, &error))?;
        }
        let roots = Arc::new(roots);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(|error| config(&error))?;
        let versions = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| config(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&files.certificate)?, key(&files.key)?)
            .map_err(|error| config(&error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| config(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&files.certificate)?, key(&files.key)?)
            .map_err(|error| config(&error))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    pub(super) async fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        Ok(stream(self.acceptor.accept(tcp).await?))
    }

    /// The other side's certificate has to be of the host that was dialled.
    pub(super) async fn connect(&self, host: &str, tcp: TcpStream) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(stream(self.connector.connect(name, tcp).await?))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| file_error(path, &error))?;
    let certificates: Result<Vec<_>, _> = read.collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(file_error(path, &"it holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(file_error(path, &error)),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| file_error(path, &error))
}

fn file_error(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
