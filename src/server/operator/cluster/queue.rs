//! What to work on next: keys, each at most once, each by one worker at a time, with delays and back-off.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After a wake-up, for others to join it: a burst of changes becomes one pass.
    pub debounce: Duration,
    /// After work that told people something: what changes within this time is told at once, not bit by bit. It doubles,
    /// up to four times this, while that goes on.
    pub rest: Duration,
    /// After the first failure; it doubles with each.
    pub first: Duration,
    /// The longest wait after a failure.
    pub longest: Duration,
    /// The longest wait after a failure during which the key was woken: what woke it may be the remedy.
    pub woken: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(50),
            rest: Duration::from_secs(1),
            first: Duration::from_millis(200),
            longest: Duration::from_secs(300),
            woken: Duration::from_secs(1),
        }
    }
}

/// A queue of keys.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    pace: Pace,
}

#[derive(Debug)]
struct State<K> {
    /// In the order of their time.
    waiting: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
    /// Keys at work, and how they were woken meanwhile.
    working: HashMap<K, Option<Haste>>,
    failures: HashMap<K, u32>,
    /// Until when keys rest, and how long that was.
    resting: HashMap<K, (Instant, Duration)>,
}

/// Whether a key that was woken may rest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Haste {
    Rests,
    Hurries,
}

/// How many keys may be known to have rested before those that did so long ago are forgotten.
const RESTED: usize = 1024;

impl<K: Clone + Ord + Hash> Queue<K> {
    /// An empty queue.
    pub fn new(pace: Pace) -> Self {
        let state = State {
            waiting: BTreeSet::new(),
            due: HashMap::new(),
            working: HashMap::new(),
            failures: HashMap::new(),
            resting: HashMap::new(),
        };
        Self { state: Mutex::new(state), changed: Notify::new(), pace }
    }

    /// Something about this key changed.
    pub fn wake(&self, key: K) {
        self.add(key, Haste::Rests);
    }

    /// Somebody asked something of this key: it does not rest.
    pub fn hurry(&self, key: K) {
        self.add(key, Haste::Hurries);
    }

    fn add(&self, key: K, haste: Haste) {
        let mut state = self.lock();
        if let Some(woken) = state.working.get_mut(&key) {
            *woken = (*woken).max(Some(haste));
        } else {
            state.schedule_soon(key, self.pace.debounce, haste);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The next key whose time has come. It is the caller's until [`Queue::done`] or [`Queue::failed`].
    pub async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let (key, first) = {
                let mut state = self.lock();
                let key = state.take(Instant::now());
                (key, state.waiting.first().map(|(at, _)| *at))
            };
            if let Some(key) = key {
                if first.is_some_and(|at| at <= Instant::now()) {
                    self.changed.notify_one();
                }
                return key;
            }
            match first {
                Some(at) => tokio::select! { () = changed => {}, () = sleep_until(at) => {} },
                None => changed.await,
            }
        }
    }

