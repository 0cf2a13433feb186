//! What the configuration says when it is wrong.

use fuseboard_sidecar::{Config, EXAMPLE};

#[test]
fn the_example_is_fine() {
    Config::parse(EXAMPLE, "example.toml").unwrap();
}

#[test]
fn each_mistake_is_named_with_its_place_and_what_to_do() {
    let upstream = "[[upstream]]\nservice = \"bank\"\naddresses = [\"127.0.0.1:1\"]\n";
    let head = "service = { name = \"shop\" }\n";
    let listener = "[[outbound]]\nlisten = \"127.0.0.1:15001\"\nto = \"bank\"\n";
    for (text, says) in [
        (format!("{head}{listener}"), "x.toml:4: outbound[0].to: no [[upstream]] has the service `bank`"),
        (format!("{head}{listener}{listener}{upstream}"), "x.toml:6: outbound[1].listen: 127.0.0.1:15001 is another"),
        (format!("{head}{listener}{upstream}retries = 3\n"), "x.toml:8: unknown field `retries`"),
        (format!("{head}{listener}{upstream}{upstream}"), "x.toml:9: upstream[1].service: `bank` is there already"),
        (format!("{head}{listener}{upstream}routes = [\"{{id}}\"]\n"), "x.toml:8: upstream[0].routes: `{id}`"),
        (format!("{head}limits = {{ workers = 0 }}\n{listener}{upstream}"), "x.toml:2: limits.workers: is 0; give"),
        (head.to_owned(), "x.toml:1: inbound: there is no listener; add"),
        (format!("{head}{listener}{}", upstream.replace(":1\"", "\"")), "addresses: `127.0.0.1` is no address"),
        (format!("{head}discovery = {{ }}\n{listener}{upstream}"), "x.toml:2: discovery: names no source; give `etcd`"),
        (
            format!(
                "{head}discovery = {{ dns = {{ name = \"a\" }}, etcd = {{ endpoints = [] }} }}\n{listener}{upstream}"
            ),
            "x.toml:2: discovery: names etcd and dns; give one",
        ),
        (
            format!("{head}discovery = {{ dns = {{ name = \"a\" }}, announce = \"b:1\" }}\n{listener}{upstream}"),
            "x.toml:2: discovery.announce: cannot be done in DNS",
        ),
        ("service = 1\n".to_owned(), "x.toml:1: "),
        ("service = {".to_owned(), "x.toml:1: "),
    ] {
        let error = Config::parse(&text, "x.toml").unwrap_err().to_string();
        assert!(error.contains(says), "{says} is not in\n{error}\nof\n{text}");
    }
}
