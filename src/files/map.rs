//! A file mapped into memory: weights are looked at where they lie, not copied.

use crate::files::FilesError;
use memmap2::{Mmap, UncheckedAdvice};
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

/// The bytes of a file. Another program that cuts the file short while it is mapped ends this one;
/// ltune itself only ever renames whole files into place.
#[derive(Debug)]
pub struct Map(Option<Mmap>);

impl Map {
    pub fn open(path: &Path) -> Result<Map, FilesError> {
        let failed = |reason| FilesError::from_io("read", path, reason);
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if found.is_dir() {
            return Err(FilesError::IsFolder { path: path.to_path_buf() });
        }
        if found.len() == 0 {
            return Ok(Map(None));
        }
        // SAFETY: the map is read only; the file staying as it is is the condition stated above.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(Map(Some(map)))
    }

    /// These bytes have been read and need not stay in this process's memory; who looks again finds them as they are.
    pub fn pass(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.0
            && range.end <= map.len()
        {
            // SAFETY: the map is of a file and read only, so what is dropped is read from the file again.
            let _ =
                unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_the_bytes_of_its_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x");
        std::fs::write(&path, b"abc").unwrap();
        let map = Map::open(&path).unwrap();
        assert_eq!(&*map, b"abc");
        map.pass(1..3);
        assert_eq!(&*map, b"abc");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(&*Map::open(&path).unwrap(), b"");
        assert!(matches!(Map::open(home.path()), Err(FilesError::IsFolder { .. })));
        assert!(matches!(Map::open(&home.path().join("y")), Err(FilesError::Missing { .. })));
    }
}
