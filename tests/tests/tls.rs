//! https to backends, verified by a given authority, and https to clients, with a certificate that may change.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use dataplane::app::{self, Settings, TlsFiles};
use proto::v1::{self, Dialect};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tests::{
    process::{Process, field},
    rig::{self, DEADLINE, Plane},
    script::{Reply, Script},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
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

    fn issue(&self, name: &str, until: i32) -> (Certificate, KeyPair) {
        self.issue_for(name, 2020, until)
    }

    fn issue_for(&self, name: &str, from: i32, until: i32) -> (Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("signed"), key)
    }

    /// Writes a certificate for this machine and its key.
    fn write(&self, folder: &Path) -> TlsFiles {
        self.write_for(folder, 2020, 2099)
    }

    fn write_for(&self, folder: &Path, from: i32, until: i32) -> TlsFiles {
        let (certificate, key) = self.issue_for("127.0.0.1", from, until);
        let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        fs::write(&files.cert, certificate.pem()).expect("written");
        fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }

    /// A client that trusts this authority alone, on a connection of its own for each request.
    fn client(&self) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes()).expect("a certificate");
        let builder = reqwest::Client::builder().timeout(DEADLINE).pool_max_idle_per_host(0);
        builder.tls_certs_only([trusted]).build().expect("an HTTP client")
    }

    fn server(&self, name: &str, until: i32) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(name, until);
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
    fs::write(&ca_file, &ours.pem).expect("written");
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

/// A plane that speaks https on both sides.
async fn both_sides(ours: &Authority, folder: &Path) -> (Script, Plane) {
    let ca_file = folder.join("ca.pem");
    fs::write(&ca_file, &ours.pem).expect("written");
    let reply = Reply::ok("application/json", vec![ANSWER.into()]);
    let script = Script::start_tls(reply, ours.server("localhost", 2099)).await.expect("the backend starts");
    let url = format!("https://localhost:{}", script.addr.port());
    let mut row = rig::backend("one", &url, v1::Kind::Openai, 4, &["m"], &[Dialect::OpenaiChat]);
    row.ca_file = ca_file.display().to_string();
    let files = ours.write(folder);
    let plane = Plane::start(&rig::snapshot(vec![row]), |settings| {
        settings.tls = Some(files);
        settings.head_wait = Duration::from_millis(800);
    })
    .await;
    (script, plane)
}

async fn chat(client: &reqwest::Client, plane: &Plane) -> Result<String, reqwest::Error> {
    let body = json!({"model": "m", "messages": []});
    let response = client.post(format!("{}/v1/chat/completions", plane.url)).json(&body).send().await?;
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_11));
    response.text().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_served_by_https() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (script, plane) = both_sides(&ours, folder.path()).await;
    assert_eq!(chat(&ours.client(), &plane).await.expect("an answer"), ANSWER);
    assert_eq!(script.taken().len(), 1);
    assert!(chat(&theirs.client(), &plane).await.is_err(), "a client takes a certificate of a stranger");
    // One that speaks plain HTTP is told, one that says nothing is not waited for.
    let address = plane.url.trim_start_matches("https://");
    for (sent, told) in [("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "speaks https"), ("", "")] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        // A reset ends it as well.
        let _ = read.expect("it is closed in time");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(told) && (sent.is_empty() == answer.is_empty()), "{answer}");
    }
    assert!(script.taken().is_empty());
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (old, new) = (Authority::new(), Authority::new());
    let (_script, plane) = both_sides(&old, folder.path()).await;
    let (old_client, new_client) = (old.client(), new.client());
    fs::write(folder.path().join("key.pem"), "no key").expect("written");
    let mut asked = 0;
    let began = Instant::now();
    // The torn state lasts for longer than a look at the files takes.
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(chat(&old_client, &plane).await.expect("the old one serves"), ANSWER);
        asked += 1;
    }
    assert!(asked > 0);
    new.write(folder.path());
    let began = Instant::now();
    while chat(&new_client, &plane).await.is_err() {
        assert!(began.elapsed() < DEADLINE, "the new certificate is not taken up");
    }
    assert!(chat(&old_client, &plane).await.is_err());
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_cannot_be_used_are_named_at_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ours = Authority::new();
    let files = ours.write(folder.path());
    let other = folder.path().join("other");
    fs::create_dir(&other).expect("made");
    let others = ours.write(&other);
    let (none, secret) = (folder.path().join("none.pem"), folder.path().join("secret.pem"));
    fs::write(&secret, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n")
        .expect("written");
    for (what, cert, key, says) in [
        ("no certificate", &none, &files.key, "none.pem cannot be used"),
        ("no key", &files.cert, &none, "none.pem cannot be used"),
        ("a key as certificate", &files.key, &files.key, "key.pem cannot be used: it holds no certificate"),
        ("a certificate as key", &files.cert, &files.cert, "cert.pem cannot be used"),
        ("another's key", &files.cert, &others.key, "does not belong to the certificate"),
        ("a broken key", &files.cert, &secret, "secret.pem"),
    ] {
        let settings = Settings {
            listen: rig::any_port(),
            admin: rig::any_port(),
            tls: Some(TlsFiles { cert: cert.clone(), key: key.clone() }),
            snapshot: Some(none.clone()),
            state_dir: folder.path().to_path_buf(),
            ..Settings::default()
        };
        let error = app::start(settings).await.expect_err(what).to_string();
        assert!(error.contains(says) && !error.contains("c2Vjcm"), "{what}: {error}");
    }
}

