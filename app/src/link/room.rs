//! The thread that talks to a collector.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Answered;
use fuseboard_api::command::{Command, Receipt};
use fuseboard_api::identity::Whoami;
use fuseboard_api::live::LiveEvent;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::bell::Bell;
use super::http::{Collector, Trouble};
use super::standing::Desk;
use super::{Delivery, Door, Inbox, Source};
use crate::model::{Connection, SlotId, Want};

/// Commands that wait to be sent at most; a person gives them one by one.
const ORDERS: usize = 32;
/// Events that wait at most; the collector joins what comes faster, and so does the desk.
const EVENTS: usize = 16;
/// The longest wait before the collector is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A thing to do once.
#[derive(Debug)]
enum Order {
    Act(u64, Command),
    Download(u64, PathBuf),
}

/// What waits for the window: one answer a slot, the newest; the rest is as much as a person asked for.
#[derive(Default)]
struct Waiting {
    answers: BTreeMap<SlotId, Delivery>,
    rest: Inbox,
}

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Shared {
    /// Puts something down, to be found when the window wakes.
    fn put(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A collector behind a thread of its own. Dropping it ends the thread.
pub(crate) struct Link {
    wants: watch::Sender<Vec<Want>>,
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Starts the thread; `wake` is called when something has come: at once when a person waits for it, else ten times a
    /// second at most.
    ///
    /// # Errors
    /// When no thread or no runtime can be had.
    pub(crate) fn open(source: Source, wake: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let (wants, wanted) = watch::channel(Vec::new());
        let (orders, ordered) = mpsc::channel(ORDERS);
        let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Box::new(wake) });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .thread_name("link-blocking")
            .build()?;
        let room = Arc::clone(&shared);
        std::thread::Builder::new().name("link".to_owned()).spawn(move || {
            match Collector::new(&source) {
                Ok(collector) => runtime.block_on(Room::new(collector, room, wanted, ordered).run()),
                Err(why) => {
                    room.put(|w| w.rest.connection = Some(Connection::Lost { why, tries: 1 }));
                    (room.wake)();
                }
            }
            runtime.shutdown_background();
        })?;
        Ok(Self { wants, orders, shared })
    }

    fn order(&self, order: Order) -> Result<(), String> {
        self.orders.try_send(order).map_err(|_| {
            "too many commands wait for the collector: this one was not sent, try again in a moment".to_owned()
        })
    }
}

impl Door for Link {
    fn want(&mut self, wants: Vec<Want>) {
        self.wants.send_replace(wants);
    }

    fn act(&mut self, number: u64, command: Command) -> Result<(), String> {
        self.order(Order::Act(number, command))
    }

    fn download(&mut self, incident: u64, to: PathBuf) -> Result<(), String> {
        self.order(Order::Download(incident, to))
    }

    fn take(&mut self) -> Inbox {
        let waiting = std::mem::take(&mut *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        Inbox { answers: waiting.answers.into_values().collect(), ..waiting.rest }
    }
}

/// A door behind which there is nobody.
#[derive(Debug)]
pub(crate) struct NoLink {
    why: Option<String>,
}

impl NoLink {
    /// Says `why`.
    pub(crate) fn new(why: String) -> Self {
        Self { why: Some(why) }
    }
}

impl Door for NoLink {
    fn want(&mut self, _wants: Vec<Want>) {}

    fn act(&mut self, _number: u64, _command: Command) -> Result<(), String> {
        Err("there is no connection: the command was not sent".to_owned())
    }

    fn download(&mut self, _incident: u64, _to: PathBuf) -> Result<(), String> {
        Err("there is no connection".to_owned())
    }

    fn take(&mut self) -> Inbox {
        let connection = self.why.take().map(|why| Connection::Lost { why, tries: 1 });
        Inbox { connection, ..Inbox::default() }
    }
}

/// What a task of the room ended with.
enum Done {
    Asked(SlotId, u64, Duration, Result<Answered, String>),
    Acted(u64, Result<Receipt, String>),
    Downloaded(Result<String, String>),
    Known(Result<Whoami, Trouble>),
}

/// What the listening task tells.
enum Told {
    Up,
    Event(LiveEvent),
    Down(Trouble, u32),
}

struct Room {
    collector: Collector,
    shared: Arc<Shared>,
    wanted: watch::Receiver<Vec<Want>>,
    ordered: mpsc::Receiver<Order>,
    desk: Desk,
    bell: Bell,
    tasks: JoinSet<Done>,
}

impl Room {
    fn new(
        collector: Collector,
        shared: Arc<Shared>,
        wanted: watch::Receiver<Vec<Want>>,
        ordered: mpsc::Receiver<Order>,
    ) -> Self {
        Self { collector, shared, wanted, ordered, desk: Desk::default(), bell: Bell::default(), tasks: JoinSet::new() }
    }