    /// The work on this key went well; it may rest if people were told something.
    pub fn done(&self, key: &K, rests: bool) {
        let mut state = self.lock();
        state.failures.remove(key);
        if rests {
            state.rest(key, self.pace.rest);
        }
        if let Some(haste) = state.working.remove(key).flatten() {
            state.schedule_soon(key.clone(), self.pace.debounce, haste);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The work on this key failed: it is tried again later. Returns how often it failed in a row, and the wait.
    pub fn failed(&self, key: &K) -> (u32, Duration) {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let doubled = self.pace.first.saturating_mul(1 << (failures - 1).min(20));
        let mut wait = doubled.min(self.pace.longest);
        if state.working.remove(key).flatten().is_some() {
            wait = wait.min(self.pace.woken);
        }
        state.schedule(key.clone(), Instant::now() + wait);
        drop(state);
        self.changed.notify_one();
        (failures, wait)
    }

    /// Nothing is waited for any more; what is being worked on goes on.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.due.clear();
        state.failures.clear();
        state.resting.clear();
    }

    /// How many keys wait or are worked on.
    pub fn depth(&self) -> usize {
        let state = self.lock();
        state.due.len() + state.working.len()
    }

    /// Whether nothing waits and nothing is worked on.
    pub fn idle(&self) -> bool {
        self.depth() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord + Hash> State<K> {
    /// After this time, or when it has rested.
    fn schedule_soon(&mut self, key: K, debounce: Duration, haste: Haste) {
        let soon = Instant::now() + debounce;
        let rested = self.resting.get(&key).filter(|_| haste == Haste::Rests).map_or(soon, |(until, _)| *until);
        self.schedule(key, rested.max(soon));
    }

    /// Rests for a while, for longer if it rested just now.
    fn rest(&mut self, key: &K, rest: Duration) {
        let now = Instant::now();
        if self.resting.len() >= RESTED {
            self.resting.retain(|_, (until, rested)| now < *until + *rested * 4);
        }
        let before = self.resting.get(key).filter(|(until, rested)| now < *until + *rested * 4);
        let rest = before.map_or(rest, |(_, rested)| (*rested * 2).min(rest * 4));
        self.resting.insert(key.clone(), (now + rest, rest));
    }

    /// Keeps the earlier time.
    fn schedule(&mut self, key: K, at: Instant) {
        if let Some(&known) = self.due.get(&key) {
            if known <= at {
                return;
            }
            self.waiting.remove(&(known, key.clone()));
        }
        self.waiting.insert((at, key.clone()));
        self.due.insert(key, at);
    }

    fn take(&mut self, now: Instant) -> Option<K> {
        if self.waiting.first()?.0 > now {
            return None;
        }
        let (_, key) = self.waiting.pop_first()?;
        self.due.remove(&key);
        self.working.insert(key.clone(), None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{advance, timeout};

    use super::*;

    fn queue() -> Queue<&'static str> {
        Queue::new(Pace::default())
    }

    async fn wait(queue: &Queue<&'static str>) -> Duration {
        let start = Instant::now();
        queue.next().await;
        start.elapsed().as_millis().try_into().map(Duration::from_millis).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_piece_of_work() {
        let queue = queue();
        for _ in 0..10 {
            queue.wake("a");
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(queue.depth(), 1);
        let start = Instant::now();
        assert_eq!(queue.next().await, "a");
        assert!(start.elapsed() <= Duration::from_millis(45));
        queue.done(&"a", false);
        assert!(timeout(Duration::from_secs(3600), queue.next()).await.is_err());
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_worked_on_twice_at_once() {
        let queue = Arc::new(queue());
        queue.wake("a");
        assert_eq!(queue.next().await, "a");
        queue.wake("a");
        queue.wake("a");
        queue.wake("b");
        assert_eq!(queue.next().await, "b");
        assert!(timeout(Duration::from_secs(10), queue.next()).await.is_err());
        queue.done(&"b", false);
        queue.done(&"a", false);
        assert_eq!(timeout(Duration::from_secs(10), queue.next()).await, Ok("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_until_one_goes_well() {
        let queue = queue();
        queue.wake("a");
        queue.next().await;
        for (failures, seconds) in [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6)] {
            assert_eq!(queue.failed(&"a"), (failures, Duration::from_secs_f64(seconds)));
            assert!(!queue.idle());
            assert_eq!(wait(&queue).await.as_millis() / 10, Duration::from_secs_f64(seconds).as_millis() / 10);
        }
        for _ in 0..40 {
            let (_, longest) = queue.failed(&"a");
            assert!(longest <= Duration::from_secs(300));
            queue.next().await;
        }
        queue.done(&"a", false);
        queue.wake("a");
        queue.next().await;
        assert_eq!(queue.failed(&"a").0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_during_a_failure_shortens_the_wait() {
        let queue = queue();
        queue.wake("a");
        queue.next().await;
        for _ in 0..9 {
            queue.failed(&"a");
            queue.next().await;
        }
        queue.wake("a");
        assert_eq!(queue.failed(&"a").1, Duration::from_secs(1));
        queue.wake("a");
        assert!(wait(&queue).await <= Duration::from_millis(60));
    }

    #[tokio::test(start_paused = true)]
    async fn who_told_people_something_rests() {
        let queue = queue();
        queue.wake("a");
        queue.next().await;
        for seconds in [1, 2, 4, 4] {
            queue.wake("a");
            queue.done(&"a", true);
            queue.wake("a");
            assert_eq!(wait(&queue).await.as_millis().div_ceil(1000), seconds);
        }
        queue.done(&"a", true);
        queue.wake("a");
        queue.hurry("a");
        assert!(wait(&queue).await <= Duration::from_millis(60), "somebody asked");
        queue.hurry("a");
        queue.done(&"a", true);
        assert!(wait(&queue).await <= Duration::from_millis(60), "meanwhile");
        queue.done(&"a", true);
        advance(Duration::from_secs(30)).await;
        queue.wake("a");
        assert!(wait(&queue).await <= Duration::from_millis(60), "it has rested");
        queue.wake("a");
        queue.done(&"a", true);
        assert!(wait(&queue).await <= Duration::from_millis(1000), "and begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn many_workers_share_the_work() {
        let queue: Arc<Queue<u32>> = Arc::new(Queue::new(Pace::default()));
        let worker = |queue: Arc<Queue<u32>>| async move {
            let mut did = Vec::new();
            while let Ok(key) = timeout(Duration::from_secs(5), queue.next()).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
                queue.done(&key, false);
                did.push(key);
            }
            did
        };
        let workers: Vec<_> = (0..4).map(|_| tokio::spawn(worker(Arc::clone(&queue)))).collect();
        let start = Instant::now();
        (0..100).for_each(|key| queue.wake(key));
        let mut did = Vec::new();
        for worker in workers {
            did.extend(worker.await.unwrap());
        }
        did.sort_unstable();
        assert_eq!(did, (0..100).collect::<Vec<_>>());
        assert!(start.elapsed() < Duration::from_secs(6), "in parallel: {:?}", start.elapsed());
    }
}
