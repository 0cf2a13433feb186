//! Identity: who asks, and what they may do.
//!
//! People and agents show a token (`Authorization: Bearer fb_…`); an agent may show a certificate instead, which names its
//! services. What a role may do stands in one [table](table::may). Where nobody is
//! asked (a desktop's loopback, see [`Auth`]) everybody may everything, and says their own name.

mod books;
mod caller;
mod quota;
mod rows;
mod table;
mod token;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Refusal;
use fuseboard_api::identity::{Role, TokenInfo};
use fuseboard_tls::Peer;
use tokio::sync::Semaphore;
use tonic::Code;

use self::books::Refused;
pub(crate) use self::caller::Caller;
use self::caller::Who;
use self::quota::{Quota, Rate, neighbour};
use self::rows::Row;
pub(crate) use self::rows::{SCHEMA, date};
pub(crate) use self::table::{of_action, of_question};
use self::token::Token;
use crate::control::refusal::{internal, slow_down, unauthenticated};
use crate::store::{Store, StoreError};

/// Tokens that are checked the expensive way at the same time.
const CHECKS: usize = 2;
/// Checks that may wait for their turn.
const WAITING: usize = 64;
/// Wrong secrets that a neighbour may show for one token before it has to wait.
const WRONG: Rate = Rate { burst: 5, every: Duration::from_secs(10) };
/// Neighbours and tokens that are remembered for that.
const REMEMBERED: usize = 4_096;
/// How exactly the last use is noted.
const HOUR: Duration = Duration::from_secs(3_600);

/// Whether a collector asks who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// It does as soon as its file holds an admin's token that is good, or one of its addresses is not of the loopback.
    #[default]
    Auto,
    /// It does not. Only on loopback addresses.
    Open,
    /// It does.
    Required,
}

/// From where a request came: as the door wrote it down, or this machine where there was no door.
pub(crate) fn neighbour_of(extensions: &Extensions) -> IpAddr {
    Peer::of(extensions).map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.address().ip())
}

