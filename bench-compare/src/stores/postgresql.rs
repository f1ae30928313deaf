//! PostgreSQL over a Unix socket: a server of its own in the directory, one connection a thread.
//!
//! It pays for a second process and for SQL, which the others do not: it is there for orientation. The server is
//! started from the system's package, through a shell that ends it at once when this process is gone, as a crash would.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::keys::{Key, Value};
use crate::{Result, Values};
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{ToSql, Type};
use postgres::{Client, Config, NoTls, Statement};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const SETTINGS: &str = "defaults (fsync, synchronous_commit and full_page_writes on) but: shared_buffers = the cache of the plan, \
                        max_wal_size = the log limit of the plan (16 GiB where there is none), checkpoint_timeout=1h, max_connections=100; \
                        prepared statements over a Unix socket; 1000 reads as one statement; load: synchronous_commit=off in \
                        transactions of 1000 rows, then CHECKPOINT; special load: COPY, then CHECKPOINT";
/// How long a server may take to answer, crash recovery included.
const START_LONGEST: Duration = Duration::from_secs(170);
/// Runs the server, and ends it when a word comes or whoever started it is gone.
const KEEPER: &str = r#"
"$0" "$@" </dev/null >>server.out 2>&1 &
server=$!
read -r how
if [ "$how" = close ]; then kill -INT $server; else kill -QUIT $server; fi
wait $server
"#;

/// PostgreSQL as the bench knows it: not there where its package is not installed.
pub fn kind() -> Kind {
    let there = programs().is_some();
    Kind {
        name: "postgresql",
        version: "the system's package, crate postgres 0.19",
        settings: match there {
            true => SETTINGS,
            false => "not installed (Debian: postgresql)",
        },
        tickets: false,
        loads: true,
        open: there.then_some(open),
    }
}

/// Where the newest server's programs are.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    bins.filter(|bin| bin.join("initdb").exists()).max()
}

/// The user that a server may run as: it refuses to run as root.
fn other_user() -> Result<Option<(u32, u32)>> {
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let fields: Vec<&str> = line
        .ok_or("there is no user postgres")?
        .split(':')
        .collect();
    Ok(Some((fields[2].parse()?, fields[3].parse()?)))
}

struct Server {
    dir: PathBuf,
    setup: Setup,
    keeper: Mutex<Child>,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let (dir, bin) = (dir.canonicalize()?, programs().ok_or("not installed")?);
    let user = other_user()?;
    if let Some(user) = user {
        give(&dir, user)?;
    }
    let command = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(&dir);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command
    };
    if !dir.join("PG_VERSION").exists() {
        let mut initdb = command(&bin.join("initdb").to_string_lossy());
        initdb.args(["--auth=trust", "--username=bench", "--encoding=UTF8"]);
        initdb.args(["--locale=C", "--pgdata"]).arg(&dir);
        let made = initdb.output()?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(format!("initdb: {said}").into());
        }
    }
    // What a server left that was ended at once, and copied with the rest.
    let _ = std::fs::remove_file(dir.join("postmaster.pid"));
    let log = setup.log.unwrap_or(16 << 30) >> 20;
    let mut keeper = command("sh");
    keeper.args(["-c", KEEPER]).arg(bin.join("postgres"));
    keeper.arg("-D").arg(&dir).arg("-k").arg(&dir);
    for setting in [
        "listen_addresses=".to_owned(),
        "max_connections=100".to_owned(),
        "checkpoint_timeout=1h".to_owned(),
        format!("shared_buffers={}kB", setup.cache >> 10),
        format!("max_wal_size={log}MB"),
    ] {
        keeper.args(["-c", &setting]);
    }
    // The shell keeps this process's output open: whoever waits for its end waits for the server's.
    let keeper = keeper.stdin(Stdio::piped()).spawn()?;
    let server = Server {
        dir,
        setup: *setup,
        keeper: Mutex::new(keeper),
    };
    let mut client = server.first_client()?;
    for part in Part::ALL {
        let name = part.name();
        client.batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {name} (k bytea PRIMARY KEY, v bytea NOT NULL)"
        ))?;
    }
    Ok(Box::new(server))
}

