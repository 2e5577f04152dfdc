//! A broker with keys and a certificate of its own, as robots, desktops and browsers meet it.

use anyhow::ensure;
use rovercast_e2e::browser::{Browser, Page};
use rovercast_e2e::lab::{Folder, Program, gstreamer, program, robot_config};
use rovercast_peer::start::now_us;
use serde_json::Value;

type Outcome = anyhow::Result<()>;

/// A broker that wants tokens.
struct Guarded {
    folder: Folder,
    config: String,
    program: Program,
    /// `https://HOST:PORT`, or with `http:`.
    url: String,
}

impl Guarded {
    fn start(name: &str, more: &str) -> anyhow::Result<Self> {
        let folder = Folder::new(name)?;
        let secret = folder.write("secret", "for this test alone, and long enough for it")?;
        let keys = format!("{{ id = \"k\", algorithm = \"HS256\", secret_file = \"{secret}\" }}");
        let config = format!("listen = \"127.0.0.1:0\"\naccess.keys = [{keys}]\n{more}");
        let config = folder.write(
            "signaling.toml",
            &config.replace("FOLDER", &folder.path().display().to_string()),
        )?;
        let mut program = Program::start("rovercast-signaling", &["--config", &config])?;
        let url = program
            .wait_for("address", |line| line.strip_prefix("listening on ").map(str::to_owned))?;
        Ok(Self { folder, config, program, url })
    }

    /// As an operator makes tokens.
    fn mint(&self, scope: &str, expires: &str, more: &[&str]) -> anyhow::Result<String> {
        let mut token = std::process::Command::new(program("rovercast-signaling")?);
        token.args(["token", "--config", &self.config, "--subject", "somebody", "--scope", scope]);
        let output = token.args(["--expires", expires]).args(more).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A file with a token, for programs.
    fn token_file(&self, name: &str, scope: &str) -> anyhow::Result<String> {
        self.folder.write(name, &self.mint(scope, "1h", &[])?)
    }

    /// Where programs find it.
    fn websocket(&self) -> String {
        self.url.replacen("http", "ws", 1)
    }

    /// Starts a robot whose viewers may control its cameras, as far as it is asked. `signaling` is more
    /// of that section.
    fn robot(&self, signaling: &str) -> anyhow::Result<Program> {
        let config = format!(
            "{}[signaling]\n{signaling}\n[sessions]\ncontrol_cameras = true\n",
            robot_config("r", &[("c", 320, 240, 30)])
        );
        let config = self.folder.write("sender.toml", &config)?;
        let token = self.token_file("robot-token", "publish:r")?;
        let (url, flags) = (self.websocket(), ["--token-file", &token]);
        Program::start(
            "rovercast-sender",
            &[&["--config", &config, "--url", &url][..], &flags].concat(),
        )
    }
}

#[test]
fn robot_and_desktop_know_the_broker_by_its_fingerprint_and_bring_tokens() -> Outcome {
    let tls = "[tls]\nself_signed = true\ncertificate = \"FOLDER/c.pem\"\nkey = \"FOLDER/k.pem\"\n";
    let mut broker = Guarded::start("access-tls", tls)?;
    ensure!(broker.url.starts_with("https://"), "{}", broker.url);
    let fingerprint = broker
        .program
        .wait_for("fingerprint", |line| line.strip_prefix("fingerprint ").map(str::to_owned))?;
    let mut robot = broker.robot(&format!("tls_fingerprint = \"{fingerprint}\""))?;
    robot.wait_for_text("registered with the broker")?;

    let pinned = format!("tls_fingerprint = \"{fingerprint}\"\n");
    let pinned = broker.folder.write("receiver.toml", &pinned)?;
    let token = broker.token_file("viewer-token", "view:r")?;
    let url = broker.websocket();
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--stats", "json"];
    let with_token = [&arguments[..], &["--config", &pinned, "--token-file", &token]].concat();
    let mut receiver = Program::start("rovercast-receiver", &with_token)?;
    receiver.wait_for("decoded pictures", |line| {
        let report: Value = serde_json::from_str(line).ok()?;
        (report["framesDecoded"].as_u64()? > 0).then_some(())
    })?;

    // Without the token, and without knowing the certificate.
    let without_token = [&arguments[..], &["--config", &pinned]].concat();
    Program::start("rovercast-receiver", &without_token)?.wait_for_text("token")?;
    let unknown = [&arguments[..], &["--token-file", &token]].concat();
    Program::start("rovercast-receiver", &unknown)?.wait_for_text("tls_fingerprint")?;
    let said = broker.program.output();
    let secret = std::fs::read_to_string(&token)?;
    ensure!(!said.contains(&secret) && !receiver.output().contains(&secret), "a token was logged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_the_viewer_until_its_token_expires() -> Outcome {
    gstreamer();
    let broker = Guarded::start("access-page", "")?;
    let mut robot = broker.robot("")?;
    let browser = Browser::start("access").await?;
    let link = broker.mint("view:r", "20s", &["--link", &broker.url])?;
    ensure!(link.starts_with(&broker.url) && link.contains("#token="), "{link}");
    browser.open(&link).await?;
    browser.picture_after("c", now_us().unsigned_abs()).await?;
    let place = browser.ask("arguments[0](location.href)").await?;
    ensure!(place.as_str().is_some_and(|place| !place.contains("token")), "{place}");

    // To see is not to control.
    browser.choose("c", ".key-frame").await?;
    let by_token = |page: &Page| page.answer.contains("token");
    browser.until("the refusal", by_token).await?;

    let told = |page: &Page| page.banner.contains("expired") || page.problem.contains("expired");
    browser.until("that the link has expired", told).await?;
    // What the token showed is not sent any more.
    robot.wait_for_text("session ended")?;
    Ok(())
}

/// What the old token allowed ends with it; the new one is used at once.
#[test]
fn a_receiver_whose_token_was_renewed_in_time_sees_on() -> Outcome {
    let broker = Guarded::start("access-renewed", "")?;
    let mut robot = broker.robot("")?;
    robot.wait_for_text("registered with the broker")?;
    let token = broker.folder.write("viewer-token", &broker.mint("view:r", "12s", &[])?)?;
    let url = broker.websocket();
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--token-file", &token];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    robot.wait_for_text("session connected")?;
    broker.token_file("viewer-token", "view:r")?;
    robot.wait_for_text("session ended")?;
    robot.wait_for_text("session connected")?;
    ensure!(receiver.output().contains("the token has expired"), "{}", receiver.output());
    Ok(())
}
