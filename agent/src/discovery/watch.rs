//! What is known of a service's instances, how sources tell it, and how clients follow it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use super::Instance;

/// Most instances of a service that are looked at.
const MOST: usize = 4096;
/// How long an empty list must stand after an outage before it is believed.
const DOUBT: Duration = Duration::from_secs(10);

/// What is known of a service's instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The last list known, by address.
    pub instances: Arc<[Instance]>,
    /// Whether the source ever answered. Until then the list is empty because nothing is known.
    pub answered: bool,
    /// Since when the source does not answer; `None` while it does.
    pub stale: Option<Stale>,
}

/// Why a list may be out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// Since when.
    pub since: SystemTime,
    /// What happened last.
    pub error: Arc<str>,
}

/// Follows a service. As a stream it gives what is known now, then each change; a slow reader misses those in between. Dropped, it
/// ends the work behind it.
pub struct Watch {
    now: watch::Receiver<Snapshot>,
    changes: WatchStream<Snapshot>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("now", &*self.now.borrow()).finish_non_exhaustive()
    }
}

impl Watch {
    /// Starts the work that tells a service's instances; it is dropped when nobody listens any more.
    pub fn start<F>(work: impl FnOnce(Teller) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tell = Teller { tx: watch::Sender::new(Snapshot::default()) };
        let now = tell.tx.subscribe();
        let (gone, work) = (tell.tx.clone(), work(tell));
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = gone.closed() => {}
            }
        });
        Self { changes: WatchStream::new(now.clone()), now }
    }

    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Snapshot {
        self.now.borrow().clone()
    }
}

impl Stream for Watch {
    type Item = Snapshot;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Snapshot>> {
        Pin::new(&mut self.changes).poll_next(cx)
    }
}

/// A source's end of a [`Watch`].
#[derive(Debug, Clone)]
pub struct Teller {
    tx: watch::Sender<Snapshot>,
}

impl Teller {
    /// The source said who is there. Instances without a usable address are left out, of several at one address the one with
    /// the lowest id counts.
    pub fn list(&self, mut instances: Vec<Instance>) {
        instances.retain(|instance| instance.host_and_port().is_some());
        instances.sort_by(|a, b| (&a.address, &a.id).cmp(&(&b.address, &b.id)));
        instances.dedup_by(|later, first| later.address == first.address);
        instances.truncate(MOST);
        let mut doubted = false;
        self.tx.send_if_modified(|known| {
            doubted = instances.is_empty() && known.stale.is_some() && !known.instances.is_empty();
            if doubted {
                return known.doubt();
            }
            let fresh = Snapshot { instances: instances.into(), answered: true, stale: None };
            let changed = *known != fresh;
            *known = fresh;
            changed
        });
        if doubted {
            self.believe_later();
        }
    }

    /// The source did not answer. What is known stays.
    pub fn failed(&self, error: impl fmt::Display) {
        let error = error.to_string();
        self.tx.send_if_modified(|known| {
            let since = known.stale.as_ref().map_or_else(SystemTime::now, |stale| stale.since);
            let same = known.stale.as_ref().is_some_and(|stale| *stale.error == *error);
            known.stale = Some(Stale { since, error: error.into() });
            !same
        });
    }

    /// Whether nobody listens any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.tx.is_closed()
    }

    /// Takes the empty list as true when nothing else was said meanwhile.
    fn believe_later(&self) {
        let (tx, doubted) = (self.tx.clone(), self.tx.borrow().clone());
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(DOUBT) => {}
                () = tx.closed() => return,
            }
            tx.send_if_modified(|known| {
                let still = *known == doubted;
                if still {
                    *known = Snapshot { answered: true, ..Snapshot::default() };
                }
                still
            });
        });
    }
}

impl Snapshot {
    /// Notes that the list came back empty. Whether that is news.
    fn doubt(&mut self) -> bool {
        const EMPTY: &str = "the source came back without any instance; what was known is kept for ten seconds";
        let Some(stale) = &mut self.stale else { return false };
        let news = &*stale.error != EMPTY;
        stale.error = EMPTY.into();
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use tokio::sync::mpsc;

    fn at(addresses: &[&str]) -> Vec<Instance> {
        addresses.iter().map(|address| Instance::at(address).unwrap()).collect()
    }

    /// A watch, and what a test makes its source say.
    fn source() -> (Watch, mpsc::Sender<Result<Vec<Instance>, &'static str>>) {
        let (say, mut said) = mpsc::channel(8);
        let watch = Watch::start(|tell| async move {
            while let Some(word) = said.recv().await {
                match word {
                    Ok(list) => tell.list(list),
                    Err(error) => tell.failed(error),
                }
            }
            std::future::pending().await
        });
        (watch, say)
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_keeps_the_last_list_and_says_since_when() {
        let (mut watch, say) = source();
        assert!(!watch.next().await.unwrap().answered);
        say.send(Ok(at(&["b:2", "a:1", "a:1"]))).await.unwrap();
        let first = watch.next().await.unwrap();
        assert_eq!(first.instances.iter().map(|i| &*i.address).collect::<Vec<_>>(), ["a:1", "b:2"]);
        say.send(Err("gone")).await.unwrap();
        let stale = watch.next().await.unwrap();
        assert_eq!(stale.instances, first.instances);
        let since = stale.stale.clone().unwrap();
        say.send(Err("still gone")).await.unwrap();
        let later = watch.next().await.unwrap().stale.unwrap();
        assert_eq!((later.since, &*later.error), (since.since, "still gone"));
        say.send(Ok(at(&["a:1", "b:2"]))).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), first);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_list_is_believed_at_once_but_after_an_outage_only_when_it_stands() {
        let (mut watch, say) = source();
        watch.next().await.unwrap();
        say.send(Ok(at(&["a:1"]))).await.unwrap();
        watch.next().await.unwrap();
        say.send(Ok(Vec::new())).await.unwrap();
        let empty = watch.next().await.unwrap();
        assert!(empty.instances.is_empty() && empty.answered && empty.stale.is_none());

        say.send(Ok(at(&["a:1"]))).await.unwrap();
        watch.next().await.unwrap();
        say.send(Err("gone")).await.unwrap();
        watch.next().await.unwrap();
        say.send(Ok(Vec::new())).await.unwrap();
        let doubted = watch.next().await.unwrap();
        assert!(!doubted.instances.is_empty() && doubted.stale.is_some());
        let begun = tokio::time::Instant::now();
        let empty = watch.next().await.unwrap();
        assert!(empty.instances.is_empty() && empty.stale.is_none());
        assert_eq!(begun.elapsed(), DOUBT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_comes_back_ends_the_doubt() {
        let (mut watch, say) = source();
        say.send(Ok(at(&["a:1"]))).await.unwrap();
        say.send(Err("gone")).await.unwrap();
        say.send(Ok(Vec::new())).await.unwrap();
        say.send(Ok(at(&["b:2"]))).await.unwrap();
        while watch.next().await.unwrap().instances.first().is_none_or(|i| i.address != "b:2") {}
        tokio::time::sleep(DOUBT * 2).await;
        assert_eq!(watch.now().instances.len(), 1);
    }

    #[tokio::test]
    async fn the_work_ends_when_nobody_listens() {
        let (alive, mut over) = mpsc::channel::<()>(1);
        let watch = Watch::start(|_| async move {
            let _alive = alive;
            std::future::pending().await
        });
        drop(watch);
        assert_eq!(over.recv().await, None);
    }
}
