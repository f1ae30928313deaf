//! The disks that the chapters begin on: half a creation, a database at rest, one that was stopped by a power cut.

use super::chapters::{
    LARGE, SIDE, TABLE, UNLOGGED, checkpoint, key, make, make_unlogged, open, put, puts,
};
use super::life::{Actor, Unit};
use crate::check::World;
use crate::failure::{Layer, Mismatch};
use crate::model::Rows;
use crate::oracle::Layout;
use crate::outcome::{self, Outcome};
use crate::reach::Phase;
use crate::store::beside;
use afterimage::LoadOptions;
use afterimage_io::sim::{CallKind, Image, Sim, Survival, Verdict};

/// A machine, and somebody on it who does these units, all of which must go well.
fn prepare(
    world: &World,
    layout: &Layout,
    units: &[Unit],
    rows: &mut Rows,
) -> Result<Actor, Mismatch> {
    let mut actor = Actor::new(layout, world.sim.io());
    for unit in units {
        world.live(unit.name, || {
            (unit.run)(&mut actor).map_err(|e| format!("{e} ({e:?})"))
        })?;
        (unit.effect)(rows);
    }
    Ok(actor)
}

/// Half a creation: nothing but what was synced, and the first half of everything else.
pub(super) fn interrupted_birth(layout: &Layout) -> Result<Image, Mismatch> {
    let world = World::of(layout, Sim::new(1));
    let mut calls = 0;
    world.sim.set_hook(Some(Box::new(move |info, _| {
        calls += u32::from(info.path.ends_with("pages"));
        if calls == 3 {
            Verdict::Crash
        } else {
            Verdict::Continue
        }
    })));
    let mut actor = Actor::new(layout, world.sim.io());
    match outcome::run(|| actor.open()) {
        Outcome::Crashed => {}
        other => {
            return Err(Mismatch::new(
                Layer::Replay,
                format!("half a creation: {other:?}"),
            ));
        }
    }
    drop(outcome::run(move || drop(actor)));
    Ok(world.sim.snapshot().crash(&Survival::All))
}

/// A closed database of several leaves, a large value, tables of all sorts; its log has gone round.
pub(super) fn clean(layout: &Layout) -> Result<(Image, Rows), Mismatch> {
    let world = World::of(layout, Sim::new(1));
    let mut rows = Rows::new();
    let mut units = vec![
        open(Phase::Birth),
        make(TABLE),
        puts(TABLE, (0..24).map(|n| (key(n), vec![b'0'; 880])).collect()),
        puts(TABLE, vec![(b"kl".to_vec(), vec![b'l'; LARGE])]),
        make(SIDE),
        puts(SIDE, vec![(b"s".to_vec(), b"beside".to_vec())]),
        make_unlogged(),
        puts(
            UNLOGGED,
            (0..20).map(|n| (key(n), vec![b'u'; 800])).collect(),
        ),
    ];
    for n in 0..400u32 {
        units.push(put(n % 4, b'0' + (n % 10) as u8, 880));
        if n % 50 == 49 {
            units.push(checkpoint());
        }
    }
    let mut actor = prepare(&world, layout, &units, &mut rows)?;
    world.live("close", || actor.close().map_err(|e| e.to_string()))?;
    let mut image = world.sim.snapshot().crash(&Survival::None);
    image.write_bytes(&layout.path("settings.toml"), 0, b"# nothing is set here\n");
    Ok((image, rows))
}

/// The same database, stopped by a power cut in the middle of a page's way home, with two transactions and a load unfinished.
pub(super) fn crashed(layout: &Layout) -> Result<(Image, Rows), Mismatch> {
    let (image, mut rows) = clean(layout)?;
    let world = World::boot(layout, image);
    let units = [
        open(Phase::Open),
        put(30, b'c', 700),
        puts(TABLE, (4..12).map(|n| (key(n), vec![b'd'; 870])).collect()),
        puts(UNLOGGED, vec![(key(3), vec![b'g'; 80])]),
    ];
    let actor = prepare(&world, layout, &units, &mut rows)?;
    let told = |e: afterimage::Error| format!("{e} ({e:?})");
    let sim = world.sim.clone();
    let end = outcome::run(|| -> Result<(), String> {
        let (db, table) = actor.table(TABLE).map_err(told)?;
        let mut load = db
            .load_table("loading", LoadOptions::new().sort_memory(64 << 10))
            .map_err(told)?;
        for n in 0..110u32 {
            let row = format!("l{:03}", n * 7 % 110);
            load.push(row.as_bytes(), &[b'l'; 700]).map_err(told)?;
        }
        let mut losers = [db.begin(), db.begin()];
        for n in 0..12u32 {
            let (loser, fill) = (&mut losers[n as usize % 2], [b'L'; 875]);
            loser
                .put(&table, &key(n), &fill[..860 + n as usize])
                .map_err(told)?;
        }
        losers[0].put(&table, b"kz", &[b'L'; LARGE]).map_err(told)?;
        db.checkpoint().map_err(told)?;
        for n in 12..24u32 {
            let (loser, fill) = (&mut losers[n as usize % 2], [b'M'; 900]);
            loser.put(&table, &key(n), &fill).map_err(told)?;
        }
        losers[1].delete(&table, b"kl").map_err(told)?;
        let mut writes = 0;
        sim.set_hook(Some(Box::new(move |info, _| {
            writes += u32::from(info.kind == CallKind::Write && info.path.ends_with("/pages"));
            if writes == 2 {
                Verdict::CrashAfter
            } else {
                Verdict::Continue
            }
        })));
        let row = db.put(&table, b"kd", b"durable");
        row.map_err(told)?;
        db.checkpoint().map_err(told)?;
        db.checkpoint().map_err(told)
    });
    match end {
        Outcome::Crashed => {}
        other => {
            return Err(Mismatch::new(
                Layer::Replay,
                format!("a crash in a checkpoint: {other:?}"),
            ));
        }
    }
    rows.insert(b"kd".to_vec(), b"durable".to_vec());
    // Unlogged rows are lost with anything but a clean stop.
    rows.retain(|key, _| !key.starts_with(&beside(UNLOGGED, b"k")));
    drop(outcome::run(move || drop(actor)));
    world.oracles.verdict()?;
    let torn = Survival::TornLast { unit: 512, seed: 3 };
    Ok((world.sim.snapshot().crash(&torn), rows))
}
