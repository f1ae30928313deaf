//! How the engine's models are run: under loom in every order of their steps with two preemptions, with every value that a
//! weakly ordered processor may show; under shuttle in some hundreds of schedules. Built only for these.
//!
//! With `--cfg planted` too, `SCHEDULES_BUG` switches a planted bug on, to see it found.

use afterimage_io::planted::{self, Bug};

fn plant() {
    let bug = std::env::var("SCHEDULES_BUG").ok();
    let known = |known: &Bug| Some(known.name()) == bug.as_deref();
    planted::plant(Bug::ALL.iter().copied().find(known));
}

/// Runs `model` in many schedules. One that is not through after 20 seconds is cut off; what it has seen counts.
#[cfg(loom)]
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    plant();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 100_000;
    builder.max_duration = Some(std::time::Duration::from_secs(20));
    builder.check(model);
}

/// Runs `model` in many schedules.
#[cfg(all(shuttle, not(loom)))]
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    plant();
    let number = |name, otherwise| {
        let set = std::env::var(name).ok();
        set.and_then(|value: String| value.parse().ok())
            .unwrap_or(otherwise)
    };
    let (seed, many) = (number("SCHEDULES_SEED", 1), number("SCHEDULES", 200));
    let model = std::sync::Arc::new(model);
    let config = || {
        let mut config = shuttle::Config::new();
        config.silence_warnings = true;
        config
    };
    let many = usize::try_from(many).unwrap_or(200);
    let (random, priorities) = (std::sync::Arc::clone(&model), model);
    shuttle::Runner::new(RandomScheduler::new_from_seed(seed, many), config())
        .run(move || random());
    let scheduler = PctScheduler::new_from_seed(seed, 3, many);
    shuttle::Runner::new(scheduler, config()).run(move || priorities());
}
