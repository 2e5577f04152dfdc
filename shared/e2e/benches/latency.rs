//! From pixels to pixels: the time burnt into a picture when it is captured, against the time when
//! it is there decoded at the other end. Through sender, broker and receiver; over bare RTP on UDP;
//! and from `webrtcsink` to `webrtcsrc`; with the same source, look and kind of encoder. They take
//! turns, so that a slow host slows all of them.
//!
//! `-- 640x480@30 --cameras 1` measures that alone.

use std::time::Duration;

use anyhow::{Context, bail};
use rovercast_e2e::figures::percentile;
use rovercast_e2e::lab::broker;
use rovercast_e2e::ways::{Case, Content, Places, Way, play_part, rivals_missing};

const FORMATS: [(u32, u32, u32); 4] =
    [(640, 480, 30), (1280, 720, 30), (1280, 720, 60), (1920, 1080, 30)];
const CAMERAS: [usize; 2] = [1, 3];

/// Turns of each way.
const TURNS: usize = 3;
/// How long encoders and decoders warm up in each.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long it counts.
const LENGTH: Duration = Duration::from_secs(5);

/// What is aimed at: beside bare RTP at p50 and p99, how many times faster than the rivals at
/// p50, and how far our own figure may be off, in milliseconds.
const P50: f64 = 1.3;
const P99: f64 = 2.0;
const FASTER: f64 = 5.0;
const TOLD_MS: f64 = 3.0;

/// What one way gave, over all turns.
struct Figures {
    latencies_ms: Vec<f64>,
    told_ms: Vec<f64>,
    shown: f64,
}

fn main() -> anyhow::Result<()> {
    if play_part()? {
        return Ok(());
    }
    let mut ways = vec![Way::Bare, Way::Ours];
    match rivals_missing() {
        Some(reason) => println!("{reason}\n"),
        None => ways.push(Way::Rivals),
    }
    println!(
        "| cameras | | p50 | p95 | p99 | beside bare RTP: p50 | p99 | frames shown | told p50 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for case in cases()? {
        missed.extend(measure(case, &ways)?);
    }
    if missed.is_empty() {
        println!("\nEvery aim is met.");
    }
    for missed in missed {
        println!("\nMissed: {missed}");
    }
    Ok(())
}

/// What the command line asks for; all of it by default.
fn cases() -> anyhow::Result<Vec<Case>> {
    let (mut formats, mut cameras) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--cameras" => {
                let count = arguments.next().context("--cameras needs a number")?;
                cameras.push(count.parse()?);
            }
            format => formats.push(format.to_owned()),
        }
    }
    if cameras.is_empty() {
        cameras.extend(CAMERAS);
    }
    let all = FORMATS.into_iter().flat_map(|(width, height, fps)| {
        let case = Case { width, height, fps, cameras: 1, content: Content::Smpte };
        cameras.iter().map(move |&cameras| Case { cameras, ..case })
    });
    let cases: Vec<Case> =
        all.filter(|case| formats.is_empty() || formats.contains(&case.format())).collect();
    if cases.is_empty() {
        bail!("nothing of {formats:?} is measured");
    }
    Ok(cases)
}

/// Measures a case, and prints it. Returns the aims that were missed.
fn measure(case: Case, ways: &[Way]) -> anyhow::Result<Vec<String>> {
    let none = || Figures { latencies_ms: Vec::new(), told_ms: Vec::new(), shown: 0.0 };
    let mut figures: Vec<Figures> = ways.iter().map(|_| none()).collect();
    for _ in 0..TURNS {
        for (&way, figures) in ways.iter().zip(&mut figures) {
            let (_broker, address) = broker("127.0.0.1:0")?;
            let running = way.start(case, Places::here(&address));
            let measured = running.and_then(|running| running.measure(WARM_UP, LENGTH));
            let measured = measured.with_context(|| format!("{case} by {way}"))?;
            let parts = (TURNS * measured.outcomes.len()) as f64;
            for outcome in measured.outcomes {
                figures.shown += outcome.shown / parts;
                figures.latencies_ms.extend(outcome.latencies_ms);
            }
            figures.told_ms.extend(measured.told_ms);
        }
    }
    let at = |figures: &Figures, part| percentile(&figures.latencies_ms, part);
    let bare = [0.5, 0.99].map(|part| at(&figures[0], part));
    let label = format!("{} of {}", case.cameras, case.format());
    for (way, figures) in ways.iter().zip(&figures) {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| at(figures, part));
        let told = match figures.told_ms.as_slice() {
            [] => String::new(),
            told => format!("{:.1} ms", percentile(told, 0.5)),
        };
        println!(
            "| {label} | {way} | {p50:.1} ms | {p95:.1} ms | {p99:.1} ms | {:.2} | {:.2} | {:.1} % \
             | {told} |",
            p50 / bare[0],
            p99 / bare[1],
            figures.shown * 100.0
        );
    }
    let ours = &figures[1];
    let [p50, p99] = [0.5, 0.99].map(|part| at(ours, part));
    let off = (percentile(&ours.told_ms, 0.5) - p50).abs();
    let mut aims = vec![
        (p50 / bare[0] <= P50, format!("p50 {:.2} of bare RTP, not {P50}", p50 / bare[0])),
        (p99 / bare[1] <= P99, format!("p99 {:.2} of bare RTP, not {P99}", p99 / bare[1])),
        (off <= TOLD_MS, format!("told {off:.1} ms off, not {TOLD_MS} ms")),
    ];
    if let Some(rivals) = figures.get(2) {
        let faster = at(rivals, 0.5) / p50;
        aims.push((faster >= FASTER, format!("{faster:.1} times faster, not {FASTER}")));
    }
    let missed = aims.into_iter().filter(|(met, _)| !met);
    Ok(missed.map(|(_, missed)| format!("{label}: {missed}")).collect())
}
