//! What serde cannot know: names that must exist, addresses that must differ, numbers that must make sense.

use std::collections::HashSet;

use super::place::Step::{self, At, Key};
use super::{Config, Discovery, Inbound, Upstream};
use crate::route::Templates;
use crate::wire::Version;

/// Something that cannot work.
pub(super) struct Finding {
    pub(super) path: Vec<Step>,
    pub(super) what: String,
}

impl Finding {
    /// The field as people write it: `upstream[1].addresses`.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        for step in &self.path {
            match step {
                Key(key) if name.is_empty() => name.push_str(key),
                Key(key) => name.extend([".", key]),
                At(at) => name.push_str(&format!("[{at}]")),
            }
        }
        name
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, path: &[Step], what: impl Into<String>) {
        self.0.push(Finding { path: path.to_vec(), what: what.into() });
    }

    fn unless(&mut self, fine: bool, path: &[Step], what: impl Into<String>) {
        if !fine {
            self.add(path, what);
        }
    }
}

/// All that is wrong.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut found = Findings::default();
    let name = &config.service.name;
    found.unless(!name.trim().is_empty(), &[Key("service"), Key("name")], "is empty; give the service's name");
    let nothing = config.inbound.is_empty() && config.outbound.is_empty();
    found.unless(!nothing, &[Key("inbound")], "there is no listener; add an [[inbound]] or an [[outbound]]");
    limits(config, &mut found);
    if let Some(said) = &config.discovery {
        discovery(said, &mut found);
    }
    listeners(config, &mut found);
    for (at, inbound) in config.inbound.iter().enumerate() {
        check_inbound(at, inbound, &mut found);
    }
    let mut names = HashSet::new();
    for (at, upstream) in config.upstream.iter().enumerate() {
        let twice = !names.insert(&*upstream.service);
        let what = format!("`{}` is there already; list all its instances in one [[upstream]]", upstream.service);
        found.unless(!twice, &[Key("upstream"), At(at), Key("service")], what);
        check_upstream(at, upstream, config.discovery.is_some(), &mut found);
    }
    for (at, outbound) in config.outbound.iter().enumerate() {
        let path = [Key("outbound"), At(at), Key("to")];
        match &outbound.to {
            Some(to) if !names.contains(&**to) => {
                let known: Vec<_> = config.upstream.iter().map(|u| format!("`{}`", u.service)).collect();
                let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
                found
                    .add(&path, format!("no [[upstream]] has the service `{to}` ({known}); add one, or mend the name"));
            }
            None if names.is_empty() => {
                found.add(&path[..2], "there is no [[upstream]] that requests could go to; add one");
            }
            _ => {}
        }
    }
    found.0
}

fn discovery(said: &Discovery, found: &mut Findings) {
    match said.given().as_slice() {
        [] => found.add(&[Key("discovery")], "names no source; give `etcd`, `consul` or `dns`"),
        [_] => {}
        several => found.add(&[Key("discovery")], format!("names {}; give one of them", several.join(" and "))),
    }
    let fine = said.dns.is_none() || said.announce.is_none();
    let what = "cannot be done in DNS: whoever runs the instances names them there; leave it out";
    found.unless(fine, &[Key("discovery"), Key("announce")], what);
}

fn limits(config: &Config, found: &mut Findings) {
    let limits = &config.limits;
    let mut between = |name: &'static str, value: u64, least: u64, most: u64| {
        let fine = (least..=most).contains(&value);
        found.unless(fine, &[Key("limits"), Key(name)], format!("is {value}; give a number from {least} to {most}"));
    };
    between("workers", limits.workers as u64, 1, 64);
    between("connections", limits.connections as u64, 1, 1_000_000);
    between("streams", limits.streams.into(), 1, 100_000);
    between("header_bytes", limits.header_bytes as u64, 8192, 1024 * 1024);
    between("header_read_ms", limits.header_read_ms, 100, 3_600_000);
    between("idle_ms", limits.idle_ms, 100, 86_400_000);
    between("drain_ms", limits.drain_ms, 0, 600_000);
}

fn listeners(config: &Config, found: &mut Findings) {
    let mut taken = HashSet::new();
    let inbound = config.inbound.iter().enumerate().map(|(at, i)| (vec![Key("inbound"), At(at)], i.listen));
    let outbound = config.outbound.iter().enumerate().map(|(at, o)| (vec![Key("outbound"), At(at)], o.listen));
    let admin = config.admin.listen.map(|listen| (vec![Key("admin")], listen));
    for (mut path, listen) in inbound.chain(outbound).chain(admin) {
        path.push(Key("listen"));
        // Free ports are always different ones.
        let fine = listen.port() == 0 || taken.insert(listen);
        found.unless(fine, &path, format!("{listen} is another listener's already; choose another port"));
    }
}

fn check_inbound(at: usize, inbound: &Inbound, found: &mut Findings) {
    let path = |field| [Key("inbound"), At(at), Key(field)];
    if let Err(what) = address(&inbound.to) {
        found.add(&path("to"), what);
    } else if inbound.listen.port() != 0 && inbound.to == inbound.listen.to_string() {
        found.add(&path("to"), "is the listener itself; give the port on which the service answers");
    }
    if let Err(what) = Templates::new(&inbound.routes) {
        found.add(&path("routes"), what);
    }
    let fine = inbound.max_requests != Some(0);
    found.unless(fine, &path("max_requests"), "is 0, so that every request is refused; give more, or leave it out");
}

fn check_upstream(at: usize, upstream: &Upstream, discovery: bool, found: &mut Findings) {
    let path = |field| [Key("upstream"), At(at), Key(field)];
    let fine = !upstream.service.trim().is_empty();
    found.unless(fine, &path("service"), "is empty; give the name by which policies know it");
    let fine = discovery || !upstream.addresses.is_empty();
    found.unless(fine, &path("addresses"), "is empty; give at least one \"host:port\", or a [discovery]");
    for text in &upstream.addresses {
        if let Err(what) = address(text) {
            found.add(&path("addresses"), what);
        }
    }
    let fine = upstream.tls.is_none() || upstream.version == Version::Same;
    found.unless(fine, &path("version"), "says nothing with TLS, where the handshake decides; leave it out");
    for prefix in upstream.paths.iter().filter(|p| !p.starts_with('/')) {
        found.add(&path("paths"), format!("`{prefix}` does not begin with a slash"));
    }
    if let Err(what) = Templates::new(&upstream.routes) {
        found.add(&path("routes"), what);
    }
    let fine = (1..=100_000).contains(&upstream.connections);
    found.unless(fine, &path("connections"), "give a number from 1 to 100000");
    let fine = (1..=600_000).contains(&upstream.connect_ms);
    found.unless(fine, &path("connect_ms"), "give a number from 1 to 600000");
}

/// `host:port`.
fn address(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("`{text}` is no address ({why}); write it as \"host:port\""));
    match text.parse::<http::uri::Authority>() {
        _ if text.contains("://") => wrong("there is a scheme in it"),
        Err(error) => wrong(&error.to_string()),
        Ok(authority) if authority.as_str().contains('@') => wrong("there is a user in it"),
        Ok(authority) if authority.port_u16().is_none_or(|port| port == 0) => wrong("it has no port"),
        Ok(_) => Ok(()),
    }
}
