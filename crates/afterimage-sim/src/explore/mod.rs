//! Crash exploration of an application: its workload is run once on a simulated machine, and from then on everything is a question of what a power cut at one
//! of its calls would have left. Each such disk is given to the application to start from, and its own check says whether that is right.
//!
//! `machine` is what the closures are given, `run` is one life, `states` are the crash states, `search` goes through them, `place` names one, `report` tells.

mod machine;
pub(crate) mod place;
mod report;
mod run;
mod search;
mod states;

pub use machine::{Client, Machine};
pub use place::Fault;
pub use report::{Counterexample, Report};

use machine::{Check, Open, Setup, Work};
use search::{Plan, Search};
use std::sync::Arc;
use std::time::Duration;

/// What the closures of an exploration answer: any error will do, and a text is one (`Err("no such account".into())`).
pub type AppResult<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The most crashes in a row.
const DEPTH_MAX: usize = 4;

/// The environment variable that names one crash state to be shown again: every exploration of the process checks this one alone.
const REPLAY: &str = "AFTERIMAGE_REPLAY";

/// Begins an exploration of the application that `open` starts.
///
/// `open` is called for every run and after every crash, as a service is started again: it opens the database with
/// [`Machine::options`] and does whatever the application does when it starts. A [`Database`](afterimage::Database) alone is an application too.
///
/// ```
/// use afterimage::Database;
/// use afterimage_sim::{AppResult, Machine, explore};
///
/// /// Moves 30 from Alice to Bob.
/// fn transfer(db: &Database) -> AppResult {
///     let accounts = db.table("accounts")?;
///     let mut tx = db.begin();
///     tx.put(&accounts, b"alice", &[70])?;
///     tx.put(&accounts, b"bob", &[30])?;
///     Ok(tx.commit()?)
/// }
///
/// let report = explore(|machine: &Machine| Ok(machine.options().open("bank")?))
///     .setup(|db| Ok(db.put(&db.table("accounts")?, b"alice", &[100])?))
///     .work(|db, client| {
///         transfer(db)?;
///         client.acknowledge("30 to Bob");
///         Ok(())
///     })
///     .check(|db, acknowledged| {
///         let accounts = db.table("accounts")?;
///         let of = |name: &[u8]| Ok::<u8, afterimage::Error>(db.get(&accounts, name)?.map_or(0, |b| b[0]));
///         assert_eq!(of(b"alice")? + of(b"bob")?, 100, "money was made or lost");
///         assert!(acknowledged.is_empty() || of(b"bob")? == 30, "Bob was told of money that is not there");
///         Ok(())
///     })
///     .run();
/// assert!(report.checked > 50, "{report}");
/// ```
pub fn explore<A: Send + Sync + 'static>(
    open: impl Fn(&Machine) -> AppResult<A> + Send + Sync + 'static,
) -> Explore<A> {
    Explore {
        app: App {
            open: Arc::new(open),
            setup: None,
            work: Vec::new(),
            check: Arc::new(|_, _| Ok(())),
        },
        plan: Plan {
            seeds: None,
            faults: Vec::new(),
            depth: 2,
            at_most: usize::MAX,
            shrink: Duration::from_secs(30),
            replay: std::env::var(REPLAY).ok(),
        },
    }
}

/// An exploration that is being described; [`Explore::run`] does it. Made by [`explore`].
#[must_use = "nothing is explored before it is run"]
pub struct Explore<A> {
    app: App<A>,
    plan: Plan,
}

/// The application, in the closures that make it.
struct App<A> {
    open: Arc<Open<A>>,
    setup: Option<Arc<Setup<A>>>,
    work: Vec<Arc<Work<A>>>,
    check: Arc<Check<A>>,
}

impl<A> Clone for App<A> {
    fn clone(&self) -> App<A> {
        App {
            open: Arc::clone(&self.open),
            setup: self.setup.clone(),
            work: self.work.clone(),
            check: Arc::clone(&self.check),
        }
    }
}

impl<A> std::fmt::Debug for Explore<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explore")
            .field("clients", &self.app.work.len())
            .field("plan", &self.plan)
            .finish()
    }
}

