//! Letters that come at once share their syncs.

use std::sync::Arc;

use spool::edges::Delivered;

use crate::house::{Folder, Running, run};

#[test]
fn sixteen_at_once_share_their_syncs() {
    run(async {
        let folder = Folder::new();
        let house = Arc::new(Running::start(&folder.0));
        house.add("anna@home.test");
        let before = house.syncs();
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let house = house.clone();
                tokio::spawn(async move {
                    for _ in 0..25 {
                        assert_eq!(house.deliver("anna@home.test", &[b'x'; 2_000]).await, Delivered::Durable);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let [letters, folders, journal] = std::array::from_fn(|n| house.syncs()[n] - before[n]);
        assert!(letters >= 400, "each letter is synced: {letters}");
        assert!(folders > 0 && folders * 4 <= letters * 3, "{folders} syncs of folders for {letters} letters");
        assert!(journal > 0 && journal * 4 <= letters * 3, "{journal} syncs of the journal for {letters} letters");
    });
}
