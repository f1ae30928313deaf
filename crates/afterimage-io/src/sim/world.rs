//! placeholder
#![allow(dead_code, clippy::unused_self, missing_docs)]
use super::disk::DiskState;
use super::observer::*;
use super::{Body, Hook, RunEnd};
use crate::file::File;
use crate::io::OpenMode;
use crate::lock::LockAttempt;
use crate::thread::{JoinHandle, Panicked};
use std::io::{ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
pub(crate) const PROCESS_ID: u32 = 4242;
pub(crate) struct CrashUnwind;
pub(crate) struct SimWorld {
    next: AtomicU64,
}
pub(crate) struct SimFile;
fn no<T>() -> Result<T> {
    Err(ErrorKind::Unsupported.into())
}
impl SimWorld {
    pub fn new(_s: u64, _d: DiskState) -> SimWorld {
        SimWorld {
            next: AtomicU64::new(0),
        }
    }
    pub fn open(&self, _p: &Path, _h: OpenMode) -> Result<File> {
        no()
    }
    pub fn create_dir(&self, _p: &Path) -> Result<()> {
        no()
    }
    pub fn rename(&self, _p: &Path, _q: &Path) -> Result<()> {
        no()
    }
    pub fn remove_file(&self, _p: &Path) -> Result<()> {
        no()
    }
    pub fn sync_dir(&self, _p: &Path) -> Result<()> {
        no()
    }
    pub fn list_dir(&self, _p: &Path) -> Result<Vec<String>> {
        no()
    }
    pub fn exists(&self, _p: &Path) -> Result<bool> {
        no()
    }
    pub fn is_dir(&self, _p: &Path) -> Result<bool> {
        no()
    }
    pub fn try_lock(&self, _p: &Path) -> Result<LockAttempt> {
        no()
    }
    pub fn now(&self) -> Duration {
        Duration::ZERO
    }
    pub fn wall_clock(&self) -> u64 {
        0
    }
    pub fn random(&self) -> u128 {
        0
    }
    pub fn sleep(&self, _d: Duration) {}
    pub fn yield_now(&self) {}
    pub fn spawn(&self, _n: &str, _b: Box<dyn FnOnce() + Send>) -> Result<JoinHandle> {
        no()
    }
    pub fn join(&self, _t: usize) -> std::result::Result<(), Panicked> {
        Ok(())
    }
    pub fn has_crashed(&self) -> bool {
        false
    }
    pub fn note(&self, _n: Note) {}
    pub fn new_primitive(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
    pub fn yield_point(&self) {}
    pub fn block(&self, what: &'static str, _id: u64, _t: Option<Duration>) -> bool {
        panic!("simulated deadlock: {what}")
    }
    pub fn wake_all(&self, _id: u64) {}
    pub fn wake_one(&self, _id: u64) {}
    pub fn snapshot(&self) -> DiskState {
        DiskState::default()
    }
    pub fn set_hook(&self, _h: Option<Hook>) {}
    pub fn set_hook_reads(&self, _r: bool) {}
    pub fn set_observer(&self, _o: Option<Arc<dyn Observer>>) {}
    pub fn set_quota(&self, _q: Option<u64>) {}
    pub fn fail_sync(&self, _f: FailSync) {}
    pub fn calls(&self) -> u64 {
        0
    }
    pub fn crash(&self) {}
    pub fn advance_clock(&self, _d: Duration) {}
    pub fn run_threads(_w: &Arc<SimWorld>, _b: Vec<Body>) -> RunEnd {
        RunEnd::Finished
    }
    pub fn trace_hash(&self) -> u64 {
        0
    }
}
impl SimFile {
    pub fn read_at(&self, _o: u64, _b: &mut [u8]) -> Result<usize> {
        no()
    }
    pub fn write_at(&self, _o: u64, _b: &[u8], _d: bool) -> Result<usize> {
        no()
    }
    pub fn sync(&self, _all: bool) -> Result<()> {
        no()
    }
    pub fn len(&self) -> Result<u64> {
        no()
    }
    pub fn set_len(&self, _l: u64) -> Result<()> {
        no()
    }
    pub fn prefill(&self, _f: u64, _t: u64) -> Result<()> {
        no()
    }
}
