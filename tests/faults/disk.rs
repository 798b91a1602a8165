//! The disk under SQLite is full, or read-only: refunds are refused by name, and what was acknowledged is there.

use std::{fs, path::PathBuf, process::Command};

use super::{
    gauge,
    load::{Load, ORDERS, check, paid_orders},
    opening,
};
use crate::shop::{fresh_key, on_postgres};

/// Refunds that go through in each state.
const MEANWHILE: usize = 12;

/// A small disk of this test alone, in memory; gone with the test.
struct Disk(PathBuf);

impl Disk {
    /// `None`, loudly, where this machine lets nobody mount one.
    fn mount() -> Option<Self> {
        let place = std::env::temp_dir().join(format!("scanback-test-disk-{}", fresh_key()));
        fs::create_dir_all(&place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&place).output();
        if let Ok(output) = mounted
            && output.status.success()
        {
            return Some(Self(place));
        }
        fs::remove_dir(&place).unwrap();
        eprintln!("SKIPPED: no disk to fill; as root a small one is mounted");
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        use std::io::Write as _;
        let mut filler = fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives it back.
    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn remount(&self, option: &str) -> bool {
        let remount = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0).output();
        remount.unwrap().status.success()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_refunds_by_name_and_loses_none() {
    if on_postgres() {
        return;
    }
    let Some(disk) = Disk::mount() else { return };
    let mut shop = opening().sqlite_in(&disk.0).open().await;
    shop.caller("auditor", "demo");
    let load = Load::start(&[shop.merchant()], paid_orders(&shop, "FULL", ORDERS).await);
    for _ in 0..2 {
        load.until_more(MEANWHILE).await;
        disk.fill();
        let ready = shop.until_ready("a full disk to be told of", |ready| {
            disk.fill(); // what SQLite gave back meanwhile
            ready.status == 503
        });
        assert_eq!(ready.await.body["checks"]["database"], "down");
        let answer = shop.stranger().get("/healthz").await;
        answer.assert_status(200);
        disk.make_room();
        shop.until_ready("ready", |ready| ready.status == 200).await;
        assert!((gauge(&shop, "scanback_database_up").await - 1.0).abs() < f64::EPSILON);
    }
    load.until_more(MEANWHILE).await;
    // full, and then the power fails as well
    disk.fill();
    shop.kill();
    disk.make_room();
    shop.start().await;
    load.until_more(MEANWHILE).await;
    let told = load.end().await;
    check(&shop, &told).await;
    shop.close().await;
}

#[tokio::test]
async fn a_disk_that_turns_read_only_refuses_the_start_by_name() {
    if on_postgres() {
        return;
    }
    let Some(disk) = Disk::mount() else { return };
    let mut shop = opening().sqlite_in(&disk.0).open().await;
    shop.ask_to_stop();
    assert!(shop.stop().await.success());
    assert!(disk.remount("ro"), "nobody has the disk open, so it can be made read-only");
    let said = shop.does_not_start(|_| ());
    assert!(said.contains("database.url") && said.to_lowercase().contains("read-only"), "{said}");
    assert!(disk.remount("rw"));
    shop.start().await;
    shop.close().await;
}
