//! What is written down: tokens that are given and taken, and commands that were refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Refusal;
use fuseboard_api::identity::{MadeToken, NewToken, Role, TokenInfo};
use fuseboard_api::live::Touched;

use super::caller::EVERY;
use super::quota::{Quota, Rate};
use super::rows::{self, Row};
use super::token::Token;
use super::{Caller, Identity, Known};
use crate::control::refusal::{bad_request, conflict, internal, not_found, unavailable};
use crate::control::{Deny, Entry, audit_entry};
use crate::store::StoreError;

/// Tokens that may be good at the same time.
const TOKENS: usize = 5_000;
/// Services that one token may be for.
const SERVICES: usize = 200;
/// Longest name of a holder, in bytes.
const MAX_NAME: usize = 64;
/// Longest name of a service, in bytes; as the control stream takes them.
const MAX_SERVICE: usize = 512;
/// Longest reason, in bytes.
const MAX_REASON: usize = 2_000;
/// Refused commands of one caller that the audit has room for; the next entry says how many were left out.
const REFUSED: Rate = Rate { burst: 10, every: Duration::from_secs(300) };

/// What the audit heard of refused commands.
#[derive(Debug)]
pub(super) struct Refused {
    quota: Quota<String>,
    left_out: HashMap<String, u64>,
}

impl Default for Refused {
    fn default() -> Self {
        // One bucket a holder of a token, and one for all who have none.
        Self { quota: Quota::new(REFUSED, TOKENS + 1), left_out: HashMap::new() }
    }
}

impl Refused {
    /// Whether the next one may be written down, and how many were left out before it.
    fn next(&mut self, name: &str, now: Instant) -> Option<u64> {
        if self.quota.take(&name.to_owned(), now).is_ok() {
            return Some(self.left_out.remove(name).unwrap_or(0));
        }
        if self.left_out.contains_key(name) || self.left_out.len() <= TOKENS {
            *self.left_out.entry(name.to_owned()).or_default() += 1;
        }
        None
    }
}

impl Identity {
    /// Gives a token. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// `bad_request` when what is wanted makes no sense, `conflict` when there are too many tokens, else the store's.
    pub(crate) async fn create(&self, wanted: NewToken, actor: &str) -> Result<MadeToken, Refusal> {
        let wanted = checked(wanted)?;
        let now = UnixNanos::now();
        let good = self.list().iter().filter(|t| t.revoked.is_none() && t.expires.is_none_or(|at| at > now)).count();
        if good >= TOKENS {
            return Err(conflict(format!("there are {TOKENS} good tokens, the most there may be; revoke some")));
        }
        let (token, hash) = tokio::task::spawn_blocking(|| {
            let token = Token::random()?;
            let hash = token.hash()?;
            Ok::<_, super::token::Unfit>((token, hash))
        })
        .await
        .map_err(|e| internal(format!("no token could be made: {e}")))?
        .map_err(|e| internal(e.to_string()))?;
        let NewToken { name, role, services, ttl_secs, reason } = wanted;
        let expires = ttl_secs.map(|secs| now + Duration::from_secs(secs));
        let (id, created_by) = (token.id().to_owned(), actor.to_owned());
        let info = TokenInfo { id, name, role, services, expires, created_by, ..TokenInfo::default() };
        let mut row = Row { info, hash };
        let written = row.clone();
        let at = self.write(move |tx, at| rows::make(tx, at, &written, &reason).map(|()| at)).await?;
        row.info.created = at;
        let info = row.info.clone();
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).insert(info.id.clone(), Known::new(row));
        Ok(MadeToken { token: token.text(), info })
    }

    /// Takes a token away; from the answer on nobody gets in with it.
    ///
    /// # Errors
    /// `not_found` and `conflict` (it was revoked before), else the store's.
    pub(crate) async fn revoke(&self, id: &str, reason: &str, actor: &str) -> Result<TokenInfo, Refusal> {
        let reason = reasonable(reason)?;
        let known =
            self.find(id).ok_or_else(|| not_found(format!("there is no token {id}; `token list` names them")))?;
        let mut row = known.row.clone();
        if row.info.revoked.is_some() {
            return Err(conflict(format!("token {id} was revoked before")));
        }
        let (info, by) = (row.info.clone(), actor.to_owned());
        let at = self.write(move |tx, at| rows::revoke(tx, at, &info, &by, &reason).map(|()| at)).await?;
        (row.info.revoked, row.info.revoked_by) = (Some(at), Some(actor.to_owned()));
        let info = row.info.clone();
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).insert(info.id.clone(), Known::new(row));
        Ok(info)
    }

    /// All tokens, newest first.
    pub(crate) fn list(&self) -> Vec<TokenInfo> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<TokenInfo> = tokens.values().map(|known| known.info()).collect();
        all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// Writes down that somebody was refused what they wanted to do. Who knocks on and on fills no disk.
    pub(crate) async fn note_refused(&self, caller: Option<&Caller>, from: IpAddr, what: &str, why: &Refusal) {
        let name = caller.map_or("somebody unknown", Caller::name).to_owned();
        let left_out = self.refused.lock().unwrap_or_else(PoisonError::into_inner).next(&name, Instant::now());
        let Some(left_out) = left_out else { return };
        let entry = refused_entry(name, from, what, why, left_out);
        if let Err(e) = self.write(move |tx, at| audit_entry(tx, at, &entry)).await {
            tracing::warn!("a refused command is not in the audit: {e}");
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&rusqlite::Transaction<'_>, UnixNanos) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let written: Result<T, StoreError> = self.store.transact(&[Touched::Audit], |tx, at| Ok(f(tx, at)?)).await;
        written.map_err(|e| match e {
            e if e.may_pass() => unavailable(e.to_string()),
            e => Deny::Store(e).into(),
        })
    }
}