/// A refusal's code as gRPC has it.
pub(crate) fn rpc_code(refusal: &Refusal) -> Code {
    match refusal.code.as_str() {
        "unauthenticated" => Code::Unauthenticated,
        "forbidden" => Code::PermissionDenied,
        "slow_down" | "unavailable" => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// A token that was given, and whether its secret was seen already.
#[derive(Debug)]
struct Known {
    row: Row,
    who: Arc<Who>,
    /// The mark of the right secret, once it was shown: from then on a check costs a microsecond, whether right or wrong.
    right: OnceLock<blake3::Hash>,
    /// When its use was noted last.
    used: AtomicI64,
}

impl Known {
    fn new(row: Row) -> Arc<Self> {
        let used = AtomicI64::new(row.info.last_used.unwrap_or_default().0);
        Arc::new(Self { who: Arc::new(Who::of(&row.info)), right: OnceLock::new(), used, row })
    }

    /// Why it is not good any more.
    fn ended(&self, now: UnixNanos) -> Option<String> {
        let TokenInfo { id, name, revoked, expires, .. } = &self.row.info;
        if let Some(at) = revoked {
            return Some(format!("token {id} of {name} was revoked at {}; ask an admin for another", date(*at)));
        }
        let at = expires.filter(|at| *at <= now)?;
        Some(format!("token {id} of {name} expired at {}; ask an admin for another", date(at)))
    }
}

/// Who is known, and the means to check.
#[derive(Debug)]
pub(crate) struct Identity {
    store: Store,
    required: bool,
    tokens: RwLock<HashMap<String, Arc<Known>>>,
    /// Of this run alone: marks of secrets mean nothing to anybody else.
    key: [u8; 32],
    checks: Arc<Semaphore>,
    waiting: Semaphore,
    wrong: Mutex<Quota<(IpAddr, String)>>,
    refused: Mutex<Refused>,
}

impl Identity {
    /// Reads who is known. `remote` says that somebody beyond this machine may come.
    ///
    /// # Errors
    /// The store's, or that the system has no randomness.
    pub(crate) async fn load(store: Store, auth: Auth, remote: bool) -> Result<Arc<Self>, StoreError> {
        let rows = store.read(|conn| -> Result<_, StoreError> { Ok(rows::load(conn)?) }).await?;
        let key = token::key().map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let now = UnixNanos::now();
        let good = |row: &Row| row.info.revoked.is_none() && row.info.expires.is_none_or(|at| at > now);
        let admin = rows.iter().any(|row| row.info.role == Role::Admin && good(row));
        let required = match auth {
            Auth::Open => false,
            Auth::Required => true,
            Auth::Auto => admin || remote,
        };
        if required && !admin {
            tracing::warn!(
                "tokens are asked for, and no admin has one: stop this collector and make one with \
                 `fuseboard-collector token create --role admin --name YOU --data {}`",
                store.path().display()
            );
        }
        Ok(Arc::new(Self {
            store,
            required,
            tokens: RwLock::new(rows.into_iter().map(|row| (row.info.id.clone(), Known::new(row))).collect()),
            key,
            checks: Arc::new(Semaphore::new(CHECKS)),
            waiting: Semaphore::new(WAITING),
            wrong: Mutex::new(Quota::new(WRONG, REMEMBERED)),
            refused: Mutex::default(),
        }))
    }

    /// Whether callers are asked who they are.
    pub(crate) fn required(&self) -> bool {
        self.required
    }

    /// Says who asks. What they may do is asked of the caller.
    ///
    /// # Errors
    /// `unauthenticated`: what is missing or wrong, and what to do; `slow_down` for who was wrong too often.
    pub(crate) async fn admit(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, Refusal> {
        let shown = bearer(headers)?;
        let token = shown.and_then(Token::read);
        let known = token.as_ref().and_then(|token| self.find(token.id()));
        if let (None, Some(agent)) = (shown, certified(extensions)) {
            return Ok(agent);
        }
        match (token, known) {
            (Some(token), Some(known)) => self.check(token, known, neighbour_of(extensions)).await,
            _ if !self.required => Ok(Caller::Anybody),
            (None, _) if shown.is_none() => Err(unauthenticated(
                "this collector asks who you are: send a token as `Authorization: Bearer fb_…` (fuseboard: --token-file FILE); an admin makes one with `fuseboard ctl token create`",
            )),
            (None, _) => Err(unauthenticated("what was sent is no token of Fuseboard: those look like fb_ID_SECRET")),
            (Some(token), None) => Err(unauthenticated(format!("token {} is not known to this collector", token.id()))),
        }
    }

    fn find(&self, id: &str) -> Option<Arc<Known>> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    async fn check(&self, token: Token, known: Arc<Known>, from: IpAddr) -> Result<Caller, Refusal> {
        let now = UnixNanos::now();
        if let Some(why) = known.ended(now) {
            return Err(unauthenticated(why));
        }
        let mark = token.mark(&self.key);
        let right = match known.right.get() {
            Some(right) => *right == mark,
            None => self.check_slowly(token, &known, mark, from).await?,
        };
        if !right {
            let id = &known.row.info.id;
            return Err(unauthenticated(format!("this is not the secret of token {id}: is the file cut off?")));
        }
        self.note_use(&known, now);
        Ok(Caller::Known(known.who.clone()))
    }

    /// The first time that a token is shown, and every time until it was the right one.
    async fn check_slowly(
        &self,
        token: Token,
        known: &Arc<Known>,
        mark: blake3::Hash,
        from: IpAddr,
    ) -> Result<bool, Refusal> {
        let place = (neighbour(from), token.id().to_owned());
        let wrong = || self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong().take(&place, Instant::now()).map_err(|wait| {
            let secs = wait.as_secs().max(1);
            slow_down(format!("too many wrong secrets for token {} came from {from}; try again in {secs} s", place.1))
        })?;
        let crowded = || slow_down("too many tokens are being checked; try again in a moment");
        let queued = self.waiting.try_acquire().map_err(|_| crowded())?;
        let turn = self.checks.clone().acquire_owned().await.map_err(|_| crowded())?;
        drop(queued);
        let right = match known.right.get() {
            // Somebody else's request with the same token was first.
            Some(right) => *right == mark,
            None => {
                let hash = known.row.hash.clone();
                let checked = tokio::task::spawn_blocking(move || {
                    // Held until the work is done, also when nobody waits for it any more.
                    let _turn = turn;
                    token.fits(&hash)
                });
                let failed = |why: String| internal(format!("the token could not be checked: {why}"));
                checked.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?
            }
        };
        if right {
            // Lost when another was first: it is the same mark.
            let _ = known.right.set(mark);
            wrong().give_back(&place);
        }
        Ok(right)
    }

    /// Notes that a token is in use, once an hour.
    fn note_use(&self, known: &Arc<Known>, now: UnixNanos) {
        let hour = now.floor(HOUR);
        let before = known.used.fetch_max(hour.0, Ordering::Relaxed);
        if before >= hour.0 {
            return;
        }
        let (store, id) = (self.store.clone(), known.row.info.id.clone());
        tokio::spawn(async move {
            let noted: Result<(), StoreError> = store.transact(&[], move |tx, _| Ok(rows::used(tx, &id, hour)?)).await;
            if let Err(e) = noted {
                tracing::debug!("the use of a token is not noted: {e}");
            }
        });
    }
}

/// Who showed a certificate that a CA of the collector's signed: an agent, for the services that it names.
fn certified(extensions: &Extensions) -> Option<Caller> {
    let certificate = Peer::of(extensions)?.certificate()?;
    Some(Caller::Known(Arc::new(Who::certified(certificate))))
}

/// What stands after `Bearer`.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(first), None) = (all.next(), all.next()) else {
        return match headers.contains_key(AUTHORIZATION) {
            true => Err(unauthenticated("there is more than one Authorization header; send one")),
            false => Ok(None),
        };
    };
    let text = first.to_str().unwrap_or_default();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(Some(if scheme.eq_ignore_ascii_case("bearer") { rest.trim() } else { "" }))
}
