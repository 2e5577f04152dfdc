//! The broker's settings: from a file, overridden by flags, completed by defaults, and checked.
//! Nothing is read here: the text of the file comes in as an argument.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rovercast_protocol::settings::{self, InvalidSettings, Problem};
use rovercast_protocol::signaling::IceServer;
use serde::de::{Deserialize, Deserializer, Error};

/// How a broker runs: complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The largest frame accepted, in bytes.
    pub max_message_bytes: usize,
    /// How many messages may wait for one peer before it is dropped.
    pub queue_messages: usize,
    /// How many bytes may wait for one peer before it is dropped.
    pub queue_bytes: usize,
    /// How often every peer is pinged.
    pub ping_interval: Duration,
    /// How long a peer may say nothing, not even answer a ping, before it is dropped.
    pub silence_timeout: Duration,
    /// Origins (`https://host:port`) of web pages of other servers that may connect; `*` is all.
    pub allow_origins: Vec<String>,
    /// STUN and TURN servers, named to every peer that connects.
    pub ice_servers: Vec<IceServer>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8765)),
            max_message_bytes: 128 * 1024,
            queue_messages: 4096,
            queue_bytes: 4 * 1024 * 1024,
            ping_interval: Duration::from_secs(15),
            silence_timeout: Duration::from_secs(45),
            allow_origins: Vec::new(),
            ice_servers: Vec::new(),
        }
    }
}

impl Config {
    /// The settings of `file` (its name and its text), overridden by `flags`, completed by the
    /// defaults.
    pub fn load(file: Option<(&str, &str)>, flags: Settings) -> Result<Self, InvalidSettings> {
        let Some((name, text)) = file else {
            return flags.resolve().map_err(|problem| invalid("command line", problem));
        };
        let settings = flags.or(settings::parse(name, text)?);
        settings.resolve().map_err(|problem| {
            let line = line_of(text, "silence_timeout_s").or(line_of(text, "ping_interval_s"));
            invalid(name, Problem { line, ..problem })
        })
    }
}

/// What a file or a command line says; what it leaves out is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; port 0 lets the system choose [default: 127.0.0.1:8765]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,

    /// The largest frame accepted, in bytes [default: 131072]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    #[serde(deserialize_with = "within::<1_024, 16_777_216, _>")]
    pub max_message_bytes: Option<u32>,

    /// How many messages may wait for one peer before it is dropped [default: 4096]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(8..=65_536))]
    #[serde(deserialize_with = "within::<8, 65_536, _>")]
    pub queue_messages: Option<u32>,

    /// How many bytes may wait for one peer before it is dropped [default: 4194304]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(65_536..=1_073_741_824))]
    #[serde(deserialize_with = "within::<65_536, 1_073_741_824, _>")]
    pub queue_bytes: Option<u32>,

    /// How often every peer is pinged [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    #[serde(deserialize_with = "within::<1, 3_600, _>")]
    pub ping_interval_s: Option<u32>,

    /// How long a peer may say nothing, not even answer a ping [default: 45]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=86_400))]
    #[serde(deserialize_with = "within::<2, 86_400, _>")]
    pub silence_timeout_s: Option<u32>,

    /// An origin (https://HOST:PORT) of web pages of another server that may connect; may be given
    /// several times; `*` is all [default: none]
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub allow_origins: Option<Vec<String>>,

    /// STUN and TURN servers, named to every peer that connects (file only).
    #[arg(skip)]
    #[serde(deserialize_with = "ice_servers")]
    pub ice_servers: Option<Vec<IceServer>>,
}

