//! Writes the inputs that the fuzzer begins with: `seeds DIR` makes `DIR/TARGET/seed-N` for every target.

use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or("corpus".into()));
    for target in afterimage_log::fuzz::TARGETS {
        write(&dir, target.name, (target.seeds)())?;
    }
    for target in afterimage::fuzz::TARGETS {
        write(&dir, target.name, (target.seeds)())?;
    }
    write(&dir, "episode", afterimage_sim::random::fuzz::seeds())
}

fn write(dir: &Path, name: &str, seeds: Vec<Vec<u8>>) -> std::io::Result<()> {
    let dir = dir.join(name);
    std::fs::create_dir_all(&dir)?;
    for (n, seed) in seeds.iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{n}")), seed)?;
    }
    Ok(())
}
