//! TLS towards clients: a certificate and its key from files, taken up again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, Error, RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The first byte of every TLS connection (RFC 8446 §5.1: a record of type handshake).
const HANDSHAKE_RECORD: u8 = 0x16;
/// Said to a client that speaks plain HTTP, in the one dialect that all can read.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\
connection: close\r\n\r\n{\"error\":{\"message\":\"this address speaks https, not http\"}}\n";

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain in PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

/// Why they cannot be used. What a key file holds is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate in it, or it cannot be read.
    #[error("the certificate {path} cannot be used: {what}")]
    Cert {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// No key in it, or it cannot be read.
    #[error("the key {path} cannot be used: {what}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Both are fine and do not belong together.
    #[error("the key {key} does not belong to the certificate {cert}: {what}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library says.
        what: String,
    },
}

/// The certificate that is shown.
#[derive(Debug)]
pub struct Secure {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    /// Of the files as they were read last.
    stamps: Mutex<[Option<SystemTime>; 2]>,
}

impl Secure {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = Mutex::new(stamps(&files));
        let config = ArcSwap::new(config(&files)?);
        Ok(Self { files, config, stamps })
    }

    /// Takes up changed files; such as cannot be used are told once, and what was shown stays.
    pub fn refresh(&self) {
        // Another thread is at it.
        let Ok(mut seen) = self.stamps.try_lock() else { return };
        let now = stamps(&self.files);
        if *seen == now {
            return;
        }
        *seen = now;
        match config(&self.files) {
            Ok(config) => {
                self.config.store(config);
                tracing::info!(cert = %self.files.cert.display(), "the certificate was taken up again");
            }
            Err(error) => tracing::error!(%error, "the certificate of before stays in use"),
        }
    }

    /// Shakes hands, for `wait` at most; none where the client does not.
    pub async fn accept(&self, stream: TcpStream, wait: Duration) -> Option<TlsStream<TcpStream>> {
        let shaken = timeout(wait, self.handshake(stream)).await;
        match shaken.unwrap_or_else(|elapsed: Elapsed| Err(elapsed.into())) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "a client did not finish the TLS handshake");
                None
            }
        }
    }

    async fn handshake(&self, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        let mut first = [HANDSHAKE_RECORD];
        stream.peek(&mut first).await?;
        if first != [HANDSHAKE_RECORD] {
            stream.write_all(PLAIN).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        let acceptor = TlsAcceptor::from(self.config.load_full());
        acceptor.accept(stream).await.map(Some)
    }
}

fn stamps(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    let stamp = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    [stamp(&files.cert), stamp(&files.key)]
}

fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let cert = |what: String| TlsError::Cert { path: files.cert.clone(), what };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| cert(error.to_string()))?;
    if chain.is_empty() {
        return Err(cert("it holds no certificate in PEM".to_owned()));
    }
    let refused = chain.iter().find_map(dated);
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::Key { path: files.key.clone(), what: error.to_string() })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| cert(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            what: error.to_string(),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if let Some(what) = refused {
        tracing::warn!(cert = %files.cert.display(), "clients will refuse the certificate: {what}");
    }
    Ok(Arc::new(config))
}

/// Why nobody takes a certificate now, where its dates are the reason.
fn dated(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    // Nobody vouches for it here: its dates are looked at before that shows.
    let nobody = RootCertStore::empty();
    let judged =
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], UnixTime::now(), algorithms);
    match judged {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(format!("it expired at {}", date(not_after)))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Some(format!("it is not valid before {}", date(not_before)))
        }
        _ => None,
    }
}

fn date(at: UnixTime) -> httpdate::HttpDate {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_secs())).into()
}
