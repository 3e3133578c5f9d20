//! Files in the folders of a server. Only regular files are opened: links are never followed, and
//! opening anything else, such as a FIFO, never blocks. The server's account may have put it there.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The most bytes to read from a file.
const MAX_READ_BYTES: u64 = 64 * 1024;

/// Opens a regular file.
pub fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Opens a folder, which must not be a link.
pub fn open_folder(path: &Path) -> Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Reads a short file.
pub fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    open(OpenOptions::new().read(true), path)?
        .take(MAX_READ_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The end of a file.
pub fn read_end(path: &Path) -> Result<String> {
    let mut file = open(OpenOptions::new().read(true), path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_READ_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MAX_READ_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a file that only its owner may read, and flushes it to the disk.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file = open(options.write(true).create(true).truncate(true), path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Writes a new file that only its owner may read; fails if it exists.
pub fn write_new(path: &Path, text: &str) -> Result<File> {
    let mut file = open(OpenOptions::new().write(true).create_new(true), path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Removes a file if it exists.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
