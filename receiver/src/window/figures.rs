//! Figures as people read them, and the telemetry values that the settings name. Pure.

use serde_json::Value;

/// What stands where there is no figure.
pub const NONE: &str = "–";

/// An age to be read at a glance: tenths while they matter, then minutes, then hours. Cut off, not
/// rounded.
pub fn age(us: i64) -> String {
    let tenths = us.max(0) / 100_000;
    let seconds = tenths / 10;
    match seconds {
        0..60 => format!("{seconds}.{} s", tenths % 10),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02} h", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// How long something has been running: `00:12`, `1:02:03`.
pub fn elapsed(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// A rate in units of 1,000 bits per second.
pub fn bitrate(kbps: u64) -> String {
    match kbps {
        0..1000 => format!("{kbps} kb/s"),
        _ => format!("{:.1} Mb/s", kbps as f64 / 1000.0),
    }
}

/// Milliseconds, with a decimal while it matters.
pub fn milliseconds(ms: f64) -> String {
    if ms.abs() < 9.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// The telemetry value at a dotted path, named and with its unit: `host.cpuPercent` gives
/// `cpu 34 %`. A path that begins with `camera.` is looked up in the entry of `camera`, or has no
/// value without one. Where there is no value it says so.
pub fn telemetry(path: &str, telemetry: Option<&Value>, camera: Option<&str>) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let (words, unit) = named(name);
    let found = telemetry.and_then(|telemetry| look_up(path, telemetry, camera));
    let value = found.map_or_else(|| NONE.to_owned(), |value| with_unit(value, unit));
    format!("{words} {value}")
}

/// Whether a path is one of a camera's entry.
pub fn is_of_camera(path: &str) -> bool {
    path.starts_with("camera.")
}

fn look_up<'a>(path: &str, telemetry: &'a Value, camera: Option<&str>) -> Option<&'a Value> {
    let (start, path) = match path.strip_prefix("camera.") {
        None => (telemetry, path),
        Some(path) => {
            let entries = telemetry.get("cameras")?.as_array()?;
            (entries.iter().find(|entry| entry.get("id").and_then(Value::as_str) == camera)?, path)
        }
    };
    path.split('.').try_fold(start, |value, part| match value {
        Value::Array(values) => values.get(part.parse::<usize>().ok()?),
        value => value.get(part),
    })
}

/// The units in which figures end, as the protocol names them.
const UNITS: [(&str, &str); 12] = [
    ("Percent", "%"),
    ("Celsius", "°C"),
    ("Bytes", "B"),
    ("Kbps", "kb/s"),
    ("Volts", "V"),
    ("Amperes", "A"),
    ("Watts", "W"),
    ("Metres", "m"),
    ("Degrees", "°"),
    ("Ms", "ms"),
    ("Us", "us"),
    ("S", "s"),
];

/// `cpuPercent` as `cpu` and `%`.
fn named(name: &str) -> (String, &'static str) {
    let unit = UNITS.iter().find_map(|&(suffix, unit)| Some((name.strip_suffix(suffix)?, unit)));
    let (name, unit) = unit.filter(|(rest, _)| !rest.is_empty()).unwrap_or((name, ""));
    let words = name.chars().fold(String::new(), |mut words, character| {
        if character.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
        words
    });
    (words, unit)
}

fn with_unit(value: &Value, unit: &str) -> String {
    let number = match value {
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => return short(text),
        Value::Bool(true) => return "yes".to_owned(),
        Value::Bool(false) => return "no".to_owned(),
        _ => return NONE.to_owned(),
    };
    match unit {
        "" => rounded(number),
        "B" => format!("{:.1} GiB", number / f64::from(1 << 30)),
        "kb/s" => bitrate(number.max(0.0) as u64),
        "s" => elapsed((number * 1e6) as i64),
        "us" => age(number as i64),
        unit => format!("{} {unit}", rounded(number)),
    }
}

fn rounded(number: f64) -> String {
    if number.abs() >= 9.95 || number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.1}")
    }
}

/// A peer's text, no longer than a tile can show.
pub fn short(text: &str) -> String {
    const LONGEST: usize = 120;
    text.chars().filter(|character| !character.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ages_and_rates_are_short() {
        assert_eq!(age(-1), "0.0 s");
        assert_eq!(age(1_290_000), "1.2 s");
        assert_eq!(age(61_000_000), "1:01 min");
        assert_eq!(age(3_723_000_000), "1:02:03 h");
        assert_eq!(elapsed(12_900_000), "00:12");
        assert_eq!(elapsed(3_723_000_000), "1:02:03");
        assert_eq!(bitrate(950), "950 kb/s");
        assert_eq!(bitrate(2150), "2.1 Mb/s");
        assert_eq!(milliseconds(4.25), "4.2 ms");
        assert_eq!(milliseconds(84.4), "84 ms");
    }

    #[test]
    fn telemetry_is_found_by_its_path() {
        let told = json!({
            "host": {"cpuPercent": 34.4, "memoryUsedBytes": 1_610_612_736u64, "uptimeS": 75},
            "cameras": [{"id": "a", "fps": 30.0}, {"id": "b", "fps": 7.52, "state": "live"}],
            "battery": {"volts": [11.94, 12.0]},
        });
        let value = |path| telemetry(path, Some(&told), Some("b"));
        assert_eq!(value("host.cpuPercent"), "cpu 34 %");
        assert_eq!(value("host.memoryUsedBytes"), "memory used 1.5 GiB");
        assert_eq!(value("host.uptimeS"), "uptime 01:15");
        assert_eq!(value("camera.fps"), "fps 7.5");
        assert_eq!(value("camera.state"), "state live");
        assert_eq!(value("battery.volts.0"), "0 12");
        assert_eq!(value("host.nothing"), "nothing –");
        assert_eq!(value("cameras"), "cameras –");
        assert_eq!(telemetry("camera.fps", Some(&told), Some("c")), "fps –");
        assert_eq!(telemetry("host.cpuPercent", None, None), "cpu –");
        assert!(is_of_camera("camera.fps") && !is_of_camera("cameras.0.fps"));
    }

    #[test]
    fn texts_of_peers_are_cut() {
        assert_eq!(short(&"x".repeat(9999)).len(), 120);
        assert_eq!(short("a\nb\u{7}"), "ab");
    }
}
