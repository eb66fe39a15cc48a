//! Probing over https: an authority of one's own, and none.

#![allow(clippy::unwrap_used, reason = "a test")]

mod rig;

use std::sync::Arc;

use proto::v1::{self, Health};
use rig::{backend, manage, start, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// A list of models to every question, over TLS; its port and its certificate as PEM.
async fn serve() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate breaks off here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 4096];
                let Ok(read) = stream.read(&mut request).await else { return };
                let (status, body) = match request[..read].starts_with(b"GET") {
                    true => ("200 OK", r#"{"object":"list","data":[{"id":"m"}]}"#),
                    false => {
                        ("400 Bad Request", r#"{"error":{"message":"m","type":"invalid_request_error"}}"#)
                    }
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                // It may have left.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, made.cert.pem())
}

#[tokio::test]
async fn only_a_trusted_certificate_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (port, pem) = serve().await;
    let authority = dir.path().join("ca.pem");
    std::fs::write(&authority, pem).unwrap();
    let running = start(&dir.path().join("state")).await;
    let mut client = manage(running.addr).await;
    let mut probe = async |host: &str, ca_file: String| {
        let wanted = v1::Backend { ca_file, ..backend("", &format!("https://{host}:{port}/v1")) };
        let request = v1::ProbeBackendRequest { backend: Some(wanted) };
        let answer = within("a probe", client.probe_backend(request)).await.unwrap().into_inner();
        answer.status.unwrap()
    };
    let trusted = probe("localhost", authority.display().to_string()).await;
    assert_eq!((trusted.health(), trusted.reason.as_str()), (Health::Healthy, ""));
    assert_eq!(trusted.models.len(), 1);
    let unknown = probe("localhost", String::new()).await;
    assert_eq!(unknown.health(), Health::Unhealthy);
    assert!(unknown.reason.contains("certificate"), "{}", unknown.reason);
    let other = probe("127.0.0.1", authority.display().to_string()).await;
    assert!(other.reason.contains("certificate"), "another name: {}", other.reason);
    let missing = probe("localhost", "/nowhere/ca.pem".to_owned()).await;
    assert!(missing.reason.starts_with("ca_file \"/nowhere/ca.pem\": "), "{}", missing.reason);
    std::fs::write(&authority, "not a certificate").unwrap();
    let empty = probe("localhost", authority.display().to_string()).await;
    assert!(empty.reason.contains("holds no certificate"), "{}", empty.reason);
    running.stop().await;
}