/// Gives a directory, and all that is in it, to the server's user.
fn give(path: &Path, user: (u32, u32)) -> Result<()> {
    chown(path, Some(user.0), Some(user.1))?;
    if path.is_dir() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(path, mode)?;
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

impl Server {
    fn client(&self) -> std::result::Result<Client, postgres::Error> {
        let mut config = Config::new();
        config.host_path(&self.dir).user("bench").dbname("postgres");
        let mut client = config.connect(NoTls)?;
        if !self.setup.durable {
            client.batch_execute("SET synchronous_commit = off")?;
        }
        Ok(client)
    }

    fn first_client(&self) -> Result<Client> {
        let begun = Instant::now();
        loop {
            let error = match self.client() {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            if keeper.try_wait()?.is_some() || begun.elapsed() > START_LONGEST {
                let said = std::fs::read_to_string(self.dir.join("server.out"))?;
                let last = said.lines().last().unwrap_or_default().to_owned();
                return Err(format!("{error}; the server said: {last}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Store for Server {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat {
            client: self.client()?,
            prepared: HashMap::new(),
        }))
    }

    fn settle(&self) -> Result<()> {
        let mut client = self.client()?;
        if self.setup.log.is_none() {
            client.batch_execute("CHECKPOINT")?;
        } else {
            // A commit that is synced makes durable all that came before it.
            client.batch_execute(
                "SET synchronous_commit = on; INSERT INTO history VALUES ('settled', '') ON CONFLICT DO NOTHING",
            )?;
        }
        Ok(())
    }

    fn counted(&self) -> Result<Values> {
        let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8";
        let bytes: f64 = self.client()?.query_one(sql, &[])?.get(0);
        Ok(Values::from([("log_bytes".into(), bytes)]))
    }

    fn load(&self, rows: &mut dyn Iterator<Item = (Key, Value)>) -> Result<()> {
        let mut client = self.client()?;
        let sink = client.copy_in("COPY rows FROM STDIN (FORMAT binary)")?;
        let mut writer = BinaryCopyInWriter::new(sink, &[Type::BYTEA, Type::BYTEA]);
        for (key, value) in rows {
            writer.write(&[&&key[..], &&value[..]])?;
        }
        writer.finish()?;
        client.batch_execute("CHECKPOINT")?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stdin) = &mut keeper.stdin {
            stdin.write_all(b"close\n")?;
        }
        keeper.wait()?;
        Ok(())
    }
}

struct Seat {
    client: Client,
    prepared: HashMap<String, Statement>,
}

const PUT: &str = "INSERT INTO @ VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
const PUT_ALL: &str = "INSERT INTO @ SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
const GET: &str = "SELECT v FROM @ WHERE k = $1";
const GET_ALL: &str = "SELECT k, v FROM @ WHERE k = ANY($1)";
const TAKE: &str = "SELECT v FROM @ WHERE k = $1 FOR UPDATE";
const SCAN: &str = "SELECT k, v FROM @ WHERE k >= $1 ORDER BY k LIMIT $2";

impl Seat {
    /// The statement for a table, prepared once.
    fn statement(&mut self, sql: &str, part: Part) -> Result<Statement> {
        let sql = sql.replace('@', part.name());
        if let Some(statement) = self.prepared.get(&sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&sql)?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Shows what a statement finds, row by row as it comes.
    fn show(
        &mut self,
        statement: &Statement,
        with: &[&(dyn ToSql + Sync)],
        see: &mut See<'_>,
    ) -> Result<u64> {
        let mut rows = self.client.query_raw(statement, with.iter().copied())?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            see(row.get(0), row.get(1));
            found += 1;
        }
        Ok(found)
    }
}

/// Whether the server has ended a transaction for another's sake.
fn must_begin_anew(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let of_server = error.downcast_ref::<postgres::Error>();
    of_server.and_then(postgres::Error::code) == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}

impl Session for Seat {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        if let [(key, value)] = rows {
            let statement = self.statement(PUT, part)?;
            self.client.execute(&statement, &[&&key[..], &&value[..]])?;
            return Ok(0);
        }
        // A statement may change a row once only: of two changes the second is the one that stays.
        let rows: BTreeMap<&[u8], &[u8]> = (rows.iter().map(|(k, v)| (&k[..], &v[..]))).collect();
        let (keys, values): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let statement = self.statement(PUT_ALL, part)?;
        self.client.execute(&statement, &[&keys, &values])?;
        Ok(0)
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        for again in 0.. {
            self.client.batch_execute("BEGIN")?;
            match body(&mut Open { seat: self }) {
                Ok(()) => {
                    self.client.batch_execute("COMMIT")?;
                    return Ok(again);
                }
                Err(error) => {
                    self.client.batch_execute("ROLLBACK")?;
                    if !must_begin_anew(error.as_ref()) {
                        return Err(error);
                    }
                }
            }
        }
        unreachable!("it is tried until it can be done");
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let statement = self.statement(GET, Part::Rows)?;
        let row = self.client.query_opt(&statement, &[&&key[..]])?;
        if let Some(row) = &row {
            see(key, row.get(0));
        }
        Ok(row.is_some())
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let statement = self.statement(GET_ALL, Part::Rows)?;
        let wanted: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let mut there = HashMap::new();
        self.show(&statement, &[&wanted], &mut |key, value| {
            see(key, value);
            there.insert(key.to_vec(), ());
        })?;
        // A key that is asked for twice is found twice.
        Ok(keys
            .iter()
            .filter(|key| there.contains_key(&key[..]))
            .count() as u64)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let statement = self.statement(SCAN, part)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.show(&statement, &[&&from[..], &most], see)
    }
}

struct Open<'a> {
    seat: &'a mut Seat,
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        let statement = self.seat.statement(TAKE, part)?;
        let row = self.seat.client.query_opt(&statement, &[&&key[..]])?;
        found(row.map(|row| row.get::<_, Vec<u8>>(0)))
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        let statement = self.seat.statement(PUT, part)?;
        self.seat
            .client
            .execute(&statement, &[&&key[..], &&value[..]])?;
        Ok(())
    }
}
