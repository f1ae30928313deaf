//! Where the real forms come from: the standard library, or the model checker this build is for.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};

#[cfg(all(shuttle, not(loom)))]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};

/// The guard inside a lock's answer, poisoned or not.
pub(crate) fn ignore_poison<G>(answer: std::sync::LockResult<G>) -> G {
    answer.unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The guard inside an attempt's answer, or `None` if the lock is taken.
pub(crate) fn attempt<G>(answer: std::sync::TryLockResult<G>) -> Option<G> {
    match answer {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}
