//! Tests of the control file: two copies, either of which may be lost.

use afterimage_io::sim::{Sim, Survival, Verdict};

use super::*;

fn identity() -> Identity {
    Identity {
        database_id: 0x0102_0304,
        timeline_id: 0x0A0B_0C0D,
        timeline_ordinal: 2,
    }
}

fn dir() -> &'static Path {
    Path::new("")
}

fn made(sim: &Sim) -> ControlFile {
    ControlFile::create(&sim.io(), dir(), &Control::new(identity(), 1 << 20)).unwrap()
}

#[test]
fn bytes_are_as_documented() {
    let mut control = Control::new(identity(), 1 << 20);
    control.epoch = 3;
    control.generation = 9;
    control.clean_end = Lsn::new(1_052_672);
    control.durable_lsn = Lsn::new(1_052_000);
    control.client[0] = 0xC1;
    let b = control.encode();
    assert_eq!(b.len(), 4096);
    assert_eq!(
        (&b[..8], get_u32(&b, 8), get_u32(&b, 12)),
        (&b"AFTRCTL1"[..], 1, 1024)
    );
    assert_eq!(
        (get_u128(&b, 32), get_u128(&b, 48), get_u32(&b, 64)),
        (0x0102_0304, 0x0A0B_0C0D, 2)
    );
    assert_eq!(
        (
            get_u32(&b, 68),
            get_u64(&b, 72),
            get_u64(&b, 80),
            get_u64(&b, 88)
        ),
        (1, 3, 9, 1 << 20)
    );
    assert_eq!(
        (get_u64(&b, 96), get_u64(&b, 104), b[128]),
        (1_052_672, 1_052_000, 0xC1)
    );
    assert_eq!(get_u32(&b, 1020), GOLDEN_CHECKSUM);
    assert!(matches!(Control::decode(&b), Ok(same) if same == control));
}

// Computed from docs/format.md by another program.
const GOLDEN_CHECKSUM: u32 = 2_482_908_943;

#[test]
fn either_copy_can_be_lost_and_not_both() {
    let sim = Sim::new(1);
    let mut file = made(&sim);
    let next = Control {
        epoch: 2,
        ..file.current().clone()
    };
    file.write(&next).unwrap();
    assert_eq!(
        (
            file.current().generation,
            file.other().map(|c| c.generation)
        ),
        (3, Some(2))
    );
    let image = sim.snapshot().page_cache();
    for byte in (0..1024).chain(4096..5120) {
        let mut bad = image.clone();
        bad.flip_bit("control", byte, 3);
        let file = ControlFile::open(&Sim::from_image(1, &bad).io(), dir(), false).unwrap();
        let newest = u64::from(byte < 1024);
        assert_eq!(file.current().generation, 3 - newest, "byte {byte}");
        assert!(file.other().is_none());
        bad.flip_bit("control", (byte + 4096) % 8192, 3);
        let both = ControlFile::open(&Sim::from_image(1, &bad).io(), dir(), false);
        assert!(
            matches!(both, Err(Error::ControlCorrupt { .. })),
            "byte {byte}"
        );
    }
    for len in [0, 100, 4096] {
        let mut short = image.clone();
        short.set_len("control", len);
        let file = ControlFile::open(&Sim::from_image(1, &short).io(), dir(), false);
        assert_eq!(file.is_ok(), len == 4096, "{len} bytes");
    }
}

#[test]
fn a_newer_version_is_refused() {
    let sim = Sim::new(1);
    made(&sim);
    for (at, value) in [(8, 2), (16, 1)] {
        let mut b = Control::new(identity(), 1 << 20).encode();
        put_u32(&mut b, at, value);
        let crc = crc32c(&b[..CRC_AT]);
        put_u32(&mut b, CRC_AT, crc);
        let mut image = sim.snapshot().page_cache();
        image.write_bytes("control", 0, &b);
        let opened = ControlFile::open(&Sim::from_image(1, &image).io(), dir(), false);
        assert!(matches!(opened, Err(Error::Unsupported { .. })));
    }
}

#[test]
fn it_is_not_made_twice() {
    let sim = Sim::new(1);
    made(&sim);
    let again = ControlFile::create(&sim.io(), dir(), &Control::new(identity(), 1 << 20));
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
}

#[test]
fn a_crash_at_any_call_leaves_one_of_the_last_two_states() {
    let life = |sim: &Sim| {
        let mut file = made(sim);
        for epoch in 2..5 {
            let next = Control {
                epoch,
                ..file.current().clone()
            };
            file.write(&next).unwrap();
            file.rewrite_in_place().unwrap();
            sim.io().note(afterimage_io::Note::Value("epoch", epoch));
        }
    };
    let whole = Sim::new(1);
    life(&whole);
    for at in 0..whole.calls() {
        let sim = Sim::new(1);
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(sim.catch(|| life(&sim)).is_err());
        let disk = sim.snapshot();
        for seed in 0..20 {
            let policy = if seed == 0 {
                Survival::None
            } else {
                Survival::Random { seed }
            };
            let image = disk.crash(&policy);
            let booted = Sim::from_image(1, &image);
            if !ControlFile::exists(&booted.io(), dir()).unwrap() {
                // The rename was not durable, so nothing was promised.
                assert!(at < 6, "call {at}: the control file is lost");
                continue;
            }
            assert!(
                ControlFile::open(&booted.io(), dir(), true).is_ok(),
                "call {at}, seed {seed}"
            );
        }
    }
}