impl Settings {
    /// These settings; what they leave out is taken from `fallback`.
    pub fn or(self, fallback: Self) -> Self {
        Self {
            listen: self.listen.or(fallback.listen),
            max_message_bytes: self.max_message_bytes.or(fallback.max_message_bytes),
            queue_messages: self.queue_messages.or(fallback.queue_messages),
            queue_bytes: self.queue_bytes.or(fallback.queue_bytes),
            ping_interval_s: self.ping_interval_s.or(fallback.ping_interval_s),
            silence_timeout_s: self.silence_timeout_s.or(fallback.silence_timeout_s),
            allow_origins: self.allow_origins.or(fallback.allow_origins),
            ice_servers: self.ice_servers.or(fallback.ice_servers),
        }
    }

    /// These settings; what they leave out is as in [`Config::default`].
    pub fn resolve(self) -> Result<Config, Problem> {
        let default = Config::default();
        let seconds = |given: Option<u32>, default| {
            given.map_or(default, |seconds| Duration::from_secs(seconds.into()))
        };
        let count = |given: Option<u32>, default| given.map_or(default, |count| count as usize);
        let config = Config {
            listen: self.listen.unwrap_or(default.listen),
            max_message_bytes: count(self.max_message_bytes, default.max_message_bytes),
            queue_messages: count(self.queue_messages, default.queue_messages),
            queue_bytes: count(self.queue_bytes, default.queue_bytes),
            ping_interval: seconds(self.ping_interval_s, default.ping_interval),
            silence_timeout: seconds(self.silence_timeout_s, default.silence_timeout),
            allow_origins: self.allow_origins.unwrap_or(default.allow_origins),
            ice_servers: self.ice_servers.unwrap_or(default.ice_servers),
        };
        if config.silence_timeout <= config.ping_interval {
            let remedy = format!(
                "{} is not longer than ping_interval_s ({}), so every peer would be dropped before \
                 it can answer a ping: use three times ping_interval_s",
                config.silence_timeout.as_secs(),
                config.ping_interval.as_secs(),
            );
            return Err(Problem::value("silence_timeout_s", remedy));
        }
        Ok(config)
    }
}

fn invalid(file: &str, problem: Problem) -> InvalidSettings {
    InvalidSettings { file: file.to_owned(), problems: vec![problem] }
}

/// The line, counted from 1, that sets a top-level key.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let sets = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(sets).map(|index| index + 1)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let remedy = "an IP address and a port are wanted, for example \"127.0.0.1:8765\"";
    text.parse().map(Some).map_err(|_| D::Error::custom(remedy))
}

fn within<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    let remedy = || D::Error::custom(format!("a whole number from {MIN} to {MAX} is wanted"));
    let number = i64::deserialize(deserializer).map_err(|_| remedy())?;
    let number = u32::try_from(number).map_err(|_| remedy())?;
    if (MIN..=MAX).contains(&number) { Ok(Some(number)) } else { Err(remedy()) }
}

fn ice_servers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<IceServer>>, D::Error> {
    let entries = Vec::<IceServerEntry>::deserialize(deserializer)?;
    Ok(Some(entries.into_iter().map(|IceServerEntry(server)| server).collect()))
}

/// An [`IceServer`] as it stands in a file, where nothing unknown is let pass.
#[derive(serde::Deserialize)]
#[serde(try_from = "IceServerFields")]
struct IceServerEntry(IceServer);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct IceServerFields {
    urls: Vec<String>,
    username: Option<String>,
    credential: Option<String>,
}

