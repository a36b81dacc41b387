//! What outlives this process: which attempts were begun, and the ends that the master has not acknowledged.
//!
//! A file to which everything is appended before it matters: that an attempt begins, before its command is started;
//! its end, before it is told. It is for the next process, after this one was killed, and so is left to the system's
//! memory: what is lost with the machine, the machine's commands are lost with too.
//!
//! ```text
//! file    = "sortie\x01\n" record*
//! record  = length of the entry (4 bytes, little endian), CRC-32 of length and entry (4 bytes), entry
//! ```
//!
//! A record that is not whole ends the file: the process died over it. What is appended next takes its place.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use prost::Message as _;
use sortie_engine::AttemptId;
use sortie_wire::{MAX_MESSAGE_BYTES, pb};

use self::entry::Entry;

mod entry;

/// The first bytes of the file, with the version of its format.
const MAGIC: &[u8; 8] = b"sortie\x01\n";

/// How many bytes a record has before its entry.
const HEAD_BYTES: usize = 8;

/// The longest entry that is read, in bytes: the longest report, and room to spare.
const MAX_ENTRY_BYTES: usize = MAX_MESSAGE_BYTES + 1_024;

/// How long the file may get, in bytes, before what is dead in it is left out, unless most of it is alive.
const COMPACT_BYTES: u64 = 16 * 1024 * 1024;

/// How many bytes may wait for what is written next.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// For the worker's user alone: what commands wrote may hold secrets.
const PRIVATE: u32 = 0o600;

/// The file, and where in it what is still of use stands.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the next record begins.
    end: u64,
    /// The records of the attempts that have not been forgotten: their last one each.
    live: BTreeMap<AttemptId, Place>,
    /// Records that need not be written before others are.
    waiting: Vec<u8>,
    /// When the file is to be compacted.
    compact_at: u64,
    /// Whether the last write failed.
    is_broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u64,
    length: u64,
}

/// What an attempt had come to when its worker's process died.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Past {
    /// It was begun, and nobody knows how it ended.
    Begun,
    /// It ended so, which the master may not know.
    Ended(pb::Report),
}

/// The attempts of an earlier process that the master has to be told of.
pub(crate) type Legacy = BTreeMap<AttemptId, Past>;

