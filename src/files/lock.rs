//! A folder held by one process at a time: two runs never write into the same folder.

use crate::files::FilesError;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// The file inside the folder whose lock is the holding; it stays behind, empty of meaning.
const NAME: &str = ".lock";

/// Holds the folder until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl FolderLock {
    /// Takes hold of the folder, which is made if need be; says who holds it otherwise.
    pub fn acquire(folder: &Path) -> Result<FolderLock, FilesError> {
        fs::create_dir_all(folder).map_err(|reason| FilesError::from_io("make", folder, reason))?;
        let path = folder.join(NAME);
        let failed = |reason| FilesError::from_io("lock", &path, reason);
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FilesError::Held { path: folder.to_path_buf(), holder: holder(&mut file) });
            }
            // A disk without locks: better unguarded than useless.
            Err(TryLockError::Error(reason)) if reason.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(reason)) => return Err(failed(reason)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(FolderLock(file))
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(own) if own == std::process::id() => "this process".into(),
        Ok(other) => format!("process {other}"),
        Err(_) => "another process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_is_refused_with_its_holder_until_it_is_let_go() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("runs/a");
        let held = FolderLock::acquire(&folder).unwrap();
        let refused = FolderLock::acquire(&folder).unwrap_err().to_string();
        assert!(refused.contains("runs/a` is in use by this process; let it finish"), "{refused}");
        fs::write(folder.join(NAME), "4242\n").unwrap();
        assert!(FolderLock::acquire(&folder).unwrap_err().to_string().contains("process 4242"));
        drop(held);
        FolderLock::acquire(&folder).unwrap();
        let text = fs::read_to_string(folder.join(NAME)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }
}
