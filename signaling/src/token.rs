//! `rovercast-signaling token`: mints the tokens that the broker takes, and secrets to sign them
//! with. Neither secrets nor private keys are ever on the command line: only the files they are in.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use rovercast_protocol::settings;
use serde::{Deserialize, Serialize};

use crate::access::{AccessSettings, Algorithm, Grant, KeySettings, SigningKey, Verifier};
use crate::key_files;

/// The longest that a token may be good.
const MAX_VALIDITY_DAYS: u64 = 3_650;

/// Mints a token, and prints it alone.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    order: Option<Order>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a new secret for HS256, to be kept in a file: (umask 077; rovercast-signaling token
    /// new-secret > FILE)
    NewSecret,
}

/// The token that is wanted.
#[derive(Debug, clap::Args)]
struct Order {
    /// The broker's settings file, with the keys in its section [access]
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Whose token it is: a robot's or a person's name, told in the broker's logs
    #[arg(long, value_name = "NAME")]
    subject: String,

    /// What it allows: publish:ROBOT, view:ROBOT, view:ROBOT/CAMERA, control:ROBOT, metrics, with
    /// spaces between; `*` stands for all, or ends a name: 'view:rover-* control:rover-1'
    #[arg(long, value_name = "SCOPES")]
    scope: String,

    /// For how long it is good: 90s, 30m, 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = validity)]
    expires: Duration,

    /// Which of the keys signs it, if there are several
    #[arg(long, value_name = "ID")]
    key: Option<String>,

    /// The private key of the one whose public half the broker has, in PEM; for EdDSA and ES256
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,

    /// Print a link to the viewer of this broker that carries the token: https://BROKER
    #[arg(long, value_name = "URL", value_parser = broker)]
    link: Option<String>,
}

/// Does what the command line says. What is asked for goes to standard output, alone; fails when a
/// file cannot be read or used, and when the broker would not take the token.
pub fn run(args: Args) -> anyhow::Result<()> {
    let answer = match (args.command, args.order) {
        (Some(Command::NewSecret), _) => new_secret()?,
        (None, Some(order)) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.context("this computer's clock is before 1970: set it right")?;
            order.fill(now.as_secs())?
        }
        (None, None) => bail!("say what token is wanted: see rovercast-signaling token --help"),
    };
    writeln!(std::io::stdout(), "{answer}").context("cannot write to standard output")
}

/// 256 random bits as text, as good in a file as on a line.
fn new_secret() -> anyhow::Result<String> {
    let mut secret = [0; 32];
    let filled = SystemRandom::new().fill(&mut secret);
    filled.map_err(|_| anyhow::anyhow!("this computer has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(secret))
}

/// What a token says (RFC 7519).
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    scope: &'a str,
    iat: u64,
    exp: u64,
}

/// Of the settings file, what is needed here: the rest is for the broker to judge.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    access: AccessSettings,
}

impl Order {
    fn fill(&self, now_unix_s: u64) -> anyhow::Result<String> {
        let settings = self.key_settings()?;
        let exp = now_unix_s + self.expires.as_secs();
        // Here, where somebody looks, a slip is an error; the broker passes unknown words over.
        let wanted = Grant::strict(self.subject.as_str(), exp, &self.scope)?;
        ensure!(!self.scope.trim().is_empty(), "--scope: a token without scopes allows nothing");
        let claims = Claims { sub: &self.subject, scope: &self.scope, iat: now_unix_s, exp };
        let token = self.signing_key(&settings)?.sign(&claims).context("cannot sign the token")?;
        // By the broker's own eyes: the public key may be another's, the token too long.
        let granted = Verifier::new(vec![key_files::key(&settings)?]).verify(&token, now_unix_s);
        let granted = granted.with_context(|| {
            format!("the broker would refuse this token of its key {:?}", settings.id)
        })?;
        ensure!(granted == wanted, "the broker would read this token otherwise than it was meant");
        Ok(match &self.link {
            Some(broker) => format!("{broker}/#token={token}"),
            None => token,
        })
    }

    /// The key that is to sign.
    fn key_settings(&self) -> anyhow::Result<KeySettings> {
        let name = self.config.display().to_string();
        let text = std::fs::read_to_string(&self.config)
            .with_context(|| format!("cannot read {name}: name the broker's file with --config"))?;
        let File { access } = settings::parse(&name, &text)?;
        access.check()?;
        let ids: Vec<_> = access.keys.iter().map(|key| key.id.clone()).collect();
        let mut wanted =
            access.keys.into_iter().filter(|key| self.key.as_ref().is_none_or(|id| *id == key.id));
        match (wanted.next(), wanted.next()) {
            (Some(key), None) => Ok(key),
            _ if ids.is_empty() => bail!("{name} has no keys: add one to its section [access]"),
            _ => bail!("say which key signs it: --key with one of {}", ids.join(", ")),
        }
    }

    fn signing_key(&self, settings: &KeySettings) -> anyhow::Result<SigningKey> {
        let KeySettings { id, algorithm, secret_file, .. } = settings;
        let path: &Path = match (algorithm, &self.private_key, secret_file) {
            (Algorithm::Hs256, None, Some(path)) | (_, Some(path), None) => path,
            (Algorithm::Hs256, ..) => {
                bail!(
                    "key {id:?} is for HS256: it signs with its secret_file; leave --private-key out"
                )
            }
            _ => bail!("key {id:?} is for {algorithm}: name its private half with --private-key"),
        };
        let file = key_files::secret(path)
            .with_context(|| format!("cannot read the key in {}", path.display()))?;
        Ok(SigningKey::new(id, *algorithm, &file)?)
    }
}

/// A time such as `12h`.
fn validity(text: &str) -> Result<Duration, String> {
    let remedy =
        || format!("90s, 30m, 12h or 7d are wanted: from one second to {MAX_VALIDITY_DAYS} days");
    let (number, unit_s) = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, unit_s)| Some((text.strip_suffix(unit)?, unit_s)))
        .ok_or_else(remedy)?;
    let number: u64 = number.parse().map_err(|_| remedy())?;
    match number.checked_mul(unit_s) {
        Some(seconds) if (1..=MAX_VALIDITY_DAYS * 86_400).contains(&seconds) => {
            Ok(Duration::from_secs(seconds))
        }
        _ => Err(remedy()),
    }
}

/// Where a broker is, without a slash at the end.
fn broker(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or_default();
    let ends_it = |c: char| c == '#' || c == '?' || c.is_whitespace() || c.is_control();
    if host.trim_end_matches('/').is_empty() || host.starts_with('/') || host.contains(ends_it) {
        return Err("the broker's address is wanted, as https://broker.example.org".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validities_are_read() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(validity(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "12", "h", "0s", "-1h", "1.5h", "1w", "3651d", "99999999999999999999d"] {
            assert!(validity(wrong).unwrap_err().contains("12h"), "{wrong}");
        }
        assert!(validity("18446744073709551615d").is_err());
    }

    #[test]
    fn links_are_to_brokers() {
        assert_eq!(broker("https://b.example/").unwrap(), "https://b.example");
        assert_eq!(broker("http://127.0.0.1:8765").unwrap(), "http://127.0.0.1:8765");
        for wrong in
            ["", "b.example", "https://", "https:///", "ftp://b", "https://b/#x", "https://b?x"]
        {
            assert!(broker(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_long_and_new() {
        let (one, other) = (new_secret().unwrap(), new_secret().unwrap());
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
    }
}