impl Journal {
    /// Opens the journal of a data directory, or begins one; what an earlier process has left in it.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(crate) fn open(data_dir: &Path) -> io::Result<(Self, Legacy)> {
        let path = data_dir.join("journal");
        let file = private().read(true).truncate(false).open(&path)?;
        let mut journal = Journal {
            path,
            file,
            end: MAGIC.len() as u64,
            live: BTreeMap::new(),
            waiting: Vec::new(),
            compact_at: COMPACT_BYTES,
            is_broken: false,
        };
        let legacy = journal.replay()?;
        Ok((journal, legacy))
    }

    /// An attempt is about to be begun.
    ///
    /// # Errors
    /// When that cannot be written down: then it must not be.
    pub(crate) fn begin(&mut self, attempt: AttemptId) -> io::Result<()> {
        let place = self.append(frame(|bytes| entry::begun(attempt, bytes)));
        self.tell(&place);
        self.live.insert(attempt, place?);
        self.tidy();
        Ok(())
    }

    /// An attempt has ended. If that cannot be written down, it is as if this process had died over it.
    pub(crate) fn end(&mut self, attempt: AttemptId, report: &pb::Report) {
        let place = self.append(frame(|bytes| entry::ended(report, bytes)));
        self.tell(&place);
        if let Ok(place) = place {
            self.live.insert(attempt, place);
            self.tidy();
        }
    }

    /// The master has the end of an attempt on record. This may be lost: then the end is told once more.
    pub(crate) fn forget(&mut self, attempt: AttemptId) {
        if self.live.remove(&attempt).is_none() {
            return;
        }
        self.waiting.extend(frame(|bytes| entry::forgotten(attempt, bytes)));
        if self.waiting.len() > MAX_WAITING_BYTES || self.live.is_empty() {
            let flushed = self.flush();
            self.tell(&flushed);
            self.tidy();
        }
    }

    /// Reads the file, and finds its end.
    fn replay(&mut self) -> io::Result<Legacy> {
        let length = self.file.metadata()?.len();
        let mut reader = BufReader::new(&self.file);
        let mut magic = [0; MAGIC.len()];
        if length < MAGIC.len() as u64 {
            self.file.set_len(0)?;
            self.file.write_all_at(MAGIC, 0)?;
            return Ok(Legacy::new());
        }
        reader.read_exact(&mut magic)?;
        if magic != *MAGIC {
            let problem = format!("{} is no journal that this version can read; move it away", self.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let (mut legacy, mut live, mut end) = (Legacy::new(), BTreeMap::new(), self.end);
        while let Some((entry, length)) = read_record(&mut reader)? {
            let place = Place { at: end, length };
            match entry.fact.and_then(entry::fact_of) {
                Some((attempt, Some(past))) => {
                    legacy.insert(attempt, past);
                    live.insert(attempt, place);
                }
                Some((attempt, None)) => {
                    legacy.remove(&attempt);
                    live.remove(&attempt);
                }
                // Of a later version, which has said what is no concern of this one.
                None => {}
            }
            end += length;
        }
        if end < length {
            tracing::info!(bytes = length - end, "cut off what the journal's last writer did not finish");
            self.file.set_len(end)?;
        }
        (self.end, self.live) = (end, live);
        self.compact_at = COMPACT_BYTES.max(self.end);
        Ok(legacy)
    }

    /// Writes a record, and before it all that have waited for one.
    fn append(&mut self, record: Vec<u8>) -> io::Result<Place> {
        self.flush()?;
        let place = Place { at: self.end, length: record.len() as u64 };
        self.write(&record)?;
        Ok(place)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            if let Err(error) = self.write(&waiting) {
                self.waiting = waiting;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Half a record must not stand before a whole one.
    fn write(&mut self, records: &[u8]) -> io::Result<()> {
        match self.file.write_all_at(records, self.end) {
            Ok(()) => {
                self.end += records.len() as u64;
                Ok(())
            }
            Err(error) => {
                _ = self.file.set_len(self.end);
                Err(error)
            }
        }
    }

    /// Leaves out what is dead, if there is much of it.
    fn tidy(&mut self) {
        if self.end < self.compact_at {
            return;
        }
        let live: u64 = self.live.values().map(|place| place.length).sum();
        let path = self.path.with_added_extension("new");
        if live < self.end / 2
            && let Err(error) = self.compact(&path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the journal cannot be compacted");
            _ = fs::remove_file(path);
        }
        self.compact_at = COMPACT_BYTES.max(self.end.saturating_mul(2));
    }

    /// Writes what is live to a new file, which takes the old one's place at once or not at all.
    fn compact(&mut self, path: &Path) -> io::Result<()> {
        let file = private().read(true).truncate(true).open(path)?;
        file.write_all_at(MAGIC, 0)?;
        let (mut end, mut live) = (MAGIC.len() as u64, BTreeMap::new());
        for (attempt, place) in &self.live {
            let mut record = vec![0; usize::try_from(place.length).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut record, place.at)?;
            file.write_all_at(&record, end)?;
            live.insert(*attempt, Place { at: end, ..*place });
            end += place.length;
        }
        fs::rename(path, &self.path)?;
        self.waiting.clear();
        (self.file, self.end, self.live) = (file, end, live);
        Ok(())
    }

    /// Says what is wrong, once for as long as it is.
    fn tell<T>(&mut self, written: &io::Result<T>) {
        let was_broken = std::mem::replace(&mut self.is_broken, written.is_err());
        match written {
            Err(error) if !was_broken => {
                tracing::error!(path = %self.path.display(), %error, "the journal cannot be written; nothing is started");
            }
            Ok(_) if was_broken => tracing::info!("the journal can be written again"),
            Ok(_) | Err(_) => {}
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(PRIVATE);
    options
}

/// The record of the entry that `encode` adds to its head.
fn frame(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = vec![0; HEAD_BYTES];
    encode(&mut record);
    let (head, entry) = record.split_at_mut(HEAD_BYTES);
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes();
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&checksum(length, entry));
    record
}

/// Reads an entry and the length of its record; nothing if there is no whole one.
fn read_record(reader: &mut impl Read) -> io::Result<Option<(Entry, u64)>> {
    let (mut length, mut sum) = ([0; 4], [0; 4]);
    if !read_whole(reader, &mut length)? || !read_whole(reader, &mut sum)? {
        return Ok(None);
    }
    let size = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if size > MAX_ENTRY_BYTES {
        return Ok(None);
    }
    let mut entry = vec![0; size];
    if !read_whole(reader, &mut entry)? || checksum(length, &entry) != sum {
        return Ok(None);
    }
    Ok(Entry::decode(entry.as_slice()).ok().map(|entry| (entry, (HEAD_BYTES + size) as u64)))
}

/// Whether there was as much as there must be.
fn read_whole(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn checksum(length: [u8; 4], entry: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(entry);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests;
