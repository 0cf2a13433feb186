//! Files that nobody else may read, and that are there whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::PkiError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Owner,
    All,
}

/// None of them may exist.
pub(super) fn must_be_missing<const N: usize>(paths: [&PathBuf; N], hint: &'static str) -> Result<(), PkiError> {
    match paths.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(PkiError::Exists { path: path.clone(), hint }),
        None => Ok(()),
    }
}

/// A directory for its owner alone; one that exists stays as it is.
pub(super) fn directory(path: &Path) -> Result<(), PkiError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| PkiError::Write { path: path.to_path_buf(), source })
}

/// A file that was not there.
pub(super) fn create(path: &Path, text: &str, reader: Reader, hint: &'static str) -> Result<(), PkiError> {
    write(path, text, reader).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => PkiError::Exists { path: path.to_path_buf(), hint },
        _ => PkiError::Write { path: path.to_path_buf(), source },
    })
}

/// A file in place of another: whoever opens it finds the old or the new one.
pub(super) fn replace(path: &Path, text: &str, reader: Reader) -> Result<(), PkiError> {
    let wrong = |source| PkiError::Write { path: path.to_path_buf(), source };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // What an earlier try left.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(wrong(e)),
        _ => {}
    }
    write(&new, text, reader).and_then(|()| fs::rename(&new, path)).map_err(wrong)
}

fn write(path: &Path, text: &str, reader: Reader) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if reader == Reader::Owner { 0o600 } else { 0o644 });
    #[cfg(not(unix))]
    let _ = reader;
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
