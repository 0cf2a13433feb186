use super::*;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn parsed(path: &Path) -> Certificate {
    let chain = Pem::file(path).certificates().expect("certificates");
    Certificate::parse(&chain[0]).expect("a certificate")
}

#[test]
fn a_certificate_says_what_it_was_ordered_for_and_ends_with_its_ca() {
    let directory = tempfile::tempdir().expect("a directory");
    let pki = directory.path().join("pki");
    let (made, written) = Authority::init(&pki, "test ca", YEAR).expect("made");
    assert!(made.certificate().is_ca() && written.key.ends_with("ca.key"));
    let ca = Authority::open(&pki, None).expect("opened");
    let order = Order::new("collector").serving("collector.internal").serving("192.0.2.7").serving("::1");
    let server = parsed(&ca.issue(&order, &pki).expect("issued").certificate);
    assert_eq!(server.dns_names(), ["collector.internal"]);
    assert_eq!(server.addresses(), ["192.0.2.7".parse::<std::net::IpAddr>().expect("v4"), "::1".parse().expect("v6")]);
    assert!(server.serves() && !server.calls() && !server.is_ca() && server.service().is_none());
    let order = Order::new("payments").service("card payments").living(YEAR * 50);
    let agent = parsed(&ca.issue(&order, &pki).expect("issued").certificate);
    assert_eq!(agent.service().as_deref(), Some("card payments"));
    assert!(agent.calls() && !agent.serves());
    assert_eq!(agent.not_after(), made.certificate().not_after(), "no longer than its CA");
    assert_ne!(agent.serial(), server.serial());
    assert_eq!(agent.issuer(), Some("test ca"));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let (ca, _) = Authority::generate("test ca", YEAR).expect("made");
    let told = |order: &Order| ca.sign(order).expect_err("refused").to_string();
    assert!(told(&Order::new("x")).contains("--service"));
    assert!(told(&Order { dns: vec!["a b".to_owned()], ..Order::new("x") }).contains("`a b` is no DNS name"));
    assert!(told(&Order::new("x").service("")).contains("1 to 512"));
    assert!(told(&Order::new("x").service("s").living(Duration::ZERO)).contains("a minute at least"));
    for name in ["", "ca", "../x", ".x", "a/b", "a b"] {
        let told = ca.issue(&Order::new(name).service("s"), "/nowhere".as_ref()).expect_err("refused").to_string();
        assert!(told.contains("cannot be the name of files"), "{name}: {told}");
    }
}

#[test]
fn nothing_is_overwritten_but_by_renewal_which_keeps_the_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let pki = directory.path();
    let (ca, _) = Authority::init(pki, "test ca", YEAR).expect("made");
    let again = Authority::init(pki, "test ca", YEAR).expect_err("there");
    assert!(again.to_string().contains("ca.pem is there already"), "{again}");
    let order = Order::new("orders").service("orders").serving("orders.internal").living(DAY * 7);
    let written = ca.issue(&order, pki).expect("issued");
    let (old, key) = (parsed(&written.certificate), std::fs::read(&written.key).expect("a key"));
    let again = ca.issue(&order, pki).expect_err("there");
    assert!(again.to_string().contains("--renew"), "{again}");
    assert_eq!(std::fs::read(&written.key).expect("a key"), key);
    ca.renew("orders", None, pki).expect("renewed");
    let new = parsed(&written.certificate);
    assert_ne!((new.serial(), std::fs::read(&written.key).expect("a key")), (old.serial(), key));
    assert_eq!((new.service(), new.dns_names(), new.life()), (old.service(), old.dns_names(), DAY * 7));
    assert!(ca.renew("nobody", None, pki).is_err());
    let files = std::fs::read_dir(pki).expect("a directory").count();
    assert_eq!(files, 4, "nothing is left behind");
}

#[test]
fn the_key_may_be_elsewhere_but_must_be_the_ca_s_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let (pki, stick) = (directory.path().join("pki"), directory.path().join("stick.key"));
    let (_, written) = Authority::init(&pki, "test ca", YEAR).expect("made");
    std::fs::rename(&written.key, &stick).expect("moved");
    assert!(Authority::open(&pki, None).expect_err("gone").to_string().contains("ca.key"));
    let ca = Authority::open(&pki, Some(&stick)).expect("opened");
    let leaf = ca.issue(&Order::new("a").service("a"), &pki).expect("issued");
    let other = Authority::open(&pki, Some(&leaf.key)).expect_err("another's");
    assert!(matches!(other, PkiError::OtherKey { .. }), "{other}");
    std::fs::copy(&leaf.certificate, pki.join("ca.pem")).expect("copied");
    assert!(matches!(Authority::open(&pki, Some(&leaf.key)), Err(PkiError::NoCa(_))));
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let pki = directory.path().join("pki");
    let (ca, written) = Authority::init(&pki, "test ca", YEAR).expect("made");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let leaf = ca.issue(&Order::new("a").service("a"), &pki).expect("issued");
    assert_eq!((mode(&pki), mode(&written.key), mode(&leaf.key)), (0o700, 0o600, 0o600));
    ca.renew("a", None, &pki).expect("renewed");
    assert_eq!(mode(&leaf.key), 0o600);
}
