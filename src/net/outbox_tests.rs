use std::io::IoSlice;
use std::path::Path;

use super::*;
use crate::log::cold::ColdStorage;
use crate::log::storage::{File, OpenMode, RealStorage, Storage};

fn cold_reads() -> Arc<ColdReads> {
    Arc::new(ColdReads::for_tests(2))
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 7 % 251) as u8).collect()
}

fn file_of(storage: &dyn Storage, path: &Path, len: usize) -> Arc<dyn File> {
    let file = storage.open(path, OpenMode::Create).unwrap();
    file.write_at(&mut [IoSlice::new(&pattern(len))], 0)
        .unwrap();
    file
}

fn range(file: &Arc<dyn File>, position: u64, len: usize, maybe_cold: bool) -> ResponsePart {
    ResponsePart::File(FileRange {
        file: Arc::clone(file),
        position,
        len,
        maybe_cold,
    })
}

fn front(outbox: &Outbox) -> &[u8] {
    match outbox.parts.front() {
        Some(Part::Bytes(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn one_connection_waits_for_the_disk_and_another_sends() {
    let disk = ColdStorage::default();
    disk.create_dir_all(Path::new("/")).unwrap();
    let file = file_of(&disk, Path::new("/f"), 3 * PIECE_BYTES);
    let cold = cold_reads();
    disk.forget();
    disk.take_asked();
    disk.hold();
    let mut waits = Outbox::default();
    waits.push(vec![range(&file, 10, 5000, true)]).unwrap();
    assert!(!waits.can_send());
    let waiting = {
        let cold = Arc::clone(&cold);
        tokio::spawn(async move {
            waits.prepare(&cold).await.unwrap();
            waits
        })
    };
    tokio::task::yield_now().await;
    disk.wait_for_waiting(1);

    // Bytes that were just written are sent at once, and so is what is in memory although nobody promised it.
    let hot = file_of(&disk, Path::new("/g"), 100);
    for maybe_cold in [false, true] {
        let mut sends = Outbox::default();
        sends.push(vec![range(&hot, 20, 30, maybe_cold)]).unwrap();
        assert!(sends.can_send());
        sends.prepare(&cold).await.unwrap();
        assert_eq!(front(&sends), &pattern(100)[20..50]);
    }
    assert!(!waiting.is_finished());
    disk.release();
    let waits = waiting.await.unwrap();
    assert_eq!(front(&waits), &pattern(5010)[10..]);
    let asked = disk.take_asked();
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["cold-read"], "{asked:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_long_range_is_made_ready_piece_by_piece_and_the_next_ones_ahead() {
    const PIECE: u64 = PIECE_BYTES as u64;
    let disk = ColdStorage::default();
    disk.create_dir_all(Path::new("/")).unwrap();
    let file = file_of(&disk, Path::new("/f"), 8 * PIECE_BYTES);
    disk.forget();
    let cold = cold_reads();
    let ResponsePart::File(whole) = range(&file, 0, 2 * PIECE_BYTES, true) else {
        unreachable!()
    };
    let mut sending = Sending::new(whole);
    let mut sent = 0;
    while sending.range().len > 0 {
        assert_eq!(sending.ready_len(), 0);
        sending.prepare(&cold).await;
        assert_eq!(sending.ready_len(), PIECE_BYTES);
        // Also behind the range, where its reader will go on.
        let ahead = sent + PIECE;
        while !is_cached(&*file, ahead, AHEAD_PIECES * PIECE) {
            std::thread::yield_now();
        }
        assert!(!is_cached(&*file, ahead + AHEAD_PIECES * PIECE, 1));
        // A socket takes what it takes.
        for _ in 0..4 {
            sent += PIECE / 4;
            sending.sent_up_to(sent);
        }
    }
}

#[test]
fn a_range_known_to_be_in_memory_is_never_looked_at() {
    let disk = ColdStorage::default();
    disk.create_dir_all(Path::new("/")).unwrap();
    let file = file_of(&disk, Path::new("/f"), 3 * PIECE_BYTES);
    disk.forget();
    let ResponsePart::File(whole) = range(&file, 0, 3 * PIECE_BYTES, false) else {
        unreachable!()
    };
    assert_eq!(Sending::new(whole).ready_len(), PIECE_BYTES);
}

/// On a real disk, whose page cache is emptied: what comes out is right, whatever was cached.
#[tokio::test(flavor = "current_thread")]
async fn a_real_file_that_was_forgotten_is_read_in() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
    let file = file_of(&RealStorage, &dir.path().join("f"), PIECE_BYTES);
    file.sync_data().unwrap();
    let fd = file.fd().unwrap();
    rustix::fs::fadvise(fd, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let cold = cold_reads();
    let mut byte = [0];
    let looked = rustix::io::preadv2(
        fd,
        &mut [io::IoSliceMut::new(&mut byte)],
        0,
        rustix::io::ReadWriteFlags::NOWAIT,
    );
    if looked != Err(rustix::io::Errno::AGAIN) {
        // A file system that does not forget, or cannot say.
        return;
    }
    assert!(!is_cached(&*file, 0, PIECE_BYTES as u64));
    let mut outbox = Outbox::default();
    outbox
        .push(vec![
            range(&file, 3, 100, true),
            range(&file, 70_000, PIECE_BYTES - 70_000, true),
        ])
        .unwrap();
    outbox.prepare(&cold).await.unwrap();
    assert_eq!(front(&outbox), &pattern(103)[3..]);
    outbox.advance(100);
    outbox.prepare(&cold).await.unwrap();
    assert!(outbox.can_send());
    assert!(is_cached(&*file, 70_000, PIECE_BYTES as u64 - 70_000));
}
