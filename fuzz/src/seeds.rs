//! Writes the inputs that the fuzzer begins with: `seeds DIR` makes `DIR/TARGET/seed-N` for every target.

use std::path::Path;

use afterimage_log::fuzz::TARGETS;

fn main() -> std::io::Result<()> {
    let dir = std::env::args().nth(1).unwrap_or("corpus".into());
    let of_the_log = TARGETS.iter().map(|t| (t.name, (t.seeds)()));
    for (name, seeds) in of_the_log.chain([("episode", afterimage_sim::random::fuzz::seeds())]) {
        let dir = Path::new(&dir).join(name);
        std::fs::create_dir_all(&dir)?;
        for (n, seed) in seeds.iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}
