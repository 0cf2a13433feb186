//! The last good policy, one on trial and the overrides in force, kept on disk: checksummed, replaced in one step, readable
//! by its owner only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fuseboard_policy::set::hash_all;
use fuseboard_policy::wire::v1;
use prost::Message as _;

use super::standing::KeptTrial;

const MAGIC: &[u8; 8] = b"FUSEAGT2";
/// Of files without trials.
const MAGIC_1: &[u8; 8] = b"FUSEAGT1";
const HASH: usize = 16;
/// Largest file that is read, in bytes.
const MOST: u64 = 16 * 1024 * 1024;

/// What is kept. Its tags are the file's format.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Saved {
    /// The last policy that needed no confirmation or had it; `None` for the default.
    #[prost(message, optional, tag = "1")]
    pub(crate) policy: Option<v1::Policy>,
    /// The overrides in force, with what was left of them.
    #[prost(message, optional, tag = "2")]
    pub(crate) overrides: Option<v1::Overrides>,
    /// The policy in force, while it waits for its confirmation.
    #[prost(message, optional, tag = "3")]
    pub(crate) trial: Option<KeptTrial>,
    /// Revisions that were reverted here, newest last.
    #[prost(uint64, repeated, tag = "4")]
    pub(crate) reverted: Vec<u64>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file of an instance in a directory, which is made for its owner alone if it is missing.
    pub(crate) fn open(directory: &Path, instance: &str) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)?;
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
        // It may be there from before, open to others.
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
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
    let body = saved.encode_to_vec();
    [MAGIC.as_slice(), &hash_all([&body]), &body].concat()
}

fn decode(bytes: &[u8]) -> Option<Saved> {
    let (magic, rest) = bytes.split_at_checked(MAGIC.len())?;
    let (hash, body) = rest.split_at_checked(HASH)?;
    if hash != hash_all([body]) {
        return None;
    }
    if magic == MAGIC {
        return Saved::decode(body).ok();
    }
    (magic == MAGIC_1).then(|| decode_1(body)).flatten()
}

/// The first format: a policy, whether there was one, overrides.
fn decode_1(body: &[u8]) -> Option<Saved> {
    let mut rest = body;
    let policy = v1::Policy::decode_length_delimited(&mut rest).ok()?;
    let (given, mut rest) = rest.split_first()?;
    let overrides = v1::Overrides::decode_length_delimited(&mut rest).ok()?;
    Some(Saved { policy: (*given == 1).then_some(policy), overrides: Some(overrides), ..Saved::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let rule = v1::EdgeRule { service: String::from("*"), ..v1::EdgeRule::default() };
        let overrides = v1::Overrides { generation: 3, overrides: vec![v1::Override { id: 8, ..Default::default() }] };
        let policy = |revision| v1::Policy { revision, rules: vec![rule.clone()], ..v1::Policy::default() };
        let trial = KeptTrial { policy: Some(policy(13)), remaining_ms: 4_000, until_unix_nanos: 7 };
        Saved { policy: Some(policy(12)), overrides: Some(overrides), trial: Some(trial), reverted: vec![9, 11] }
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
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&file.path), mode(file.path.parent().unwrap())), (0o600, 0o700));
            let open = fs::Permissions::from_mode(0o644);
            fs::write(file.path.with_extension("agent-state.next"), "left by a crash").unwrap();
            fs::set_permissions(file.path.with_extension("agent-state.next"), open).unwrap();
            file.save(&saved()).unwrap();
            assert_eq!(mode(&file.path), 0o600);
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

    #[test]
    fn still_reads_files_without_trials() {
        let Saved { policy, overrides, .. } = saved();
        let mut body = policy.clone().unwrap().encode_length_delimited_to_vec();
        body.push(1);
        body.extend(overrides.clone().unwrap().encode_length_delimited_to_vec());
        let bytes = [MAGIC_1.as_slice(), &hash_all([&body]), &body].concat();
        assert_eq!(decode(&bytes), Some(Saved { policy, overrides, ..Saved::default() }));
        let later = [b"FUSEAGT3".as_slice(), &bytes[MAGIC.len()..]].concat();
        assert_eq!(decode(&later), None, "a later format is not guessed at");
    }
}
