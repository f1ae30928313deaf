//! What this machine has: a rig that lacks something is skipped, and says what, and how it is installed.

use std::path::Path;

/// One thing a rig needs.
pub struct Need {
    what: &'static str,
    is_there: fn() -> bool,
    /// The package of Debian and its kin.
    package: Option<&'static str>,
}

/// Mounting needs it.
pub const ROOT: Need = Need {
    what: "root",
    is_there: is_root,
    package: None,
};
/// File systems of our own.
pub const FUSE: Need = Need {
    what: "/dev/fuse",
    is_there: || Path::new("/dev/fuse").exists(),
    package: None,
};

/// Image files as devices.
pub const LOOP: Need = Need {
    what: "/dev/loop-control",
    is_there: || Path::new("/dev/loop-control").exists(),
    package: None,
};
/// ext4, and what makes one.
pub const EXT4: Need = Need {
    what: "mkfs.ext4 or ext4 in the kernel",
    is_there: || has_program("mkfs.ext4") && has_file_system("ext4"),
    package: Some("e2fsprogs"),
};
/// XFS, and what makes one.
pub const XFS: Need = Need {
    what: "mkfs.xfs or XFS in the kernel",
    is_there: || has_program("mkfs.xfs") && has_file_system("xfs"),
    package: Some("xfsprogs"),
};

/// btrfs, and what makes one.
pub const BTRFS: Need = Need {
    what: "mkfs.btrfs or btrfs in the kernel",
    is_there: || has_program("mkfs.btrfs") && has_file_system("btrfs"),
    package: Some("btrfs-progs"),
};

/// What a file system needs.
#[cfg(target_os = "linux")]
pub fn of(kind: crate::mounts::Kind) -> Need {
    match kind {
        crate::mounts::Kind::Ext4 => EXT4,
        crate::mounts::Kind::Xfs => XFS,
        crate::mounts::Kind::Btrfs => BTRFS,
    }
}

/// System calls that fail on demand.
pub const STRACE: Need = Need {
    what: "strace",
    is_there: || has_program("strace"),
    package: Some("strace"),
};

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Whether the kernel has it, or can load it.
fn has_file_system(name: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let in_kernel = known.lines().any(|line| line.trim().ends_with(name));
    in_kernel
        || std::process::Command::new("modprobe")
            .arg(name)
            .status()
            .is_ok_and(|status| status.success())
}

/// What of these is not there, in a line; none if all are.
pub fn lacks(needs: &[Need]) -> Option<String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return None;
    }
    let what: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let packages: Vec<&str> = missing.iter().filter_map(|need| need.package).collect();
    let mut told = format!("no {}", what.join(", no "));
    if !packages.is_empty() {
        told.push_str(&format!("; apt-get install {}", packages.join(" ")));
    }
    Some(told)
}

#[cfg(target_os = "linux")]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(target_os = "linux"))]
fn is_root() -> bool {
    false
}
