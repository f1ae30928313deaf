//! The shell, as a script uses it through a pipe and as a person uses it at a terminal.

mod common;

use common::running::Running;
use common::{Ended, Holder, Scratch, command, killed, ok, rows_text, run, run_with_input};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

#[track_caller]
fn shell(db: &str, input: &str) -> Ended {
    run_with_input(&["shell", db], input.as_bytes())
}

/// A database with a table `t` that has the rows given.
fn with_rows(scratch: &Scratch, rows: &str) -> String {
    let db = scratch.path("bank");
    run_with_input(&["load", &db, "t"], rows.as_bytes()).expect(0);
    db
}

#[test]
fn results_are_alone_on_stdout_and_read_back() {
    let scratch = Scratch::new();
    let db = scratch.path("bank");
    let made = run_with_input(
        &["shell", &db, "--create"],
        b"create t\nput t plain 1\nput t \"two words\" \"a\\tb\\x00\\xff\"\nput t 0x00ff 0x\n# a remark\n\nscan t\n",
    )
    .expect(0);
    let rows = "\\x00\\xff\t\"\"\nplain\t1\n\"two words\"\ta\\tb\\x00\\xff\n";
    assert_eq!(made.text(), rows);
    assert!(made.stderr.contains("3 rows"), "{}", made.stderr);
    // What was printed, given back.
    let again: String = rows
        .lines()
        .map(|row| format!("put copy {row}\n"))
        .chain(["scan copy\n".to_owned()])
        .collect();
    let again = shell(&db, &format!("create copy\n{again}")).expect(0);
    assert_eq!(again.text(), rows);
    assert_eq!(shell(&db, "tables").expect(0).text(), "copy\nt\n");
    let hex = run_with_input(&["shell", &db, "--format", "hex"], b"get t plain").expect(0);
    assert_eq!(hex.text(), "0x31\n");
    let wide = shell(&db, "\\width 2; get t plain; get t \"two words\"").expect(0);
    assert_eq!(wide.text(), "1\na\\t… (5 bytes)\n");
}

#[test]
fn parts_of_a_table() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a1\t1\na2\t2\nb1\t3\nb2\t4\nlimit\t5\n");
    let keys = |what: &str| {
        let lines = shell(&db, what).expect(0).lines();
        let key = |line: String| line.split('\t').next().expect("a key").to_owned();
        lines.into_iter().map(key).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("scan t prefix a"), "a1 a2");
    assert_eq!(keys("scan t from a2 to b2"), "a2 b1");
    assert_eq!(keys("scan t prefix b from b2"), "b2");
    assert_eq!(keys("scan t limit 2 reverse"), "\"limit\" b2");
    assert_eq!(keys("scan t prefix \"limit\""), "\"limit\"");
    assert_eq!(keys("scan t from z to a"), "");
    assert_eq!(keys("use t; scan limit 1; count prefix b; count"), "a1 2 5");
    let deleted = shell(&db, "delete t prefix a; delete t b1; count t").expect(0);
    assert_eq!(deleted.text(), "2\n");
    assert!(deleted.stderr.contains("2 rows deleted"));
    assert_eq!(
        ok(&["scan", &db, "t"]).text(),
        "b2\t4\nlimit\t5\n",
        "it is durable"
    );
}

#[test]
fn transactions_and_savepoints() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\n");
    let seen = shell(
        &db,
        "begin; put t a 2; savepoint one; put t a 3; savepoint two; update t a 4; get t a\n\
         rollback to two; get t a; rollback to one; get t a\n\
         savepoint three; put t a 5; release three; get t a; rollback; get t a\n\
         begin; insert t b 1; delete t a; commit; scan t\n",
    );
    assert_eq!(seen.expect(0).text(), "4\n3\n2\n5\n1\nb\t1\n");
    // A savepoint that was rolled back over, or released, is gone.
    for gone in [
        "begin; savepoint a; savepoint b; rollback to a; rollback to b",
        "begin; savepoint a; release a; release a",
        "savepoint a",
        "rollback to a",
        "commit",
        "begin; begin",
    ] {
        let told = shell(&db, gone).expect(2);
        assert!(
            told.stderr.starts_with("error: line 1: "),
            "{gone}: {told:?}"
        );
    }
    // One name twice: the later hides the earlier.
    let twice = "begin; savepoint a; put t x 1; savepoint a; put t x 2; rollback to a; get t x; release a; rollback to a; count t; commit";
    assert_eq!(shell(&db, twice).expect(0).text(), "1\n1\n");
}

