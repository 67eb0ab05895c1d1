//! Who waits for a long admin command hears that the keeper is at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filter_sandbox::edge::{AsyncEdge, Edge};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use spool::edges::admin::{Admin, Reply, Request};
use spool::keeper::{admin, line};

use crate::house::{Folder, Running, run};

/// Shorter than the command takes, and longer than it is silent.
const PATIENCE: Duration = Duration::from_secs(8);

#[test]
fn a_command_that_waits_for_another_is_told_so() {
    run(async {
        let folder = Folder::new();
        let running = Running::start(&folder.0);
        running.add("anna@home.test");
        let house = running.shared();
        let (ours, theirs) = Edge::pair().unwrap();
        set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE)).unwrap();
        let served = Arc::new(AsyncEdge::new(theirs).unwrap());
        tokio::spawn(line::serve(served, house.committer.progress(), "admin", admin::Admin::new(house.clone())));

        let turn = house.admin.clone().lock_owned().await;
        let began = Instant::now();
        let waits = tokio::task::spawn_blocking(move || Admin::new(ours).ask(Request::MailboxList));
        assert!(matches!(running.ask(Request::Told), Reply::Told(_)), "asked before every command");
        tokio::time::sleep(PATIENCE + Duration::from_secs(4)).await;
        assert!(!waits.is_finished(), "given up after {:?}", began.elapsed());
        drop(turn);
        assert!(matches!(waits.await.unwrap().unwrap(), Reply::Mailboxes { some, .. } if some.len() == 1));
        drop(house);
        assert!(running.stop());
    });
}
