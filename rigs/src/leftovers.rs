//! What earlier calls that were killed have left mounted or attached in the working directory: taken down before anything else.

use crate::mounts::{run, said_by};
use std::path::Path;

/// Unmounts and detaches all that lies in `work` and whose process is gone, and removes its directories.
pub fn clean_up(work: &Path) {
    let Ok(work) = work.canonicalize() else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(&work) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.rsplit_once('-').map_or("", |(_, process)| process);
        let is_ours = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
        if is_ours && !Path::new("/proc").join(process).exists() {
            take_down(&entry.path());
        }
    }
}

fn take_down(dir: &Path) {
    eprintln!("{} was left by a call that was killed", dir.display());
    let inside = |path: &str| Path::new(path).starts_with(dir);
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    // The newest first: it may lie on an older one.
    for line in mounts.lines().rev() {
        if let Some(at) = line.split(' ').nth(1).filter(|at| inside(at)) {
            let _ = run("umount", &["-l", at]);
        }
    }
    let columns = ["--list", "--noheadings", "--output", "NAME,BACK-FILE"];
    for line in said_by("losetup", &columns).unwrap_or_default().lines() {
        if let Some((device, file)) = line.split_once(' ')
            && inside(file.trim())
        {
            let _ = run("losetup", &["--detach", device]);
        }
    }
    let still = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    if !still
        .lines()
        .any(|line| line.split(' ').nth(1).is_some_and(inside))
    {
        let _ = std::fs::remove_dir_all(dir);
    }
}
