//! Episodes of the random driver that failed once: each is a file here, made small by `cargo xtask sim` when it failed. They hold now, and have to go on holding.
//!
//! What the bytes mean follows from the code of the driver (`random/`). Who changes that makes other episodes of them: they are worth less then, though not wrong.

/// Every file is run.
#[test]
fn all_are_listed() {
    let list = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/found");
    for entry in std::fs::read_dir(directory).expect("it is there") {
        let name = entry.expect("it can be read").file_name();
        let name = name.to_string_lossy();
        let name = name.trim_end_matches(".rs");
        assert!(
            name == "main" || list.contains(&format!("\nmod {name};\n")),
            "{name} is not listed in main.rs"
        );
    }
}
mod refused_0a99892e;
mod refused_a7397ba7;
mod refused_c9588cdf;