#[test]
fn tables_are_dropped_and_renamed() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\n");
    let input = "use t; rename t to \"new name\"; get a; create t; tables; drop t; drop \"new name\"; tables; create t; count t";
    let seen = shell(&db, input).expect(0);
    assert_eq!(seen.text(), "1\n\"new name\"\nt\n0\n");
    for (input, code, told) in [
        ("drop nope", 2, "there are: t"),
        ("rename t nope", 2, "rename TABLE to NAME"),
        ("create u; rename t to u", 1, "already"),
        ("begin; drop t", 2, "a transaction is open"),
        ("use t; drop t; count", 2, "which table"),
    ] {
        let ended = shell(&db, input).expect(code);
        assert!(ended.stderr.contains(told), "{input}: {}", ended.stderr);
    }
}

#[test]
fn a_setting_changes_while_the_shell_is_open() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\n");
    let four = "of max_wal_size, 4 GiB";
    let changed = shell(&db, "set max_wal_size 4GiB; stats").expect(0).text();
    assert!(changed.contains(four), "{changed}");
    for (input, told) in [
        ("set page_size 4KiB", "setting page_size"),
        ("set max_wal_sise 4GiB", "did you mean max_wal_size?"),
        ("set max_wal_size", "set NAME VALUE"),
    ] {
        let ended = shell(&db, input);
        assert!(ended.stderr.contains(told), "{input}: {}", ended.stderr);
    }
    let again = shell(&db, "stats").expect(0).text();
    assert!(!again.contains(four), "{again}");
}

#[test]
fn the_first_failure_ends_a_script() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\n");
    for (input, code, told) in [
        (
            "put t b 1\nget t nope\nput t c 1\n",
            1,
            "line 2: there is no such key",
        ),
        ("insert t a 2", 1, "such a key already"),
        ("update t nope 2", 1, "no such key"),
        ("delete t nope", 1, "no such key"),
        ("create t", 1, "already"),
        ("scan nope", 2, "there are: t"),
        ("scan", 2, "which table"),
        ("scann t", 2, "did you mean scan?"),
        ("put t a", 2, "which table"),
        ("get t \"a", 2, "not closed"),
        ("\\nonsense", 2, "no command"),
        ("begin; put t d 1", 1, "rolled back"),
        ("begin; put t d 1; quit", 1, "rolled back"),
        ("begin; put t d 1; get t nope", 1, "no such key"),
    ] {
        let ended = shell(&db, input).expect(code);
        assert!(ended.stderr.contains(told), "{input}: {}", ended.stderr);
    }
    // What was done before the failure is done, what was not committed is not.
    assert_eq!(ok(&["scan", &db, "t"]).text(), "a\t1\nb\t1\n");
}

#[test]
fn verify_looks_at_the_open_database_and_fails_when_something_is_wrong() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, &rows_text(0, 3000));
    let sound = shell(&db, "begin; put t a 1; verify; rollback").expect(0);
    assert!(
        sound.text().starts_with("all is as it must be"),
        "{sound:?}"
    );
    // A byte in the middle of the last page that is in use.
    let path = Path::new(&db).join("pages");
    let mut bytes = std::fs::read(&path).expect("pages");
    let used = |page: &[u8]| page.iter().filter(|byte| **byte != 0).count() > 4000;
    let page = bytes.chunks(8192).rposition(used).expect("a full page");
    bytes[page * 8192 + 5000] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let wrong = shell(&db, "verify; get t nothing").expect(1);
    assert!(wrong.text().contains(&format!("page {page}")), "{wrong:?}");
    assert_eq!(wrong.stderr, "");
}

#[test]
fn json_is_one_document_a_line() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\n");
    let input = "put t 0xff00 \"x y\"; tables; scan t; get t a; count t; stats; begin; commit";
    let ended = run_with_input(&["shell", &db, "--json"], input.as_bytes()).expect(0);
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    let mut documents: Vec<Value> = ended.lines().iter().map(read).collect();
    let stats = documents.pop().expect("the last one");
    assert_eq!(stats["active_transactions"], json!(0));
    let a = json!({ "key": "a", "value": "1" });
    let all = [
        json!({ "tables": ["t"], "unlogged": [] }),
        a.clone(),
        json!({ "key": { "hex": "ff00" }, "value": "x y" }),
        a,
        json!({ "count": 2 }),
    ];
    assert_eq!(documents, all);
}