impl Known {
    fn info(&self) -> TokenInfo {
        let used = self.used.load(std::sync::atomic::Ordering::Relaxed);
        TokenInfo { last_used: (used > 0).then_some(UnixNanos(used)), ..self.row.info.clone() }
    }
}

fn refused_entry(name: String, from: IpAddr, what: &str, why: &Refusal, left_out: u64) -> Entry {
    let more = match left_out {
        0 => String::new(),
        n => format!("; {n} more like it since the entry before were left out"),
    };
    Entry {
        actor: name,
        action: "access.refused",
        target: what.to_owned(),
        reason: why.code.clone(),
        detail: format!("from {from}: {}{more}", why.message),
    }
}

fn checked(mut wanted: NewToken) -> Result<NewToken, Refusal> {
    let letter = |c: char| c.is_ascii_alphanumeric() || ".-_@".contains(c);
    let name = &wanted.name;
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(letter) || name == "collector" {
        return Err(bad_request(format!(
            "a token needs the name of its holder: 1 to {MAX_NAME} letters, digits or . _ - @, and not \"collector\""
        )));
    }
    wanted.services.sort();
    wanted.services.dedup();
    let services = &wanted.services;
    match wanted.role {
        Role::Agent if services.is_empty() => {
            return Err(bad_request("say for which services the agent may speak, or * for all of them"));
        }
        Role::Agent if services.len() > 1 && services.iter().any(|s| s == EVERY) => {
            return Err(bad_request("* stands for all services: name none beside it"));
        }
        Role::Agent if services.len() > SERVICES => {
            return Err(bad_request(format!("a token is for {SERVICES} services at most")));
        }
        Role::Agent => {}
        role if !services.is_empty() => {
            return Err(bad_request(format!("services are for agents; a token of the role {role} has none")));
        }
        _ => {}
    }
    if let Some(bad) = services.iter().find(|s| s.is_empty() || s.len() > MAX_SERVICE || s.contains(char::is_control)) {
        return Err(bad_request(format!("{bad:?} is no name of a service")));
    }
    if wanted.ttl_secs == Some(0) {
        return Err(bad_request("a token must be good for a while"));
    }
    wanted.reason = reasonable(&wanted.reason)?;
    Ok(wanted)
}

fn reasonable(reason: &str) -> Result<String, Refusal> {
    match reason.trim() {
        long if long.len() > MAX_REASON => Err(bad_request(format!("the reason has more than {MAX_REASON} bytes"))),
        reason => Ok(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, role: Role, services: &[&str]) -> NewToken {
        let services = services.iter().map(|s| (*s).to_owned()).collect();
        NewToken { name: name.into(), role, services, ttl_secs: Some(60), ..NewToken::default() }
    }

    #[test]
    fn a_token_says_whose_it_is_and_for_what() {
        for good in [
            wanted("ann@example.com", Role::Viewer, &[]),
            wanted("orders", Role::Agent, &["orders", "orders-worker"]),
            wanted("mesh", Role::Agent, &["*"]),
        ] {
            assert!(checked(good.clone()).is_ok(), "{good:?}");
        }
        for bad in [
            wanted("", Role::Viewer, &[]),
            wanted("collector", Role::Admin, &[]),
            wanted("agent orders/1", Role::Admin, &[]),
            wanted("ann", Role::Admin, &["orders"]),
            wanted("orders", Role::Agent, &[]),
            wanted("orders", Role::Agent, &["*", "orders"]),
            wanted("orders", Role::Agent, &["or\nders"]),
            NewToken { ttl_secs: Some(0), ..wanted("ann", Role::Viewer, &[]) },
        ] {
            assert_eq!(checked(bad.clone()).map_err(|e| e.code), Err("bad_request".into()), "{bad:?}");
        }
    }

    #[test]
    fn refusals_beyond_the_quota_are_counted_and_told_with_the_next() {
        let (mut refused, start) = (Refused::default(), Instant::now());
        for _ in 0..REFUSED.burst {
            assert_eq!(refused.next("ann", start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(refused.next("ann", start), None);
        }
        assert_eq!(refused.next("bob", start), Some(0));
        assert_eq!(refused.next("ann", start + REFUSED.every), Some(7));
    }
}