/// One that every client refuses serves, as its successor may come any moment; but that it is refused is told.
#[test]
fn a_certificate_out_of_date_is_told_with_its_date() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shown = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let snapshot = folder.path().join("snapshot.json");
    fs::write(&snapshot, "{}").expect("written");
    let start = |(from, until)| {
        let files = Authority::new().write_for(folder.path(), from, until);
        let (snapshot, state) = (shown(&snapshot), shown(folder.path()));
        let (cert, key) = (shown(&files.cert), shown(&files.key));
        let files = ["--snapshot", &snapshot, "--state-dir", &state, "--tls-cert", &cert, "--tls-key", &key];
        let places = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let process = Process::start("llmb-data", &[&files[..], &places].concat(), &[]);
        let _ = process.line("its address", |line| line.contains("data plane serves"));
        let said = process.said();
        assert_eq!(process.terminate().code(), Some(0));
        said
    };
    for (dates, says) in [
        ((2020, 2021), "it expired at Fri, 01 Jan 2021 00:00:00 GMT"),
        ((2098, 2099), "it is not valid before Wed, 01 Jan 2098 00:00:00 GMT"),
    ] {
        let said = start(dates);
        let told = said.lines().find(|line| line.contains("clients will refuse the certificate"));
        assert!(told.is_some_and(|line| line.contains(says) && line.contains("cert.pem")), "{said}");
    }
    let said = start((2020, 2099));
    assert!(!said.contains("refuse the certificate"), "{said}");
}

#[test]
fn the_program_names_what_is_missing_and_serves_by_its_flags() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Authority::new().write(folder.path());
    let snapshot = folder.path().join("snapshot.json");
    fs::write(&snapshot, "{}").expect("written");
    let shown = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let (cert, key, snapshot) = (shown(&files.cert), shown(&files.key), shown(&snapshot));
    let state = shown(folder.path());
    let base = [
        "--snapshot",
        &snapshot,
        "--state-dir",
        &state,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let start = |more: &[&str]| Process::start("llmb-data", &[&base, more].concat(), &[]);
    let lacking = start(&["--tls-cert", &cert]);
    let _ = lacking.line("the missing flag", |line| line.contains("--tls-key"));
    let absent = start(&["--tls-cert", &cert, "--tls-key", "absent.pem"]);
    let _ =
        absent.line("the missing file", |line| line.starts_with("error: the key absent.pem cannot be used"));
    let serves = start(&["--tls-cert", &cert, "--tls-key", &key]);
    let line = serves.line("its address", |line| line.contains("data plane serves"));
    let mut stream = std::net::TcpStream::connect(field(&line, "listen")).expect("a connection");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let mut told = String::new();
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.read_to_string(&mut told).expect("an answer");
    assert!(told.contains("speaks https"), "{told}");
    assert_eq!(serves.terminate().code(), Some(0));
}
