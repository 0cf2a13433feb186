//! The last good policy and the overrides in force, kept on disk: checksummed, replaced in one step, readable by its owner
//! only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fuseboard_policy::set::hash_all;
use fuseboard_policy::wire::v1;
use prost::Message as _;

const MAGIC: &[u8; 8] = b"FUSEAGT1";
const HASH: usize = 16;
/// Largest file that is read, in bytes.
const MOST: u64 = 16 * 1024 * 1024;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Saved {
    /// The last good policy; `None` for the default.
    pub(crate) policy: Option<v1::Policy>,
    /// The overrides in force, with what was left of them.
    pub(crate) overrides: Option<v1::Overrides>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file of an instance in a directory, which is made if it is missing.
    pub(crate) fn open(directory: &Path, instance: &str) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name: String = instance.chars().map(plain).collect();
        Ok(Self { path: directory.join(format!("{name}.agent-state")) })
    }

    /// What was kept; `None` if nothing was.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written.
    pub(crate) fn load(&self) -> io::Result<Option<Saved>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes)?;
        decode(&bytes).map(Some).ok_or_else(|| {
            let text = format!("{} is damaged; it is left alone until the next change", self.path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// Keeps it, all or nothing.
    pub(crate) fn save(&self, saved: &Saved) -> io::Result<()> {
        let next = self.path.with_extension("agent-state.next");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&next)?;
        file.write_all(&encode(saved))?;
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        // The new name itself must survive, too.
        #[cfg(unix)]
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}

fn encode(saved: &Saved) -> Vec<u8> {
    let mut body = saved.policy.clone().unwrap_or_default().encode_length_delimited_to_vec();
    body.push(u8::from(saved.policy.is_some()));
    body.extend(saved.overrides.clone().unwrap_or_default().encode_length_delimited_to_vec());
    [MAGIC.as_slice(), &hash_all([&body]), &body].concat()
}

fn decode(bytes: &[u8]) -> Option<Saved> {
    let (hash, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
    if hash != hash_all([body]) {
        return None;
    }
    let mut rest = body;
    let policy = v1::Policy::decode_length_delimited(&mut rest).ok()?;
    let (given, mut rest) = rest.split_first()?;
    let overrides = v1::Overrides::decode_length_delimited(&mut rest).ok()?;
    Some(Saved { policy: (*given == 1).then_some(policy), overrides: Some(overrides) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let rule = v1::EdgeRule { service: String::from("*"), ..v1::EdgeRule::default() };
        let overrides = v1::Overrides { generation: 3, overrides: vec![v1::Override { id: 8, ..Default::default() }] };
        Saved {
            policy: Some(v1::Policy { revision: 12, rules: vec![rule], services: Vec::new(), confirm_within_ms: 0 }),
            overrides: Some(overrides),
        }
    }

    #[test]
    fn keeps_what_it_is_given_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::open(&folder.path().join("new"), "orders/1").unwrap();
        assert_eq!(file.load().unwrap(), None);
        file.save(&saved()).unwrap();
        assert_eq!(file.load().unwrap(), Some(saved()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn notices_every_flipped_bit_and_every_cut() {
        let bytes = encode(&saved());
        assert_eq!(decode(&bytes), Some(saved()));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
