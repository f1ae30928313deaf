//! The harness, tested on a store so small that one sees it is right; and on the same store with a bug, which must be found.

use afterimage_io::{File, Io, OpenMode};
use afterimage_sim::exhaustive::{self, Config};
use afterimage_sim::failure::{Failure, Layer};
use afterimage_sim::model::Rows;
use afterimage_sim::oracle::Layout;
use afterimage_sim::store::{Store, StoreResult};
use afterimage_sim::workload::Base;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const RIGHT: u8 = 0;
const NO_SYNC: u8 = 1;
const NO_CHECKSUM: u8 = 2;
const NO_DIRECTORY_SYNC: u8 = 3;

/// A log of whole transactions: length, checksum, rows. Every commit is one record and one sync.
struct Toy<const BUG: u8> {
    file: File,
    end: u64,
    rows: Rows,
    working: Option<Rows>,
}

const DIRECTORY: &str = "db";
const LOG: &str = "db/toy";
/// Written with zeroes beforehand, so that a torn write is torn in the middle.
const ROOM: u64 = 64 << 10;

fn told<T>(result: std::io::Result<T>) -> StoreResult<T> {
    result.map_err(|e| e.to_string())
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |h, b| {
        (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)
    })
}

fn encode(rows: &Rows) -> Vec<u8> {
    let mut body = vec![1];
    for (k, v) in rows {
        for part in [k, v] {
            body.extend(u32::try_from(part.len()).expect("small").to_le_bytes());
            body.extend(part);
        }
    }
    let mut record = u32::try_from(body.len())
        .expect("small")
        .to_le_bytes()
        .to_vec();
    record.extend(sum(&body).to_le_bytes());
    record.extend(body);
    record
}

fn word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, rest) = bytes.split_at_checked(4)?;
    Some((u32::from_le_bytes(head.try_into().ok()?) as usize, rest))
}

fn decode<const BUG: u8>(bytes: &[u8]) -> Option<(Rows, usize)> {
    let (length, rest) = word(bytes)?;
    let (check, rest) = word(rest)?;
    let body = rest.get(..length)?;
    if length == 0 || (BUG != NO_CHECKSUM && check != sum(body) as usize) {
        return None;
    }
    let (mut rows, mut at) = (Rows::new(), &body[1..]);
    while !at.is_empty() {
        let (k, rest) = word(at)?;
        let (key, rest) = rest.split_at_checked(k)?;
        let (v, rest) = word(rest)?;
        let (value, rest) = rest.split_at_checked(v)?;
        rows.insert(key.to_vec(), value.to_vec());
        at = rest;
    }
    Some((rows, 8 + length))
}

impl<const BUG: u8> Toy<BUG> {
    fn working(&mut self) -> &mut Rows {
        self.working.get_or_insert_with(|| self.rows.clone())
    }
}

impl<const BUG: u8> Store for Toy<BUG> {
    fn open(io: &Io) -> StoreResult<Self> {
        if !told(io.exists(Path::new(DIRECTORY)))? {
            told(io.create_dir(Path::new(DIRECTORY)))?;
        }
        let file = told(io.open(Path::new(LOG), OpenMode::Create))?;
        if BUG != NO_DIRECTORY_SYNC {
            told(io.sync_dir(Path::new(DIRECTORY)))?;
            told(io.sync_dir(Path::new("")))?;
        }
        if told(file.len())? < ROOM {
            told(file.prefill(0, ROOM))?;
            told(file.sync_all())?;
        }
        let length = told(file.len())?;
        let mut bytes = vec![0; usize::try_from(length).expect("small")];
        told(file.read_exact_at(0, &mut bytes))?;
        let (mut rows, mut end) = (Rows::new(), 0);
        while let Some((next, length)) = decode::<BUG>(&bytes[end..]) {
            rows = next;
            end += length;
        }
        // What was torn is made dead, and what was only in the page cache is made durable.
        let tail = bytes.len() - end;
        told(file.write_all_at(0, &bytes[..end]))?;
        told(file.write_all_at(end as u64, &vec![0; tail]))?;
        told(file.sync())?;
        Ok(Toy {
            file,
            end: end as u64,
            rows,
            working: None,
        })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> StoreResult<()> {
        self.working().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> StoreResult<bool> {
        Ok(self.working().remove(key).is_some())
    }

    fn commit(&mut self) -> StoreResult<()> {
        let Some(rows) = self.working.take() else {
            return Ok(());
        };
        let record = encode(&rows);
        told(self.file.write_all_at(self.end, &record))?;
        if BUG != NO_SYNC {
            told(self.file.sync())?;
        }
        self.end += record.len() as u64;
        self.rows = rows;
        Ok(())
    }

    fn rollback(&mut self) -> StoreResult<()> {
        self.working = None;
        Ok(())
    }

    fn checkpoint(&mut self) -> StoreResult<()> {
        Ok(())
    }

    fn close(self) -> StoreResult<()> {
        Ok(())
    }

    fn rows(&mut self) -> StoreResult<Rows> {
        Ok(self.rows.clone())
    }

    fn verify(&mut self) -> StoreResult<()> {
        Ok(())
    }
}

fn run<const BUG: u8>() -> Result<exhaustive::Counts, Box<Failure>> {
    let config = Config {
        bases: vec![Base::Empty, Base::Rows],
        longest: 3,
        deeper_one_in: 4,
        ..Config::default()
    };
    exhaustive::run::<Toy<BUG>>(&Layout::small(), &config, &AtomicBool::new(false))
}

#[test]
fn a_right_store_passes_every_state() {
    let counts = run::<RIGHT>().unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(counts.workloads, 2 * (1 + 7 + 49 + 343));
    assert_eq!(counts.verified, counts.distinct, "{counts}");
    assert!(
        counts.raw > counts.distinct && counts.distinct > 100,
        "{counts}"
    );
}

#[test]
fn each_bug_is_found_and_replays() {
    let found = [
        run::<NO_SYNC>(),
        run::<NO_CHECKSUM>(),
        run::<NO_DIRECTORY_SYNC>(),
    ];
    for (n, result) in found.into_iter().enumerate() {
        let failure = *result
            .err()
            .unwrap_or_else(|| panic!("bug {} was not found", n + 1));
        assert!(
            matches!(
                failure.mismatch.layer,
                Layer::Model | Layer::Refused | Layer::Assertion
            ),
            "{failure}"
        );
        let command = failure
            .replay
            .split('\'')
            .nth(1)
            .expect("a quoted replay")
            .to_string();
        let (workload, trail) = command.split_once(' ').expect("a workload and a trail");
        let (workload, trail) = (
            workload.parse().expect("a workload"),
            trail.parse().expect("a trail"),
        );
        let again = match n + 1 {
            1 => exhaustive::replay::<Toy<NO_SYNC>>(&Layout::small(), &workload, &trail),
            2 => exhaustive::replay::<Toy<NO_CHECKSUM>>(&Layout::small(), &workload, &trail),
            _ => exhaustive::replay::<Toy<NO_DIRECTORY_SYNC>>(&Layout::small(), &workload, &trail),
        };
        let again = again.expect_err("the replay shows it again");
        assert_eq!(again.mismatch.layer, failure.mismatch.layer, "{again}");
        assert_eq!(
            exhaustive::replay::<Toy<RIGHT>>(&Layout::small(), &workload, &trail)
                .err()
                .map(|f| f.to_string()),
            None
        );
    }
}
