//! `postern pair CODE|list|revoke`: the proxies at clean addresses that this house is paired with.

use clap::Subcommand;
use relay_link::link::Seen;
use serde_json::{Value, json};

use super::{House, output};
use crate::box_key::BoxKey;
use crate::failure::Failure;
use crate::pairings::{self, Pairing, Pairings};
use crate::up;

/// Pair this house with a proxy at a clean address.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "The proxy's operator runs `inbound-proxy invite --name mail.example.org`, and gives you the code that \
    it prints. Examples:\n  postern pair clean.example:7025/g0v1-8hwk-...\n  postern pair - < code.txt\n  postern pair list\n  \
    postern pair revoke clean.example"
)]
pub struct Pair {
    /// The code, as the operator gave it; `-`: asks for it, since others on this machine see what is typed here
    code: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show all proxies
    List,
    /// Use a proxy no more
    Revoke {
        /// What `postern pair list` shows; where one host does both, with its port: clean.example:7026
        proxy: String,
    },
}

impl Pair {
    /// Does it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn run(self, house: &mut House) -> Result<(), Failure> {
        let key = BoxKey::find(&house.data, house.secrets.passphrase())?;
        let kept = pairings::of(&house.data, &key)?;
        match (self.code, self.what) {
            (_, Some(What::List)) => list(house, &kept.read()?),
            (_, Some(What::Revoke { proxy })) => revoke(house, &kept, &proxy),
            (Some(code), None) if code == "-" => {
                let code = house.secrets.pairing_code()?;
                pair(house, &kept, &code)
            }
            (Some(code), None) => pair(house, &kept, &code),
            (None, None) => Err(Failure::new("which code? The proxy's operator has it")),
        }
    }
}

fn pair(house: &House, kept: &Pairings, code: &str) -> Result<(), Failure> {
    // Before the code is used up.
    room(&kept.read()?)?;
    let paired = pairings::pair(code, up::upstreams(&house.config))?;
    let (name, called) = (paired.name.clone(), paired.called.clone());
    let outbound = paired.proxy.outbound;
    kept.change(|all| {
        all.retain(|other| (&other.proxy.host, other.proxy.port) != (&paired.proxy.host, paired.proxy.port));
        all.push(paired);
        Ok(())
    })?;
    house.print(&json!({"proxy": called, "name": name, "outbound": outbound}), || {
        let what = if outbound { "takes this house's mail out" } else { "brings this house its mail" };
        format!("Paired: {called} {what}; its operator calls this house {name}.")
    })
}

fn room(all: &[Pairing]) -> Result<(), Failure> {
    let most = relay_link::limits::PROXIES;
    if all.len() < most {
        return Ok(());
    }
    Err(Failure::new(format!("this house is paired with {most} proxies already; revoke one first")))
}

fn list(house: &House, all: &[Pairing]) -> Result<(), Failure> {
    let way = |pairing: &Pairing| if pairing.proxy.outbound { "out" } else { "in" };
    let links = links(house, all);
    let values: Vec<Value> = all
        .iter()
        .zip(&links)
        .map(|(pairing, link)| {
            json!({
                "proxy": pairing.proxy.host, "port": pairing.proxy.port, "called": pairing.called, "way": way(pairing),
                "name": pairing.name, "since": pairing.since, "connected": matches!(link, Seen::Up(_)),
                "seconds": if let Seen::Up(seconds) = link { Some(seconds) } else { None }, "link": in_words(link),
            })
        })
        .collect();
    house.print(&values.into(), || {
        let row = |(pairing, link): (&Pairing, &Seen)| {
            let names = [&pairing.proxy.host, way(pairing), &pairing.called, &pairing.name].map(str::to_owned);
            let [host, way, called, name] = names;
            [host, way, called, name, in_words(link)]
        };
        let rows: Vec<_> = all.iter().zip(&links).map(row).collect();
        output::table(["PROXY", "MAIL", "CALLS ITSELF", "CALLS US", "LINK"], &rows)
    })
}

/// How each proxy sees this house, all asked at once: one that is silent keeps the others' answers for seconds only.
fn links(house: &House, all: &[Pairing]) -> Vec<Seen> {
    let ask = |pairing: &Pairing| {
        let seen = pairings::presence(&pairing.proxy, up::upstreams(&house.config));
        seen.unwrap_or_else(|failure| Seen::Failed(failure.to_string()))
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = all.iter().map(|pairing| scope.spawn(move || ask(pairing))).collect();
        let ended = |answer: std::thread::ScopedJoinHandle<'_, Seen>| answer.join();
        asking.into_iter().map(|one| ended(one).unwrap_or_else(|_| Seen::Failed("asking failed".into()))).collect()
    })
}

/// For who looks after the house.
pub fn in_words(link: &Seen) -> String {
    match link {
        Seen::Up(seconds @ 0..60) => format!("connected for {seconds} s"),
        Seen::Up(seconds @ 60..7_200) => format!("connected for {} min", seconds / 60),
        Seen::Up(seconds) => format!("connected for {} h", seconds / 3_600),
        Seen::Down => {
            "not connected: the proxy answers, and this house has not called it; is `postern up` running?".into()
        }
        Seen::Failed(why) => format!("not connected: {why}"),
    }
}

/// As it is named to tell it from the other of that host.
pub fn full(pairing: &Pairing) -> String {
    let way = if pairing.proxy.outbound { "out" } else { "in" };
    format!("{}:{} (mail {way})", pairing.proxy.host, pairing.proxy.port)
}

fn is_called(pairing: &Pairing, name: &str) -> bool {
    let at_its_port = name
        .rsplit_once(':')
        .is_some_and(|(host, port)| host == pairing.proxy.host && port.parse() == Ok(pairing.proxy.port));
    at_its_port || pairing.proxy.host == name || pairing.called == name
}

fn revoke(house: &House, kept: &Pairings, proxy: &str) -> Result<(), Failure> {
    let gone = kept.change(|all| {
        let before = all.len();
        let mut named: Vec<_> = all.iter().filter(|pairing| is_called(pairing, proxy)).map(full).collect();
        named.dedup();
        if named.len() > 1 {
            let words = format!("{proxy} brings mail in and takes it out: name one of them, {}", named.join(" or "));
            return Err(Failure::new(words));
        }
        all.retain(|pairing| !is_called(pairing, proxy));
        Ok(before - all.len())
    })?;
    if gone == 0 {
        return Err(Failure::new(format!("this house is not paired with {proxy}; see `postern pair list`")));
    }
    house.print(&json!({"revoked": gone}), || {
        format!("{proxy} is used no more. Tell its operator to revoke this house, too, and change your DNS records.")
    })
}
