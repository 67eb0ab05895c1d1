//! A small Internet of a test's own: hosts as network namespaces on one bridge, and homes behind routers that translate
//! addresses and let nobody in.

use std::ffi::OsStr;
use std::process::Command;

/// Where the test itself is, and its name server.
pub const HERE: &str = "44.0.0.53";

/// One of them, by the name of its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// A host with addresses that the others reach.
    #[must_use]
    pub fn public(name: &str, addresses: &[&str]) -> Self {
        let host = Self::new(name);
        host.plug(addresses);
        host
    }

    /// A home: its router has the address, and lets out and nobody in.
    #[must_use]
    pub fn behind_nat(name: &str, address: &str) -> Self {
        let (router, home) = (Self::new(&format!("{name}-router")), Self::new(name));
        router.plug(&[address]);
        shell(&format!(
            "ip link add name {name}-in type veth peer name eth0 netns {name} && ip link set {name}-in netns {router} && \
             ip -n {router} address add 192.168.7.1/24 dev {name}-in && ip -n {router} link set {name}-in up && \
             ip -n {name} address add 192.168.7.2/24 dev eth0 && ip -n {name} link set eth0 up && \
             ip -n {name} route add default via 192.168.7.1",
            router = router.0
        ));
        router.run("sysctl -qw net.ipv4.ip_forward=1");
        router.run(
            "nft -f - <<X\n\
             table ip nat {\n chain out { type nat hook postrouting priority 100; oifname \"wan\" masquerade; }\n}\n\
             table ip walls {\n chain forward { type filter hook forward priority 0; policy drop;\n\
             iifname != \"wan\" accept; ct state established,related accept; }\n}\nX",
        );
        home
    }

    fn new(name: &str) -> Self {
        shell(&format!("ip netns add {name} && ip -n {name} link set lo up"));
        Self(name.to_owned())
    }

    fn plug(&self, addresses: &[&str]) {
        let name = &self.0;
        shell(&format!(
            "ip link add name {name} type veth peer name wan netns {name} && ip link set {name} master street up && \
             ip -n {name} link set wan up"
        ));
        for address in addresses {
            shell(&format!("ip -n {name} address add {address}/24 dev wan"));
        }
    }

    /// A program that runs there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    /// A script that runs there, and must succeed; what it prints.
    pub fn run(&self, script: &str) -> String {
        said(self.command("sh").args(["-c", script]), script)
    }

    /// A home's router gets another address.
    pub fn moves(&self, from: &str, to: &str) {
        let router = format!("{}-router", self.0);
        shell(&format!("ip -n {router} address del {from}/24 dev wan && ip -n {router} address add {to}/24 dev wan"));
    }
}

fn shell(script: &str) {
    said(Command::new("sh").args(["-c", script]), script);
}

fn said(command: &mut Command, script: &str) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
