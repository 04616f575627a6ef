use super::*;
use std::fs;
use std::path::Path;

/// What keeps a corpus small enough for every checkout.
const MAX_FILES: usize = 200;
const MAX_BYTES: u64 = 200 << 10;

fn fuzz_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

#[test]
fn the_stored_corpora_find_nothing() {
    for (name, target) in TARGETS {
        let dir = fuzz_dir().join("corpus").join(name);
        let mut files = 0;
        let mut bytes = 0;
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{name}: {error}")) {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            files += 1;
            bytes += data.len() as u64;
            let found = std::panic::catch_unwind(|| target(&data));
            assert!(found.is_ok(), "{}", path.display());
        }
        assert!(files > 0, "{name} has no corpus");
        assert!(
            files <= MAX_FILES && bytes <= MAX_BYTES,
            "{name}: {files} files, {bytes} bytes"
        );
    }
}

#[test]
fn every_target_is_built() {
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let source =
            fs::read_to_string(fuzz_dir().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
    }
    let built = manifest.matches("[[bin]]").count();
    assert_eq!(built, TARGETS.len());
}

#[test]
fn nothing_at_all_is_no_finding() {
    for (name, _) in TARGETS {
        run(name, b"");
    }
}
