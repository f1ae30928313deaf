//! What a subscriber of `tracing` is told: the spans and events of decision 0039, at their levels, each within the one it belongs to.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use afterimage::Options;
use afterimage_io::sim::{FailSync, Sim, Survival};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down every span as it is entered and left, and every event.
struct Notes {
    told: Sender<String>,
    next: AtomicU64,
    spans: Box<[std::sync::OnceLock<String>]>,
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("afterimage")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut fields = Fields(String::new());
        span.record(&mut fields);
        let (name, level) = (span.metadata().name(), span.metadata().level());
        let told = self.spans[id as usize].set(format!("{level} {name}{}", fields.0));
        told.expect("each number once");
        Id::from_u64(id + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let _ = self
            .told
            .send(format!("{}{}", event.metadata().level(), fields.0));
    }

    fn enter(&self, span: &Id) {
        let name = self.spans[span.into_u64() as usize - 1].get();
        let _ = self
            .told
            .send(format!("> {}", name.expect("entered after it was made")));
    }

    fn exit(&self, span: &Id) {
        let name = self.spans[span.into_u64() as usize - 1].get();
        let _ = self
            .told
            .send(format!("< {}", name.expect("entered before")));
    }
}

/// What `work` tells, in order.
fn told(work: impl FnOnce()) -> Vec<String> {
    let (told, heard): (_, Receiver<String>) = channel();
    let spans = (0..10_000).map(|_| std::sync::OnceLock::new()).collect();
    let notes = Notes {
        told,
        next: AtomicU64::new(0),
        spans,
    };
    tracing::subscriber::with_default(notes, work);
    heard.try_iter().collect()
}

/// Where something that begins so is told; there is one.
fn place(told: &[String], begins: &str) -> usize {
    let found = told.iter().position(|line| line.starts_with(begins));
    found.unwrap_or_else(|| panic!("{begins} is not among {told:#?}"))
}

#[test]
fn a_commit_a_checkpoint_and_a_recovery_are_told_by_spans_within_each_other() {
    let sim = Sim::new(5);
    let options = || Options::new().io(sim.io()).background(false);
    let db = options().open("bank").expect("a new one");
    let table = db.table("accounts").expect("a table");
    let one = told(|| db.put(&table, b"alice", b"100").expect("a put"));
    let in_order = [
        "> TRACE autocommit",
        "> TRACE wait_durable upto=",
        "> DEBUG flush commits=1 bytes=",
        "< DEBUG flush",
        "< TRACE wait_durable",
        "< TRACE autocommit",
    ];
    let places = in_order.map(|line| place(&one, line));
    assert!(places.is_sorted(), "{one:#?}");
    let read = told(|| drop(db.get(&table, b"alice").expect("a get")));
    assert_eq!(read, Vec::<String>::new(), "a read is not told");

    let mut tx = db.begin();
    tx.put(&table, b"bob", b"1").expect("a put");
    let commit = told(|| tx.commit().expect("a commit"));
    assert_eq!(place(&commit, "> TRACE commit"), 0);

    let taken = told(|| db.checkpoint().expect("a checkpoint"));
    assert_eq!(place(&taken, "> INFO checkpoint cause=Manual"), 0);
    place(&taken, "INFO message=checkpoint taken lsn=");

    db.put(&table, b"carol", b"3").expect("a put");
    let mut loser = db.begin();
    loser.put(&table, b"dora", b"4").expect("a put");
    db.put(&table, b"emil", b"5").expect("a put");
    let image = sim.snapshot().crash(&Survival::None);
    let sim = Sim::from_image(6, &image);
    let opened = told(|| {
        let options = Options::new().io(sim.io()).background(false);
        let db = options.open("bank").expect("recovered");
        db.close().expect("closed");
    });
    let in_order = [
        "> INFO open directory=bank",
        "> INFO decide",
        "> INFO make_safe",
        "> INFO redo from=",
        "> INFO undo losers=1",
        "> INFO checkpoint cause=Shutdown",
        "< INFO open",
        "> INFO close",
    ];
    let places = in_order.map(|line| place(&opened, line));
    assert!(places.is_sorted(), "{opened:#?}");
}

#[test]
fn a_log_that_stops_is_an_error_with_its_reason() {
    let sim = Sim::new(6);
    let options = Options::new().io(sim.io()).background(false);
    let db = options.open("bank").expect("a new one");
    let table = db.table("accounts").expect("a table");
    sim.fail_sync(FailSync::next());
    let told = told(|| {
        db.put(&table, b"alice", b"100")
            .expect_err("the sync fails");
    });
    let stopped = &told[place(&told, "ERROR")];
    assert!(stopped.contains("the log has stopped"), "{stopped}");
    assert!(stopped.contains(" reason="), "{stopped}");
}
