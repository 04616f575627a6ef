//! A file system that loses power: an image on a loop device, shut down without its journal being flushed, so that
//! what was never synced is gone when it is mounted again. Needs root; run it as `unshare -m …`, so that
//! nobody else sees the mount.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};

use crate::broker::FAILED;

/// `FS_IOC_SHUTDOWN` with `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`.
const CUT: &str = "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1],os.O_RDONLY),0x8004587D,struct.pack('I',2))";

pub struct Disk {
    dir: PathBuf,
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}

impl Disk {
    /// A new file system of `kind` (`ext4`, `xfs`) on an image in `dir`.
    pub fn new(dir: &Path, kind: &str, bytes: u64) -> Result<Self> {
        let (image, mount) = (dir.join("disk.image"), dir.join("disk"));
        std::fs::create_dir_all(&mount)?;
        std::fs::File::create(&image)?.set_len(bytes)?;
        run(&format!("mkfs.{kind}"), &["-q", text(&image)?])?;
        let mut disk = Self {
            dir: dir.to_owned(),
            image,
            mount,
            mounted: false,
        };
        disk.mount()?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&mut self) -> Result<()> {
        run(
            "mount",
            &["-o", "loop", text(&self.image)?, text(&self.mount)?],
        )?;
        self.mounted = true;
        Ok(())
    }

    /// What was not synced is gone. Nobody may have a file of it open: a process that lives on would be told lies, for
    /// `fdatasync` of ext4 and xfs now and then succeeds after a shutdown though nothing was written.
    pub fn lose_power(&mut self) -> Result<()> {
        run("python3", &["-c", CUT, text(&self.mount)?])?;
        run("umount", &[text(&self.mount)?])?;
        self.mounted = false;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg(&self.mount).status();
        }
        if !FAILED.load(Ordering::Relaxed) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