impl<A: Send + Sync + 'static> Explore<A> {
    /// What is there before the workload: done once, closed, and durable. No crash comes in it.
    pub fn setup(mut self, setup: impl Fn(&A) -> AppResult + Send + Sync + 'static) -> Explore<A> {
        self.app.setup = Some(Arc::new(setup));
        self
    }

    /// What a client does. Called again, it adds one more client, and all of them work side by side on one application; who is next is then the seed's choice at every lock
    /// and every I/O call.
    ///
    /// An error or a panic fails the exploration, unless a fault was made ([`Explore::faults`]). A workload of five to fifty transactions is a good one:
    /// what is found is nearly always found with few.
    pub fn work(
        mut self,
        work: impl Fn(&A, &Client) -> AppResult + Send + Sync + 'static,
    ) -> Explore<A> {
        self.app.work.push(Arc::new(work));
        self
    }

    /// What must hold after every crash: asked of the application when it has started again, with everything that [`Client::acknowledge`] had said by
    /// then, in order. An error or a panic is a counterexample, so `assert!` may be used. The check may write: nobody uses the disk after it.
    pub fn check(
        mut self,
        check: impl Fn(&A, &[String]) -> AppResult + Send + Sync + 'static,
    ) -> Explore<A> {
        self.app.check = Arc::new(check);
        self
    }

    /// One run of the workload for each seed. A seed decides the schedule of several clients, and what [`Client::below`] and [`Client::pick`] choose. Default:
    /// seed 0, and up to 15 where there are several clients or choices.
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Explore<A> {
        self.plan.seeds = Some(seeds.into_iter().collect());
        self
    }

    /// How many crashes in a row: 1 to 4, default 2. The first is tried at every call with every survival; inside each recovery one crash is chosen, and inside the
    /// recovery from that the next. So each step adds about as many states as the first has.
    ///
    /// # Panics
    /// If it is not 1 to 4.
    pub fn depth(mut self, crashes: usize) -> Explore<A> {
        assert!(
            (1..=DEPTH_MAX).contains(&crashes),
            "a depth is 1 to {DEPTH_MAX}, not {crashes}"
        );
        self.plan.depth = crashes;
        self
    }

    /// At most so many crash states of each run, and so many runs with a fault, taken evenly from all there are. Default: all of them. [`Report`] says how many there
    /// were (`distinct`) and how many were checked.
    pub fn at_most(mut self, states: usize) -> Explore<A> {
        self.plan.at_most = states;
        self
    }

    /// Faults beside the loss of power; none by default. Each is made at each call of the workload where it can happen, in a run of its own: the clients
    /// are told by an error and may give up, then the power goes (or only the process), and the check must hold as ever.
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Explore<A> {
        self.plan.faults = faults.into_iter().collect();
        self
    }

    /// How long a simpler run that fails in the same way is looked for, once one has failed in which clients made choices: wall-clock time, default 30 s.
    pub fn shrink_for(mut self, limit: Duration) -> Explore<A> {
        self.plan.shrink = limit;
        self
    }

    /// Only this: one crash state, or one run (what stands before the first `@`) with all of its states, by the name that a failure gave it. The environment
    /// variable `AFTERIMAGE_REPLAY` does the same without a change of the code. A name is good as long as the application, its workload and
    /// this crate stay what they are.
    pub fn replay(mut self, place: &str) -> Explore<A> {
        self.plan.replay = Some(place.to_string());
        self
    }

    /// Explores, on all processors, and panics with the counterexample if there is one; this is for a test. The same code finds the same
    /// counterexample every time: the first in the order from simple to strange.
    ///
    /// # Panics
    /// With the [`Counterexample`].
    #[track_caller]
    pub fn run(self) -> Report {
        match self.try_run() {
            Ok(report) => report,
            Err(counterexample) => panic!("{counterexample}"),
        }
    }

    /// As [`Explore::run`], for a program that wants to go on.
    ///
    /// # Errors
    /// The [`Counterexample`].
    pub fn try_run(self) -> Result<Report, Box<Counterexample>> {
        Search::new(self).all()
    }
}
