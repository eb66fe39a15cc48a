//! https backends: verified by a given authority, and refused in words when anything is wrong with the certificate.

use std::{path::Path, sync::Arc};

use proto::v1::{self, Dialect};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tests::{
    rig::{self, Plane},
    script::{Reply, Script},
};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn server(&self, name: &str, until: i32) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        Arc::new(config)
    }
}

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[]}"#;

/// Asks through a data plane that trusts `ca_file` for an https server that shows `config`.
async fn ask(config: Arc<ServerConfig>, ca_file: Option<&Path>) -> (u16, String, usize) {
    let reply = Reply::ok("application/json", vec![ANSWER.into()]);
    let script = Script::start_tls(reply, config).await.expect("the backend starts");
    let url = format!("https://localhost:{}", script.addr.port());
    let mut row = rig::backend("one", &url, v1::Kind::Openai, 4, &["m"], &[Dialect::OpenaiChat]);
    row.ca_file = ca_file.map(|path| path.display().to_string()).unwrap_or_default();
    let plane = Plane::start(&rig::snapshot(vec![row]), |_| {}).await;
    let body = json!({"model": "m", "messages": []});
    let sent = rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body).send().await;
    let response = sent.expect("an answer");
    let (status, text) = (response.status().as_u16(), response.text().await.expect("a body"));
    plane.stop().await;
    (status, text, script.taken().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_the_given_authority_serves_and_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &ours.pem).expect("written");
    let (status, text, asked) = ask(ours.server("localhost", 2099), Some(&ca_file)).await;
    assert_eq!((status, text.as_str(), asked), (200, ANSWER, 1));
    for (what, config, ca_file) in [
        ("another name", ours.server("elsewhere.invalid", 2099), Some(ca_file.as_path())),
        ("expired", ours.server("localhost", 2021), Some(ca_file.as_path())),
        ("unknown issuer", theirs.server("localhost", 2099), Some(ca_file.as_path())),
        ("not of the system's roots", ours.server("localhost", 2099), None),
        ("no such file", ours.server("localhost", 2099), Some(Path::new("/nonexistent/ca.pem"))),
    ] {
        let (status, text, asked) = ask(config, ca_file).await;
        assert_eq!((status, asked), (502, 0), "{what}: {text}");
    }
}
