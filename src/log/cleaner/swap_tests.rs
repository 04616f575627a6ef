//! Names in a directory, before and after it was opened.

use std::collections::BTreeMap;

use super::*;
use crate::log::cleaner::clean::tests::{cleaner, compacted};
use crate::log::fault::{FaultStorage, Op};
use crate::log::memory::MemStorage;
use crate::log::test_log::{self, DIR as DIR_OF_LOGS};
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::BatchBuilder;

const DIR: &str = "/d";

/// `base.kind` with a content that says whose it is.
fn directory(files: &[(&str, &str)]) -> MemStorage {
    let storage = MemStorage::default();
    storage.create_dir_all(Path::new(DIR)).unwrap();
    for (name, content) in files {
        let (base, kind) = name.split_once('.').unwrap();
        let name = file_name(Offset(base.parse().unwrap()), &format!(".{kind}"));
        let file = storage
            .open(&Path::new(DIR).join(name), OpenMode::Create)
            .unwrap();
        file.write_at(&mut [IoSlice::new(content.as_bytes())], 0)
            .unwrap();
    }
    storage
}

fn files(storage: &MemStorage) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in storage.list(Path::new(DIR)).unwrap() {
        let file = storage
            .open(&Path::new(DIR).join(&entry.name), OpenMode::Read)
            .unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        let (base, kind) = entry.name.split_once('.').unwrap();
        let base: i64 = base.parse().unwrap();
        found.insert(
            format!("{base}.{kind}"),
            String::from_utf8_lossy(&bytes).into(),
        );
    }
    found
}

fn expected(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    files.iter().map(own).collect()
}

const BEHIND: (&str, &str) = ("30.log", "behind");

#[test]
fn a_directory_is_brought_into_one_of_two_states() {
    type Files = &'static [(&'static str, &'static str)];
    const AFTER: Files = &[
        ("0.log", "new"),
        ("0.index", "new"),
        ("0.timeindex", "new"),
        ("0.snapshot", "kept"),
        BEHIND,
    ];
    const BEFORE: Files = &[
        ("0.log", "old"),
        ("0.index", "old"),
        ("10.log", "old"),
        BEHIND,
    ];
    let table: &[(&str, Files, Files)] = &[
        ("nothing to do", BEFORE, BEFORE),
        (
            "a copy that was not finished",
            &[
                ("0.log", "old"),
                ("0.index", "old"),
                ("10.log", "old"),
                BEHIND,
                ("0.log.cleaned", "new"),
                ("0.replaces.cleaned", "30"),
            ],
            BEFORE,
        ),
        (
            "some of it renamed",
            &[
                ("0.log", "old"),
                ("0.index", "old"),
                ("10.log", "old"),
                BEHIND,
                ("0.log.cleaned", "new"),
                ("0.index.swap", "new"),
                ("0.replaces.swap", "30"),
            ],
            BEFORE,
        ),
        (
            "all of it renamed, and nothing else",
            &[
                ("0.log", "old"),
                ("0.index", "old"),
                ("0.txnindex", "old"),
                ("0.snapshot", "kept"),
                ("10.log", "old"),
                ("10.index", "old"),
                ("10.snapshot", "old"),
                BEHIND,
                ("0.log.swap", "new"),
                ("0.index.swap", "new"),
                ("0.timeindex.swap", "new"),
                ("0.replaces.swap", "30"),
            ],
            AFTER,
        ),
        (
            "some of the old renamed",
            &[
                ("0.log.deleted", "old"),
                ("0.index", "old"),
                ("0.snapshot", "kept"),
                ("10.log", "old"),
                BEHIND,
                ("0.log.swap", "new"),
                ("0.index.swap", "new"),
                ("0.timeindex.swap", "new"),
                ("0.replaces.swap", "30"),
            ],
            &[
                ("0.log.deleted", "old"),
                ("0.log", "new"),
                ("0.index", "new"),
                ("0.timeindex", "new"),
                ("0.snapshot", "kept"),
                BEHIND,
            ],
        ),
        (
            "the log has its name already",
            &[
                ("0.log", "new"),
                ("0.index.swap", "new"),
                ("0.timeindex", "new"),
                ("0.snapshot", "kept"),
                BEHIND,
                ("0.replaces.swap", "30"),
            ],
            AFTER,
        ),
        (
            "only what it replaces is left",
            &[
                ("0.log", "new"),
                ("0.index", "new"),
                ("0.timeindex", "new"),
                ("0.snapshot", "kept"),
                BEHIND,
                ("0.replaces.swap", "30"),
            ],
            AFTER,
        ),
        (
            "left by Kafka",
            &[("0.log", "new"), ("0.replaces", "30")],
            &[("0.log", "new")],
        ),
        (
            "one swap done, the next copy not",
            &[
                ("0.log.swap", "new"),
                ("0.log", "old"),
                ("10.log", "old"),
                ("0.replaces.swap", "20"),
                ("20.log", "old"),
                ("20.log.cleaned", "new"),
                ("20.index.swap", "new"),
            ],
            &[("0.log", "new"), ("20.log", "old")],
        ),
    ];
    for (what, before, after) in table {
        let storage = directory(before);
        recover(&storage, Path::new(DIR)).unwrap();
        assert_eq!(files(&storage), expected(after), "{what}");
        recover(&storage, Path::new(DIR)).unwrap();
        assert_eq!(files(&storage), expected(after), "{what}, again");
    }
}

