//! Who one is, and tokens.

use anyhow::{Context, Result};
use fuseboard_api::UnixNanos;
use fuseboard_api::identity::{MadeToken, RevokeToken, TokenInfo, Whoami};
use fuseboard_collector::tokens::{CreateArgs, TokenVerb, line as shown};

use super::{Session, json, line};

const TOKENS: &str = "/v1/tokens";

/// `ctl whoami`.
pub(super) fn whoami(session: &Session) -> Result<()> {
    let who: Whoami = session.client.get("/v1/whoami")?;
    if session.json {
        return json(&who);
    }
    if who.asked {
        line(&format!("{}, {}", who.name, who.role))?;
    } else {
        line("this collector asks nobody who they are: everybody who reaches it may do everything")?;
    }
    if !who.services.is_empty() {
        line(&format!("speaks for {}", who.services.join(", ")))?;
    }
    let may: Vec<&str> = who.may.iter().map(|deed| deed.words()).collect();
    line(&format!("may {}", may.join("; ")))
}

/// `ctl token …`.
pub(super) fn run(session: &Session, verb: &TokenVerb) -> Result<()> {
    match verb {
        TokenVerb::Create(wanted) => create(session, wanted),
        TokenVerb::List => list(session),
        TokenVerb::Revoke { id, reason } => revoke(session, id, reason),
    }
}

fn create(session: &Session, wanted: &CreateArgs) -> Result<()> {
    let sink = wanted.sink().context("the token has nowhere to go")?;
    match session.client.post::<MadeToken>(TOKENS, &wanted.wanted()) {
        Ok(made) => Ok(sink.keep(&made)?),
        Err(error) => {
            sink.discard();
            Err(error)
        }
    }
}

fn list(session: &Session) -> Result<()> {
    let all: Vec<TokenInfo> = session.client.get(TOKENS)?;
    if session.json {
        return json(&all);
    }
    all.iter().try_for_each(|info| line(&shown(info, UnixNanos::now())))
}

fn revoke(session: &Session, id: &str, reason: &str) -> Result<()> {
    let wanted = RevokeToken { reason: reason.to_owned() };
    let info: TokenInfo = session.client.post(&format!("{TOKENS}/{id}/revoke"), &wanted)?;
    if session.json {
        return json(&info);
    }
    line(&format!("token {} of {} is revoked", info.id, info.name))
}
