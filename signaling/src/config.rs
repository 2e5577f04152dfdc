//! The broker's settings: from a file, overridden by flags, completed by defaults, and checked.
//! Nothing is read here: the text of the file comes in as an argument.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rovercast_protocol::settings::{self, InvalidSettings, Problem};
use rovercast_protocol::signaling::IceServer;
use serde::de::{Deserialize, Deserializer, Error};

use crate::access::AccessSettings;
use crate::ice::TurnSettings;
use crate::limits::{Contradiction, LimitSettings};
use crate::tls::TlsSettings;
use crate::web::WebSettings;
use crate::whep;

/// How a broker runs: complete, and checked once it comes from [`Config::load`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Whether everybody may come from anywhere, although there are no keys to tell them apart.
    pub insecure: bool,
    /// Origins (`https://host:port`) of web pages of other servers that may connect; `*` is all.
    pub allow_origins: Vec<String>,
    /// STUN and TURN servers, named to every peer that connects.
    #[serde(deserialize_with = "ice_servers")]
    pub ice_servers: Vec<IceServer>,
    /// What a line of the log looks like.
    pub log_format: LogFormat,
    /// How the broker proves who it is.
    pub tls: TlsSettings,
    /// What stands before the broker, and how it stops.
    pub web: WebSettings,
    /// TURN servers to which peers get credentials that are good for a while.
    pub turn: TurnSettings,
    /// Whose tokens are taken.
    pub access: AccessSettings,
    /// What anybody may have of the broker.
    pub limits: LimitSettings,
    /// WHEP, for standard players.
    pub whep: whep::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8765)),
            insecure: false,
            allow_origins: Vec::new(),
            ice_servers: Vec::new(),
            log_format: LogFormat::default(),
            turn: TurnSettings::default(),
            tls: TlsSettings::default(),
            web: WebSettings::default(),
            access: AccessSettings::default(),
            limits: LimitSettings::default(),
            whep: whep::Settings::default(),
        }
    }
}

impl Config {
    /// The settings of `file` (its name and its text), overridden by `flags`, completed by the
    /// defaults.
    pub fn load(file: Option<(&str, &str)>, flags: Flags) -> Result<Self, InvalidSettings> {
        let (name, text) = file.unwrap_or(("command line", ""));
        let mut config: Self = settings::parse(name, text)?;
        flags.override_in(&mut config);
        if let Err(error) = config.access.check() {
            return Err(invalid(name, Problem::value("access.keys", error)));
        }
        if let Err(error) = config.turn.check() {
            return Err(invalid(name, Problem::value("turn", error)));
        }
        let problem = |Contradiction { keys, remedy }: Contradiction| {
            let line = keys.iter().find_map(|key| line_of(text, key));
            Problem { line, ..Problem::value(keys[0], remedy) }
        };
        let problems: Vec<_> = config.limits.contradictions().into_iter().map(problem).collect();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(InvalidSettings { file: name.to_owned(), problems })
        }
    }
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object of JSON, for programs.
    Json,
}

/// What a command line says; what it leaves out is `None`. The file has more: these are what people
/// want to change for one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Flags {
    /// Where to listen; port 0 lets the system choose [default: 127.0.0.1:8765]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Let everybody in from anywhere, although no keys are configured: whoever reaches the broker
    /// can watch and control every robot
    #[arg(long)]
    pub insecure: bool,

    /// Whether a line of the log is text or an object of JSON [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// An origin (https://HOST:PORT) of web pages of another server that may connect; may be given
    /// several times; `*` is all [default: none]
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub allow_origins: Option<Vec<String>>,

    /// Connections in all [default: 20000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: Option<u32>,

    /// Connections from one address; 0 is no limit [default: 256]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub max_connections_per_address: Option<u32>,

    /// The largest frame accepted, in bytes [default: 131072]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub max_message_bytes: Option<u32>,

    /// Messages of one peer each second, in the long run, and HTTP requests of one address [default:
    /// 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub messages_per_s: Option<u32>,

    /// Messages of one peer at once, after a rest, and HTTP requests of one address [default: 4000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub message_burst: Option<u32>,

    /// How many messages may wait for one peer before it is dropped [default: 4096]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub queue_messages: Option<u32>,

    /// How many bytes may wait for one peer before it is dropped [default: 4194304]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(65_536..=1_073_741_824))]
    pub queue_bytes: Option<u32>,

    /// How often every peer is pinged [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub ping_interval_s: Option<u32>,

    /// How long a peer may say nothing, not even answer a ping [default: 45]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=86_400))]
    pub silence_timeout_s: Option<u32>,
}

