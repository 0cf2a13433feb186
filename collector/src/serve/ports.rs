//! Listening sockets, and sentences when there is none to be had.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::security::{DoorName, Security};
use crate::StartError;

/// A listening socket; over TLS or on a loopback address.
///
/// # Errors
/// Says which setting and which address, and what to do: TLS or another address when it is not of this machine's loopback,
/// another port when it is taken, and by whom.
pub(crate) fn listen(
    door: DoorName,
    address: SocketAddr,
    security: &Security,
) -> Result<tokio::net::TcpListener, StartError> {
    let what = door.word();
    if !security.is_on() && !address.ip().is_loopback() {
        return Err(StartError::NotLoopback { what, address });
    }
    let open = |address: SocketAddr| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    open(address).map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            let owner = owner(address.port()).map(|o| format!(" by {o}")).unwrap_or_default();
            StartError::InUse { what, address, owner }
        }
        _ => StartError::Bind { what, address, cause: source },
    })
}

/// The process that listens on a TCP port, as far as the system lets us see.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        listening_inode(&table, port).map(str::to_owned)
    })?;
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_path() == Path::new(&wanted)));
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        holds.then(|| format!("{} (process {pid})", name.trim()))
    })
}

/// The inode of the socket that listens on `port`, from a table of Linux's `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, hex) = fields.get(1)?.rsplit_once(':')?;
        (u16::from_str_radix(hex, 16) == Ok(port) && fields.get(3) == Some(&LISTEN)).then(|| fields.get(9).copied())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_is_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1126 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1126 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(listening_inode(table, 4390), Some("222"));
        assert_eq!(listening_inode(table, 4391), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_owner_of_a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = owner(taken.local_addr().unwrap().port()).unwrap();
        assert!(owner.contains(&format!("process {}", std::process::id())), "{owner}");
    }
}