    /// Until the window is gone.
    async fn run(mut self) {
        let (tell, mut told) = mpsc::channel(EVENTS);
        let listener = tokio::spawn(listen(self.collector.clone(), tell));
        loop {
            let now = Instant::now();
            if self.bell.rings(now) {
                (self.shared.wake)();
            }
            let (due, rings) = (self.desk.next_due(now, UnixNanos::now()), self.bell.due());
            tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => {
                        let wants = self.wanted.borrow_and_update().clone();
                        for superseded in self.desk.want(wants, Instant::now()) {
                            superseded.abort();
                        }
                    }
                    Err(_) => break,
                },
                order = self.ordered.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                Some(what) = told.recv() => self.hear(what),
                Some(done) = self.tasks.join_next() => {
                    if let Ok(done) = done {
                        self.deliver(done);
                    }
                }
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => self.ask(),
                () = sleep_until(rings.unwrap_or(now)), if rings.is_some() => {}
            }
        }
        listener.abort();
    }

    /// Asks whatever is due.
    fn ask(&mut self) {
        for due in self.desk.take_due(Instant::now(), UnixNanos::now()) {
            let (collector, ask, slot, number) = (self.collector.clone(), due.ask, due.slot, due.number);
            let handle = self.tasks.spawn(async move {
                let begun = Instant::now();
                let answer = collector.ask(&ask).await;
                Done::Asked(slot, number, begun.elapsed(), answer)
            });
            self.desk.running(slot, number, handle);
        }
    }

    fn obey(&mut self, order: Order) {
        let collector = self.collector.clone();
        self.tasks.spawn(async move {
            match order {
                Order::Act(number, command) => Done::Acted(number, collector.command(&command).await),
                Order::Download(incident, to) => Done::Downloaded(
                    collector
                        .download(incident, &to)
                        .await
                        .map(|size| format!("{} written, {size} bytes", to.display()))
                        .map_err(|why| format!("Export failed: {why}")),
                ),
            }
        });
    }

    fn hear(&mut self, what: Told) {
        let now = Instant::now();
        match what {
            Told::Up => {
                // Another token may be known by another name: it is asked for with every connection.
                let collector = self.collector.clone();
                self.tasks.spawn(async move { Done::Known(collector.whoami().await) });
                self.desk.connected(now);
                self.put_awaited(|w| w.rest.connection = Some(Connection::Up));
            }
            Told::Event(event) => {
                let newest = event.as_of;
                if self.desk.touched(&event, now, UnixNanos::now()) {
                    // The answers wake the window; only the newest instant is noted.
                    self.shared.put(|w| w.rest.newest = Some(newest));
                }
            }
            Told::Down(trouble, tries) => {
                self.desk.disconnected();
                let connection = match trouble {
                    Trouble::Unknown(why) => {
                        Connection::Unknown { head: "The collector does not know who you are", why }
                    }
                    Trouble::Refused(why) => Connection::Unknown { head: "You may not look at this collector", why },
                    Trouble::Untrusted(why) => Connection::Unknown { head: "The connection is not trusted", why },
                    other => Connection::Lost { why: other.words(), tries },
                };
                self.put_awaited(|w| w.rest.connection = Some(connection));
            }
        }
    }

    /// Puts something down that somebody waits for.
    fn put_awaited(&mut self, change: impl FnOnce(&mut Waiting)) {
        self.shared.put(change);
        self.bell.awaited(Instant::now());
    }

    fn deliver(&mut self, done: Done) {
        match done {
            Done::Asked(slot, number, took, answer) => {
                let now = Instant::now();
                let Some(landed) = self.desk.answered(slot, number, took, now) else { return };
                let result = answer.map(|a| (a.answer, a.as_of));
                let delivery = Delivery { slot, identity: landed.identity, as_of: landed.as_of, result };
                self.shared.put(|w| {
                    w.answers.insert(slot, delivery);
                });
                if landed.awaited { self.bell.awaited(now) } else { self.bell.data(now, self.desk.busy()) }
            }
            Done::Acted(number, result) => {
                // What a command changed is asked for at once, not only when the collector tells of it.
                self.desk.all_due(Instant::now());
                self.put_awaited(|w| w.rest.receipts.push((number, result)));
            }
            Done::Known(Ok(who)) => self.put_awaited(|w| w.rest.who = Some(who)),
            // A collector of an older version has no word for it, and asks nobody.
            Done::Known(Err(trouble)) => tracing::debug!("who one is was not told: {}", trouble.words()),
            Done::Downloaded(result) => self.put_awaited(|w| w.rest.downloads.push(result)),
        }
    }
}

/// Listens for ever; after each break it waits a little longer, from a quarter of a second to two.
async fn listen(collector: Collector, tell: mpsc::Sender<Told>) {
    let mut tries = 0;
    loop {
        let mut heard = false;
        let trouble = collector
            .listen(|event| {
                heard = true;
                // A full queue drops an event: the desk joins events anyhow, and the next one touches the same questions.
                let _ = tell.try_send(event.map_or(Told::Up, Told::Event));
            })
            .await;
        tries = if heard { 1 } else { tries + 1 };
        if tell.send(Told::Down(trouble, tries)).await.is_err() {
            return;
        }
        let wait = Duration::from_millis(250) * 2_u32.saturating_pow(tries.saturating_sub(1).min(3));
        sleep(wait.min(LONGEST_WAIT)).await;
    }
}
