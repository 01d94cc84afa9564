//! The room that is free on a device.

/// Files that a store may have to make to finish what is open: logs, tables and manifests.
pub(crate) const MIN_FREE_FILES: u64 = 32;

/// The room that is free for new data; `None` where nothing bounds it. A quota cannot be seen beforehand: it is met by
/// writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub bytes: Option<u64>,
    /// Files that can still be made.
    pub files: Option<u64>,
}

impl Room {
    /// A room in which nothing is free.
    pub const NONE: Room = Room { bytes: Some(0), files: None };

    /// Returns the reason why no new work may be taken, for people: fewer bytes are free than `min_free_bytes`, which
    /// are kept for finishing what is open, or too few files can be made. `None` while there is room. With 0
    /// `min_free_bytes` nothing is kept.
    pub fn lack(self, min_free_bytes: u64) -> Option<String> {
        if let Some(free) = self.bytes.filter(|free| *free < min_free_bytes) {
            return Some(format!(
                "{free} bytes are free on the device that holds the data, less than min_free_bytes = {min_free_bytes} \
                 wants kept for what is open; free some space"
            ));
        }
        let files = self.files.filter(|files| *files < MIN_FREE_FILES && min_free_bytes > 0)?;
        Some(format!(
            "{files} files can still be made on the device that holds the data, fewer than the {MIN_FREE_FILES} kept for \
             what is open (it is short of inodes, not of bytes); remove some files"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_are_both_needed_and_each_lack_is_named() {
        let room = |bytes, files| Room { bytes, files };
        for enough in [room(None, None), room(Some(100), Some(32)), room(Some(100), None)] {
            assert_eq!(enough.lack(100), None);
        }
        assert!(room(Some(99), Some(32)).lack(100).unwrap().contains("99 bytes"));
        assert!(room(Some(100), Some(31)).lack(100).unwrap().contains("31 files"));
        assert!(Room::NONE.lack(1).is_some());
        assert_eq!(room(Some(0), Some(0)).lack(0), None);
    }
}
