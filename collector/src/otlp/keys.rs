//! The attributes that say something of a call, found by one look at a key.

use fuseboard_policy::names;

/// Names every key once: the enum, and its text by position.
macro_rules! keys {
    ($($key:ident = $text:expr,)*) => {
        /// A key that facts are drawn from.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Key {
            $($key,)*
        }

        /// All keys with their text, by position.
        const ALL: &[(Key, &str)] = &[$((Key::$key, $text),)*];
    };
}

keys! {
    DbSystemName = "db.system.name",
    DbSystem = "db.system",
    DbNamespace = "db.namespace",
    DbName = "db.name",
    DbQuerySummary = "db.query.summary",
    DbOperationName = "db.operation.name",
    DbOperation = "db.operation",
    DbCollectionName = "db.collection.name",
    DbSqlTable = "db.sql.table",
    MessagingSystem = "messaging.system",
    MessagingDestinationName = "messaging.destination.name",
    MessagingDestination = "messaging.destination",
    RpcSystemName = "rpc.system.name",
    RpcSystem = "rpc.system",
    ServerAddress = "server.address",
    NetPeerName = "net.peer.name",
    HttpHost = "http.host",
    NetworkPeerAddress = "network.peer.address",
    NetPeerIp = "net.peer.ip",
    NetSockPeerName = "net.sock.peer.name",
    NetSockPeerAddr = "net.sock.peer.addr",
    ServerPort = "server.port",
    NetPeerPort = "net.peer.port",
    NetworkPeerPort = "network.peer.port",
    HttpRequestMethod = "http.request.method",
    HttpMethod = "http.method",
    HttpRoute = "http.route",
    UrlTemplate = "url.template",
    UrlFull = "url.full",
    HttpUrl = "http.url",
    PeerService = names::PEER_SERVICE,
    PeerServiceOld = names::PEER_SERVICE_OLD,
    RefusedBy = names::REFUSED_BY,
    Call = names::CALL,
    Attempt = names::ATTEMPT,
    Outcome = names::OUTCOME,
    DeadlineLeft = names::DEADLINE_LEFT_MS,
    Operation = names::OPERATION,
}

/// How many there are.
pub(super) const COUNT: usize = ALL.len();

const _: () = assert!(COUNT <= 64, "one bit each");

/// Places of the table; keys are told apart by a hash of eight of their bytes and their length.
const PLACES: usize = 256;

/// The table: which key a place holds, one more than its position; 0 for none.
const TABLE: [u8; PLACES] = {
    let mut table = [0; PLACES];
    let mut i = 0;
    while i < COUNT {
        let place = place(ALL[i].1.as_bytes());
        assert!(table[place] == 0, "two keys share a place: choose another multiplier");
        table[place] = i as u8 + 1;
        i += 1;
    }
    table
};

/// A key's place, from its length and the bytes where keys differ most. Keys shorter than 7 bytes are none of ours.
#[inline(always)]
const fn place(key: &[u8]) -> usize {
    let n = key.len();
    let early = u32::from_le_bytes([key[3], key[4], key[5], key[6]]);
    let late = u32::from_le_bytes([key[n - 4], key[n - 3], key[n - 2], key[n - 1]]);
    let hash = (early ^ late.rotate_left(7) ^ n as u32).wrapping_mul(0x3653_f8dd);
    (hash >> 24) as usize
}

impl Key {
    /// What key a text is.
    #[inline]
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        if text.len() < 7 {
            return None;
        }
        let at = TABLE[place(text)].checked_sub(1)?;
        let (key, known) = ALL.get(at as usize)?;
        same(known.as_bytes(), text).then_some(*key)
    }
}

/// Whether two texts are equal; for words as long as keys are, two looks from both ends do.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    fn ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        a.first_chunk::<N>() == b.first_chunk() && a.last_chunk::<N>() == b.last_chunk()
    }
    a.len() == b.len()
        && match a.len() {
            8..=16 => ends::<8>(a, b),
            17..=32 => ends::<16>(a, b),
            _ => a == b,
        }
}

/// The texts of all keys.
#[cfg(test)]
pub(super) fn texts() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_text_alone() {
        for (i, (key, text)) in ALL.iter().enumerate() {
            assert_eq!((Key::of(text.as_bytes()), *key as usize), (Some(*key), i));
            assert_eq!(Key::of(&text.as_bytes()[1..]), None);
            assert_eq!(Key::of(format!("{text}s").as_bytes()), None);
            assert_eq!(Key::of(text.to_uppercase().as_bytes()), None);
        }
        assert_eq!(Key::of(b""), None);
    }
}
