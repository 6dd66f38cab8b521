//! SHA-256, as 64 lower-case hexadecimal digits: the identity of weights, data and samples.

use crate::files::FilesError;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    digits(&Sha256::digest(bytes.as_ref()))
}

/// The hash of a whole file, read piece by piece.
pub fn file_sha256(path: &Path) -> Result<String, FilesError> {
    let failed = |reason| FilesError::from_io("read", path, reason);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            return Ok(digits(&hasher.finalize()));
        }
        hasher.update(&piece[..count]);
    }
}

fn digits(hash: &[u8]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_the_standard() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_file_hashes_as_its_bytes() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("big");
        let bytes: Vec<u8> = (0..3_000_000u32).map(|index| index as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(file_sha256(&path).unwrap(), sha256(&bytes));
        assert!(matches!(file_sha256(&home.path().join("none")), Err(FilesError::Missing { .. })));
    }
}
