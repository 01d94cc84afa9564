//! The content of the files in a data folder that show that it was put back.

use std::fmt;
use undoubt_vocabulary::Timestamp;
use undoubt_vocabulary::printable_text::clean;

/// The marks by which a file is told from its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    pub inode: u64,
    /// Nanoseconds since 1970; 0 where the file system does not tell.
    pub born_ns: u64,
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.born_ns {
            0 => write!(f, "inode {}", self.inode),
            born_ns => write!(f, "inode {} born at {}", self.inode, Timestamp(born_ns / 1_000)),
        }
    }
}

impl FileIdentity {
    /// Returns true if both may be of one file. A kernel may learn to tell the time of birth.
    pub fn agrees_with(self, other: FileIdentity) -> bool {
        self.inode == other.inode && (self.born_ns == other.born_ns || self.born_ns == 0 || other.born_ns == 0)
    }

    /// Returns the line of the sentinel, which has the same length for all.
    pub fn encode(self) -> String {
        let facts = format!("inode {:020} born {:020}", self.inode, self.born_ns);
        format!("{facts} crc32c {:08x}\n", crc32c::crc32c(facts.as_bytes()))
    }

    /// Returns `None` for all that [`FileIdentity::encode`] does not write.
    pub fn decode(line: &[u8]) -> Option<FileIdentity> {
        let text = str::from_utf8(line).ok()?;
        let mut words = text.split(' ');
        let mut number = || -> Option<u64> { words.nth(1)?.parse().ok() };
        let identity = FileIdentity { inode: number()?, born_ns: number()? };
        (identity.encode() == text).then_some(identity)
    }
}

/// The mark of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub of: String,
    pub taken_at: String,
}

impl Mark {
    pub fn encode(&self) -> String {
        format!("taken at {}\nof {}\n", self.taken_at, self.of)
    }

    /// Reads a mark. That it is there counts, whatever is in it.
    pub fn read(content: &[u8]) -> Mark {
        let content = String::from_utf8_lossy(content);
        let told =
            |what: &str| content.lines().find_map(|line| line.strip_prefix(what)).map(|told| clean(told).into_owned());
        let of = told("of ").unwrap_or_else(|| "an unknown server".to_owned());
        let taken_at = told("taken at ").unwrap_or_else(|| "an unknown time".to_owned());
        Mark { of, taken_at }
    }
}