#[test]
fn a_dry_run_changes_no_byte() {
    let scratch = Scratch::new();
    let db = scratch.path("bank");
    killed(&db, "t", 100);
    let pages = Path::new(&db).join("pages");
    let before = std::fs::read(&pages).expect("pages");
    let dry = ["shell", &db, "--dry-run"];
    let tried = run_with_input(&dry, b"create u; put u a 1; count t; count u").expect(0);
    assert_eq!(tried.text(), "100\n1\n");
    assert!(tried.stderr.contains("Recovery"), "{}", tried.stderr);
    assert!(std::fs::read(&pages).expect("pages") == before);
    let tables = run_with_input(&dry, b"tables").expect(0);
    assert_eq!(tables.text(), "t\n");
    // Opened to write, it recovers and stays recovered.
    assert_eq!(shell(&db, "count t").expect(0).text(), "100\n");
    assert!(!shell(&db, "count t").expect(0).stderr.contains("Recovery"));
}

#[test]
fn one_shell_at_a_time_and_the_message_says_what_can_be_done() {
    let scratch = Scratch::new();
    let db = scratch.path("bank");
    let holder = Holder::with_rows(&db, "t", 50, 50);
    let refused = shell(&db, "count t").expect(3);
    for told in [
        &format!("process {}", holder.pid())[..],
        "stats",
        "log dump",
        "tail -f",
    ] {
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    drop(holder);
    shell(&db, "count t").expect(0);
    let nothing = run(&["shell", &scratch.path("nothing")]).expect(2);
    assert!(nothing.stderr.contains("--create"), "{}", nothing.stderr);
}

#[test]
fn an_open_transaction_is_named_by_pins() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\n");
    let mut open = Running::start(&["shell", &db]);
    open.write("begin; put t a 2; get t a\n");
    assert_eq!(open.line(), "2");
    // The status is written anew every half second.
    let look = || ok(&["pins", &db]).text();
    let pins = (0..1000)
        .map(|_| look())
        .find(|pins| pins.contains("shell"));
    assert!(pins.is_some(), "{}", look());
}

