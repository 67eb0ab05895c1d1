//! MTA-STS: a policy fetched over HTTPS, and kept to.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tests::alone::{self, FAR, OTHER};
use tests::far::Far;
use tests::house::signal;
use tests::names::Names;
use tests::place::LETTER;
use tests::{Authority, Place};

const SERVE: &str = r#"
import http.server, ssl, sys
address, certificate, key, policy = sys.argv[1:5]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(policy, 'rb').read()
        self.send_response(200 if self.path == '/.well-known/mta-sts.txt' else 404)
        self.send_header('Content-Type', 'text/plain')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer((address, 443), Handler)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print('up', flush=True)
server.serve_forever()
"#;

/// A web server with `far.test`'s policy, whose authority is believed.
struct Web {
    child: Child,
    policy: PathBuf,
}

impl Web {
    fn serve(place: &Place, names: &Names) -> Self {
        let folder = place.scratch.path().join("web");
        std::fs::create_dir(&folder).unwrap();
        let web = Authority::make(&folder, "mta-sts.far.test");
        place.believe(&web.authority());
        names.a("mta-sts.far.test", OTHER);
        let policy = folder.join("policy");
        let files = [web.certificate(), web.key(), policy.clone()];
        let mut command = Command::new("python3");
        command.args(["-c", SERVE, OTHER]).args(files).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // Where nobody serves a policy there is none.
        let up = child.stdout.as_mut().map(BufReader::new).unwrap().read_line(&mut String::new());
        assert_eq!(up.unwrap(), "up\n".len());
        Self { child, policy }
    }

    /// From now on, under that id.
    fn enforce(&self, names: &Names, id: u32, host: &str) {
        let text = format!("version: STSv1\nmode: enforce\nmx: {host}\nmax_age: 86400\n");
        std::fs::write(&self.policy, text).unwrap();
        names.forget("_mta-sts.far.test");
        names.txt("_mta-sts.far.test", &format!("v=STSv1; id={id};"));
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_policy_is_kept_to() {
    if !alone::inside("policy::a_policy_is_kept_to") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("far.test", FAR);
    let web = Web::serve(&place, &names);
    // The right authority, another name.
    let wrong = place.scratch.path().join("wrong");
    std::fs::create_dir(&wrong).unwrap();
    let wrong = Authority::make(&wrong, "mx.wrong.test");
    place.believe(&wrong.authority());
    // The authorities are read when the courier begins.
    signal(place.role("courier"), "KILL");
    let far = Far::start("opensmtpd", FAR, "far.test", &wrong);
    web.enforce(&names, 1, "other.far.test");
    place.submit(1, &["ben@far.test"], LETTER);
    place.eventually("no host of the policy", || place.waits("ben@far.test", "4.7.5", "(MTA-STS)"));
    web.enforce(&names, 2, "mx.far.test");
    place.retried_until("no certificate of the policy", || {
        place.waits("ben@far.test", "4.7.5", "no encrypted connection")
    });
    assert_eq!(far.mail("ben"), "", "{}", far.log());
    drop(far);
    let far = Far::start("opensmtpd", FAR, "far.test", &place.certificate);
    place.retried_until("delivered", || far.mail("ben").contains("Good day"));
}
