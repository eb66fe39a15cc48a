//! Opens connections: TCP, and TLS where the URL says https.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;

use super::{
    UpstreamError,
    meter::{Metered, Room},
};
use crate::{provider::Base, wake::Gated};

/// Authorities remembered at most; past that every connection reads its file again.
const AUTHORITIES_MAX: usize = 256;

/// Bytes of the head of one answer at most.
const HEAD_BYTES_MAX: usize = 128 * 1024;

type Opened = (SendRequest<Full<Bytes>>, AbortHandle, Room);

/// Client configurations, one for each authority: the system's roots, or a file.
#[derive(Debug, Default)]
pub struct Tls {
    known: Mutex<BTreeMap<Option<PathBuf>, Arc<ClientConfig>>>,
}

impl Tls {
    fn config(&self, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
        let key = ca_file.map(Path::to_path_buf);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.get(&key) {
            return Ok(config.clone());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        let config = Arc::new(config);
        if known.len() < AUTHORITIES_MAX {
            known.insert(key, config.clone());
        }
        Ok(config)
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let shown = path.display();
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| format!("ca_file {shown}: {error}"))?;
            for certificate in certificates {
                roots.add(certificate).map_err(|error| format!("ca_file {shown}: {error}"))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err("no trusted authority: the system has none, set ca_file".to_owned());
    }
    Ok(roots)
}

/// A connection to `base`, ready for its first request.
pub async fn open(base: &Base, tls: &Tls) -> Result<Opened, UpstreamError> {
    let stream = TcpStream::connect((base.host.as_str(), base.port)).await.map_err(unreached)?;
    // Each token is worth a packet of its own; without the option it is only slower.
    let _ = stream.set_nodelay(true);
    if !base.https {
        return speak(stream).await;
    }
    let config = tls.config(base.ca_file.as_deref()).map_err(UpstreamError::Connect)?;
    let name = ServerName::try_from(base.host.clone())
        .map_err(|error| UpstreamError::Connect(format!("{}: {error}", base.host)))?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| UpstreamError::Connect(in_words(&base.host, &error)))?;
    speak(stream).await
}

fn unreached(error: io::Error) -> UpstreamError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => UpstreamError::Refused(error),
        _ => UpstreamError::Connect(error.to_string()),
    }
}

fn in_words(host: &str, error: &io::Error) -> String {
    format!("TLS with {host} failed: {error}")
}

async fn speak<S>(stream: S) -> Result<Opened, UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (stream, room) = Metered::new(stream);
    let (sender, connection) = http1::Builder::new()
        .max_header_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| UpstreamError::Connect(error.to_string()))?;
    // Mapped, and not awaited in a block, which would have room for the connection twice.
    let task = tokio::task::spawn_local(Gated::new(connection).map(|ended| {
        if let Err(error) = ended {
            tracing::debug!(%error, "upstream connection ended");
        }
    }));
    Ok((sender, task.abort_handle(), room))
}