impl TryFrom<IceServerFields> for IceServerEntry {
    type Error = &'static str;
    fn try_from(fields: IceServerFields) -> Result<Self, Self::Error> {
        let IceServerFields { urls, username, credential } = fields;
        let scheme = |names: [&str; 2], url: &String| {
            url.split_once(':').is_some_and(|(scheme, host)| {
                names.contains(&scheme) && !host.is_empty() && !host.starts_with('/')
            })
        };
        let is_turn = |url: &String| scheme(["turn", "turns"], url);
        if urls.is_empty() || !urls.iter().all(|url| is_turn(url) || scheme(["stun", "stuns"], url))
        {
            return Err(
                "every one of `urls` is wanted as \"stun:HOST:PORT\" or \"turn:HOST:PORT\"",
            );
        }
        if urls.iter().any(is_turn) && (username.is_none() || credential.is_none()) {
            return Err("a TURN server wants `username` and `credential`");
        }
        Ok(Self(IceServer { urls, username, credential }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        Config::load(Some(("x.toml", text)), Settings::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_reference_file_is_the_defaults() {
        let text = include_str!("../../config/signaling.toml");
        assert_eq!(load(text).unwrap(), Config::default());
        // What it shows as examples is right, too, and no key is missing.
        let examples = text.replace("\n#: ", "\n");
        let shown: Settings = settings::parse("signaling.toml", &examples).unwrap();
        assert_eq!(shown.ice_servers.as_ref().unwrap().len(), 2);
        let Settings {
            listen: Some(_),
            max_message_bytes: Some(_),
            queue_messages: Some(_),
            queue_bytes: Some(_),
            allow_origins: Some(_),
            ping_interval_s: Some(_),
            silence_timeout_s: Some(_),
            ice_servers: Some(_),
        } = shown
        else {
            panic!("a key is missing: {shown:?}")
        };
    }

    #[test]
    fn flags_override_the_file() {
        let flags = Settings { queue_messages: Some(9), ..Settings::default() };
        let file = ("x.toml", "queue_messages = 8\nping_interval_s = 3");
        let config = Config::load(Some(file), flags).unwrap();
        assert_eq!((config.queue_messages, config.ping_interval.as_secs()), (9, 3));
        assert_eq!(config.silence_timeout, Config::default().silence_timeout);
    }

    #[test]
    fn every_wrong_line_is_named_with_a_remedy() {
        let text = "listen = \"here\"\nqueue_messages = 7\nmax_message_byte = 1\n\
                    ping_interval_s = -1\nsilence_timeout_s = \"long\"\n";
        let said = load(text).unwrap_err();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 5, "{said}");
        for (index, remedy) in [
            "127.0.0.1:8765",
            "from 8 to 65536",
            "max_message_bytes",
            "from 1 to 3600",
            "from 2 to 86400",
        ]
        .into_iter()
        .enumerate()
        {
            let line = lines[index];
            assert!(line.starts_with(&format!("x.toml:{}: ", index + 1)), "{line}");
            assert!(line.contains(remedy), "{line}");
        }
    }

    #[test]
    fn a_silence_shorter_than_the_pings_is_refused() {
        let said = load("# pings\nping_interval_s = 60\n").unwrap_err();
        assert!(said.starts_with("x.toml:2: silence_timeout_s: 45 is not longer"), "{said}");
        let said = load("ping_interval_s = 60\nsilence_timeout_s = 60\n").unwrap_err();
        assert!(said.starts_with("x.toml:2: "), "{said}");
        let flags = Settings { silence_timeout_s: Some(2), ..Settings::default() };
        let said = Config::load(None, flags).unwrap_err().to_string();
        assert!(said.starts_with("command line: silence_timeout_s"), "{said}");
    }

    #[test]
    fn ice_servers_are_checked() {
        let turn = "[[ice_servers]]\nurls = [\"turn:t:3478\"]\n";
        let full = format!("{turn}username = \"u\"\ncredential = \"c\"\n");
        assert_eq!(load(&full).unwrap().ice_servers[0].credential.as_deref(), Some("c"));
        assert!(load(turn).unwrap_err().contains("`username` and `credential`"));
        for url in ["http://x", "stun:", "stun", "stun://x"] {
            let said = load(&format!("[[ice_servers]]\nurls = [\"{url}\"]\n")).unwrap_err();
            assert!(said.contains("stun:HOST:PORT"), "{said}");
        }
        let said = load(&format!("{full}user = \"u\"\n")).unwrap_err();
        assert!(said.starts_with("x.toml:5: `user"), "{said}");
        assert!(!format!("{:?}", load(&full)).contains("\"c\""));
    }
}
