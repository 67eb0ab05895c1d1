//! Metered recipients against real ones: units of 14 octets of reply, and the session's minimum.

use tests::outbound::{Session, Stranger};
use tests::proxies::eventually;

use crate::place::Place;

/// Octets of reply to one recipient, and of all other replies of a letter (measured), and whether the
/// server takes commands in one flight.
const SERVERS: [(&str, u64, u64, bool); 5] = [
    ("postfix", 14, 88, true),
    ("exim", 14, 92, true),
    ("opensmtpd", 51, 114, false),
    // 30 and the address, which has 14 octets or 15.
    ("sendmail", 44, 140, true),
    ("aiosmtpd", 8, 53, false),
];
/// Of a session, whatever it does.
const MINIMUM: u64 = 20;

pub fn recipients_are_counted_at_real_servers() {
    let place = Place::new();
    let generous = ["--bucket", "100000", "--daily", "100000", "--concurrent", "4", "--burst", "100"];
    let mut home = Stranger::pair(&place.proxy.invite("alice", &generous));
    println!("server       recipients  pipelined  units  units-20  of 14 octets");
    for (number, (peer, each, fixed, pipelines)) in SERVERS.into_iter().enumerate() {
        let far = place.far(peer, number, "far.test");
        for (count, pipelined) in [(1, false), (10, false), (100, false), (1, true), (10, true), (100, true)] {
            if pipelined && !pipelines {
                continue;
            }
            let before = home.budget().today.0;
            let mut session =
                Session::open(home.connect("mx.far.test").unwrap(), "mx.far.test", &place.certificate).unwrap();
            let to: Vec<String> = (0..count).map(|number| format!("ben+{number}@far.test")).collect();
            session.send(&to, pipelined, &format!("metered-{peer}-{count}-{pipelined}")).unwrap();
            session.ask("QUIT", "2").unwrap();
            drop(session);
            let spent = home.budget().today.0 - before;
            // QUIT's reply is counted, too; of the EHLO reply and tickets, nothing or next to nothing.
            let replies = each * count + fixed;
            let (least, most) = (replies / 14 + MINIMUM, (replies + 200).div_ceil(14) + MINIMUM);
            println!(
                "{peer:12} {count:>10}  {pipelined:9}  {spent:5}  {:8}  {}",
                spent - MINIMUM,
                replies.div_ceil(14)
            );
            assert!(
                (least..=most).contains(&spent),
                "{peer} {count} {pipelined}: {spent} units, not {least} to {most}"
            );
        }
        // OpenSMTPD files ben+1 in a folder of its own.
        let arrived = || far.mail("ben").contains(&format!("metered-{peer}-100")) || far.log().contains("nrcpt=100 ");
        eventually("all of it arrived", arrived);
    }
}
