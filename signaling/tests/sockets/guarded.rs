//! A broker with a key, run as the program that it is, and those who mean well: a robot and its
//! viewer, who must not notice what others try.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use crate::client::{PATIENCE, Peer};
use crate::pages::{get, get_from};

/// The broker's secret. No token of the tests is worth anything elsewhere.
const SECRET: &str = "attack tests only: thirty-two bytes and more";

/// A broker whose peers need tokens. Dropping it kills it.
pub(crate) struct Guarded {
    program: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Guarded {
    /// Starts one with these settings besides.
    pub(crate) fn start(settings: &str) -> Self {
        let folder = folder();
        let config = write_config(&folder, SECRET, settings);
        let mut program = Command::new(env!("CARGO_BIN_EXE_rovercast-signaling"))
            .args(["--config", &config])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        Self { program, folder, address: address.unwrap_or_else(|| panic!("no address: {line}")) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.id()
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(told.success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A good token for this scope.
    pub(crate) fn token(&self, scope: &str) -> String {
        self.token_for(scope, "1h")
    }

    /// The same, good for so long.
    pub(crate) fn token_for(&self, scope: &str, expires: &str) -> String {
        mint(&self.folder.join("signaling.toml").display().to_string(), scope, expires)
    }

    /// What a peer with this token asks for a WebSocket with.
    pub(crate) fn request(&self, token: &str) -> Request {
        let mut request = format!("ws://{}/ws", self.address).into_client_request().unwrap();
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("Authorization", value);
        request
    }

    /// A peer with a good token for this scope.
    pub(crate) async fn peer(&self, scope: &str) -> Peer {
        Peer::connect(self.request(&self.token(scope))).await
    }

    /// A robot of this name, with two cameras, ready to be called.
    pub(crate) async fn robot(&self, name: &str) -> Peer {
        let mut robot = self.peer(&format!("publish:{name}")).await;
        robot.say(status(&["producer"], name)).await;
        robot.hear_nothing_else().await;
        robot
    }

    /// How a handshake with these headers is refused: status and code.
    pub(crate) async fn refusal(&self, headers: &str) -> (u16, String) {
        self.refusal_at("/ws", headers).await
    }

    /// Like [`Guarded::refusal`], at another path.
    pub(crate) async fn refusal_at(&self, path: &str, headers: &str) -> (u16, String) {
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        get(self.address, path, &format!("{upgrade}{headers}")).await.code()
    }

    /// How many requests and handshakes were refused with this code so far, as its metrics tell.
    pub(crate) async fn refused(&self, code: &str) -> usize {
        self.figure(&format!("rovercast_signaling_refusals_total{{code=\"{code}\"}}")).await
    }

    /// How many connections ended for this reason so far, as its metrics tell.
    pub(crate) async fn ended(&self, reason: &str) -> usize {
        self.figure(&format!("rovercast_signaling_ended_total{{reason=\"{reason}\"}}")).await
    }

    async fn figure(&self, name: &str) -> usize {
        let authorization = format!("Authorization: Bearer {}\r\n", self.token("metrics"));
        // Whoever looks is not one of those who ask too much.
        let page = get_from([127, 0, 0, 77], self.address, "/metrics", &authorization).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let value = page.body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name}: {}", page.body))
    }

    /// Two who mean well, in a session.
    pub(crate) async fn bystanders(&self) -> Bystanders {
        let mut robot = self.robot("bystander").await;
        let mut viewer = self.peer("view:bystander").await;
        let session = call(&mut viewer, &mut robot).await;
        Bystanders { robot, viewer, session }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A robot and its viewer.
pub(crate) struct Bystanders {
    robot: Peer,
    viewer: Peer,
    session: String,
}

impl Bystanders {
    /// They still reach each other, and have heard nothing of what others did.
    pub(crate) async fn notice_nothing(&mut self) {
        self.robot.reaches(&mut self.viewer, &self.session).await;
        self.viewer.reaches(&mut self.robot, &self.session).await;
    }
}

/// A token by another broker's key.
pub(crate) fn foreign_token(scope: &str) -> String {
    let folder = folder();
    let token = mint(
        &write_config(&folder, "another secret, as long as that of the other", ""),
        scope,
        "1h",
    );
    let _ = fs::remove_dir_all(&folder);
    token
}

/// A session of these two; its id.
pub(crate) async fn call(viewer: &mut Peer, robot: &mut Peer) -> String {
    viewer.say(json!({"type": "startSession", "peerId": robot.id})).await;
    let session = viewer.hear_a("sessionStarted").await["sessionId"].clone();
    assert_eq!(robot.hear_a("startSession").await["sessionId"], session);
    session.as_str().unwrap().to_owned()
}

/// What a robot says of itself.
pub(crate) fn status(roles: &[&str], name: &str) -> Value {
    let camera =
        |id| json!({"id": id, "label": id, "width": 1, "height": 1, "fps": 1, "codec": "h264"});
    let meta = json!({"name": name, "kind": "robot", "cameras": [camera("front"), camera("rear")]});
    json!({"type": "setPeerStatus", "roles": roles, "meta": meta})
}

fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("guarded-{}-{count}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes settings and secret; returns the path of the settings.
fn write_config(folder: &std::path::Path, secret: &str, settings: &str) -> String {
    let [secret_file, config] = ["secret", "signaling.toml"].map(|name| folder.join(name));
    fs::write(&secret_file, secret).unwrap();
    let text = format!(
        "listen = \"127.0.0.1:0\"\n\
         access.keys = [{{ id = \"k\", algorithm = \"HS256\", secret_file = {secret_file:?} }}]\n\
         {settings}\n"
    );
    fs::write(&config, text).unwrap();
    config.display().to_string()
}

/// As an operator makes tokens.
fn mint(config: &str, scope: &str, expires: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rovercast-signaling"))
        .args([
            "token",
            "--config",
            config,
            "--subject",
            scope,
            "--scope",
            scope,
            "--expires",
            expires,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