impl Flags {
    /// Puts what was said in place of what `config` says.
    fn override_in(self, config: &mut Config) {
        fn put<T>(said: Option<T>, place: &mut T) {
            if let Some(said) = said {
                *place = said;
            }
        }
        let in_seconds = |seconds: Option<u32>| seconds.map(|s| Duration::from_secs(s.into()));
        put(self.listen, &mut config.listen);
        put(self.allow_origins, &mut config.allow_origins);
        put(self.log_format, &mut config.log_format);
        config.insecure |= self.insecure;
        let limits = &mut config.limits;
        put(self.max_connections, &mut limits.max_connections);
        put(self.max_connections_per_address, &mut limits.max_connections_per_address);
        put(self.max_message_bytes, &mut limits.max_message_bytes);
        put(self.messages_per_s, &mut limits.messages_per_s);
        put(self.message_burst, &mut limits.message_burst);
        put(self.queue_messages, &mut limits.queue_messages);
        put(self.queue_bytes, &mut limits.queue_bytes);
        put(in_seconds(self.ping_interval_s), &mut limits.ping_interval);
        put(in_seconds(self.silence_timeout_s), &mut limits.silence_timeout);
    }
}

/// Reads a whole number, for `#[serde(deserialize_with)]`. The error names the range.
pub(crate) fn within<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u32, D::Error> {
    let remedy = || D::Error::custom(format!("a whole number from {MIN} to {MAX} is wanted"));
    let number = i64::deserialize(deserializer).map_err(|_| remedy())?;
    let number = u32::try_from(number).map_err(|_| remedy())?;
    if (MIN..=MAX).contains(&number) { Ok(number) } else { Err(remedy()) }
}

/// Reads whole seconds as [`within`] does.
pub(crate) fn seconds<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    within::<MIN, MAX, D>(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
}

fn invalid(file: &str, problem: Problem) -> InvalidSettings {
    InvalidSettings { file: file.to_owned(), problems: vec![problem] }
}

/// The line, counted from 1, that sets a key. The keys asked for occur in one section alone.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let sets = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(sets).map(|index| index + 1)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let remedy = "an IP address and a port are wanted, for example \"127.0.0.1:8765\"";
    text.parse().map_err(|_| D::Error::custom(remedy))
}