/// A shell at a terminal of its own.
struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn open(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("a terminal");
        unlockpt(&ours).expect("a terminal");
        let name = ptsname(&ours, Vec::new()).expect("a terminal");
        let name = name.into_string().expect("a plain name");
        let theirs = OpenOptions::new().read(true).write(true).open(name);
        let theirs = theirs.expect("a terminal");
        let child = command
            .env("TERM", "xterm")
            .stdin(theirs.try_clone().expect("a handle"))
            .stdout(theirs.try_clone().expect("a handle"))
            .stderr(theirs)
            .spawn()
            .expect("the built binary starts");
        drop(command);
        let keys = File::from(ours);
        let mut read = keys.try_clone().expect("a handle");
        // One block waits at most: what nobody looks at stops the shell, as a slow terminal would.
        let (send, screen) = sync_channel(0);
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = read.read(&mut block) {
                if send.send(block[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            screen,
            seen: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it is there");
    }

    /// Waits until `text` appears, and gives what was on the screen up to it.
    #[track_caller]
    fn see(&mut self, text: &str) -> String {
        while !self.seen.contains(text) {
            let block = self.screen.recv_timeout(Duration::from_secs(60));
            let Ok(block) = block else {
                panic!("{text:?} did not appear:\n{}", self.seen);
            };
            self.seen += &String::from_utf8_lossy(&block);
        }
        let end = self.seen.find(text).expect("seen") + text.len();
        self.seen.drain(..end).collect()
    }

    /// Waits until a line may be typed: what is typed before that meets a terminal in another mode.
    #[track_caller]
    fn prompt(&mut self, text: &str) {
        // The editor says first that it takes pasted text as such.
        self.see("\x1b[?2004h");
        self.see(text);
    }

    /// Waits for the end.
    #[track_caller]
    fn ends(mut self) {
        while let Ok(block) = self.screen.recv_timeout(Duration::from_secs(60)) {
            self.seen += &String::from_utf8_lossy(&block);
        }
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "{ended}: {}", self.seen);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn at_a_terminal_there_is_a_prompt_with_history_and_completion() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\nlonger\t2\n");
    let state = scratch.path("state");
    let start = |arguments: &[&str]| {
        let mut command = command(&["shell", &db]);
        command.args(arguments).env("XDG_STATE_HOME", &state);
        Terminal::open(command)
    };
    let mut first = start(&[]);
    first.prompt("bank> ");
    first.press("scan t\r");
    first.see("a       1\r\nlonger  2\r\n2 rows");
    first.prompt("bank> ");
    first.press("beg\t\r");
    first.prompt("bank*> ");
    first.press("put t a 9\r");
    first.prompt("bank*> ");
    // Ctrl-C takes back the line, and nothing else.
    first.press("put t a 10\x03");
    first.prompt("bank*> ");
    first.press("get t a\r");
    first.see("\r\n9\r\n");
    first.prompt("bank*> ");
    first.press("nonsense\r");
    first.see("error: there is no command nonsense");
    first.prompt("bank*> ");
    first.press(" put t secret 1\r");
    first.prompt("bank*> ");
    // Ctrl-D.
    first.press("\x04");
    first.see("the open transaction was rolled back");
    first.ends();
    let kept = std::fs::read_to_string(Path::new(&state).join("afterimage/history"));
    let kept = kept.expect("a history");
    assert!(kept.contains("get t a"), "{kept}");
    assert!(!kept.contains("secret"), "{kept}");

    // The next one remembers: arrow up twice.
    let mut next = start(&[]);
    next.prompt("bank> ");
    next.press("\x1b[A\x1b[A\r");
    next.see("\r\n1\r\n");
    next.prompt("bank> ");
    next.press("\\quit\r");
    next.ends();
    let mut silent = start(&["--no-history"]);
    silent.prompt("bank> ");
    silent.press("count t\r");
    silent.see("\r\n2\r\n");
    silent.prompt("bank> ");
    silent.press("\x04");
    silent.ends();
    let kept = std::fs::read_to_string(Path::new(&state).join("afterimage/history"));
    assert!(!kept.expect("a history").contains("count t"));
}

#[test]
fn ctrl_c_ends_a_scan_and_the_shell_goes_on() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, &rows_text(0, 20_000));
    let mut command = command(&["shell", &db, "--no-history"]);
    command.env_remove("XDG_STATE_HOME");
    let mut terminal = Terminal::open(command);
    terminal.prompt("bank> ");
    terminal.press("scan t\r");
    // Nobody reads on, so it stands in the middle.
    terminal.see("0 ");
    let pid = terminal.child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill runs").success());
    terminal.see("rows, then stopped by Ctrl-C");
    terminal.prompt("bank> ");
    terminal.press("count t\r");
    terminal.see("\r\n20000\r\n");
    terminal.prompt("bank> ");
    terminal.press("\x04");
    terminal.ends();
}

#[test]
fn unlogged_tables() {
    let scratch = Scratch::new();
    let db = with_rows(&scratch, "a\t1\n");
    let made = shell(
        &db,
        "create u unlogged; begin; put u k 1; put t b 2; commit; tables",
    );
    assert_eq!(made.expect(0).text(), "t\nu\tunlogged\n");
    // It was closed, so the rows are there; and so are the flags for whoever looks from outside.
    assert_eq!(ok(&["scan", &db, "u"]).text(), "k\t1\n");
    assert_eq!(ok(&["tables", &db]).text(), "t\nu\tunlogged\n");
    let tables = ok(&["tables", &db, "--json"]).json();
    assert_eq!(tables, json!({ "tables": ["t", "u"], "unlogged": ["u"] }));
    let stats = ok(&["stats", &db]).text();
    let line = stats.lines().find(|line| line.starts_with("tables"));
    assert!(
        line.is_some_and(|line| line.contains("2 (1 unlogged: ")),
        "{stats}"
    );
    ok(&["verify", &db]);
    let wrong = shell(&db, "create v logged").expect(2);
    assert!(
        wrong.stderr.contains("create TABLE [unlogged]"),
        "{}",
        wrong.stderr
    );
    // Damage in its file is told with what can be done, and that can be done.
    let file = Path::new(&db).join("unlogged");
    let mut bytes = std::fs::read(&file).expect("is there");
    bytes[8192 + 300] ^= 1;
    std::fs::write(&file, bytes).expect("writes");
    let refused = run(&["scan", &db, "t"]).expect(3);
    assert!(
        refused.stderr.contains("remove it to give them up"),
        "{}",
        refused.stderr
    );
    std::fs::remove_file(file).expect("removes");
    assert_eq!(ok(&["scan", &db, "t"]).text(), "a\t1\nb\t2\n");
    assert_eq!(ok(&["scan", &db, "u"]).text(), "");
}
