//! `config/compose.yaml`: the settings that it tells one to write fit the containers that it makes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rovercast_signaling::access::KeyFile;
use rovercast_signaling::{Config, Flags};

#[test]
fn the_brokers_settings_fit_its_container() {
    let compose = include_str!("../../config/compose.yaml");
    let settings = compose.lines().filter_map(|line| line.strip_prefix("#: "));
    let settings = settings.map(|line| format!("{line}\n")).collect::<String>();
    let config = Config::load(Some(("broker.toml", &settings)), Flags::default()).unwrap();
    assert!(config.listen.ip().is_unspecified(), "who else could reach it");
    assert!(compose.contains(&format!(":{}:{}\"", config.listen.port(), config.listen.port())));

    // What comes by the published port comes from the gateway.
    let [gateway] = config.web.trusted_proxies[..] else { panic!("{settings}") };
    assert!(config.web.behind_proxy && compose.contains(&format!("gateway: {gateway} ")));

    let [key] = &config.access.keys[..] else { panic!("{settings}") };
    let KeyFile::Secret(key) = key.file().unwrap() else { panic!("{settings}") };
    for file in [key, config.turn.secret_file.as_deref().unwrap()] {
        let name = file.strip_prefix("/run/secrets").unwrap().display();
        assert!(compose.contains(&format!("{name}: {{ file: ./secrets/{name} }}")), "{name}");
    }
}