fn ice_servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IceServer>, D::Error> {
    let entries = Vec::<IceServerEntry>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|IceServerEntry(server)| server).collect())
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
        Config::load(Some(("x.toml", text)), Flags::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_reference_file_is_the_defaults() {
        let text = include_str!("../../config/signaling.toml");
        assert_eq!(load(text).unwrap(), Config::default());
        // What it shows as examples is right, too.
        let shown = load(&text.replace("\n#: ", "\n")).unwrap();
        assert_eq!((shown.ice_servers.len(), shown.access.keys.len()), (2, 2));
        assert!(shown.tls.certificate.is_some() && shown.tls.key.is_some());
    }

    #[test]
    fn keys_of_the_same_name_are_refused() {
        let key = "[[access.keys]]\nid = \"a\"\nalgorithm = \"HS256\"\nsecret_file = \"x\"\n";
        assert_eq!(load(key).unwrap().access.keys.len(), 1);
        let said = load(&key.repeat(2)).unwrap_err();
        assert!(said.starts_with("x.toml: access.keys: "), "{said}");
    }

    /// So that the reference file, which is the defaults, also shows every key.
    #[test]
    fn the_reference_file_has_every_key() {
        let text = include_str!("../../config/signaling.toml").replace("\n#: ", "\n");
        for (section, least) in
            [("", 10), ("[limits]\n", 12), ("[tls]\n", 4), ("[web]\n", 3), ("[whep]\n", 4)]
        {
            let said = load(&format!("{section}nothing = 1\n")).unwrap_err();
            let (_, keys) = said.split_once("expected one of").unwrap();
            let keys: Vec<_> = keys.split('`').skip(1).step_by(2).collect();
            assert!(keys.len() >= least, "{said}");
            for key in keys {
                let is_there = line_of(&text, key).is_some() || text.contains(&format!("[{key}]"));
                assert!(is_there, "{key}");
            }
        }
    }

    #[test]
    fn flags_override_the_file() {
        let flags = Flags { queue_messages: Some(9), insecure: true, ..Flags::default() };
        let file = ("x.toml", "[limits]\nqueue_messages = 8\nping_interval_s = 3");
        let config = Config::load(Some(file), flags).unwrap();
        let limits = LimitSettings {
            queue_messages: 9,
            ping_interval: Duration::from_secs(3),
            ..LimitSettings::default()
        };
        assert_eq!(config, Config { limits, insecure: true, ..Config::default() });
    }

    #[test]
    fn every_wrong_line_is_named_with_a_remedy() {
        let text = "listen = \"here\"\n[limits]\nqueue_messages = 7\nmax_message_byte = 1\n\
                    ping_interval_s = -1\nsilence_timeout_s = \"long\"\n";
        let said = load(text).unwrap_err();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 5, "{said}");
        for (line, (number, remedy)) in lines.into_iter().zip([
            (1, "127.0.0.1:8765"),
            (3, "from 8 to 65536"),
            (4, "max_message_bytes"),
            (5, "from 1 to 3600"),
            (6, "from 2 to 86400"),
        ]) {
            assert!(line.starts_with(&format!("x.toml:{number}: ")), "{line}");
            assert!(line.contains(remedy), "{line}");
        }
    }

    #[test]
    fn a_silence_shorter_than_the_pings_is_refused() {
        let said = load("[limits]\nping_interval_s = 60\n").unwrap_err();
        assert!(said.starts_with("x.toml:2: silence_timeout_s: 45 is not longer"), "{said}");
        let said = load("[limits]\nping_interval_s = 60\nsilence_timeout_s = 60\n").unwrap_err();
        assert!(said.starts_with("x.toml:3: "), "{said}");
        let flags = Flags { silence_timeout_s: Some(2), ..Flags::default() };
        let said = Config::load(None, flags).unwrap_err().to_string();
        assert!(said.starts_with("command line: silence_timeout_s"), "{said}");
    }

    #[test]
    fn queues_too_short_for_a_message_are_refused() {
        let said = load("[limits]\nmax_message_bytes = 16777216\n").unwrap_err();
        assert!(said.starts_with("x.toml:2: queue_bytes: 4194304 is less than 8 times"), "{said}");
        assert!(said.contains("max_message_bytes (16777216)"), "{said}");
        assert!(said.contains("use 134217728 at least"), "{said}");
        load("[limits]\nmax_message_bytes = 16777216\nqueue_bytes = 134217728\n").unwrap();
        let flags = Flags { queue_bytes: Some(1_048_575), ..Flags::default() };
        let said = Config::load(None, flags).unwrap_err().to_string();
        assert!(said.starts_with("command line: queue_bytes: 1048575"), "{said}");
        let flags = Flags { queue_bytes: Some(1_048_576), ..Flags::default() };
        assert!(Config::load(None, flags).is_ok());
    }

    #[test]
    fn what_one_peer_may_fill_is_no_more_than_all_may() {
        let said = load("[limits]\nqueue_bytes_in_all = 4194303\n").unwrap_err();
        assert!(said.starts_with("x.toml:2: queue_bytes_in_all: 4194303 is less than"), "{said}");
        assert!(said.contains("queue_bytes (4194304)"), "{said}");
        load("[limits]\nqueue_bytes_in_all = 4194304\n").unwrap();
        // All that is wrong is told at once.
        let said = load("[limits]\nqueue_bytes = 268435457\nping_interval_s = 60\n").unwrap_err();
        let lines: Vec<_> = said.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(lines, ["silence_timeout_s:", "queue_bytes_in_all:"]);
    }

    /// Both are told in `--help`, and in the reference file, which equals the defaults.
    #[test]
    fn flags_have_the_ranges_and_the_defaults_of_the_file() {
        let reference = include_str!("../../config/signaling.toml");
        let command = <Flags as clap::Args>::augment_args(clap::Command::new("x"));
        let takes_one = |arg: &&clap::Arg| {
            let names = arg.get_value_names().unwrap_or_default();
            names.iter().any(|name| ["COUNT", "BYTES", "SECONDS"].contains(&name.as_str()))
        };
        let flags: Vec<_> = command.get_arguments().filter(takes_one).collect();
        assert!(flags.len() >= 9, "{}", flags.len());
        for flag in flags {
            let long = flag.get_long().unwrap();
            let key = long.replace('-', "_");
            let help = flag.get_help().unwrap().to_string();
            let value = |line: &str| {
                let (name, value) = line.split_once(" = ")?;
                (name == key).then(|| value.to_owned())
            };
            let default = reference.lines().find_map(value).unwrap();
            assert!(help.contains(&format!("[default: {default}]")), "{help}");

            let said = load(&format!("[limits]\n{key} = -1\n")).unwrap_err();
            let range = said.split("a whole number from ").nth(1).unwrap();
            let (min, max) = range.split_once(" is wanted").unwrap().0.split_once(" to ").unwrap();
            let [min, max]: [i64; 2] = [min, max].map(|edge| edge.parse().unwrap());
            for (number, is_taken) in [(min - 1, false), (min, true), (max, true), (max + 1, false)]
            {
                let words = ["x".to_owned(), format!("--{long}={number}")];
                let taken = command.clone().try_get_matches_from(words).is_ok();
                assert_eq!(taken, is_taken, "{long} {number}");
            }
        }
    }

    #[test]
    fn turn_servers_are_checked() {
        let said = load("[turn]\nurls = [\"turn:t:3478\"]\n").unwrap_err();
        assert!(said.starts_with("x.toml: turn: `urls` want `secret_file`"), "{said}");
        let said = load("[turn]\nurl = \"turn:t\"\n").unwrap_err();
        assert!(said.starts_with("x.toml:2: `url"), "{said}");
        let config = load("[turn]\nurls = [\"turn:t:3478\"]\nsecret_file = \"s\"\n").unwrap();
        assert_eq!(config.turn.ttl_s, 21_600);
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
