//! What the house remembers of mail that left: to whom, and which policies the courier fetched.

use spool::edges::Delivered;

use crate::house::{Folder, Person, Running, run, transaction};
use crate::outbox::{courier, post, posted, queue};

async fn write(house: &Running, from: &Person, to: &[String]) -> Delivered {
    let queue = queue(house, from).await;
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    post(house, &queue, transaction(), posted(&from.address, &to)).await.unwrap()
}

/// 150 strangers a day are allowed: a start forgets neither how many it were, nor anybody to whom a letter went.
#[test]
fn what_a_mailbox_has_sent_is_known_after_a_restart() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let hundred = |who: &str| -> Vec<String> { (0..100).map(|n| format!("{who}{n}@far.test")).collect() };
        assert_eq!(write(&house, &anna, &hundred("Ben")).await, Delivered::Durable);
        assert!(matches!(write(&house, &anna, &hundred("cleo")).await, Delivered::Spent { .. }));
        for checkpoint in [false, true] {
            if checkpoint {
                house.checkpoint();
            }
            assert!(house.stop());
            house = Running::start(&folder.0);
            assert!(matches!(write(&house, &anna, &hundred("cleo")).await, Delivered::Spent { .. }));
            assert_eq!(write(&house, &anna, &hundred("ben")).await, Delivered::Durable);
        }
        assert!(house.stop());
    });
}

#[test]
fn what_goes_at_once_counts_at_once() {
    run(async {
        let folder = Folder::new();
        let mut start = crate::house::start(crate::house::EDGES.to_vec());
        start.allowance.messages = 3;
        let house = Running::from(&folder.0, spool::disk::Disk::default(), start).unwrap();
        let anna = house.add("anna@home.test");
        let all: Vec<[String; 1]> = (0..8).map(|n| [format!("ben{n}@far.test")]).collect();
        let writes: Vec<_> = all.iter().map(|to| write(&house, &anna, to)).collect();
        let outcomes = futures(writes).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Delivered::Durable).count(), 3, "{outcomes:?}");
        let to_tell = outcomes.iter().filter(|outcome| **outcome == Delivered::Spent { tell: true }).count();
        assert_eq!(to_tell, 1, "one is to tell the owner");
        assert!(house.stop());
    });
}

/// All of them at once.
async fn futures<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in all.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(context) {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[test]
fn policies_are_known_after_a_restart() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let mut outbox = courier(&mut house).0;
        for number in 0..20 {
            outbox.keep_policy(format!("{number:02}.test"), 1_000, vec![number; 4_000]).await.unwrap();
        }
        outbox.keep_policy("00.test".into(), 2_000, b"new".to_vec()).await.unwrap();
        for checkpoint in [false, true] {
            if checkpoint {
                house.checkpoint();
            }
            assert!(house.stop());
            house = Running::start(&folder.0);
            outbox = courier(&mut house).0;
            let kept = outbox.policies().await.unwrap();
            assert_eq!(kept.len(), 20);
            assert_eq!(kept[0], ("00.test".to_owned(), b"new".to_vec()));
            assert_eq!(kept[19], ("19.test".to_owned(), vec![19; 4_000]));
        }
        assert!(outbox.keep_policy("large.test".into(), 1, vec![0; 5_000]).await.is_err());
        assert!(house.stop());
    });
}
