//! Where it ran: what a reader needs to judge the figures, and no name of the host.

use crate::device::Device;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// A machine, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel.
    pub kernel: String,
    /// Processors that may be used.
    pub cpus: usize,
    /// Their kind, as the kernel names it.
    pub cpu: String,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The least limit of the memory group that we run in, the page cache counted, in MiB; none where there is no limit.
    pub memory_limit_mib: Option<u64>,
    /// The file system under the log, with its options.
    pub file_system: String,
    /// The device under it, and how it caches.
    pub device: String,
}

impl Machine {
    /// The machine we are on, with the log in `dir`.
    pub fn here(dir: &Path, device: Option<&Device>) -> Machine {
        let name = rustix::system::uname();
        Machine {
            kernel: format!(
                "{} {}",
                name.sysname().to_string_lossy(),
                name.release().to_string_lossy()
            ),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: field("/proc/cpuinfo", "model name"),
            memory_mib: field("/proc/meminfo", "MemTotal")
                .split(' ')
                .next()
                .and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
            memory_limit_mib: memory_limit(),
            file_system: file_system(dir),
            device: device.map_or_else(|| "no device that counts flushes".into(), describe),
        }
    }
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
}

/// The limit of our memory group or of one that it is in, by either version of control groups; a limit above all memory is none.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let all = 1024
        * field("/proc/meminfo", "MemTotal")
            .split(' ')
            .next()?
            .parse::<u64>()
            .ok()?;
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kind, group) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (root, file) = match kind {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        let group = Path::new(root).join(group.trim_start_matches('/'));
        let within = group.ancestors().take_while(|path| path.starts_with(root));
        let read = |path: &Path| {
            fs::read_to_string(path.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        within.filter_map(read).collect()
    });
    limits
        .filter(|limit: &u64| *limit < all)
        .min()
        .map(|limit| limit >> 20)
}

/// The mount with the longest path that `dir` is under.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let mut best = (0, "unknown".to_owned());
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [_, at, kind, options, ..] = words[..]
            && dir.starts_with(at)
            && at.len() >= best.0
        {
            best = (at.len(), format!("{kind} ({options})"));
        }
    }
    best.1
}

fn describe(device: &Device) -> String {
    let queue = |name: &str| {
        let path = format!("/sys/block/{}/queue/{name}", device.name);
        fs::read_to_string(path).map_or_else(|_| "?".into(), |text| text.trim().to_owned())
    };
    format!(
        "{} ({}, FUA {}, {} B sectors, scheduler {})",
        device.name,
        queue("write_cache"),
        queue("fua"),
        queue("physical_block_size"),
        queue("scheduler")
    )
}

/// CPU time of the whole machine so far, in seconds, the kernel's own included; 0 where it is not told.
pub fn busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let words = text.lines().next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = words.skip(1).map_while(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; the tick is a hundredth of a second on every Linux that tells it.
    match ticks[..] {
        [user, nice, system, _, _, irq, softirq, ..] => {
            (user + nice + system + irq + softirq) / 100.0
        }
        _ => 0.0,
    }
}
