//! The disk is full: refunds are refused and nothing is lost; once there is room again everything goes on (SQLite).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::shop::{ALIPAY, Shop, WECHAT, fen, fresh_key, on_postgres};

/// A small file system of its own.
struct Mount(PathBuf);

impl Mount {
    /// `None`, loudly, where mounts are not permitted.
    fn new(bytes: u64) -> Option<Self> {
        let at = std::env::temp_dir().join(format!("scanback-disk-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&at)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: this machine doesn't let a small disk be mounted (root and CAP_SYS_ADMIN)");
            let _ = std::fs::remove_dir(&at);
            return None;
        }
        Some(Self(at))
    }

    /// Fills it to the last block.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The store's file is on the small disk.
fn move_store(shop: &Shop, mount: &Path) {
    let on_disk = mount.join("store.sqlite");
    std::fs::File::create(&on_disk).unwrap();
    let url = shop.store.url();
    std::os::unix::fs::symlink(&on_disk, url.strip_prefix("sqlite:").unwrap()).unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_refunds_and_loses_none() {
    if on_postgres() {
        return; // the server's disk is its own affair
    }
    let Some(mount) = Mount::new(24 << 20) else { return };
    let opening = Shop::new().impatient().order(ALIPAY, "FULL-00001", 1_000).order(WECHAT, "FULL-00002", 1_000);
    let mut shop = opening.prepare().await;
    move_store(&shop, &mount.0);
    shop.start().await;
    for (wallet, number) in [(ALIPAY, "FULL-00001"), (WECHAT, "FULL-00002")] {
        shop.merchant().register(wallet, number, 1_000).await.assert(201, "paid");
    }
    // one is acknowledged before
    shop.merchant().refund("FULL-00001", 300).await.assert_status(201);
    let filler = mount.fill();
    let key = fresh_key();
    let wish = json!({ "order_no": "FULL-00002", "amount": fen(400), "reason": "quality" });
    let refused = shop.merchant().refund_call(&key, &wish).send().await;
    refused.assert_status(503);
    assert_eq!(shop.sandbox().paid_back(WECHAT, "FULL-00002").await.0, 0, "nothing is sent before it is durable");
    shop.until_ready("readiness to say so", |ready| ready.status == 503).await;
    std::fs::remove_file(filler).unwrap();
    shop.until_ready("readiness to come back", |ready| ready.status == 200).await;
    let answer = shop.merchant().refund_call(&key, &wish).send().await;
    assert!(matches!(answer.status, 201 | 202), "{}", answer.text);
    shop.until(answer.refund_id(), "succeeded").await;
    assert_eq!(shop.sandbox().paid_back(WECHAT, "FULL-00002").await, (400, vec![1]));
    shop.close().await;
}
