//! Who waits for whom: connections are few, and those that hang make room.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_connection_is_patient_until_others_wait() {
    let set = Set::new(&[]);
    let (courier, patience) = (set.courier.clone(), Duration::from_millis(50));
    let waiting = tokio::spawn(async move { courier.others_wait(patience, Turn::Written).await });
    tokio::time::sleep(4 * patience).await;
    assert!(!waiting.is_finished(), "there are free connections");
    set.courier.set_busy(true);
    waiting.await.unwrap();
    let began = std::time::Instant::now();
    set.courier.others_wait(patience, Turn::Written).await;
    assert!(began.elapsed() >= patience, "a server has some time, whoever waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_have_few_connections_through_a_proxy() {
    let set = Set::new(&[]);
    let soon = Duration::from_millis(50);
    let share = async |turn| tokio::time::timeout(soon, set.courier.share_of_strangers(turn)).await;
    assert!(matches!(share(Turn::PassedOn).await, Ok(Ok(None))), "without a proxy all that there are");
    *set.courier.world.through_proxy.lock().unwrap() = true;
    let mut held = Vec::new();
    for turn in [Turn::PassedOn, Turn::WayBack] {
        held.push(share(turn).await.unwrap().unwrap().unwrap());
    }
    assert_eq!(held.len(), limits::STRANGERS_THROUGH);
    assert!(share(Turn::PassedOn).await.is_err(), "the next waits");
    assert!(matches!(share(Turn::Written).await, Ok(Ok(None))), "and keeps nobody of the house waiting");
    held.pop();
    assert!(matches!(share(Turn::WayBack).await, Ok(Ok(Some(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_hang_make_room_for_their_like() {
    let set = Set::new(&[]);
    let (patience, soon) = (Duration::from_millis(20), Duration::from_millis(200));
    let waits = async |turn, most| tokio::time::timeout(most, set.courier.others_wait(patience, turn)).await.is_ok();
    let mut hanging: Vec<_> = (1..WAY_BACK).map(|_| set.courier.takes_turn(Turn::WayBack)).collect();
    assert!(!waits(Turn::WayBack, soon).await, "there is one left");
    hanging.push(set.courier.takes_turn(Turn::WayBack));
    assert!(waits(Turn::WayBack, Duration::from_secs(60)).await, "its like may have no more");
    assert!(!waits(Turn::PassedOn, soon).await && !waits(Turn::Written, soon).await, "others have room");
    hanging.pop();
    assert!(!waits(Turn::WayBack, soon).await);
}
