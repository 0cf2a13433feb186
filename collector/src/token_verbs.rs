//! `fuseboard-collector token`: tokens in the file of a collector that does not run.

use std::io::Write as _;
use std::path::Path;

use fuseboard_api::UnixNanos;
use fuseboard_collector::tokens::{TokenVerb, Tokens, line};

/// For `--help`.
pub(super) const HELP: &str = "\
The collector must not run: it alone may have its file. While it runs, `fuseboard ctl token` does the same as an admin.

Example: the first admin, then the others
  fuseboard-collector token create --role admin --name ann --out ann.token
  fuseboard-collector --auth required
  fuseboard ctl --token-file ann.token token create --role viewer --name bob --out bob.token
  fuseboard ctl --token-file ann.token token create --role agent --name orders --service orders --out orders.token";

/// Does it.
pub(super) async fn run(verb: TokenVerb, file: &Path, json: bool) -> anyhow::Result<()> {
    let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_else(|_| "somebody".to_owned());
    let actor = format!("{user} at the file");
    let sink = match &verb {
        TokenVerb::Create(wanted) => Some(wanted.sink()?),
        _ => None,
    };
    let tokens = match Tokens::open(file).await {
        Ok(tokens) => tokens,
        Err(e) => {
            sink.into_iter().for_each(fuseboard_collector::tokens::Sink::discard);
            return Err(anyhow::Error::from(e).context(
                "tokens are kept in the collector's file; while a collector has it, use `fuseboard ctl token`",
            ));
        }
    };
    let done = obey(&tokens, verb, sink, &actor, json).await;
    tokens.close().await;
    done
}

async fn obey(
    tokens: &Tokens,
    verb: TokenVerb,
    sink: Option<fuseboard_collector::tokens::Sink>,
    actor: &str,
    json: bool,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match (verb, sink) {
        (TokenVerb::Create(wanted), Some(sink)) => match tokens.create(wanted.wanted(), actor).await {
            Ok(made) => sink.keep(&made)?,
            Err(e) => {
                sink.discard();
                return Err(e.into());
            }
        },
        (TokenVerb::Create(_), None) => {}
        (TokenVerb::List, _) if json => writeln!(out, "{}", serde_json::to_string(&tokens.list())?)?,
        (TokenVerb::List, _) => {
            for info in tokens.list() {
                writeln!(out, "{}", line(&info, UnixNanos::now()))?;
            }
        }
        (TokenVerb::Revoke { id, reason }, _) => {
            let info = tokens.revoke(&id, &reason, actor).await?;
            writeln!(out, "token {id} of {} is revoked", info.name)?;
        }
    }
    Ok(())
}
