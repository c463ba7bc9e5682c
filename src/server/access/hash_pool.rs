//! The threads that compute password hashes.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB. What always holds:
//!
//! - hashes run on threads of their own, on half of the cores, which the system prefers least: a flood of sign-ins takes
//!   what other calls leave;
//! - few callers wait, and the last places are kept for those who are known, so that a flood of strangers is
//!   turned away and does not turn away others;
//! - the memory is used again by the next hash, since fresh memory costs the machine as much as a good part of a hash; it
//!   is wiped and returned when nothing is left to do.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use argon2::Block;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::server::error::{Error, Kind, Result};

/// Callers that may wait while hashes run: as many as are served within about a second.
const WAITING: usize = 32;
/// How long unused memory is kept.
const KEPT_IDLE: Duration = Duration::from_secs(10);
/// Steps down in the system's preference (nice). Not the last one: a sign-in must come to its end on a busy machine too.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Who waits for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Somebody who is signed in, or comes from a place from which the account signed in before.
    Known,
    /// Anybody else.
    Stranger,
}

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The threads, and the line in front of them.
pub struct Pool {
    jobs: Sender<Job>,
    line: Arc<Semaphore>,
    kept_for_known: usize,
}

/// A place in the line. Dropped unused, it is free again.
pub struct Turn {
    jobs: Sender<Job>,
    place: OwnedSemaphorePermit,
}

impl Pool {
    /// Threads on half of the cores. They end when the pool and every turn are dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_limits((cores / 2).max(1), WAITING)
    }

    pub(super) fn with_limits(running: usize, waiting: usize) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..running {
            let queue = queue.clone();
            thread::Builder::new().name("password-hash".to_owned()).spawn(move || serve(&queue))?;
        }
        Ok(Self { jobs, line: Arc::new(Semaphore::new(running + waiting)), kept_for_known: waiting / 2 })
    }

    /// Takes a place in the line.
    ///
    /// # Errors
    /// `SIGN_IN_BUSY` when there is none.
    pub fn queue(&self, rank: Rank) -> Result<Turn> {
        let busy = || {
            let text = "Too many people are signing in at this moment. Try again in a second.";
            Error::new(Kind::Unavailable, "SIGN_IN_BUSY", text).retry_after(Duration::from_secs(1))
        };
        // two strangers at the same moment may both take the last place that is not kept: one more does no harm
        if rank == Rank::Stranger && self.line.available_permits() <= self.kept_for_known {
            return Err(busy());
        }
        let place = self.line.clone().try_acquire_owned().map_err(|_| busy())?;
        Ok(Turn { jobs: self.jobs.clone(), place })
    }
}

impl Turn {
    /// Waits for a thread that does the work. The place is kept until it is done; when the caller went away before it
    /// began, it is not done at all.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T> {
        let Self { jobs, place } = self;
        let (done, result) = oneshot::channel();
        let job = move |memory: &mut Memory| {
            if !done.is_closed() {
                let outcome = work(memory);
                drop(place);
                let _ = done.send(outcome); // nobody waits any more
            }
        };
        jobs.send(Box::new(job)).map_err(|_| Error::internal("the threads for hashes have ended"))?;
        result.await.map_err(|_| Error::internal("a hash was not computed"))
    }
}

/// The memory of a thread.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// So many blocks, with whatever they hold.
    pub fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }

    /// Wipes and returns it.
    fn release(&mut self) {
        self.0.fill(Block::new());
        std::hint::black_box(&self.0);
        self.0 = Vec::new();
    }
}

/// The life of a thread.
fn serve(queue: &Mutex<Receiver<Job>>) {
    step_back();
    let mut memory = Memory::default();
    loop {
        // whoever waits for the lock waits for a job just as well
        let next = {
            let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            match memory.0.is_empty() {
                true => queue.recv().map_err(RecvTimeoutError::from),
                false => queue.recv_timeout(KEPT_IDLE),
            }
        };
        match next {
            // a panic fails that job alone: its caller hears that there is no result
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(|| job(&mut memory)))),
            Err(RecvTimeoutError::Timeout) => memory.release(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Lets every other thread of the machine go first. Linux counts this per thread; other systems would slow the whole process.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(target: "chorus::hashes", %error, "password hashes run at the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_line_is_bounded_and_keeps_places_for_the_known() {
        let pool = Pool::with_limits(1, 4).unwrap();
        let strangers: Vec<_> = (0..3).map(|_| pool.queue(Rank::Stranger).unwrap()).collect();
        let refused = |rank| pool.queue(rank).err().map(|error| (error.kind(), error.reason()));
        assert_eq!(refused(Rank::Stranger), Some((Kind::Unavailable, "SIGN_IN_BUSY")));
        let known: Vec<_> = (0..2).map(|_| pool.queue(Rank::Known).unwrap()).collect();
        assert_eq!(refused(Rank::Known), Some((Kind::Unavailable, "SIGN_IN_BUSY")));
        drop((strangers, known));
        assert_eq!(pool.queue(Rank::Stranger).unwrap().run(|_| 1).await.unwrap(), 1, "the places are free again");
    }

    #[tokio::test]
    async fn a_panic_fails_that_job_alone() {
        let pool = Pool::with_limits(1, 0).unwrap();
        let failed = pool.queue(Rank::Known).unwrap().run(|_| panic!("on purpose")).await;
        assert_eq!(failed.map(|()| 0).unwrap_err().kind(), Kind::Internal);
        // the thread frees the place right after it told us
        let turn = loop {
            if let Ok(turn) = pool.queue(Rank::Known) {
                break turn;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(turn.run(|_| 1).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_done() {
        let pool = Pool::with_limits(1, 2).unwrap();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut first =
            Box::pin(pool.queue(Rank::Known).unwrap().run(move |_| begin.send(()).is_ok() && wait.recv().is_ok()));
        assert!(futures_util::poll!(&mut first).is_pending());
        begun.recv().unwrap();
        let (asked, told) = std::sync::mpsc::channel::<()>();
        let mut abandoned = Box::pin(pool.queue(Rank::Known).unwrap().run(move |_| asked.send(())));
        assert!(futures_util::poll!(&mut abandoned).is_pending());
        drop(abandoned);
        go.send(()).unwrap();
        assert!(first.await.unwrap());
        assert_eq!(pool.queue(Rank::Known).unwrap().run(|_| 1).await.unwrap(), 1);
        assert!(told.recv().is_err());
    }

    #[test]
    fn memory_is_used_again_until_it_is_released() {
        let mut memory = Memory::default();
        let first = memory.blocks(8).as_ptr();
        assert_eq!(memory.blocks(4).as_ptr(), first);
        memory.release();
        assert!(memory.0.is_empty());
    }
}