/// As Kafka leaves it, a copy says by its last batch how far it reached.
#[test]
fn without_a_word_of_what_it_replaces_a_copy_reaches_to_its_end() {
    let mut batch = BatchBuilder::new(Offset(0), Compression::None).last_offset(Offset(24));
    batch.append(TimestampMs(1), Some(b"k"), Some(b"v"), &[]);
    for (content, left) in [
        (batch.build(), vec!["0.log", "30.log"]),
        (Vec::new(), vec!["0.log", "10.log", "20.log", "30.log"]),
    ] {
        let storage = directory(&[
            ("0.log", "old"),
            ("10.log", "old"),
            ("20.log", "old"),
            BEHIND,
        ]);
        let swap = place(Path::new(DIR), Offset(0), ".log", SWAP);
        let file = storage.open(&swap, OpenMode::Create).unwrap();
        file.write_at(&mut [IoSlice::new(&content)], 0).unwrap();
        recover(&storage, Path::new(DIR)).unwrap();
        let names: Vec<String> = files(&storage).into_keys().collect();
        assert_eq!(names, left);
    }
}

#[test]
fn a_damaged_file_stops_the_start() {
    let storage = directory(&[
        ("0.log", "old"),
        ("0.log.swap", "new"),
        ("0.replaces.swap", "3x"),
    ]);
    let before = files(&storage);
    assert!(recover(&storage, Path::new(DIR)).is_err());
    assert_eq!(files(&storage), before);
}

/// The order in which a crash finds either the one or the other.
#[test]
fn a_copy_is_complete_before_an_old_file_goes_and_the_log_gets_its_name_first() {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = test_log::log(&storage, compacted());
    let keyed = |key: &str| {
        let mut batch = BatchBuilder::new(Offset::ZERO, Compression::None);
        batch.append(TimestampMs(100), Some(key.as_bytes()), Some(b"v"), &[]);
        batch.build()
    };
    for _ in 0..2 {
        test_log::append(&mut log, &keyed("a"));
        test_log::append(&mut log, &keyed("b"));
        log.roll().unwrap();
    }
    test_log::append(&mut log, &keyed("c"));
    test_log::flush(&mut log);
    disk.take_calls();
    test_log::clean(&mut log, &mut cleaner(), (5, 1000))
        .unwrap()
        .unwrap();
    let calls = disk.take_calls().into_iter();
    let renamed: Vec<(usize, String)> = calls
        .filter(|(op, _)| *op == Op::Rename)
        .map(|(_, path)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let (base, kind) = name.split_once('.').unwrap();
            (base.parse().unwrap(), kind.to_owned())
        })
        .collect();
    let expected = [
        // The copy, the log at last: from there on nothing of it is missing.
        (0, "index.cleaned"),
        (0, "timeindex.cleaned"),
        (0, "txnindex.cleaned"),
        (0, "replaces.cleaned"),
        (0, "log.cleaned"),
        (0, "log"),
        (0, "index"),
        (0, "timeindex"),
        (0, "txnindex"),
        (2, "log"),
        (2, "index"),
        (2, "timeindex"),
        (2, "txnindex"),
        (2, "snapshot"),
        // The log first: while it is `.swap`, whatever has its own name is taken for the old.
        (0, "log.swap"),
        (0, "timeindex.swap"),
        (0, "index.swap"),
    ];
    let expected = expected.map(|(base, kind)| (base, kind.to_owned()));
    assert_eq!(renamed, expected);
    let left: Vec<String> = storage
        .list(Path::new(DIR_OF_LOGS))
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert!(
        !left.iter().any(|name| name.contains("replaces")),
        "{left:?}"
    );
}
