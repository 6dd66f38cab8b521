//! Writing so that a file or folder is either the old one or the new one, whole, at every moment.
//!
//! What is new grows under a temporary sibling name, is flushed to the disk, and is renamed into place.
//! A process killed half-way leaves only the temporary sibling, which the next write to the same name
//! sweeps away: its writer holds a lock on it, which dies with the process.

use crate::files::FilesError;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces the file by these bytes. Folders on the way are made.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    write_with(path, |file| file.write_all(bytes))
}

/// Replaces the file by what `fill` writes; when `fill` fails, the old file stays and nothing else is left.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FilesError> {
    let failed = |reason| FilesError::from_io("write", path, reason);
    let target = resolved(path);
    let existing = fs::metadata(&target).ok();
    if existing.as_ref().is_some_and(|found| found.is_dir()) {
        return Err(FilesError::IsFolder { path: path.to_path_buf() });
    }
    if existing.as_ref().is_some_and(|found| is_stream(&found.file_type())) {
        let mut stream = File::options().write(true).open(&target).map_err(failed)?;
        return fill(&mut stream).map_err(failed);
    }
    let parent = parent_of(&target).map_err(failed)?;
    sweep(&parent, &target);
    let mode = existing.map_or(0o666, |found| found.permissions().mode());
    let temporary = tempfile::Builder::new()
        .prefix(&prefix(&target))
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(&parent)
        .map_err(failed)?;
    // A lock that cannot be had (some network disks) only means that nothing is swept.
    let _ = temporary.as_file().try_lock();
    let mut buffered = BufWriter::with_capacity(1 << 20, temporary.as_file());
    fill(&mut buffered).and_then(|()| buffered.flush()).map_err(failed)?;
    drop(buffered);
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(&target).map_err(|error| failed(error.error))?;
    sync_folder(&parent);
    Ok(())
}

/// Replaces a folder by the one that `fill` makes under a temporary name. When `fill` fails, the old folder stays.
pub fn folder<T, E: From<FilesError>>(path: &Path, fill: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
    let failed = |reason| FilesError::from_io("write", path, reason);
    let target = resolved(path);
    if target.exists() && !target.is_dir() {
        return Err(FilesError::IsFile { path: path.to_path_buf() }.into());
    }
    let parent = parent_of(&target).map_err(failed)?;
    sweep(&parent, &target);
    let temporary = tempfile::Builder::new()
        .prefix(&prefix(&target))
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(&parent)
        .map_err(failed)?;
    let held = File::open(temporary.path()).map_err(failed)?;
    let _ = held.try_lock();
    let value = fill(temporary.path())?;
    sync_tree(temporary.path()).map_err(failed)?;
    put_in_place(temporary.path(), &target).map_err(failed)?;
    sync_folder(&parent);
    // The name now holds the folder that was replaced, if there was one; it goes away with it.
    drop(temporary);
    Ok(value)
}

/// The path itself, or what it links to, so that a link stays a link.
fn resolved(path: &Path) -> PathBuf {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()),
        _ => path.to_path_buf(),
    }
}

fn is_stream(kind: &fs::FileType) -> bool {
    kind.is_char_device() || kind.is_fifo() || kind.is_socket()
}

fn parent_of(path: &Path) -> io::Result<PathBuf> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent)?;
    Ok(parent)
}

fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".writing-");
    prefix
}

/// Removes what a killed process left under this name.
fn sweep(parent: &Path, target: &Path) {
    let prefix = prefix(target);
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            continue;
        }
        let Ok(left) = File::open(entry.path()) else { continue };
        if left.try_lock().is_err() {
            continue;
        }
        let path = entry.path();
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Makes the renaming itself last; disks that cannot are left as they are.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

fn put_in_place(temporary: &Path, target: &Path) -> io::Result<()> {
    if !target.exists() {
        return fs::rename(temporary, target);
    }
    if exchange(temporary, target).is_ok() {
        return Ok(());
    }
    // No atomic exchange on this disk: the old one steps aside first, and comes back if the new one cannot come.
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let aside = tempfile::Builder::new().prefix(&prefix(target)).tempdir_in(parent)?;
    fs::rename(target, aside.path())?;
    fs::rename(temporary, target).inspect_err(|_| {
        let _ = fs::rename(aside.path(), target);
    })
}

/// Swaps two names in one moment.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let one = CString::new(one.as_os_str().as_bytes())?;
    let other = CString::new(other.as_os_str().as_bytes())?;
    // SAFETY: both are nul-terminated strings that outlive the call, which keeps neither.
    let done = unsafe {
        libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_whole_file_and_makes_the_way() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("plots/loss.svg");
        write(&path, b"a long first version").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(&home.path().join("plots")), ["loss.svg"]);
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.json");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(home.path()), ["a.json"]);
    }

    #[test]
    fn a_folder_is_swapped_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run");
        folder(&path, |new| {
            fs::write(new.join("one"), "1").map_err(|e| FilesError::from_io("write", new, e))
        })
        .unwrap();
        folder(&path, |new| {
            fs::write(new.join("two"), "2").map_err(|e| FilesError::from_io("write", new, e))
        })
        .unwrap();
        assert_eq!(names(&path), ["two"]);
        let failed: Result<(), FilesError> = folder(&path, |new| {
            fs::write(new.join("three"), "3").unwrap();
            Err(FilesError::NoCache)
        });
        assert!(failed.is_err());
        assert_eq!(names(&path), ["two"]);
        assert_eq!(names(home.path()), ["run"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_what_a_live_one_holds_stays() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".run.writing-dead/inner")).unwrap();
        fs::write(home.path().join(".other.writing-dead"), "not ours").unwrap();
        let live = home.path().join(".run.writing-live");
        fs::create_dir(&live).unwrap();
        let held = File::open(&live).unwrap();
        held.try_lock().unwrap();
        folder(&home.path().join("run"), |_| Ok::<(), FilesError>(())).unwrap();
        assert_eq!(names(home.path()), [".other.writing-dead", ".run.writing-live", "run"]);
    }

    #[test]
    fn a_link_stays_a_link_and_a_device_is_written_to() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("real"), home.path().join("link"));
        write(&real, b"1").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, b"2").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"2");
        write(Path::new("/dev/null"), b"gone").unwrap();
        let full = write(Path::new("/dev/full"), b"x").unwrap_err();
        assert!(matches!(full, FilesError::DiskFull { .. }), "{full}");
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run");
        write(&path, b"x").unwrap();
        let error = folder(&path, |_| Ok::<(), FilesError>(())).unwrap_err();
        assert!(matches!(error, FilesError::IsFile { .. }));
        assert!(matches!(write(home.path(), b"x"), Err(FilesError::IsFolder { .. })));
    }
}
