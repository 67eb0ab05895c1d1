//! How many letters a second the keeper makes durable, and with how many syncs. The design's bound: two syncs a letter
//! with 16 connections.
//!
//! `cargo bench --profile release -p spool --bench syncs`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on must stop")]

#[allow(dead_code, reason = "the tests' house has more rooms than this needs")]
#[path = "../tests/keeper/house.rs"]
mod house;

use std::sync::Arc;
use std::time::Instant;

use spool::edges::Delivered;

use house::{Folder, Running, run};

async fn rate(house: &Arc<Running>, clients: usize, letters: usize) {
    let before = house.syncs();
    let started = Instant::now();
    let mut times: Vec<_> = Vec::new();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let house = house.clone();
            tokio::spawn(async move {
                let message = vec![b'x'; 20_000];
                let mut times = Vec::new();
                for _ in 0..letters / clients {
                    let started = Instant::now();
                    assert_eq!(house.deliver("anna@home.test", &message).await, Delivered::Durable);
                    times.push(started.elapsed());
                }
                times
            })
        })
        .collect();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort_unstable();
    let took = started.elapsed().as_secs_f64();
    let after = house.syncs();
    let per: Vec<_> = (0..3).map(|n| (after[n] - before[n]) as f64 / times.len() as f64).collect();
    println!(
        "{clients:2} clients: {:.0} letters/s, p50 {:?}, p99 {:?}; syncs a letter: file {:.2} + folder {:.2} + journal {:.2} = {:.2}",
        times.len() as f64 / took,
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        per[0],
        per[1],
        per[2],
        per.iter().sum::<f64>(),
    );
}

fn main() {
    run(async {
        let folder = Folder::new();
        let house = Arc::new(Running::start(&folder.0));
        house.add("anna@home.test");
        rate(&house, 1, 200).await;
        for clients in [1, 4, 16] {
            rate(&house, clients, 1_600).await;
        }
    });
}
