//! TLS between two sidecars: plain on the side of each service, mutual between the hosts.

use std::path::Path;

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::rig::{serve, sidecar, soon};

/// A CA, and a certificate for `bank` that it signed: `ca.pem`, `own.pem`, `own-key.pem`.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test ca");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["bank".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(folder.join("own.pem"), own.pem()).unwrap();
    std::fs::write(folder.join("own-key.pem"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn services_that_know_no_tls_speak_over_mutual_tls() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let pem = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ca, own, key) = (pem("ca.pem"), pem("own.pem"), pem("own-key.pem"));
    let bank = serve(Router::new().route("/balance", get(|| async { "12 coins" }))).await;
    let theirs = sidecar(
        &format!(
            "[[inbound]]\nlisten = \"127.0.0.1:0\"\nto = \"{bank}\"\n\
             tls = {{ certificate = {own:?}, key = {key:?}, clients = {ca:?} }}\n"
        ),
        "",
    )
    .await;
    let at = theirs.sidecar.inbound()[0];
    let ours = |tls: &str| {
        format!(
            "[[outbound]]\nlisten = \"127.0.0.1:0\"\nto = \"bank\"\n\n[[upstream]]\nservice = \"bank\"\n\
             addresses = [\"{at}\"]\ntls = {tls}\n"
        )
    };
    let known = format!("{{ roots = {ca:?}, certificate = {own:?}, key = {key:?}, server_name = \"bank\" }}");
    let nameless = format!("{{ roots = {ca:?}, server_name = \"bank\" }}");
    let elsewhere = format!("{{ roots = {ca:?}, certificate = {own:?}, key = {key:?}, server_name = \"till\" }}");
    // Who shows nothing learns it only after the handshake (TLS 1.3): by then the request may be on its way.
    for (tls, statuses) in [(&known, 200..=200), (&nameless, 502..=503), (&elsewhere, 503..=503)] {
        let beside = sidecar(&ours(tls), "").await;
        let answer = soon(reqwest::get(beside.outbound("/balance"))).await.unwrap();
        let status = answer.status().as_u16();
        assert!(statuses.contains(&status), "{status}: {tls}");
        let text = answer.text().await.unwrap();
        match status {
            200 => assert_eq!(text, "12 coins"),
            _ => assert!(text.contains("bank"), "names who cannot be reached: {text}"),
        }
        soon(beside.end()).await;
    }
    soon(theirs.end()).await;
}
